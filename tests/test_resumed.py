"""A run goes on with what it was begun with, or a sentence says what is other."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from realface.errors import DataError
from realface.training.config import make_config
from realface.training.train import LEARNED, train

NAMES = [f"{split}-{label}-{i}" for split in ("train", "valid") for label in ("real", "fake") for i in range(3)]


@pytest.fixture
def resume(tiny: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Begin a run, or go on with it, up to where it would look at pictures."""

    def stopped(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    def call(**settings: str) -> None:
        with pytest.raises(KeyboardInterrupt):
            train(tmp_path / "data.csv", make_config({"network": "tiny"} | settings), tmp_path / "run", resume=True)

    monkeypatch.setattr("realface.training.train.fit", stopped)
    for name in NAMES:
        (tmp_path / name).write_text(name)
    name_sources(tmp_path, "ab")
    return call


def name_sources(folder: Path, sources: str) -> None:
    rows = [f"{name},{name.split('-')[1]},{sources[i % 2]},{name.split('-')[0]}" for i, name in enumerate(NAMES)]
    (folder / "data.csv").write_text("\n".join(["path,label,source,split", *rows]))


def test_other_pictures_and_sources_and_another_order(resume: Callable[..., None], tmp_path: Path) -> None:
    resume()
    resume()
    name_sources(tmp_path, "ac")
    with pytest.raises(DataError, match="begun with other pictures; choose the same"):
        resume()
    name_sources(tmp_path, "ab")
    resume()
    (tmp_path / NAMES[0]).write_text(NAMES[2])
    (tmp_path / NAMES[2]).write_text(NAMES[0])
    with pytest.raises(DataError, match="begun with other pictures; choose the same"):
        resume()
    (tmp_path / "run" / LEARNED).write_text("0" * 64)  # as early runs have it
    resume()


@pytest.mark.parametrize("setting", ["pairs", "teacher"])
def test_other_pairs_and_another_teacher(setting: str, resume: Callable[..., None], tmp_path: Path) -> None:
    def learn_from(level: float) -> None:
        (other / "0.stylegan.png").write_text(str(level))
        save_file({"logits": torch.full((2, 6), level)}, other / "teacher.safetensors")

    other = tmp_path / "other"
    other.mkdir()
    (other / "manifest.csv").write_text("path,label,split\n0.stylegan.png,fake,train")
    learn_from(1.0)
    for _ in range(2):
        resume(**{setting: str(other)})
    learn_from(2.0)
    with pytest.raises(DataError, match=f"begun with other {setting}; choose the same"):
        resume(**{setting: str(other)})
