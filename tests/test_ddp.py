"""Training on two processes: what one process would have come to, and an error where one of them dies."""

import csv
import os
import signal
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from tiny import Tiny

from realface import Detector
from realface.errors import ConfigError, DataError, RealfaceError
from realface.networks import NETWORKS
from realface.training import processes
from realface.training.checkpoint import SafeCheckpoints
from realface.training.config import make_config
from realface.training.fit import Task
from realface.training.processes import launch, place
from realface.training.train import train

CHECKPOINT = Path("run", "checkpoints", "best.safetensors")
SETTINGS: dict[str, Any] = {"network": "tiny", "dropout": 0.0, "batch_size": 7}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Dark "real" and bright "fake" pictures, of which some cannot be read, so that no two shares are alike."""
    folder, rng = tmp_path_factory.mktemp("faces"), np.random.default_rng(1)
    rows = ["path,label,split"]
    for split, count in {"train": 34, "valid": 16, "test": 6}.items():
        for i in range(count):
            level, name = (70, 180)[i % 2], f"{split}{i}.png"
            Image.fromarray(rng.normal(level, 90, (40, 36, 3)).clip(0, 255).astype(np.uint8)).save(folder / name)
            if i in (4, 5):
                (folder / name).write_bytes(b"no picture")
            rows.append(f"{name},{('real', 'fake')[i % 2]},{split}")
    (folder / "manifest.csv").write_text("\n".join(rows))
    return folder


def train_tiny(data: Path, out: Path, resume: bool = False, detector: bool = False, **settings: Any) -> Path | None:
    """What each process does."""
    NETWORKS["tiny"] = Tiny
    os.environ["REALFACE_CACHE"] = str(out / "cache")
    return train(data, make_config(SETTINGS | settings), out / "run", resume=resume, detector=detector)


def train_both(data: Path, out: Path) -> tuple[int, int, int]:
    train_tiny(data, out / "whole", detector=place()[1] == 2)
    train_tiny(data, out / "frozen", freeze=True)
    return place()


def die(data: Path, out: Path) -> None:
    """The second of the processes is killed in the second epoch."""

    def killed(self: Task, *_: Any) -> None:
        if self.global_rank and self.current_epoch == 1:
            os.kill(os.getpid(), signal.SIGKILL)

    Task.on_train_batch_start = killed  # type: ignore[method-assign]
    train_tiny(data, out, batch_size=31)


def refuse() -> bool:
    if place()[0]:
        raise DataError("its disk: is not there")
    return True


def metrics(out: Path) -> list[list[float]]:
    with (out / "run" / "metrics.csv").open(newline="") as file:
        return [[float(cell) for cell in row[:-1]] for row in list(csv.reader(file))[1:]]


def test_two_processes_come_to_what_one_comes_to(tiny: None, data: Path, tmp_path: Path) -> None:
    assert launch(partial(train_both, data, tmp_path / "two"), 2) == (0, 2, 1)
    assert train_both(data, tmp_path / "one") == (0, 1, 1)
    for name in ("whole", "frozen"):
        one, two = (tmp_path / count / name for count in ("one", "two"))
        assert np.array(metrics(two)) == pytest.approx(np.array(metrics(one)), abs=2e-5)
        assert [row[0] for row in metrics(one)] == [0, 1, 2, 3]
        weights = [SafeCheckpoints().load_checkpoint(out / CHECKPOINT)["state_dict"] for out in (one, two)]
        assert weights[0].keys() == weights[1].keys()
        assert all(torch.allclose(value, weights[1][key], atol=1e-4) for key, value in weights[0].items())
    assert Detector.load(tmp_path / "two" / "whole" / "run" / "detector.onnx").card.data["train"] == 34


def test_a_process_that_dies_ends_the_run_and_another_goes_on_with_it(tiny: None, data: Path, tmp_path: Path) -> None:
    with pytest.raises(RealfaceError, match=r"process 1 ended before the training did .*SIGKILL"):
        launch(partial(die, data, tmp_path), 2)
    assert len(metrics(tmp_path)) == 1
    train_tiny(data, tmp_path, resume=True, batch_size=31)
    assert [row[0] for row in metrics(tmp_path)] == [0, 1, 2, 3]


def test_what_a_process_says_is_wrong_is_said() -> None:
    with pytest.raises(DataError, match=r"^its disk: is not there$"):
        launch(refuse, 2)


def test_ctrl_c_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    from torch.distributed.elastic.multiprocessing import SignalException

    def interrupted(*_: Any) -> None:
        raise SignalException("Ctrl-C", signal.SIGINT)

    monkeypatch.setattr("torch.distributed.launcher.api.elastic_launch", lambda *_: interrupted)
    with pytest.raises(KeyboardInterrupt):
        launch(refuse, 2)


def test_a_process_that_is_interrupted_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted() -> None:
        raise KeyboardInterrupt

    for name, value in {"MASTER_ADDR": "localhost", "MASTER_PORT": "1", "OMP_NUM_THREADS": "1"}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit) as ended:
        processes._process(interrupted)
    assert ended.value.code == 130


def test_machines_must_be_told_where_to_meet() -> None:
    with pytest.raises(ConfigError, match="--rendezvous"):
        launch(refuse, 2, nodes=2)
