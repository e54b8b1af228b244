"""`realface train`: labelled pictures in, a run folder with a detector in it out."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path

from ..data import Sample, read_data
from ..data.layouts import fingerprints, read_splits
from ..errors import ConfigError, DataError
from ..evaluation.figures import curves_plot
from ..networks import build, find
from ..networks.base import Network
from ..paths import alone_in, found_in, make_folder, write_whole
from .checkpoint import BEST, load_weights
from .config import Config, make_config, read_toml, to_toml
from .features import cached_views, faces_of_nobody
from .finish import finish
from .fit import Task, fit
from .processes import place
from .sources import Source, joined
from .taught import Taught
from .twins import Twins

FREE = {"workers", "licence", "max_bpcer", "max_apcer"}
"""Settings that may change where a run goes on: no weight hangs on them."""
LEARNED = Path("checkpoints", "data.sha256")
"""In a run folder, the hashes of what it learns from and is judged by, as sha256sum writes them."""


def train(data: Path, config: Config, run: Path, *, resume: bool = False, detector: bool = True) -> Path:
    """Train, calibrate and export a detector; each process of `processes.launch` takes part, the first one writes.

    The run folder gets config.toml, metrics.csv, curves.png, checkpoints/, detector.onnx and, of the test split,
    evaluation.json, report.txt and confusion.png.

    Args:
        data: a data set in one of the layouts of `realface.data`.
        config: all settings.
        run: a new or empty folder, or one to resume.
        resume: go on with the run in `run`, where it stopped.
        detector: calibrate, measure and export; else the run ends with its checkpoints and curves, as `fuse` needs it.

    Returns:
        The path of detector.onnx, or, without one, `run`.

    Raises:
        KeyboardInterrupt: training was interrupted; `resume` goes on with it.
        DataError: the data cannot be trained on, or `run` holds another run, or a run of other pictures.
        ConfigError: `run` holds a run with other settings, or the settings do not go together.
        WeightsError: the network's published weights were not fetched.
    """
    check(config)
    splits = read_splits(data)
    chosen = of_sources(splits, config)
    for name in ("train", "valid"):
        labels = {s.label for s in chosen[name]}
        if labels != {0, 1}:
            raise DataError(f"{data}: the {name} split needs pictures of both classes, real and fake")
    splits["train"] = chosen["train"]  # all that the card is to tell of
    stored, first = run / "config.toml", place()[0] == 0
    if (run / "teacher.safetensors").exists():
        raise DataError(f"{run} is what realface fuse made; choose another --out")
    if first and not resume and found_in(run):
        held = "a run already; add --resume to go on with it, or" if stored.exists() else "something already;"
        raise DataError(f"{run} holds {held} choose another --out")
    if resume and stored.exists():
        before = asdict(make_config(read_toml(stored)))
        if other := [key for key, value in asdict(config).items() if key not in FREE and value != before[key]]:
            raise ConfigError(f"{run} was begun with other {', '.join(other)}; choose the same, or another --out")
    make_folder(run)
    with alone_in(run) if first else nullcontext():
        network = _begun(config)
        lines = lines_of(splits)
        learned = hashes(chosen["train"] + chosen["valid"], lines, config)
        if resume and (other := differing(run, learned)):
            raise DataError(f"{run} was begun with other {' and '.join(other)}; choose the same, or another --out")
        task = Task(network, config, *(_source(network, config, chosen[name], lines) for name in ("train", "valid")))
        if first:
            write_whole(stored, to_toml(config).encode())
            (run / LEARNED).parent.mkdir(exist_ok=True)
            write_whole(run / LEARNED, "".join(f"{value}  {name}\n" for name, value in learned.items()).encode())
        fit(task, run, resume=resume)
        if first and (run / "metrics.csv").exists():
            curves_plot(run / "metrics.csv", run / "curves.png")
        if not detector:
            return run
        return finish(network, config, splits, lines, run) if first else run / "detector.onnx"


def check(config: Config) -> None:
    """See that settings go together.

    Raises:
        ConfigError: they do not.
    """
    network = find(config.network)
    if config.freeze and (network.window or config.teacher):
        raise ConfigError(
            "with freeze, features of whole pictures are learned from: neither windows nor a teacher's versions"
        )
    if network.window and config.teacher:
        raise ConfigError(f"{config.network} learns from twins, which no teacher has judged; train it without one")
    size = config.input_size or network.input_size
    fits = network.any_size and not (config.freeze or network.window) and config.part <= size
    if config.part and not fits:
        raise ConfigError("part needs a network that takes pictures of any size, whole and as large at least")
    if config.teacher and config.pairs:
        raise ConfigError("the teacher has not judged the faces in pairs: learn from one of both")


def lines_of(splits: Mapping[str, Sequence[Sample]]) -> dict[Sample, str]:
    """The fingerprints of all pictures."""
    return {s: line for rows in splits.values() for s, line in zip(rows, fingerprints(rows), strict=True)}


def in_order(samples: Iterable[Sample], lines: Mapping[Sample, str]) -> str:
    """SHA-256 over all of pictures that training hangs on: their fingerprints, `lines`, and sources, in order."""
    return hashlib.sha256("\n".join(f"{lines[s]} {s.source}" for s in samples).encode()).hexdigest()


def differing(run: Path, learned: Mapping[str, str]) -> list[str]:
    """The names of those hashes in `learned` that a run's folder notes otherwise."""
    path = run / LEARNED
    rows = [line.partition("  ") for line in path.read_text().splitlines()] if path.exists() else []
    noted = {name: value for value, _, name in rows}  # early runs wrote a hash without a name
    return [name for name, value in learned.items() if noted.get(name, value) != value]


