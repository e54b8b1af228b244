"""The documents say what was measured."""

import importlib.util
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
spec = importlib.util.spec_from_file_location("figures", ROOT / "scripts" / "figures.py")
assert spec
assert spec.loader
figures = importlib.util.module_from_spec(spec)
spec.loader.exec_module(figures)


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
