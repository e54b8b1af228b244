"""What a detector says of every labelled picture, before any figure is made of it."""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from ..data import Sample
from ..data.crops import read_crop
from ..detector import Detector
from ..errors import DataError, ImageError
from ..progress import track

BATCH = 8
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Scores:
    """One row a picture that could be read.

    Attributes:
        labels: (N,) int, 0 real, 1 fake.
        logits: (N,) float32, uncalibrated, positive for fake.
        sources: (N,) str.
        unreadable: paths of the pictures that could not be read.
    """

    labels: np.ndarray
    logits: np.ndarray
    sources: np.ndarray
    unreadable: tuple[str, ...]

    def joined(self, other: "Scores") -> "Scores":
        """The rows of both."""
        return Scores(
            np.concatenate([self.labels, other.labels]),
            np.concatenate([self.logits, other.logits]),
            np.concatenate([self.sources, other.sources]),
            self.unreadable + other.unreadable,
        )


def score(detector: Detector, samples: Sequence[Sample], label: str, *, strength: float = 0, seed: int = 0) -> Scores:
    """Score every picture, as it is or (with `strength`) after one random history of its own.

    Raises:
        DataError: not one of the pictures could be read.
    """
    unreadable: list[str] = []
    kept: list[Sample] = []
    size = detector.card.preprocessing.size

    def crops() -> Iterator[np.ndarray]:
        for row, sample in enumerate(track(samples, label)):
            try:
                crop = read_crop(sample.path, size, strength, (seed, row))
            except ImageError:
                unreadable.append(str(sample.path))
                continue
            kept.append(sample)
            yield crop

    logits = [detector.logits(np.stack(batch)) for batch in _batched(crops())]
    if unreadable:
        log.warning("%d pictures could not be read, the first is %s", len(unreadable), unreadable[0])
    if not logits:
        raise DataError("none of the pictures could be read")
    labels = np.array([sample.label for sample in kept])
    return Scores(labels, np.concatenate(logits), np.array([s.source for s in kept]), tuple(unreadable))


def _batched(crops: Iterator[np.ndarray]) -> Iterator[list[np.ndarray]]:
    batch: list[np.ndarray] = []
    for crop in crops:
        batch.append(crop)
        if len(batch) == BATCH:
            yield batch
            batch = []
    if batch:
        yield batch
