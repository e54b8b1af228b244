"""Tuning: sources left out, trials counted, resumed, shared and stopped early, and settings that `train` takes."""

import csv
import pickle
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
import pytorch_lightning as pl
from PIL import Image
from sqlalchemy import Engine, event
from tiny import Tiny

from realface.data import Sample
from realface.errors import ConfigError, DataError
from realface.networks import NETWORKS
from realface.training import fit as fit_module
from realface.training import held_out, tune_results
from realface.training.config import Config, make_config, read_toml
from realface.training.held_out import Unseen, deal
from realface.training.train import train
from realface.training.tune import _BelowMedian, space, tune
from realface.training.tune_results import Tuned

every_network = pytest.mark.parametrize("name", NETWORKS)


@pytest.fixture(autouse=True)
def two_epochs(tiny: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half of what the tiny network trains for elsewhere."""
    monkeypatch.setitem(Tiny.defaults, "epochs", 2)


@pytest.fixture(autouse=True)
def hasty_database() -> Iterator[None]:
    """SQLite that does not wait for the disk."""

    def hasten(connection: sqlite3.Connection, _: object) -> None:
        connection.execute("PRAGMA synchronous = OFF")

    event.listen(Engine, "connect", hasten)
    yield
    event.remove(Engine, "connect", hasten)


@pytest.fixture
def faces(tmp_path: Path) -> Path:
    """Dark real and bright fake pictures of five sources, and a damaged file."""
    rng = np.random.default_rng(1)
    rows = [("path", "label", "source", "split")]
    for source, labels in {"a": "rf", "b": "r", "c": "f", "d": "rf", "e": "r"}.items():
        for label, split, count in ((y, s, n) for y in labels for s, n in (("train", 5), ("valid", 2), ("test", 1))):
            for i in range(count):
                path = Path("data") / f"{source}-{label}-{split}-{i}.png"
                (tmp_path / "data").mkdir(exist_ok=True)
                level = 70 if label == "r" else 180
                pixels = rng.normal(level, 60, (36, 34, 3)).clip(0, 255).astype(np.uint8)
                Image.fromarray(pixels).save(tmp_path / path)
                rows.append((path.name, "real" if label == "r" else "fake", source, split))
    (tmp_path / "data" / "damaged.jpg").write_bytes(b"\xff\xd8 not really")
    rows.append(("damaged.jpg", "real", "a", "train"))
    with (tmp_path / "data" / "manifest.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    return tmp_path / "data"


Stub = Callable[[Config, int], float]


@pytest.fixture
def stub(monkeypatch: pytest.MonkeyPatch) -> Callable[[Stub], None]:
    """Put a function of settings and fold in the place of training, and leave away the plot that takes longest."""
    monkeypatch.setattr(tune_results, "_slices_plot", lambda *_: None)
    monkeypatch.setattr(tune_results, "MEANINGFUL", 4)
    return lambda auc: monkeypatch.setattr(Unseen, "auc", lambda self, config, fold: auc(config, fold))


def smooth(config: Config, fold: int) -> float:
    """Best at a small learning rate and batch."""
    return 0.9 - abs(np.log10(config.learning_rate) + 2) / 10 - config.batch_size / 1000 - fold / 10


def trials(out: Path) -> list[dict[str, str]]:
    """The rows of trials.csv, without the time they took."""
    with (out / "trials.csv").open(newline="") as file:
        return [{k: v for k, v in row.items() if k != "seconds"} for row in csv.DictReader(file)]


@pytest.mark.parametrize("freeze", [False, True])
def test_a_search_finds_settings_that_train_takes(faces: Path, tmp_path: Path, freeze: bool) -> None:
    config, out = make_config({"network": "tiny", "freeze": freeze, "epochs": 3}), tmp_path / "out"
    found = tune(faces, config, out, trials=2, folds=2, epochs=12 if freeze else 2)
    assert found is not None
    rows = trials(out)
    assert [row["state"] for row in rows] == ["complete"] * 2
    assert len(rows[0]["auc_by_fold"].split()) == 2
    assert float(rows[0]["learning_rate"]) == 0.05
    assert rows[0]["dropout"] == ""
    assert ("degradations" in rows[0]) is not freeze
    assert found.value == max(float(row["auc"]) for row in rows) >= 0.5
    assert found.default == float(rows[0]["auc"])
    for plot in ("history.png", "slices.png"):
        with Image.open(out / plot) as image:
            assert image.width > 200
    best = make_config(read_toml(out / "best.toml"))
    assert best.epochs == 3
    if not freeze:
        assert train(faces, replace(best, input_size=64), tmp_path / "run", detector=False)


def test_what_is_judged_was_not_seen(faces: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    learned: list[Sample] = []
    judged: list[list[Sample]] = []

    class Seen(held_out.Source):
        def __init__(self, samples: list[Sample], *rest: Any) -> None:
            super().__init__(samples, *rest)
            learned.extend(samples)

    def auc(samples: list[Sample], logits: np.ndarray) -> float:
        assert len(logits) == len(samples)
        judged.append(list(samples))
        return 0.5

    monkeypatch.setattr(held_out, "Source", Seen)
    monkeypatch.setattr(held_out, "_auc", auc)
    config = make_config({"network": "tiny", "epochs": 1})
    data = Unseen(faces, config, 2)
    for fold, left_out in enumerate(data.folds):
        learned.clear()
        judged.clear()
        data.auc(config, fold)
        assert {s.source for s in learned} == set("abcde") - set(left_out)
        assert {s.split for s in learned} == {"train", "valid"}
        assert len(judged) == 2  # as they are, and after a random history
        for samples in judged:
            assert {s.source for s in samples} == set(left_out)
            assert {s.split for s in samples} == {"train", "valid"}
            assert "damaged.jpg" not in {s.path.name for s in samples}


def test_the_figure_of_a_trial_does_not_hang_on_what_it_degrades(faces: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    strengths: list[float] = []
    pictures = held_out.Pictures
    monkeypatch.setattr(held_out, "Pictures", lambda *a: strengths.append(a[3]) or pictures(*a))
    base = make_config({"network": "tiny", "epochs": 1, "degradations": 0.7})
    Unseen(faces, base, 2).auc(make_config({"network": "tiny", "epochs": 1, "degradations": 0.0}), 0)
    assert strengths == [0.0, 0.7]


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("folds", [2, 3, 5])
def test_every_fold_leaves_out_real_and_fake_sources(seed: int, folds: int) -> None:
    kinds = {"both1": (0, 1), "both2": (0, 1), "": (0, 1)}
    kinds |= {f"real{i}": (0,) for i in range(3 + seed)} | {f"fake{i}": (1,) for i in range(4)}
    samples = [Sample(Path("x"), label, source, "train") for source, labels in kinds.items() for label in labels]
    groups = deal(samples, folds, seed)
    assert sorted(source for group in groups for source in group) == sorted(set(kinds) - {""})
    for group in groups:
        assert {label for source in group for label in kinds[source]} == {0, 1}
    assert groups == deal(samples[::-1], folds, seed)


@pytest.mark.parametrize("sources", ["", "only"])
def test_one_source_is_too_few(faces: Path, tmp_path: Path, sources: str) -> None:
    manifest = faces / "manifest.csv"
    rows = [line.split(",") for line in manifest.read_text().splitlines()]
    manifest.write_text("\n".join(",".join([r[0], r[1], sources if i else r[2], r[3]]) for i, r in enumerate(rows)))
    with pytest.raises(DataError, match="a manifest that names 3 sources with real and 3 with fake pictures"):
        tune(faces, make_config({"network": "tiny"}), tmp_path / "out", trials=1)
    assert not (tmp_path / "out").exists()


def test_without_the_left_out_both_classes_must_remain(faces: Path, tmp_path: Path) -> None:
    manifest = faces / "manifest.csv"
    lines = manifest.read_text().splitlines(keepends=True)
    manifest.write_text("".join(line for line in lines if "-f-valid" not in line or line.startswith("c-")))
    with pytest.raises(DataError, match="valid split has not pictures of both classes"):
        tune(faces, make_config({"network": "tiny"}), tmp_path / "out", trials=1, folds=2)


def test_a_resumed_search_counts_and_draws_as_an_undisturbed_one(
    faces: Path, tmp_path: Path, stub: Callable[[Stub], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    stub(smooth)
    config = make_config({"network": "tiny"})
    whole = tune(faces, config, tmp_path / "whole", trials=12, folds=2)
    tune(faces, config, tmp_path / "parts", trials=5, folds=2)
    assert len(trials(tmp_path / "parts")) == 5
    with pytest.raises(DataError, match="no search to go on with"):
        tune(faces, config, tmp_path / "none", trials=1, folds=2, resume=True)
    with pytest.raises(DataError, match="--resume"):
        tune(faces, config, tmp_path / "parts", trials=12, folds=2)
    monkeypatch.setattr(pickle, "loads", lambda data: pytest.fail("something was unpickled"))
    parts = tune(faces, config, tmp_path / "parts", trials=12, folds=2, resume=True)
    assert trials(tmp_path / "parts") == trials(tmp_path / "whole")
    assert whole is not None
    assert parts is not None
    assert parts.settings == whole.settings
    assert (tmp_path / "whole" / "importance.png").exists()
    assert len({row["learning_rate"] for row in trials(tmp_path / "whole")}) == 12
    before = trials(tmp_path / "parts")
    assert tune(faces, config, tmp_path / "parts", trials=3, folds=2, resume=True) == parts
    assert trials(tmp_path / "parts") == before


def test_trials_that_fall_behind_are_stopped_early(faces: Path, tmp_path: Path, stub: Callable[[Stub], None]) -> None:
    judged: list[int] = []

    def auc(config: Config, fold: int) -> float:
        judged.append(fold)
        return smooth(config, fold)

    stub(auc)
    tune(faces, make_config({"network": "tiny"}), tmp_path / "out", trials=12)
    states = [row["state"] for row in trials(tmp_path / "out")]
    assert states[:4] == ["complete"] * 4
    assert states.count("pruned") >= 2
    assert len(judged) < 12 * 3


def test_a_good_first_fold_does_not_save_a_trial() -> None:
    study = optuna.create_study(direction="maximize")
    for last in (0.7, 0.7, 0.8, 0.8):
        study.add_trial(optuna.create_trial(value=last, intermediate_values={0: 0.9, 1: last}))

    def stopped(values: dict[int, float]) -> bool:
        running = optuna.create_trial(state=optuna.trial.TrialState.RUNNING, intermediate_values=values)
        return _BelowMedian().prune(study, running)

    assert stopped({0: 0.95, 1: 0.74})
    assert not stopped({0: 0.95, 1: 0.76})
    assert not stopped({})


def test_settings_that_diverge_are_a_failed_try_not_the_end(
    faces: Path, tmp_path: Path, stub: Callable[[Stub], None]
) -> None:
    stub(lambda config, fold: float("nan") if config.learning_rate == 0.05 else 0.8)
    found = tune(faces, make_config({"network": "tiny"}), tmp_path / "out", trials=3)
    assert found is not None
    assert found.default is None
    assert [row["state"] for row in trials(tmp_path / "out")] == ["pruned", "complete", "complete"]
    stub(lambda config, fold: float("nan"))
    with pytest.raises(ConfigError, match="diverged"):
        tune(faces, make_config({"network": "tiny"}), tmp_path / "other", trials=2)


def test_training_that_diverges_has_no_figure(faces: Path) -> None:
    config = make_config({"network": "tiny", "learning_rate": 1e30, "epochs": 1})
    assert np.isnan(Unseen(faces, config, 2).auc(config, 0))


def test_what_a_full_disk_ended_is_tried_again(faces: Path, tmp_path: Path, stub: Callable[[Stub], None]) -> None:
    def full(config: Config, fold: int) -> float:
        raise OSError(28, "No space left on device")

    out, config = tmp_path / "out", make_config({"network": "tiny"})
    stub(full)
    with pytest.raises(OSError, match="No space"):
        tune(faces, config, out, trials=2)
    stub(smooth)
    assert tune(faces, config, out, trials=2, resume=True).default is not None
    assert [row["state"] for row in trials(out)] == ["fail", "complete", "complete"]


def test_ctrl_c_ends_cleanly_and_its_settings_are_tried_again(
    run, faces: Path, tmp_path: Path, stub: Callable[[Stub], None]
) -> None:
    rates: list[float] = []

    def auc(config: Config, fold: int) -> float:
        rates.append(config.learning_rate)
        if len(rates) == 4:
            raise KeyboardInterrupt
        return smooth(config, fold)

    words = ["tune", faces, "--network", "tiny", "--trials", 3, "--folds", 2, "--out", tmp_path / "o"]
    stub(auc)
    status, _, err = run(*words)
    assert status == 130
    assert "--resume" in err
    assert "Traceback" not in err
    assert (tmp_path / "o" / "best.toml").exists()
    assert [row["state"] for row in trials(tmp_path / "o")] == ["complete", "fail", "waiting"]
    status, out, _ = run(*words, "--resume")
    assert status == 0
    assert "best of 3 trials" in out
    rows = trials(tmp_path / "o")
    assert [row["state"] for row in rows] == ["complete", "fail", "complete", "complete"]
    assert rows[1]["learning_rate"] == rows[2]["learning_rate"]
    assert rates[3] == rates[4] == float(rows[1]["learning_rate"])


def test_ctrl_c_while_a_network_trains(faces: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Interrupt(fit_module._Journal):
        def on_train_epoch_start(self, trainer: pl.Trainer, task: pl.LightningModule) -> None:
            raise KeyboardInterrupt

    monkeypatch.setattr(fit_module, "_Journal", Interrupt)
    with pytest.raises(KeyboardInterrupt):
        tune(faces, make_config({"network": "tiny"}), tmp_path / "out", trials=2)
    assert [row["state"] for row in trials(tmp_path / "out")] == ["fail", "waiting"]
    assert not (tmp_path / "out" / "best.toml").exists()


def test_a_killed_trial_is_found_and_tried_again(faces: Path, tmp_path: Path, stub: Callable[[Stub], None]) -> None:
    class Killed(BaseException):
        pass

    def auc(config: Config, fold: int) -> float:
        raise Killed

    stub(auc)
    config, out = make_config({"network": "tiny"}), tmp_path / "out"
    with pytest.raises(Killed):
        tune(faces, config, out, trials=2)
    with sqlite3.connect(out / "study.db") as database:
        assert database.execute("SELECT state FROM trials").fetchall() == [("RUNNING",)]
        database.execute("UPDATE trial_heartbeats SET heartbeat = datetime('now', '-1 day')")
    database.close()
    stub(smooth)
    found = tune(faces, config, out, trials=2, resume=True)
    assert found is not None
    assert [row["state"] for row in trials(out)] == ["fail", "complete", "complete"]
    assert float(trials(out)[1]["learning_rate"]) == config.learning_rate
    assert found.default is not None


def test_machines_share_a_study(faces: Path, tmp_path: Path, stub: Callable[[Stub], None]) -> None:
    stub(smooth)
    shared: dict[str, Any] = {"storage": f"sqlite:///{tmp_path / 'shared.db'}", "study_name": "ours"}
    config = make_config({"network": "tiny"})
    tune(faces, config, tmp_path / "one", trials=3, **shared)
    with pytest.raises(DataError, match="a study 'ours' already"):
        tune(faces, config, tmp_path / "two", trials=5, **shared)
    more_hands = make_config({"network": "tiny", "workers": 1, "licence": "ours", "max_bpcer": 0.02})
    found = tune(faces, more_hands, tmp_path / "two", trials=5, resume=True, **shared)
    assert isinstance(found, Tuned)
    assert len(trials(tmp_path / "two")) == 5
    assert trials(tmp_path / "two")[:3] == trials(tmp_path / "one")
    with pytest.raises(ConfigError, match="other epochs, folds; choose the same"):
        tune(faces, config, tmp_path / "two", trials=5, resume=True, folds=2, epochs=1, **shared)
    (faces / "damaged.jpg").write_bytes(b"changed")
    with pytest.raises(ConfigError, match="other data"):
        tune(faces, config, tmp_path / "two", trials=5, resume=True, **shared)


@pytest.mark.parametrize("url", ["nonsense", "redis://host/0", "sqlite:////no/such/folder/study.db", "nosuch://x/y"])
def test_a_storage_that_cannot_be_opened_is_one_sentence(faces: Path, tmp_path: Path, url: str) -> None:
    with pytest.raises(ConfigError, match="the storage cannot be opened") as error:
        tune(faces, make_config({"network": "tiny"}), tmp_path / "out", trials=1, storage=url)
    assert "\n" not in str(error.value)


@every_network
def test_the_settings_a_search_begins_with_are_among_its_choices(name: str) -> None:
    config = make_config({"network": name})
    for key, where in space(config).items():
        own = getattr(config, key)
        if isinstance(where, optuna.distributions.FloatDistribution):
            assert where.low <= own <= where.high
        else:
            assert own in where.choices
            for value in where.choices:
                if value is not None:
                    make_config({"network": name, key: value})
    assert ("degradations" in space(config)) is not config.freeze
    assert ("input_size" in space(config)) is (NETWORKS[name].any_size and not config.freeze)


def test_a_part_fits_into_all_sizes_that_are_tried(faces: Path, tmp_path: Path) -> None:
    config = make_config({"network": "tiny", "part": 64, "input_size": 64})
    sizes = space(config)["input_size"]
    assert isinstance(sizes, optuna.distributions.CategoricalDistribution)
    assert sizes.choices == (64, 96, 128)
    with pytest.raises(ConfigError, match="part needs a network"):
        tune(faces, replace(config, input_size=32), tmp_path / "out", trials=1)


@pytest.mark.parametrize(
    ("settings", "says"),
    [({"network": "native"}, "from pairs"), ({"teacher": "x"}, "teacher"), ({"start": "x"}, "start")],
)
def test_what_has_seen_the_left_out_cannot_be_tuned(faces: Path, tmp_path: Path, settings: Any, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        tune(faces, make_config(settings), tmp_path / "out", trials=1)
