"""Each step of a picture's life does what its strength says, and chance comes from the generator alone."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.data import astronaut

from realface import degrade

FACE = astronaut()[40:168, 160:288]
FACE.setflags(write=False)  # no function may write to its argument
Generator = np.random.Generator


def error(image: np.ndarray, original: np.ndarray = FACE) -> float:
    return float(np.abs(image.astype(float) - original).mean())


def sharpness(image: np.ndarray) -> float:
    return float(
        (np.diff(image.astype(float), axis=0) ** 2).mean() + (np.diff(image.astype(float), axis=1) ** 2).mean()
    )


def seeded(seed: int = 0) -> Generator:
    return np.random.default_rng(seed)


SAME_SIZE: list[Callable[[np.ndarray], np.ndarray]] = [
    lambda x: degrade.jpeg(x, 50),
    lambda x: degrade.webp(x, 50),
    lambda x: degrade.resize(x, 1.0),
    lambda x: degrade.blur(x, 1.0),
    lambda x: degrade.noise(x, 3.0, seeded()),
    lambda x: degrade.crop(x, 1.0, seeded()),
    lambda x: degrade.grayscale(x),
    lambda x: degrade.tone(x, 0.9, 1.1, 1.2),
    lambda x: degrade.gamma(x, 1.5),
    lambda x: degrade.tint(x, 1.2, 1.0, 0.8),
    lambda x: degrade.sharpen(x, 1.5, 100),
    lambda x: degrade.straighten(x, 0),
]


@pytest.mark.parametrize("shape", [(128, 128), (33, 47), (32, 32), (101, 35)])
@pytest.mark.parametrize("function", SAME_SIZE)
def test_shape_and_type(function: Callable[[np.ndarray], np.ndarray], shape: tuple[int, int]) -> None:
    image = FACE[: shape[0], : shape[1]]
    before = image.copy()
    result = function(image)
    assert result.shape == image.shape
    assert result.dtype == np.uint8
    assert np.array_equal(result, function(image))
    assert np.array_equal(image, before)


@pytest.mark.parametrize("codec", [degrade.jpeg, degrade.webp])
def test_lower_quality_means_more_error(codec: Callable[[np.ndarray, int], np.ndarray]) -> None:
    errors = [error(codec(FACE, quality)) for quality in (95, 75, 50, 30, 10)]
    assert errors == sorted(errors)
    assert 0 < errors[0] < 4 < errors[-1]


def test_jpeg_has_the_marks_of_jpeg() -> None:
    image = degrade.jpeg(FACE, 30).astype(float).mean(2)
    steps = np.abs(np.diff(image, axis=1)).mean(0)
    at_borders, inside = steps[7::8].mean(), np.delete(steps, np.arange(7, 127, 8)).mean()
    assert at_borders > 1.2 * inside  # the blocks of 8 show


@pytest.mark.parametrize(("scale", "shape"), [(0.5, (64, 64)), (1.0, (128, 128)), (1.5, (192, 192)), (0.3, (38, 38))])
def test_resize(scale: float, shape: tuple[int, int]) -> None:
    result = degrade.resize(FACE, scale)
    assert result.shape == (*shape, 3)
    assert np.allclose(result.mean((0, 1)), FACE.mean((0, 1)), atol=1)


@pytest.mark.parametrize(("shape", "wanted"), [((128, 128), (32, 32)), ((128, 64), (64, 32)), ((40, 120), (32, 96))])
def test_resize_stops_at_32(shape: tuple[int, int], wanted: tuple[int, int]) -> None:
    for scale in (0.25, 0.01, 0.0):
        assert degrade.resize(FACE[: shape[0], : shape[1]], scale).shape == (*wanted, 3)


def test_blur() -> None:
    energies = [sharpness(degrade.blur(FACE, sigma)) for sigma in (0, 0.5, 1, 2, 4)]
    assert energies == sorted(energies, reverse=True)
    assert energies[-1] < energies[0] / 4
    assert np.array_equal(degrade.blur(FACE, 0), FACE)
    assert (degrade.blur(np.full((40, 40, 3), 9, np.uint8), 2) == 9).all()


@pytest.mark.parametrize("sigma", [1.0, 3.0, 6.0, 20.0])
def test_noise(sigma: float) -> None:
    flat = np.full((256, 256, 3), 128, np.uint8)
    noisy = degrade.noise(flat, sigma, seeded()).astype(float) - 128
    assert noisy.mean() == pytest.approx(0, abs=0.1)
    assert noisy.std() == pytest.approx(np.hypot(sigma, 12**-0.5), rel=0.02)  # and what rounding adds
    assert abs(np.corrcoef(noisy[..., 0].ravel(), noisy[..., 1].ravel())[0, 1]) < 0.02
    assert not np.array_equal(noisy, degrade.noise(flat, sigma, seeded(1)).astype(float) - 128)


def test_noise_is_clipped_not_wrapped() -> None:
    assert degrade.noise(np.zeros((64, 64, 3), np.uint8), 5, seeded()).max() < 60
    assert degrade.noise(np.full((64, 64, 3), 255, np.uint8), 5, seeded()).min() > 195
    assert np.array_equal(degrade.noise(FACE, 0, seeded()), FACE)


@settings(max_examples=60, deadline=None, derandomize=True, database=None)
@given(st.integers(32, 128), st.integers(32, 128), st.floats(0, 1), st.integers(0, 2**32))
def test_crop_is_a_window(height: int, width: int, keep: float, seed: int) -> None:
    where = np.indices((height, width)).transpose(1, 2, 0).astype(np.uint8)  # each pixel holds its own place
    image = np.concatenate([where, where[..., :1]], 2)
    window = degrade.crop(image, keep, seeded(seed))
    assert window.shape == (max(32, round(height * keep)), max(32, round(width * keep)), 3)
    top, left = window[0, 0, :2].astype(int)
    assert np.array_equal(window, image[top : top + window.shape[0], left : left + window.shape[1]])


def test_crop_falls_everywhere() -> None:
    where = np.indices((64, 64)).transpose(1, 2, 0).astype(np.uint8)
    image = np.concatenate([where, where[..., :1]], 2)
    rng = seeded()
    tops = {int(degrade.crop(image, 0.9, rng)[0, 0, 0]) for _ in range(200)}
    assert tops == set(range(64 - 58 + 1))


def test_grayscale() -> None:
    grey = degrade.grayscale(FACE).astype(float)
    assert (grey[..., 0] == grey[..., 1]).all()
    assert (grey[..., 0] == grey[..., 2]).all()
    assert np.abs(grey[..., 0] - FACE @ (0.299, 0.587, 0.114)).max() <= 1


def test_tone() -> None:
    assert error(degrade.tone(FACE, 1, 1, 1)) == 0
    assert degrade.tone(FACE, 0.5, 1, 1).mean() == pytest.approx(FACE.mean() / 2, abs=1)
    assert degrade.tone(FACE, 1, 0.5, 1).std() == pytest.approx(FACE.std() / 2, rel=0.1)
    assert np.abs(degrade.tone(FACE, 1, 1, 0).astype(int) - degrade.grayscale(FACE)).max() <= 1
    spread = [np.ptp(degrade.tone(FACE, 1, 1, s).astype(int), axis=2).mean() for s in (0, 0.5, 1, 1.25)]
    assert spread == sorted(spread)


def test_gamma() -> None:
    assert error(degrade.gamma(FACE, 1)) == 0
    means = [degrade.gamma(FACE, exponent).mean() for exponent in (0.5, 1, 2)]
    assert means == sorted(means, reverse=True)
    assert degrade.gamma(np.full((32, 32, 3), 51, np.uint8), 2)[0, 0].tolist() == [10, 10, 10]  # a fifth, squared


def test_tint() -> None:
    tinted = degrade.tint(np.full((32, 32, 3), 200, np.uint8), 1.5, 1.0, 0.5)
    assert (tinted == (255, 200, 100)).all()


def test_sharpen() -> None:
    blurred = degrade.blur(FACE, 1)
    sharpened = [sharpness(degrade.sharpen(blurred, 1, percent)) for percent in (0, 50, 100, 200)]
    assert sharpened == sorted(sharpened)
    assert sharpened[0] == sharpness(blurred)


@given(st.integers(32, 140), st.integers(32, 140), st.floats(-45, 45))
@settings(max_examples=50, deadline=None)
def test_straighten_leaves_no_empty_corner(height: int, width: int, degrees: float) -> None:
    result = degrade.straighten(np.full((height, width, 3), 200, np.uint8), degrees)
    assert min(result.shape[:2]) >= 32
    if min(result.shape[:2]) > 32:  # with less left than that, there is nothing else to cut from
        assert result.min() == 200


def test_edits_differ_and_the_same_seed_gives_the_same() -> None:
    edits = [degrade.edit(FACE, seeded(seed)) for seed in range(40)]
    assert len({edit.tobytes() for edit in edits}) > 30
    assert np.array_equal(edits[7], degrade.edit(FACE, seeded(7)))
    assert {edit.shape for edit in edits} > {FACE.shape}  # some are straightened


@pytest.mark.parametrize("shape", [(128, 128), (32, 32), (33, 33), (101, 99), (300, 300)])
def test_cover_hides_nothing_but_the_lower_face(shape: tuple[int, int]) -> None:
    image = np.full((*shape, 3), 77, np.uint8)
    image.setflags(write=False)
    for seed in range(60):
        result = degrade.cover(image, seeded(seed))
        assert result.shape == image.shape
        assert result.dtype == np.uint8
        changed = (result != image).any(2)
        assert not changed[: shape[0] // 2].any()  # eyes and forehead
        assert not changed[:, : shape[1] // 5].any()
        assert not changed[:, -(shape[1] // 5) :].any()
        assert 0.1 < changed.mean() < 0.22
        assert changed[round(0.7 * shape[0]), shape[1] // 2]  # the mouth
        assert changed[round(0.58 * shape[0]), shape[1] // 2]  # the nose


def test_masks_are_plain_and_differ() -> None:
    masks = [degrade.cover(FACE, seeded(seed)) for seed in range(40)]
    assert len({mask.tobytes() for mask in masks}) == 40
    for mask in masks:
        cloth = mask[80:100, 50:78].astype(int)
        assert np.abs(np.diff(cloth, axis=0)).max() <= 3  # nothing of the face shows through
        assert np.abs(np.diff(cloth, axis=1)).max() <= 8
    levels = [float(mask[80:100, 50:78].mean()) for mask in masks]
    assert min(levels) < 60
    assert max(levels) > 200
    assert np.array_equal(masks[0], degrade.cover(FACE, seeded(0)))


def test_the_grid_is_what_it_says() -> None:
    assert next(iter(degrade.GRID)) == degrade.AS_IT_IS
    results = {name: change(FACE, seeded()) for name, change in degrade.GRID.items()}
    assert np.array_equal(results.pop(degrade.AS_IT_IS), FACE)
    for name, factor in {"scale 1.5": 1.5, "scale 0.75": 0.75, "scale 0.5": 0.5}.items():
        assert results[name].shape == (128 * factor, 128 * factor, 3)
    errors = {name: error(result) for name, result in results.items() if result.shape == FACE.shape}
    assert min(errors.values()) > 0
    for names in (("JPEG 90", "JPEG 70", "JPEG 50", "JPEG 30"), ("blur 0.5", "blur 1", "blur 1.5")):
        assert [errors[name] for name in names] == sorted(errors[name] for name in names)
    assert np.array_equal(results["noise 5"], degrade.noise(FACE, 5, seeded()))
    assert np.array_equal(results["WebP 50"], degrade.webp(FACE, 50))
    assert results["darkened"].mean() < FACE.mean() < results["brightened"].mean()
    assert list(degrade.GRID)[-len(degrade.EDITS) :] == list(degrade.EDITS)


class TestRandomHistory:
    def test_the_same_seed_gives_the_same_life(self) -> None:
        for seed in range(20):
            first, second = (degrade.random_history(FACE, seeded(seed)) for _ in range(2))
            assert np.array_equal(first, second)

    def test_seeds_differ(self) -> None:
        lives = {degrade.random_history(FACE, seeded(seed)).tobytes() for seed in range(40)}
        assert len(lives) > 35

    def test_strength_0_is_the_picture_itself(self) -> None:
        for seed in range(20):
            assert np.array_equal(degrade.random_history(FACE, seeded(seed), 0), FACE)

    def test_more_strength_means_more_happens(self) -> None:
        untouched = [
            sum(np.array_equal(degrade.random_history(FACE, seeded(seed), strength), FACE) for seed in range(100))
            for strength in (0.1, 0.5, 1.0)
        ]
        assert untouched[0] > untouched[1] > untouched[2]
        assert untouched[2] <= 5

    def test_large_pictures_reach_the_sizes_of_small_ones(self) -> None:
        sides = [min(degrade.random_history(astronaut(), seeded(seed)).shape[:2]) for seed in range(80)]
        assert min(sides) < 160
        assert max(sides) > 400
        assert min(sides) >= 79  # a picture is not shrunk beyond what the data sets hold

    @settings(max_examples=150, deadline=None, derandomize=True, database=None)
    @given(st.integers(32, 128), st.integers(32, 128), st.integers(0, 2**32), st.floats(0, 1))
    def test_any_size(self, height: int, width: int, seed: int, strength: float) -> None:
        result = degrade.random_history(FACE[:height, :width], seeded(seed), strength)
        assert result.dtype == np.uint8
        assert result.shape[2:] == (3,)
        assert 32 <= result.shape[0] <= height
        assert 32 <= result.shape[1] <= width
        assert result.flags.c_contiguous

    def test_a_picture_smaller_than_any_window_is_taken_whole(self) -> None:
        for seed in range(40):
            assert degrade.random_history(np.zeros((18, 20, 3), np.uint8), seeded(seed)).ndim == 3

    def test_32_by_32_keeps_its_size(self) -> None:
        for seed in range(40):
            assert degrade.random_history(FACE[:32, :32], seeded(seed)).shape == (32, 32, 3)

    def test_what_happened_once_happens_again(self) -> None:
        """Where one of these lives changes, detectors must be trained again to be compared."""
        lives = [degrade.random_history(FACE, seeded(seed)) for seed in range(6)]
        assert [life.shape[:2] for life in lives] == [
            (103, 103),
            (104, 104),
            (82, 82),
            (95, 95),
            (128, 128),
            (96, 96),
        ]
        assert [float(life.mean()) for life in lives] == pytest.approx([140, 161, 134, 130, 139, 134], abs=1)
