"""What training draws from: pictures on disk or cached features of them, and how often each is drawn."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from ..data import Sample
from ..errors import DataError
from .config import Config
from .pictures import Pictures, batches


def as_they_are(versions: int) -> float:
    """How many times as often as any other of so many versions a picture is drawn as it is: for a third of all that is
    drawn, or, of one or two, as often as any."""
    return max(1.0, (versions - 1) / 2)


def weights(samples: Sequence[Sample], balance: str) -> np.ndarray:
    """(N,) sampling weight of each sample, mean 1; see `Config.balance`."""
    if balance == "none":
        return np.ones(len(samples))
    groups = [(s.label, s.source if balance == "source" else "") for s in samples]
    sizes = Counter(groups)
    share = {group: size**0.5 for group, size in sizes.items()}  # of a group within its class, before normalising
    totals = {label: sum(value for group, value in share.items() if group[0] == label) for label, _ in sizes}
    raw = np.array([share[g] / totals[g[0]] / sizes[g] for g in groups])
    return np.asarray(raw / raw.mean())


class Source:
    """Where a task gets its inputs from: pictures on disk, or tables of cached features of them.

    Attributes:
        samples: the pictures, in row order.
        views: with a frozen trunk, one (N, F) table for each version of the pictures; else none.
        weights: (N,) sampling weights; 0 for pictures that could not be read.
        draws: how many are drawn in an epoch.
    """

    def __init__(self, samples: Sequence[Sample], balance: str, size: int, views: Sequence[np.ndarray] = ()) -> None:
        self.samples, self.size, self.views, self.draws = samples, size, views, len(samples)
        readable = ~np.isnan(views[0][:, 0]) if views else np.ones(len(samples), bool)
        if {s.label for s, fine in zip(samples, readable, strict=True) if fine} != {0, 1}:
            raise DataError("none of the real pictures, or none of the fake ones, could be read")
        self.weights = torch.from_numpy(weights(samples, balance) * readable).float()
        self._labels = torch.tensor([float(s.label) for s in samples])

    def labels_of(self, rows: Tensor) -> Tensor:
        """(N,) float labels of the given rows, on their device."""
        return self._labels.to(rows.device)[rows]

    def drawn(self, config: Config, epoch: int) -> "DataLoader[Any]":
        """Batches of (inputs, row numbers) of one training epoch, drawn by weight with replacement."""
        generator = torch.Generator().manual_seed(config.seed * 1000 + epoch)
        ends = self.weights.double().cumsum(0)  # in single precision small weights among millions would be lost
        at = torch.rand(self.draws, generator=generator, dtype=torch.float64) * ends[-1]
        rows = torch.searchsorted(ends, at, right=True).tolist()
        return self._loader(config, rows, epoch + 1)

    def in_order(self, config: Config) -> "DataLoader[Any]":
        """Batches of (inputs, row numbers) of every readable sample once, for validation."""
        return self._loader(config, self.weights.nonzero().flatten().tolist(), 0)

    def _loader(self, config: Config, rows: list[int], epoch: int) -> "DataLoader[Any]":
        if self.views:
            return batches(_Features(self.views, rows, (config.seed, epoch)), config.batch_size, workers=0)
        pictures = Pictures(
            self.samples,
            self.size,
            config.framing,
            config.degradations,
            (config.seed, epoch),
            rows=rows,
            part=config.part if epoch else 0,  # what validates is judged whole
            loud=epoch == 1,
        )
        return batches(pictures, config.batch_size, config.workers)


def joined(
    samples: list[Sample], views: list[np.ndarray], more: list[Sample], tables: list[np.ndarray]
) -> tuple[list[Sample], list[np.ndarray]]:
    """Pictures and more of them, and with a frozen trunk one (N, F) table of features for each version of all."""
    if not more:
        return samples, views
    return [*samples, *more], [np.concatenate(both) for both in zip(views, tables, strict=True)]


class _Features(Dataset[tuple[np.ndarray, int]]):
    """Rows of cached features; for each draw a view is drawn too, the first `as_they_are` times as often as others."""

    def __init__(self, views: Sequence[np.ndarray], rows: Sequence[int], seed: tuple[int, int]) -> None:
        self.views, self.rows = views, rows
        shares = np.ones(len(views))
        shares[0] = as_they_are(len(views))
        self.chosen = np.random.default_rng(seed).choice(len(views), len(rows), p=shares / shares.sum())

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, position: int) -> tuple[np.ndarray, int]:
        row = self.rows[position]
        return self.views[self.chosen[position]][row], row