def new_network(config: Config) -> Network:
    """The network of a configuration before it has learned anything."""
    return build(
        config.network,
        pretrained=config.pretrained,
        seed=config.seed,
        dropout=config.dropout,
        input_size=config.input_size,
    )


def _begun(config: Config) -> Network:
    """The network as training begins with it, with the weights of `Config.start` where one is named."""
    network = new_network(config)
    if config.start:
        run = Path(config.start)
        load_weights(network, run)
        before = make_config(read_toml(run / "config.toml"))
        if before.freeze and not (before.pretrained and config.pretrained and not before.start):  # its trunk is nowhere
            raise DataError(f"{run} holds a head only, of a trunk that is not kept; start from another run")
    return network


def sources_of(config: Config) -> set[str]:
    """The names in `Config.sources`."""
    return {name.strip() for name in config.sources.split(",") if name.strip()}


def of_sources(splits: dict[str, list[Sample]], config: Config) -> dict[str, list[Sample]]:
    """What is learned from: the splits without the pictures of other sources than those of the configuration.

    Raises:
        DataError: one of those is not in the train split.
    """
    some, known = sources_of(config), {sample.source for sample in splits["train"]}
    if unknown := some - known:
        names = ", ".join(sorted(known - {""})) or "none that has a name"
        raise DataError(f"there is no source {min(unknown)!r} in the train split; there are: {names}")
    return {name: [s for s in samples if not some or s.source in some] for name, samples in splits.items()}


def hashes(samples: Sequence[Sample], lines: Mapping[Sample, str], config: Config) -> dict[str, str]:
    """Hashes, by name, of what a run learns from and is judged by."""
    found = {"pictures": in_order(samples, lines)}
    if config.pairs:
        pairs = read_data(config.pairs)
        found["pairs"] = in_order(pairs, lines_of({"": pairs}))
    if config.teacher and (said := Path(config.teacher, "teacher.safetensors")).is_file():  # else `Taught` complains
        found["teacher"] = hashlib.sha256(said.read_bytes()).hexdigest()
    if config.start and config.freeze:  # else the checkpoints have all of it
        found["start"] = hashlib.sha256(Path(config.start, BEST).read_bytes()).hexdigest()
    return found


def _source(network: Network, config: Config, samples: list[Sample], lines: dict[Sample, str]) -> Source | Twins:
    """What training draws from, or is validated on, by the split of the samples."""
    split, of_samples = samples[0].split, [lines[sample] for sample in samples]
    if network.window:
        pairs = read_splits(config.pairs)[split] if config.pairs else []
        return Twins(samples, pairs, network.input_size, config.framing)
    if config.teacher and split == "train":
        return Taught(samples, of_samples, config, network.input_size)
    trunk = network if config.freeze else None
    views = range(config.versions) if split == "train" else [1]
    tables = [] if trunk is None else cached_views(trunk, samples, of_samples, config, views)
    if split == "train":
        samples, tables = joined(samples, tables, *faces_of_nobody(trunk, config, config.versions))
    return Source(samples, config.balance, network.input_size, tables)
