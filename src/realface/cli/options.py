"""What several commands share."""

import sys
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from ..detector import bundled
from ..errors import DataError, MissingExtra

DetectorOption = Annotated[
    str, typer.Option(help=f"A detector file, or one that comes with realface: {', '.join(bundled())}.")
]


def fail(message: str, status: int) -> NoReturn:
    print(f"realface: {message}", file=sys.stderr)
    raise SystemExit(status)


def need_training() -> None:
    """MissingExtra unless the making half is installed."""
    try:
        import matplotlib  # noqa: F401
        import onnxscript  # noqa: F401
        import pyarrow  # noqa: F401
        import pytorch_lightning  # noqa: F401
        import safetensors  # noqa: F401
        import sklearn  # noqa: F401
    except ImportError:
        raise MissingExtra('this needs the training half: pip install "realface[train]"') from None


def need_folder(out: Path | None) -> None:
    """DataError where a file is to be written to a folder that is not there."""
    if out and not out.resolve().parent.is_dir():
        raise DataError(f"there is no folder {out.resolve().parent} to write {out.name} to")
