"""The standard crop: where it lies, that it is cut exactly, and the one resampling."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from skimage.data import astronaut

from realface import faces


@pytest.mark.parametrize(
    ("width", "height", "box"),
    [
        (64, 64, (0, 0, 64, 64)),
        (100, 64, (18, 0, 64, 64)),
        (64, 100, (0, 18, 64, 64)),
        (101, 64, (18, 0, 64, 64)),  # one column more on the right
        (64, 101, (0, 18, 64, 64)),
        (33, 32, (0, 0, 32, 32)),
    ],
)
def test_centre_square(width: int, height: int, box: faces.Box) -> None:
    assert faces.centre_square(np.zeros((height, width, 3), np.uint8)) == box


@settings(max_examples=100, deadline=None, derandomize=True, database=None)
@given(st.integers(1, 5000), st.integers(1, 5000))
def test_centre_square_is_the_largest_centred_one(width: int, height: int) -> None:
    box = faces.centre_square(np.broadcast_to(np.uint8(0), (height, width, 3)))
    left, top, side, other = box
    assert side == other == min(width, height)
    assert 0 <= width - side - 2 * left <= 1
    assert 0 <= height - side - 2 * top <= 1
    assert all(type(number) is int for number in box)  # numpy's integers would not become JSON


def test_cut_is_exact() -> None:
    image = np.arange(40 * 50 * 3, dtype=np.uint32).astype(np.uint8).reshape(40, 50, 3)
    assert np.array_equal(faces.cut(image, (3, 7, 32, 30)), image[7:37, 3:35])
    assert np.array_equal(faces.cut(image, (0, 0, 50, 40)), image)
    assert faces.cut(image, faces.centre_square(image)).shape == (40, 40, 3)


def test_a_standard_crop_is_taken_whole_and_as_it_is() -> None:
    crop = astronaut()[:224, :224]
    whole = faces.cut(crop, faces.centre_square(crop))
    assert np.array_equal(whole, crop)
    assert faces.resample(whole, 224) is whole


@pytest.mark.parametrize("size", [32, 63, 64, 65, 224, 300])
def test_resample(size: int) -> None:
    crop = astronaut()[64:128, 180:244]
    first, second = faces.resample(crop, size), faces.resample(crop.copy(), size)
    assert first.shape == (size, size, 3)
    assert first.dtype == np.uint8
    assert np.array_equal(first, second)
    assert np.allclose(first.mean((0, 1)), crop.mean((0, 1)), atol=2)
    wanted = np.asarray(Image.fromarray(crop).resize((size, size), Image.Resampling.BICUBIC))
    assert np.array_equal(first, wanted)


def test_resample_does_not_depend_on_memory_layout() -> None:
    image = astronaut()
    part = image[10:110, 20:120]
    mirrored = image[:, ::-1][10:110, 392:492]
    assert np.array_equal(faces.resample(part, 50), faces.resample(np.ascontiguousarray(part), 50))
    assert np.array_equal(faces.resample(mirrored, 50), faces.resample(np.ascontiguousarray(mirrored), 50))


def test_resample_shrinks_without_aliasing() -> None:
    checks = np.indices((256, 256)).sum(0) % 2 * 255
    small = faces.resample(np.repeat(checks[..., None], 3, 2).astype(np.uint8), 32)
    assert np.abs(small.astype(int) - 127).max() <= 3
    assert (faces.resample(np.full((256, 256, 3), 77, np.uint8), 32) == 77).all()
