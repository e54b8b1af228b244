"""The results of a scan on the disk: parts while it runs, one file in the end; the parts are the journal.

Parts hold the rows in the order of the source, so what is done is always a beginning of it. A part is there whole or
not at all, and so is the result.
"""

import json
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
from filelock import FileLock, Timeout
from pyarrow import parquet

from ..errors import ScanError
from .rows import SCHEMA

KEY = b"realface_scan"
_GROUP = 10_000  # rows in a row group of the result: what is in memory while parts are joined
_SECONDS = 30  # after which a part is written, however few rows it has


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

    Raises:
        ScanError: there are results already and `resume` was not asked, they are of another scan, or of one that runs.
    """

    def __init__(self, out: Path, record: dict[str, Any], *, resume: bool, rows: int) -> None:
        self.out, self.folder = out, folder_of(out)
        self._record, self._most = json.dumps(record), rows
        self._waiting: list[pa.Table] = []
        if not resume and (out.exists() or self.folder.exists()):
            hint = "add --resume to go on with it" if self.folder.exists() else "name another or remove it"
            raise ScanError(f"{out} is there already; {hint}")
        self.folder.mkdir(exist_ok=True)
        self._lock = FileLock(self.folder / "lock")
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            raise ScanError(f"another scan is writing {out}") from None
        try:
            self._check_record(record)
            self.done = parquet.read_metadata(out).num_rows if self.finished else self._count()
        except BaseException:
            self._release()
            raise
        self._written, self._last = self.done, time.monotonic()

    def __enter__(self) -> "Parts":
        return self

    def __exit__(self, *_: object) -> None:
        try:
            if self.folder.exists() and not self.finished:
                self._write()  # also when interrupted
        finally:
            self._release()

    def _release(self) -> None:
        self._lock.release()
        if self.finished:
            shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def finished(self) -> bool:
        """Whether the result is there; it is put there whole."""
        return self.out.exists()

    def paths(self) -> Iterator[str]:
        """What the pictures that are done are called."""
        for part in self._parts():
            yield from parquet.read_table(part, columns=["path"])["path"].to_pylist()

    def add(self, rows: pa.Table) -> None:
        """Take the rows of the next pictures."""
        self._waiting.append(rows)
        self.done += len(rows)
        if self.done - self._written >= self._most or time.monotonic() - self._last > _SECONDS:
            self._write()

    def join(self) -> None:
        """Make the result of the parts."""
        self._write()
        half = self.folder / "joined"
        with parquet.ParquetWriter(half, SCHEMA.with_metadata({KEY: self._record}), compression="zstd") as writer:
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
        _settle(half, self.out)

    def _write(self) -> None:
        self._last = time.monotonic()
        if not self._waiting:
            return
        half = self.folder / "half"
        parquet.write_table(pa.concat_tables(self._waiting), half, compression="zstd")
        _settle(half, self.folder / f"{self._written:012}.parquet")
        self._waiting, self._written = [], self.done

    def _parts(self) -> list[Path]:
        return sorted(self.folder.glob("*.parquet"))

    def _count(self) -> int:
        """The rows in all parts; from one on that is damaged or missing, what follows is scanned again."""
        rows, whole = 0, True
        for part in self._parts():
            try:
                whole = whole and part.stem == f"{rows:012}"
                rows += parquet.read_metadata(part).num_rows if whole else 0
            except (pa.ArrowException, OSError):
                whole = False
            if not whole:
                part.unlink()
        return rows

    def _check_record(self, record: dict[str, Any]) -> None:
        file = self.folder / "scan.json"
        if self.finished:
            stored = (parquet.read_schema(self.out).metadata or {}).get(KEY, b"{}")
        elif file.exists():
            stored = file.read_bytes()
        else:
            half = self.folder / "half"
            half.write_text(self._record)
            _settle(half, file)
            return
        before = json.loads(stored)
        differs = [f"{key} was {before.get(key)}, is {now}" for key, now in record.items() if before.get(key) != now]
        if differs:
            raise ScanError(f"{self.out} is of another scan, name another --out: {'; '.join(differs)}")


def _settle(half: Path, whole: Path) -> None:
    """Give a written file its name once it is on the disk, so that not even a power cut leaves half of it."""
    with open(half, "rb+") as file:
        os.fsync(file.fileno())
    half.replace(whole)
    if os.name == "posix":
        folder = os.open(whole.parent, os.O_RDONLY)
        os.fsync(folder)
        os.close(folder)
