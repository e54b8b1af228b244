"""Heads fitted without some sources."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from realface.data import Sample
from realface.errors import DataError
from realface.networks import build
from realface.networks.base import Network
from realface.networks.clip import ClipB16
from realface.training import held_out
from realface.training.config import Config, make_config
from realface.training.held_out import Rows

CONFIG = make_config({"epochs": 6, "batch_size": 16, "learning_rate": 3e-3})


def rows(sources: str, labels: list[int], *tables: np.ndarray) -> Rows:
    samples = [
        Sample(Path(f"{i}"), y, source, "train") for i, (source, y) in enumerate(zip(sources, labels, strict=True))
    ]
    return Rows(samples, [table.astype(np.float32) for table in tables])


class TestHeldOut:
    @pytest.fixture
    def network(self, small_trunks: None) -> Network:
        return build("clip-b16", seed=0)

    @pytest.fixture
    def four(self, network: ClipB16) -> dict[str, Rows]:
        """Two sources of real and two of fake pictures, in three views, apart in a hundred of their features."""
        size, found = network.head[0].num_features, {}
        for name, count, rng in (("train", 10, np.random.default_rng(0)), ("valid", 4, np.random.default_rng(1))):
            labels = [0, 0, 0, 0, 1, 1, 1, 1] * count
            tables = rng.normal(0, 0.5, (3, len(labels), size))
            tables[..., :100] += 4 * np.array(labels)[:, None] - 2
            found[name] = rows("aabbccdd" * count, labels, *tables)
        return found

    def test_a_head_separates_what_can_be_separated(self, four: dict[str, Rows], network: Network) -> None:
        before = {name: value.clone() for name, value in network.state_dict().items()}
        trained = held_out.fit(network, four["train"], four["valid"], CONFIG)
        for view in four["valid"].views:
            assert ((held_out.scores(trained, view) > 0) == four["valid"].labels).all()
        assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())

    def test_it_is_the_same_whatever_the_head_of_the_network_has_seen(
        self, four: dict[str, Rows], network: ClipB16
    ) -> None:
        fresh = held_out.fit(network, four["train"], four["valid"], CONFIG)
        with torch.no_grad():
            for value in network.head.state_dict().values():
                value.fill_(7)
        again = held_out.fit(network, four["train"], four["valid"], CONFIG)
        assert all(torch.equal(value, again.state_dict()[name]) for name, value in fresh.state_dict().items())

    def test_it_learns_from_as_many_views_as_training_does(self, four: dict[str, Rows], network: Network) -> None:
        wrong = four["train"].views[2]
        wrong[:] = -wrong
        right, less = (
            held_out.fit(network, four["train"], four["valid"], replace(CONFIG, views=views)) for views in (2, 3)
        )
        apart = [np.abs(held_out.scores(trained, four["valid"].views[0])).mean() for trained in (right, less)]
        assert apart[0] > 1.5 * apart[1]

    def test_folds_leave_out_what_they_say(
        self, four: dict[str, Rows], network: Network, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        given: list[tuple[set[str], set[str]]] = []

        def fit(_: Network, train: Rows, valid: Rows, config: Config) -> Network:
            given.append(({*train.sources}, {*valid.sources}))
            return network

        monkeypatch.setattr(held_out, "fit", fit)
        found = list(held_out.folds(four, 2, network, CONFIG))
        assert [sources for sources, _ in found] == [["a", "c"], ["b", "d"]]
        assert given == [({"b", "d"}, {"b", "d"}), ({"a", "c"}, {"a", "c"})]
        for count in (0, 4, 6):
            alone = held_out.folds(four, count, network, CONFIG)
            assert [sources for sources, _ in alone] == [["a"], ["b"], ["c"], ["d"]]

    def test_pictures_without_a_face_are_not_learned_from(self, four: dict[str, Rows], network: Network) -> None:
        for view in four["train"].views:
            view[5] = np.nan
        trained = held_out.fit(network, four["train"], four["valid"], CONFIG)
        assert np.isfinite(held_out.scores(trained, four["valid"].views[0])).all()

    def test_faces_of_nobody_are_learned_from_whatever_is_left_out(
        self, four: dict[str, Rows], network: Network
    ) -> None:
        """They are like real faces, but for a hundred other features."""
        odd = np.stack([view[four["train"].labels == 0] for view in four["train"].views])
        odd[..., -100:] += 4
        train, config = four["train"].without(["a"]), replace(CONFIG, epochs=12)
        without = held_out.fit(network, train, four["valid"], config)
        four["train"].nobody = rows("n" * odd.shape[1], [1] * odd.shape[1], *odd)
        beside = held_out.fit(network, four["train"].without(["a"]), four["valid"], config)
        assert (held_out.scores(without, odd[0]) < 0).mean() > 0.9
        assert (held_out.scores(beside, odd[0]) > 0).mean() > 0.9
        assert ((held_out.scores(beside, four["valid"].views[0]) > 0) == four["valid"].labels).mean() > 0.9

    def test_faces_of_nobody_are_read_beside_the_pictures_to_learn_from(
        self, four: dict[str, Rows], network: Network, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        nobody = rows("n", [1], *np.ones((3, 1, 5)))
        monkeypatch.setattr(held_out, "fingerprints", lambda samples: ["x"] * len(samples))
        monkeypatch.setattr(held_out, "cached_views", lambda _, samples, *__: four["train"].views)
        monkeypatch.setattr(held_out, "faces_of_nobody", lambda *_: (nobody.samples, nobody.views))
        read = held_out.read({name: of_split.samples for name, of_split in four.items()}, network, CONFIG)
        kept = read["train"].without(["a"]).seen(slice(1, 3)).nobody
        assert kept is not None
        assert (kept.samples, len(kept.views)) == (nobody.samples, 2)
        assert read["valid"].nobody is None

    @pytest.mark.parametrize(("sources", "labels"), [("aaaa", [0, 1, 0, 1]), ("aabb", [0, 0, 1, 1])])
    @pytest.mark.parametrize("split", ["train", "valid"])
    def test_too_few_sources_are_an_error(
        self, sources: str, labels: list[int], split: str, four: dict[str, Rows], network: Network
    ) -> None:
        four["train"] = rows("aabb", [0, 1, 0, 1], np.eye(4)) if split == "valid" else four["train"]
        four[split] = rows(sources, labels, np.eye(4))
        with pytest.raises(DataError, match=f"without a.*{split}"):
            list(held_out.folds(four, 6, network, CONFIG))
