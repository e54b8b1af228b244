"""The making half: configuration, balance, checkpoints, calibration, and whole small runs."""

import csv
import signal
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from conftest import full_disk
from PIL import Image
from tiny import write_faces

from realface import Detector
from realface.card import Policy
from realface.data import Sample, read_data
from realface.errors import ConfigError, DataError
from realface.training import fit as fit_module
from realface.training.calibrate import fit_calibration, set_thresholds
from realface.training.checkpoint import BEST, SafeCheckpoints, load_weights
from realface.training.config import Config, make_config, parse_setting, read_toml, to_toml
from realface.training.pictures import Pictures
from realface.training.train import new_network, of_sources, train


@pytest.fixture
def faces(tmp_path: Path) -> Path:
    """Dark "real" and bright "fake" pictures, with one damaged file in each class of train."""
    data = write_faces(tmp_path / "data", {"train": 16, "valid": 8, "test": 6})
    for label in ("real", "fake"):
        (data / "train" / label / "damaged.jpg").write_bytes(b"\xff\xd8\xff\xe0 not really")
    return data


def swap_labels(split: Path) -> None:
    """Call real what is fake, so that the more is learned, the higher the loss."""
    (split / "real").rename(split / "was-real")
    (split / "fake").rename(split / "real")
    (split / "was-real").rename(split / "fake")


def metrics(run: Path) -> list[dict[str, str]]:
    """The rows of metrics.csv, without the time they took."""
    with (run / "metrics.csv").open(newline="") as file:
        return [{k: v for k, v in row.items() if k != "seconds"} for row in csv.DictReader(file)]


def test_a_run_learns_the_same_whether_its_features_are_there_or_not(tiny: None, faces: Path, tmp_path: Path) -> None:
    for name in ("computes", "finds"):
        config = make_config({"network": "tiny", "freeze": True, "dropout": 0.5})
        train(faces, config, tmp_path / name, detector=False)
    assert metrics(tmp_path / "computes") == metrics(tmp_path / "finds")


@pytest.mark.parametrize("freeze", [False, True])
def test_generated_faces_that_belong_to_no_real_one_are_learned_from_too(
    tiny: None, faces: Path, tmp_path: Path, freeze: bool
) -> None:
    """In the pictures real is dark; of `pairs`, what is dark and green is fake, and a dark blue twin is left alone."""
    pairs = tmp_path / "pairs"
    pairs.mkdir()
    pictures = [("0.png", "real", (0, 0, 90)), ("0.taesd.png", "fake", (0, 0, 90))]
    pictures += [(f"{i:06}.stylegan.jpg", "fake", (0, 90, 0)) for i in range(16)]
    for name, _, colour in pictures:
        Image.new("RGB", (40, 40), colour).save(pairs / name)
    rows = ["path,label,source,split", *(f"{name},{label},{label},train" for name, label, _ in pictures)]
    (pairs / "manifest.csv").write_text("\n".join(rows))
    said = {}
    for name, folder in {"without": "", "with": str(pairs)}.items():
        config = make_config({"network": "tiny", "freeze": freeze, "dropout": 0.0, "pairs": folder, "epochs": 30})
        train(faces, config, tmp_path / name, detector=False)
        network = new_network(config).eval()
        load_weights(network, tmp_path / name)
        colours = torch.tensor([[0.0, 90, 0], [0, 0, 90]])[:, :, None, None] / 255
        with torch.inference_mode():
            said[name] = network(colours.expand(2, 3, 32, 32)).tolist()
    assert said["with"][0] > 0 > said["without"][0]
    assert said["with"][1] < 0
    (pairs / "manifest.csv").write_text("\n".join(rows[:3]))
    with pytest.raises(DataError, match="only the network native learns"):
        train(faces, make_config({"network": "tiny", "freeze": freeze, "pairs": str(pairs)}), tmp_path / "other")


@pytest.mark.parametrize("freeze", [False, True])
def test_a_run_makes_a_detector_that_works(tiny: None, faces: Path, tmp_path: Path, freeze: bool) -> None:
    run = tmp_path / "run"
    rows = ["path,label,source,split"]
    for path in sorted(faces.glob("*/*/*")):
        split, label, name = path.relative_to(faces).parts
        rows.append(f"{split}/{label}/{name},{label},{'other' if name == '0.jpg' else 'camera'},{split}")
    (faces / "manifest.csv").write_text("\n".join(rows))
    settings = {"network": "tiny", "freeze": freeze, "input_size": 64, "licence": "for tests", "sources": "camera"}
    made = train(faces, make_config(settings), run)
    assert made == run / "detector.onnx"
    detector = Detector.load(made)
    for label in ("real", "fake"):
        for path in (faces / "test" / label).iterdir():
            assert detector.check(path).verdict == label
    card = detector.card
    assert card.network == "tiny"
    assert card.licence == "for tests"
    assert card.preprocessing.size == 64
    assert card.metrics["test"]["all"]["auc"] == 1
    assert (card.data["train"], card.data["sources"]) == (32, ["camera"])
    assert len(card.data["sha256"]["train"]) == 64
    assert len(metrics(run)) == 4
    assert "f1-score" in (run / "report.txt").read_text()
    for plot in ("curves.png", "confusion.png"):
        with Image.open(run / plot) as image:
            assert image.width > 200
    assert read_toml(run / "config.toml")["freeze"] is freeze


