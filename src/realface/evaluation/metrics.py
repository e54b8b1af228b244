"""Figures of a detector on labelled faces. Fake is the positive class.

APCER and BPCER after ISO/IEC 30107-3: the share of fake faces called real, and of real (bona fide) faces called
fake, by the thresholds in the detector's file; an inconclusive answer counts as neither. Accuracy and what is said of
the probabilities (AUC, calibration error, Brier score) count every face, also one that gets no verdict.
"""

from typing import Any

import numpy as np
from sklearn.metrics import classification_report, roc_auc_score

from ..card import SIZE_GROUPS, Policy, Thresholds, size_group
from ..rates import wilson
from .scores import Scores

BINS = 15
RESAMPLES = 1000
Figures = dict[str, Any]


def figures(labels: np.ndarray, fake: np.ndarray, judged: np.ndarray, thresholds: Thresholds) -> Figures:
    """Counts and rates of one group of pictures.

    Args:
        labels: (N,) int, 0 real, 1 fake.
        fake: (N,) calibrated probability of fake.
        judged: (N,) bool, False for faces that are inconclusive whatever their probability.
        thresholds: of the detector.

    Returns:
        real, fake: counts; accuracy: at probability 0.5; auc; bpcer; apcer; inconclusive: shares, 0 to 1; ece: see
        `calibration_error`; brier: the mean squared error of the probability (Brier 1950, "Verification of Forecasts
        Expressed in Terms of Probability"); intervals: of the shares (Wilson's) and of ece (by bootstrap), the ends
        within which 95 % lie. What the group cannot show (an AUC or a calibration without both classes, say) is None.
    """
    called_fake, called_real = judged & (fake >= thresholds.fake_from), judged & (fake < thresholds.real_below)
    real_rows, fake_rows = labels == 0, labels == 1
    both = bool(real_rows.any() and fake_rows.any())
    shares = {
        "accuracy": (fake >= 0.5) == fake_rows,
        "bpcer": called_fake[real_rows],
        "apcer": called_real[fake_rows],
        "inconclusive": ~called_fake & ~called_real,
    }
    intervals = {name: wilson(int(rows.sum()), len(rows)) for name, rows in shares.items()}
    intervals["ece"] = calibration_interval(labels, fake) if both else None
    return {
        "real": int(real_rows.sum()),
        "fake": int(fake_rows.sum()),
        "auc": float(roc_auc_score(labels, fake)) if both else None,
        **{name: _share(rows) for name, rows in shares.items()},
        "ece": calibration_error(labels, fake) if both else None,  # of one class it is the mean error, not calibration
        "brier": brier(labels, fake),
        "intervals": {name: list(ends) if ends else None for name, ends in intervals.items()},
    }


def calibration_error(labels: np.ndarray, fake: np.ndarray) -> float | None:
    """The expected calibration error of the probability of fake; None of no pictures.

    Guo et al. 2017, "On Calibration of Modern Neural Networks", in its binary form: in each of `BINS` bins of equal
    width over the probability of fake, how far its mean is from the share of fakes; the mean over bins, weighed by
    their pictures. Even of perfect probabilities it is over 0, the more so the fewer the pictures.

    Args:
        labels: (N,) int, 0 real, 1 fake.
        fake: (N,) probability of fake.
    """
    return _error(_bins(fake), fake - labels) if len(labels) else None


def calibration_interval(labels: np.ndarray, fake: np.ndarray, seed: int = 0) -> tuple[float, float] | None:
    """The 95 % interval of `calibration_error`; None of fewer than two pictures.

    Percentiles over `RESAMPLES` drawings with replacement (Efron 1979, "Bootstrap Methods: Another Look at the
    Jackknife"). It shares the error's lean upwards, so it never flatters.
    """
    if len(labels) < 2:
        return None
    rng = np.random.default_rng(seed)
    bins, gaps = _bins(fake), fake - labels
    drawn = (rng.integers(0, len(labels), len(labels)) for _ in range(RESAMPLES))
    low, high = np.quantile([_error(bins[rows], gaps[rows]) for rows in drawn], (0.025, 0.975))
    return float(low), float(high)


def brier(labels: np.ndarray, fake: np.ndarray) -> float | None:
    """The Brier score of (N,) probabilities of fake; None of no pictures."""
    return float(np.square(fake - labels).mean()) if len(labels) else None


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


def table(groups: dict[str, Figures], what: str = "source") -> str:
    """The figures as a Markdown table, a row a group, with 95 % intervals of the two error rates in brackets.

    Figures measured by older versions have neither calibration nor intervals, and get no columns for them.
    """
    heads = [what, "real", "fake", "AUC", "accuracy", "real called fake (BPCER)", "fake called real (APCER)"]
    heads += ["inconclusive"]
    calibrated = any("ece" in row for row in groups.values())
    heads += ["ECE", "Brier"] if calibrated else []
    lines = [f"| {' | '.join(heads)} |", "|---|" + "--:|" * (len(heads) - 1)]
    for name, row in groups.items():
        cells = [name, str(row["real"]), str(row["fake"]), _number(row["auc"]), _percent(row["accuracy"])]
        for key in ("bpcer", "apcer"):
            ends = row.get("intervals", {}).get(key)
            cells.append(_percent(row[key]) + (f" ({100 * ends[0]:.1f} to {100 * ends[1]:.1f})" if ends else ""))
        cells.append(_percent(row["inconclusive"]))
        cells += [_number(row.get(key)) for key in ("ece", "brier")] if calibrated else []
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def promises(row: Figures, policy: Policy) -> str:
    """Whether the probabilities mean what they say and the error rates are those aimed at, as lines of plain text."""
    ends = row["intervals"]["ece"]
    within = f" (95 % interval {_number(ends[0])} to {_number(ends[1])})" if ends else ""
    lines = [
        f"Expected calibration error {_number(row['ece'])}{within}, Brier score {_number(row['brier'])}."
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
        kept = "held" if high <= most else "not held" if low > most else "too few samples to say"
        lines.append(
            f"{who.capitalize()} faces called {as_}: {100 * row[key]:.1f} % of {row[who]:,} (95 % interval "
            f"{100 * low:.1f} to {100 * high:.1f} %); aimed at: at most {100 * most:.4g} %: {kept}."
        )
    return "\n".join(lines)


def report(labels: np.ndarray, fake: np.ndarray) -> str:
    """scikit-learn's classification report at probability 0.5."""
    text: str = classification_report(
        labels, fake >= 0.5, labels=[0, 1], target_names=["real", "fake"], digits=4, zero_division=0
    )
    return text


def _share(rows: np.ndarray) -> float | None:
    return float(rows.mean()) if len(rows) else None


def _bins(fake: np.ndarray) -> np.ndarray:
    return np.asarray(np.minimum((fake * BINS).astype(int), BINS - 1))


def _error(bins: np.ndarray, gaps: np.ndarray) -> float:
    # a bin's pictures times |mean probability - share of fakes| is the size of the sum of its gaps
    return float(np.abs(np.bincount(bins, gaps)).sum()) / len(gaps)


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{share:.1%}"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"
