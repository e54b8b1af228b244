"""The page that shows a data set."""

import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from conftest import encoded, grey
from PIL import Image
from skimage.data import astronaut

from realface.data.explore import SIDE, explore, spectrum
from realface.errors import DataError


class Page(HTMLParser):
    """Tags, attributes and text of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.words: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data: str) -> None:
        self.words.append(data)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    head = Image.fromarray(astronaut()[:300, 90:390])
    rows = ["path,label,source,split"]
    for i, (label, kind) in enumerate([("real", "JPEG"), ("real", "PNG"), ("fake", "PNG"), ("fake", "PNG")]):
        (tmp_path / f"{i}.img").write_bytes(encoded(head.resize((200 + 10 * i,) * 2), kind))
        rows.append(f"{i}.img,{label},<b>camera</b>,train")
    (tmp_path / "empty.png").write_bytes(encoded(grey(90)))
    (tmp_path / "broken.png").write_bytes(b"nothing")
    rows += ["empty.png,fake,drawn,test", "broken.png,real,drawn,test"]
    (tmp_path / "manifest.csv").write_text("\n".join(rows))
    return tmp_path


def test_the_page_shows_what_there_is(folder: Path) -> None:
    page = Page(explore(folder))
    text = " ".join(page.words)
    assert "6 pictures: 3 real, 3 fake. 1 cannot be read, 1 show no face." in text
    assert "<b>camera</b>" in text, "a source's name is text, not markup"
    cells = [word.strip() for word in page.words]
    at = cells.index("PNG")
    assert cells[at + 1 : at + 3] == ["1", "3"]
    assert page.tags.count("img") == 4 + 3, "a crop of each picture with a face, and three figures"


def test_nothing_is_loaded_from_elsewhere(folder: Path) -> None:
    page = Page(explore(folder))
    assert "script" not in page.tags
    sources = [value or "" for name, value in page.attributes if name in ("src", "href")]
    assert sources
    assert all(re.match(r"data:image/(png|jpeg);base64,", source) for source in sources)


def test_the_same_data_gives_the_same_page(folder: Path) -> None:
    assert explore(folder) == explore(folder)


def test_one_class_only_is_shown_without_a_comparison(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    Image.fromarray(astronaut()).save(tmp_path / "real" / "a.png")
    page = Page(explore(tmp_path))
    assert page.tags.count("img") == 2
    assert "Means" not in page.words
    assert "Some that are real" in page.words
    assert "Some that are fake" not in page.words, "nothing would stand under it"


def test_nothing_readable_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "a.png").write_bytes(b"")
    with pytest.raises(DataError, match="none of the pictures"):
        explore(tmp_path)


def test_a_grating_is_two_points_in_the_spectrum() -> None:
    wave = 127 + 100 * np.sin(2 * np.pi * 16 * np.arange(SIDE) / SIDE)
    crop = np.broadcast_to(wave[None, :, None], (SIDE, SIDE, 3)).astype(np.uint8)
    power = spectrum(crop)
    middle = SIDE // 2
    top = {tuple(np.unravel_index(i, power.shape)) for i in np.argsort(-power.ravel())[:2]}
    assert top == {(middle, middle - 16), (middle, middle + 16)}
