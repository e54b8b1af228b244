"""Heads fitted without some sources."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from realface.data import Sample
from realface.errors import DataError
from realface.training import held_out
from realface.training.held_out import Rows


def rows(sources: str, labels: list[int], *tables: np.ndarray) -> Rows:
    samples = [
        Sample(Path(f"{i}"), y, source, "train") for i, (source, y) in enumerate(zip(sources, labels, strict=True))
    ]
    return Rows(samples, [torch.from_numpy(table.astype(np.float32)) for table in tables])


class TestHeldOut:
    @pytest.fixture
    def four(self, rng: np.random.Generator) -> Rows:
        """Two sources of real and two of fake pictures, in two views, apart in the first of three features."""
        sources, labels = "aabbccdd" * 10, [0, 0, 0, 0, 1, 1, 1, 1] * 10
        tables = rng.normal(0, 0.5, (2, 80, 3))
        tables[..., 0] += 4 * np.array(labels) - 2
        return rows(sources, labels, *tables)

    def test_a_head_separates_what_can_be_separated(self, four: Rows) -> None:
        head = held_out.fit(four)
        assert head.shape == (4,)
        for view in four.views:
            assert ((held_out.scores(head, view) > 0) == four.labels).all()
        assert held_out.scores(head, torch.tensor([[0.0, 0, 0]]))[0] == pytest.approx(float(head[-1]))
        assert held_out.fit(four, l2=1.0)[:-1].norm() < head[:-1].norm() / 2

    def test_classes_weigh_the_same(self) -> None:
        uneven = rows("a" * 9 + "b", [0] * 9 + [1], np.zeros((10, 1)))
        assert held_out.fit(uneven).abs().max() < 1e-3

    def test_a_head_can_be_kept_from_telling_sources_of_a_class_apart(self, four: Rows) -> None:
        def apart(head: Tensor) -> float:
            means = {s: np.mean(held_out.scores(head, four.views[0])[four.sources == s]) for s in "ab"}
            return abs(float(means["a"] - means["b"]))

        four.views[:] = [
            view + torch.tensor(four.sources == "a")[:, None] * torch.tensor([-1.5, 0, 0]) for view in four.views
        ]
        assert apart(held_out.fit(four, spread=1.0)) < apart(held_out.fit(four)) / 2

    def test_folds_leave_out_what_they_say(self, four: Rows) -> None:
        found = list(held_out.folds(four, 2))
        assert [sources for sources, _ in found] == [["a", "c"], ["b", "d"]]
        for sources, head in found:
            others = four.where(~np.isin(four.sources, sources))
            assert not {*others.sources} & {*sources}
            assert torch.equal(head, held_out.fit(others))
            assert not torch.equal(head, held_out.fit(four))

    @pytest.mark.parametrize("count", [0, 4, 6])
    def test_at_most_every_source_is_left_out_by_itself(self, four: Rows, count: int) -> None:
        assert [sources for sources, _ in held_out.folds(four, count)] == [["a"], ["b"], ["c"], ["d"]]

    def test_pictures_without_a_face_are_not_learned_from(self, four: Rows) -> None:
        for view in four.views:
            view[5] = np.nan
        for sources, head in held_out.folds(four, 2):
            assert head.isfinite().all()
            fine = ~np.isin(four.sources, sources) & (np.arange(80) != 5)
            assert torch.equal(head, held_out.fit(four.where(fine)))

    @pytest.mark.parametrize(("sources", "labels"), [("aaaa", [0, 1, 0, 1]), ("aabb", [0, 0, 1, 1])])
    def test_too_few_sources_are_an_error(self, sources: str, labels: list[int]) -> None:
        with pytest.raises(DataError, match="without a"):
            list(held_out.folds(rows(sources, labels, np.eye(4)), 6))

    def test_features_are_standardised_by_those_of_training(self, four: Rows) -> None:
        four.views[1][3] = np.nan
        other = rows("x", [0], np.full((1, 3), 7.0), np.full((1, 3), 7.0))
        raw = torch.cat(four.views)
        raw = raw[~raw[:, 0].isnan()]
        got = held_out.standardised({"train": four, "valid": other})
        every = torch.cat(got["train"].views)
        assert every[83].isnan().all()
        every = every[~every[:, 0].isnan()]
        assert every.mean(0).abs().max() < 1e-5
        assert (every.std(0) - 1).abs().max() < 1e-3
        assert torch.allclose(got["valid"].views[0], (7 - raw.mean(0)) / raw.std(0), atol=1e-3)
