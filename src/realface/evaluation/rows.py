"""What is kept of an evaluation: a line of JSON for each detector and picture, from which every figure is made.

A line is written whole, as soon as it is known, so that a run that was killed goes on where it stopped.
"""

import json
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path

import numpy as np

from .. import degrade
from ..data.crops import program
from ..errors import DataError
from ..paths import write_asked

STATUSES = ("ok", "no_face", "error", "missing")
CODES = {"real": 0, "inconclusive": -1, "fake": 1}
FILE = "scores.jsonl"
_NO_ROW = (ValueError, TypeError, AttributeError, OverflowError, RecursionError)


@dataclass(frozen=True)
class Picture:
    """A labelled picture as it is judged.

    Attributes:
        path: the file.
        sha256: of its bytes; "unreadable" where it could not be read.
        label: 0 real, 1 fake.
        source: "" where nothing says.
        generator: what made a fake; "" of real pictures, and the source where nothing else is known.
    """

    path: str
    sha256: str
    label: int
    source: str
    generator: str


@dataclass(frozen=True)
class Row(Picture):
    """What one detector says of one picture.

    Attributes:
        detector: SHA-256 of its file, or of the command's text.
        code: of the program that found, cut and changed the faces, see `realface.data.crops.program`.
        status: ok, no_face, error (the picture cannot be read) or missing (a command gave no usable answer).
        side: native pixels of the crop's side; 0 where nobody knows.
        fake: cell of the laundering grid to the probability of fake; empty unless status is ok.
        called: cell to the verdict: real, fake or inconclusive.
    """

    detector: str
    code: str
    status: str
    side: int = 0
    fake: dict[str, float] = field(default_factory=dict)
    called: dict[str, str] = field(default_factory=dict)

    def answers(self, picture: Picture, detector: str, cells: Iterable[str]) -> bool:
        """Whether this row is what would be found out again."""
        same = all(getattr(self, part.name) == getattr(picture, part.name) for part in fields(Picture))
        known = self.status in ("no_face", "error") or (self.status == "ok" and set(cells) <= self.fake.keys())
        return same and known and (self.detector, self.code) == (detector, program())


@dataclass(frozen=True)
class Answers:
    """Of the pictures that have one, the answers in one cell.

    Attributes:
        labels: (N,) int, 0 real, 1 fake.
        fake: (N,) float64 probability of fake.
        called: (N,) int, 1 fake, 0 real, -1 inconclusive.
        sources, generators: (N,) str.
        sides: (N,) int, native pixels of the crop's side.
        rows: the N rows.
    """

    labels: np.ndarray
    fake: np.ndarray
    called: np.ndarray
    sources: np.ndarray
    generators: np.ndarray
    sides: np.ndarray
    rows: tuple[Row, ...]


def answers(rows: Sequence[Row], cell: str = degrade.AS_IT_IS) -> Answers:
    """The rows whose status is ok as arrays."""
    good = [row for row in rows if row.status == "ok"]
    return Answers(
        np.array([row.label for row in good], int),
        np.array([row.fake[cell] for row in good], float),
        np.array([CODES[row.called[cell]] for row in good], int),
        np.array([row.source for row in good], str),
        np.array([row.generator for row in good], str),
        np.array([row.side for row in good], int),
        tuple(good),
    )


def read(path: Path) -> list[Row]:
    """The rows in a file; a last line that was cut off is passed over.

    Raises:
        DataError: it cannot be read, or is something else.
    """
    try:
        *whole, last = path.read_text(encoding="utf-8").split("\n")
        found = [_row(line) for line in whole]
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}") from None
    except _NO_ROW:
        raise DataError(f"{path} is damaged, or holds no scores of `realface evaluate`") from None
    with suppress(*_NO_ROW):  # or an editor has left the last line feed away
        found.append(_row(last))
    return found


def write(path: Path, rows: Iterable[Row]) -> None:
    """Write rows to a file, whole or not at all.

    Raises:
        DataError: it cannot be written.
    """
    write_asked(path, (line(row).encode() for row in rows))


def line(row: Row) -> str:
    return json.dumps(asdict(row), allow_nan=False) + "\n"


def _row(text: str) -> Row:
    row = Row(**json.loads(text))
    texts = (row.path, row.sha256, row.source, row.generator, row.detector, row.code)
    if not all(isinstance(part, str) for part in texts) or row.status not in STATUSES or row.label not in (0, 1):
        raise ValueError
    if not (type(row.side) is int and 0 <= row.side < 2**31 and row.fake.keys() == row.called.keys()):
        raise ValueError
    if not all(0 <= float(value) <= 1 for value in row.fake.values()) or not set(row.called.values()) <= CODES.keys():
        raise ValueError
    if row.status == "ok" and degrade.AS_IT_IS not in row.fake:
        raise ValueError
    return row
