"""The table a scan writes: one row for each picture, see docs/scan.md."""

import os
from collections.abc import Iterable
from typing import Any

import pyarrow as pa

from ..results import Verdict
from ..words import highest

_BOX = pa.list_(pa.int32())
_FACE = pa.struct(
    {
        "box": _BOX,
        "verdict": pa.string(),
        "probability": pa.struct({"real": pa.float64(), "fake": pa.float64()}),
        "crop": pa.struct({"box": _BOX, "roll": pa.float64()}),
        "reason": pa.string(),
    }
)
SCHEMA = pa.schema(
    {
        "path": pa.string(),
        "sha256": pa.string(),
        "status": pa.string(),
        "verdict": pa.string(),
        "fake_probability": pa.float64(),
        "face_count": pa.int32(),
        "faces": pa.list_(_FACE),
        "error_code": pa.string(),
        "error_message": pa.string(),
        "provenance": pa.list_(pa.struct({"kind": pa.string(), "says": pa.string(), "where": pa.string()})),
        "detector_name": pa.string(),
        "detector_version": pa.string(),
        "detector_sha256": pa.string(),
    }
)


def text(name: str) -> str:
    """A name that Parquet can hold: bytes that are not UTF-8 are written as `\\xff`."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def table(verdicts: Iterable[Verdict]) -> pa.RecordBatch:
    """The rows of some pictures."""
    return pa.RecordBatch.from_pylist([_row(verdict) for verdict in verdicts], schema=SCHEMA)


def _row(verdict: Verdict) -> dict[str, Any]:
    said = verdict.to_dict()
    error, detector = verdict.error, verdict.detector
    return {
        **{name: said[name] for name in ("sha256", "status", "verdict", "faces", "provenance")},
        "path": text(verdict.path or ""),
        "fake_probability": highest(verdict),
        "face_count": len(verdict.faces),
        "error_code": error.code if error else None,
        "error_message": text(error.message) if error else None,
        "detector_name": detector.name,
        "detector_version": detector.version,
        "detector_sha256": detector.sha256,
    }
