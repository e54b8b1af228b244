"""Hugging Face Parquet, in which the pictures themselves are, as pictures in a folder."""

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Any

import pyarrow
from pyarrow import parquet

from ..errors import DataError
from ..paths import SUFFIXES
from ..progress import track
from .importing_archives import LARGEST, TOTAL, made_folder, write
from .importing_sets import KAGGLE_140K, Found, named_as_140k
from .layouts import LABELS, NAMES, SPLIT_NAMES, Sample, is_parquet, with_splits

GROUP = 4 * 2**30  # most bytes of a row group, by what the file says of it
_SIGNATURES = {b"\xff\xd8\xff": ".jpg", b"\x89PNG": ".png", b"RIFF": ".webp", b"BM": ".bmp", b"GIF8": ".gif"}
_SHARD = re.compile(r"(.+)-(\d{5})-of-(\d{5})(-[0-9a-f]+)?")


def shards(source: Path) -> list[Path]:
    """Parquet files with pictures in them: the file itself, or those in a folder; in order of path.

    In a folder, files that are cut off count: the others may be whole.

    Raises:
        DataError: the file itself is cut off.
    """
    if source.is_dir():
        return [
            path
            for path in sorted(source.rglob("[!.]*.parquet"))
            if path.is_file() and _holds_pictures(path) is not False
        ]
    held = (is_parquet(source) or source.suffix.lower() == ".parquet") and _holds_pictures(source)
    if held is None:
        raise DataError(f"{source} is cut off or damaged: no Parquet file that is whole; download it again")
    return [source] if held else []


def unpack_parquet(source: Path, paths: Sequence[Path], to: Path | None) -> Found:
    """Write the pictures of Hugging Face Parquet into a folder, as `split/class/file/row.jpg`.

    Whatever their numbers are, labels count by their names, which the file says; failing that, by the column
    `generator`, where it calls some pictures real, or the folder in a picture's own path.

    Raises:
        DataError: nothing says which label is which, the files are hostile, or the folder cannot hold them.
    """
    found = Found("", [])
    names: list[tuple[str, str]] = []
    counts: Counter[str] = Counter()
    total = 0
    to = made_folder(source, to, sum(path.stat().st_size for path in paths))
    base = source if source.is_dir() else source.parent
    by_generator = cache(lambda: any(map(_calls_some_real, paths)))  # a pass of its own, which few sets need
    for path in track(paths, "unpacking"):
        inner = path.relative_to(base).with_suffix("")
        try:
            for number, (data, own, label, generator) in enumerate(_rows(path, by_generator)):
                if not data or label not in LABELS:
                    counts["without a picture" if not data else "without a label"] += 1
                    continue
                total += len(data)
                if total > TOTAL:
                    raise _too_much(path)
                split = _split(path)
                target = to / split / label / inner / f"{number:06}{_suffix(data, own)}"
                write(target, data)
                names.append((label, PurePosixPath(own).name))
                made = generator if label == "fake" else ""
                found.samples.append(Sample(target, LABELS[label], "", split, made))
        except (pyarrow.ArrowException, OSError, ValueError) as error:
            found.problems.append(f"partial: {path.name} is cut off or damaged; download it again ({error})")
    if not found.samples:
        unlabelled = counts["without a label"] > counts["without a picture"]
        why = "nothing says which label is real and which is fake" if unlabelled else "there are no pictures in it"
        raise DataError(f"{source}: {found.problems[0] if found.problems else why}")
    found.problems += [f"wrong: {number:,} rows are {text}" for text, number in counts.items()]
    found.problems += _missing_shards(paths)
    if named_as_140k(names) or {s.generator for s in found.samples if s.label} == {KAGGLE_140K.generator}:
        found.name = KAGGLE_140K.name
    found.samples.sort(key=lambda s: str(s.path))
    if not all(s.split for s in found.samples):
        found.samples = with_splits(found.samples, to)
    return found


def _holds_pictures(path: Path) -> bool | None:
    """None for a file that cannot be read."""
    try:
        return bool(_picture_column(parquet.read_schema(path)))
    except (pyarrow.ArrowException, OSError):
        return None


