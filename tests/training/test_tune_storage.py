"""A study whose database goes away while it is searched."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from test_tune import Stub, faces, hasty_database, smooth, stub, trials, two_epochs  # noqa: F401

from realface.errors import ConfigError, DataError
from realface.training.config import Config, make_config
from realface.training.tune import tune


def test_a_storage_that_is_gone_is_one_sentence_and_no_loss(
    faces: Path,  # noqa: F811
    tmp_path: Path,
    stub: Callable[[Stub], None],  # noqa: F811
) -> None:
    out, config, seen = tmp_path / "out", make_config({"network": "tiny"}), 0

    def rename(old: str, new: str) -> None:
        with closing(sqlite3.connect(out / "study.db")) as database:
            database.execute(f"ALTER TABLE {old} RENAME TO {new}")

    def gone(config: Config, fold: int) -> float:
        nonlocal seen
        seen += 1
        if seen == 4:
            rename("trials", "gone")
        return smooth(config, fold)

    stub(gone)
    with pytest.raises(ConfigError, match=r"does not answer any more: .*no such table: trials; .* --resume goes on$"):
        tune(faces, config, out, trials=3, folds=2)
    rename("gone", "trials")
    stub(smooth)
    tune(faces, config, out, trials=3, folds=2, resume=True)
    assert [row["state"] for row in trials(out)].count("complete") == 3


def test_a_search_for_another_network_is_not_begun_over_the_results_of_one(
    faces: Path,  # noqa: F811
    tmp_path: Path,
    stub: Callable[[Stub], None],  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As where --resume is given, and --network forgotten. The data, which takes long, is not read before."""
    stub(smooth)
    tune(faces, make_config({"network": "tiny"}), tmp_path, trials=1, folds=2)
    found = (tmp_path / "best.toml").read_text()
    monkeypatch.setattr("realface.training.tune.Unseen", lambda *_: pytest.fail("the data is read"))
    with pytest.raises(DataError, match=r"no study 'notebook-small' to go on with; name its --network"):
        tune(faces, make_config({"network": "notebook-small"}), tmp_path, trials=1, folds=2, resume=True)
    with pytest.raises(ConfigError, match=r"begun with other folds, seed; choose the same"):
        tune(faces, make_config({"network": "tiny", "seed": 7}), tmp_path, trials=1, folds=3, resume=True)
    assert (tmp_path / "best.toml").read_text() == found


def test_of_trials_that_are_alike_no_setting_matters(
    faces: Path,  # noqa: F811
    tmp_path: Path,
    stub: Callable[[Stub], None],  # noqa: F811
) -> None:
    stub(lambda config, fold: 1.0)
    assert tune(faces, make_config({"network": "tiny"}), tmp_path, trials=5, folds=2)
    assert (tmp_path / "history.png").exists()
    assert not (tmp_path / "importance.png").exists()


@pytest.mark.parametrize("name", ["what?", "a{b}", "a%20b"])
def test_a_name_that_would_be_another_in_a_url_is_refused(faces: Path, tmp_path: Path, name: str) -> None:  # noqa: F811
    with pytest.raises(ConfigError, match="choose an --out without"):
        tune(faces, make_config({"network": "tiny"}), tmp_path / name, trials=1)
    assert not (tmp_path / name).exists()
