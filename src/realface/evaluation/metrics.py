"""Figures of a detector on labelled faces. Fake is the positive class.

APCER and BPCER in the style of ISO/IEC 30107-3, without any claim to conform to it: the share of fake faces called
real, and of real (bona fide) faces called fake, by the thresholds in the detector's file; an inconclusive answer counts
as neither. Accuracy and what is said of the probabilities (AUC, calibration error, Brier score) count every face, also
one that gets no verdict.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from sklearn.metrics import (
    average_precision_score,
    brier_score_loss,
    classification_report,
    confusion_matrix,
    precision_recall_fscore_support,
    roc_auc_score,
    roc_curve,
)

from ..card import SIZE_GROUPS, Policy, Thresholds, size_group
from ..harmless import printable
from ..rates import TOO_FEW, TOO_WIDE, ends_of, too_few, wilson
from .bootstrap import BPCERS, HALF, at_bpcer, bins, calibration_interval, crossing, drawings, interval, scatter
from .rows import CODES
from .scores import Scores

Figures = dict[str, Any]
Spread = dict[str, np.ndarray]  # a figure's name to its values in all drawings


@dataclass(frozen=True)
class Metric:
    """A figure of a group of pictures, and how it is shown.

    Attributes:
        name: in reports and comparisons.
        column: its head in tables of groups; "" where it has no column there.
        measure: makes it of (N,) labels, 0 real, 1 fake, and (N,) probabilities of fake; None of what `of_answers`
            counts.
        classes: of which there must be pictures, 1 or 2; else the figure is None.
        share: whether it is one, 0 to 1, and shown in percent.
        more_is_better: of two values.
    """

    name: str
    column: str = ""
    measure: Callable[[np.ndarray, np.ndarray], Any] | None = None
    classes: int = 2
    share: bool = True
    more_is_better: bool = False

    def of(self, labels: np.ndarray, fake: np.ndarray) -> float | None:
        """What `measure` says, where there are pictures of enough classes."""
        enough = len(set(labels.tolist())) >= self.classes
        return float(self.measure(labels, fake)) if self.measure and enough else None

    def told(self, value: float | None) -> str:
        """A value as text."""
        return percent(value) if self.share else number(value)

    def within(self, ends: Sequence[float]) -> str:
        """The interval of a value as text."""
        return ends_of(ends) if self.share else f"{number(ends[0])} to {number(ends[1])}"


def called(fake: np.ndarray, judged: np.ndarray, thresholds: Thresholds) -> np.ndarray:
    """The verdicts for (N,) probabilities of fake: (N,) int, 1 fake, 0 real, -1 inconclusive.

    Args:
        fake: (N,) calibrated probability of fake.
        judged: (N,) bool, False for faces that are inconclusive whatever their probability.
        thresholds: of the detector.
    """
    answers = np.where(fake >= thresholds.fake_from, 1, np.where(fake < thresholds.real_below, 0, -1))
    return np.where(judged, answers, -1)


def figures(labels: np.ndarray, fake: np.ndarray, judged: np.ndarray, thresholds: Thresholds) -> Figures:
    """`of_answers` of probabilities and the thresholds that make verdicts of them; see `called`."""
    return of_answers(labels, fake, called(fake, judged, thresholds))


def of_answers(labels: np.ndarray, fake: np.ndarray, called: np.ndarray, spread: Spread | None = None) -> Figures:
    """Counts and rates of one group of pictures.

    Args:
        labels: (N,) int, 0 real, 1 fake.
        fake: (N,) calibrated probability of fake.
        called: (N,) int, 1 fake, 0 real, -1 neither.
        spread: what `drawn` says of these, where it is known already.

    Returns:
        real, fake: counts; each of `METRICS`; intervals: the 95 % interval of each, Wilson's of what is counted here,
        by bootstrap of the rest (of the ECE see `calibration_interval`). What the group cannot show (an AUC without
        both classes, say) is None.
    """
    real_rows, fake_rows = labels == 0, labels == 1
    counted = {
        "accuracy": (fake >= HALF) == fake_rows,
        "bpcer": called[real_rows] == 1,
        "apcer": called[fake_rows] == 0,
        "inconclusive": called < 0,
    }
    measured = {name: metric.of(labels, fake) for name, metric in METRICS.items() if name not in counted}
    shares = {name: float(rows.mean()) if len(rows) else None for name, rows in counted.items()}
    spread = drawn(labels, fake, called) if spread is None else spread
    ends: dict[str, Sequence[float] | None] = {n: wilson(int(rows.sum()), len(rows)) for n, rows in counted.items()}
    ends |= {name: interval(spread[name]) if name in spread else None for name in measured}
    if "ece" in spread:
        ends["ece"] = calibration_interval(measured["ece"] or 0, spread["ece"], fake)
    intervals = {name: list(pair) if pair else None for name, pair in ends.items()}
    return {"real": int(real_rows.sum()), "fake": int(fake_rows.sum()), **measured, **shares, "intervals": intervals}


def drawn(labels: np.ndarray, fake: np.ndarray, called: np.ndarray) -> Spread:
    """`scatter`, and what it lacks of `METRICS`, measured in one drawing after the other, which is slow."""
    found = scatter(labels, fake, called)
    for name, metric in METRICS.items():
        if name not in found and metric.of(labels, fake) is not None:
            times = (counts.astype(int) for part in drawings(labels) for counts in part)
            found[name] = np.array([metric.of(np.repeat(labels, n), np.repeat(fake, n)) for n in times], float)
    return found


def calibration_error(labels: np.ndarray, fake: np.ndarray) -> float:
    """The expected calibration error of the probability of fake, of one picture at least.

    Guo et al. 2017, "On Calibration of Modern Neural Networks", in its binary form: in each of 15 bins of equal width
    over the probability of fake, how far its mean is from the share of fakes; the mean over bins, weighed by their
    pictures. Even of perfect probabilities it is over 0, the more so the fewer the pictures.

    torchmetrics' `binary_calibration_error` is the same but at the edges of bins: it gives probabilities of exactly 1 a
    bin of their own.

    Args:
        labels: (N,) int, 0 real, 1 fake.
        fake: (N,) probability of fake.
    """
    # a bin's pictures times |mean probability - share of fakes| is the size of the sum of its gaps
    return float(np.abs(np.bincount(bins(fake), fake - labels)).sum()) / len(labels)


def equal_error_rate(labels: np.ndarray, fake: np.ndarray) -> float:
    """Where as many real faces are called fake as fake ones real, on the straight lines between points of the ROC."""
    fpr, tpr, _ = roc_curve(labels, fake, drop_intermediate=False)
    return float(crossing(fpr[None], tpr[None])[0])


METRICS = {
    "auc": Metric("ROC AUC", "AUC", roc_auc_score, share=False, more_is_better=True),
    "ap": Metric("Average precision", "", average_precision_score, share=False, more_is_better=True),
    "eer": Metric("Equal error rate", "", equal_error_rate),
    "accuracy": Metric("Accuracy at 50 %", "accuracy", more_is_better=True),
    "bpcer": Metric("BPCER, real called fake", "real called fake (BPCER)"),
    "apcer": Metric("APCER, fake called real", "fake called real (APCER)"),
    "inconclusive": Metric("Inconclusive", "inconclusive"),
    # of one class it would be the mean error, not calibration
    "ece": Metric("Calibration error (ECE)", "ECE", calibration_error, share=False),
    # Brier 1950, "Verification of Forecasts Expressed in Terms of Probability": the mean squared error
    "brier": Metric("Brier score", "Brier", partial(brier_score_loss, pos_label=1), classes=1, share=False),
}
"""What is measured of every group of pictures, and shown in tables, reports and comparisons."""


def operating_points(labels: np.ndarray, fake: np.ndarray, spread: Spread | None = None) -> list[Figures]:
    """The APCER where the threshold lets at most each of `BPCERS` of these very real faces be called fake.

    Every face counts by its probability alone. `spread` is as in `of_answers`.

    Returns:
        at: the BPCER allowed; threshold: on the probability of fake (None: nothing is called fake); bpcer: what of it
        is used; apcer; interval: of the APCER, by bootstrap, since the threshold is set on the same faces, or Wilson's
        where no drawing differs; enough: whether so many real faces could show such a BPCER:
        whether, were none of them called fake, the interval would end below it. Empty where a class is missing.
    """
    if len(set(labels.tolist())) < 2:
        return []
    spread = scatter(labels, fake, np.zeros_like(labels)) if spread is None else spread
    fpr, tpr, thresholds = roc_curve(labels, fake, drop_intermediate=False)
    reals, fakes = int((labels == 0).sum()), int((labels == 1).sum())
    points = []
    for at in BPCERS:
        i = int((fpr <= at + 1e-12).sum()) - 1
        missed = fakes - round(tpr[i] * fakes)
        points.append(
            {
                "at": at,
                "threshold": float(thresholds[i]) if np.isfinite(thresholds[i]) else None,
                "bpcer": float(fpr[i]),
                "apcer": missed / fakes,
                "interval": interval(spread[at_bpcer(at)]) or list(wilson(missed, fakes) or ()),
                "enough": (wilson(0, reals) or (0, 1))[1] <= at,
            }
        )
    return points


def classes(labels: np.ndarray, fake: np.ndarray, called: np.ndarray, spread: Spread | None = None) -> Figures:
    """What the two classes are taken for; `spread` is as in `of_answers`.

    Returns:
        real, fake: precision, recall and f1 at probability 0.5, each (value, interval) with None for what is not
        defined; matrix: scikit-learn's confusion matrix at 0.5; verdicts: of each class, how many were called what.
    """
    answers = (fake >= HALF).astype(int)
    spread = scatter(labels, fake, called) if spread is None else spread
    matrix = confusion_matrix(labels, answers, labels=[0, 1])
    measured = precision_recall_fscore_support(labels, answers, labels=[0, 1], zero_division=np.nan)
    found: Figures = {"matrix": matrix.tolist(), "verdicts": {}}
    for i, name in enumerate(("real", "fake")):
        right = int(matrix[i, i])
        f1 = spread.get(f"f1_{name}")
        ends = (
            wilson(right, int(matrix[:, i].sum())),
            wilson(right, int(matrix[i].sum())),
            None if f1 is None else interval(f1),
        )
        found[name] = {
            what: [None if np.isnan(values[i]) else float(values[i]), list(pair) if pair else None]
            for what, values, pair in zip(("precision", "recall", "f1"), measured, ends, strict=False)
        }
        counts = {word: int((called[labels == i] == code).sum()) for word, code in CODES.items()}
        found["verdicts"][name] = counts
    return found


def grouped(labels: np.ndarray, fake: np.ndarray, called: np.ndarray, names: np.ndarray) -> dict[str, Figures]:
    """`of_answers` of each group that has a name, in order of name; `names` is (N,) str."""
    return {
        name: of_answers(labels[names == name], fake[names == name], called[names == name])
        for name in sorted(set(names.tolist()) - {""})
    }


def grouped_by_size(labels: np.ndarray, fake: np.ndarray, called: np.ndarray, sides: np.ndarray) -> dict[str, Figures]:
    """`of_answers` of each of `realface.card.SIZE_GROUPS` that has pictures; (N,) sides of 0, unknown, are in none."""
    names = np.array([size_group(side) if side else "" for side in sides.tolist()], str)
    groups = grouped(labels, fake, called, names)
    return {name: groups[name] for name in SIZE_GROUPS if name in groups}


def by_source(scores: Scores, fake: np.ndarray, thresholds: Thresholds) -> dict[str, Figures]:
    """`figures` of all pictures ("all") and of each source that has a name; `fake` is (N,) probability."""
    answers = called(fake, scores.judged, thresholds)
    every = of_answers(scores.labels, fake, answers)
    return {"all": every} | grouped(scores.labels, fake, answers, scores.sources)


def by_size(scores: Scores, fake: np.ndarray, thresholds: Thresholds) -> dict[str, Figures]:
    """`figures` of each group of `realface.card.SIZE_GROUPS` that has pictures."""
    return grouped_by_size(scores.labels, fake, called(fake, scores.judged, thresholds), scores.sides)


def table(groups: dict[str, Figures], what: str = "source") -> str:
    """The figures as a Markdown table, a row a group, with the intervals of rates and of the ECE in brackets.

    Figures measured by older versions lack some of `METRICS` or the intervals, and get none.
    """
    shown = {key: m for key, m in METRICS.items() if m.column and any(key in row for row in groups.values())}
    heads = [what, "real", "fake", *(metric.column for metric in shown.values())]
    rows = []
    for name, row in groups.items():
        cells = [printable(name), str(row["real"]), str(row["fake"])]
        for key, metric in shown.items():
            ends = row.get("intervals", {}).get(key) if metric.share or key == "ece" else None
            within = f" ({metric.within(ends)})" if ends else ""
            cells.append(metric.told(row.get(key)) + within + " †" * (metric.share and bool(ends) and too_few(ends)))
        rows.append(cells)
    text = markdown(heads, rows)
    if any("†" in cell for cells in rows for cell in cells[1:]):
        text += f"\n\n† {TOO_FEW}: the interval spans over {100 * TOO_WIDE:.0f} points."
    return text


def markdown(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown, numbers from the second column on."""
    bar = r"\|"
    lines = ["|" + "".join(f" {cell.replace('|', bar)} |" if cell else " |" for cell in row) for row in (heads, *rows)]
    return "\n".join([lines[0], "|---|" + "--:|" * (len(heads) - 1), *lines[1:]])


