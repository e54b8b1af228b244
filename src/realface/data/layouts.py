"""Three layouts of labelled pictures, one list of samples.

* a manifest: a CSV file (or a folder that holds `manifest.csv`) with the columns path, label and, if known,
  source and split; paths are relative to the file;
* splits: `{train,valid,test}/{real,fake}/…`, as in Kaggle's "140k Real and Fake Faces";
* classes: `{real,fake}/…`.

Folder names count in any case, and folders around a layout are looked through. Pictures are only listed here;
they are decoded when they are needed.
"""

import csv
import hashlib
import os
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from ..errors import DataError
from ..paths import SUFFIXES

SPLITS = ("train", "valid", "test")
LABELS = {"real": 0, "fake": 1}

_SPLIT_NAMES = {"train": "train", "training": "train", "valid": "valid", "val": "valid", "validation": "valid"} | {
    "test": "test",
    "testing": "test",
}


@dataclass(frozen=True, slots=True)
class Sample:
    """One labelled picture: `label` is 0 for real, 1 for fake; `split` is train, valid or test."""

    path: Path
    label: int
    source: str
    split: str


def read_data(data: str | Path) -> list[Sample]:
    """List the labelled pictures of a data set in any of the three layouts, sorted by path.

    Where nothing says which split a picture belongs to, a hash of its path within the layout decides:
    eight in ten train, one valid, one test. Where there is a train split but no valid, one in ten of train is
    taken for it.

    Raises:
        DataError: there is no such data set, it has no known layout, or a row of its manifest is wrong.
    """
    root = Path(data)
    try:
        if root.is_file():
            samples = list(_from_manifest(root))
        elif (root / "manifest.csv").is_file():
            samples = list(_from_manifest(root / "manifest.csv"))
        elif root.is_dir():
            root = _unwrapped(root)
            samples = list(_from_folders(root))
        else:
            raise DataError(f"{data}: there is no such folder or manifest")
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{data}: cannot be read: {error}") from None
    if not samples:
        raise DataError(f"{data}: no pictures found; see the data layouts in the README")
    samples = _with_splits(sorted(samples, key=lambda s: str(s.path)), root)
    return samples


def fingerprints(samples: Iterable[Sample]) -> list[str]:
    """SHA-256 of the file, label and split of every sample, as one line each, in order."""

    def of_file(path: Path) -> str:
        try:
            return hashlib.sha256(path.read_bytes()).hexdigest()
        except OSError:
            return "unreadable"

    return [f"{of_file(s.path)} {s.label} {s.split}" for s in samples]


def content_hash(lines: Iterable[str]) -> str:
    """SHA-256 over fingerprints: the same for the same data, whatever its files are called."""
    return hashlib.sha256("\n".join(sorted(lines)).encode()).hexdigest()


def _from_manifest(path: Path) -> Iterable[Sample]:
    with path.open(newline="", encoding="utf-8-sig") as file:
        rows = csv.DictReader(file)
        if not {"path", "label"} <= set(rows.fieldnames or ()):
            raise DataError(f"{path}: a manifest needs the columns path and label (and, if known, source and split)")
        seen: dict[Path, Sample] = {}
        for row in rows:
            number = rows.line_num
            label = LABELS.get((row["label"] or "").strip().lower())
            split = (row.get("split") or "").strip().lower()
            if label is None:
                raise DataError(f"{path}, line {number}: label must be real or fake, not {row['label']!r}")
            if split and split not in _SPLIT_NAMES:
                raise DataError(f"{path}, line {number}: split must be train, valid or test, not {row['split']!r}")
            if not row["path"]:
                raise DataError(f"{path}, line {number}: the path is missing")
            sample = Sample(path.parent / row["path"], label, row.get("source") or "", _SPLIT_NAMES.get(split, ""))
            if seen.setdefault(sample.path, sample) != sample:
                raise DataError(f"{path}, line {number}: {row['path']} is listed twice, differently")
        return seen.values()


def _folders(root: Path) -> dict[str, Path]:
    """Folders in `root` by their names in lower case, without those that systems hide in archives."""
    return {p.name.lower(): p for p in sorted(root.iterdir()) if p.is_dir() and not p.name.startswith((".", "__"))}


def _unwrapped(root: Path) -> Path:
    """The folder of the layout: `root`, or where it holds only a folder, that one's."""
    folders = _folders(root)
    if len(folders) == 1 and not (LABELS | _SPLIT_NAMES).keys() & folders.keys():
        return _unwrapped(*folders.values())
    return root


def _from_folders(root: Path) -> Iterable[Sample]:
    folders = _folders(root)
    splits = {folders[name]: split for name, split in _SPLIT_NAMES.items() if name in folders}
    for folder, split in splits.items() if splits else [(root, "")]:
        for inner in sorted(p for p in folder.iterdir() if p.is_dir()):
            label = LABELS.get(inner.name.lower())
            if label is not None:
                files = (p for p in inner.rglob("[!.]*") if p.suffix.lower() in SUFFIXES and p.is_file())
                yield from (Sample(p, label, "", split) for p in files)


def _with_splits(samples: list[Sample], root: Path) -> list[Sample]:
    base = root if root.is_dir() else root.parent

    def tenth(sample: Sample) -> int:
        name = sample.path.relative_to(base).as_posix() if sample.path.is_relative_to(base) else sample.path.name
        return hashlib.sha256(os.fsencode(name)).digest()[0] * 10 // 256

    by_tenth = ["train"] * 8 + ["valid", "test"]
    samples = [s if s.split else replace(s, split=by_tenth[tenth(s)]) for s in samples]
    if not any(s.split == "valid" for s in samples):
        samples = [replace(s, split="valid") if s.split == "train" and tenth(s) == 0 else s for s in samples]
    return samples
