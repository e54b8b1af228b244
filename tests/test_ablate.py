"""The linear heads that the shipped one is compared with."""

from pathlib import Path

import numpy as np
import pytest
import torch
from ablate import L2, logistic, standardised
from leave_one_out import arguments
from test_held_out import rows

from realface.training.held_out import Rows

ALL = np.arange(3)


@pytest.fixture
def four(rng: np.random.Generator) -> Rows:
    """Two sources of real and two of fake pictures, in two views, apart in the first of three features."""
    sources, labels = "aabbccdd" * 10, [0, 0, 0, 0, 1, 1, 1, 1] * 10
    tables = rng.normal(0, 0.5, (2, 80, 3))
    tables[..., 0] += 4 * np.array(labels) - 2
    return rows(sources, labels, *tables)


def test_a_head_separates_what_can_be_separated(four: Rows) -> None:
    table = standardised(four, ALL)
    head = logistic(table, table.weights, L2)
    assert head.shape == (4,)
    assert ((table.inputs @ head[:-1] + head[-1] > 0) == table.labels.bool()).all()
    assert logistic(table, table.weights, 1.0)[:-1].norm() < head[:-1].norm() / 2


def test_classes_weigh_the_same() -> None:
    table = standardised(rows("a" * 9 + "b", [0] * 9 + [1], np.zeros((10, 1))), np.arange(1))
    assert logistic(table, table.weights, L2).abs().max() < 1e-3


def test_a_head_can_be_kept_from_telling_sources_of_a_class_apart(four: Rows) -> None:
    for view in four.views:
        view[four.sources == "a", 0] -= 1.5
    table = standardised(four, ALL)

    def apart(spread: float) -> float:
        head = logistic(table, table.weights, L2, spread)
        scores = (torch.from_numpy(four.views[0]) - table.mean) / table.deviation @ head[:-1]
        a, b = (scores[torch.from_numpy(four.sources == source)].mean() for source in "ab")
        return abs(float(a - b))

    assert apart(1.0) < apart(0.0) / 2


def test_features_are_standardised_over_the_pictures_that_show_a_face(four: Rows) -> None:
    for view in four.views:
        view[3] = np.nan
    table = standardised(four, ALL)
    assert table.inputs.shape == (158, 3)
    assert table.inputs.mean(0).abs().max() < 1e-5
    assert (table.inputs.std(0) - 1).abs().max() < 1e-3
    assert table.kinds[table.groups].tolist() == table.labels.tolist()


def test_what_was_measured_for_hours_has_a_folder_to_go_to_wherever_the_script_was_called_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert arguments("", 3, "ablate.json").parse_args(["DATA"]).out.parent.is_dir()
