"""The ways of scripts/faster.py do what their rows say."""

import json
import logging
import os
import sys
from pathlib import Path

import faster
import numpy as np
import pytest
from skimage import data

from realface import Detector, bundled, finder
from realface.data import Sample

FAST = bundled()["fast"]


def test_the_network_takes_another_size() -> None:
    detector = Detector(faster.at_size(FAST.read_bytes(), 192), threads=1)
    assert detector.card.preprocessing.size == 192
    assert detector.logits([data.astronaut()[:224, 100:324]]).shape == (1,)


def test_a_smaller_search_finds_the_face_of_a_small_picture() -> None:
    picture = data.astronaut()[:256, 90:346]
    (usual,), (small,) = finder.find(picture), faster.search_small(picture)
    assert np.abs(usual.landmarks - small.landmarks).max() < 10
    assert abs(usual.size - small.size) < 10


def test_comparison_counts_other_verdicts() -> None:
    detector = Detector.load("fast", threads=1)
    today, way = [(-3.0, "real"), (3.0, "fake")], [(-3.0, "real"), (-4.0, "inconclusive")]
    row = faster.compared(today, way, [0, 1], detector)
    assert row == {"pictures": 2, "auc": 0.0, "accuracy": 0.5, "changed": 1}


def test_one_in_two_is_of_each_class_of_a_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    samples = [Sample(Path(f"{i}"), i % 2, "ab"[i // 4], "valid") for i in range(8)]
    judged: list[Sample] = []
    stubs = {
        "read_data": lambda _: [*samples, Sample(Path("8"), 0, "a", "test")],
        "is_large": lambda _: False,
        "make_ways": lambda _: {faster.TODAY: None},
        "speed": lambda *_: ({}, {faster.TODAY: {}}),
        "large": lambda *_: {},
        "judge": lambda _, some: judged.extend(some) or {faster.TODAY: {}},
    }
    for name, stub in stubs.items():
        monkeypatch.setattr(faster, name, stub)
    monkeypatch.setattr(logging, "disable", lambda _: None)
    monkeypatch.setattr(os, "sched_setaffinity", lambda *_: None, raising=False)
    out = tmp_path / "new" / "faster.json"
    monkeypatch.setattr(sys, "argv", ["faster.py", "DATA", "--every", "2", "--out", str(out)])
    faster.main()
    assert [sample.path.name for sample in judged] == ["0", "1", "4", "5"]
    assert json.loads(out.read_text())["command"] == "python scripts/faster.py DATA --every 2"
