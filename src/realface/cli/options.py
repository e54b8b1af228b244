"""What several commands share."""

import os
import re
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from ..detector import bundled
from ..errors import DataError, MissingExtra
from ..harmless import printable
from ..paths import SUFFIXES, check_name

DetectorOption = Annotated[
    str, typer.Option(help=f"A detector file, or one that comes with realface: {', '.join(bundled())}.")
]

_EXTRAS = {
    "train": (
        "this needs the training half",
        ("matplotlib", "onnxscript", "pyarrow", "pytorch_lightning", "safetensors", "sklearn"),
    ),
    "scan": ("scanning needs an optional part", ("duckdb", "filelock", "fsspec", "pyarrow", "rich")),
    "serve": (
        "this needs an optional part",
        ("fastapi", "prometheus_client", "python_multipart", "sqlalchemy", "uvicorn"),
    ),
}
"""What is said where an extra is missing, and the packages that tell whether it is."""
TABLES = (".csv", ".tsv", ".json", ".jsonl", ".xlsx")
"""What tables are called that are no Parquet."""


def fail(message: str, status: int) -> NoReturn:
    print(f"realface: {printable(' '.join(message.splitlines()))}", file=sys.stderr)
    raise SystemExit(status)


def need(extra: str) -> None:
    """MissingExtra unless the packages of an extra are installed."""
    said, packages = _EXTRAS[extra]
    if not all(map(find_spec, packages)):  # importing those of training takes six seconds
        raise MissingExtra(f'{said}: pip install "realface[{extra}]"')


def need_form(out: Path | None, form: str, *others: str) -> None:
    """DataError where a file is called as if it were of another form than it will be; a picture might be lost by it."""
    if out and out.suffix.lower() in (*others, *SUFFIXES):
        raise DataError(f"{out} would be {form}, whatever its name says; give it another name")


def need_folder(out: Path | None) -> None:
    """DataError where a file is to be written to a folder that is not there, or is a folder itself."""
    if out and os.path.isdir(out):  # which never raises, as `Path.is_dir` may
        raise DataError(f"{out} is a folder; name a file in it")
    if out and not os.path.isdir(out.absolute().parent):
        elsewhere = re.match("[a-z][a-z0-9+.-]+:/", str(out), re.IGNORECASE)
        why = "; results are written to this machine" if elsewhere else ""
        raise DataError(f"there is no folder {out.absolute().parent} to write {out.name} to{why}")
    if out:
        check_name(out)
