"""`realface compare`: detectors side by side on the pictures that all of them judged."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..data.layouts import UNREADABLE
from ..errors import DataError
from ..harmless import printable
from ..rates import TOO_FEW
from . import rows as kept_rows
from .bootstrap import at_bpcer, interval
from .metrics import METRICS, Metric, drawn, markdown, of_answers, operating_points
from .rows import Row

RESULT = "evaluation.json"
POINT = 0.01
FIGURES = METRICS | {at_bpcer(POINT): Metric(f"APCER at BPCER {100 * POINT:g} %")}


def differences(first: Sequence[Row], other: Sequence[Row]) -> dict[str, Any]:
    """How far the figures of two detectors differ on the pictures that both answered, from rows of the same pictures.

    The intervals are of the differences themselves, drawn picture by picture for both at once: what is hard for both
    does not widen them. They take pictures for independent, which those of one source are not quite. That of the
    calibration error is as wide as the intervals of both allow.

    Returns:
        pictures: that both answered; left_out: that only one did; figures: name of `FIGURES` to first, other,
        difference (other less first), interval (95 %) and says: "better", "worse" (the other, of the two) or None where
        the interval holds 0 or real pictures are too few. Figures that need a class that is missing are not there.
    """
    answered = [(row.status == "ok", against.status == "ok") for row, against in zip(first, other, strict=True)]
    both = [i for i, which in enumerate(answered) if all(which)]
    found: dict[str, Any] = {"pictures": len(both), "left_out": sum(map(any, answered)) - len(both), "figures": {}}
    if not both:
        return found
    labels = np.array([first[i].label for i in both])
    values, spread, enough = [], [], True
    for rows in (first, other):
        got = kept_rows.answers([rows[i] for i in both])
        spread.append(drawn(labels, got.fake, got.called))
        points = {point["at"]: point for point in operating_points(labels, got.fake, spread[-1])}
        point = points.get(POINT, {"apcer": None, "enough": False})
        values.append(of_answers(labels, got.fake, got.called, spread[-1]) | {at_bpcer(POINT): point["apcer"]})
        enough = enough and point["enough"]
    for name, metric in FIGURES.items():
        if name in spread[0] and None not in (values[0][name], values[1][name]):
            ends = interval(spread[1][name] - spread[0][name])
            if ends and name == "ece":  # chance adds to it, and to two detectors not the same
                ends = _span(*(value["intervals"]["ece"] for value in values))
            apart = ends is not None and not ends[0] <= 0 <= ends[1] and (enough or name != at_bpcer(POINT))
            difference = values[1][name] - values[0][name]
            better = (difference > 0) == metric.more_is_better
            found["figures"][name] = {
                "first": values[0][name],
                "other": values[1][name],
                "difference": difference,
                "interval": ends,
                "says": ("better" if better else "worse") if apart else None,
            }
    return found


def _span(first: Sequence[float] | None, other: Sequence[float] | None) -> list[float] | None:
    return [other[0] - first[1], other[1] - first[0]] if first and other else None


def row_text(name: str, row: dict[str, Any]) -> list[str]:
    """A row of the comparison as text: figure, first, other, difference, interval, what it says."""
    metric, ends = FIGURES[name], row["interval"]
    scale, places, unit = (100, 1, " points") if metric.share else (1, 4, "")

    def signed(value: float) -> str:
        text = f"{scale * value:+.{places}f}"
        return text if float(text) else text[1:]

    within = f"{signed(ends[0])} to {signed(ends[1])}" if ends else "-"
    difference = f"{signed(row['difference'])}{unit}"
    values = [metric.told(row[which]) for which in ("first", "other")]
    return [metric.name, *values, difference, within, row["says"] or TOO_FEW]


def comparison_table(compared: dict[str, Any]) -> str:
    """One comparison as a Markdown table."""
    heads = ["figure", compared["first"], compared["other"], "difference", "95 % interval", f"{compared['other']} is"]
    return markdown(heads, [row_text(*item) for item in compared["figures"].items()])


def load(folders: Sequence[Path]) -> tuple[list[dict[str, Any]], list[list[Row]], int]:
    """What evaluations that were written say of the pictures that all their detectors judged.

    Returns:
        What is known of each detector, its rows, and how many pictures were left out.

    Raises:
        DataError: a folder holds no evaluation, or there are not two detectors or no picture in common.
    """
    described: list[dict[str, Any]] = []
    told: dict[str, dict[tuple[str, int, str], Row]] = {}
    for folder in folders:
        try:
            stored = json.loads((folder / RESULT).read_text(encoding="utf-8"))
            rows = kept_rows.read(folder / kept_rows.FILE)
            for known in stored["detectors"]:
                who = {key: printable(str(known["detector"][key])) for key in ("name", "version", "sha256")}
                if who["sha256"] not in told:  # else it has judged more pictures in another evaluation
                    described.append({"detector": who} | _checked(known))
                judged = told.setdefault(who["sha256"], {})
                for row in rows:
                    if row.detector == who["sha256"]:
                        judged.setdefault(_picture(row), row)
        except OSError:
            raise DataError(f"{folder} holds no finished evaluation; `realface evaluate … --out` makes one") from None
        except (ValueError, TypeError, KeyError, OverflowError, RecursionError):
            raise DataError(f"{folder / RESULT} is damaged, or of another version") from None
    if len(told) < 2:
        raise DataError("comparing takes two detectors or more: name the folders of two evaluations")
    seen = [set(judged) for judged in told.values()]
    common = sorted(set.intersection(*seen))
    if not common:
        raise DataError("these evaluations have no picture in common")
    left_out = len(set.union(*seen)) - len(common)
    return described, [[judged[key] for key in common] for judged in told.values()], left_out


def _picture(row: Row) -> tuple[str, int, str]:
    """By what a picture is known in several evaluations: its bytes and label, or, where it was not read, its path."""
    return row.sha256, row.label, row.path if row.sha256 == UNREADABLE else ""


def _checked(known: dict[str, Any]) -> dict[str, Any]:
    """Thresholds, policy and seconds as they were written, each with the numbers it needs, or None of a command."""
    kinds = {
        "thresholds": ("real_below", "fake_from", "novel_from"),
        "policy": ("max_bpcer", "max_apcer", "split"),
        "seconds": ("p50", "p95", "pictures"),
    }
    found: dict[str, Any] = {}
    for name, keys in kinds.items():
        values = None if known[name] is None else {key: known[name][key] for key in keys}
        found[name] = values and {key: _number(key, value) for key, value in values.items()}
    return found


def _number(key: str, value: Any) -> float | str | None:
    if value is None and key in ("novel_from", "p50", "p95"):  # not measured
        return None
    return printable(str(value)) if key == "split" else float(value)
