"""Three layouts of labelled pictures, one list of samples.

* a manifest: a CSV or Parquet file (or a folder that holds `manifest.csv`) with the columns path, label and, if known,
  source, split and generator; paths are relative to the file; rows whose column `error` is not empty are passed over;
* splits: `{train,valid,test}/{real,fake}/…`, as in Kaggle's "140k Real and Fake Faces";
* classes: `{real,fake}/…`.

Folder names count in any case, and folders around a layout are looked through. Pictures are only listed here;
they are decoded when they are needed.
"""

import csv
import hashlib
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..errors import DataError, ImageError
from ..images import read_bytes
from ..paths import SUFFIXES

SPLITS = ("train", "valid", "test")
LABELS = {"real": 0, "fake": 1}
NAMES = tuple(LABELS)
UNREADABLE = "unreadable"
"""In place of the SHA-256 of a file that cannot be read."""

SPLIT_NAMES = dict(zip(SPLITS, SPLITS, strict=True))
SPLIT_NAMES |= {"training": "train", "val": "valid", "validation": "valid", "testing": "test"}


@dataclass(frozen=True, slots=True)
class Sample:
    """One labelled picture: `label` is 0 for real, 1 for fake; `split` is train, valid or test.

    `source` says where it comes from, `generator` what made it; both are "" where nothing says.
    """

    path: Path
    label: int
    source: str
    split: str
    generator: str = ""


def read_data(data: str | Path) -> list[Sample]:
    """List the labelled pictures of a data set in any of the three layouts, sorted by path.

    Where nothing says which split a picture belongs to, a hash of its path within the layout decides:
    eight in ten train, one valid, one test. Where there is a train split but no valid, one in ten of train is
    taken for it.

    Raises:
        DataError: there is no such data set, it has no known layout, or a row of its manifest is wrong.
    """
    try:
        root = unwrapped(Path(data))
        manifest = root / "manifest.csv" if root.is_dir() else root
        if manifest.is_file():
            samples = list(_from_manifest(manifest))
        elif root.is_dir():
            samples = list(from_folders(root))
        else:
            raise DataError(f"{data}: there is no such folder or manifest")
    except UnicodeDecodeError as error:
        otherwise = "save it as UTF-8, or unpack it if it is an archive"
        raise DataError(f"{data}: cannot be read: {error}; {otherwise}") from None
    except (OSError, csv.Error) as error:
        raise DataError(f"{data}: cannot be read: {error}") from None
    if not samples:
        raise DataError(f"{data}: no pictures found in folders called real and fake, and no manifest; see docs/data.md")
    return with_splits(samples, root)


def read_splits(data: str | Path) -> dict[str, list[Sample]]:
    """The pictures of a data set by split: train, valid, test."""
    samples = read_data(data)
    return {name: [s for s in samples if s.split == name] for name in SPLITS}


def fingerprints(samples: Iterable[Sample]) -> list[str]:
    """`sha256_of` the file, label and split of every sample, as one line each, in order."""
    return [f"{sha256_of(s.path)} {s.label} {s.split}" for s in samples]


def sha256_of(path: Path) -> str:
    """SHA-256 of a file that may hold a picture, or `UNREADABLE`."""
    try:
        return hashlib.sha256(read_bytes(path)).hexdigest()
    except ImageError:
        return UNREADABLE


def content_hash(lines: Iterable[str]) -> str:
    """SHA-256 over fingerprints: the same for the same data, whatever its files are called."""
    return hashlib.sha256("\n".join(sorted(lines)).encode()).hexdigest()


def is_parquet(path: Path) -> bool:
    """Whether a file is in the Parquet format, by its first bytes; OSError where it cannot be read."""
    with path.open("rb") as file:
        return file.read(4) == b"PAR1"


def _csv_rows(path: Path) -> Iterator[tuple[str, dict[str, str | None]]]:
    """The rows of a manifest, each with the words for where it stands."""
    with path.open(newline="", encoding="utf-8-sig") as file:
        rows = csv.DictReader(file)
        _need_columns(path, rows.fieldnames or ())
        for row in rows:
            yield f"line {rows.line_num}", row


