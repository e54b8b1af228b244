"""Figures against scikit-learn and direct counts, also where inputs are degenerate."""

import re

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy.optimize import brentq
from scipy.stats import norm
from sklearn import metrics as sk

from realface.evaluation import metrics
from realface.evaluation.bootstrap import drawings, scatter, weighted
from realface.rates import wilson

ROWS = st.lists(
    st.tuples(st.integers(0, 1), st.one_of(st.floats(0, 1), st.sampled_from([0.0, 0.25, 0.5, 1.0])), st.integers(0, 3)),
    min_size=1,
    max_size=40,
)
quick = settings(max_examples=60, deadline=None, derandomize=True, database=None)


def arrays(rows: list[tuple[int, float, int]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    labels, fake, counts = zip(*rows, strict=True)
    return np.array(labels), np.array(fake), np.array(counts, float)


def crossing_by_search(labels: np.ndarray, fake: np.ndarray, counts: np.ndarray) -> float:
    """Where the lines between the points of the ROC curve have both errors equal, looked for with a root finder."""
    fpr, tpr, _ = sk.roc_curve(labels, fake, sample_weight=counts, drop_intermediate=False)
    steps = np.arange(len(fpr))
    return float(np.interp(brentq(lambda t: np.interp(t, steps, fpr + tpr - 1), 0, steps[-1], xtol=1e-14), steps, fpr))


def by_others(labels: np.ndarray, fake: np.ndarray, counts: np.ndarray) -> dict[str, float | None]:
    """The figures by scikit-learn or by direct computation, None where a class is missing."""
    told = {
        "accuracy": sk.accuracy_score(labels, fake >= 0.5, sample_weight=counts),
        "brier": np.average((labels - fake) ** 2, weights=counts),
    }
    if len(set(labels.tolist())) < 2:
        return told | dict.fromkeys(("auc", "ap", "eer"))
    return told | {
        "auc": sk.roc_auc_score(labels, fake, sample_weight=counts),
        "ap": sk.average_precision_score(labels, fake, sample_weight=counts),
        "eer": crossing_by_search(labels, fake, counts),
    }


@quick
@given(ROWS)
@example([(1, 0.7, 0)])
@example([(0, 0.7, 0), (0, 0.2, 1), (0, 0.2, 1)])
@example([(0, 0.5, 0), (1, 0.5, 1), (0, 0.5, 2)])
@example([(0, 0.3, 0), (1, 0.3, 1), (0, 0.9, 2), (1, 0.9, 0), (1, 1.0, 0)])
def test_figures_are_those_of_scikit_learn(rows: list[tuple[int, float, int]]) -> None:
    """Those reported and those drawn for intervals; also of one picture, of one class, of constant scores, of ties."""
    labels, fake, counts = arrays(rows)
    called = np.where(fake > 0.7, 1, -1)
    reported = metrics.of_answers(labels, fake, called)
    once = by_others(labels, fake, np.ones(len(rows)))
    assert {name: reported[name] for name in once} == pytest.approx(once, abs=1e-9)
    weights = np.stack([np.ones(len(rows)), counts + 1])
    found = weighted(labels, fake, called, weights)
    for i, of in enumerate(weights):
        wanted = by_others(labels, fake, of)
        got = {name: found[name][i] if name in found else None for name in wanted}
        assert got == pytest.approx(wanted, abs=1e-9)
        for name, label in (("f1_real", 0), ("f1_fake", 1)) if "f1_real" in found else ():
            f1 = sk.f1_score(labels, fake >= 0.5, pos_label=label, sample_weight=of, zero_division=0)
            assert found[name][i] == pytest.approx(f1, abs=1e-9)
    assert (once["auc"] is None) == ("f1_real" not in found) == ("ece" not in found) == (reported["ece"] is None)
    if "ece" in found:
        assert reported["ece"] == pytest.approx(found["ece"][0], abs=1e-9)
        assert metrics.operating_points(labels, fake)[2]["apcer"] == pytest.approx(found["apcer_at_0.01"][0], abs=1e-9)


@quick
@given(ROWS)
def test_operating_points_by_counting(rows: list[tuple[int, float, int]]) -> None:
    labels, fake, _ = arrays(rows)
    points = metrics.operating_points(labels, fake)
    if len(set(labels.tolist())) < 2:
        assert points == []
        return
    real, fakes = fake[labels == 0], fake[labels == 1]
    for point in points:
        allowed = [t for t in [*fake, np.inf] if (real >= t).mean() <= point["at"]]
        assert point["apcer"] == pytest.approx(min((fakes < t).mean() for t in allowed), abs=1e-9)
        at = np.inf if point["threshold"] is None else point["threshold"]
        assert (fakes < at).mean() == pytest.approx(point["apcer"], abs=1e-9)
        assert (real >= at).mean() == pytest.approx(point["bpcer"], abs=1e-9)
        assert point["bpcer"] <= point["at"]
        assert point["interval"][0] <= point["apcer"] <= point["interval"][1]
        assert not point["enough"]  # of at most 40 faces


@pytest.mark.parametrize(("reals", "at", "enough"), [(380, 0.01, False), (381, 0.01, True), (3837, 0.001, False)])
def test_so_many_real_faces_are_needed_to_speak_of_a_bpcer(reals: int, at: float, enough: bool) -> None:
    labels = np.array([0] * reals + [1])
    points = {p["at"]: p for p in metrics.operating_points(labels, labels.astype(float))}
    assert points[at]["enough"] == enough
    assert ((wilson(0, reals) or (0, 1))[1] <= at) == enough


def test_the_interval_of_an_apcer_knows_that_the_threshold_is_set_on_the_same_faces() -> None:
    """It holds the true value, 0.25, nearly as often as it says; Wilson's does so half of the time."""
    held = 0
    for seed in range(40):
        labels = np.repeat([0, 1], 300)
        fake = norm.cdf(np.random.default_rng(seed).normal(3 * labels - 1.5, 1))
        low, high = metrics.operating_points(labels, fake)[2]["interval"]
        held += low <= norm.cdf(norm.ppf(0.99) - 3) <= high
    assert held >= 32


def test_the_figures_of_known_scores() -> None:
    labels, fake = np.array([0, 0, 0, 0, 1, 1, 1, 1]), np.array([0.1, 0.2, 0.3, 0.8, 0.25, 0.7, 0.8, 0.9])
    got = metrics.of_answers(labels, fake, np.where(fake > 0.75, 1, np.where(fake < 0.25, 0, -1)))
    assert (got["eer"], got["auc"], got["bpcer"], got["apcer"]) == (0.25, 12.5 / 16, 0.25, 0)
    assert got["inconclusive"] == 3 / 8
    of = metrics.classes(labels, fake, np.where(fake > 0.75, 1, np.where(fake < 0.25, 0, -1)))
    assert of["matrix"] == [[3, 1], [1, 3]]
    assert of["verdicts"] == {
        "real": {"real": 2, "inconclusive": 1, "fake": 1},
        "fake": {"real": 0, "inconclusive": 2, "fake": 2},
    }
    assert of["fake"]["precision"] == [0.75, list(wilson(3, 4) or ())]
    assert of["real"]["recall"][0] == of["real"]["f1"][0] == 0.75
    low, high = of["real"]["f1"][1]
    assert low < 0.75 < high


@pytest.mark.parametrize(
    ("labels", "fake"),
    [([], []), ([1], [0.7]), ([0], [0.7]), ([1, 1], [0.2, 0.9]), ([0, 1], [0.5, 0.5]), ([0, 1], [0.0, 1.0])],
)
def test_degenerate_groups_have_figures_or_none(labels: list[int], fake: list[float]) -> None:
    rows = np.array(labels, int), np.array(fake, float), np.full(len(labels), -1)
    got = metrics.of_answers(*rows)
    both = set(labels) == {0, 1}
    for key in ("auc", "ap", "eer", "ece"):
        assert (got[key] is None) == (not both)
    assert (got["brier"] is None) == (not labels)
    assert not labels or np.sum(metrics.classes(*rows)["matrix"]) == len(labels)
    for ends in got["intervals"].values():
        assert ends is None or 0 <= ends[0] <= ends[1] <= 1
    if labels == [1]:
        assert metrics.too_few(got["intervals"]["apcer"])


def test_a_drawing_has_as_many_of_each_class_as_there_are() -> None:
    labels = np.array([0, 1, 1, 0, 1])
    drawn = np.concatenate(list(drawings(labels)))
    assert drawn.shape == (1000, 5)
    assert (drawn[:, labels == 1].sum(1) == 3).all()
    assert (drawn[:, labels == 0].sum(1) == 2).all()
    assert np.array_equal(drawn, np.concatenate(list(drawings(labels))))
    assert drawn.mean(0) == pytest.approx([1] * 5, abs=0.15)


def test_the_interval_of_an_auc_is_as_wide_as_theory_says(rng: np.random.Generator) -> None:
    """Hanley and McNeil 1982, "The Meaning and Use of the Area under a Receiver Operating Characteristic Curve"."""
    labels = np.repeat([0, 1], 200)
    fake = 1 / (1 + np.exp(-rng.normal(labels * 1.5, 1)))
    got = metrics.of_answers(labels, fake, np.full(400, -1))
    auc, (low, high) = got["auc"], got["intervals"]["auc"]
    q1, q2 = auc / (2 - auc), 2 * auc**2 / (1 + auc)
    error = np.sqrt((auc * (1 - auc) + 199 * (q1 - auc**2) + 199 * (q2 - auc**2)) / 200**2)
    assert high - low == pytest.approx(2 * 1.96 * error, rel=0.15)
    assert scatter(labels, fake, np.full(400, -1))["auc"].std() == pytest.approx(error, rel=0.15)


@pytest.mark.parametrize("name", ["a\x1b[2Jb", "a\nb", "a|b"])
def test_a_name_drives_neither_the_terminal_nor_the_table(name: str) -> None:
    row: dict[str, object] = dict.fromkeys(("auc", "accuracy", "bpcer", "apcer", "inconclusive"))
    told = metrics.table({name: row | {"real": 0, "fake": 0}})
    assert all(line.isprintable() for line in told.split("\n"))
    head, rule, cells = (re.findall(r"(?<!\\)\|", line) for line in told.split("\n"))
    assert len(head) == len(rule) == len(cells)


def test_a_rate_of_few_pictures_is_marked() -> None:
    labels = np.repeat([0, 1], [400, 4])
    told = metrics.table({"all": metrics.of_answers(labels, labels * 0.9, labels)}).splitlines()
    cells = dict(zip(told[0].split(" | "), told[2].split(" | "), strict=True))
    assert cells["accuracy"] == "100.0 % (99.1 to 100.0)"
    assert cells["real called fake (BPCER)"] == "0.0 % (0.0 to 1.0)"
    assert cells["fake called real (APCER)"] == f"0.0 % (0.0 to {100 - 100 * (wilson(4, 4) or (0, 0))[0]:.1f}) †"
    assert cells["inconclusive"] == "0.0 % (0.0 to 0.9)"
    assert told[3:] == ["", "† too few samples to say: the interval spans over 20 points."]
    reals = metrics.of_answers(labels[:400], np.linspace(0, 0.4, 400), labels[:400])
    assert "†" not in metrics.table({"all": reals})