@pytest.mark.parametrize(("schedule", "patience"), [("cosine", 0), ("plateau", 6)])
def test_an_interrupted_run_resumes_to_the_same_end_also_where_it_was_moved(
    tiny: None, faces: Path, tmp_path: Path, schedule: str, patience: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    swap_labels(faces / "valid")  # the first epoch is the best, and the plateau is reached
    config = make_config({"network": "tiny", "schedule": schedule, "patience": patience, "epochs": 5})
    train(faces, config, tmp_path / "whole", detector=False)
    rates = [float(row["learning_rate"]) for row in metrics(tmp_path / "whole")]
    assert rates[-1] < rates[-2]

    class Interrupt(fit_module._Journal):
        def on_train_epoch_start(self, trainer: pl.Trainer, task: pl.LightningModule) -> None:
            super().on_train_epoch_start(trainer, task)
            if trainer.current_epoch == 2:
                raise KeyboardInterrupt

    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background is deaf to it
    with monkeypatch.context() as patched:
        patched.setattr(fit_module, "_Journal", Interrupt)
        with pytest.raises(KeyboardInterrupt):
            train(faces, config, tmp_path / "parts", detector=False)
    assert signal.signal(signal.SIGINT, before) is signal.default_int_handler, "a second Ctrl-C is heard too"
    assert len(metrics(tmp_path / "parts")) == 2
    with pytest.raises(DataError, match="--resume"):
        train(faces, config, tmp_path / "parts")
    moved = (tmp_path / "parts").rename(tmp_path / "moved")
    assert train(faces, config, moved, resume=True, detector=False) == moved
    assert metrics(moved) == metrics(tmp_path / "whole")
    one, two = (SafeCheckpoints().load_checkpoint(run / BEST)["state_dict"] for run in (moved, tmp_path / "whole"))
    assert one.keys() == two.keys()
    assert all(torch.allclose(value, two[key], atol=1e-6) for key, value in one.items())


def test_a_detector_is_not_there_before_it_is_measured(
    tiny: None, faces: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("realface.training.finish.by_size", interrupted)
    with pytest.raises(KeyboardInterrupt):
        train(faces, make_config({"network": "tiny"}), tmp_path / "run")
    assert not (tmp_path / "run" / "detector.onnx").exists()


def test_early_stopping_ends_a_run_that_no_longer_gains(tiny: None, faces: Path, tmp_path: Path) -> None:
    config = make_config({"network": "tiny", "epochs": 200, "patience": 1, "learning_rate": 1.0, "degradations": 0.0})
    assert train(faces, config, tmp_path / "run", detector=False)
    assert 2 <= len(metrics(tmp_path / "run")) < 200


def test_the_lowest_loss_counts_where_patience_may_end_a_run_and_else_the_last_epoch(
    tiny: None, faces: Path, tmp_path: Path
) -> None:
    swap_labels(faces / "valid")
    found = {}
    for patience in (0, 6):
        config = make_config({"network": "tiny", "epochs": 4, "patience": patience})
        train(faces, config, tmp_path / str(patience), detector=False)
        losses = [float(row["valid_loss"]) for row in metrics(tmp_path / str(patience))]
        assert losses == sorted(losses)
        best, *more = sorted((tmp_path / str(patience) / "checkpoints").glob("*.safetensors"))
        found[patience] = SafeCheckpoints().load_checkpoint(best)["epoch"], [path.name for path in more]
    assert found == {0: (3, []), 6: (0, ["last.safetensors"])}


def test_a_source_that_is_not_there_is_an_error_that_names_those_that_are() -> None:
    samples = [Sample(Path("x"), 0, source, "train") for source in ("phone", "", "camera")]
    splits = {"train": samples, "valid": []}
    assert of_sources(splits, make_config({"sources": "phone"})) == {"train": samples[:1], "valid": []}
    with pytest.raises(DataError, match="no source 'film' in the train split; there are: camera, phone"):
        of_sources(splits, make_config({"sources": "phone, film"}))


def test_one_class_alone_cannot_be_trained_on(tiny: None, faces: Path, tmp_path: Path) -> None:
    for path in (faces / "train" / "fake").iterdir():
        path.unlink()
    with pytest.raises(DataError, match="train split needs pictures of both classes"):
        train(faces, make_config({"network": "tiny"}), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_class_that_cannot_be_read_is_an_error(tiny: None, faces: Path, tmp_path: Path) -> None:
    for path in (faces / "train" / "fake").iterdir():
        path.write_bytes(b"not a picture")
    with pytest.raises(DataError, match="could be read"):
        train(faces, make_config({"network": "tiny", "freeze": True}), tmp_path / "run")
    assert not (tmp_path / "run" / "config.toml").exists()


def test_a_finished_run_is_not_trained_further(tiny: None, faces: Path, tmp_path: Path) -> None:
    config = make_config({"network": "tiny", "patience": 1, "learning_rate": 1.0})
    assert train(faces, config, tmp_path / "run", detector=False) == tmp_path / "run"
    assert not (tmp_path / "run" / "detector.onnx").exists()
    before = (tmp_path / "run" / "metrics.csv").read_text()
    licensed = replace(config, licence="new")
    assert train(faces, licensed, tmp_path / "run", resume=True) == tmp_path / "run" / "detector.onnx"
    assert Detector.load(tmp_path / "run" / "detector.onnx").card.licence == "new"
    assert (tmp_path / "run" / "metrics.csv").read_text() == before
    with pytest.raises(ConfigError, match="begun with other seed, epochs; choose the same"):
        train(faces, replace(config, seed=1, epochs=5, max_apcer=0.1), tmp_path / "run", resume=True)
    (faces / "valid" / "real" / "0.jpg").write_bytes(b"")
    with pytest.raises(DataError, match="begun with other pictures; choose the same"):
        train(faces, config, tmp_path / "run", resume=True)
    assert make_config(read_toml(tmp_path / "run" / "config.toml")) == licensed


def test_training_that_diverges_says_so(tiny: None, faces: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="lower learning_rate"):
        train(faces, make_config({"network": "tiny", "learning_rate": 1e30}), tmp_path / "run")


def test_one_picture_drawn_twice_has_two_histories(faces: Path) -> None:
    samples = [s for s in read_data(faces) if s.split == "test"]
    pictures = Pictures(samples, 32, "centre-square", 1.0, (0, 1), rows=[3, 3, 4])
    items = [item for item in (pictures[i] for i in range(3)) if item is not None]
    assert [row for _, row in items] == [3, 3, 4]
    assert not torch.equal(items[0][0], items[1][0])
    again = Pictures(samples, 32, "centre-square", 1.0, (0, 1), rows=[3, 3, 4])[1]
    assert again is not None
    assert torch.equal(again[0], items[1][0])


def test_settings_come_from_defaults_network_and_user() -> None:
    assert make_config({}).network == "clip-b16"
    assert make_config({"network": "notebook-small"}).schedule == "plateau"
    assert make_config({"network": "notebook-small", "schedule": "cosine"}).schedule == "cosine"
    assert make_config({"learning_rate": 1}).learning_rate == 1.0


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"learning_rte": 0.1}, "learning_rate"),
        ({"network": "notebok-small"}, "notebook-small"),
        ({"network": ["native"]}, "did you mean 'native'"),
        ({"epochs": "many"}, "epochs must be of type int"),
        ({"epochs": True}, "epochs must be of type int"),
        ({"schedule": "stairs"}, "schedule cannot be 'stairs'"),
        ({"degradations": 1.5}, "degradations"),
        ({"batch_size": 1}, "batch_size"),
        ({"learning_rate": float("inf")}, "learning_rate cannot be inf"),
        ({"weight_decay": float("inf")}, "weight_decay cannot be inf"),
        ({"seed": 20260101120000}, "seed cannot be"),
        ({"dropout": 1.0}, "dropout cannot be 1.0"),
        ({"dropout": "much"}, "dropout must be of type float"),
        ({"input_size": 100}, "multiple of 32"),
        ({"input_size": 0}, "multiple of 32"),
        ({"input_size": 96.0}, "input_size must be of type int"),
    ],
)
def test_wrong_settings_are_named(settings: dict[str, object], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        make_config(settings)


def test_a_written_configuration_reads_back(tmp_path: Path) -> None:
    settings = {"network": "two-stream", "learning_rate": 1e-5, "freeze": True, "licence": '"ü" \\ 🙂\t\n\x7f'}
    config = make_config(settings)
    for encoding in ("utf-8", "utf-8-sig"):
        (tmp_path / "c.toml").write_text(to_toml(config), encoding=encoding)
        assert make_config(read_toml(tmp_path / "c.toml")) == config


def test_settings_on_the_command_line() -> None:
    assert parse_setting("epochs=3") == ("epochs", 3)
    assert parse_setting("schedule = plateau") == ("schedule", "plateau")
    assert parse_setting("freeze=true") == ("freeze", True)
    assert parse_setting('schedule="plateau"') == ("schedule", "plateau")
    assert parse_setting("start=2024-11-28") == ("start", "2024-11-28")
    assert parse_setting("sources=2019") == ("sources", "2019")
    with pytest.raises(ConfigError, match="key=value"):
        parse_setting("epochs")


def test_broken_toml_is_a_typed_error(tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_text("epochs = = 3")
    with pytest.raises(ConfigError, match="TOML"):
        read_toml(tmp_path / "c.toml")
    with pytest.raises(ConfigError, match="could not be read"):
        read_toml(tmp_path / "missing.toml")


def test_checkpoints_hold_whole_trees_without_pickle(tmp_path: Path) -> None:
    tree = {
        "epoch": 3,
        "state": {0: {"step": torch.tensor(4.0), "pair": (1, None)}, "x": [True, float("inf"), "text"]},
        "weights": torch.arange(6).view(2, 3),
    }
    path = tmp_path / "a" / "c.safetensors"
    SafeCheckpoints().save_checkpoint(tree, path)
    got = SafeCheckpoints().load_checkpoint(path)
    assert torch.equal(got.pop("weights"), tree.pop("weights"))
    assert torch.equal(got["state"][0].pop("step"), tree["state"][0].pop("step"))
    assert got == tree
    path.write_bytes(b"\x80\x04pickle")
    with pytest.raises(DataError, match="not a checkpoint"):
        SafeCheckpoints().load_checkpoint(path)


def test_a_full_disk_leaves_the_last_checkpoint_and_is_told_as_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "c.safetensors"
    SafeCheckpoints().save_checkpoint({"epoch": 1}, path)
    monkeypatch.setattr(Path, "replace", full_disk)
    with pytest.raises(OSError, match="No space left"):
        SafeCheckpoints().save_checkpoint({"epoch": 2}, path)
    assert SafeCheckpoints().load_checkpoint(path) == {"epoch": 1}
    assert list(tmp_path.iterdir()) == [path]


def test_calibration_finds_the_scale_that_made_the_labels(rng: np.random.Generator) -> None:
    logits = rng.normal(0, 3, 20_000)
    labels = (rng.random(20_000) < 1 / (1 + np.exp(-(0.7 * logits)))).astype(int)
    got = fit_calibration(labels, logits.astype(np.float32))
    assert got.scale == pytest.approx(0.7, abs=0.03)
    assert got.offset == pytest.approx(0, abs=0.06)


def test_calibration_does_not_hang_on_where_the_scores_lie(rng: np.random.Generator) -> None:
    labels = np.arange(2000) % 2
    logits = rng.normal(labels, 1)
    told = [fit_calibration(labels, scores) for scores in (logits, logits / 1000 - 30)]
    near, far = (
        fit.scale * scores + fit.offset for fit, scores in zip(told, (logits, logits / 1000 - 30), strict=True)
    )
    assert np.abs(near - far).max() < 0.01


def test_calibration_of_a_perfect_detector_stays_short_of_certainty() -> None:
    labels = np.repeat([0, 1], 50)
    got = fit_calibration(labels, np.where(labels == 1, 30.0, -30.0).astype(np.float32))
    assert 0.95 < 1 / (1 + np.exp(-(got.scale * 30 + got.offset))) < 0.99


@pytest.mark.parametrize("labels", [[0, 0], [1, 1]])
def test_calibration_needs_both_classes(labels: list[int]) -> None:
    with pytest.raises(DataError, match="real and fake"):
        fit_calibration(np.array(labels), np.array([0.0, 1.0]))


def test_calibration_refuses_a_detector_that_ranks_backwards() -> None:
    with pytest.raises(DataError, match="chance"):
        fit_calibration(np.repeat([0, 1], 10), np.repeat([1.0, -1.0], 10))


@pytest.mark.parametrize("count", [1, 10, 100, 333])
@pytest.mark.parametrize("overlap", [0.1, 1.0, 5.0])
def test_thresholds_hold_the_policy_they_were_set_under(count: int, overlap: float) -> None:
    rng = np.random.default_rng(count)
    labels = np.repeat([0, 1], count)
    fake = 1 / (1 + np.exp(-(4 * labels - 2 + rng.normal(0, overlap, 2 * count))))
    got = set_thresholds(labels, fake, Policy(max_bpcer=0.01, max_apcer=0.05))
    assert got.real_below <= 0.5 <= got.fake_from
    assert (fake[labels == 0] >= got.fake_from).mean() <= 0.01
    assert (fake[labels == 1] < got.real_below).mean() <= 0.05


def test_a_config_is_checked_however_it_is_made() -> None:
    with pytest.raises(ConfigError, match="views"):
        replace(Config(), views=0)
