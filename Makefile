# Everything a person types. Each target sets up what it needs in .venv first.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: help app test lint best fast figures benchmark clean
help:  ## Show what can be made
	@grep -E '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

app: $(VENV)/.app  ## Set up and open the web app
	$(BIN)/realface app

test: $(VENV)/.test lint  ## Set up, lint, type-check and run all tests
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist loadfile  # one process a core, each with one thread

lint: $(VENV)/.test
	$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy

DATA ?= ../shared/faces
AUTOENCODERS ?= ../shared/autoencoders
LICENCE = --set licence="$$(cat src/realface/weights/LICENCE.txt)"
best: $(VENV)/.test  ## Train `best` again (DATA=… AUTOENCODERS=…), into runs/best
	$(BIN)/realface networks --fetch clip-b16
	$(BIN)/realface networks --fetch efficientnet-lite0
	$(BIN)/realface data reconstruct $(DATA) --autoencoders $(AUTOENCODERS) --out runs/pairs
	$(BIN)/realface train $(DATA) $(LICENCE) --out runs/whole
	$(BIN)/realface train $(DATA) --network native --set pairs=runs/pairs --set sources=140k-a,140k-b --out runs/native
	$(BIN)/realface fuse $(DATA) --whole runs/whole --native runs/native --out runs/best

fast: $(VENV)/.test  ## Train `fast` again, taught by runs/best, into runs/fast
	$(BIN)/realface train $(DATA) --config scripts/fast.toml $(LICENCE) --out runs/fast

figures: $(VENV)/.test  ## Measure again every figure of the README and the model card (DATA=…)
	$(BIN)/python scripts/figures.py measure $(DATA)
	$(BIN)/python scripts/leave_one_out.py $(DATA) --folds 6
	$(BIN)/python benchmarks/faces.py $(DATA)
	$(BIN)/python benchmarks/heatmap.py $(DATA)
	$(BIN)/python scripts/figures.py write

benchmark: $(VENV)/.test  ## Time the detectors against the notebook's Keras path, weigh the install, read hostile files
	$(BIN)/python benchmarks/speed.py
	$(BIN)/python benchmarks/install.py
	$(BIN)/python benchmarks/fuzz.py --files 20000

clean:  ## Remove the set-up
	rm -rf $(VENV)

$(BIN)/python:
	$(PYTHON) -c 'import sys; sys.exit("realface needs Python 3.11 or newer" if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); exit 1; }

$(VENV)/.app: $(BIN)/python pyproject.toml constraints.txt
	$(BIN)/python -m pip install --quiet -c constraints.txt -e ".[app]"
	touch $@

$(VENV)/.test: $(BIN)/python pyproject.toml constraints.txt
	$(BIN)/python -m pip install --quiet -c constraints.txt -e ".[app,c2pa,train,test]"
	touch $@
