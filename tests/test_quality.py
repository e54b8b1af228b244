"""The bundled detector on faces: a public-domain photograph, and the project's own test pictures where they are."""

import numpy as np
import pytest
from helpers import FACES
from skimage import data

from realface import Detector, bundled
from realface.data import read_data


@pytest.fixture(scope="module")
def best() -> Detector:
    return Detector.load(threads=1)  # the tests have a process for each core


def test_the_bundled_file_is_small_and_describes_itself(best: Detector) -> None:
    assert bundled()["best"].stat().st_size <= 60e6
    card = best.card
    assert card.network == "two-views"
    assert (card.preprocessing.crop, card.preprocessing.size, card.preprocessing.window) == ("face", 224, 192)
    assert best.explains
    assert card.thresholds.novel_from is not None
    assert (card.policy.max_bpcer, card.policy.max_apcer, card.policy.split) == (0.01, 0.05, "valid")
    assert card.metrics["valid"]["all"]["bpcer"] <= card.policy.max_bpcer
    assert card.metrics["valid"]["all"]["apcer"] <= card.policy.max_apcer
    assert "non-commercial" in card.licence
    assert set(card.data["sha256"]) == {"train", "valid", "test"}


def test_the_small_detector_is_small_and_calls_a_real_face_no_fake() -> None:
    assert bundled()["fast"].stat().st_size <= 15e6
    fast = Detector.load("fast", threads=1)
    assert fast.card.metrics["valid"]["all"]["bpcer"] <= fast.card.policy.max_bpcer
    assert fast.check(data.astronaut()).verdict != "fake"


def test_noise_is_unfamiliar(best: Detector, rng: np.random.Generator) -> None:
    crops = [rng.integers(0, 256, (224, 224, 3), dtype=np.uint8), data.astronaut()[:224, 100:324]]
    _, novelty, _ = best.judge(crops)
    assert best.unfamiliar(novelty).tolist() == [True, False]


def test_a_real_face_is_called_real(best: Detector) -> None:
    verdict = best.check(data.astronaut())
    assert len(verdict.faces) == 1
    assert verdict.verdict == "real"
    assert verdict.faces[0].probability.real > 0.9


def test_batches_say_what_single_pictures_say(best: Detector) -> None:
    crops = np.stack([data.astronaut()[:224, 100 + x : 324 + x] for x in (0, 20, 40)])
    single = np.concatenate([best.logits(crop[None]) for crop in crops])
    assert np.abs(best.probabilities(best.logits(crops)) - best.probabilities(single)).max() < 0.001


@pytest.mark.skipif(not FACES.is_dir(), reason="the project's faces are not here (REALFACE_FACES says where)")
@pytest.mark.parametrize(
    ("source", "count", "least_right", "most_accused"),
    [("140k-a", 75, 0.92, 0.04), ("140k-b", 75, 0.92, 0.04), ("lfw", 16, 0.95, 0.04), ("tpdne", 6, 0.9, 0)],
)
def test_held_out_faces_are_told_apart(
    best: Detector, source: str, count: int, least_right: float, most_accused: float
) -> None:
    """A sample of what `results/best.json` measures on all of the test split: accuracy at 0.5, real called fake."""
    samples = [s for s in read_data(FACES) if s.split == "test" and s.source.startswith(source)]
    some = samples[:: max(1, len(samples) // count)]
    assert len(some) >= 6
    verdicts = list(best.check_many(s.path for s in some))
    right = [(v.faces[0].probability.fake >= 0.5) == bool(s.label) for v, s in zip(verdicts, some, strict=True)]
    accused = [v.faces[0].verdict == "fake" for v, s in zip(verdicts, some, strict=True) if s.label == 0]
    assert np.mean(right) >= least_right
    assert sum(accused) <= most_accused * len(accused)
