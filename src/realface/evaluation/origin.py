"""Where a figure comes from: the code, the machine and the versions that measured it."""

import json
import platform
import re
import subprocess
from argparse import ArgumentParser, ArgumentTypeError, RawDescriptionHelpFormatter
from importlib.metadata import version
from pathlib import Path
from typing import Any

from ..cores import cores

_ROOT = Path(__file__).resolve().parents[3]
_CODE = ("src", "scripts", "benchmarks", "pyproject.toml")


def origin(*packages: str) -> dict[str, Any]:
    """What every file of measured figures says of how it came about.

    Args:
        packages: others whose versions matter, by the names they are installed by.

    Returns:
        machine: processor and cores; versions: of Python, realface, what judges pictures and `packages`; and where the
        code is a checkout that git speaks of, commit: with a + where the code differs from it.
    """
    names = ("realface", "onnxruntime", "numpy", "pillow", *packages)
    return _commit() | {
        "machine": f"{_processor()}, {cores()} core{'s' * (cores() > 1)}",
        "versions": {"python": platform.python_version(), **{name: version(name) for name in names}},
    }


def parser_of(script: str, description: str | None) -> ArgumentParser:
    """The command line of a script that measures: its `--out` is results/NAME.json beside the script's folder."""
    parser = ArgumentParser(description=description, formatter_class=RawDescriptionHelpFormatter)
    path = Path(script).resolve()
    parser.add_argument("--out", type=result_file, default=path.parents[1] / "results" / f"{path.stem}.json")
    return parser


def tell(result: dict[str, Any], out: Path) -> None:
    """Write figures to a file and print them."""
    text = json.dumps(result, indent=1)
    out.write_text(text + "\n")
    print(text)


def result_file(text: str) -> Path:
    """The file that `--out` of a script names. What is wrong with it is told before hours of measuring, not after."""
    path = Path(text)
    if path.is_dir():
        raise ArgumentTypeError(f"{path} is a folder; name a file in it")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ArgumentTypeError(f"{path} cannot be written: {error.strerror}") from None
    return path


def _commit() -> dict[str, str]:
    if not (_ROOT / ".git").exists():
        return {}
    try:
        at, differs = (
            subprocess.run(["git", *asked], cwd=_ROOT, capture_output=True, text=True, check=True).stdout.strip()
            for asked in (["rev-parse", "--short", "HEAD"], ["status", "--porcelain", "--", *_CODE])
        )
    except (OSError, subprocess.CalledProcessError):  # git is not there, or not willing: the folder is another user's
        return {}
    return {"commit": at + "+" * bool(differs)}


def _processor() -> str:
    try:
        named = re.search(r"model name\s*: (.+)", Path("/proc/cpuinfo").read_text(encoding="utf-8"))
    except OSError:
        named = None
    return f"{named[1]} ({platform.machine()})" if named else platform.machine()
