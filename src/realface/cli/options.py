"""What several commands share."""

import sys
from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from ..detector import bundled
from ..errors import DataError, MissingExtra
from ..harmless import printable

DetectorOption = Annotated[
    str, typer.Option(help=f"A detector file, or one that comes with realface: {', '.join(bundled())}.")
]


def fail(message: str, status: int) -> NoReturn:
    print(f"realface: {printable(' '.join(message.splitlines()))}", file=sys.stderr)
    raise SystemExit(status)


def need_training() -> None:
    """MissingExtra unless the making half is installed."""
    needed = ("matplotlib", "onnxscript", "pyarrow", "pytorch_lightning", "safetensors", "sklearn")
    need(needed, 'this needs the training half: pip install "realface[train]"')


def need(packages: Iterable[str], otherwise: str) -> None:
    """MissingExtra, with what it says, unless all packages are installed."""
    if not all(map(find_spec, packages)):  # importing those of training takes six seconds
        raise MissingExtra(otherwise)


def need_folder(out: Path | None) -> None:
    """DataError where a file is to be written to a folder that is not there, or is a folder itself."""
    if out and out.is_dir():
        raise DataError(f"{out} is a folder; name a file in it")
    if out and not out.resolve().parent.is_dir():
        raise DataError(f"there is no folder {out.resolve().parent} to write {out.name} to")
