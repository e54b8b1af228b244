"""What a detector says of every labelled picture, before any figure is made of it."""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice

import numpy as np

from ..data import Sample
from ..data.crops import read_face
from ..degrade import AS_IT_IS, GRID, Change
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
        novelty: (N,) float32, see `Detector.judge`.
        unreadable: paths of the pictures that could not be read.
        faceless: paths of those that show no face.
    """

    labels: np.ndarray
    logits: np.ndarray
    sources: np.ndarray
    sides: np.ndarray
    judged: np.ndarray
    novelty: np.ndarray
    unreadable: tuple[str, ...]
    faceless: tuple[str, ...]

    def where(self, keep: np.ndarray) -> "Scores":
        """The rows for which `keep`, (N,) bool, says so."""
        return replace(
            self,
            labels=self.labels[keep],
            logits=self.logits[keep],
            sources=self.sources[keep],
            sides=self.sides[keep],
            judged=self.judged[keep],
            novelty=self.novelty[keep],
        )

    def joined(self, other: "Scores") -> "Scores":
        """The rows of both."""
        return Scores(
            np.concatenate([self.labels, other.labels]),
            np.concatenate([self.logits, other.logits]),
            np.concatenate([self.sources, other.sources]),
            np.concatenate([self.sides, other.sides]),
            np.concatenate([self.judged, other.judged]),
            np.concatenate([self.novelty, other.novelty]),
            self.unreadable + other.unreadable,
            self.faceless + other.faceless,
        )


def score(
    detector: Detector, samples: Sequence[Sample], label: str, *, change: Change = GRID[AS_IT_IS], seed: int = 0
) -> Scores:
    """Score the main face of every picture after a change to its crop; see `score_each`."""
    return score_each(detector, samples, label, [change], seed=seed)[0]


def score_each(
    detector: Detector, samples: Sequence[Sample], label: str, changes: Sequence[Change], *, seed: int = 0
) -> list[Scores]:
    """Score the main face of every picture after each of some changes.

    The face is looked for once, in the picture as it is, and cut from it; each change is made to the native pixels of
    that crop. `sides` and, but for novelty, `judged` are of the crop as it is.

    Args:
        detector: the detector.
        samples: the pictures.
        label: what the progress display says is being done.
        changes: what is done to a crop; those of one picture all begin with the same random numbers.
        seed: fixes these, with the position of the picture.

    Returns:
        The scores after each change, in their order.

    Raises:
        DataError: not one of the pictures could be read.
    """
    unreadable: list[str] = []
    faceless: list[str] = []
    kept: list[Sample] = []
    sides: list[int] = []
    judged: list[bool] = []

    def crops() -> Iterator[np.ndarray]:
        for row, sample in enumerate(track(samples, label)):
            try:
                face = read_face(sample.path, detector.card.preprocessing.crop)
            except ImageError as error:
                (faceless if isinstance(error, NoFace) else unreadable).append(str(sample.path))
                continue
            kept.append(sample)
            sides.append(face.pixels.shape[0])
            judged.append(face.reason is None)
            for change in changes:
                yield change(face.pixels, np.random.default_rng((seed, row)))

    batches = [detector.judge(batch)[:2] for batch in _batched(crops())]
    for paths, what in ((unreadable, "could not be read"), (faceless, "show no face")):
        if paths:
            log.warning("%d pictures %s, the first is %s", len(paths), what, paths[0])
    if not batches:
        raise DataError("none of the pictures could be read")
    logits, novelty = (np.concatenate(parts).reshape(len(kept), len(changes)).T for parts in zip(*batches, strict=True))
    return [
        Scores(
            np.array([sample.label for sample in kept]),
            of_change,
            np.array([sample.source for sample in kept]),
            np.array(sides),
            np.array(judged) & ~detector.unfamiliar(novel),
            novel,
            tuple(unreadable),
            tuple(faceless),
        )
        for of_change, novel in zip(logits, novelty, strict=True)
    ]


def _batched(crops: Iterator[np.ndarray]) -> Iterator[list[np.ndarray]]:
    while batch := list(islice(crops, BATCH)):
        yield batch
