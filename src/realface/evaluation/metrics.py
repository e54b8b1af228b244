"""Figures of a detector on labelled faces. Fake is the positive class.

APCER and BPCER after ISO/IEC 30107-3: the share of fake faces called real, and of real (bona fide) faces called
fake, by the thresholds in the detector's file; an inconclusive answer counts as neither.
"""

from typing import Any

import numpy as np
from sklearn.metrics import accuracy_score, classification_report, roc_auc_score

from ..card import Thresholds

Figures = dict[str, Any]


def figures(labels: np.ndarray, fake: np.ndarray, thresholds: Thresholds) -> Figures:
    """Counts and rates of one group of pictures.

    Args:
        labels: (N,) int, 0 real, 1 fake.
        fake: (N,) calibrated probability of fake.
        thresholds: of the detector.

    Returns:
        real, fake: counts; accuracy: at probability 0.5; auc; bpcer; apcer; inconclusive: shares, 0 to 1. What
        the group cannot show (an AUC without both classes, say) is None.
    """
    called_fake, called_real = fake >= thresholds.fake_from, fake < thresholds.real_below
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


def by_source(labels: np.ndarray, fake: np.ndarray, sources: np.ndarray, thresholds: Thresholds) -> dict[str, Figures]:
    """`figures` of all pictures ("all") and of each source that has a name."""
    groups = {"all": figures(labels, fake, thresholds)}
    for source in sorted(set(sources.tolist()) - {""}):
        rows = sources == source
        groups[source] = figures(labels[rows], fake[rows], thresholds)
    return groups


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
