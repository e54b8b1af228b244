"""The ways of scripts/faster.py do what their rows say."""

import faster
import numpy as np
from skimage import data

from realface import Detector, bundled, finder

FAST = bundled()["fast"]


def test_the_network_takes_another_size() -> None:
    detector = Detector(faster.at_size(FAST.read_bytes(), 192), threads=1)
    assert detector.card.preprocessing.size == 192
    assert detector.logits([data.astronaut()[:224, 100:324]]).shape == (1,)


def test_a_smaller_search_finds_the_face_of_a_small_picture() -> None:
    picture = data.astronaut()[:256, 90:346]
    (usual,), (small,) = finder.find(picture), faster.search_small(picture)
    assert np.abs(usual.landmarks - small.landmarks).max() < 10
    assert abs(usual.size - small.size) < 10


def test_comparison_counts_other_verdicts() -> None:
    detector = Detector.load("fast", threads=1)
    today, way = [(-3.0, "real"), (3.0, "fake")], [(-3.0, "real"), (-4.0, "inconclusive")]
    row = faster.compared(today, way, [0, 1], detector)
    assert row == {"pictures": 2, "auc": 0.0, "accuracy": 0.5, "changed": 1}
