"""How often a detector is wrong, as its file says: anybody can write one, so only what can be a rate is taken."""

import math
from collections.abc import Sequence
from typing import Any

from .card import SIZE_GROUPS, Card, size_group

FIGURES = {
    "real": "Real faces",
    "fake": "Fake faces",
    "auc": "AUC",
    "accuracy": "Accuracy at 50 %",
    "bpcer": "Real called fake",
    "apcer": "Fake called real",
    "inconclusive": "Inconclusive",
}
"""What is measured of each group of faces, and how it is headed; see `realface.evaluation.metrics`."""
MAX_ROWS = 100
TOO_WIDE = 0.2
TOO_FEW = "too few samples to say"
_SAID = {"bpcer": "of the real were called fake", "apcer": "of the fake called real", "inconclusive": "got no answer"}

Figures = dict[str, float | None]


class Rates:
    """The figures in a card that were measured on the test split.

    Attributes:
        by_size: group of `realface.card.SIZE_GROUPS` to its figures; empty where none were measured.
        by_source: the same by source, the last of all under "all".
    """

    def __init__(self, card: Card) -> None:
        sizes, sources = _table(card.metrics.get("test_by_size")), _table(card.metrics.get("test"))
        self.by_size = {group: sizes[group] for group in SIZE_GROUPS if group in sizes}
        self.by_source = dict(sorted(sources.items(), key=lambda row: row[0] == "all"))

    def sentence(self, side: int) -> str:
        """How often the detector was wrong on faces whose crop has `side` native pixels; plain text."""
        group = size_group(side)
        row, which = self.by_size.get(group), f"of {group}"
        if row is None:
            row, which = self.by_source.get("all"), "of all sizes (of this size alone nothing was measured)"
        if row is None:
            return "How often this detector is wrong on such faces was not measured."
        told = [_rate(key, row, words) for key, words in _SAID.items() if row[key] is not None]
        counts = f"{cell('real', row['real'])} real and {cell('fake', row['fake'])} fake"
        return f"Of {counts} test faces {which}, {', '.join(told) or 'no rates are known'}."


def interval(figure: str, row: Figures) -> tuple[float, float] | None:
    """`wilson`'s of one of the rates in a row, which has its value and the counts; None of other figures."""
    real, fake = row["real"] or 0, row["fake"] or 0
    total = {"bpcer": real, "apcer": fake, "accuracy": real + fake, "inconclusive": real + fake}.get(figure, 0)
    value = row[figure]
    return None if value is None else wilson(round(value * total), round(total))


def too_few(ends: Sequence[float] | None) -> bool:
    """Whether the interval of a rate is so wide (over 20 points) that the rate says little."""
    return ends is None or ends[1] - ends[0] > TOO_WIDE


def ends_of(ends: Sequence[float]) -> str:
    """The interval of a share as text, in percent."""
    return f"{100 * ends[0]:.1f} to {100 * ends[1]:.1f}"


def _rate(figure: str, row: Figures, words: str) -> str:
    ends = interval(figure, row)
    within = f" (95 % interval {ends_of(ends)} %)" if ends else ""
    return f"{cell(figure, row[figure])} {words}{within}{f': {TOO_FEW}' * too_few(ends)}"


def cell(figure: str, value: float | None) -> str:
    """One of `FIGURES` as text."""
    if value is None:
        return "-"
    if figure in ("real", "fake"):
        return f"{value:,.0f}"
    return f"{value:.4f}" if figure == "auc" else f"{100 * value:.1f} %"


def wilson(count: int, total: int) -> tuple[float, float] | None:
    """The 95 % interval of a rate of which `count` of `total` were seen; None where nothing was.

    Wilson 1927, "Probable Inference, the Law of Succession, and Statistical Inference": unlike the usual plus and
    minus, it says something where none or all were seen.
    """
    if not total:
        return None
    z = 1.959964  # of the normal distribution, 95 % lie within
    share, weight = count / total, 1 + z**2 / total
    middle = (share + z**2 / (2 * total)) / weight
    reach = z / weight * math.sqrt(share * (1 - share) / total + z**2 / (4 * total**2))
    # exact ends, which rounding would miss
    return (middle - reach if count else 0.0), (middle + reach if count < total else 1.0)


def _table(table: Any) -> dict[str, Figures]:
    rows = sorted(table.items(), key=lambda row: row[0] != "all")[:MAX_ROWS] if isinstance(table, dict) else []
    found = {
        name: {figure: _number(row.get(figure), 1e9 if figure in ("real", "fake") else 1) for figure in FIGURES}
        for name, row in rows
        if isinstance(row, dict)
    }
    return {name: row for name, row in found.items() if None not in (row["real"], row["fake"])}


def _number(value: Any, most: float) -> float | None:
    return value if isinstance(value, int | float) and 0 <= value <= most else None
