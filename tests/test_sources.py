"""What pictures are drawn in training, and how often."""

from pathlib import Path

import numpy as np
import pytest
import torch

from realface.data import Sample
from realface.training.config import Config
from realface.training.sources import Source, weights


def test_balance_gives_classes_the_same_weight_and_small_sources_more() -> None:
    def sample(label: int, source: str) -> Sample:
        return Sample(Path("x"), label, source, "train")

    samples = [sample(0, "a")] * 90 + [sample(0, "b")] * 10 + [sample(1, "c")] * 25
    got = weights(samples, "source")
    assert got.mean() == pytest.approx(1)
    assert got[:100].sum() == pytest.approx(got[100:].sum())
    assert got[:90].sum() / got[90:100].sum() == pytest.approx(3)
    by_class = weights(samples, "class")
    assert by_class[0] == pytest.approx(by_class[99])
    assert (weights(samples, "none") == 1).all()


def test_small_weights_among_millions_are_drawn_as_often_as_they_should_be(monkeypatch: pytest.MonkeyPatch) -> None:
    source = Source([Sample(Path("x"), label, "a", "train") for label in (0, 1)], "none", 4)
    source.weights, source.draws = torch.ones(2**24 + 2), 100_000
    source.weights[1::2] = 0.2
    monkeypatch.setattr(Source, "_loader", lambda self, config, rows, epoch: rows)
    drawn = np.array(source.drawn(Config(), 0))
    assert (drawn % 2).mean() == pytest.approx(1 / 6, abs=0.01)
    assert drawn.mean() == pytest.approx(2**23, rel=0.02)


@pytest.mark.parametrize(("versions", "share"), [(1, 1), (2, 1 / 2), (3, 1 / 3), (6, 1 / 3)])
def test_as_they_are_pictures_are_drawn_a_third_of_the_time(versions: int, share: float) -> None:
    samples = [Sample(Path("x"), label, "a", "train") for label in (0, 1)] * 1000
    source = Source(samples, "none", 4, [np.full((2000, 1), version) for version in range(versions)])
    drawn = torch.cat([features for features, _ in source.drawn(Config(), 0)]).flatten().bincount(minlength=versions)
    assert drawn / 2000 == pytest.approx([share] + [(1 - share) / max(1, versions - 1)] * (versions - 1), abs=0.05)
