"""Calibration error, Brier score and intervals against direct computation, and what is told of them."""

import math

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy.special import expit
from torch import from_numpy
from torchmetrics.functional.classification import binary_calibration_error

from realface.card import Policy, Thresholds
from realface.evaluation.bootstrap import drawings
from realface.evaluation.metrics import calibration_error, figures, promises, table
from realface.rates import wilson

THRESHOLDS = Thresholds(0.2, 0.8)


def by_hand(labels: list[int], fake: list[float]) -> float:
    """The calibration error bin by bin, as Guo et al. write it."""
    total = 0.0
    for m in range(15):
        inside = [i for i, f in enumerate(fake) if m / 15 <= f < (m + 1) / 15 or (m == 14 and f == 1)]
        if inside:
            confidence = sum(fake[i] for i in inside) / len(inside)
            accuracy = sum(labels[i] for i in inside) / len(inside)
            total += len(inside) / len(fake) * abs(confidence - accuracy)
    return total


def measured(labels: list[int], fake: list[float]) -> dict:
    return figures(np.array(labels), np.array(fake), np.full(len(labels), True), THRESHOLDS)


ROWS = st.lists(st.tuples(st.integers(0, 1), st.sampled_from([k / 64 for k in range(65)])), min_size=1, max_size=60)


@settings(max_examples=100, deadline=None, derandomize=True, database=None)
@given(ROWS)
@example([(1, 0.75)])
@example([(0, 0.25), (0, 1.0)])
@example([(0, 0.5), (1, 0.5), (0, 0.5)])
def test_error_and_brier_score_of_any_rows(rows: list[tuple[int, float]]) -> None:
    labels, fake = [label for label, _ in rows], [probability for _, probability in rows]
    assert calibration_error(np.array(labels), np.array(fake)) == pytest.approx(by_hand(labels, fake), abs=1e-9)
    got = measured(labels, fake)
    assert got["ece"] == (pytest.approx(by_hand(labels, fake), abs=1e-9) if len(set(labels)) == 2 else None)
    assert got["brier"] == pytest.approx(sum((f - label) ** 2 for label, f in rows) / len(rows), abs=1e-9)


def test_the_error_is_that_of_torchmetrics_but_at_the_edges_of_bins(rng: np.random.Generator) -> None:
    labels, fake = rng.integers(0, 2, 500), rng.beta(0.3, 0.3, 500)
    fake = fake[fake < 1]

    def theirs(labels: np.ndarray, fake: np.ndarray) -> float:
        return float(binary_calibration_error(from_numpy(fake), from_numpy(labels), n_bins=15, norm="l1"))

    labels = labels[: len(fake)]
    assert calibration_error(labels, fake) == pytest.approx(theirs(labels, fake), abs=1e-9)
    edge = np.array([1, 0]), np.array([0.95, 1.0])
    assert calibration_error(*edge) == pytest.approx(abs(1.95 / 2 - 1 / 2), abs=1e-9)
    assert theirs(*edge) == pytest.approx((0.05 + 1) / 2, abs=1e-9)


def test_what_is_calibrated_and_what_is_not() -> None:
    labels = np.array([0] * 70 + [1] * 30)
    assert calibration_error(labels, np.full(100, 0.3)) == pytest.approx(0)  # constant, but right in the mean
    assert calibration_error(labels, np.full(100, 0.9)) == pytest.approx(0.6)
    assert calibration_error(labels, labels.astype(float)) == 0
    assert calibration_error(labels, 1.0 - labels) == 1
    assert measured(labels.tolist(), [0.3] * 100)["brier"] == pytest.approx(0.21)


def test_the_interval_is_that_of_the_drawings_mirrored() -> None:
    rng = np.random.default_rng(3)
    fake = rng.uniform(0, 1, 300)
    labels = (rng.uniform(0, 1, 300) < fake**2).astype(int)  # far from calibrated
    got = measured(labels.tolist(), fake.tolist())
    low, high = got["intervals"]["ece"]
    drawn = np.concatenate(list(drawings(labels)))
    errors = []
    for counts in drawn.astype(int):
        rows = np.repeat(np.arange(300), counts)
        errors.append(by_hand(labels[rows].tolist(), fake[rows].tolist()))
    assert (low, high) == pytest.approx(tuple(2 * got["ece"] - np.quantile(errors, [0.975, 0.025])))
    assert low < by_hand(labels.tolist(), fake.tolist()) < high
    few = measured(labels[:30].tolist(), fake[:30].tolist())["intervals"]["ece"]
    assert few[1] - few[0] > high - low


def test_the_interval_holds_the_error_that_there_is() -> None:
    """Of 300 perfect probabilities the error is some 0.04 by chance; of those that are too sure it is 0.048, and more
    by chance. Quantiles of the drawings would hold 0 never, and 0.048 one time in twenty."""
    for sureness, true in ((1, 0), (1.5, 0.0479)):
        held = 0
        for seed in range(40):
            rng = np.random.default_rng(seed)
            logits = rng.normal(0, 3, 300)
            labels = (rng.random(300) < expit(logits)).astype(int)
            low, high = measured(labels.tolist(), expit(sureness * logits).tolist())["intervals"]["ece"]
            held += low <= true <= high
        assert held >= 32


