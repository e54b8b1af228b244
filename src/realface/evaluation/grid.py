"""The laundering grid: what is left of a detector once its pictures have been recompressed, resized, blurred.

Each face is found and cut once, from the picture as it is, and then changed in native pixels (`realface.degrade.GRID`)
and judged, so that what is measured is the detector and not the face finder. A face that can be judged as it is counts
as judged in every cell; a check of the changed picture may also find it too small or too blurred to judge.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from ..data import Sample
from ..degrade import AS_IT_IS, COVERED, GRID
from ..detector import Detector
from .metrics import Figures, figures, table
from .scores import Scores, score_each

LAUNDERING = tuple(name for name in GRID if name not in (AS_IT_IS, COVERED))
"""The cells that any picture goes through on its way; mean and worst are over these."""
_WORST = {"auc": min, "accuracy": min} | dict.fromkeys(("bpcer", "apcer", "inconclusive", "ece", "brier"), max)


def score_grid(detector: Detector, samples: Sequence[Sample], label: str) -> dict[str, Scores]:
    """The scores in every cell of `GRID`; the one `AS_IT_IS` is what `score` gives.

    Raises:
        DataError: not one of the pictures could be read.
    """
    return dict(zip(GRID, score_each(detector, samples, label, list(GRID.values())), strict=True))


def grid_figures(detector: Detector, scored: Mapping[str, Scores]) -> dict[str, Any]:
    """The figures of every cell, and of the laundering cells together.

    Args:
        detector: the detector.
        scored: from `score_grid`.

    Returns:
        cells: name to `figures`; mean, worst: each figure over the cells of `LAUNDERING`; worst_cell: figure to
        the name of the cell where it is worst, None where all are alike. What no cell can show is None.
    """
    cells = {
        name: figures(scores.labels, detector.probabilities(scores.logits), scores.judged, detector.card.thresholds)
        for name, scores in scored.items()
    }
    counts = {who: cells[AS_IT_IS][who] for who in ("real", "fake")}
    mean: Figures = dict(counts)
    worst: Figures = dict(counts)
    where: dict[str, str | None] = {}
    for figure, worse in _WORST.items():
        values = {name: cells[name][figure] for name in LAUNDERING if cells[name][figure] is not None}
        mean[figure] = sum(values.values()) / len(values) if values else None
        worst[figure] = worse(values.values(), default=None)
        differ = len(set(values.values())) > 1
        where[figure] = next(name for name in values if values[name] == worst[figure]) if differ else None
    return {"cells": cells, "mean": mean, "worst": worst, "worst_cell": where}


def grid_table(grid: Mapping[str, Any]) -> str:
    """What `grid_figures` gives as a Markdown table; the last two rows are over the laundering cells."""
    rows = {**grid["cells"], "mean of laundering": grid["mean"], "worst of laundering": grid["worst"]}
    return table(rows, "faces")
