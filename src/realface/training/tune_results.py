"""What a search leaves behind: the best settings, a table of all trials, and plots."""

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter
from optuna.distributions import CategoricalDistribution
from optuna.trial import FrozenTrial, TrialState

from ..paths import write_whole
from .config import Config, to_toml

FINISHED = (TrialState.COMPLETE, TrialState.PRUNED)
MEANINGFUL = 8  # complete trials, before it is said which setting matters


@dataclass(frozen=True)
class Tuned:
    """The best trial of a search.

    Attributes:
        path: its settings, a file that `realface train --config` takes.
        number: of the trial; 0 is the settings the search began with.
        trials: how many were finished, those stopped early among them.
        value: its mean AUC on sources left out.
        default: that of the settings the search began with; None if training with them diverged.
        settings: those that were searched.
    """

    path: Path
    number: int
    trials: int
    value: float
    default: float | None
    settings: dict[str, Any]

    def __str__(self) -> str:
        gain = f"{self.default:.4f} ({self.value - self.default:+.4f})" if self.default is not None else "nothing"
        lines = [f"best of {self.trials} trials: {self.number}, AUC on sources left out {self.value:.4f}"]
        lines += [f"the settings it began with: {gain}"]
        lines += [f"  {name} = {'its own' if value is None else value}" for name, value in self.settings.items()]
        return "\n".join([*lines, str(self.path)])


def write_results(study: optuna.Study, config: Config, defaults: Mapping[str, Any], out: Path) -> Tuned | None:
    """Write trials.csv and, once a trial is complete, best.toml and the plots.

    Args:
        study: the search.
        config: the settings it began with.
        defaults: those of them that are searched.
        out: the folder.

    Returns:
        The best trial; None if none is complete.
    """
    trials = study.get_trials(deepcopy=False)
    write_whole(out / "trials.csv", _table(trials, list(defaults)).encode())
    complete = [trial for trial in trials if trial.state == TrialState.COMPLETE]
    if not complete:
        return None
    value = next((trial.value for trial in complete if trial.params == defaults), None)
    best = study.best_trial
    path = out / "best.toml"
    write_whole(path, to_toml(replace(config, **best.params)).encode())
    _history_plot(trials, value, out / "history.png")
    _slices_plot(complete, list(defaults), out / "slices.png")
    if len(complete) >= MEANINGFUL and len({trial.value for trial in complete}) > 1:
        _importance_plot(optuna.importance.get_param_importances(study), out / "importance.png")
    finished = sum(trial.state in FINISHED for trial in trials)
    return Tuned(path, best.number, finished, float(best.value or 0), value, best.params)


def _table(trials: Sequence[FrozenTrial], names: Sequence[str]) -> str:
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(["trial", "state", "auc", "auc_by_fold", "seconds", *names])
    for trial in trials:
        folds = " ".join(f"{auc:.4f}" for auc in trial.user_attrs.get("folds", ()))
        seconds = round(trial.duration.total_seconds(), 1) if trial.duration else ""
        auc = trial.value if trial.state == TrialState.COMPLETE else ""
        rows.writerow([trial.number, trial.state.name.lower(), auc, folds, seconds, *map(trial.params.get, names)])
    return text.getvalue()


def _history_plot(trials: Sequence[FrozenTrial], default: float | None, out: Path) -> None:
    figure = Figure(figsize=(7, 3.6), layout="constrained")
    axis = figure.subplots()
    for state, marker, label in (
        (TrialState.COMPLETE, "o", "finished"),
        (TrialState.PRUNED, "x", "stopped early: folds so far"),
    ):
        found = [(t.number, t.value) for t in trials if t.state == state and t.value is not None]
        axis.plot(*np.array(found).reshape(-1, 2).T, marker, label=label)
    complete = [(t.number, t.value or 0.0) for t in trials if t.state == TrialState.COMPLETE]
    axis.step([n for n, _ in complete], list(accumulate((v for _, v in complete), max)), where="post", label="best")
    if default is not None:
        axis.axhline(default, color="grey", linestyle="--", label="settings it began with")
    axis.set(xlabel="trial", ylabel="AUC on sources left out")
    axis.legend()
    figure.savefig(out, dpi=120)


def _slices_plot(trials: Sequence[FrozenTrial], names: Sequence[str], out: Path) -> None:
    figure = Figure(figsize=(2.6 * len(names), 3), layout="constrained")
    axes = figure.subplots(1, len(names), sharey=True)
    for axis, name in zip(axes, names, strict=True):
        values: list[Any] = [trial.params[name] for trial in trials]
        where: Any = trials[0].distributions[name]
        if isinstance(where, CategoricalDistribution):
            order: list[Any] = sorted(where.choices, key=lambda choice: (choice is not None, choice))
            values = [order.index(value) for value in values]
            axis.set_xticks(range(len(order)), ["own" if choice is None else str(choice) for choice in order])
            axis.set_xlim(-0.5, len(order) - 0.5)
            axis.tick_params(axis="x", rotation=45)
        else:
            axis.set(xscale="log" if where.log else "linear", xlim=(where.low, where.high))
            axis.xaxis.set_minor_formatter(NullFormatter())
        axis.plot(values, [trial.value for trial in trials], "o", alpha=0.6)
        axis.set(title=name.replace("_", " "))
    axes[0].set(ylabel="AUC on sources left out")
    figure.savefig(out, dpi=120)


def _importance_plot(importances: Mapping[str, float], out: Path) -> None:
    figure = Figure(figsize=(6, 3), layout="constrained")
    axis = figure.subplots()
    names = list(importances)[::-1]
    axis.barh([name.replace("_", " ") for name in names], [importances[name] for name in names])
    axis.set(xlabel="share of the difference between trials")
    figure.savefig(out, dpi=120)
