"""Two detectors in a row: a small one answers what it is sure of, a large one judges the rest."""

import hashlib
from collections.abc import Iterable, Iterator

from .detector import Detector, Picture
from .images import Limits
from .results import DetectorId, Verdict


class Cascade:
    """`fast`, then `best`; takes the place of a `Detector` where only verdicts are asked for.

    Viola and Jones 2001, "Rapid Object Detection using a Boosted Cascade of Simple Features". A picture is sent on as a
    whole if `fast` has, for one of its faces, a probability between its thresholds. Each verdict names the detector
    that gave it.

    Attributes:
        id: name "auto", and one hash of both files.
    """

    def __init__(self, first: Detector, second: Detector) -> None:
        self._first, self._second = first, second
        both = hashlib.sha256(f"{first.id.sha256} {second.id.sha256}".encode()).hexdigest()
        self.id = DetectorId("auto", second.id.version, both)

    @classmethod
    def load(cls, *, threads: int | None = None, limits: Limits = Limits()) -> "Cascade":
        """Load both; see `Detector.load`."""
        first, second = (Detector.load(name, threads=threads, limits=limits) for name in ("fast", "best"))
        return cls(first, second)

    def check_many(self, pictures: Iterable[Picture]) -> Iterator[Verdict]:
        """Judge pictures in order, one at a time, as `Detector.check_many` does."""
        for picture in pictures:
            [verdict] = self._first.check_many([picture])
            if _is_unsure(verdict):
                [verdict] = self._second.check_many([picture])
            yield verdict


def _is_unsure(verdict: Verdict) -> bool:
    """Whether a face could be judged but is neither real nor fake; a face with a reason of its own stays as it is."""
    return any(face.verdict == "inconclusive" and face.reason is None for face in verdict.faces)
