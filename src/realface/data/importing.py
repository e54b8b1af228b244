"""`realface data import`: a data set as it was downloaded becomes a Parquet manifest, held against what was published.

Pictures stay where they are; only those inside an archive are copied, into a folder that the user names.
"""

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from itertools import islice
from multiprocessing import get_context
from pathlib import Path

import pyarrow
from pyarrow import parquet

from .. import __version__
from ..errors import DataError, ImageError
from ..progress import track
from .facts import read
from .importing_archives import Bounds, download, is_zip, unpack_zip
from .importing_parquet import shards, unpack_parquet
from .importing_sets import CONFLICT, NAMES, PUBLISHED, Entry, Found, Published, differences, in_folder
from .layouts import SPLITS

FETCH = "kaggle:"
COLUMNS = {
    **dict.fromkeys(("path", "label", "source", "split", "generator"), pyarrow.string()),
    **dict.fromkeys(("width", "height"), pyarrow.int32()),
    **dict.fromkeys(("format", "sha256", "dhash", "error"), pyarrow.string()),
}
"""Of the manifest. `sha256` is of the file, `dhash` the bits of `realface.data.facts.difference_hash`, in hexadecimal;
`error` is empty, or the code of what is wrong with the picture, and then nothing is said of its file."""

_WRITTEN = 4_096  # rows at a time
_FEW = 256  # pictures for which no processes are started
_SHOWN = 8

_Row = dict[str, str | int | None]


@dataclass
class Imported:
    """What an import found.

    Attributes:
        out: the manifest that was written.
        known: the published set it was held against; None for pictures of one's own.
        usable, unusable: pictures with and without an error, by split and class.
        problems: what is missing or wrong, a sentence each.
        notes: what else to know.
    """

    out: Path
    known: Published | None
    usable: Counter[tuple[str, str]] = field(default_factory=Counter)
    unusable: Counter[tuple[str, str]] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def verdict(self) -> str:
        """The outcome in a word, or for pictures of one's own in a few more."""
        if any(text.startswith("wrong") for text in self.problems):
            return "wrong"
        if self.problems:
            return "partial"
        return "complete" if self.known else "all can be used; there are no published counts to compare with"

    def summary(self) -> str:
        """Counts beside those published, problems, notes and the verdict, as text for a person."""
        wanted = self.known.counts if self.known else {}
        keys = [(split, name) for split in SPLITS for name in NAMES]
        lines = [f"{'split':<7}{'class':<6}{'usable':>9}{'unusable':>10}{'published':>11}"]
        for key in keys:
            if self.usable[key] or self.unusable[key] or key in wanted:
                lines.append(_line(key, self.usable[key], self.unusable[key], wanted.get(key)))
        for name in NAMES:
            there = [sum(counts[split, name] for split in SPLITS) for counts in (self.usable, self.unusable)]
            published = sum(number for (_, own), number in wanted.items() if own == name)
            lines.append(_line(("all", name), there[0], there[1], published or None))
        lines += ["", *self.problems, *(f"note: {text}" for text in self.notes)]
        lines += [f"{self.known.name if self.known else 'your pictures'}: {self.verdict}", f"manifest: {self.out}"]
        return "".join(c if c.isprintable() or c == "\n" else "?" for c in "\n".join(lines))


def import_data(
    source: str,
    out: Path,
    *,
    copy_to: Path | None = None,
    expect: str = "",
    published: Mapping[str, Published] = PUBLISHED,
    bounds: Bounds = Bounds(),
    processes: int = 2,
) -> Imported:
    """List the pictures of a data set in a manifest, read each of them once, and compare with what was published.

    Args:
        source: a folder, a manifest, a zip file, Hugging Face Parquet (a file or a folder of them), or `kaggle:` and a
            published set or owner/name.
        out: the Parquet file to write; it has the columns of COLUMNS and one row a picture.
        copy_to: the folder that an archive is unpacked to; a second attempt goes on where the first stopped.
        expect: the published set it should be, "other" for none; where empty, files and their names tell.
        published: the sets that are known.
        bounds: what is refused of an archive.
        processes: how many read pictures at a time; more than one need a main module that can be imported.

    Raises:
        DataError: nothing could be imported, or the manifest could not be written.
        MissingExtra: kagglehub is needed and not installed.
    """
    if expect not in ("", "other", *published):
        raise DataError(f"there is no set {expect}; known are {', '.join(published)}, and other for none of them")
    _check_target(source, out)
    found = _found(source, copy_to, bounds)
    known = published.get(expect or found.name)
    result = Imported(out, known, problems=found.problems, notes=found.notes)
    copies, odd, broken = 0, 0, []
    seen: set[bytes] = set()

    def rows() -> Iterator[_Row]:
        nonlocal copies, odd
        path_of = _Paths(out)
        for entry, facts in _facts(found.entries, processes):
            row, key = _row(entry, facts, path_of, known), (entry.sample.split, NAMES[entry.sample.label])
            if row["error"]:
                result.unusable[key] += 1
                if row["error"] != CONFLICT:
                    broken.append(f"{row['path']}: {facts.get('message', 'its name is not text')}")
            else:
                result.usable[key] += 1
                digest = bytes.fromhex(str(row["sha256"]))
                copies += digest in seen
                seen.add(digest)
                odd += bool(known and known.side and (row["width"], row["height"]) != (known.side, known.side))
            yield row

    _write(out, rows())
    if known:
        result.problems += differences(known, result.usable, result.unusable, odd)
        result.notes += [known.warning] if known.warning else []
    if broken:
        more = f" and {len(broken) - _SHOWN:,} more" if len(broken) > _SHOWN else ""
        listed = "".join(f"\n  {text}" for text in broken[:_SHOWN])
        result.problems.append(f"partial: {len(broken):,} pictures cannot be read:{listed}{more}")
    if copies:
        result.notes.append(f"{copies:,} pictures are copies of others, byte for byte; realface data audit lists them")
    return result


