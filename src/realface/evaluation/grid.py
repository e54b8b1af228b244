"""The laundering grid: what is left of a detector once its pictures have been recompressed, resized, blurred.

Each face is found and cut once, from the picture as it is, and then changed in native pixels (`realface.degrade.GRID`)
and judged, so that what is measured is the detector and not the face finder. A face that can be judged as it is counts
as judged in every cell; a check of the changed picture may also find it too small or too blurred to judge.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from ..degrade import AS_IT_IS, EDITS, GRID
from .metrics import METRICS, Figures, of_answers, table
from .rows import Row, answers

LAUNDERING = tuple(name for name in GRID if name not in (AS_IT_IS, *EDITS))
"""The cells that any picture goes through on its way; mean and worst are over these."""


def grid_figures(rows: Sequence[Row]) -> dict[str, Any]:
    """The figures of every cell of the rows of one detector, and of the laundering cells together.

    Returns:
        cells: name to `of_answers`; mean, worst: each figure over the cells of `LAUNDERING`; worst_cell: figure to
        the name of the cell where it is worst, None where all are alike. What no cell can show is None.
    """
    cells = {}
    for name in GRID:
        got = answers(rows, name)
        cells[name] = of_answers(got.labels, got.fake, got.called)
    counts = {who: cells[AS_IT_IS][who] for who in ("real", "fake")}
    mean: Figures = dict(counts)
    worst: Figures = dict(counts)
    where: dict[str, str | None] = {}
    for figure, metric in METRICS.items():
        values = {name: cells[name][figure] for name in LAUNDERING if cells[name][figure] is not None}
        mean[figure] = sum(values.values()) / len(values) if values else None
        worst[figure] = (min if metric.more_is_better else max)(values.values(), default=None)
        differ = len(set(values.values())) > 1
        where[figure] = next(name for name in values if values[name] == worst[figure]) if differ else None
    return {"cells": cells, "mean": mean, "worst": worst, "worst_cell": where}


def grid_rows(grid: Mapping[str, Any]) -> dict[str, Figures]:
    """The rows of a table of what `grid_figures` gives: the cells, then mean and worst over the laundering ones."""
    return {**grid["cells"], "mean of laundering": grid["mean"], "worst of laundering": grid["worst"]}


def grid_table(grid: Mapping[str, Any]) -> str:
    """The `grid_rows` as a Markdown table."""
    return table(grid_rows(grid), "faces")
