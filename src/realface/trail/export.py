"""A trail as a file that other programs read."""

import csv
import json
from collections.abc import Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from ..errors import MissingExtra, TrailError
from ..harmless import cell
from ..paths import whole
from .chain import NAMES
from .trail import Records, Track, Trail, untracked

COLUMNS = (*NAMES, "hash")
ROWS = 10_000  # of a group of a Parquet file


def export(trail: Trail, out: Path, track: Track = untracked) -> int:
    """Write every record to a file, whole or not at all, without keeping them in memory.

    Args:
        trail: is only read.
        out: .jsonl (an object a line, of the names in `COLUMNS`, probabilities as a list), .csv or .parquet.
        track: shows how far it is.

    Returns:
        How many there are.

    Raises:
        TrailError: of another kind of file, it cannot be written, or records are missing or too many.
        MissingExtra: Parquet needs pyarrow.
    """
    writers = {".jsonl": _jsonl, ".csv": _csv, ".parquet": _parquet}
    write = writers.get(out.suffix.lower())
    if write is None:
        raise TrailError(f"a trail is exported as {', '.join(writers)}; give the file such a name, not {out.name}")
    try:
        with whole(out) as part, trail.records() as (head, rows):
            count = head.n - head.pruned
            write(part, track(_all(rows, count), count))
    except OSError as error:
        raise TrailError(f"{out} could not be written: {error.strerror or error}") from None
    except (TypeError, ValueError, ArithmeticError) as error:  # bytes where there was a text, say
        said = f"a record is not as realface writes it ({error}); see `realface audit verify`"
        raise TrailError(f"{out} could not be written: {said}") from None
    return count


def _all(rows: Records, count: int) -> Records:
    """Pass records on; TrailError at the end if they were not as many as the trail says."""
    passed = 0
    for row in rows:
        yield row
        passed += 1
    if passed != count:
        raise TrailError(f"the trail has {passed:,} records, not the {count:,} it says; see `realface audit verify`")


def _listed(row: Mapping[str, Any]) -> dict[str, Any]:
    """A record whose probabilities are a list."""
    try:
        return {**row, "probabilities": json.loads(row["probabilities"])}
    except (ValueError, TypeError, RecursionError):
        raise TrailError(f"record {row['n']} was changed since it was written; see `realface audit verify`") from None


def _jsonl(path: Path, rows: Records) -> None:
    with path.open("w", encoding="ascii") as file:
        for row in rows:
            file.write(json.dumps(_listed(row)) + "\n")


def _csv(path: Path, rows: Records) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for row in rows:
            writer.writerow([cell(row[name]) for name in COLUMNS])


def _parquet(path: Path, rows: Records) -> None:
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ImportError:
        raise MissingExtra('Parquet needs pyarrow: pip install "realface[scan]"; or export to .jsonl') from None
    kinds = {"n": pa.int64(), "probabilities": pa.list_(pa.float64())}
    schema = pa.schema([(name, kinds.get(name, pa.string())) for name in COLUMNS])
    left = map(_listed, rows)
    with parquet.ParquetWriter(path, schema) as writer:
        while some := list(islice(left, ROWS)):
            writer.write_table(pa.Table.from_pylist(some, schema))
