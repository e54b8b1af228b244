"""The documents say what was measured."""

import hashlib
import json
import re
import shutil
import subprocess
from pathlib import Path

import figures
import pytest

from realface.networks import NETWORKS
from realface.training.config import Config

ROOT = Path(__file__).resolve().parent.parent
WEIGHTS = ROOT / "src" / "realface" / "weights"


@pytest.mark.parametrize("document", figures.DOCUMENTS)
def test_tables_are_those_of_the_results(document: str) -> None:
    text = (ROOT / document).read_text(encoding="utf-8")
    assert "<!-- table:" in text or "<!-- figure:" in text
    assert text == figures.rendered(document), f"run: python scripts/figures.py write, {document} is out of date"


def test_no_source_file_is_too_long_to_read_in_one_sitting() -> None:
    for folder in ("src", "tests", "benchmarks", "scripts"):
        paths = list((ROOT / folder).rglob("*.py"))
        assert paths
        for path in paths:
            assert len(path.read_text(encoding="utf-8").splitlines()) <= 400, path


def test_links_between_documents_lead_somewhere() -> None:
    for document in [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]:
        for target in re.findall(r"\]\(([^)#]+)", document.read_text(encoding="utf-8")):
            if "://" not in target:
                assert (document.parent / target).exists(), f"{document.name}: {target}"


def test_figures_are_of_the_detectors_that_are_bundled() -> None:
    """What depends on weights is measured again when they change; speed does not depend on them."""
    bundled = {path.stem: hashlib.sha256(path.read_bytes()).hexdigest() for path in WEIGHTS.glob("*.onnx")}
    measured = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in figures.RESULTS.glob("*.json")}
    for name, file in {"best": "best", "fast": "fast", "laundering-best": "best", "laundering-fast": "fast"}.items():
        assert measured[name]["detector"]["sha256"] == bundled[file], name
    for name, file in {"faces": "best", "heatmap": "best", "evaluate": "fast"}.items():
        assert measured[name]["detector"] == bundled[file], name
    assert measured["cascade"]["detectors"] == bundled
    assert {name: row["detector"] for name, row in measured["outside"]["detectors"].items()} == bundled


def test_the_training_page_tells_what_defaults_the_two_views_have() -> None:
    text = (ROOT / "docs" / "training.md").read_text(encoding="utf-8")
    (passage,) = re.findall(r"of their own on top of these: (.+?) A run's", text, re.DOTALL)
    told = dict(re.findall(r"`([\w-]+)` ([^`]+)", passage))
    for name in ("clip-b16", "native"):
        own = {f"{key} {value}" for key, value in NETWORKS[name].defaults.items() if value != getattr(Config(), key)}
        assert set(re.findall(r"\w+ [\d.]+\d|\w+ \d", told[name])) == own - {"freeze True"}  # that is in the table


def test_the_bars_of_an_evaluation_are_met() -> None:
    got = json.loads((figures.RESULTS / "evaluate.json").read_text(encoding="utf-8"))
    assert got["faces"] >= got["bars"]["faces"]
    assert got["minutes"] <= got["bars"]["minutes"]
    assert got["peak_megabytes"] <= got["bars"]["peak_megabytes"]


def test_make_help_tells_of_everything_that_can_be_made() -> None:
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    (names,) = re.findall(r"^\.PHONY: (.+)$", text, re.MULTILINE)
    told = re.findall(r"^([a-z]+):.* ## .", text, re.MULTILINE)
    assert sorted(names.split()) == sorted(told)


@pytest.mark.skipif(not shutil.which("make"), reason="needs make")
def test_make_goes_on_with_a_training_that_was_interrupted(tmp_path: Path) -> None:
    """`realface train` begins no run where one is, nor resumes what was not begun."""
    for name in ("pyproject.toml", "constraints.txt", "runs/whole/config.toml", "runs/fast/config.toml"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    command = ["make", "--dry-run", "--file", str(ROOT / "Makefile"), "best", "fast", "figures"]
    told = subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, text=True).stdout
    runs = dict(re.findall(r"realface train .*--out runs/([a-z-]+)(.*)", told))
    assert set(runs) == {"whole", "native", "parts", "fast", "notebook-small"}
    assert {name for name, rest in runs.items() if "--resume" in rest} == {"whole", "fast"}
