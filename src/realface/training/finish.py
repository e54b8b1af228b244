"""What every training ends with: calibrated on the valid split, measured on the test split, written down."""

import json
import logging
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from .. import __version__
from ..card import Card, Policy
from ..data import Sample
from ..data.layouts import content_hash
from ..degrade import random_history
from ..detector import Detector
from ..evaluation.figures import confusion_plot
from ..evaluation.metrics import Figures, by_size, by_source, report
from ..evaluation.scores import Scores, score
from ..harmless import printable
from ..networks.base import Network
from ..paths import write_whole
from ..rates import MAX_ROWS
from .calibrate import fit_calibration, set_thresholds
from .config import Config
from .export import export, preprocessing, with_card

log = logging.getLogger(__name__)
NOVEL = 0.002
"""Share of the valid split's pictures, as they are and degraded, that are too unlike the training pictures to judge."""
NAMED = 1000  # sources that a card names
HISTORY_SEED = 1_000_003  # of the random histories of validation pictures; training uses the run's own seed


def finish(
    network: Network,
    config: Config,
    splits: dict[str, list[Sample]],
    lines: Mapping[Sample, str],
    run: Path,
    *,
    name: str = "",
    valid: Scores | None = None,
) -> Path:
    """Calibrate a trained network, set its thresholds, measure it and write `detector.onnx` to the run folder.

    Calibration and thresholds are fitted to the pictures of the valid split as they are and after one random history,
    without the faces that are inconclusive for a reason of their own, novelty among them.

    Args:
        network: the trained network.
        config: of its run.
        splits: the data set.
        lines: the fingerprints of its pictures, of which the card has a hash for each split.
        run: the run folder.
        name: of the network, where it is not that of `config`.
        valid: what the network says of the valid split, where that is known; else the exported graph is asked.
    """
    given = preprocessing(network, config.framing)
    card = Card(printable(run.resolve().name)[:200], __version__, name or config.network, given, licence=config.licence)
    graph = export(network, card)
    scores = valid or _valid(Detector(graph), splits["valid"], config)
    novel_from = float(np.quantile(scores.novelty, 1 - NOVEL)) if network.measures_novelty else None
    scores = scores.where(scores.judged & ~(scores.novelty >= (novel_from or np.inf)))
    policy = Policy(config.max_bpcer, config.max_apcer)
    card = replace(card, calibration=fit_calibration(scores.labels, scores.logits), policy=policy)
    detector = Detector(with_card(graph, card))
    card = replace(
        card,
        thresholds=replace(
            set_thresholds(scores.labels, detector.probabilities(scores.logits), policy), novel_from=novel_from
        ),
        data={
            "sha256": {name: content_hash(lines[s] for s in rows) for name, rows in splits.items() if rows},
            "train": len(splits["train"]),
            "sources": sorted({s.source for s in splits["train"]} - {""})[:NAMED],
        },
    )
    valid_figures = by_source(scores, detector.probabilities(scores.logits), card.thresholds)
    card = replace(card, metrics={"valid": largest(valid_figures)})
    path = run / "detector.onnx"
    if splits["test"]:
        detector = Detector(with_card(graph, card))
        tested = score(detector, splits["test"], "measuring on the test split")
        fake = detector.probabilities(tested.logits)
        figures = by_source(tested, fake, card.thresholds)
        measured = {"test": largest(figures), "test_by_size": by_size(tested, fake, card.thresholds)}
        write_whole(path, with_card(graph, replace(card, metrics=card.metrics | measured)))
        (run / "report.txt").write_text(report(tested.labels, fake), encoding="utf-8")
        (run / "evaluation.json").write_text(json.dumps(figures, indent=1), encoding="utf-8")
        confusion_plot(tested.labels, fake, run / "confusion.png")
    else:
        write_whole(path, with_card(graph, card))
        for stale in ("report.txt", "evaluation.json", "confusion.png"):  # of the test split that there was
            (run / stale).unlink(missing_ok=True)
        log.warning("there is no test split: no report and no confusion matrix")
    return path


def largest(figures: dict[str, Figures]) -> dict[str, Figures]:
    """As many rows as are told of: that of all pictures, and of the sources that have most. A card has its limit."""
    kept = sorted(figures, key=lambda name: -figures[name]["real"] - figures[name]["fake"])[:MAX_ROWS]
    return {name: figures[name] for name in figures if name in kept}


def _valid(detector: Detector, samples: list[Sample], config: Config) -> Scores:
    scores = score(detector, samples, "calibrating, pictures as they are")
    if not config.degradations:
        return scores
    histories = score(
        detector,
        samples,
        "calibrating, degraded pictures",
        change=lambda crop, rng: random_history(crop, rng, config.degradations),
        seed=HISTORY_SEED,
    )
    return scores.joined(histories)
