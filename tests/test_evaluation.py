"""Figures against direct counts."""

import json
from pathlib import Path

import numpy as np
import pytest
from conftest import encoded, grey, in_turns
from PIL import Image

from realface import Detector
from realface.card import SIZE_GROUPS, Thresholds
from realface.data import read_data
from realface.degrade import random_history
from realface.errors import DataError
from realface.evaluation.evaluate import evaluate
from realface.evaluation.metrics import by_size, by_source, figures, report, table
from realface.evaluation.scores import Scores, score

LABELS = np.array([0, 0, 0, 0, 1, 1, 1, 1])
FAKE = np.array([0.1, 0.3, 0.6, 0.9, 0.1, 0.6, 0.7, 0.95])
ALL = np.full(8, True)
SIDES = np.array([64, 127, 128, 255, 256, 511, 512, 4000])
SCORES = Scores(LABELS, FAKE, np.array(["a", "b"] * 4), SIDES, ALL, np.full(8, np.nan))


def test_figures_by_hand() -> None:
    got = figures(LABELS, FAKE, ALL, Thresholds(0.2, 0.8))
    assert got["real"] == got["fake"] == 4
    assert got["accuracy"] == 5 / 8
    assert got["bpcer"] == 1 / 4
    assert got["apcer"] == 1 / 4
    assert got["inconclusive"] == 4 / 8
    pairs = [(f > r) + 0.5 * (f == r) for f in FAKE[4:] for r in FAKE[:4]]
    assert got["auc"] == pytest.approx(np.mean(pairs))


def test_what_one_class_cannot_show_is_none() -> None:
    got = figures(LABELS[:4], FAKE[:4], ALL[:4], Thresholds(0.2, 0.8))
    assert (got["auc"], got["apcer"], got["bpcer"], got["accuracy"]) == (None, None, 0.25, 0.5)
    assert "| - |" in table({"only real": got})


def test_sources_add_up() -> None:
    got = by_source(SCORES, FAKE, Thresholds(0.2, 0.8))
    assert list(got) == ["all", "a", "b"]
    assert got["a"]["real"] + got["b"]["real"] == got["all"]["real"]
    assert [line.split()[1] for line in table(got).splitlines()[2:5]] == ["all", "a", "b"]


def test_faces_that_cannot_be_judged_are_inconclusive_whatever_their_probability() -> None:
    got = figures(LABELS, FAKE, FAKE < 0.9, Thresholds(0.2, 0.8))
    assert (got["bpcer"], got["apcer"], got["inconclusive"]) == (0, 1 / 4, 6 / 8)
    assert got["accuracy"] == 5 / 8


def test_faces_are_grouped_by_their_native_size() -> None:
    got = by_size(SCORES, FAKE, Thresholds(0.2, 0.8))
    assert {name: row["real"] + row["fake"] for name, row in got.items()} == dict.fromkeys(SIZE_GROUPS, 2)


def test_the_report_names_both_classes() -> None:
    text = report(LABELS, FAKE)
    assert "real" in text
    assert "fake" in text
    assert "0.6250" in text


def test_evaluating_a_folder(tmp_path: Path, detector: Detector) -> None:
    for label, level in {"real": 0, "fake": 255}.items():
        for i in range(3):
            path = tmp_path / "test" / label / f"{i}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(encoded(grey(level)))
    (tmp_path / "test" / "fake" / "broken.png").write_bytes(b"nothing")
    result = evaluate([detector], tmp_path, "test").result
    got = result["detectors"][0]
    assert got["figures"]["all"]["accuracy"] == 1
    assert got["unreadable"] == [str(tmp_path / "test" / "fake" / "broken.png")]
    assert got["unanswered"] == {"real": [0, 3], "fake": [1, 4]}
    assert got["seconds"]["pictures"] == 6
    assert got["seconds"]["p50"] <= got["seconds"]["p95"]
    assert json.loads(json.dumps(result)) == result
    assert "grid" not in got
    with pytest.raises(DataError, match="no pictures in the valid split"):
        evaluate([detector], tmp_path, "valid")
    with pytest.raises(DataError, match="no source 'lfw' in the test split; there are: none that has a name"):
        evaluate([detector], tmp_path, "test", ["lfw"])


def test_random_histories_are_the_same_every_time(tmp_path: Path, detector: Detector, rng: np.random.Generator) -> None:
    in_turns(tmp_path / "test", (Image.fromarray(rng.integers(0, 256, (80, 70, 3), dtype=np.uint8)) for _ in range(4)))
    samples = read_data(tmp_path)
    first, second = (score(detector, samples, "x", change=random_history, seed=5).logits for _ in range(2))
    assert (first == second).all()
    assert not np.allclose(first, score(detector, samples, "x", change=random_history, seed=6).logits)
    assert not np.allclose(first, score(detector, samples, "x").logits)


def test_nothing_readable_is_an_error(tmp_path: Path, detector: Detector) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "a.jpg").write_bytes(b"")
    with pytest.raises(DataError, match="none of the pictures"):
        score(detector, read_data(tmp_path), "x")
