"""The standard crop: where it lies, that it is cut exactly, and the one resampling."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFilter
from skimage.data import astronaut

from realface import faces
from realface.finder import find
from realface.results import Box, Crop


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
def test_centre_square(width: int, height: int, box: Box) -> None:
    assert faces.centre_square(np.zeros((height, width, 3), np.uint8)) == Crop(box)


@settings(max_examples=100, deadline=None, derandomize=True, database=None)
@given(st.integers(1, 5000), st.integers(1, 5000))
def test_centre_square_is_the_largest_centred_one(width: int, height: int) -> None:
    box = faces.centre_square(np.broadcast_to(np.uint8(0), (height, width, 3))).box
    left, top, side, other = box
    assert side == other == min(width, height)
    assert 0 <= width - side - 2 * left <= 1
    assert 0 <= height - side - 2 * top <= 1
    assert all(type(number) is int for number in box)  # numpy's integers would not become JSON


def test_cut_is_exact() -> None:
    image = np.arange(40 * 50 * 3, dtype=np.uint32).astype(np.uint8).reshape(40, 50, 3)
    assert np.array_equal(faces.cut(image, Crop((3, 7, 30, 30))), image[7:37, 3:33])
    assert faces.cut(image, faces.centre_square(image)).shape == (40, 40, 3)


@pytest.mark.parametrize(("left", "side", "roll"), [(200, 104, 7.0), (210, 60, -33.3), (190, 100, 90.0)])
def test_a_turned_cut_is_the_middle_of_what_pillow_turns(left: int, side: int, roll: float) -> None:
    around = astronaut()[180 - side // 2 : 180 + side * 3 // 2, left - side // 2 : left + side * 3 // 2]
    turned = np.asarray(Image.fromarray(around).rotate(roll, Image.Resampling.BICUBIC))
    expected = turned[side // 2 : side // 2 + side, side // 2 : side // 2 + side]
    assert np.array_equal(faces.cut(astronaut(), Crop((left, 180, side, side), roll)), expected)


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


PORTRAIT = astronaut()[:300, 90:390]
"""A head and shoulders: the face is 100 pixels high, well inside."""


def tilted(degrees: float) -> np.ndarray:
    return np.asarray(Image.fromarray(PORTRAIT).rotate(-degrees, Image.Resampling.BICUBIC, fillcolor=(120, 120, 120)))


def only(picture: np.ndarray) -> faces.Candidate:
    [found] = faces.candidates(picture)
    return found


def test_the_standard_crop_is_framed_as_in_ffhq() -> None:
    """Eyes and mouth of FFHQ's crops lie at about 0.48 and 0.72 of the height, the eyes 0.25 of the width apart."""
    found = only(PORTRAIT)
    left, top, side, _ = found.crop.box
    [face] = find(PORTRAIT)
    eyes, mouth = (face.landmarks[rows].mean(0) for rows in (slice(2), slice(3, 5)))
    assert (np.array([eyes[0] - left, eyes[1] - top]) / side).tolist() == pytest.approx([0.5, 0.48], abs=0.04)
    assert (mouth[1] - top) / side == pytest.approx(0.72, abs=0.05)
    assert np.array_equal(found.pixels, PORTRAIT[top : top + side, left : left + side])
    assert found.reason is None


@pytest.mark.parametrize("shift", [(0, 0), (7, 0), (0, 5), (6, 4)])
def test_a_picture_that_is_a_standard_crop_is_taken_whole(shift: tuple[int, int]) -> None:
    left, top, side, _ = only(PORTRAIT).crop.box
    whole = astronaut()[top + shift[1] : top + shift[1] + side, 90 + left + shift[0] : 90 + left + shift[0] + side]
    found = only(whole)
    assert found.crop == Crop((0, 0, side, side))
    assert np.array_equal(found.pixels, whole)


@pytest.mark.parametrize("degrees", [-40, -30, 30, 40])
def test_a_tilted_head_is_turned_upright(degrees: float) -> None:
    found = only(tilted(degrees))
    assert found.crop.roll == pytest.approx(degrees + 5, abs=8)  # her head leans by about 5 itself
    assert only(np.ascontiguousarray(found.pixels)).crop.roll == 0


@pytest.mark.parametrize(("quarters", "roll"), [(1, -90), (2, 180), (3, 90)])
def test_a_face_on_its_side_or_upside_down_is_judged_as_if_it_were_upright(quarters: int, roll: int) -> None:
    picture = astronaut()[:400, :500]
    upright, turned = only(picture), np.rot90(picture, quarters)
    got = only(turned)
    assert np.array_equal(got.pixels, upright.pixels)
    assert (got.crop.roll, got.reason) == (roll, None)
    assert np.array_equal(faces.cut(turned, got.crop), got.pixels)
    (x, y, across, down), (left, top, width, height) = got.box, upright.box
    there = np.rot90(turned[y : y + down, x : x + across], -quarters)
    assert np.array_equal(there, picture[top : top + height, left : left + width])


