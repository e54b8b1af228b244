"""What a check returns: frozen, plain, and the same in Python as in JSON."""

import json
from dataclasses import asdict, dataclass
from typing import Any, Literal, cast

from .errors import RealfaceError

Answer = Literal["real", "fake", "inconclusive"]
Reason = Literal["too_small", "too_blurred", "turned_away", "cut_off", "unfamiliar"]
Box = tuple[int, int, int, int]
"""Left, top, width and height in pixels of the upright picture."""

REASONS: dict[Reason, str] = {
    "too_small": "the face is too small to judge",
    "too_blurred": "the face is too blurred to judge",
    "turned_away": "the face is turned away too far to judge",
    "cut_off": "too much of the face is outside the picture to judge it",
    "unfamiliar": "the face looks like nothing the detector was trained on",
}


@dataclass(frozen=True)
class Probability:
    """Calibrated probabilities of the two classes; they sum to 1."""

    real: float
    fake: float


@dataclass(frozen=True)
class Crop:
    """What was cut out of the picture and judged.

    Attributes:
        box: a square, in pixels of the upright picture.
        roll: degrees, clockwise, by which the head leans; the square was turned by as much about its centre.
    """

    box: Box
    roll: float = 0.0


@dataclass(frozen=True)
class Trial:
    """The answer for a face after something was done to its crop, such as "JPEG 70": does the verdict hold?"""

    change: str
    verdict: Answer
    probability: Probability


@dataclass(frozen=True)
class Face:
    """One face that was found.

    Attributes:
        box: around the face itself.
        verdict: real, fake or inconclusive, by the detector's thresholds; inconclusive if there is a `reason`.
        probability: of both classes.
        crop: the part of the picture the probability is of.
        reason: why this face cannot be judged, a key of `REASONS`; None where it can.
        heatmap: where the evidence lies, if asked for: rows of a square grid over the crop. What speaks for fake is
            positive, and all cells add up to the log odds of fake.
        stability: the answers for changed versions of the crop, if asked for.
    """

    box: Box
    verdict: Answer
    probability: Probability
    crop: Crop
    reason: Reason | None = None
    heatmap: tuple[tuple[float, ...], ...] | None = None
    stability: tuple[Trial, ...] | None = None

    @property
    def stable(self) -> bool | None:
        """Whether every changed version got the same verdict; None where that was not asked, or nothing was judged."""
        if self.stability is None or self.reason:
            return None
        return all(trial.verdict == self.verdict for trial in self.stability)


@dataclass(frozen=True)
class Problem:
    """Why a picture could not be answered: a stable code and a sentence for a person."""

    code: str
    message: str


@dataclass(frozen=True)
class DetectorId:
    """Which detector answered: its name, version, and the SHA-256 of its file."""

    name: str
    version: str
    sha256: str


@dataclass(frozen=True)
class Claim:
    """One thing that a file says of its own origin; anyone can write, copy or remove it.

    Attributes:
        kind: what it is about: the generator of the picture, the kind of its source, a C2PA manifest, …
        says: plain printable text, at most 2,000 characters.
        where: the place in the file, such as "EXIF Software".
    """

    kind: Literal["generator", "source-type", "c2pa", "camera", "software"]
    says: str
    where: str

    def __str__(self) -> str:
        says = self.says if len(self.says) <= 120 else self.says[:119] + "…"
        return f"{_KINDS[self.kind]} {says}"


_KINDS = {"generator": "generator", "source-type": "source", "c2pa": "C2PA", "camera": "camera", "software": "software"}


@dataclass(frozen=True)
class Verdict:
    """The answer for one picture.

    Attributes:
        path: the file, as it was given; None for bytes and arrays.
        sha256: of the file's bytes, picture or not; None for arrays and for files that could not be read.
        status: "ok", "no_face" (a picture without a face) or "error" (see `error`).
        verdict: "fake" if any judged face is, else "inconclusive" if any is, else "real"; faces that cannot be judged
            count only where no other can. None unless status is "ok".
        faces: every face found, the largest first; empty unless status is "ok".
        error: what went wrong, where status is "error".
        detector: which detector answered.
        provenance: what the file says of itself, which no verdict rests on; empty unless a file was read and decoded.
    """

    path: str | None
    sha256: str | None
    status: Literal["ok", "no_face", "error"]
    verdict: Answer | None
    faces: tuple[Face, ...]
    error: Problem | None
    detector: DetectorId
    provenance: tuple[Claim, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """The answer as plain dictionaries, lists, strings and numbers."""
        return cast(dict[str, Any], json.loads(self.to_json()))

    def to_json(self) -> str:
        """The answer as one line of JSON, in ASCII (file names may hold bytes that no encoding can print)."""
        return json.dumps(asdict(self), allow_nan=False)


def failed(path: str | None, sha256: str | None, error: RealfaceError, detector: DetectorId) -> Verdict:
    """The answer for a picture that has none."""
    return Verdict(path, sha256, "error", None, (), Problem(error.code, str(error)), detector)


def overall(faces: tuple[Face, ...]) -> Answer | None:
    """The verdict on a picture from those on its faces; None where there is no face.

    Faces that cannot be judged count only where no other can: a blurred passer-by changes nothing.
    """
    verdicts = {face.verdict for face in faces if face.reason is None} or {face.verdict for face in faces}
    order: tuple[Answer, ...] = ("fake", "inconclusive", "real")
    return next((answer for answer in order if answer in verdicts), None)
