"""What networks say of sources they have never seen: leave some out, train on the others.

`fuse` weighs out two views by it, with heads on a frozen trunk. It is the yardstick of `tune` too, for any network:
the network is trained without the sources of each fold, as `realface train` would, and judges all their pictures.
"""

import copy
import hashlib
import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from sklearn.metrics import roc_auc_score
from torch import nn

from ..data import Sample
from ..data.layouts import fingerprints, read_splits
from ..errors import ConfigError, DataError
from ..networks import set_dropout
from ..networks.base import Network
from .config import Config
from .features import cached_views, faces_of_nobody
from .fit import Task
from .fit import fit as fit_task
from .pictures import Pictures, batches
from .sources import Source, joined, weights
from .train import hashes, new_network, of_sources

HISTORY_SEED = 2_000_003  # of the random histories of pictures left out; the same for all settings
BATCH = 64
Head = tuple[list[str], Network]  # sources left out, and a network whose head has not seen them


@dataclass
class Rows:
    """Pictures and, with a frozen trunk, one (N, F) table of float features for each view of them.

    A row of NaN stands for a picture in which no face was found. What `read` gives has the fingerprints too, `lines`,
    and to learn from, `nobody`: what `faces_of_nobody` gives, whatever is left out.
    """

    samples: list[Sample]
    views: list[np.ndarray]
    lines: list[str] = field(default_factory=list)
    nobody: "Rows | None" = None

    def where(self, keep: np.ndarray) -> "Rows":
        """Those of the pictures for which `keep`, (N,) bool, says so."""
        chosen = np.flatnonzero(keep)
        return Rows([self.samples[i] for i in chosen], [view[chosen] for view in self.views], nobody=self.nobody)

    def of(self, sources: list[str]) -> "Rows":
        """Those of the pictures that are of some sources."""
        return self.where(np.isin(self.sources, sources))

    def without(self, sources: list[str]) -> "Rows":
        """Those of the pictures that are of other sources."""
        return self.where(~np.isin(self.sources, sources))

    def seen(self, views: slice) -> "Rows":
        """The same pictures in some of their views."""
        return replace(self, views=self.views[views], nobody=self.nobody and self.nobody.seen(views))

    @property
    def labels(self) -> np.ndarray:
        return np.array([sample.label for sample in self.samples])

    @property
    def sources(self) -> np.ndarray:
        return np.array([sample.source for sample in self.samples])


def read(
    splits: Mapping[str, list[Sample]],
    trunk: Network | None,
    config: Config,
    versions: int = 2,
    known: Mapping[Sample, str] | None = None,
) -> dict[str, Rows]:
    """The train and the valid split, with the features `realface train` caches if a trunk is frozen.

    Args:
        splits: the data set.
        trunk: the frozen one, if any.
        config: how pictures are looked at.
        versions: of each picture, as it is and after random histories; of the train split at least all it learns from.
        known: the fingerprints of the pictures, where somebody has read them all already.
    """
    found = {}
    learned = max(config.versions, versions)
    for name in ("train", "valid"):
        samples = splits[name]
        lines = [known[sample] for sample in samples] if known else fingerprints(samples)
        count = learned if name == "train" else versions
        views = [] if trunk is None else cached_views(trunk, samples, lines, config, range(count))
        found[name] = Rows(samples, views, lines)
    found["train"].nobody = Rows(*faces_of_nobody(trunk, config, learned))
    return found


def scores(network: Network, view: np.ndarray) -> np.ndarray:
    """(N,) float32 logits of (N, F) features."""
    with torch.inference_mode():
        return np.asarray(network.classify(torch.tensor(view, dtype=torch.float32)))


def fit(network: Network, train: Rows, valid: Rows, config: Config) -> Network:
    """A copy of a network with a frozen trunk, its head trained anew on these pictures, as `realface train` does."""
    network = copy.deepcopy(network)
    torch.manual_seed(config.seed)
    for name, layer in network.named_modules():
        if name.startswith("head.") and isinstance(layer, nn.Linear | nn.BatchNorm1d):
            layer.reset_parameters()
    return _trained(network, train, valid, config).network


def groups(train: Rows, count: int) -> list[list[str]]:
    """The sources dealt into groups, at most one for each; 0: every source by itself."""
    names = sorted(set(train.sources.tolist()))
    count = min(count or len(names), len(names))
    return [names[group::count] for group in range(count)]


def folds(splits: dict[str, Rows], count: int, network: Network, config: Config) -> Iterator[Head]:
    """Groups of sources left out together, each with a head that was trained on all others.

    Args:
        splits: the features of train and valid.
        count: how many groups, see `groups`.
        network, config: see `fit`.

    Raises:
        DataError: without one of the groups, pictures of only one class are left.
    """
    dealt = groups(splits["train"], count)
    _check_both_classes({name: rows.samples for name, rows in splits.items()}, dealt)
    for left_out in dealt:
        train, valid = (splits[name].without(left_out) for name in ("train", "valid"))
        yield left_out, fit(network, train, valid, config)