def _picture_column(schema: Any) -> str:
    """The column of structs with bytes and path, which is how pictures are kept; "" where there is none."""
    for column in schema:
        if pyarrow.types.is_struct(column.type):
            kinds = {part.name: part.type for part in column.type}
            if kinds.get("bytes") in (pyarrow.binary(), pyarrow.large_binary()):
                return str(column.name)
    return ""


def _calls_some_real(path: Path) -> bool:
    """Whether the column `generator` does so; where it does not, it may name cameras too, and gives no label."""
    try:
        return any(_is_real(said["generator"]) for _, said in _cells(path, ["generator"]))
    except (KeyError, pyarrow.ArrowException, OSError, ValueError):
        return False


def _rows(path: Path, by_generator: Callable[[], bool]) -> Iterator[tuple[bytes | None, str, str, str]]:
    """Bytes, own path, class ("" where unknown) and generator of each picture."""
    column = _picture_column(parquet.read_schema(path))
    for row, said in _cells(path, [column, "label", "labels", "generator"]):
        picture = row[column] or {}
        own = str(picture.get("path") or "")
        yield picture.get("bytes"), own, _class(said, own, by_generator), said.get("generator", "")


def _cells(path: Path, columns: Sequence[str]) -> Iterator[tuple[dict[str, Any], dict[str, str]]]:
    """The rows of those columns that are there, and what their cells say.

    One row is made at a time, and measured before Python has it: of many rows that share a value, a file holds it once.
    """
    with parquet.ParquetFile(path) as file:
        features = _features(file.schema_arrow)
        for group in range(file.num_row_groups):
            if file.metadata.row_group(group).total_byte_size > GROUP:
                raise _too_much(path)
        there = [name for name in columns if name in file.schema_arrow.names]
        for batch in file.iter_batches(batch_size=1, columns=there):
            if batch.nbytes > LARGEST:
                raise _too_much(path)
            (row,) = batch.to_pylist()
            yield row, {name: _word(features.get(name), value) for name, value in row.items()}


def _too_much(path: Path) -> DataError:
    return DataError(f"{path} holds more than is unpacked; this is no set of face pictures")


def _features(schema: Any) -> dict[str, Any]:
    """What `datasets` wrote of the columns, such as the names of a label's numbers."""
    try:
        features = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
    except (KeyError, TypeError, ValueError, RecursionError):
        return {}
    return features if isinstance(features, dict) else {}


def _word(feature: Any, value: Any) -> str:
    """What a cell says, by the names its column has for its numbers."""
    names = feature.get("names") if isinstance(feature, dict) else None
    if isinstance(names, list) and isinstance(value, int):
        return str(names[value]) if 0 <= value < len(names) else ""
    return value if isinstance(value, str) else ""


def _is_real(word: str) -> bool:
    return word.strip().lower() == "real"


def _class(said: dict[str, str], own: str, by_generator: Callable[[], bool]) -> str:
    label = (said.get("label") or said.get("labels") or "").strip().lower()
    if label in LABELS:
        return label
    if said.get("generator") and by_generator():
        return "real" if _is_real(said["generator"]) else "fake"
    folders = {part.lower() for part in PurePosixPath(own).parts[:-1]} & set(NAMES)
    return folders.pop() if len(folders) == 1 else ""


def _split(path: Path) -> str:
    """Of a shard: as its name begins (train-00000-of-00003), or its folder is called; "" where nothing says."""
    for word in (re.split(r"[-_.]", path.name)[0], path.parent.name):
        if word.lower() in SPLIT_NAMES:
            return SPLIT_NAMES[word.lower()]
    return ""


def _suffix(data: bytes, own: str) -> str:
    own_suffix = PurePosixPath(own).suffix.lower()
    known = (suffix for signature, suffix in _SIGNATURES.items() if data.startswith(signature))
    return own_suffix if own_suffix in SUFFIXES else next(known, ".jpg")


def _missing_shards(paths: Sequence[Path]) -> list[str]:
    """Of files that are numbered, such as train-00000-of-00003, those that are not there."""
    there: dict[tuple[str, int], set[int]] = {}
    for path in paths:
        if match := _SHARD.fullmatch(path.stem):
            there.setdefault((str(path.with_name(match[1])), int(match[3])), set()).add(int(match[2]))
    return [
        f"partial: {total - len(numbers)} of the {total} files {Path(name).name}-… are missing"
        for (name, total), numbers in there.items()
        if len(numbers) < total
    ]
