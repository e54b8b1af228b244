"""`realface train`: labelled pictures in, a run folder with a detector in it out."""

import json
import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from .. import __version__
from ..card import Card, Policy, Preprocessing
from ..data import Sample, read_data
from ..data.layouts import content_hash, fingerprints
from ..detector import Detector
from ..errors import DataError
from ..evaluation.figures import confusion_plot, curves_plot
from ..evaluation.metrics import by_size, by_source, report
from ..evaluation.scores import score
from ..networks import build
from ..networks.base import Network
from ..paths import write_whole
from .calibrate import fit_calibration, set_thresholds
from .config import Config, read_toml, to_toml
from .export import export, with_card
from .features import cached_features
from .fit import Task, fit
from .sources import Source

log = logging.getLogger(__name__)
HISTORY_SEED = 1_000_003  # of the random histories of validation pictures; training uses the run's own seed


def train(data: Path, config: Config, run: Path, *, resume: bool = False) -> Path | None:
    """Train, calibrate and export a detector.

    The run folder gets config.toml, metrics.csv, curves.png, checkpoints/, detector.onnx and, of the test split,
    evaluation.json, report.txt and confusion.png.

    Args:
        data: a data set in one of the layouts of `realface.data`.
        config: all settings.
        run: a new or empty folder, or one to resume.
        resume: go on with the run in `run`, where it stopped.

    Returns:
        The path of detector.onnx; None if training was interrupted (`resume` goes on with it).

    Raises:
        DataError: the data cannot be trained on, or `run` holds another run.
        WeightsError: the network's published weights were not fetched.
    """
    samples = read_data(data)
    splits = {name: [s for s in samples if s.split == name] for name in ("train", "valid", "test")}
    for name in ("train", "valid"):
        labels = {s.label for s in splits[name]}
        if labels != {0, 1}:
            raise DataError(f"{data}: the {name} split needs pictures of both classes, real and fake")
    stored = run / "config.toml"
    if stored.exists() and not resume:
        raise DataError(f"{run} holds a run already; add --resume to go on with it, or choose another --out")
    if stored.exists() and read_toml(stored).get("network") != config.network:
        raise DataError(f"{run} holds a run of another network; choose another --out")
    try:
        run.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"{run} cannot be made: {error.strerror}") from None

    torch.manual_seed(config.seed)
    network = build(config.network, pretrained=config.pretrained, seed=config.seed)
    lines = {name: fingerprints(rows) for name, rows in splits.items() if rows}
    hashes = {name: content_hash(of_split) for name, of_split in lines.items()}
    task = Task(
        network,
        config,
        _source(network, config, splits["train"], lines["train"], range(config.views if config.degradations else 1)),
        _source(network, config, splits["valid"], lines["valid"], [1]),
    )
    stored.write_text(to_toml(config), encoding="utf-8")
    if not fit(task, run, resume=resume):
        return None
    curves_plot(run / "metrics.csv", run / "curves.png")
    return _finish(network, config, splits, hashes, run)


def _source(network: Network, config: Config, samples: list[Sample], lines: list[str], views: Sequence[int]) -> Source:
    if not config.freeze:
        return Source(samples, config.balance, network.input_size)
    tables = [
        cached_features(
            network,
            samples,
            lines,
            view=view,
            framing=config.framing,
            strength=config.degradations,
            seed=config.seed,
            workers=config.workers,
        )
        for view in views
    ]
    return Source(samples, config.balance, network.input_size, tables)


def _finish(
    network: Network, config: Config, splits: dict[str, list[Sample]], hashes: dict[str, str], run: Path
) -> Path:
    """Calibrate the exported graph itself on the valid split, measure it on test, and write the detector file."""
    name = run.resolve().name
    card = Card(
        name, __version__, config.network, Preprocessing(network.input_size, config.framing), licence=config.licence
    )
    graph = export(network, card)
    detector = Detector(graph)
    scores = score(detector, splits["valid"], "calibrating, pictures as they are")
    if config.degradations:
        histories = score(
            detector,
            splits["valid"],
            "calibrating, degraded pictures",
            strength=config.degradations,
            seed=HISTORY_SEED,
        )
        scores = scores.joined(histories)
    policy = Policy(config.max_bpcer, config.max_apcer)
    card = replace(card, calibration=fit_calibration(scores.labels, scores.logits), policy=policy)
    detector = Detector(with_card(graph, card))
    card = replace(
        card,
        thresholds=set_thresholds(scores.labels, detector.probabilities(scores.logits), policy),
        data={
            "sha256": hashes,
            "train": len(splits["train"]),
            "sources": sorted({s.source for s in splits["train"]} - {""}),
        },
    )
    card = replace(card, metrics={"valid": by_source(scores, detector.probabilities(scores.logits), card.thresholds)})
    path = run / "detector.onnx"
    write_whole(path, with_card(graph, card))
    if splits["test"]:
        detector = Detector(with_card(graph, card))
        tested = score(detector, splits["test"], "measuring on the test split")
        fake = detector.probabilities(tested.logits)
        figures = by_source(tested, fake, card.thresholds)
        measured = {"test": figures, "test_by_size": by_size(tested, fake, card.thresholds)}
        write_whole(path, with_card(graph, replace(card, metrics=card.metrics | measured)))
        (run / "report.txt").write_text(report(tested.labels, fake), encoding="utf-8")
        (run / "evaluation.json").write_text(json.dumps(figures, indent=1), encoding="utf-8")
        confusion_plot(tested.labels, fake, run / "confusion.png")
    else:
        log.warning("there is no test split: no report and no confusion matrix")
    return path
