"""What a check returns: frozen, plain, and the same in Python as in JSON."""

import json
from dataclasses import asdict, dataclass
from typing import Any, Literal

Answer = Literal["real", "fake", "inconclusive"]


@dataclass(frozen=True)
class Probability:
    """Calibrated probabilities of the two classes; they sum to 1."""

    real: float
    fake: float


@dataclass(frozen=True)
class Face:
    """One judged face.

    Attributes:
        box: left, top, width, height in pixels of the upright picture.
        verdict: real, fake or inconclusive, by the detector's thresholds.
        probability: of both classes.
    """

    box: tuple[int, int, int, int]
    verdict: Answer
    probability: Probability


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
class Provenance:
    """What a file says of its own origin, most telling first."""

    claims: tuple[Claim, ...] = ()

    @property
    def summary(self) -> str:
        """All claims in one sentence, with what they are worth."""
        if not self.claims:
            return "The file says nothing of its origin, which means nothing: most sites remove such notes."
        return f"The file says: {'; '.join(map(str, self.claims))}; such notes can be forged or copied."


@dataclass(frozen=True)
class Verdict:
    """The answer for one picture.

    Attributes:
        path: the file, as it was given; None for bytes and arrays.
        sha256: of the file's bytes, picture or not; None for arrays and for files that could not be read.
        status: "ok", "no_face" (a picture without a face) or "error" (see `error`).
        verdict: "fake" if any face is, else "inconclusive" if any is, else "real"; None unless status is "ok".
        faces: the judged faces; empty unless status is "ok".
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
        return asdict(self)

    def to_json(self) -> str:
        """The answer as one line of JSON, in ASCII (file names may hold bytes that no encoding can print)."""
        return json.dumps(self.to_dict())


def overall(faces: tuple[Face, ...]) -> Answer | None:
    """The verdict on a picture from those on its faces; None where there is no face."""
    verdicts = {face.verdict for face in faces}
    order: tuple[Answer, ...] = ("fake", "inconclusive", "real")
    return next((answer for answer in order if answer in verdicts), None)
