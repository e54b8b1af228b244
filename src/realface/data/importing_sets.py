"""Published data sets: what they should hold, how they are told by their files, and what differs from that."""

import csv
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from ..errors import DataError
from .layouts import (
    LABELS,
    SPLITS,
    Sample,
    from_folders,
    is_parquet,
    manifest_rows,
    pictures_in,
    read_data,
    unwrapped,
    with_splits,
)

NAMES = tuple(LABELS)
CONFLICT = "label_conflict"
"""Error of a picture that lies in the folder of one class and is listed as the other."""


@dataclass(frozen=True)
class Published:
    """A data set as it was published.

    Attributes:
        name: what its pictures have as their source.
        handle: its name on Kaggle.
        counts: pictures by split and class; the split is "" where it has none.
        generator: what made the fakes.
        side: width and height in pixels of every picture, where they are all the same.
        warning: what to know before training on it.
    """

    name: str
    handle: str
    counts: Mapping[tuple[str, str], int]
    generator: str
    side: int | None = None
    warning: str = ""


_SIZES = {"train": 50_000, "valid": 10_000, "test": 10_000}
KAGGLE_140K = Published(
    "140k",
    "xhlulu/140k-real-and-fake-faces",
    {(split, name): number for split, number in _SIZES.items() for name in NAMES},
    "StyleGAN",
    side=256,
)
CIPLAB = Published(
    "ciplab",
    "ciplab/real-and-fake-face-detection",
    {("", "real"): 1_081, ("", "fake"): 960},
    "Photoshop, by hand",
    warning="the fakes of this set were put together by people in Photoshop; no machine made them, so a detector of "
    "machine-made faces should neither be trained nor be judged on them as if one had",
)
_NAMES_140K = {"real": re.compile(r"\d{5}\.jpg"), "fake": re.compile(r"[0-9A-Z]{10}\.jpg")}
PUBLISHED = {known.name: known for known in (KAGGLE_140K, CIPLAB)}


@dataclass(frozen=True, slots=True)
class Entry:
    """A picture to import: `error` is "" or why its row is not to be used, whatever its file is like."""

    sample: Sample
    generator: str = ""
    error: str = ""


@dataclass
class Found:
    """What a folder or an archive holds.

    Attributes:
        name: of the published set it was taken for; "" for none.
        entries: its pictures, sorted by path.
        problems: what differs from the publication, a sentence each.
        notes: what else to know.
    """

    name: str
    entries: list[Entry]
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def in_folder(root: Path) -> Found:
    """The pictures of a folder or a manifest, and which published set they look like.

    Raises:
        DataError: there are none, or a manifest is wrong.
    """
    if root.is_file():
        return _of_manifest(root)
    try:
        ciplab = _ciplab_folders(root)
        if ciplab:
            return _of_ciplab(root, ciplab)
        if (root / "manifest.csv").is_file():
            return _of_manifest(root / "manifest.csv")
        inner = unwrapped(root) if root.is_dir() else root
        samples = sorted(from_folders(inner), key=lambda s: str(s.path)) if root.is_dir() else []
        tables = list(_tables(root, inner))
    except OSError as error:
        raise DataError(f"{root}: cannot be read: {error}") from None
    if not samples or not (
        any(_is_table(path) for _, path in tables) or named_as_140k((NAMES[s.label], s.path.name) for s in samples)
    ):
        return Found("", [Entry(s) for s in read_data(root)])
    found = Found(KAGGLE_140K.name, [Entry(s) for s in samples])
    if not all(s.split for s in samples):
        found.entries = [Entry(s) for s in with_splits(samples, inner)]
    _compare(found, tables)
    return found


def named_as_140k(names: Iterable[tuple[str, str]]) -> bool:
    """Whether files, each with its class, are named as in the Kaggle set: FFHQ's numbers, StyleGAN's ten letters."""
    seen: Counter[str] = Counter()
    for label, name in names:
        seen["all"] += 1
        seen[label] += bool(_NAMES_140K[label].fullmatch(name))
    return min(seen["real"], seen["fake"]) > 0 and seen["real"] + seen["fake"] >= 0.95 * seen["all"]


def differences(
    known: Published, counts: Counter[tuple[str, str]], unreadable: Counter[tuple[str, str]], odd: int
) -> Iterator[str]:
    """How what was found differs from what was published, a sentence each.

    Args:
        known: the published set.
        counts: pictures that can be used, by split and class.
        unreadable: the others that are there.
        odd: pictures of another size than all should have.
    """
    for (split, name), wanted in known.counts.items():
        there, broken = (_total(number, split, name) for number in (counts, unreadable))
        kind = " ".join(filter(None, [name, split, "pictures"]))
        if there + broken < wanted:
            yield f"partial: {wanted - there - broken:,} of {wanted:,} {kind} are missing"
        if there + broken > wanted:
            yield f"wrong: {there + broken:,} {kind} are there, {there + broken - wanted:,} more than were published"
    if odd:
        yield f"wrong: {odd:,} pictures are not {known.side} x {known.side} pixels"