def _parquet_rows(path: Path) -> Iterator[tuple[str, dict[str, str | None]]]:
    import pyarrow
    from pyarrow import parquet

    try:
        columns = [column.name for column in parquet.read_schema(path) if not pyarrow.types.is_nested(column.type)]
        _need_columns(path, columns)
        known = [name for name in ("path", "label", "source", "split", "generator", "error") if name in columns]
        with parquet.ParquetFile(path, read_dictionary=known) as file:  # a text that many rows share is there once
            number = 0
            for batch in file.iter_batches(batch_size=65_536, columns=known):
                for cells in zip(*map(_texts, batch.columns), strict=True):
                    number += 1
                    yield f"row {number}", dict(zip(batch.schema.names, cells, strict=True))
    except pyarrow.ArrowException as error:
        raise DataError(f"{path}: cannot be read: {error}") from None


def _texts(column: Any) -> list[str | None]:
    """The cells of an Arrow column as text, those that share a value as one object."""
    column = column.dictionary_encode()  # or as it is, where it is that already
    words = [
        word.decode(errors="surrogateescape") if isinstance(word, bytes) else None if word is None else str(word)
        for word in column.dictionary.to_pylist()
    ]
    return [None if index is None else words[index] for index in column.indices.to_pylist()]


def _need_columns(path: Path, names: Iterable[str]) -> None:
    if not {"path", "label"} <= set(names):
        wanted = "path and label (and source, split, generator, if known); in a CSV file commas separate them"
        raise DataError(f"{path}: a manifest needs the columns {wanted}")


def _from_manifest(path: Path) -> Iterable[Sample]:
    seen: dict[str, Sample] = {}
    base, marked = os.path.abspath(path.parent), 0
    for where, row in _parquet_rows(path) if is_parquet(path) else _csv_rows(path):
        if row.get("error"):
            marked += 1
            continue
        label = LABELS.get((row["label"] or "").strip().lower())
        split = (row.get("split") or "").strip().lower()
        if label is None:
            raise DataError(f"{path}, {where}: label must be real or fake, not {row['label']!r}")
        if split and split not in SPLIT_NAMES:
            raise DataError(f"{path}, {where}: split must be train, valid or test, not {row['split']!r}")
        if not row["path"]:
            raise DataError(f"{path}, {where}: the path is missing")
        if "\0" in row["path"]:
            raise DataError(f"{path}, {where}: the path has a NUL character in it, as no path can; mend the row")
        source, generator = ((row.get(name) or "").strip() for name in ("source", "generator"))
        if source == "all":
            raise DataError(f"{path}, {where}: no source can be called all, as the figures of all pictures are")
        name = row["path"]
        if "\\" in name and not (path.parent / name).exists():  # it was written on Windows
            name = name.replace("\\", "/")
        sample = Sample(path.parent / name, label, source, SPLIT_NAMES.get(split, ""), generator)
        first = seen.setdefault(os.path.normpath(os.path.join(base, name)), sample)  # however it is spelled
        if replace(sample, path=first.path) != first:
            raise DataError(f"{path}, {where}: {row['path']} is listed twice, differently")
    if not seen:
        raise DataError(f"{path} lists no picture to use: it needs rows without an error; {marked:,} have one")
    return seen.values()


def _folders(root: Path) -> list[Path]:
    """Folders in `root`, without those that systems hide in archives."""
    return [p for p in sorted(root.iterdir()) if p.is_dir() and not p.name.startswith((".", "__"))]


def unwrapped(root: Path) -> Path:
    """The folder of the layout or of `manifest.csv`: `root`, or where it holds only a folder, that one's."""
    while root.is_dir() and not (root / "manifest.csv").is_file():
        folders = _folders(root)
        if len(folders) != 1 or folders[0].name.lower() in LABELS | SPLIT_NAMES:
            break
        root = folders[0]
    return root


