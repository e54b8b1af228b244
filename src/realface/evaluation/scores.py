"""What a detector says of every labelled picture, before any figure is made of it."""

import logging
from collections.abc import Iterable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

import numpy as np

from ..data import Sample
from ..data.crops import read_face
from ..degrade import AS_IT_IS, GRID, Change
from ..detector import Detector
from ..errors import DataError, ImageError, NoFace
from ..progress import spread

LARGE = 2000
"""Crops of more pixels a side are changed one at a time: noise on one takes half a gigabyte of memory."""
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Seen:
    """What a detector says of the main face of a picture after each of K changes to its crop.

    Attributes:
        side: native pixels of the crop's side, as it is.
        judged: (K,) bool, False where it is inconclusive for a reason of its own (`realface.results.REASONS`); but for
            novelty, the reason is that of the crop as it is.
        logits, novelty: (K,) float32, see `Detector.judge`.
    """

    side: int
    judged: np.ndarray
    logits: np.ndarray
    novelty: np.ndarray


def look(
    detector: Detector,
    paths: Sequence[Path],
    label: str,
    changes: Sequence[Change],
    seeds: Iterable[Sequence[int]],
) -> Iterator[Seen | str]:
    """What a detector says of each picture, in their order; of one that cannot be judged the code of its `ImageError`.

    The face is looked for once, in the picture as it is, and cut from it; each change is made to the native pixels of
    that crop, and judged before the next is made: of each picture that is being worked on, two crops are in memory.
    Pictures are spread over the cores, see `realface.progress.spread`.

    Args:
        detector: the detector.
        paths: the pictures.
        label: what the progress display says is being done.
        changes: what is done to a crop; those of one picture all begin with the same random numbers.
        seeds: fix these, one of each picture.
    """

    def one(path: Path, seed: Sequence[int]) -> Seen | str:
        try:
            face = read_face(path, detector.card.preprocessing.crop)
        except ImageError as error:
            return error.code
        with alone if face.pixels.shape[0] > LARGE else nullcontext():
            told = [detector.judge([change(face.pixels, np.random.default_rng(seed))])[:2] for change in changes]
        logits, novelty = (np.concatenate(parts) for parts in zip(*told, strict=True))
        return Seen(face.pixels.shape[0], ~detector.unfamiliar(novelty) & (face.reason is None), logits, novelty)

    alone = Lock()
    return spread(lambda pair: one(*pair), zip(paths, seeds, strict=True), label, len(paths))


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
    """

    labels: np.ndarray
    logits: np.ndarray
    sources: np.ndarray
    sides: np.ndarray
    judged: np.ndarray
    novelty: np.ndarray

    def where(self, keep: np.ndarray) -> "Scores":
        """The rows for which `keep`, (N,) bool, says so."""
        return Scores(*(column[keep] for column in vars(self).values()))

    def joined(self, other: "Scores") -> "Scores":
        """The rows of both."""
        return Scores(*map(np.concatenate, zip(vars(self).values(), vars(other).values(), strict=True)))


def score(
    detector: Detector, samples: Sequence[Sample], label: str, *, change: Change = GRID[AS_IT_IS], seed: int = 0
) -> Scores:
    """Score the main face of every picture after a change to its crop; see `score_each`."""
    return score_each(detector, samples, label, [change], seed=seed)[0]


def score_each(
    detector: Detector, samples: Sequence[Sample], label: str, changes: Sequence[Change], *, seed: int = 0
) -> list[Scores]:
    """Score the main face of every picture after each of some changes; see `look`.

    Args:
        detector: the detector.
        samples: the pictures.
        label: what the progress display says is being done.
        changes: what is done to a crop.
        seed: fixes the random numbers of the changes, with the position of the picture.

    Returns:
        The scores after each change, in their order.

    Raises:
        DataError: not one of the pictures could be read and shows a face.
    """
    missed: dict[bool, list[str]] = {True: [], False: []}  # by whether it is a face that is missing
    kept: list[tuple[Sample, Seen]] = []
    seeds = [(seed, row) for row in range(len(samples))]
    told = look(detector, [sample.path for sample in samples], label, changes, seeds)
    for sample, seen in zip(samples, told, strict=True):
        if isinstance(seen, str):
            missed[seen == NoFace.code].append(str(sample.path))
        else:
            kept.append((sample, seen))
    for faceless, paths in missed.items():
        if paths:
            what = "show no face" if faceless else "could not be read"
            log.warning("%d pictures %s, the first is %s", len(paths), what, paths[0])
    if not kept:
        raise DataError("none of the pictures could be read and shows a face")
    return [
        Scores(
            np.array([sample.label for sample, _ in kept]),
            np.array([seen.logits[k] for _, seen in kept]),
            np.array([sample.source for sample, _ in kept]),
            np.array([seen.side for _, seen in kept]),
            np.array([seen.judged[k] for _, seen in kept]),
            np.array([seen.novelty[k] for _, seen in kept]),
        )
        for k in range(len(changes))
    ]
