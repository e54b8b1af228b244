"""`realface tune`: settings searched for by how well a network trained with them judges sources it has not seen.

A search by the validation split would look at the very sources a network learned from, and choose settings that know
those by heart. Optuna proposes the settings; the study is in a database, so that it outlives a crash and can be shared.
"""

import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.distributions import CategoricalDistribution, FloatDistribution
from optuna.exceptions import (
    DuplicatedStudyError,
    ExperimentalWarning,
    OptunaError,
    StorageInternalError,
    UpdateFinishedTrialError,
)
from optuna.storages import RDBStorage, RetryHeartbeatStaleTrialCallback
from optuna.trial import TrialState
from sqlalchemy.exc import SQLAlchemyError

from ..errors import ConfigError, DataError
from ..networks import find
from ..paths import make_folder
from ..progress import bar
from .config import SCHEDULES, SIZES, Config
from .held_out import Unseen
from .train import FREE, check
from .tune_results import FINISHED, Tuned, write_results

STARTUP = 4  # trials that run to their end before one is stopped early
HEARTBEAT, GRACE = 10, 60  # seconds: a trial that gave no sign for so long was killed, and is tried again
Space = dict[str, FloatDistribution | CategoricalDistribution]


def tune(
    data: Path,
    config: Config,
    out: Path,
    *,
    trials: int,
    folds: int = 3,
    epochs: int | None = None,
    storage: str | None = None,
    study_name: str | None = None,
    resume: bool = False,
) -> Tuned:
    """Search, and write best.toml, trials.csv and plots to `out`.

    Args:
        data: a data set whose manifest names sources.
        config: the settings to better; they are trial 0, and those that are not searched stay.
        out: a new or empty folder, or one to resume.
        trials: how many are to be finished in all, those of other machines among them.
        folds: groups of sources left out in turn, at least 2.
        epochs: of each training during the search; best.toml has those of `config`.
        storage: URL of a database for several machines; `study.db` in `out` if not given.
        study_name: name of the study there; that of the network if not given.
        resume: go on with the study; in a `storage`, join it or begin it, whichever machine comes first.

    Returns:
        The best trial.

    Raises:
        KeyboardInterrupt: the search was interrupted; what it found is written, and `resume` goes on with it.
        DataError: the data has too few sources, or the study is there already, or not there to be resumed.
        ConfigError: the settings cannot be tuned, the storage cannot be opened or is gone, the study is of other
            settings or data, or every training diverged.
        WeightsError: the network's published weights were not fetched.
    """
    if find(config.network).window:
        raise ConfigError(f"{config.network} learns from pairs, of which no source can be left out; it cannot be tuned")
    for name in ("start", "teacher"):
        if getattr(config, name):
            raise ConfigError(f"{name} is a run that knows the sources tuning leaves out; tune without it")
    check(config)
    if not storage and set("?%{}") & set(str(out)):  # they have a meaning in a database's URL
        raise ConfigError(f"no study can be kept in {out}: choose an --out without ? % {{ and }}, or name a --storage")
    if not resume and (out / "trials.csv").exists():
        raise DataError(f"{out} holds a search already; add --resume to go on with it, or choose another --out")
    if resume and not storage and not (out / "study.db").exists():
        raise DataError(f"{out} holds no search to go on with; leave --resume away to begin one")
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    shorter = replace(config, epochs=epochs or config.epochs)
    settings = {key: value for key, value in asdict(shorter).items() if key not in FREE} | {"folds": folds}
    url, begins = storage or f"sqlite:///{out / 'study.db'}", bool(storage) or not resume
    opened = partial(_opened, url, study_name or config.network, resume, begins)
    if resume:
        with opened() as study:
            _check_same(study, settings)  # before the data is read, which takes long
    search = _Search(shorter, Unseen(data, shorter, folds))
    make_folder(out)
    with opened() as study:
        of = {**settings, "data": search.unseen.sha256}
        _check_same(study, of)
        study.set_user_attr("of", of)
        study.enqueue_trial(search.defaults, skip_if_exists=True)
        try:
            _run(study, search, trials)
        finally:  # after Ctrl-C too
            tuned = write_results(study, config, search.defaults, out)
    if tuned is None:
        raise ConfigError("training diverged with all settings that were tried; set a lower learning_rate")
    return tuned


