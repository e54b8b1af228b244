"""`realface data import`: a data set as it was downloaded becomes a Parquet manifest, held against what was published.

Pictures stay where they are; only those inside an archive are copied, into a folder that the user names.
"""

import os
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache
from itertools import islice
from pathlib import Path

import pyarrow
from pyarrow import parquet

from .. import __version__
from ..errors import DataError, ImageError, Unreadable
from ..harmless import printable
from ..paths import check_name, whole
from .facts import Facts, read_all
from .importing_archives import download, is_zip, unpack_zip
from .importing_parquet import shards, unpack_parquet
from .importing_sets import PUBLISHED, Found, Published, differences, in_folder, total
from .layouts import NAMES, SPLITS, Sample, check_target

FETCH = "kaggle:"
COLUMNS = {
    **dict.fromkeys(("path", "label", "source", "split", "generator"), pyarrow.string()),
    **dict.fromkeys(("width", "height"), pyarrow.int32()),
    **dict.fromkeys(("format", "sha256", "dhash", "error"), pyarrow.string()),
}
"""Of the manifest. `sha256` is of the file, `dhash` the bits of `realface.data.facts.difference_hash`, in hexadecimal;
`error` is empty, or the code of what is wrong with the picture, and then nothing is said of its file."""

CONFLICT = "label_conflict"
"""Error of a picture that lies in the folder of one class and is listed as the other."""

_WRITTEN = 4_096  # rows at a time
_SHOWN = 8

_Row = dict[str, str | int | None]


@dataclass
class Imported:
    """What an import found.

    Attributes:
        out: the manifest that was written.
        known: the published set it was held against; None for pictures of one's own.
        usable, unusable: pictures with and without an error, by split and class.
        problems: what is missing or wrong, a line each.
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
        lines = [f"{'split':<7}{'class':<6}{'usable':>9}{'unusable':>10}{'published':>11}"]
        for split in (*SPLITS, ""):
            for name in NAMES:
                usable, unusable, published = (total(n, split, name) for n in (self.usable, self.unusable, wanted))
                if usable or unusable or published or not split:
                    told = f"{published:,}" if published else "-"
                    lines.append(f"{split or 'all':<7}{name:<6}{usable:>9,}{unusable:>10,}{told:>11}")
        lines += ["", *self.problems, *(f"note: {text}" for text in self.notes)]
        lines += [f"{self.known.name if self.known else 'your pictures'}: {self.verdict}", f"manifest: {self.out}"]
        return "\n".join(map(printable, lines))


def import_data(source: str, out: Path, *, copy_to: Path | None = None, expect: str = "") -> Imported:
    """List the pictures of a data set in a manifest, read each of them once, and compare with what was published.

    Args:
        source: a folder, a manifest, a zip file, Hugging Face Parquet (a file or a folder of them), or `kaggle:` and a
            published set or owner/name.
        out: the Parquet file to write; it has the columns of COLUMNS and one row a picture.
        copy_to: the folder that an archive is unpacked below; a second attempt goes on where the first stopped.
        expect: the published set it should be, "other" for none; where empty, files and their names tell.

    Raises:
        DataError: nothing could be imported, or the manifest could not be written.
        MissingExtra: kagglehub is needed and not installed.
    """
    if expect not in ("", "other", *PUBLISHED):
        raise DataError(f"there is no set {expect}; known are {', '.join(PUBLISHED)}, and other for none of them")
    if os.path.isdir(out) or not os.path.isdir(out.parent):
        raise DataError(f"{out} cannot be written: name a file in a folder that is there")
    check_name(out)
    check_target(source, out)
    found = _found(source, out, copy_to, expect)
    known = PUBLISHED.get(expect or found.name)
    result = Imported(out, known, problems=found.problems, notes=found.notes)
    odd, broken = 0, []
    seen: Counter[str] = Counter()

    def rows() -> Iterator[_Row]:
        nonlocal odd
        base, resolved = Path(os.path.realpath(out.parent)), cache(os.path.realpath)  # of links in a circle too
        for sample, facts in zip(found.samples, read_all(found.samples), strict=True):
            told = None if sample.path in found.conflicts else facts
            path = Path(resolved(sample.path.parent), sample.path.name)
            name = (path.relative_to(base) if path.is_relative_to(base) else path).as_posix()
            text = name.encode(errors="backslashreplace").decode()
            if text != name:
                told = Unreadable("its name is not text")
            key = (sample.split, NAMES[sample.label])
            if isinstance(told, Facts):
                result.usable[key] += 1
                seen[told.sha256] += 1
                odd += bool(known and known.side and {told.header.width, told.header.height} != {known.side})
            else:
                result.unusable[key] += 1
                if told:
                    broken.append(f"{text}: {told}")
            yield _row(text, sample, told, known)

    _write(out, rows())
    if known:
        result.problems += differences(known, result.usable, result.unusable, odd)
        result.notes += [known.warning] if known.warning else []
    if broken:
        result.problems.append(f"partial: {len(broken):,} pictures cannot be read:")
        result.problems += [f"  {text}" for text in broken[:_SHOWN]]
        result.problems += [f"  and {len(broken) - _SHOWN:,} more"] if len(broken) > _SHOWN else []
    if copies := seen.total() - len(seen):
        result.notes.append(f"{copies:,} pictures are copies of others, byte for byte; realface data audit lists them")
    return result


def _found(source: str, out: Path, copy_to: Path | None, expect: str) -> Found:
    if source.startswith(FETCH):
        return in_folder(download(source.removeprefix(FETCH), copy_to), expect)
    root = Path(source)
    try:
        if root.is_file() and (is_zip(root) or root.suffix.lower() == ".zip"):
            return unpack_zip(root, copy_to, expect)
        packed = shards(root) if root.is_file() else []
    except OSError as error:
        raise DataError(f"{source}: cannot be read: {error}") from None
    if not packed:
        try:
            found = in_folder(root, expect)
        except DataError:
            packed = shards(root) if root.is_dir() else []
            if not packed:
                raise
        else:
            if copy_to:
                raise DataError(f"{source} is no archive: its pictures stay where they are; leave --copy-to away")
            return found
    for path in packed:
        check_target(path, out)
    return unpack_parquet(root, packed, copy_to)


def _row(path: str, sample: Sample, told: Facts | ImageError | None, known: Published | None) -> _Row:
    """The row of a picture, with the facts of its file or what is wrong with it; None is told of a CONFLICT."""
    made = sample.generator or (known.generator if known and sample.label else "")
    row: _Row = {"path": path, "label": NAMES[sample.label], "source": known.name if known else sample.source}
    row |= {"split": sample.split, "generator": made}
    if not isinstance(told, Facts):
        return row | {"error": told.code if told else CONFLICT}
    header = told.header
    row |= {"width": header.width, "height": header.height, "format": header.format, "sha256": told.sha256}
    return row | {"dhash": told.dhash.tobytes().hex(), "error": ""}


def _write(out: Path, rows: Iterable[_Row]) -> None:
    """Write the manifest, some rows at a time, so that it is there whole or not at all."""
    schema = pyarrow.schema(list(COLUMNS.items()), metadata={"realface": __version__})
    try:
        with whole(out) as part, parquet.ParquetWriter(part, schema) as writer:
            left = iter(rows)
            while some := list(islice(left, _WRITTEN)):
                writer.write_table(pyarrow.Table.from_pylist(some, schema=schema))
    except OSError as error:
        raise DataError(f"{out}: cannot be written: {error}") from None
