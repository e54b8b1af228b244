"""Only what was trained alike, on the data that is named, is fused."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from test_fuse import WHOLE, trained, write_run
from torch import nn

from realface.data.layouts import read_splits
from realface.networks import build
from realface.training import fuse as fuse_module
from realface.training import held_out
from realface.training.config import make_config
from realface.training.fuse import Views
from realface.training.train import LEARNED, in_order, lines_of, of_sources

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def fuse(run: Run, tmp_path: Path, small_trunks: None, monkeypatch: pytest.MonkeyPatch) -> Callable[[], str]:
    """What the command says of two runs, with a word for that it has begun to work."""

    def begun(*_: object, **__: object) -> None:
        assert [path.name for path in (tmp_path / "out").iterdir()] == ["lock"]
        shutil.rmtree(tmp_path / "out")
        raise KeyboardInterrupt

    def call() -> str:
        options = ("--whole", tmp_path / "whole", "--native", tmp_path / "native", "--out", tmp_path / "out")
        status, _, err = run("fuse", tmp_path / "data.csv", *options)
        assert not (tmp_path / "out").exists()
        return "begun" if status == 130 else err

    monkeypatch.setattr(held_out, "read", begun)
    head = {key: value for key, value in build("clip-b16", seed=0).state_dict().items() if key.startswith("head.")}
    write_run(tmp_path / "whole", WHOLE, head)
    write_run(tmp_path / "native", NATIVE, trained(build("native", seed=0)).state_dict())
    write_data(tmp_path)
    return call


NATIVE = {"network": "native", "sources": "a"}


def write_data(folder: Path, more: str = "") -> None:
    rows = [
        f"{split}-{label}-{source},{label},{source},{split}"
        for split in ("train", "valid")
        for label in ("real", "fake")
        for source in "ab"
    ]
    (folder / "data.csv").write_text("\n".join(["path,label,source,split", *rows, more]))


def test_runs_of_other_pictures_are_refused(fuse: Callable[[], str], tmp_path: Path) -> None:
    assert fuse() == "begun", "early runs do not say what they learned from"
    for name, settings in {"whole": WHOLE, "native": NATIVE}.items():
        splits = of_sources(read_splits(tmp_path / "data.csv"), make_config(settings))
        digest = in_order(splits["train"] + splits["valid"], lines_of(splits))
        (tmp_path / name / LEARNED).write_text(f"{digest}  pictures\n{'0' * 64}  pairs\n")
    assert fuse() == "begun"
    write_data(tmp_path, "more,real,b,train")
    assert "whole has learned from other pictures than those of" in fuse()
    (tmp_path / "whole" / LEARNED).unlink()
    assert fuse() == "begun", "the native view has not learned from that source"
    write_data(tmp_path, "more,real,a,train")
    assert "native has learned from other pictures than those of" in fuse()


def test_views_of_other_framings_are_refused(fuse: Callable[[], str], tmp_path: Path) -> None:
    config = tmp_path / "native" / "config.toml"
    config.write_text(config.read_text().replace("centre-square", "face"))
    assert "native has framing=face and" in fuse()


def test_a_trunk_that_may_know_all_sources_is_refused(fuse: Callable[[], str], tmp_path: Path) -> None:
    config = tmp_path / "whole" / "config.toml"
    config.write_text(config.read_text().replace('start = ""', 'start = "elsewhere"'))
    assert "train it anew with freeze=true and no start" in fuse()


def test_a_view_is_what_was_trained(fuse: Callable[[], str], tmp_path: Path) -> None:
    config = tmp_path / "whole" / "config.toml"
    config.write_text("dropout = 0.125\n" + config.read_text())
    _, network = fuse_module.load_views(config.parent, tmp_path / "native")
    assert {layer.p for layer in network.whole.modules() if isinstance(layer, nn.Dropout)} == {0.125}


def test_a_fusion_that_was_interrupted_can_be_begun_again(
    fuse: Callable[[], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = held_out.read
    for name in ("read", "folds"):
        monkeypatch.setattr(held_out, name, lambda *_: {})
    monkeypatch.setattr(fuse_module, "both_views", lambda *_: {"valid": Views([], [], [], [], [])})
    monkeypatch.setattr(fuse_module, "fit_fusion", lambda *_: (np.ones(2), 0.0))
    monkeypatch.setattr(fuse_module, "_scores", lambda *_: None)
    monkeypatch.setattr(fuse_module, "finish", begun)
    for _ in range(2):
        assert fuse() == "begun", "it had written something by then"
