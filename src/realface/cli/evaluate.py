"""The command line: measuring detectors, thin as the rest."""

import json
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..card import Policy
from ..detector import Detector, bundled
from ..errors import DataError
from ..paths import make_folder, write_whole
from .options import fail, need

if TYPE_CHECKING:
    from ..evaluation.evaluate import Evaluation


def evaluate(
    data: Annotated[Path, typer.Argument(help="Labelled pictures, in any layout that `train` takes.")],
    detector: Annotated[
        list[str] | None,
        typer.Option(
            help=f"A detector file, or one that comes with realface: {', '.join(bundled())}; repeatable.  "
            "[default: best]"
        ),
    ] = None,
    command: Annotated[
        list[str] | None,
        typer.Option(metavar="'PROGRAM … {paths}'", help="A program that prints what `check --json` does; repeatable."),
    ] = None,
    command_seconds: Annotated[int, typer.Option(min=1, max=86400, help="A command may take for 32 pictures.")] = 600,
    split: Annotated[str, typer.Option(help="train, valid, test or all.")] = "test",
    source: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Only pictures of this source; repeatable.")
    ] = None,
    every: Annotated[int, typer.Option(min=1, metavar="N", help="One in N of the pictures, to be done sooner.")] = 1,
    grid: Annotated[
        bool, typer.Option("--grid", help="Judge every face recompressed, resized, blurred, … too; takes far longer.")
    ] = False,
    out: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Write report.html, evaluation.json and every score here.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the evaluation in --out.")] = False,
) -> None:
    """Measure detectors on labelled pictures: error rates with intervals, by source, generator and size of the face."""
    need("train")
    from ..evaluation.commands import Command
    from ..evaluation.evaluate import evaluate as measure

    if resume and not out:
        raise DataError("--resume goes on with what is in --out: name it")
    files = detector or ([] if command else ["best"])
    judges = [Detector.load(name, threads=1) for name in files]  # pictures, not layers, are spread over the cores
    commands = [Command(text, command_seconds) for text in command or ()]
    try:
        done = measure([*judges, *commands], data, split, source or (), grid=grid, every=every, out=out, resume=resume)
    except KeyboardInterrupt:
        fail("stopped; the same command with --resume goes on" if out else "stopped", 130)
    _tell(done, out, {"Data": f"{data}, split {split}, SHA-256 {done.result['data_sha256']}"})


def compare(
    evaluations: Annotated[list[Path], typer.Argument(metavar="FOLDER...", help="What `evaluate --out` wrote.")],
    out: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Write report.html, evaluation.json and every score here.")
    ] = None,
) -> None:
    """Set detectors side by side on the pictures that all of them judged, with the differences and their intervals."""
    need("train")
    from ..evaluation.compare import load
    from ..evaluation.evaluate import summary
    from ..evaluation.rows import FILE, write

    described, rows, left_out = load(evaluations)
    if out and (out / FILE).exists():  # it may be one of those that are compared
        raise DataError(f"{out} holds an evaluation already; choose another --out")
    done = summary(described, rows, {"left_out": left_out})
    note = f"{left_out:,} more were not judged by all" if left_out else "all of the evaluations"
    _tell(done, out, {"Evaluations": ", ".join(map(str, evaluations)), "Compared": f"pictures in common; {note}"})
    if out:
        write(out / FILE, (row for kept in rows for row in kept))


def _tell(done: "Evaluation", out: Path | None, facts: dict[str, str]) -> None:
    """Print the figures and, where there is a folder for them, write them there, for machines and for people."""
    from ..evaluation.compare import RESULT, comparison_table
    from ..evaluation.evaluate import LOST
    from ..evaluation.grid import grid_table
    from ..evaluation.metrics import promises, table
    from ..evaluation.page import page

    for known in done.result["detectors"]:
        if len(done.rows) > 1:
            print(f"## {known['name']}\n")
        print(table(known["figures"]))
        if known["policy"]:
            print(f"\n{promises(known['figures']['all'], Policy(**known['policy']))}")
        if "grid" in known:
            print(f"\n{grid_table(known['grid'])}")
        for key, words in LOST.items():
            if known[key]:
                print(f"{len(known[key])} pictures {words}, the first is {known[key][0]!r}", file=sys.stderr)
        print()
    for compared in done.result["comparison"]:
        print(f"{comparison_table(compared)}\n")
    if not out:
        return
    command = shlex.join(["realface", *sys.argv[1:]])
    facts = {"Command": command, **facts}
    make_folder(out)
    try:
        text = json.dumps({"command": command} | done.result, indent=1)
        write_whole(out / RESULT, text.encode() + b"\n")
        write_whole(out / "report.html", page(done, facts).encode())
    except OSError as error:
        raise DataError(f"{out} cannot be written to: {error.strerror}") from None
    print(f"Written: {out / 'report.html'}")