def _check_target(source: str, out: Path) -> None:
    if out.is_dir() or not out.resolve().parent.is_dir():
        raise DataError(f"{out} cannot be written: name a file in a folder that is there")
    if out.exists() and os.path.exists(source) and out.samefile(source):
        raise DataError(f"{out} is what is imported; give the manifest another name")


def _found(source: str, copy_to: Path | None, bounds: Bounds) -> Found:
    if source.startswith(FETCH):
        return in_folder(download(source.removeprefix(FETCH), copy_to))
    root = Path(source)
    try:
        if root.is_file() and is_zip(root):
            problems = unpack_zip(root, copy_to, bounds)
            found = in_folder(copy_to or root)
            found.problems[:0] = problems
            return found
        packed = shards(root) if root.is_file() else []
    except OSError as error:
        raise DataError(f"{source}: cannot be read: {error}") from None
    if not packed:
        try:
            found = in_folder(root)
        except DataError:
            packed = shards(root) if root.is_dir() else []
            if not packed:
                raise
    if packed:
        return unpack_parquet(root, packed, copy_to, bounds)
    if copy_to:
        raise DataError(f"{source} is no archive: its pictures stay where they are; leave --copy-to away")
    return found


def _facts(entries: list[Entry], processes: int) -> Iterator[tuple[Entry, _Row]]:
    """Each entry with what its file says, in order; entries that are not to be used are not read."""
    paths = [str(entry.sample.path) for entry in entries if not entry.error]
    results = iter(_in_processes(paths, processes) if processes > 1 and len(paths) > _FEW else map(_read, paths))
    for entry in track(entries, "reading pictures"):
        yield entry, {} if entry.error else next(results)


def _in_processes(paths: list[str], processes: int) -> Iterator[_Row]:
    pool = ProcessPoolExecutor(processes, get_context("spawn"))
    try:
        yield from pool.map(_read, paths, chunksize=32)
    except BrokenProcessPool:
        raise DataError("a process that read pictures ended unasked; there may be too little memory") from None
    finally:
        pool.shutdown(cancel_futures=True)


def _read(path: str) -> _Row:
    """What is said of a file in its row, or `error` with its code and `message`."""
    try:
        facts = read(path)
    except ImageError as error:
        return {"error": error.code, "message": str(error)}
    header = facts.header
    row: _Row = {"width": header.width, "height": header.height, "format": header.format}
    return row | {"sha256": facts.sha256, "dhash": facts.dhash.tobytes().hex()}


class _Paths:
    """Paths as a manifest names them: relative to its folder where they are below it, absolute elsewhere."""

    def __init__(self, out: Path) -> None:
        self.base = out.resolve().parent
        self.folders: dict[Path, Path] = {}

    def __call__(self, path: Path) -> str:
        if path.parent not in self.folders:
            self.folders[path.parent] = path.parent.resolve()
        path = self.folders[path.parent] / path.name
        return (path.relative_to(self.base) if path.is_relative_to(self.base) else path).as_posix()


def _row(entry: Entry, facts: _Row, path_of: _Paths, known: Published | None) -> _Row:
    sample, error = entry.sample, entry.error or facts.get("error") or ""
    path = path_of(sample.path)
    if not _is_text(path):
        path, facts, error = os.fsencode(path).decode(errors="backslashreplace"), {}, "unreadable"
    made = entry.generator or (known.generator if known and sample.label else "")
    row: _Row = {"path": path, "label": NAMES[sample.label], "source": known.name if known else sample.source}
    row |= {"split": sample.split, "generator": made, "error": error}
    return {name: facts.get(name) for name in COLUMNS} | row


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _write(out: Path, rows: Iterable[_Row]) -> None:
    """Write the manifest, some rows at a time, so that it is there whole or not at all."""
    schema = pyarrow.schema(list(COLUMNS.items()), metadata={"realface": __version__})
    part = out.with_name(f"{out.name}.part")
    try:
        with parquet.ParquetWriter(part, schema) as writer:
            left = iter(rows)
            while some := list(islice(left, _WRITTEN)):
                writer.write_table(pyarrow.Table.from_pylist(some, schema=schema))
        part.replace(out)
    except OSError as error:
        raise DataError(f"{out}: cannot be written: {error}") from None
    finally:
        part.unlink(missing_ok=True)


def _line(key: tuple[str, str], usable: int, unusable: int, published: int | None) -> str:
    wanted = "-" if published is None else f"{published:,}"
    return f"{key[0]:<7}{key[1]:<6}{usable:>9,}{unusable:>10,}{wanted:>11}"
