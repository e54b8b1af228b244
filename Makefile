# Everything a person types. Each target sets up what it needs in .venv first.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: help app test lint pytest best fast figures benchmark docs notebook presentation audit clean
help:  ## Show what can be made (PYTHON=… chooses the interpreter)
	@grep -E '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 14

app: $(VENV)/.app  ## Set up and open the web app
	$(BIN)/realface app

test: lint pytest  ## Set up, lint, type-check and run all tests; at least 90 % of the using half are covered

# one process a core, each with one thread, a file at a time, the longest first (tests/conftest.py). Bytecode is kept
# whatever the shell says: tests start hundreds of processes, and each would compile PyTorch anew.
pytest: $(VENV)/.test  ## The tests alone
	PYTHONDONTWRITEBYTECODE= OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist loadfile --no-loadscope-reorder --cov --cov-report=term:skip-covered

lint: $(VENV)/.test  ## Set up, check style and types
	$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/pyrefly check --python-interpreter-path $(BIN)/python

DATA ?= ../shared/faces
AUTOENCODERS ?= ../shared/autoencoders
LICENCE = --set licence="$$(cat src/realface/weights/LICENCE.txt)"
# into a folder; with --resume where a run was begun there, so that a target that was interrupted can be typed again
train = $(BIN)/realface train $(DATA) --out $(1) $(if $(wildcard $(1)/config.toml),--resume)
best: $(VENV)/.test  ## Train `best` again (DATA=… AUTOENCODERS=…), into runs/best
	$(BIN)/realface networks --fetch clip-b16
	$(BIN)/realface networks --fetch efficientnet-lite0
	$(BIN)/realface data reconstruct $(DATA) --autoencoders $(AUTOENCODERS) --out runs/pairs
	$(call train,runs/whole) $(LICENCE) --no-detector
	$(call train,runs/native) --network native --set pairs=runs/pairs --set sources=140k-a,140k-b --set epochs=8 --no-detector
	$(BIN)/realface fuse $(DATA) --whole runs/whole --native runs/native --out runs/best

fast: $(VENV)/.test  ## Train `fast` again, taught by runs/best, into runs/fast
	$(call train,runs/parts) --config scripts/fast.toml --no-detector
	$(call train,runs/fast) --config scripts/fast.toml $(LICENCE) --set start=runs/parts --set part=0 --set epochs=2 --set batch_size=32 --set learning_rate=1e-4

figures: $(VENV)/.test  ## After `make best`: measure again all figures in the documents but speed and size (DATA=…)
	test -e runs/notebook-small/detector.onnx || $(call train,runs/notebook-small) --network notebook-small
	$(BIN)/python scripts/figures.py measure $(DATA)
	$(BIN)/python scripts/audited.py $(DATA)
	$(BIN)/python scripts/leave_one_out.py $(DATA) --folds 6
	$(BIN)/python scripts/ablate.py $(DATA)
	$(BIN)/python scripts/five_networks.py $(DATA) --minutes 6
	$(BIN)/python scripts/faster.py $(DATA) --every 4
	rm -rf runs/report
	$(BIN)/realface evaluate $(DATA) --detector fast --detector best --out runs/report
	$(BIN)/python scripts/cascade.py runs/report
	$(BIN)/python benchmarks/faces.py $(DATA)
	$(BIN)/python benchmarks/heatmap.py $(DATA)
	$(BIN)/python benchmarks/evaluate.py $(DATA)
	$(BIN)/python benchmarks/outside.py
	$(BIN)/python scripts/figures.py write
	$(BIN)/python scripts/presentation.py

benchmark: $(VENV)/.test  ## Speed and size: beside Keras and PyTorch, the install, hostile files, scan and service
	$(BIN)/python benchmarks/speed.py
	$(BIN)/python benchmarks/install.py
	$(BIN)/python benchmarks/fuzz.py --files 20000
	$(BIN)/python benchmarks/scan.py
	$(BIN)/python benchmarks/service.py

docs: $(VENV)/.test  ## Write the reference of the command line and build the documentation into site/
	$(BIN)/python scripts/docs.py cli
	$(BIN)/python scripts/docs.py site

notebook: $(VENV)/.test  ## Execute the notebook on its drawn faces and store it with what it shows
	$(BIN)/python scripts/execute_notebook.py

presentation: $(VENV)/.test  ## Write the slides from the measured results, into docs/presentation
	$(BIN)/python scripts/presentation.py

audit: $(BIN)/python  ## Look up known flaws of the versions in constraints.txt (asks pypi.org)
	$(PYTHON) -m venv $(VENV)/audit && $(VENV)/audit/bin/python -m pip install --quiet pip-audit
	$(VENV)/audit/bin/pip-audit --strict --disable-pip --no-deps --requirement constraints.txt

clean:  ## Remove the set-up
	rm -rf $(VENV)

$(BIN)/python:
	$(PYTHON) -c 'import sys; sys.exit("realface needs Python 3.11 or newer" if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); exit 1; }

$(VENV)/.app: $(BIN)/python pyproject.toml constraints.txt
	$(BIN)/python -m pip install --quiet --no-compile -c constraints.txt -e ".[app]"
	touch $@

$(VENV)/.test: $(BIN)/python pyproject.toml constraints.txt
	$(BIN)/python -m pip install --quiet --no-compile -c constraints.txt -e ".[app,c2pa,train,notebook,docs,test]"
	touch $@
