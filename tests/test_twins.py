"""Twins: a real and a fake picture at a time, through the same history, in the same window."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from realface import Detector, faces
from realface.card import Preprocessing
from realface.data import Sample
from realface.errors import ConfigError, DataError
from realface.report import Report
from realface.training.config import Config, make_config
from realface.training.train import train
from realface.training.twins import Twins

CONFIG = make_config({"network": "native", "workers": 0, "framing": "centre-square", "batch_size": 8})
AS_IT_IS = replace(CONFIG, degradations=0.0)


def texture(seed: int, level: int = 128, side: int = 48) -> np.ndarray:
    return np.random.default_rng(seed).normal(level, 40, (side, side, 3)).clip(0, 255).astype(np.uint8)


def plain(level: int, side: int = 48) -> np.ndarray:
    return np.full((side, side, 3), level, np.uint8)


def sample(path: Path, pixels: np.ndarray, label: int, source: str = "a") -> Sample:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return Sample(path, label, source, "train")


def pair(folder: Path, name: str, real: np.ndarray, *fakes: np.ndarray, source: str = "a") -> list[Sample]:
    """A picture and its reconstructions, as `realface data reconstruct` names them."""
    made = [sample(folder / f"{name}.m{i}.png", fake, 1, f"{source} by m{i}") for i, fake in enumerate(fakes)]
    return [*made, sample(folder / f"{name}.png", real, 0, source)]  # in any order


def batches(twins: Twins, config: Config = CONFIG, epoch: int | None = None) -> list[tuple[Tensor, Tensor]]:
    return [*(twins.in_order(config) if epoch is None else twins.drawn(config, epoch))]


def drawn(twins: Twins, epochs: int = 20, config: Config = AS_IT_IS) -> list[tuple[Tensor, list[int]]]:
    """The two windows and the two rows of every twin of some epochs."""
    found = []
    for epoch in range(epochs):
        for pixels, rows in twins.drawn(config, epoch):
            found += zip(pixels.view(-1, 2, *pixels.shape[1:]), rows.view(-1, 2).tolist(), strict=True)
    return found


@pytest.fixture
def both(tmp_path: Path) -> Twins:
    """Two sources, of which "real only" has one class, and three pictures with reconstructions."""
    samples = [sample(tmp_path / f"a{i}.png", texture(i), i % 2) for i in range(6)]
    samples += [sample(tmp_path / f"r{i}.png", texture(9 + i), 0, "real only") for i in range(5)]
    pairs = [s for i in range(3) for s in pair(tmp_path / "p", f"{i}", texture(20 + i), texture(i), texture(30 + i))]
    return Twins(samples, pairs, 32, "centre-square")


class TestBatches:
    def test_half_of_each_class_and_real_before_fake(self, both: Twins) -> None:
        some = batches(both, epoch=0)
        assert sum(len(rows) for _, rows in some) == 2 * (len(both.samples) // 2)
        for pixels, rows in some:
            assert pixels.dtype == torch.uint8
            assert pixels.shape == (len(rows), 3, 32, 32)
            assert len(rows) <= CONFIG.batch_size
            assert both.labels_of(rows).view(-1, 2).tolist() == [[0, 1]] * (len(rows) // 2)
        assert both.weights.tolist() == [1] * len(both.samples)

    def test_validation_is_the_same_every_time_and_training_is_not(self, both: Twins) -> None:
        def equal(one: list[tuple[Tensor, Tensor]], other: list[tuple[Tensor, Tensor]]) -> bool:
            return all(torch.equal(a, b) for x, y in zip(one, other, strict=True) for a, b in zip(x, y, strict=True))

        assert equal(batches(both), batches(both))
        assert equal(batches(both, epoch=3), batches(both, epoch=3))
        assert [rows.tolist() for _, rows in batches(both, epoch=3)] != [
            rows.tolist() for _, rows in batches(both, epoch=4)
        ]
        assert [rows.tolist() for _, rows in batches(both, replace(CONFIG, seed=1))] != [
            rows.tolist() for _, rows in batches(both)
        ]

    def test_small_pictures_fill_the_window(self, tmp_path: Path) -> None:
        twins = Twins([], pair(tmp_path, "x", texture(1, side=40), texture(2, side=40)), 128, "face")
        assert {pixels.shape for pixels, _ in batches(twins)} == {(2, 3, 128, 128)}


class TestTheSame:
    def test_both_of_a_twin_have_the_same_history_and_window(self, tmp_path: Path) -> None:
        """The two are the same picture, so any difference would be one of the way they went."""
        pairs = [s for i in range(4) for s in pair(tmp_path, f"{i}", *[texture(i, side=96)] * 2)]
        found = drawn(Twins([], pairs, 32, "face"), 8, CONFIG)
        assert len(found) == 32
        assert all(torch.equal(real, fake) for (real, fake), _ in found)
        assert len({windows.numpy().tobytes() for windows, _ in found}) == 32, "each twin has a way of its own"

    def test_two_pictures_of_a_source_too(self, tmp_path: Path) -> None:
        samples = [sample(tmp_path / f"{i}.png", texture(1, side=96), i % 2) for i in range(6)]
        assert all(torch.equal(*windows) for windows, _ in drawn(Twins(samples, [], 32, "centre-square"), 8, CONFIG))

    def test_windows_lie_all_over_a_picture_in_its_native_pixels(self, tmp_path: Path) -> None:
        y, x = np.mgrid[:64, :64]
        where = np.stack([y, x, y], -1).astype(np.uint8)
        found = drawn(Twins([], pair(tmp_path, "x", where, where), 32, "face"), 60)
        corners = [tuple(window[:2, 0, 0].tolist()) for (window, _), _ in found]
        for (window, _), _ in found:
            top, left = window[:2, 0, 0].tolist()
            assert np.array_equal(window.permute(1, 2, 0), where[top : top + 32, left : left + 32])
        for axis in zip(*corners, strict=True):
            assert min(axis) < 5
            assert max(axis) > 27

    def test_a_window_that_an_edit_left_as_it_was_is_real_twice(self, tmp_path: Path) -> None:
        edited = texture(1)
        edited[:, 40:] = plain(0)[:, 40:]
        found = drawn(Twins([], pair(tmp_path, "x", texture(1), edited), 32, "face"), 60)
        assert {(torch.equal(*windows), *rows) for windows, rows in found} == {(True, 1, 1), (False, 1, 0)}


class TestBlends:
    def test_a_third_of_the_reconstructions_are_mixed_half_and_half(self, tmp_path: Path) -> None:
        pairs = [s for i in range(10) for s in pair(tmp_path, f"{i}", plain(3), plain(200))]
        found = drawn(Twins([], pairs, 32, "face"), 30)
        levels = Counter(int(fake.float().mean()) for (_, fake), _ in found)
        assert levels.keys() == {200, 102}  # half a level is rounded up
        assert levels[102] / len(found) == pytest.approx(1 / 3, abs=0.07)
        assert {int(real.max()) for (real, _), _ in found} == {3}

    def test_no_other_twins_are_mixed(self, tmp_path: Path) -> None:
        samples = [sample(tmp_path / f"{i}.png", plain(200 * (i % 2)), i % 2) for i in range(6)]
        found = drawn(Twins(samples, [], 32, "centre-square"))
        assert {int(fake.float().mean()) for (_, fake), _ in found} == {200}

    def test_pictures_of_different_sizes_are_not_mixed(self, tmp_path: Path) -> None:
        twins = Twins([], pair(tmp_path, "x", plain(0, 48), plain(200, 40)), 32, "face")
        assert {int(fake.float().mean()) for (_, fake), _ in drawn(twins)} == {200}


class TestPairing:
    def test_pairs_by_name_and_sources_of_both_classes(self, both: Twins) -> None:
        rows = {tuple(rows) for _, rows in drawn(both, 60)}
        of_source = {(real, fake) for real in (0, 2, 4) for fake in (1, 3, 5)}
        of_pairs = {(11 + 3 * i + 2, 11 + 3 * i + j) for i in range(3) for j in (0, 1)}
        assert rows == of_source | of_pairs

    def test_more_are_reconstructions_than_not(self, both: Twins) -> None:
        aligned = [rows[1] >= 11 for _, rows in drawn(both, 60)]
        assert np.mean(aligned) == pytest.approx(0.6, abs=0.06)

    def test_a_picture_and_its_reconstruction_without_each_other_are_not_drawn(self, tmp_path: Path) -> None:
        pairs = pair(tmp_path, "x", texture(1), texture(2))
        pairs += pair(tmp_path, "lost", texture(3), texture(4), texture(5))[:2]  # the real picture is
        pairs += pair(tmp_path, "alone", texture(6))
        assert {tuple(rows) for _, rows in drawn(Twins([], pairs, 32, "face"))} == {(1, 0)}

    def test_sources_are_drawn_by_the_square_root_of_their_size(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        sizes = {"small": 4, "large": 36}
        samples = [Sample(Path(f"{i}"), i % 2, source, "train") for source, n in sizes.items() for i in range(n)]
        monkeypatch.setattr(Twins, "read", lambda self, row: plain(row))
        large = [rows[0] >= 4 for _, rows in drawn(Twins(samples, [], 32, "centre-square"))]
        assert np.mean(large) == pytest.approx(0.75, abs=0.06)  # 6 to 2

    @pytest.mark.parametrize(
        "labels", [[], [("a", 0), ("a", 0)], [("a", 1)], [("a", 0), ("b", 1), ("c", 0)]], ids=["none", *"123"]
    )
    def test_nothing_to_pair_is_an_error(self, labels: Sequence[tuple[str, int]], tmp_path: Path) -> None:
        samples = [Sample(tmp_path / "x.png", label, source, "train") for source, label in labels]
        with pytest.raises(DataError, match="twins"):
            Twins(samples, [], 32, "face")
        with pytest.raises(DataError, match="twins"):
            Twins(samples, [s for s in samples if s.label == 0], 32, "face")


class TestReading:
    def test_a_twin_that_cannot_be_read_is_left_out(self, tmp_path: Path) -> None:
        samples = [sample(tmp_path / f"{i}.png", texture(i), i % 2) for i in range(8)]
        samples[3].path.write_bytes(b"no picture")
        twins = Twins(samples, [], 32, "centre-square")
        rows = [rows for _, rows in drawn(twins)]
        assert 0 < len(rows) < 80
        assert {fake for _, fake in rows} == {1, 5, 7}
        assert {real for real, _ in rows} == {0, 2, 4, 6}

    def test_a_face_that_is_not_found_is_left_out(self, tmp_path: Path, cache: Path) -> None:
        samples = [sample(tmp_path / f"{i}.png", plain(90), i) for i in range(2)]
        ((pixels, rows),) = batches(Twins(samples, [], 32, "face"))
        assert pixels.shape[0] == len(rows) == 0

    def test_reconstructions_are_faces_already_and_not_searched(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(faces, "find", lambda *_: pytest.fail("nothing is to be searched for"))
        twins = Twins([], pair(tmp_path, "x", texture(1), texture(2)), 32, "face")
        assert np.array_equal(twins.read(0), texture(2))
        assert len(batches(twins)[0][1]) == 2


class TestTraining:
    @pytest.fixture
    def data(self, tmp_path: Path, small_trunks: None, cache: Path) -> dict[str, Any]:
        """A data set of one class a source and the settings of a run that learns from its pairs; fakes have stripes."""
        stripes = 50 * (np.arange(128) % 2)[None, :, None]
        for root, fake_source in (("data", "b"), ("pairs", "a by m")):
            rows = ["path,label,source,split"]
            for split, count in (("train", 8), ("valid", 4), ("test", 4)):
                for i in range(count):
                    real = texture(i + 100 * len(rows), side=128) // 4 + 80
                    for name, label, pixels in ((f"{split}{i}.png", 0, real), (f"{split}{i}.m.png", 1, real + stripes)):
                        sample(tmp_path / root / name, pixels.astype(np.uint8), label)
                        rows.append(f"{name},{('real', 'fake')[label]},{('a', fake_source)[label]},{split}")
            (tmp_path / root / "manifest.csv").write_text("\n".join(rows))
        settings = {"network": "native", "workers": 0, "framing": "centre-square", "degradations": 0.0, "epochs": 3}
        return settings | {"batch_size": 8, "learning_rate": 0.03, "pairs": str(tmp_path / "pairs")}

    def test_a_run_of_the_native_view_learns_from_pairs(self, data: dict[str, Any], tmp_path: Path) -> None:
        made = train(tmp_path / "data", make_config(data), tmp_path / "run")
        assert made is not None
        detector = Detector.load(made)
        assert detector.card.preprocessing == Preprocessing(0, "centre-square", window=192)
        assert detector.card.metrics["test"]["all"]["auc"] == 1
        (face,) = detector.check(tmp_path / "data" / "test0.m.png", heatmap=True).faces
        assert face.verdict == "fake"
        assert np.array(face.heatmap).shape == (3, 3)
        report = Report(detector)
        report.add(detector.check(tmp_path / "data" / "test0.m.png"))
        assert "the detector sees it in nine windows of 192 pixels a side" in report.html()

    def test_without_pairs_there_is_nothing_to_learn_from_here(self, data: dict[str, Any], tmp_path: Path) -> None:
        with pytest.raises(DataError, match="twins"):
            train(tmp_path / "data", make_config(data | {"pairs": ""}), tmp_path / "run")

    def test_windows_cannot_be_learned_from_with_a_frozen_trunk(self, data: dict[str, Any], tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match="freeze"):
            train(tmp_path / "data", make_config(data | {"freeze": True}), tmp_path / "run")
        assert not (tmp_path / "run" / "config.toml").exists()
