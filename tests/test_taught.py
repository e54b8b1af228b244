"""Learning from a larger detector: softer targets, for the very versions of the pictures that it has judged."""

import importlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from tiny import Tiny
from torch import Tensor, nn

from realface import Detector
from realface.data import Sample
from realface.data.crops import FIRST, network_input, read_face
from realface.data.layouts import fingerprints, read_splits
from realface.errors import ConfigError, DataError
from realface.networks.base import Network
from realface.training.checkpoint import SafeCheckpoints, load_weights
from realface.training.config import Config, make_config, to_toml
from realface.training.features import cached_views
from realface.training.fit import Task
from realface.training.sources import Source
from realface.training.taught import Taught, of_versions
from realface.training.train import train

COUNT = 8
pytestmark = pytest.mark.usefixtures("tiny")


class Raw(Network):
    """Features that are the pixels themselves."""

    input_size = 32

    def features(self, pixels: Tensor) -> Tensor:
        return pixels.flatten(1)


@pytest.fixture
def samples(tmp_path: Path) -> list[Sample]:
    """As many real as fake pictures to train on, and a few to validate."""
    rng = np.random.default_rng(1)
    for split, count in {"train": COUNT, "valid": 4}.items():
        for label in ("real", "fake"):
            (tmp_path / "data" / split / label).mkdir(parents=True)
            for i in range(count // 2):
                level = 70 if label == "real" else 180
                pixels = rng.normal(level, 30, (60, 52, 3)).clip(0, 255).astype(np.uint8)
                Image.fromarray(pixels).save(tmp_path / "data" / split / label / f"{i}.png")
    return read_splits(tmp_path / "data")["train"]


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return make_config({"network": "tiny", "teacher": str(tmp_path / "teacher"), "seed": 5, "epochs": 1})


def teach(config: Config, logits: np.ndarray, of: dict[str, str] | None = None) -> None:
    Path(config.teacher).mkdir(exist_ok=True)
    path = Path(config.teacher) / "teacher.safetensors"
    save_file({"logits": torch.from_numpy(logits.astype(np.float32))}, path, of)


def taught_by(samples: list[Sample], config: Config) -> Taught:
    return Taught(samples, fingerprints(samples), config, 32)


def drawn(taught: Source, config: Config, epochs: int) -> list[tuple[np.ndarray, int]]:
    """The pictures and row numbers of some epochs."""
    found = []
    for epoch in range(epochs):
        for pixels, rows in taught.drawn(config, epoch):
            found += zip(pixels.permute(0, 2, 3, 1).numpy(), rows.tolist(), strict=True)
    return found


def test_a_target_is_half_the_label_and_half_what_the_teacher_says(samples: list[Sample], config: Config) -> None:
    logits = np.random.default_rng(0).normal(0, 3, (2, COUNT))
    teach(config, logits)
    got = taught_by(samples, config).labels_of(torch.arange(2 * COUNT))
    labels = np.array([s.label for s in samples])
    wanted = (labels + 1 / (1 + np.exp(-logits))) / 2
    assert got.numpy() == pytest.approx(wanted.flatten(), abs=1e-6)


@pytest.mark.parametrize("versions", [2, 3])
def test_all_versions_are_drawn_but_for_what_the_teacher_saw_no_face_in(
    samples: list[Sample], config: Config, versions: int
) -> None:
    logits = np.zeros((versions, COUNT))
    logits[:, 2] = logits[1, 5] = np.nan
    teach(config, logits)
    taught = taught_by(samples, config)
    rows = [row for _, row in drawn(taught, config, 30)]
    assert len(rows) == 30 * COUNT
    assert set(rows) == set(range(versions * COUNT)) - {2, COUNT + 2, COUNT + 5, 2 * COUNT + 2}
    assert taught.labels_of(torch.arange(versions * COUNT)).isfinite().all()


def test_versions_the_teacher_has_not_judged_have_the_label_for_a_target(samples: list[Sample], config: Config) -> None:
    config = replace(config, views=40)
    logits = np.full((2, COUNT), 2.0)
    logits[0, 2] = logits[1, 2] = np.nan
    teach(config, logits)
    taught = taught_by(samples, config)
    labels = torch.tensor([float(s.label) for s in samples])
    assert torch.equal(taught.labels_of(torch.arange(2 * COUNT, 40 * COUNT)), labels.repeat(38))
    versions, numbers = np.divmod([row for _, row in drawn(taught, config, 60)], COUNT)
    assert np.mean(versions == 0) == pytest.approx(1 / 3, abs=0.07), "as they are"
    assert set(versions) == set(range(40))
    assert set(numbers) == set(range(COUNT)) - {2}, "but for the one that shows no face"


def test_a_part_of_a_picture_is_drawn_and_the_whole_judged(samples: list[Sample], config: Config) -> None:
    config = replace(config, input_size=64, part=32, degradations=0.0)
    teach(config, np.zeros((2, COUNT)))
    taught, plain = Taught(samples, fingerprints(samples), config, 64), Source(samples, config.balance, 64)
    for source, count in ((taught, 10), (plain, 10)):
        places = set()
        for pixels, row in drawn(source, config, count):
            whole = network_input(read_face(samples[row % COUNT].path, config.framing).pixels, 64, 0.0, ())
            found = [
                (mirrored, *place)
                for mirrored in (False, True)
                for place in np.ndindex(33, 33)
                if np.array_equal(pixels, whole[:, :: -1 if mirrored else 1][place[0] :, place[1] :][:32, :32])
            ]
            assert len(found) == 1
            places.add(found[0])
        assert len({place[1:] for place in places}) > 40
    assert next(iter(plain.in_order(config)))[0].shape[1:] == (3, 64, 64), "validation is on whole pictures"


@pytest.mark.parametrize(
    "settings", [{"freeze": True}, {"part": 64}, {"network": "notebook-small"}, {"network": "native"}]
)
def test_a_part_is_refused_where_there_is_none(
    samples: list[Sample], config: Config, settings: dict[str, Any], tmp_path: Path
) -> None:
    config = replace(config, teacher="", pretrained=False, **{"part": 32} | settings)
    with pytest.raises(ConfigError, match="part needs a network that takes pictures of any size"):
        train(tmp_path / "data", config, tmp_path / "run")


def test_classes_are_drawn_the_same(samples: list[Sample], config: Config) -> None:
    uneven = [s for s in samples if s.label == 1] + [s for s in samples if s.label == 0][:1]
    teach(config, np.zeros((2, len(uneven))))
    rows = [row % len(uneven) for _, row in drawn(taught_by(uneven, config), config, 40)]
    assert np.mean([uneven[row].label for row in rows]) == pytest.approx(0.5, abs=0.1)


def test_an_epoch_repeats_itself_and_no_other(samples: list[Sample], config: Config) -> None:
    teach(config, np.zeros((2, COUNT)))
    taught = taught_by(samples, config)
    (first, rows), (again, same_rows) = (next(iter(taught.drawn(config, 3))) for _ in range(2))
    assert torch.equal(first, again)
    assert torch.equal(rows, same_rows)
    assert not torch.equal(rows, next(iter(taught.drawn(config, 4)))[1])


@pytest.mark.parametrize("degradations", [0.0, 1.0])
def test_the_pictures_are_those_the_teacher_has_judged(
    samples: list[Sample], config: Config, degradations: float
) -> None:
    """The cached features that a teacher's logits are made of, against what the pupil is given, mirrored or not."""
    config = replace(config, degradations=degradations)
    teach(config, np.zeros((5, COUNT)))
    seen = cached_views(Raw(), samples, fingerprints(samples), config, range(5))
    judged = np.concatenate(seen).reshape(5 * COUNT, 3, 32, 32).transpose(0, 2, 3, 1).astype(np.float32) * 255
    ways = set()
    for pixels, row in drawn(taught_by(samples, config), config, 12):
        version, number = divmod(row, COUNT)
        crop = read_face(samples[number].path, config.framing).pixels
        strength, seed = degradations if version else 0.0, (config.seed, version, number)
        wanted = network_input(crop, 32, strength, seed, FIRST.get(version))
        assert np.abs(judged[row] - wanted).max() < 0.2  # features are kept in half precision
        mirrored = not np.array_equal(pixels, wanted)
        assert np.array_equal(pixels[:, ::-1] if mirrored else pixels, wanted)
        ways.add((version, mirrored))
    assert len(ways) == 10
    assert np.array_equal(seen[0], seen[1]) is (degradations == 0)


def test_features_of_other_code_are_not_taken_for_these(
    samples: list[Sample], config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Other blocks of one trunk have as many features, and the weights are the same."""
    monkeypatch.syspath_prepend(str(tmp_path))
    code = "from test_taught import Raw\nclass Trunk(Raw):\n def features(self, x): return super().features(x){}\n"
    tables = []
    for name, change in {"first_blocks": "", "other_blocks": " / 2"}.items():
        (tmp_path / f"{name}.py").write_text(code.format(change))
        trunk = importlib.import_module(name).Trunk()
        tables.append(cached_views(trunk, samples, fingerprints(samples), config, [0])[0])
    assert np.array_equal(tables[0] / 2, tables[1])
    assert tables[0].any()


@pytest.mark.parametrize("shape", [(2, COUNT + 1), (2, COUNT - 1), (1, COUNT), (2 * COUNT,)])
def test_a_teacher_of_other_pictures_is_refused(samples: list[Sample], config: Config, shape: tuple[int, ...]) -> None:
    teach(config, np.zeros(shape))
    with pytest.raises(DataError, match="other pictures"):
        taught_by(samples, config)


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"seed": 6}, "other seed;"),
        ({"framing": "face", "degradations": 0.5}, "other framing and degradations;"),
        ({}, "other pictures;"),
    ],
)
def test_a_teacher_of_other_versions_is_refused(
    samples: list[Sample], config: Config, changed: dict[str, Any], says: str
) -> None:
    teach(config, np.zeros((2, COUNT)), of_versions(fingerprints(samples), config))
    assert taught_by(samples, config).draws == COUNT
    with pytest.raises(DataError, match=says):
        taught_by(samples if changed else samples[::-1], replace(config, **changed))


def test_what_is_no_teacher_is_refused(samples: list[Sample], config: Config) -> None:
    path = Path(config.teacher) / "teacher.safetensors"
    with pytest.raises(DataError, match="realface fuse"):
        taught_by(samples, config)
    path.parent.mkdir()
    for content in (b"", b"\x80\x04pickle"):
        path.write_bytes(content)
        with pytest.raises(DataError, match="realface fuse"):
            taught_by(samples, config)
    save_file({"other": torch.zeros(2, COUNT)}, path)
    with pytest.raises(DataError, match="realface fuse"):
        taught_by(samples, config)


def test_only_training_is_taught(
    samples: list[Sample], config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tasks: list[Task] = []

    def stopped(task: Task, run: Path, *, resume: bool) -> None:
        tasks.append(task)
        raise KeyboardInterrupt

    monkeypatch.setattr("realface.training.train.fit", stopped)
    teach(config, np.full((2, COUNT), -30.0))
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "data", config, tmp_path / "run")
    (task,) = tasks
    taught = sorted(task.train_source.labels_of(torch.arange(COUNT)).tolist())
    assert taught == pytest.approx([0.0] * 4 + [0.5] * 4, abs=1e-6)
    assert sorted(task.valid_source.labels_of(torch.arange(4)).tolist()) == [0, 0, 1, 1]


def test_a_teacher_is_not_learned_from_with_a_frozen_trunk_or_faces_it_has_not_judged(
    samples: list[Sample], config: Config, tmp_path: Path
) -> None:
    teach(config, np.zeros((2, COUNT)))
    with pytest.raises(ConfigError, match="freeze"):
        train(tmp_path / "data", replace(config, freeze=True), tmp_path / "run")
    with pytest.raises(ConfigError, match="no teacher has judged"):
        train(tmp_path / "data", replace(config, network="native"), tmp_path / "run")
    with pytest.raises(ConfigError, match="has not judged the faces in pairs"):
        train(tmp_path / "data", replace(config, pairs="pairs"), tmp_path / "run")
    assert not (tmp_path / "run" / "config.toml").exists()


# --- Weights to start from ------------------------------------------------------------------------------------------


class Wider(Tiny):
    """The same layers, one of them wider."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk = nn.Conv2d(3, 5, 1)
        self.head = nn.Sequential(nn.Dropout(0.1), nn.Linear(5, 1))


class Deeper(Tiny):
    """The same layers and one more."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk.add_module("more", nn.Conv2d(4, 4, 1))


class Headless(Raw):
    """No layer at all."""


def keep(network: nn.Module, run: Path, only: str = "") -> Path:
    """The best checkpoint of a run, of the layers whose names begin with `only`."""
    state = {f"network.{name}": value for name, value in network.state_dict().items() if name.startswith(only)}
    SafeCheckpoints().save_checkpoint({"state_dict": state}, run / "checkpoints" / "best.safetensors")
    return run


def test_all_weights_of_a_run_are_taken(tmp_path: Path) -> None:
    trained, fresh = Tiny(), Tiny()
    load_weights(fresh, keep(trained, tmp_path))
    for name, value in trained.state_dict().items():
        assert torch.equal(fresh.state_dict()[name], value)


def test_a_trunk_that_the_run_did_not_keep_stays(tmp_path: Path) -> None:
    trained, fresh = Tiny(), Tiny()
    trunk = fresh.trunk.weight.clone()
    load_weights(fresh, keep(trained, tmp_path, "head."))
    assert torch.equal(fresh.head[1].weight, trained.head[1].weight)
    assert torch.equal(fresh.trunk.weight, trunk)


@pytest.mark.parametrize(
    ("stored", "network"), [(Tiny, Wider), (Wider, Tiny), (Deeper, Tiny), (Headless, Tiny), (Tiny, Headless)]
)
def test_weights_of_other_layers_are_refused(stored: type[Network], network: type[Network], tmp_path: Path) -> None:
    run = keep(stored(), tmp_path)
    with pytest.raises(DataError, match="weights of another network"):
        load_weights(network(), run)


def test_a_run_without_weights_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="not a checkpoint"):
        load_weights(Tiny(), tmp_path)


def test_a_run_starts_from_the_weights_of_another(samples: list[Sample], config: Config, tmp_path: Path) -> None:
    trained = Tiny().eval()
    with torch.no_grad():
        for parameter, value in zip(trained.parameters(), (1.0, 0.0, 1.0, -6.0), strict=True):
            parameter.fill_(value)  # 4 (red + green + blue) - 6: a bright picture is a fake
    teach(config, np.zeros((2, COUNT)))
    old = keep(trained, tmp_path / "old")
    config = replace(config, start=str(old), learning_rate=1e-12)
    for before, now in (({"start": "older"}, {}), ({"pretrained": True, "start": ""}, {"pretrained": False})):
        (old / "config.toml").write_text(to_toml(replace(config, freeze=True, **before)))
        with pytest.raises(DataError, match="holds a head only"):
            train(tmp_path / "data", replace(config, **now), tmp_path / "run")
    (old / "config.toml").write_text(to_toml(config))
    made = train(tmp_path / "data", config, tmp_path / "run")
    assert made is not None
    crop = read_face(samples[0].path, config.framing).pixels
    logit = 4 * network_input(crop, 32, 0.0, ()).mean((0, 1)).sum() / 255 - 6
    assert Detector.load(made).logits([crop])[0] == pytest.approx(logit, abs=1e-3)
