"""The comparison of five networks: the same time for each, one row each, and nothing measured twice."""

import csv
import os
import subprocess
import sys
from pathlib import Path

import figures
import five_networks
import numpy as np
import pytest
from PIL import Image
from tiny import Tiny

from realface.networks import NETWORKS


@pytest.fixture
def faces(tmp_path: Path) -> Path:
    """Dark "real" and bright "fake" pictures of two sources, in a manifest."""
    rng = np.random.default_rng(0)
    rows = ["path,label,source,split"]
    for split, count in {"train": 16, "valid": 8, "test": 8}.items():
        for i in range(count):
            label, level = (("real", 70), ("fake", 180))[i % 2]
            name = f"{split}{i}.png"
            Image.fromarray(rng.normal(level, 20, (40, 40, 3)).clip(0, 255).astype(np.uint8)).save(tmp_path / name)
            rows.append(f"{name},{label},{('140k-a', 'other')[i // 4 % 2]},{split}")
    (tmp_path / "manifest.csv").write_text("\n".join(rows))
    return tmp_path


@pytest.fixture
def clocked(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A clock on which every look takes a second, and the learning rate at each batch."""
    clock = iter(range(1_000_000))
    monkeypatch.setattr(five_networks, "monotonic", lambda: float(next(clock)))
    rates: list[float] = []
    begin = five_networks.Timed.on_train_batch_start

    def watched(task: five_networks.Timed, *batch: object) -> None:
        begin(task, *batch)
        rates.append(task.trainer.optimizers[0].param_groups[0]["lr"])

    monkeypatch.setattr(five_networks.Timed, "on_train_batch_start", watched)
    return rates


def test_each_network_gets_its_time_and_a_row_and_is_kept(
    monkeypatch: pytest.MonkeyPatch, tiny: None, clocked: list[float], faces: Path, tmp_path: Path
) -> None:
    out, arguments = tmp_path / "five-networks.csv", (["tiny"], tmp_path / "runs")
    (row,) = five_networks.compare(faces, 1, *arguments, out)
    assert row["network"] == "tiny"
    assert row["auc"] == row["accuracy"] == row["auc_140k"] == row["robust_auc"] == 1
    assert row["faces_per_second"] > 0
    assert (row["train"], row["valid"], row["test"]) == (16, 8, 8)
    assert (row["parameters"], row["input_size"]) == (21, 32)
    assert len(clocked) in (30, 31)  # the clock is looked at twice for each batch
    assert row["epochs"] == pytest.approx(len(clocked) * Tiny.defaults["batch_size"] / 16, abs=0.1)
    assert clocked == sorted(clocked, reverse=True)
    rate = Tiny.defaults["learning_rate"]
    assert clocked[0] > 0.95 * rate > 0.05 * rate > clocked[-1]

    def never(*_: object) -> None:
        raise AssertionError("a network that was measured is trained again")

    with monkeypatch.context() as patched:
        patched.setattr(five_networks, "trained", never)
        with out.open(newline="") as file:
            assert five_networks.compare(faces, 1, *arguments, out) == list(csv.DictReader(file))
        with pytest.raises(AssertionError, match="trained again"):  # another time is another comparison
            five_networks.compare(faces, 2, *arguments, out)

    monkeypatch.setattr(figures, "RESULTS", tmp_path)
    table = figures.five_networks()
    assert "| `tiny` | 1.0000, 100.0 % | 1.0000 | 1.0000, 100.0 % | 0.00 M |" in table
    assert "1 minutes each" in table
    out.unlink()
    assert figures.five_networks().startswith("Not measured yet")


def test_how_threads_wait_is_said_before_pytorch_is_loaded() -> None:
    code = """
import os, sys
class Watch:
    def find_spec(self, name, *_):
        if name == "torch":
            sys.exit(os.environ.get("OMP_WAIT_POLICY"))
sys.meta_path.insert(0, Watch())
import five_networks"""
    clean = {key: value for key, value in os.environ.items() if key != "OMP_WAIT_POLICY"}
    env = {**clean, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", code], env=env, stderr=subprocess.PIPE, text=True)
    assert (done.returncode, done.stderr.split()) == (1, ["PASSIVE"])


def test_the_five_are_in_the_registry_and_the_cells_in_the_grid() -> None:
    assert len(set(five_networks.NAMES)) == 5
    assert set(five_networks.NAMES) <= NETWORKS.keys()
    assert {"notebook-small", "notebook-wide"} < set(five_networks.NAMES)
    assert set(five_networks.CELLS) <= five_networks.GRID.keys()