class Unseen:
    """A data set with its sources in folds, and how well a network trained with some settings judges those left out.

    Attributes:
        folds: the sources left out in turn.
        sha256: of all that is learned from and judged by, see `train.hashes`.
        trunk: the network whose features are cached, where its trunk is frozen.
    """

    def __init__(self, data: Path, config: Config, folds: int) -> None:
        """Read the data set and deal its sources; `config` says how pictures left out are looked at, whatever is tried.

        Raises:
            DataError: the data has too few sources.
        """
        splits = of_sources(read_splits(data), config)
        self.config, self.folds = config, deal(splits["train"], folds, config.seed)
        _check_both_classes(splits, self.folds)
        self.trunk = new_network(config) if config.freeze else None
        self.versions = 2 if config.degradations else 1
        self.splits = read(splits, self.trunk, config, self.versions)
        lines = {s: line for rows in self.splits.values() for s, line in zip(rows.samples, rows.lines, strict=True)}
        learned = hashes(list(lines), lines, config)
        self.sha256 = hashlib.sha256(json.dumps(learned).encode()).hexdigest()

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
        train, valid = (rows.without(left_out) for rows in self.splits.values())
        try:
            task = _trained(network, train, valid, config)
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

    def _judged(self, task: Task, sources: list[str]) -> Iterator[tuple[list[Sample], np.ndarray]]:
        """The pictures of some sources that could be read and their (M,) logits, for each version of them."""
        parts = [rows.of(sources) for rows in self.splits.values()]
        samples = [sample for part in parts for sample in part.samples]
        for version in range(self.versions):
            if task.config.freeze:
                table = np.concatenate([part.views[version] for part in parts])
                readable = np.flatnonzero(~np.isnan(table[:, 0]))
                logits = scores(task.network, table[readable])
            else:
                readable, logits = self._seen(task, samples, version)
            yield [samples[row] for row in readable], logits

    def _seen(self, task: Task, samples: Sequence[Sample], version: int) -> tuple[np.ndarray, np.ndarray]:
        """Rows of the pictures that could be read, (M,), and their logits."""
        task.to("cuda" if torch.cuda.is_available() else "cpu").eval()
        strength = self.config.degradations if version else 0.0
        size, framing = task.network.input_size, self.config.framing
        pictures = Pictures(samples, size, framing, strength, (HISTORY_SEED, version))
        found = [(torch.empty(0, dtype=torch.int64), torch.empty(0))]
        with torch.inference_mode():
            for pixels, rows in batches(pictures, BATCH, self.config.workers):
                if len(rows):
                    found.append((rows, task.logits(pixels.to(task.device)).float().cpu()))
        rows, logits = map(torch.cat, zip(*found, strict=True))
        return rows.numpy(), logits.numpy()


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
    dealt: list[list[str]] = [[] for _ in range(folds)]
    both = real & fake
    for some, first in ((both, 0), (real - both, len(both)), (fake - both, len(both))):
        for turn, source in enumerate(rng.permutation(sorted(some)).tolist(), first):
            dealt[turn % folds].append(source)
    return dealt


def _check_both_classes(splits: Mapping[str, list[Sample]], dealt: list[list[str]]) -> None:
    for left_out in dealt:
        for name in ("train", "valid"):
            if {sample.label for sample in splits[name] if sample.source not in left_out} != {0, 1}:
                missing = ", ".join(left_out) or "pictures of no source"
                raise DataError(
                    f"without {missing} the {name} split has not pictures of both classes; "
                    "there must be more sources, or other folds of them"
                )


def _trained(network: Network, train: Rows, valid: Rows, config: Config) -> Task:
    train = train.seen(slice(config.versions))
    more = train.nobody or Rows([], [])
    parts = joined(train.samples, train.views, more.samples, more.views), (valid.samples, valid.views[-1:])
    sources = [Source(samples, config.balance, network.input_size, views) for samples, views in parts]
    task = Task(network, config, *sources)
    with tempfile.TemporaryDirectory() as run:
        fit_task(task, Path(run), quiet=True)
    return task


def _auc(samples: Sequence[Sample], logits: np.ndarray) -> float:
    labels = [sample.label for sample in samples]
    if len(set(labels)) < 2:
        raise DataError("of the sources left out, the pictures of a whole class could not be read")
    if not np.isfinite(logits).all():
        return float("nan")
    return float(roc_auc_score(labels, logits, sample_weight=weights(samples, "source")))
