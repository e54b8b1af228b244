"""How far figures would scatter had other pictures been drawn: 1,000 drawings with replacement, all at once.

Efron 1979, "Bootstrap Methods: Another Look at the Jackknife". Real and fake are drawn each on their own, so that no
drawing lacks a class. Two detectors on the same pictures get the same drawings: their differences are paired.
"""

from collections.abc import Iterator

import numpy as np

RESAMPLES = 1000
BINS = 15
HALF = 0.5
BPCERS = (0.1, 0.05, 0.01, 0.005, 0.001)  # at which the APCER is told
_CELLS = 1_000_000  # drawings times pictures that are in memory at a time


def drawings(labels: np.ndarray) -> Iterator[np.ndarray]:
    """How often each of (N,) pictures is in each drawing: parts of (`RESAMPLES`, N) float, a few rows at a time."""
    rng = np.random.default_rng(0)
    classes = [rows for rows in (np.flatnonzero(labels == 0), np.flatnonzero(labels == 1)) if len(rows)]
    for count in _at_a_time(len(labels)):
        weights = np.zeros((count, len(labels)))
        for rows in classes:
            k = len(rows)
            drawn = rng.integers(0, k, (count, k)) + k * np.arange(count)[:, None]
            weights[:, rows] = np.bincount(drawn.ravel(), minlength=count * k).reshape(count, k)
        yield weights


def scatter(labels: np.ndarray, fake: np.ndarray, called: np.ndarray) -> dict[str, np.ndarray]:
    """Every figure in every drawing: name to (`RESAMPLES`,) float; empty of no pictures.

    Args:
        labels: (N,) int, 0 real, 1 fake.
        fake: (N,) probability of fake.
        called: (N,) int, 1 fake, 0 real, -1 neither.
    """
    if not len(labels):
        return {}
    parts = [weighted(labels, fake, called, weights) for weights in drawings(labels)]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def weighted(labels: np.ndarray, fake: np.ndarray, called: np.ndarray, weights: np.ndarray) -> dict[str, np.ndarray]:
    """The figures with pictures counted (R, N) times: name to (R,); without those that need a class that is missing."""
    is_fake, says_fake, total = labels == 1, fake >= HALF, weights.sum(1)
    gaps = np.zeros((len(labels), BINS))
    gaps[np.arange(len(labels)), bins(fake)] = fake - labels
    found = {
        "accuracy": weights @ (is_fake == says_fake) / total,
        "inconclusive": weights @ (called < 0) / total,
        "brier": weights @ np.square(fake - labels) / total,
    }
    real_sum, fake_sum = weights @ ~is_fake, weights @ is_fake
    if (real_sum > 0).all():
        found["bpcer"] = weights @ (~is_fake & (called == 1)) / real_sum
    if (fake_sum > 0).all():
        found["apcer"] = weights @ (is_fake & (called == 0)) / fake_sum
    if "bpcer" in found and "apcer" in found:
        wrong = weights @ (is_fake != says_fake)
        for name, rows in {"f1_real": ~is_fake & ~says_fake, "f1_fake": is_fake & says_fake}.items():
            right = weights @ rows
            found[name] = 2 * right / np.maximum(2 * right + wrong, 1e-300)
        found["ece"] = np.abs(weights @ gaps).sum(1) / total
        found |= _ranking(is_fake, fake, weights)
    return found


def bins(fake: np.ndarray) -> np.ndarray:
    """Which of `BINS` bins of equal width each of (N,) probabilities falls into; 1 into the last."""
    return np.asarray(np.minimum((fake * BINS).astype(int), BINS - 1))


def crossing(fpr: np.ndarray, tpr: np.ndarray) -> np.ndarray:
    """The equal error rate of (R, T) ROC curves: where both errors are equal on the lines between points."""
    over = fpr + tpr - 1  # rises from -1 to 1
    right = (over >= 0).argmax(1)
    rows, left = np.arange(len(over)), right - 1
    part = -over[rows, left] / (over[rows, right] - over[rows, left])
    return np.asarray(fpr[rows, left] + part * (fpr[rows, right] - fpr[rows, left]))


def interval(values: np.ndarray) -> list[float] | None:
    """The ends within which 95 % of (R,) values lie; None where all are alike, which is no sign of certainty."""
    low, high = np.quantile(values, (0.025, 0.975)).tolist()
    return [low, high] if np.ptp(values) > 1e-12 else None


def calibration_interval(error: float, drawn: np.ndarray, fake: np.ndarray) -> list[float] | None:
    """An interval of an expected calibration error that holds the true one some 90 times in 100; None as in `interval`.

    Few pictures make the error larger than it is, and those of a drawing, of which some are the same, once more: what a
    drawing adds is taken off on both sides of the error (the basic bootstrap, Davison and Hinkley 1997, "Bootstrap
    Methods and their Application"). The interval begins at 0 where perfect probabilities would show such an error in
    more than one of twenty draws of labels (after Broecker and Smith 2007, "Increasing the Reliability of Reliability
    Diagrams").

    Args:
        error: of the pictures.
        drawn: (`RESAMPLES`,) of the drawings.
        fake: (N,) probability of fake.
    """
    ends = interval(drawn)
    if ends is None:
        return None
    inside = np.eye(BINS)[bins(fake)]
    rng, size = np.random.default_rng(0), len(fake)
    perfect = [np.abs((fake - (rng.random((n, size)) < fake)) @ inside).sum(1) / size for n in _at_a_time(size)]
    likely = error <= np.quantile(np.concatenate(perfect), 0.95)
    return [0.0 if likely else max(0.0, 2 * error - ends[1]), min(1.0, max(error, 2 * error - ends[0]))]


def at_bpcer(at: float) -> str:
    """What the APCER at a BPCER is called."""
    return f"apcer_at_{at:g}"


def _at_a_time(pictures: int) -> Iterator[int]:
    """`RESAMPLES` in parts, of no more drawings than are to be in memory."""
    step = max(1, _CELLS // max(1, pictures))
    yield from (min(step, RESAMPLES - start) for start in range(0, RESAMPLES, step))


def _ranking(is_fake: np.ndarray, fake: np.ndarray, weights: np.ndarray) -> dict[str, np.ndarray]:
    order = np.argsort(-fake, kind="stable")
    ends = np.flatnonzero(np.append(np.diff(fake[order]) != 0, True))  # equal scores are one step
    ordered = weights[:, order]
    true = np.cumsum(ordered * is_fake[order], 1)[:, ends]
    false = np.cumsum(ordered * ~is_fake[order], 1)[:, ends]
    precision = true / np.maximum(true + false, 1e-300)
    tpr, fpr = (np.pad(part / part[:, -1:], ((0, 0), (1, 0))) for part in (true, false))
    rows = np.arange(len(tpr))
    return {at_bpcer(at): 1 - tpr[rows, (fpr <= at + 1e-12).sum(1) - 1] for at in BPCERS} | {
        "auc": (np.diff(fpr, axis=1) * (tpr[:, 1:] + tpr[:, :-1]) / 2).sum(1),
        "ap": (np.diff(tpr, axis=1) * precision).sum(1),
        "eer": crossing(fpr, tpr),
    }