@pytest.mark.parametrize("quarters", [1, 2, 3])
def test_a_large_group_is_turned_by_what_all_its_pixels_show(quarters: int) -> None:
    """Faces that are seen at 1,280 pixels only, of which nothing is found at first."""
    head = np.asarray(Image.fromarray(PORTRAIT).resize((240, 240)))
    group = np.full((1500, 2000, 3), 128, np.uint8)
    for top in (200, 800):
        for left in (200, 800, 1400):
            group[top : top + 240, left : left + 240] = head
    turned = np.rot90(group, quarters)
    rolls = [abs(face.crop.roll) for face in faces.candidates(turned)]
    assert rolls == [180 if quarters == 2 else 90] * 6


@pytest.mark.parametrize("degrees", [-150, -100, 80, 120, 170])
def test_a_strong_lean_is_turned_upright(degrees: int) -> None:
    got = only(tilted(degrees)).crop.roll
    assert abs((got - degrees + 180) % 360 - 180) < 12


def test_a_head_tilted_a_little_is_not_resampled() -> None:
    picture = tilted(-8)
    found = only(picture)
    left, top, side, _ = found.crop.box
    assert found.crop.roll == 0
    assert np.array_equal(found.pixels, picture[top : top + side, left : left + side])


@settings(max_examples=40, deadline=None, derandomize=True, database=None)
@given(st.integers(40, 300), st.integers(40, 300), st.lists(st.floats(-50, 350), min_size=10, max_size=10))
def test_any_landmarks_give_a_crop_within_the_picture(width: int, height: int, points: list[float]) -> None:
    picture = PORTRAIT[:height, :width]
    crop = faces.crop_for(picture, np.array(points).reshape(5, 2))
    left, top, side, other = crop.box
    assert side == other >= 1
    assert 0 <= left <= width - side
    assert 0 <= top <= height - side
    assert faces.cut(picture, crop).shape == (side, side, 3)


def test_why_a_face_cannot_be_judged() -> None:
    image = Image.fromarray(PORTRAIT)
    small = Image.new("RGB", (300, 300), (90, 110, 130))
    small.paste(image.resize((100, 100), Image.Resampling.LANCZOS), (100, 100))
    assert only(np.asarray(small)).reason == "too_small"
    assert only(np.asarray(image.filter(ImageFilter.GaussianBlur(6)))).reason == "too_blurred"
    assert only(np.asarray(image.filter(ImageFilter.GaussianBlur(1.5)))).reason is None


@pytest.mark.parametrize("share", [0.4, 0.5])
@pytest.mark.parametrize("side", ["left", "right", "bottom"])
def test_half_a_face_at_an_edge_is_not_judged(side: str, share: float) -> None:
    left, top, width, height = only(PORTRAIT).box
    x, y = left + round(share * width), top + round((1 - share) * height)
    cut = {"left": PORTRAIT[:, x:], "right": PORTRAIT[:, : 2 * left + width - x], "bottom": PORTRAIT[:y]}[side]
    for found in faces.candidates(np.ascontiguousarray(cut)):
        assert found.reason == "cut_off"


def test_a_face_near_an_edge_is_judged() -> None:
    left, top, width, _ = only(PORTRAIT).box
    assert only(np.ascontiguousarray(PORTRAIT[top:, left : left + width])).reason is None


def test_a_leaning_face_beside_another_keeps_its_own_landmarks() -> None:
    picture = np.full((400, 700, 3), 128, np.uint8)
    picture[50:350, 30:330] = PORTRAIT
    leaning = Image.fromarray(tilted(35)).resize((150, 150), Image.Resampling.LANCZOS)
    picture[120:270, 330:480] = np.asarray(leaning)
    large, small = faces.candidates(picture)
    for found, middle in ((large, 180), (small, 405)):
        left, _, side, _ = found.crop.box
        assert abs(left + side / 2 - middle) < 60


def test_a_large_leaning_face_costs_no_more_memory_than_its_pixels() -> None:
    picture = np.asarray(Image.fromarray(tilted(30)).resize((2400, 2400), Image.Resampling.BICUBIC))
    tracemalloc.start()
    found = only(picture)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found.crop.roll > 20
    assert found.pixels.base is None, "nothing around the crop is kept"
    assert peak < 12 * picture.nbytes


def test_a_nose_beside_the_eyes_is_a_head_turned_away() -> None:
    ahead = np.array([[10, 10], [30, 10], [20, 20], [12, 30], [28, 30]], float)
    aside = ahead.copy()
    aside[2] = [38, 20]
    assert faces._reason(ahead, (40, 40), PORTRAIT) is None
    assert faces._reason(aside, (60, 60), PORTRAIT) == "turned_away"
    turn = np.array([[0, -1], [1, 0]])  # tilting the head by a right angle changes nothing
    assert faces._reason(aside @ turn + (0, 50), (60, 60), PORTRAIT) == "turned_away"