def test_one_sample_and_none() -> None:
    assert calibration_error(np.array([1]), np.array([0.75])) == 0.25
    got = measured([1], [0.75])
    assert (got["ece"], got["brier"], got["auc"]) == (None, 0.0625, None)
    assert got["intervals"]["bpcer"] is None
    assert got["intervals"]["apcer"] == pytest.approx([0, 0.7934507])
    empty = measured([], [])
    assert {key: value for key, value in empty.items() if value} == {"intervals": dict.fromkeys(empty["intervals"])}


def test_one_class_shows_no_calibration() -> None:
    got = measured([0, 0, 0], [0.1, 0.2, 0.9])
    assert (got["ece"], got["intervals"]["ece"]) == (None, None)
    assert got["brier"] == pytest.approx((0.01 + 0.04 + 0.81) / 3)


def test_constant_scores() -> None:
    got = measured([0, 1, 0, 1], [0.5] * 4)
    assert (got["auc"], got["ece"], got["brier"], got["inconclusive"]) == (0.5, 0, 0.25, 1)
    assert (got["ap"], got["eer"]) == (0.5, 0.5)
    assert got["intervals"]["ece"] is None  # no drawing differs, which is no sign of certainty


@settings(max_examples=200, deadline=None, derandomize=True, database=None)
@given(st.integers(1, 5000), st.floats(0, 1))
def test_wilson_holds_the_shares_that_the_test_would_not_reject(total: int, part: float) -> None:
    count = round(total * part)
    low, high = wilson(count, total) or (-1, -1)
    assert 0 <= low <= count / total <= high <= 1
    for end in {low, high} - {0.0, 1.0}:  # Wilson's definition: the ends lie 1.96 of their own deviations away
        assert abs(count / total - end) == pytest.approx(1.959964 * math.sqrt(end * (1 - end) / total), rel=1e-6)


@pytest.mark.parametrize(
    ("count", "total", "ends"),
    [(81, 263, (0.2553, 0.3662)), (15, 148, (0.0624, 0.1605)), (0, 20, (0, 0.1611)), (1, 29, (0.0061, 0.1718))],
)
def test_wilson_as_published(count: int, total: int, ends: tuple[float, float]) -> None:
    """Newcombe 1998, "Two-Sided Confidence Intervals for the Single Proportion", table I, method 3."""
    assert wilson(count, total) == pytest.approx(ends, abs=5e-5)
    low, high = wilson(total - count, total) or (0, 0)
    assert (1 - high, 1 - low) == pytest.approx(ends, abs=5e-5)


def test_wilson_of_nothing() -> None:
    assert wilson(0, 0) is None


def test_every_share_has_its_interval() -> None:
    got = measured([0] * 10 + [1] * 5, [0.1] * 9 + [0.9] + [0.1] * 2 + [0.7] + [0.9] * 2)
    assert got["intervals"]["bpcer"] == pytest.approx(wilson(1, 10))
    assert got["intervals"]["apcer"] == pytest.approx(wilson(2, 5))
    assert got["intervals"]["inconclusive"] == pytest.approx(wilson(1, 15))
    assert got["intervals"]["accuracy"] == pytest.approx(wilson(12, 15))


def test_figures_of_older_files_still_make_a_table() -> None:
    old = {"real": 2, "fake": 0, "auc": None, "accuracy": 1.0, "bpcer": 0.0, "apcer": None, "inconclusive": 0.5}
    assert table({"old": old}).splitlines()[-1] == "| old | 2 | 0 | - | 100.0 % | 0.0 % | - | 50.0 % |"
    both = table({"old": old, "new": measured([0, 1], [0.1, 0.9])}).splitlines()
    assert len({line.count("|") for line in both[:4]}) == 1
    assert "| 50.0 % | - | - |" in both[2]
    assert "| 0.0 % (0.0 to 79.3) † |" in both[3]


@pytest.mark.parametrize(
    ("wrong", "total", "told"),
    [
        (0, 1000, "0.0 % of 1,000 (95 % interval 0.0 to 0.4 %); aimed at: at most 1 %: held."),
        (0, 100, "0.0 % of 100 (95 % interval 0.0 to 3.7 %); aimed at: at most 1 %: too few samples to say."),
        (5, 100, "5.0 % of 100 (95 % interval 2.2 to 11.2 %); aimed at: at most 1 %: not held."),
    ],
)
def test_the_policy_is_held_or_not_or_nobody_knows(wrong: int, total: int, told: str) -> None:
    got = measured([0] * total + [1], [0.1] * (total - wrong) + [0.9] * wrong + [0.9])
    lines = promises(got, Policy(0.01, 0.05)).splitlines()
    assert lines[0].startswith("Expected calibration error 0.1")
    assert lines[1] == f"Real faces called fake: {told}"
    assert lines[2].startswith(
        "Fake faces called real: 0.0 % of 1 (95 % interval 0.0 to 79.3 %); aimed at: at most 5 %"
    )


def test_a_class_that_is_missing_is_not_told_of() -> None:
    lines = promises(measured([1, 1], [0.9, 0.1]), Policy()).splitlines()
    assert lines[0] == "Calibration cannot be told from one class alone."
    assert [line.split(":")[0] for line in lines[1:]] == ["Fake faces called real"]
