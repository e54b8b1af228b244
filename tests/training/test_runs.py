"""Run folders: what is refused before anything is lost, what goes on, and what ends with a sentence."""

import hashlib
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from filelock import FileLock
from tiny import Tiny, write_faces
from torch import nn

from realface import Detector
from realface.data.layouts import fingerprints, read_splits
from realface.errors import DataError
from realface.training import features
from realface.training import train as train_module
from realface.training.checkpoint import BEST
from realface.training.config import Config, make_config
from realface.training.features import cached_views
from realface.training.fit import _Journal
from realface.training.held_out import Unseen
from realface.training.train import train


@pytest.fixture
def faces(tmp_path: Path) -> Path:
    """Dark real and bright fake pictures."""
    return write_faces(tmp_path / "data", {"train": 8, "valid": 6, "test": 4})


@pytest.fixture
def config(tiny: None) -> Config:
    return make_config({"network": "tiny", "epochs": 1})


def digests(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir() if path.is_file()}


def test_what_a_folder_holds_is_not_written_over(faces: Path, config: Config, tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    (run / "detector.onnx").write_bytes(b"somebody's")
    before = digests(run)
    with pytest.raises(DataError, match="holds something already; choose another --out"):
        train(faces, config, run)
    assert digests(run) == before


@pytest.mark.parametrize("resume", [False, True])
def test_what_fuse_made_is_not_trained_further(faces: Path, config: Config, tmp_path: Path, resume: bool) -> None:
    run = train(faces, config, tmp_path / "run").parent
    (run / "teacher.safetensors").touch()
    before = digests(run)
    with pytest.raises(DataError, match="is what realface fuse made; choose another"):
        train(faces, replace(config, max_bpcer=0.02), run, resume=resume)
    assert digests(run) == before


def test_two_do_not_train_in_one_folder(
    faces: Path, config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, begun = tmp_path / "run", train_module._begun

    def at_work(config: Config) -> nn.Module:
        for resume in (False, True):
            with pytest.raises(DataError, match="another run is at work in"):
                train(faces, config, run, resume=resume)
        return begun(config)

    monkeypatch.setattr(train_module, "_begun", at_work)
    assert train(faces, config, run).exists()
    assert not (run / "lock").exists()
    with FileLock(run / "lock"), pytest.raises(DataError, match="another run is at work"):
        train(faces, config, run, resume=True)


def test_a_run_killed_before_it_was_noted_begins_again(faces: Path, config: Config, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "lock").touch()
    assert train(faces, config, tmp_path / "run").exists()


@pytest.mark.parametrize("name", ["my\u00a0run", "x" * 250])
def test_a_name_that_no_detector_may_have_loses_no_training(
    faces: Path, config: Config, tmp_path: Path, name: str
) -> None:
    card = Detector.load(train(faces, config, tmp_path / name)).card
    assert card.name.isprintable()
    assert len(card.name) <= 200


def test_training_pictures_that_cannot_be_read_give_no_detector(faces: Path, config: Config, tmp_path: Path) -> None:
    for path in (faces / "train").rglob("*.jpg"):
        path.write_bytes(b"no picture")
    with pytest.raises(DataError, match="too few of the training pictures could be read"):
        train(faces, config, tmp_path / "run")
    assert not (tmp_path / "run" / "detector.onnx").exists()


def test_a_report_of_a_test_split_that_is_gone_goes_too(faces: Path, config: Config, tmp_path: Path) -> None:
    run = train(faces, config, tmp_path / "run").parent
    assert (run / "report.txt").exists()
    shutil.rmtree(faces / "test")
    train(faces, replace(config, max_bpcer=0.2), run, resume=True)
    assert {"report.txt", "evaluation.json", "confusion.png"} & {path.name for path in run.iterdir()} == set()


def test_a_frozen_run_is_not_resumed_on_another_trunk(faces: Path, config: Config, tmp_path: Path) -> None:
    for name, seed in (("one", 1), ("other", 2)):
        train(faces, replace(config, seed=seed), tmp_path / name, detector=False)
    frozen = replace(config, freeze=True, start=str(tmp_path / "one"))
    run = train(faces, frozen, tmp_path / "run").parent
    before = digests(run)["detector.onnx"]
    shutil.copy(tmp_path / "other" / BEST, tmp_path / "one" / BEST)
    with pytest.raises(DataError, match="begun with other start"):
        train(faces, frozen, run, resume=True)
    assert digests(run)["detector.onnx"] == before


@pytest.mark.parametrize("text", ["", "epoch,train_loss\n"])
def test_a_journal_that_was_emptied_has_its_names_again(tmp_path: Path, text: str) -> None:
    class Trainer:
        current_epoch, num_training_batches, max_epochs = 2, 1, 3

    (tmp_path / "metrics.csv").write_text(text)
    journal = _Journal(tmp_path / "metrics.csv")
    journal.on_train_start(Trainer(), nn.Identity())  # type: ignore[arg-type]
    journal.progress.stop()
    assert (tmp_path / "metrics.csv").read_text().startswith("epoch,train_loss,valid_loss,valid_auc")


class TestFeatures:
    @pytest.fixture
    def asked(self, faces: Path, config: Config) -> tuple:
        samples = read_splits(faces)["train"]
        return Tiny().eval(), samples, fingerprints(samples), replace(config, freeze=True), [0]

    def test_they_are_made_again_where_the_cache_was_cleaned(
        self, asked: tuple, cache: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        before = [np.array(view) for view in cached_views(*asked)]
        (path,) = cache.rglob("view0.npy")
        path.unlink()
        with monkeypatch.context() as killed:
            killed.setattr(features, "_features", lambda *_: pytest.fail("killed before anything is written"))
            with pytest.raises(pytest.fail.Exception):
                cached_views(*asked)
        assert np.array_equal(cached_views(*asked), before)
        assert not np.isnan(before).any()

    def test_they_are_written_not_mapped(self, asked: tuple, monkeypatch: pytest.MonkeyPatch) -> None:
        """Where a disk is full, a store into a mapped file ends the process without a word."""
        monkeypatch.setattr(np.memmap, "__setitem__", lambda *_: pytest.fail("stored into a map"), raising=False)
        assert not np.isnan(cached_views(*asked)).any()

    def test_the_network_is_on_the_processor_again(self, asked: tuple, monkeypatch: pytest.MonkeyPatch) -> None:
        moves: list[str] = []
        monkeypatch.setattr(Tiny, "to", lambda self, device: moves.append(f"to {device}") or self)
        monkeypatch.setattr(Tiny, "cpu", lambda self: moves.append("cpu") or self)
        monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
        cached_views(*asked)
        assert moves == ["to cpu", "cpu"]


def test_a_study_knows_sources_and_pairs(faces: Path, config: Config, tmp_path: Path) -> None:
    def studied(swap: bool) -> str:
        rows = ["path,label,source,split"]
        for path in sorted((faces / "train").rglob("*.jpg")) + sorted((faces / "valid").rglob("*.jpg")):
            number = int(path.stem) % 2
            rows.append(f"{path},{path.parent.name},{'ab'[number ^ swap]},{path.parent.parent.name}")
        (tmp_path / "m.csv").write_text("\n".join(rows))
        return Unseen(tmp_path / "m.csv", config, 2).sha256

    assert studied(False) == studied(False) != studied(True)
