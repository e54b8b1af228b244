"""The slides say what was measured, and nothing that was not."""

import re
import shutil
from pathlib import Path

import figures
import matplotlib
import presentation
import pytest
from jinja2 import Environment

NAMES = {"140k", "lite0", "95"}  # words with a digit that are no measured figures; 95 % is how sure an interval is


def without_plots(page: str) -> str:
    """The page without what another version of matplotlib would draw otherwise; what the plots show stays."""
    page = re.sub(r'<meta name="generator"[^>]*>', "", page)
    return re.sub(r'(<figure><svg role="img" aria-label="[^"]*").*?</svg>', r"\1", page, flags=re.DOTALL)


@pytest.fixture(scope="module")
def page() -> str:
    return presentation.rendered()


def test_the_slides_are_those_of_the_results(page: str) -> None:
    stored = presentation.PAGE.read_text(encoding="utf-8")
    outdated = "run: make presentation; docs/presentation/index.html is out of date"
    assert without_plots(stored) == without_plots(page), outdated
    if f'content="matplotlib {matplotlib.__version__}"' in stored:
        assert stored == page, outdated


def test_no_figure_is_typed_by_hand() -> None:
    text = presentation.TEMPLATE.read_text(encoding="utf-8")
    assert Environment().parse(text).body
    text = re.sub(r"<(style|script)>.*?</\1>", "", text, flags=re.DOTALL)
    text = re.sub(r"<[^>]*>", " ", text)
    texts = [re.sub(r"\{\{.*?\}\}|\{%.*?%\}", " ", text, flags=re.DOTALL)]
    texts += [
        quoted
        for code in re.findall(r"\{\{(.*?)\}\}", text, flags=re.DOTALL)
        for quoted in re.findall(r'"(.*?)"', code)
    ]
    assert len(texts) > 12  # each slide has a foot
    assert set(re.findall(r"[\w.]*\d[\w.]*", " ".join(texts))) == NAMES


def test_one_file_that_needs_no_other(page: str) -> None:
    assert not re.search(r"<(link|img|iframe|object)\b|\bsrc=|@import|url\((?!['\"]?#)", page)
    assert set(re.findall(r"https?://[^\s\"'<]+", page)) <= {
        "http://www.w3.org/2000/svg",
        "http://www.w3.org/1999/xlink",
    }
    assert "/work/" not in page
    assert str(Path.home()) not in page
    slides = re.findall(r"<section>(.*?)</section>", page, flags=re.DOTALL)
    assert len(slides) == 12
    assert all(re.search(r"<h[12]>.+</h[12]>", slide) and "<footer>" in slide for slide in slides)
    assert all("aria-label=" in start for start in re.findall(r"<svg\b[^>]*", page))
    ids = re.findall(r'\sid="([^"]+)"', page)
    assert len(re.findall(r"nan\b", page)) == 0
    for target in re.findall(r'(?:href="|url\()#([^")]+)', page):
        assert target in ids, f"a plot lost its {target}"


def test_networks_that_are_not_compared_yet_are_said_to_be_so(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, page: str
) -> None:
    for path in figures.RESULTS.glob("*.json"):
        shutil.copy(path, tmp_path)
    monkeypatch.setattr(figures, "RESULTS", tmp_path)
    assert "Not measured yet: <code>python scripts/five_networks.py DATA</code>" in presentation.rendered()
    (tmp_path / "five-networks.csv").write_text(
        "network,parameters,accuracy,auc,auc_140k,robust_auc,faces_per_second,epochs,minutes,train,hardware\n"
        "two-stream,1234567,0.5,0.6,0.7125,0.8,90.1,2.5,7,4321,a machine\n"
    )
    measured = presentation.rendered()
    assert "Not measured yet" not in measured
    for cell in ("two-stream", "0.7125", "50.0 %", "1.23 M", "90.1", "7 minutes each", "4321 pictures"):
        assert cell in measured