def space(config: Config) -> Space:
    """What is searched, and where, around the settings of `config`, which are among the choices.

    With a frozen trunk only what its cached features stay right for: another input size or strength of degradations
    is another pass of the trunk over every picture.
    """

    def choices(own: Any, *others: Any) -> CategoricalDistribution:
        return CategoricalDistribution(tuple(dict.fromkeys((own, *others))))

    size, rate = config.batch_size, config.learning_rate
    searched: Space = {
        "learning_rate": FloatDistribution(rate / 30, rate * 10, log=True),
        "schedule": choices(config.schedule, *SCHEDULES),
        "weight_decay": choices(config.weight_decay, 0.0, 1e-4, 1e-3, 1e-2, 1e-1),
        "dropout": choices(config.dropout, 0.0, 0.1, 0.3, 0.5),
        "batch_size": choices(size, *(other for other in (size // 4, size // 2, size * 2) if other >= 2)),
    }
    if not config.freeze:
        searched["degradations"] = FloatDistribution(0.0, 1.0)
        if find(config.network).any_size:
            side = config.input_size or find(config.network).input_size
            sides = (other for other in (side - 32, side + 32, side + 64) if other in SIZES and other >= config.part)
            searched["input_size"] = choices(config.input_size, *sides)
    return searched


class _Search:
    """The objective: mean over the folds of the AUC on sources left out.

    Attributes:
        defaults: the settings of trial 0.
    """

    def __init__(self, config: Config, unseen: Unseen) -> None:
        self.config, self.unseen, self.space = config, unseen, space(config)
        self.defaults = {name: getattr(config, name) for name in self.space}

    def __call__(self, trial: optuna.Trial) -> float:
        # Seeded by the trial, or a search that is resumed would draw its first settings again, as would each machine.
        trial.study.sampler = optuna.samplers.TPESampler(seed=(self.config.seed + trial.number) % 2**32)
        settings = {name: _suggest(trial, name, where) for name, where in self.space.items()}
        config = replace(self.config, **settings)
        aucs: list[float] = []
        try:
            for fold in range(len(self.unseen.folds)):
                aucs.append(self.unseen.auc(config, fold))
                if math.isnan(aucs[-1]):
                    raise optuna.TrialPruned
                trial.set_user_attr("folds", aucs)
                trial.report(float(np.mean(aucs)), fold)
                if fold + 1 < len(self.unseen.folds) and settings != self.defaults and trial.should_prune():
                    raise optuna.TrialPruned
        except (KeyboardInterrupt, OSError):  # Ctrl-C, a full disk
            _try_again()(trial.study, trial.study.get_trials(deepcopy=False)[trial.number])
            raise
        return float(np.mean(aucs))


class _BelowMedian(optuna.pruners.BasePruner):
    """Stops a trial whose mean over its folds so far is below the median of what finished trials had at that fold.

    Optuna's own median pruner compares the best that a trial ever reported: after one easy fold it would stop nothing.
    """

    def prune(self, study: optuna.Study, trial: optuna.trial.FrozenTrial) -> bool:
        others = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        fold = trial.last_step
        if fold is None or len(others) < STARTUP:
            return False
        return bool(trial.intermediate_values[fold] < np.median([t.intermediate_values[fold] for t in others]))


@contextmanager
def _opened(url: str, name: str, resume: bool, begins: bool) -> Iterator[optuna.Study]:
    """What `_open` gives, closed at the end; ConfigError where the database is gone meanwhile."""
    study, database = _open(url, name, resume, begins)
    try:
        yield study
    except (SQLAlchemyError, StorageInternalError) as error:
        why = str(error.__cause__ or error).partition("\n")[0]
        raise ConfigError(f"the storage does not answer any more: {why}; once it does, --resume goes on") from None
    finally:
        database.remove_session()
        database.engine.dispose()


def _open(url: str, name: str, resume: bool, begins: bool) -> tuple[optuna.Study, RDBStorage]:
    """The study, which need not be there where this machine `begins` it, and its database."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)  # of the heartbeat
            # Always a database: it holds JSON, where Optuna's journals unpickle what they find.
            database = RDBStorage(
                url, heartbeat_interval=HEARTBEAT, grace_period=GRACE, heartbeat_stale_trial_callback=_try_again()
            )
        if not begins:  # else the results of the study that is there would be those of another
            database.get_study_id_from_name(name)
        study = optuna.create_study(
            storage=database, study_name=name, direction="maximize", pruner=_BelowMedian(), load_if_exists=resume
        )
    except KeyError:
        raise DataError(f"there is no study {name!r} to go on with; name its --network, or its --study") from None
    except DuplicatedStudyError:
        raise DataError(
            f"there is a study {name!r} already; add --resume to go on with it, or choose another --study or --out"
        ) from None
    except (SQLAlchemyError, OptunaError, ImportError, RuntimeError) as error:
        raise ConfigError(f"the storage cannot be opened: {str(error).partition(chr(10))[0]}") from None
    return study, database


def _try_again() -> RetryHeartbeatStaleTrialCallback:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        return RetryHeartbeatStaleTrialCallback()


def _check_same(study: optuna.Study, mine: dict[str, Any]) -> None:
    """ConfigError where a study is known to be of something else."""
    stored = study.user_attrs.get("of", mine)
    if other := sorted(key for key in mine if key not in stored or stored[key] != mine[key]):
        raise ConfigError(f"the study {study.study_name!r} was begun with other {', '.join(other)}; choose the same")


def _suggest(trial: optuna.Trial, name: str, where: FloatDistribution | CategoricalDistribution) -> Any:
    if isinstance(where, FloatDistribution):
        return trial.suggest_float(name, where.low, where.high, log=where.log)
    return trial.suggest_categorical(name, where.choices)


def _run(study: optuna.Study, search: _Search, trials: int) -> None:
    """Trials until so many are finished."""
    with bar() as progress:
        task = progress.add_task("tuning", total=trials)
        while True:
            done = study.get_trials(deepcopy=False, states=FINISHED)
            values = [trial.value for trial in done if trial.value and trial.state == TrialState.COMPLETE]
            best = f", best AUC {max(values):.4f}" if values else ""
            progress.update(task, completed=len(done), description=f"tuning{best}")
            if len(done) >= trials:
                return
            with suppress(UpdateFinishedTrialError):  # this machine slept, and another has taken the trial for dead
                study.optimize(search, n_trials=1)
