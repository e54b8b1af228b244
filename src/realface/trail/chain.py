"""What a record holds, and how each vouches for all before it (a hash chain: Haber and Stornetta 1991)."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from typing import Any

from ..harmless import printable

START = "0" * 64
"""What the first record follows."""
PRUNED = "pruned"
"""The status of a record that says which were removed: `sha256` is the hash of the last of them."""
MAX_PROBLEMS = 20


@dataclass(frozen=True)
class Entry:
    """One answer that was given.

    Attributes:
        time: of the answer, with a time zone.
        who: asked: the name of a key, or an address.
        request: by which the caller knows the request.
        sha256: of the picture; None where there was no file.
        status: as of a verdict: ok, no_face or error.
        verdict: real, fake or inconclusive; None without one.
        probabilities: of fake, one for each face.
        detector: SHA-256 of the detector file.
        policy: under which the thresholds were set.
    """

    time: datetime
    who: str
    request: str
    sha256: str | None
    status: str
    verdict: str | None
    probabilities: tuple[float, ...]
    detector: str
    policy: str

    def values(self) -> dict[str, str | None]:
        """The entry as a record holds it; what does not print is written as its escape.

        Raises:
            ValueError: the time has no zone, or a probability is not a number.
        """
        if self.time.tzinfo is None:
            raise ValueError("the time of an entry must have a time zone")
        time = self.time.astimezone(UTC).isoformat(timespec="microseconds")
        texts = vars(self) | {"time": time, "probabilities": json.dumps(self.probabilities, allow_nan=False)}
        return {name: None if text is None else printable(text) for name, text in texts.items()}


NAMES = ("n", *(f.name for f in fields(Entry)))
"""What of a record is hashed, in this order; the hash itself comes after it."""


def digest(previous: str, record: Mapping[str, Any]) -> str:
    """SHA-256 of the previous hash, a line feed, and the values of a record as a JSON list in ASCII."""
    values = json.dumps([record[name] for name in NAMES], default=repr)  # whoever changes a file can put bytes there
    return hashlib.sha256(f"{previous}\n{values}".encode()).hexdigest()


def pruned(record: Mapping[str, Any]) -> int | None:
    """How many records were removed by then, if this is a record that says so."""
    if record["status"] != PRUNED:
        return None
    try:
        return int(json.loads(record["policy"])["through"])
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError):  # changed since
        return None


@dataclass
class Walk:
    """A walk over records, one by one, in order, and what is wrong with them; keeps no more than the last.

    Attributes:
        n, hash: number and hash of the last record so far.
        pruned: how many records were removed, as the last of the records that say so has it.
        found: which of the `expected` hashes were met.
        problems: at most `MAX_PROBLEMS` sentences.
        count: of all problems.
    """

    n: int = 0
    hash: str = START
    expected: frozenset[str] = frozenset()
    pruned: int = 0
    records: int = 0
    found: set[str] = field(default_factory=set)
    problems: list[str] = field(default_factory=list)
    count: int = 0

    def over(self, records: Iterable[Mapping[str, Any]]) -> None:
        """Check that each record follows from the one before."""
        self.found |= self.expected & {self.hash}
        for record in records:
            n = record["n"] if isinstance(record["n"], int) else self.n + 1  # a text, put in: its hash is wrong
            if n != self.n + 1:
                self.problem(f"records {self.n + 1:,} to {n - 1:,} are missing")
            elif record["hash"] != digest(self.hash, record):
                self.problem(f"record {n:,} is not what was written after record {n - 1:,}: changed, moved or put in")
            self.pruned = pruned(record) or self.pruned
            self.n, self.hash = n, record["hash"]
            self.records += 1
            self.found |= self.expected & {self.hash}

    def problem(self, said: str) -> None:
        self.count += 1
        if self.count <= MAX_PROBLEMS:
            self.problems.append(said)
