"""What a head says of sources it has never seen: leave some out, train it on the others."""

import copy
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import nn

from ..data import Sample
from ..data.layouts import fingerprints, read_splits
from ..errors import DataError
from ..networks.base import Network
from .config import Config
from .features import cached_views
from .fit import Task, fit_aside
from .sources import Source

Head = tuple[list[str], Network]  # sources left out, and a network whose head has not seen them


@dataclass
class Rows:
    """Pictures and one (N, F) float32 table of features for each view of them; NaN where no face was found.

    What `read` gives also has the pictures' fingerprints, `lines`.
    """

    samples: list[Sample]
    views: list[torch.Tensor]
    lines: list[str] = field(default_factory=list)

    def where(self, keep: np.ndarray) -> "Rows":
        """Those of the pictures for which `keep`, (N,) bool, says so."""
        chosen = torch.from_numpy(np.flatnonzero(keep))
        return Rows([self.samples[i] for i in chosen.tolist()], [view[chosen] for view in self.views])

    def without(self, sources: list[str]) -> "Rows":
        """Those of the pictures that are of other sources."""
        return self.where(~np.isin(self.sources, sources))

    @property
    def labels(self) -> np.ndarray:
        return np.array([sample.label for sample in self.samples])

    @property
    def sources(self) -> np.ndarray:
        return np.array([sample.source for sample in self.samples])


def read(data: Path, trunk: Network, config: Config) -> dict[str, Rows]:
    """The train split in `config.views` versions, the valid split as it is and after one random history: the features
    `realface train` caches."""
    splits = read_splits(data)
    found = {}
    for split in ("train", "valid"):
        samples = splits[split]
        lines = fingerprints(samples)
        tables = cached_views(trunk, samples, lines, config, range(max(config.views, 2) if split == "train" else 2))
        found[split] = Rows(samples, [torch.from_numpy(table.astype(np.float32)) for table in tables], lines)
    return found


def fit(network: Network, train: Rows, valid: Rows, config: Config) -> Network:
    """A copy of a network with a frozen trunk, its head trained anew on these pictures, as `realface train` does."""
    network = copy.deepcopy(network)
    torch.manual_seed(config.seed)
    for name, layer in network.named_modules():
        if name.startswith("head.") and isinstance(layer, nn.Linear | nn.BatchNorm1d):
            layer.reset_parameters()
    views = [view.numpy() for view in train.views[: config.versions]]
    task = Task(
        network,
        config,
        Source(train.samples, config.balance, network.input_size, views),
        Source(valid.samples, config.balance, network.input_size, [valid.views[-1].numpy()]),
    )
    fit_aside(task)
    return network.eval()


def scores(network: Network, view: torch.Tensor) -> np.ndarray:
    """(N,) logits of (N, F) features."""
    with torch.inference_mode():
        return np.asarray(network.classify(view))


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
    for left_out in groups(splits["train"], count):
        train, valid = (splits[name].without(left_out) for name in ("train", "valid"))
        for name, rows in {"train": train, "valid": valid}.items():
            if set(rows.labels.tolist()) != {0, 1}:
                missing = ", ".join(left_out) or "pictures of no source"
                raise DataError(f"without {missing} there are not both classes in {name}")
        yield left_out, fit(network, train, valid, config)
