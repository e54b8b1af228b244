"""The command line: judging pictures, thin as the rest."""

import sys
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from .. import images, table
from ..detector import Detector, Picture
from ..errors import DataError, DetectorError, ImageError
from ..images import Limits
from ..memory import keep_freed_memory
from ..paths import expand
from ..results import Verdict
from .options import DetectorOption


def check(
    paths: Annotated[
        list[str], typer.Argument(metavar="PATH...", help="Files, folders, globs, or - for standard input.")
    ],
    detector: DetectorOption = "best",
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object a line.")] = False,
    report: Annotated[Path | None, typer.Option(metavar="FILE.html", help="Write a case report with pictures.")] = None,
    stability: Annotated[bool, typer.Option("--stability", help="Does the verdict hold for changed copies?")] = False,
    heatmap: Annotated[bool, typer.Option("--heatmap", help="With --json: where the evidence lies.")] = False,
    batch_size: Annotated[int, typer.Option(min=1, help="Pictures judged at a time.")] = 1,
    max_megabytes: Annotated[int, typer.Option(min=1, help="Larger files are not read.")] = Limits().max_bytes // 2**20,
    max_megapixels: Annotated[
        int, typer.Option(min=1, max=178, help="Larger pictures are not read.")
    ] = Limits().max_pixels // 10**6,
) -> None:
    """Say of each picture whether its faces are real or made by a machine.

    Exit status: 0 all answered, 1 some could not be or show no face, 2 wrong usage, 130 stopped.
    """
    if heatmap and not (as_json or report):
        raise DataError("a heatmap is told in JSON or shown in a report; add --json or --report FILE.html")
    limits = Limits(max_megabytes * 2**20, max_megapixels * 1_000_000)
    keep_freed_memory()
    judge = Detector.load(detector, limits=limits)
    if heatmap and not judge.explains:
        raise DetectorError(f"the detector {judge.id.name} gives no heatmaps; leave --heatmap away")
    case = None
    if report:
        from ..report import Report, check_target

        check_target(report)
        case, heatmap, stability = Report(judge), judge.explains, True
    answered = True
    if not as_json:
        print(table.HEAD)
    try:
        for data, verdict in _verdicts(judge, expand(paths), limits, batch_size, heatmap, stability):
            answered = answered and verdict.status == "ok"
            print(verdict.to_json() if as_json else table.rows(verdict), flush=True)
            if case:
                case.add(replace(verdict, path="Standard input") if verdict.path == "-" else verdict, data)
    except BaseException:  # Ctrl-C too, and nobody reads on: what was judged is told
        if case and report and case.cases:
            with suppress(DataError):
                case.write(report, stopped=True)
        raise
    if not as_json:
        print(f"\n{judge.card.rule()} Detector {judge.id.name} {judge.id.version}.")
        print("A verdict is a hint for a person, not proof.")
    if case and report:
        case.write(report)
    raise typer.Exit(0 if answered else 1)


def app_command(
    detector: DetectorOption = "best",
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port on this computer.")] = 8501,
    browser: Annotated[bool, typer.Option(help="Open the page in a browser.")] = True,
) -> None:
    """Open the web app in a browser; it runs on this computer and sends nothing away."""
    from ..web.launch import launch

    raise typer.Exit(launch(detector, port, open_browser=browser))


def _verdicts(
    judge: Detector, paths: Iterator[str], limits: Limits, batch_size: int, heatmap: bool, stability: bool
) -> Iterator[tuple[bytes | None, Verdict]]:
    """The verdicts in order, each with the very bytes that were judged; no more than a batch of them is kept."""
    kept: deque[tuple[str, bytes | None]] = deque()

    def opened() -> Iterator[Picture]:
        for path in paths:
            data = _read(path, limits)
            kept.append((path, data))
            yield path if data is None else data

    for verdict in judge.check_many(opened(), batch_size=batch_size, heatmap=heatmap, stability=stability):
        path, data = kept.popleft()
        if data is not None and len(data) > limits.max_bytes:  # only the beginning of standard input was read
            data, verdict = None, replace(verdict, sha256=None)
        yield data, replace(verdict, path=path)


def _read(path: str, limits: Limits) -> bytes | None:
    """The bytes of a file; None for one that cannot be read, of which the check says why."""
    if path == "-":
        return images.read_most(sys.stdin.buffer, limits.max_bytes + 1)
    try:
        return images.read_bytes(path, limits)
    except ImageError:
        return None
