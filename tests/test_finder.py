"""Faces are found where they are, at any size, and nowhere else."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw
from skimage import data

from realface import finder
from realface.web.examples import PORTRAIT

ASTRONAUT = data.astronaut()
FACE = (176, 66, 276, 190)
"""Left, top, right and bottom of the astronaut's face, read off the picture."""


def overlap(one: tuple[float, ...], other: tuple[float, ...]) -> float:
    width, height = (min(one[i + 2], other[i + 2]) - max(one[i], other[i]) for i in (0, 1))
    areas = sum((box[2] - box[0]) * (box[3] - box[1]) for box in (one, other))
    shared = max(0.0, width) * max(0.0, height)
    return shared / (areas - shared)


def scaled(scale: float) -> np.ndarray:
    side = round(512 * scale)
    return np.asarray(Image.fromarray(ASTRONAUT).resize((side, side), Image.Resampling.LANCZOS))


@pytest.mark.parametrize("scale", [0.125, 0.25, 0.5, 1.0, 2.0, 3.0, 6.0])
def test_one_face_at_any_size(scale: float) -> None:
    [found] = finder.find(scaled(scale))
    assert overlap(found.box, tuple(scale * side for side in FACE)) > 0.6
    eyes, nose, mouth = found.landmarks[:2], found.landmarks[2], found.landmarks[3:]
    assert eyes[0, 0] < nose[0] < eyes[1, 0]
    assert mouth[0, 0] < mouth[1, 0]
    assert eyes[:, 1].max() < nose[1] < mouth[:, 1].min()


def test_a_group_is_found_and_the_largest_comes_first() -> None:
    picture = np.full((700, 1100, 3), 128, np.uint8)
    places = {1.0: (0, 0), 0.5: (560, 0), 0.25: (560, 400)}
    for scale, (left, top) in places.items():
        small = scaled(scale)
        picture[top : top + len(small), left : left + len(small)] = small
    found = finder.find(picture)
    assert len(found) == 3
    for face, (scale, (left, top)) in zip(found, places.items(), strict=True):
        offset = (left, top, left, top)
        assert overlap(face.box, tuple(scale * side + o for side, o in zip(FACE, offset, strict=True))) > 0.5


def test_of_more_faces_than_it_counts_none_hides_behind_others() -> None:
    rng = np.random.default_rng(0)
    plain = np.asarray(Image.open(PORTRAIT).convert("RGB").crop((120, 10, 340, 230)).resize((84, 84)), float)
    faint = [0.2 * plain + 80 + rng.normal(0, 12, plain.shape) for _ in range(57)]
    rows = [[faint.pop() if (15 * row + column) % 4 == 0 else plain for column in range(15)] for row in range(15)]
    crowd = np.concatenate([np.concatenate(row, 1) for row in rows]).clip(0, 255).astype(np.uint8)
    assert len(finder.find(crowd)) == finder.MAX_FACES


def test_a_face_that_fills_the_picture_is_found() -> None:
    close = np.asarray(Image.fromarray(ASTRONAUT[60:200, 155:295]).resize((1000, 1000), Image.Resampling.BICUBIC))
    [found] = finder.find(close)
    assert found.box[2] - found.box[0] > 500


@pytest.mark.parametrize(
    "name", ["coffee", "chelsea", "rocket", "brick", "grass", "page", "clock", "immunohistochemistry"]
)
def test_no_face_where_there_is_none(name: str) -> None:
    picture = getattr(data, name)()
    assert finder.find(np.stack([picture] * 3, 2) if picture.ndim == 2 else picture) == []


def test_drawings_and_noise_are_no_faces() -> None:
    rng = np.random.default_rng(0)
    for _ in range(40):
        image = Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)).resize((300, 240))
        draw = ImageDraw.Draw(image)
        for _ in range(12):
            x, y, w, h = rng.integers(0, 200, 4).tolist()
            shape = rng.choice([draw.ellipse, draw.rectangle])
            shape([x, y, x + w, y + h], fill=tuple(rng.integers(0, 256, 3).tolist()))
        assert finder.find(np.asarray(image)) == []


@settings(max_examples=25, deadline=None, derandomize=True, database=None)
@given(st.integers(32, 700), st.integers(32, 700))
def test_any_shape_can_be_searched(width: int, height: int) -> None:
    for face in finder.find(ASTRONAUT[:height, :width]):
        assert face.landmarks.shape == (5, 2)
        assert finder.SCORE <= face.score <= 1
