"""Published data sets: what they should hold, how they are told by their files, and what differs from that."""

import csv
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import DataError
from .layouts import LABELS, NAMES, SPLITS, Sample, from_folders, pictures_in, read_data, unwrapped, with_splits


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


@dataclass
class Found:
    """What a folder or an archive holds.

    Attributes:
        name: of the published set it was taken for; "" for none.
        samples: its pictures, sorted by path.
        conflicts: those of them that lie in the folder of one class and are listed as the other.
        problems: what differs from the publication, a sentence each.
        notes: what else to know.
    """

    name: str
    samples: list[Sample]
    conflicts: set[Path] = field(default_factory=set)
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def in_folder(root: Path, expect: str = "") -> Found:
    """The pictures of a folder or a manifest, and which published set they look like; none where "other" is expected.

    Raises:
        DataError: there are none, or a manifest is wrong.
    """
    try:
        if root.is_file() and _is_table(root):
            raise DataError(f"{root} is a table of the Kaggle set; import the folder it is in")
        inner = unwrapped(root)
        if expect == "other" or not inner.is_dir() or (inner / "manifest.csv").is_file():
            return Found("", read_data(root))
        samples = sorted(from_folders(inner), key=lambda s: str(s.path))
        if not samples:
            ciplab = _ciplab_folders(root)
            return _of_ciplab(root, ciplab) if ciplab else Found("", read_data(root))
        tables = list(_tables(root, inner))
    except OSError as error:
        raise DataError(f"{root}: cannot be read: {error}") from None
    named = named_as_140k((NAMES[s.label], s.path.name) for s in samples)
    if not named and not any(_is_table(path) for _, path in tables):
        return Found("", with_splits(samples, inner))
    found = Found(KAGGLE_140K.name, samples if all(s.split for s in samples) else with_splits(samples, inner))
    _compare(found, tables)
    return found


def named_as_140k(names: Iterable[tuple[str, str]]) -> bool:
    """Whether files, each with its class, are named as in the Kaggle set: FFHQ's numbers, StyleGAN's ten letters."""
    seen = Counter(label if _NAMES_140K[label].fullmatch(name) else "other" for label, name in names)
    return min(seen["real"], seen["fake"]) > 0 and seen["other"] <= 0.05 * seen.total()


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
        there, broken = (total(number, split, name) for number in (counts, unreadable))
        kind = " ".join(filter(None, [name, split, "pictures"]))
        if there + broken < wanted:
            yield f"partial: {wanted - there - broken:,} of {wanted:,} {kind} are missing"
        if there + broken > wanted:
            yield f"wrong: {there + broken:,} {kind} are there, {there + broken - wanted:,} more than were published"
    if odd:
        yield f"wrong: {odd:,} pictures are not {known.side} x {known.side} pixels"


def total(counts: Mapping[tuple[str, str], int], split: str, name: str) -> int:
    """Of counts by split and class, those of a class in a split, or in all where the split is ""."""
    return sum(number for key, number in counts.items() if key[1] == name and split in ("", key[0]))


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
        if (folder := inner / f"training_{name}").is_dir()
        for path in pictures_in(folder)
    ]
    if not files:
        raise DataError(f"{root}: no pictures found in {inner}")
    found = Found(CIPLAB.name, with_splits(files, inner))
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

    def name_of(sample: Sample, folder: int) -> str:
        return f"{sample.split}/{NAMES[folder]}/{sample.path.name}"

    columns = ("path", "label_str", "label")
    listed: dict[str, str] = {}
    for split, path in tables:
        try:
            with path.open(newline="", encoding="utf-8-sig") as file:
                rows = [[(row[key] or "").strip() for key in columns] for row in csv.DictReader(file)]
        except (OSError, UnicodeDecodeError, csv.Error, KeyError) as error:
            found.problems.append(f"wrong: {path.name} is damaged, or not the table of the set: {error}")
            continue
        named = {name: label.lower() for name, label, _ in rows}
        listed |= named
        confused = [row for row in rows if (row[1].lower(), row[2]) not in (("real", "1"), ("fake", "0"))]
        there = {name_of(s, s.label) for s in found.samples if s.split == split}
        more, lost = there - named.keys(), named.keys() - there
        for number, text in (
            (len(rows) - len(named), f"wrong: {path.name} lists pictures more than once"),
            (len(confused), f"wrong: {path.name} has rows whose label does not go with label_str (1 is real)"),
            (len(more), f"wrong: {path.name} does not list all that is there, such as {min(more, default='')}"),
            (len(lost), f"partial: {path.name} lists what is not there, such as {min(lost, default='')}"),
        ):
            if number:
                found.problems.append(f"{text} ({number:,})")
    missing = [f"{split}.csv" for split in SPLITS if split not in dict(tables)]
    if missing:
        found.notes.append(
            f"{', '.join(missing)} not found: labels are those of the folders, with nothing to check them"
        )

    def label_of(sample: Sample) -> str | None:
        """By the table, which may have it in the other folder."""
        return listed.get(name_of(sample, sample.label)) or listed.get(name_of(sample, 1 - sample.label))

    found.conflicts = {s.path for s in found.samples if label_of(s) == NAMES[1 - s.label]}
    if number := len(found.conflicts):
        found.problems.append(f"wrong: pictures are in the folder of one class and listed as the other ({number:,})")
