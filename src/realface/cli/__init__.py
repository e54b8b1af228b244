"""The command line: one thin command for each use, no logic of its own; a file for each kind of use."""

import errno
import io
import os
import sys
from typing import Annotated

import typer

from .. import __version__
from ..errors import RealfaceError
from .audit import audit_app
from .check import app_command, check
from .data import data_app
from .evaluate import compare, evaluate
from .options import fail
from .scan import scan_app
from .serve import serve
from .train import fuse, networks, train, tune

DENIED = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.ENAMETOOLONG, errno.ELOOP)
"""What is said of a path, of the cache or of a run, where nothing can be read or written."""

app = typer.Typer(
    help="Tell photographs of real faces from faces a machine made.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.command("check")(check)
app.command("app")(app_command)
app.add_typer(scan_app, name="scan")
app.command("serve", context_settings={"auto_envvar_prefix": "REALFACE"})(serve)
app.command("evaluate")(evaluate)
app.command("compare")(compare)
app.add_typer(data_app, name="data")
app.add_typer(audit_app, name="audit")
app.command("networks")(networks)
app.command("train")(train)
app.command("fuse")(fuse)
app.command("tune")(tune)


def run() -> None:
    """The command `realface`: `main`, but a check, which people wait for, is not taken apart bit by bit at its end."""
    try:
        main()
    except SystemExit as end:
        if sys.argv[1:2] == ["check"] and isinstance(end.code, int):
            os._exit(end.code)
        raise


def main() -> None:
    """Run the command line; every failure is one sentence and an exit status."""
    for name, mode in {"stdin": "r", "stdout": "w", "stderr": "w"}.items():
        if getattr(sys, name) is None:  # closed by whoever started this
            setattr(sys, name, open(os.devnull, mode))  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a name no encoding can print must not stop the rest
            stream.reconfigure(errors="backslashreplace")
    try:
        try:
            app()
        finally:
            sys.stdout.flush()  # here, where it is known what to do if that fails
    except RealfaceError as error:
        fail(str(error), 2)
    except BrokenPipeError:  # whoever read the output has had enough
        _drop_output()
        raise SystemExit(1) from None
    except Exception as error:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            _drop_output()
            fail(f"the disk is full, what should be written is not: {error.strerror}; make room and try again", 2)
        if isinstance(error, OSError) and error.errno in DENIED and error.filename:
            fail(f"{error.filename} cannot be read or written: {error.strerror}", 2)
        if isinstance(error, FileNotFoundError) and _homeless():
            fail("the working folder was removed; go to another one, and try again", 2)
        if os.environ.get("REALFACE_DEBUG"):
            raise
        fail(f"this is a defect in realface, please report it: {type(error).__name__}: {error}", 70)


def _drop_output() -> None:
    """Lose what is not written yet, or Python would try again at its end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _homeless() -> bool:
    try:
        os.getcwd()
    except FileNotFoundError:
        return True
    return False


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"realface {__version__}")
        raise typer.Exit()


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", is_eager=True, callback=_print_version)
    ] = False,
) -> None:
    pass
