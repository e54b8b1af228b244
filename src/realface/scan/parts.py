"""The results of a scan on the disk: parts while it runs, one file in the end; the parts are the journal.

Parts hold the rows in the order of the source, so what is done is always a beginning of it. A part is there whole or
not at all, and so is the result. Parts stay beside it while it lacks pictures that were unreachable: going on puts
those into the parts, and makes the result anew.
"""

import json
import os
import shutil
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import groupby
from pathlib import Path
from typing import Any

import pyarrow as pa
from filelock import FileLock, Timeout
from pyarrow import parquet

from ..errors import ScanError, Unreachable
from .rows import SCHEMA

KEY = b"realface_scan"
_GROUP = 10_000  # rows in a row group of the result: what is in memory while parts are joined
_SECONDS = 30  # after which a part is written, however few rows it has
_TOLD = {
    "detector": "{name} {version} (SHA-256 {sha256:.12}…)",
    "limits": "{max_bytes:,} bytes and {max_pixels:,} pixels",
}
"""How that of a record is told to people which has parts of its own."""


def folder_of(out: Path) -> Path:
    """Where the parts of a result lie."""
    return out.with_name(f"{out.name}.parts")


class Parts:
    """The growing results of one scan; a context manager, which holds a lock on them.

    Args:
        out: the result.
        record: what the rows depend on, besides the pictures; kept with them.
        resume: go on with what is there.
        rows: in a part, if they come fast.

    Attributes:
        done: pictures whose rows are there and are not to be judged again.
        finished: whether the result is there and nothing is to be judged again.

    Raises:
        ScanError: there are results already and `resume` was not asked, they are of another scan, of one that runs, or
            of none; or the disk refuses, as in all methods.
    """

    def __init__(self, out: Path, record: dict[str, Any], *, resume: bool, rows: int) -> None:
        self.out = out.absolute()  # or Arrow takes a colon in it for that of a URL
        self.folder = folder_of(self.out)
        self._half = self.folder / "half"  # of whatever is being written; it gets its name when it is whole
        self._record, self._most = json.dumps(record), rows
        self.finished = False
        self._waiting: list[pa.Table] = []
        self._last = time.monotonic()
        self._again: deque[tuple[Path, int]] = deque()  # the part and the row of each picture that is judged again
        if not resume and (out.exists() or self.folder.exists()):
            hint = "add --resume to go on with it" if self.folder.exists() else "name another or remove it"
            raise ScanError(f"{out} is there already; {hint}")
        self._lock = FileLock(self.folder / "lock")
        with self._disk():
            if self.out.exists() and not self.folder.exists():
                self._check_record(record)
                self.finished = True  # so nothing is written, perhaps to a disk that takes nothing
                return
            self.folder.mkdir(exist_ok=True)
            try:
                self._lock.acquire(timeout=0)
            except Timeout:
                raise ScanError(f"another scan is writing {out}; wait for it, or name another --out") from None
            try:
                self._check_record(record)
                self._written = self._count()
                self.done = self._written - sum(map(_missing, self._parts()))
                self.finished = self.out.exists() and not (self._written and _missing(self.out))
            except BaseException:
                self._release()
                raise

    def __enter__(self) -> "Parts":
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self._write()  # also when interrupted
        finally:
            self._release()

    def _release(self) -> None:
        if not self._lock.is_locked:
            return
        if self.finished or not self._parts():
            shutil.rmtree(self.folder, ignore_errors=True)  # before the lock is given back: it may be the next scan's
        with suppress(OSError):
            self._half.unlink()  # or a full disk would stay full of it
        self._lock.release()

    @contextmanager
    def _disk(self) -> Iterator[None]:
        """What the disk refuses, as an error that says what to do."""
        try:
            yield
        except (OSError, pa.ArrowException) as error:
            raise ScanError(
                f"{self.out} or a part of it in {self.folder.name} cannot be written or read: {error}; "
                "make room, set the permissions or remove the part that is damaged, then go on with --resume"
            ) from None

    def rows(self) -> Iterator[tuple[str, bool]]:
        """What the pictures in parts are called, and which are to be judged again: their new rows are added first."""
        for part in self._parts():
            with self._disk():
                rows = parquet.read_table(part, columns=["path", "error_code"]).to_pylist()
            for number, row in enumerate(rows):
                if again := row["error_code"] == Unreachable.code:
                    self._again.append((part, number))
                yield row["path"], again

    def add(self, rows: pa.Table) -> None:
        """Take the rows of the next pictures."""
        self._waiting.append(rows)
        self.done += len(rows)
        if sum(map(len, self._waiting)) >= self._most or time.monotonic() - self._last > _SECONDS:
            self._write()

    def join(self) -> None:
        """Make the result of the parts."""
        self._write()
        with self._disk():
            self._join()
            self.finished = not _missing(self.out)

    def _join(self) -> None:
        with parquet.ParquetWriter(self._half, SCHEMA.with_metadata({KEY: self._record}), compression="zstd") as writer:
            held, count = [], 0
            for part in self._parts():
                held.append(parquet.read_table(part))
                count += len(held[-1])
                while count >= _GROUP:
                    rows = pa.concat_tables(held)
                    writer.write_table(rows[:_GROUP])
                    held, count = [rows[_GROUP:]], count - _GROUP
            if count:
                writer.write_table(pa.concat_tables(held))
        _settle(self._half, self.out)

    def _write(self) -> None:
        self._last = time.monotonic()
        if not self._waiting:
            return
        rows, self._waiting = pa.concat_tables(self._waiting), []  # where writing fails, they are judged again
        again = min(len(rows), len(self._again))
        with self._disk():
            self._mend(rows[:again])
            if again < len(rows):
                self._put(rows[again:], self.folder / f"{self._written:012}.parquet")
        self._written += len(rows) - again

    def _mend(self, rows: pa.Table) -> None:
        """Put rows that were judged again in their places."""
        places, done = [self._again.popleft() for _ in range(len(rows))], 0
        for part, numbers in groupby(places, key=lambda place: place[0]):
            old = parquet.read_table(part)
            order = list(range(len(old)))
            for _, number in numbers:
                order[number] = len(old) + done
                done += 1
            self._put(pa.concat_tables([old, rows]).take(order), part)

    def _put(self, rows: pa.Table, part: Path) -> None:
        parquet.write_table(rows, self._half, compression="zstd")
        _settle(self._half, part)

    def _parts(self) -> list[Path]:
        return sorted(self.folder.glob("*.parquet"))

    def _count(self) -> int:
        """The rows in all parts; from one on that is damaged or missing, what follows is scanned again."""
        rows, whole = 0, True
        for part in self._parts():
            try:
                whole = whole and part.stem == f"{rows:012}"
                rows += parquet.read_metadata(part).num_rows if whole else 0
            except (pa.ArrowException, OSError) as error:
                if getattr(error, "errno", None):  # it is the disk, the part may be whole
                    raise
                whole = False
            if not whole:
                part.unlink()
        return rows

    def _check_record(self, record: dict[str, Any]) -> None:
        """ScanError unless the result and the parts, where they are there, are of this scan."""
        file = self.folder / "scan.json"
        stored = [file.read_bytes()] if file.exists() else []
        if self.out.exists():
            try:
                stored.append((parquet.read_schema(self.out).metadata or {}).get(KEY, b"{}"))
            except (OSError, pa.ArrowException):
                raise ScanError(f"{self.out} is not the result of a scan; name another --out or move it away") from None
        for text in stored:
            try:
                before = dict(json.loads(text))
            except (ValueError, TypeError):
                raise ScanError(f"the record of {self.out} is damaged; begin again with another --out") from None
            changed = [(key, before.get(key), now) for key, now in record.items() if now != before.get(key)]
            wrong = [f"{key} was {_told(key, was)}, is {_told(key, now)}" for key, was, now in changed]
            if wrong:
                raise ScanError(f"{self.out} is of another scan, name another --out: {'; '.join(wrong)}")
        if self._lock.is_locked and not file.exists():
            self._half.write_text(self._record)
            _settle(self._half, file)


def _told(key: str, value: Any) -> str:
    if isinstance(value, list):
        return " ".join(map(str, value))
    try:
        return _TOLD[key].format(**value)
    except (KeyError, TypeError, ValueError):  # a plain word, or nothing that we wrote
        return str(value or "none")


def _missing(file: Path) -> int:
    """How many pictures were unreachable."""
    with parquet.ParquetFile(file) as rows:
        codes = rows.iter_batches(columns=["error_code"])
        return sum(batch["error_code"].to_pylist().count(Unreachable.code) for batch in codes)


def _settle(half: Path, whole: Path) -> None:
    """Give a written file its name once it is on the disk, so that not even a power cut leaves half of it."""
    with open(half, "rb+") as file:
        os.fsync(file.fileno())
    half.replace(whole)
    if os.name == "posix":
        folder = os.open(whole.parent, os.O_RDONLY)
        os.fsync(folder)
        os.close(folder)