def promises(row: Figures, policy: Policy) -> str:
    """Whether the probabilities mean what they say and the error rates are those aimed at, as lines of plain text."""
    ends = row["intervals"]["ece"]
    within = f" (interval {METRICS['ece'].within(ends)})" if ends else ""
    lines = [
        f"Expected calibration error {number(row['ece'])}{within}, Brier score {number(row['brier'])}."
        if row["ece"] is not None
        else "Calibration cannot be told from one class alone."
    ]
    for who, as_, key, most in (
        ("real", "fake", "bpcer", policy.max_bpcer),
        ("fake", "real", "apcer", policy.max_apcer),
    ):
        ends = row["intervals"][key]
        if ends is None:
            continue
        low, high = ends
        kept = "held" if high <= most else "not held" if low > most else TOO_FEW
        lines.append(
            f"{who.capitalize()} faces called {as_}: {100 * row[key]:.1f} % of {row[who]:,} (95 % interval "
            f"{METRICS[key].within(ends)} %); aimed at: at most {100 * most:.4g} %: {kept}."
        )
    return "\n".join(lines)


def report(labels: np.ndarray, fake: np.ndarray) -> str:
    """scikit-learn's classification report at probability 0.5."""
    text: str = classification_report(
        labels, fake >= HALF, labels=[0, 1], target_names=["real", "fake"], digits=4, zero_division=0
    )
    return text


def percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.1f} %"


def number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"
