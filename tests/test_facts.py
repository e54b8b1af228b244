"""Facts of a file are what the file was made with, and copies are known by them."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
from conftest import encoded
from PIL import Image
from planted import cloud, portrait

from realface.data import Sample, duplicates
from realface.data.duplicates import MAX_BITS, near_groups
from realface.data.facts import Facts, read, read_all
from realface.errors import NotAnImage


def test_facts_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(encoded(Image.new("RGB", (80, 64), (200, 100, 0)), "JPEG", quality=75, subsampling=1))
    facts = read(tmp_path / "x")
    assert (facts.header.format, facts.header.width, facts.header.height) == ("JPEG", 80, 64)
    assert (facts.header.luma, facts.header.chroma, facts.header.subsampling) == (1858, 2780, "4:2:2")
    np.testing.assert_allclose(facts.colour, [200, 100, 0], atol=3)
    assert facts.colourfulness == pytest.approx(0.3 * np.hypot(100, 150), rel=0.05)
    (tmp_path / "x").write_bytes(b"x")
    with pytest.raises(NotAnImage):
        read(tmp_path / "x")


def test_many_pictures_are_told_of_in_order_whatever_is_wrong_with_some(tmp_path: Path) -> None:
    paths = [tmp_path / f"{n}.png" for n in range(12)]
    for n, path in enumerate(paths):
        path.write_bytes(b"no picture" if n == 3 else encoded(cloud(n)))
    told = list(read_all([Sample(path, 0, "", "train") for path in paths]))
    assert isinstance(told.pop(3), NotAnImage)
    facts = [read(path) for path in paths if path.name != "3.png"]
    assert [one.sha256 for one in told if isinstance(one, Facts)] == [one.sha256 for one in facts]


def test_spectrum_peaks_where_a_grating_is(tmp_path: Path) -> None:
    waves = 127.5 + 100 * np.sin(2 * np.pi * 42 * np.arange(224) / 224)  # 42 of 112 possible waves: ring 6 of 16
    Image.fromarray(np.tile(waves, (224, 1)).astype(np.uint8)).save(tmp_path / "x.png")
    assert read(tmp_path / "x.png").spectrum.argmax() == 6


def facts_of(folder: Path, pictures: Iterable[bytes]) -> list[Facts]:
    """Of pictures, each in a file of the same name."""
    found = []
    for data in pictures:
        (folder / "x").write_bytes(data)
        found.append(read(folder / "x"))
    return found


class TestNear:
    def test_smooth_portraits_of_one_pose_are_not_copies(self, tmp_path: Path) -> None:
        facts = facts_of(tmp_path, (encoded(portrait(n)) for n in range(60)))
        hashes = np.stack([fact.dhash for fact in facts])
        bits = np.bitwise_count(hashes[:, None] ^ hashes[None]).sum(-1)[~np.eye(60, dtype=bool)]
        assert bits.min() <= MAX_BITS  # the hash alone would be wrong
        assert near_groups(facts) == []

    @pytest.mark.parametrize(
        ("kind", "options", "side"),
        [("JPEG", {"quality": 20}, 192), ("WEBP", {"quality": 40}, 150), ("PNG", {}, 400), ("GIF", {}, 192)],
    )
    @pytest.mark.parametrize("make", [cloud, portrait])
    def test_copies_in_other_clothes(self, tmp_path: Path, make, kind: str, options: dict, side: int) -> None:
        files = []
        for n in range(4):
            picture = make(n).resize((192, 192), Image.Resampling.BICUBIC)
            files += [
                encoded(picture),
                encoded(picture.resize((side, side), Image.Resampling.BICUBIC), kind, **options),
            ]
        pairs = [[2 * n, 2 * n + 1] for n in range(4)]
        assert near_groups(facts_of(tmp_path, files)) == pairs

    def test_frames_of_a_film_are_one_group(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(duplicates, "_CHECKED", 16)
        films = ([portrait(n).point(lambda level, more=more: level + more) for more in range(20)] for n in range(2))
        facts = facts_of(tmp_path, (encoded(frame) for film in films for frame in film))
        assert near_groups(facts) == [list(range(20)), list(range(20, 40))]

    def test_blank_pictures_are_not_copies_of_one_another(self, tmp_path: Path) -> None:
        blank = (encoded(Image.new("L", (64, 64), level)) for level in range(0, 250, 50))
        assert near_groups(facts_of(tmp_path, blank)) == []