def _total(counts: Counter[tuple[str, str]], split: str, name: str) -> int:
    return sum(number for key, number in counts.items() if key[1] == name and split in ("", key[0]))


def _of_manifest(path: Path) -> Found:
    try:
        if not is_parquet(path) and _is_table(path):
            raise DataError(f"{path} is a table of the Kaggle set; import the folder it is in")
        made = {path.parent / (row["path"] or ""): row.get("generator") or "" for _, row in manifest_rows(path)}
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: cannot be read: {error}") from None
    return Found("", [Entry(s, made.get(s.path, "")) for s in read_data(path)])


def _ciplab_folders(root: Path) -> list[Path]:
    """Folders that hold `training_real` or `training_fake`, the outermost first."""
    found = {
        p.parent
        for above in ("", "*/", "*/*/")  # in Kaggle's archive it is in a folder, and again in one deeper
        for name in NAMES
        for p in root.glob(f"{above}training_{name}")
        if p.is_dir()
    }
    return sorted(found, key=lambda p: (len(p.parts), str(p)))


def _of_ciplab(root: Path, folders: Sequence[Path]) -> Found:
    inner = folders[0]
    files = [
        Sample(path, label, "", "")
        for name, label in LABELS.items()
        for path in pictures_in(inner / f"training_{name}")
    ]
    if not files:
        raise DataError(f"{root}: no pictures found in {inner}")
    found = Found(CIPLAB.name, [Entry(s) for s in with_splits(sorted(files, key=lambda s: str(s.path)), inner)])
    if len(folders) > 1:  # as in Kaggle's own archive of it
        found.notes.append(f"the set is there {len(folders)} times; only the pictures in {inner} are listed")
    return found


def _is_table(path: Path) -> bool:
    """Whether a file has the columns of a table of the Kaggle set."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            return set(csv.DictReader(file).fieldnames or ()) >= {"label", "label_str", "path"}
    except (OSError, UnicodeDecodeError, csv.Error):
        return False


def _rows(path: Path) -> Iterator[dict[str, str | None]]:
    with path.open(newline="", encoding="utf-8-sig") as file:
        yield from csv.DictReader(file)


def _tables(root: Path, inner: Path) -> Iterator[tuple[str, Path]]:
    """Files named as the tables of the Kaggle set, with their splits: in `root` or a folder from there to `inner`."""
    between = [p for p in (inner, *inner.parents) if p.is_relative_to(root)]
    for split in SPLITS:
        for path in (folder / f"{split}.csv" for folder in between):
            if path.is_file():
                yield split, path
                break


def _compare(found: Found, tables: Sequence[tuple[str, Path]]) -> None:
    """Hold the tables of the Kaggle set against the files; labels in them are 1 for real, unlike here."""

    def name_of(sample: Sample) -> str:
        return f"{sample.split}/{NAMES[sample.label]}/{sample.path.name}"

    listed: dict[str, str] = {}
    for split, path in tables:
        twice = confused = 0
        if not _is_table(path):
            found.problems.append(f"wrong: {path.name} is damaged, or not the table of the set")
            continue
        try:
            for row in _rows(path):
                name, label = row["path"] or "", (row["label_str"] or "").strip().lower()
                twice += name in listed
                confused += label not in LABELS or (row["label"] or "").strip() != str(1 - LABELS[label])
                listed[name] = label
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            found.problems.append(f"wrong: {path.name} cannot be read to its end: {error}")
            continue
        there = {name_of(e.sample) for e in found.entries if e.sample.split == split}
        named = {name for name in listed if name.startswith(f"{split}/")}
        for number, text in (
            (twice, "wrong: {} lists pictures more than once"),
            (confused, "wrong: {} has rows whose label does not go with label_str (1 is real)"),
            (
                len(there - named),
                f"wrong: {{}} does not list all that is there, such as {min(there - named, default='')}",
            ),
            (len(named - there), f"partial: {{}} lists what is not there, such as {min(named - there, default='')}"),
        ):
            if number:
                found.problems.append(f"{text.format(path.name)} ({number:,})")
    missing = [f"{split}.csv" for split in SPLITS if split not in dict(tables)]
    if missing:
        found.notes.append(
            f"{', '.join(missing)} not found: labels are those of the folders, with nothing to check them"
        )

    def checked(entry: Entry) -> Entry:
        label = listed.get(name_of(entry.sample), "")
        return replace(entry, error=CONFLICT) if label in LABELS and LABELS[label] != entry.sample.label else entry

    found.entries = [checked(entry) for entry in found.entries]
    conflicts = sum(entry.error == CONFLICT for entry in found.entries)
    if conflicts:
        found.problems.append(f"wrong: pictures are in the folder of one class and listed as the other ({conflicts:,})")
