"""How well a network trained with some settings judges sources it has not seen: the yardstick of `realface tune`.

The sources of the train split are dealt into folds, each with real and fake pictures. For each fold the network is
trained without its sources, as `realface train` would, and judges all their pictures.
"""

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.metrics import roc_auc_score

from ..data import Sample
from ..data.layouts import content_hash, fingerprints, read_splits
from ..errors import ConfigError, DataError
from ..networks import set_dropout
from ..networks.base import Network
from .config import Config
from .features import cached_views
from .fit import Task, fit_aside
from .pictures import Pictures, batches
from .sources import Source, weights
from .train import new_network, of_sources

HISTORY_SEED = 2_000_003  # of the random histories of pictures left out; the same for all settings
BATCH = 64


@dataclass
class _Rows:
    """Pictures and, with a frozen trunk, one (N, F) table of features for each view of them."""

    samples: list[Sample]
    tables: list[np.ndarray]

    def of(self, sources: Sequence[str], *, without: bool = False) -> "_Rows":
        rows = [row for row, sample in enumerate(self.samples) if (sample.source in sources) != without]
        return _Rows([self.samples[row] for row in rows], [table[rows] for table in self.tables])


class Unseen:
    """A data set with its sources in folds.

    Attributes:
        folds: the sources left out in turn.
        sha256: of the pictures of train and valid.
        trunk: the network whose features are cached, where its trunk is frozen.
    """

    def __init__(self, data: Path, config: Config, folds: int) -> None:
        """Read the data set and deal its sources; `config` says how pictures left out are looked at, whatever is tried.

        Raises:
            DataError: the data has too few sources.
        """
        splits = of_sources(read_splits(data), config)
        self.config, self.folds = config, deal(splits["train"], folds, config.seed)
        for sources in self.folds:
            for name in ("train", "valid"):
                if {s.label for s in splits[name] if s.source not in sources} != {0, 1}:
                    raise DataError(
                        f"without {', '.join(sources)} the {name} split has not pictures of both classes; "
                        "there must be more sources, or other --folds"
                    )
        lines = {name: fingerprints(splits[name]) for name in ("train", "valid")}
        self.sha256 = content_hash(lines["train"] + lines["valid"])
        self.trunk = new_network(config) if config.freeze else None
        self.train, self.valid = (_rows(self.trunk, config, splits[name], lines[name]) for name in lines)

    def auc(self, config: Config, fold: int) -> float:
        """Mean AUC on the pictures of a fold as they are and, where degradations are trained with, after one history.

        Classes and sources weigh as in training with balance "source".

        Args:
            config: what to train the other sources with.
            fold: which one is left out.

        Returns:
            The AUC; NaN where training diverged.

        Raises:
            DataError: the pictures of a whole class could not be read.
            KeyboardInterrupt: training was interrupted.
        """
        network, left_out = self._network(config), self.folds[fold]
        train, valid = (rows.of(left_out, without=True) for rows in (self.train, self.valid))
        task = Task(
            network,
            config,
            Source(train.samples, config.balance, network.input_size, train.tables[: config.versions] or None),
            Source(valid.samples, config.balance, network.input_size, valid.tables[-1:] or None),
        )
        try:
            fit_aside(task)
        except ConfigError:  # it diverged
            return float("nan")
        return float(np.mean([_auc(*judged) for judged in self._judged(task, left_out)]))

    def _network(self, config: Config) -> Network:
        if self.trunk is None:
            return new_network(config)
        network = copy.deepcopy(self.trunk)  # quicker than to read the published weights again
        if config.dropout is not None:
            set_dropout(network, config.dropout)
        return network

    def _judged(self, task: Task, sources: Sequence[str]) -> Iterator[tuple[list[Sample], np.ndarray]]:
        """The pictures of some sources that could be read and their (M,) logits, for each view of them."""
        parts = [rows.of(sources) for rows in (self.train, self.valid)]
        samples = [sample for part in parts for sample in part.samples]
        task.to("cuda" if torch.cuda.is_available() else "cpu").eval()
        for view in range(2 if self.config.degradations else 1):
            if task.config.freeze:
                table = np.concatenate([part.tables[view] for part in parts])
                readable = np.flatnonzero(~np.isnan(table[:, 0]))
                chosen = [readable[start : start + BATCH] for start in range(0, len(readable), BATCH)]
                inputs: Any = ((torch.from_numpy(table[rows]), torch.from_numpy(rows)) for rows in chosen)
            else:
                strength = self.config.degradations if view else 0.0
                size, framing = task.network.input_size, self.config.framing
                pictures = Pictures(samples, size, framing, strength, (HISTORY_SEED, view))
                inputs = batches(pictures, BATCH, self.config.workers)
            kept: list[Sample] = []
            logits = [np.empty(0, np.float32)]
            with torch.inference_mode():
                for values, rows in inputs:
                    kept += [samples[row] for row in rows.tolist()]
                    if len(rows):
                        logits.append(task.logits(values.to(task.device)).float().cpu().numpy())
            yield kept, np.concatenate(logits)


def deal(samples: Sequence[Sample], folds: int, seed: int) -> list[list[str]]:
    """The named sources in groups to leave out in turn, each with real and fake pictures; pictures of none stay in.

    Raises:
        DataError: there are fewer sources of real, or of fake pictures than folds.
    """
    real, fake = ({s.source for s in samples if s.source and s.label == label} for label in (0, 1))
    if min(len(real), len(fake)) < folds:
        raise DataError(
            f"{folds} folds of sources to leave out need a manifest that names {folds} sources with real and {folds} "
            f"with fake pictures in train; here are {len(real)} and {len(fake)}"
        )
    rng = np.random.default_rng(seed)
    groups: list[list[str]] = [[] for _ in range(folds)]
    both = real & fake
    for some, first in ((both, 0), (real - both, len(both)), (fake - both, len(both))):
        for turn, source in enumerate(rng.permutation(sorted(some)).tolist(), first):
            groups[turn % folds].append(source)
    return groups


def _rows(trunk: Network | None, config: Config, samples: list[Sample], lines: list[str]) -> _Rows:
    """The pictures of a split; with a frozen trunk also its features, as `realface train` caches them."""
    if trunk is None:
        return _Rows(samples, [])
    views = (max(config.views, 2) if samples[0].split == "train" else 2) if config.degradations else 1
    return _Rows(samples, cached_views(trunk, samples, lines, config, range(views)))


def _auc(samples: Sequence[Sample], logits: np.ndarray) -> float:
    labels = [sample.label for sample in samples]
    if len(set(labels)) < 2:
        raise DataError("of the sources left out, the pictures of a whole class could not be read")
    if not np.isfinite(logits).all():
        return float("nan")
    return float(roc_auc_score(labels, logits, sample_weight=weights(samples, "source")))
