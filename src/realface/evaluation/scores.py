"""What a detector says of every labelled picture, before any figure is made of it."""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np

from ..data import Sample
from ..data.crops import network_input, read_face
from ..detector import Detector
from ..errors import DataError, ImageError, NoFace
from ..progress import track

BATCH = 8
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Scores:
    """One row a picture that could be read and shows a face.

    Attributes:
        labels: (N,) int, 0 real, 1 fake.
        logits: (N,) float32, uncalibrated, positive for fake.
        sources: (N,) str.
        sides: (N,) int, native pixels of the crop's side.
        judged: (N,) bool, False for faces that are inconclusive for a reason of their own (`realface.results.REASONS`).
        unreadable: paths of the pictures that could not be read.
        faceless: paths of those that show no face.
    """

    labels: np.ndarray
    logits: np.ndarray
    sources: np.ndarray
    sides: np.ndarray
    judged: np.ndarray
    unreadable: tuple[str, ...]
    faceless: tuple[str, ...]

    def joined(self, other: "Scores") -> "Scores":
        """The rows of both."""
        return Scores(
            np.concatenate([self.labels, other.labels]),
            np.concatenate([self.logits, other.logits]),
            np.concatenate([self.sources, other.sources]),
            np.concatenate([self.sides, other.sides]),
            np.concatenate([self.judged, other.judged]),
            self.unreadable + other.unreadable,
            self.faceless + other.faceless,
        )


def score(detector: Detector, samples: Sequence[Sample], label: str, *, strength: float = 0, seed: int = 0) -> Scores:
    """Score the main face of every picture, as it is or (with `strength`) after one random history of its own.

    Raises:
        DataError: not one of the pictures could be read.
    """
    unreadable: list[str] = []
    faceless: list[str] = []
    kept: list[Sample] = []
    sides: list[int] = []
    judged: list[bool] = []
    preprocessing = detector.card.preprocessing

    def inputs() -> Iterator[np.ndarray]:
        for row, sample in enumerate(track(samples, label)):
            try:
                face = read_face(sample.path, preprocessing.crop)
            except ImageError as error:
                (faceless if isinstance(error, NoFace) else unreadable).append(str(sample.path))
                continue
            kept.append(sample)
            sides.append(face.pixels.shape[0])
            judged.append(face.reason is None)
            yield network_input(face.pixels, preprocessing.size, strength, (seed, row))

    logits = [detector.logits(np.stack(batch)) for batch in _batched(inputs())]
    for paths, what in ((unreadable, "could not be read"), (faceless, "show no face")):
        if paths:
            log.warning("%d pictures %s, the first is %s", len(paths), what, paths[0])
    if not logits:
        raise DataError("none of the pictures could be read")
    return Scores(
        np.array([sample.label for sample in kept]),
        np.concatenate(logits),
        np.array([sample.source for sample in kept]),
        np.array(sides),
        np.array(judged),
        tuple(unreadable),
        tuple(faceless),
    )


def _batched(inputs: Iterator[np.ndarray]) -> Iterator[list[np.ndarray]]:
    while batch := list(islice(inputs, BATCH)):
        yield batch
