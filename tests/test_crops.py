"""The one way from a file to a crop: where a face is, is remembered, and searched for again where that is damaged."""

import errno
import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from conftest import encoded, grey
from PIL import Image, ImageFilter
from skimage.data import astronaut

from realface import ImageError, degrade, errors, faces
from realface.data import crops
from realface.data.crops import read_face
from realface.faces import Candidate, Framing

pytestmark = pytest.mark.usefixtures("cache")
PORTRAIT = Image.fromarray(astronaut()[:300, 90:390])
PICTURES = {
    "upright": PORTRAIT,
    "tilted": PORTRAIT.rotate(25, Image.Resampling.BICUBIC),
    "blurred": PORTRAIT.filter(ImageFilter.GaussianBlur(5)),
    "in a corner": Image.fromarray(np.pad(astronaut()[:300, 90:390], ((0, 200), (310, 0), (0, 0)))),
}


def saved(image: Image.Image, path: Path) -> Path:
    path.write_bytes(encoded(image))
    return path


def entry(cache: Path, picture: Path) -> Path:
    """What is remembered of a picture."""
    (found,) = cache.rglob(f"{hashlib.sha256(picture.read_bytes()).hexdigest()}.json")
    return found


def no_search(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(faces, "candidates", lambda *_: pytest.fail("this picture was searched already"))


def same(one: Candidate, other: Candidate) -> bool:
    facts = [(c.box, c.crop, c.reason, c.pixels.dtype) for c in (one, other)]
    return facts[0] == facts[1] and np.array_equal(one.pixels, other.pixels)


@pytest.mark.parametrize("kind", PICTURES)
def test_a_second_reading_gives_the_same_face_without_a_search(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = saved(PICTURES[kind], tmp_path / "a.png")
    wanted = faces.candidates(np.asarray(PICTURES[kind]))[0]
    first = read_face(path, "face")
    assert same(first, wanted)
    assert first.reason == ("too_blurred" if kind == "blurred" else None)
    assert first.crop.roll or kind != "tilted"
    no_search(monkeypatch)
    assert same(read_face(path, "face"), wanted)


def test_a_face_is_remembered_by_its_picture_and_not_by_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = saved(PORTRAIT, tmp_path / "a.png")
    wanted = read_face(path, "face")
    saved(PICTURES["in a corner"], path)
    assert read_face(path, "face").box != wanted.box
    no_search(monkeypatch)
    assert same(read_face(saved(PORTRAIT, tmp_path / "other.png"), "face"), wanted)


def test_that_there_is_no_face_is_remembered_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = saved(grey(128), tmp_path / "a.png")
    for _ in range(2):
        with pytest.raises(errors.NoFace, match="no face was found"):
            read_face(path, "face")
        no_search(monkeypatch)


def test_another_finder_searches_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    path = saved(PORTRAIT, tmp_path / "a.png")
    wanted = read_face(path, "face")
    entry(cache, path).write_text("null")
    monkeypatch.setattr(crops, "_version", lambda: "another")
    assert same(read_face(path, "face"), wanted)


@pytest.mark.parametrize(
    "damage",
    [
        b"",
        b"{",
        b"\xff\xfe",
        b"[]",
        b"{}",
        b"5",
        b'"text"',
        b'{"box": [1, 2, 3, 4], "crop": [1, 2], "roll": 0.0, "reason": null}',
        b'{"box": [1, 2, 3, 4], "crop": null, "roll": 0.0, "reason": null}',
        b'{"box": null, "crop": [0, 0, 300, 300], "roll": 0.0, "reason": null}',
        b'{"box": [1, 2, 3, 4], "crop": [0, 0, 300, 300], "roll": "much", "reason": null}',
        b'{"box": [1, 2, 3, 4], "crop": [0.5, 0, 200.5, 200], "roll": 0.0, "reason": null}',
    ],
)
def test_what_is_remembered_wrongly_is_searched_for_again_and_put_right(
    damage: bytes, tmp_path: Path, cache: Path
) -> None:
    path = saved(PORTRAIT, tmp_path / "a.png")
    wanted = read_face(path, "face")
    known = entry(cache, path)
    whole = known.read_bytes()
    known.write_bytes(damage)
    assert same(read_face(path, "face"), wanted)
    assert known.read_bytes() == whole
    assert json.loads(whole) == {"box": [*wanted.box], "crop": [*wanted.crop.box], "roll": 0.0, "reason": None}


def test_a_cache_that_cannot_be_written_is_done_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cache: Path
) -> None:
    def full(path: Path, data: bytes) -> None:
        raise OSError(errno.ENOSPC, "no space left on device")

    path = saved(PORTRAIT, tmp_path / "a.png")
    monkeypatch.setattr(crops, "write_whole", full)
    first, second = (read_face(path, "face") for _ in range(2))
    assert same(first, second)
    with pytest.raises(errors.NoFace):
        read_face(saved(grey(0), tmp_path / "b.png"), "face")
    assert not [*cache.rglob("*.json")]


def test_a_cache_folder_that_is_none_is_done_without(tmp_path: Path, cache: Path) -> None:
    cache.write_text("a file where the folder should be")
    path = saved(PORTRAIT, tmp_path / "a.png")
    assert same(read_face(path, "face"), read_face(path, "face"))


def test_the_centred_square_is_neither_searched_for_nor_remembered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cache: Path
) -> None:
    path = saved(PORTRAIT.crop((0, 0, 300, 200)), tmp_path / "a.png")
    monkeypatch.setattr(faces, "find", lambda *_: pytest.fail("nothing is to be searched for"))
    face = read_face(path, "centre-square")
    assert face.box == face.crop.box == (50, 0, 200, 200)
    assert face.reason is None
    assert np.array_equal(face.pixels, np.asarray(PORTRAIT)[:200, 50:250])
    assert not cache.exists()


@pytest.mark.parametrize("framing", faces.FRAMINGS)
def test_a_picture_that_cannot_be_read_is_not_remembered(framing: Framing, tmp_path: Path, cache: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(encoded(PORTRAIT)[:-40])
    with pytest.raises(errors.Truncated):
        read_face(path, framing)
    with pytest.raises(ImageError):
        read_face(tmp_path / "missing.png", framing)
    assert not cache.exists()


def test_other_degradations_are_another_program_and_faces_stay_where_they_were_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, where = crops.program(), crops._version()
    (tmp_path / "degrade.py").write_text("# changed")
    monkeypatch.setattr(crops.degrade, "__file__", str(tmp_path / "degrade.py"))
    assert crops.program() not in (before, where)
    assert crops._version() == where


def test_without_a_history_a_crop_is_only_resampled() -> None:
    crop = np.asarray(PORTRAIT)
    assert np.array_equal(crops.network_input(crop, 64, 0.0, (0, 0, 0)), faces.resample(crop, 64))
    first, again, other = (crops.network_input(crop, 64, 1.0, seed) for seed in ((0, 1, 5), (0, 1, 5), (0, 1, 6)))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_some_versions_have_a_past_before_their_history() -> None:
    crop = np.asarray(PORTRAIT)
    seed = (0, 3, 5)
    covered = crops.degraded(crop, 1.0, seed, crops.FIRST[3])
    rng = np.random.default_rng(seed)
    assert np.array_equal(covered, degrade.random_history(degrade.cover(crop, rng), rng))
    assert not np.array_equal(covered, crops.degraded(crop, 1.0, seed))
    assert crops.degraded(crop, 0.0, seed, crops.FIRST[3]) is crop