def check_target(data: str | Path, out: Path) -> None:
    """Refuse to write `out` over the manifest of `data`, before any work is done.

    Raises:
        DataError: it is that manifest, or the folder of `data` cannot be read.
    """
    try:
        root = unwrapped(Path(data))
        same = out.exists() and any(path.exists() and out.samefile(path) for path in (root, root / "manifest.csv"))
    except OSError as error:
        raise DataError(f"{data}: cannot be read: {error}") from None
    if same:
        raise DataError(f"{out} is what is read; give the new file another name")


def pictures_in(folder: Path) -> Iterator[Path]:
    """The files in a folder and those below it that are pictures by their names, without what is hidden.

    Links to folders are followed.

    Raises:
        DataError: a link leads back to a folder that it lies in.
    """
    left = [(folder, frozenset[Path]())]
    while left:
        inner, above = left.pop()
        real = inner.resolve()
        if real in above:
            raise DataError(f"{inner} is a link to a folder that it lies in; take the link away")
        for path in inner.iterdir():
            if path.name.startswith("."):
                continue
            if path.is_dir():
                left.append((path, above | {real}))
            elif path.suffix.lower() in SUFFIXES:  # also a link to nowhere, a picture that is missing
                yield path


def from_folders(root: Path) -> Iterator[Sample]:
    """The pictures in `{train,valid,test}/{real,fake}` or `{real,fake}` of a folder; with the latter, split is "".

    Raises:
        DataError: the folder has both, beside one of them a folder of classes that is called otherwise, or beside the
            one class that it has pictures in a folder of another name.
    """
    folders = _folders(root)
    splits = [(p, SPLIT_NAMES[p.name.lower()]) for p in folders if p.name.lower() in SPLIT_NAMES]
    known = [split for split, _ in splits] or [p for p in folders if p.name.lower() in LABELS]
    for folder in folders if known else []:
        beside = f"{root} has {folder.name} beside {known[0].name}"
        if splits and folder.name.lower() in LABELS:  # the same pictures, perhaps, as they were before they were split
            raise DataError(f"{beside}; keep either classes or splits in it")
        if folder not in known and any(p.name.lower() in LABELS for p in folder.glob("*/")):
            what = "split; call it train, valid or test, or" if splits else "class;"
            raise DataError(f"{beside}, which is no {what} move it elsewhere")
    for folder, split in splits or [(root, "")]:
        inside = _folders(folder)
        classes = {inner: LABELS[inner.name.lower()] for inner in inside if inner.name.lower() in LABELS}
        if len(set(classes.values())) == 1:
            for inner in inside:
                if inner not in classes and next(pictures_in(inner), None):
                    beside = f"{folder} has {inner.name} beside {next(iter(classes)).name}"
                    raise DataError(f"{beside}, which is no class; call it real or fake, or move it elsewhere")
        for inner, label in classes.items():
            yield from (Sample(p, label, "", split) for p in pictures_in(inner))


def with_splits(samples: Iterable[Sample], root: Path) -> list[Sample]:
    """The samples of a data set at `root`, sorted by path, each in a split; see `read_data`."""
    base = root if root.is_dir() else root.parent
    bases = (base, base.absolute())  # paths in a manifest may be absolute where its own is not

    def tenth(sample: Sample) -> int:
        within = next((b for b in bases if sample.path.is_relative_to(b)), sample.path.parent)
        name = sample.path.relative_to(within).as_posix()
        return hashlib.sha256(os.fsencode(name)).digest()[0] * 10 // 256

    by_tenth = ["train"] * 8 + ["valid", "test"]
    samples = sorted(samples, key=lambda s: str(s.path))
    samples = [s if s.split else replace(s, split=by_tenth[tenth(s)]) for s in samples]
    if not any(s.split == "valid" for s in samples):
        samples = [replace(s, split="valid") if s.split == "train" and tenth(s) == 0 else s for s in samples]
    return samples
