"""Figures of a detector on labelled faces. Fake is the positive class.

APCER and BPCER after ISO/IEC 30107-3: the share of fake faces called real, and of real (bona fide) faces called
fake, by the thresholds in the detector's file; an inconclusive answer counts as neither.
"""

from typing import Any

import numpy as np
from sklearn.metrics import accuracy_score, classification_report, roc_auc_score

from ..card import SIZE_GROUPS, Thresholds, size_group
from .scores import Scores

Figures = dict[str, Any]


def figures(labels: np.ndarray, fake: np.ndarray, judged: np.ndarray, thresholds: Thresholds) -> Figures:
    """Counts and rates of one group of pictures.

    Args:
        labels: (N,) int, 0 real, 1 fake.
        fake: (N,) calibrated probability of fake.
        judged: (N,) bool, False for faces that are inconclusive whatever their probability.
        thresholds: of the detector.

    Returns:
        real, fake: counts; accuracy: at probability 0.5; auc; bpcer; apcer; inconclusive: shares, 0 to 1. What
        the group cannot show (an AUC without both classes, say) is None.
    """
    called_fake, called_real = judged & (fake >= thresholds.fake_from), judged & (fake < thresholds.real_below)
    real_rows, fake_rows = labels == 0, labels == 1
    both = bool(real_rows.any() and fake_rows.any())
    return {
        "real": int(real_rows.sum()),
        "fake": int(fake_rows.sum()),
        "auc": float(roc_auc_score(labels, fake)) if both else None,
        "accuracy": float(accuracy_score(labels, fake >= 0.5)) if len(labels) else None,
        "bpcer": _share(called_fake[real_rows]),
        "apcer": _share(called_real[fake_rows]),
        "inconclusive": _share(~called_fake & ~called_real),
    }


def by_source(scores: Scores, fake: np.ndarray, thresholds: Thresholds) -> dict[str, Figures]:
    """`figures` of all pictures ("all") and of each source that has a name; `fake` is (N,) probability."""
    return {"all": _of(scores, np.full(len(fake), True), fake, thresholds)} | {
        source: _of(scores, scores.sources == source, fake, thresholds)
        for source in sorted(set(scores.sources.tolist()) - {""})
    }


def by_size(scores: Scores, fake: np.ndarray, thresholds: Thresholds) -> dict[str, Figures]:
    """`figures` of each group of `realface.card.SIZE_GROUPS` that has pictures."""
    groups = np.array([size_group(side) for side in scores.sides.tolist()])
    return {name: _of(scores, groups == name, fake, thresholds) for name in SIZE_GROUPS if (groups == name).any()}


def _of(scores: Scores, rows: np.ndarray, fake: np.ndarray, thresholds: Thresholds) -> Figures:
    return figures(scores.labels[rows], fake[rows], scores.judged[rows], thresholds)


def table(groups: dict[str, Figures]) -> str:
    """The figures as a Markdown table, a row a group."""
    lines = [
        "| source | real | fake | AUC | accuracy "
        "| real called fake (BPCER) | fake called real (APCER) | inconclusive |",
        "|---|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for name, row in groups.items():
        auc = "-" if row["auc"] is None else f"{row['auc']:.4f}"
        shares = (row["accuracy"], row["bpcer"], row["apcer"], row["inconclusive"])
        cells = [name, str(row["real"]), str(row["fake"]), auc, *("-" if s is None else f"{s:.1%}" for s in shares)]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def report(labels: np.ndarray, fake: np.ndarray) -> str:
    """scikit-learn's classification report at probability 0.5."""
    text: str = classification_report(
        labels, fake >= 0.5, labels=[0, 1], target_names=["real", "fake"], digits=4, zero_division=0
    )
    return text


def _share(rows: np.ndarray) -> float | None:
    return float(rows.mean()) if len(rows) else None
