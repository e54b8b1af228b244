"""What a linear head says of sources it has never seen: leave some out, fit it to the others."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch.nn.functional import binary_cross_entropy_with_logits

from ..data import Sample
from ..data.layouts import fingerprints, read_splits
from ..errors import DataError
from ..networks.base import Network
from .config import Config
from .features import cached_views
from .sources import weights

L2 = 0.001
Head = tuple[list[str], torch.Tensor]  # sources left out, and the head that has not seen them


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


def standardised(splits: dict[str, Rows]) -> dict[str, Rows]:
    """The same, each feature with mean 0 and deviation 1 over the train split."""
    every = torch.cat(splits["train"].views)
    every = every[~every[:, 0].isnan()]
    mean, deviation = every.mean(0), every.std(0) + 1e-6
    return {
        name: Rows(rows.samples, [(view - mean) / deviation for view in rows.views]) for name, rows in splits.items()
    }


def fit(rows: Rows, l2: float = L2, spread: float = 0.0) -> torch.Tensor:
    """(F + 1,) weights and bias of logistic regression on all views, by L-BFGS; classes and sources weigh the same.

    `spread` weighs the variance, over the sources of a class, of their mean score: a head that tells sources of the
    same class apart has learned the sources (after Krueger et al. 2021, "Out-of-Distribution Generalization via Risk
    Extrapolation").
    """
    inputs = torch.cat(rows.views)
    labels = torch.from_numpy(rows.labels).float().repeat(len(rows.views))
    weight = torch.from_numpy(weights(rows.samples, "source")).float().repeat(len(rows.views))
    means = [
        torch.stack(
            [
                torch.cat(
                    [view[torch.from_numpy((rows.sources == source) & (rows.labels == label))] for view in rows.views]
                ).mean(0)
                for source in sorted(set(rows.sources[rows.labels == label].tolist()))
            ]
        )
        for label in ((0, 1) if spread else ())
    ]
    head = torch.zeros(inputs.shape[1] + 1, requires_grad=True)
    optimizer = torch.optim.LBFGS([head], max_iter=150, history_size=20, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        optimizer.zero_grad()
        value = binary_cross_entropy_with_logits(inputs @ head[:-1] + head[-1], labels, weight)
        value = value + l2 * head[:-1].square().sum() / 2
        if means:
            value = value + spread * sum((of_class @ head[:-1]).var(correction=0) for of_class in means)
        value.backward()  # type: ignore[no-untyped-call]
        return value

    optimizer.step(loss)  # type: ignore[no-untyped-call]
    return head.detach()


def scores(head: torch.Tensor, view: torch.Tensor) -> np.ndarray:
    """(N,) logits of (N, F) features by a head of `fit`."""
    return (view @ head[:-1] + head[-1]).numpy()


def folds(train: Rows, count: int, l2: float = L2, spread: float = 0.0) -> Iterator[Head]:
    """Groups of sources left out together, each with the head that has seen all others; 0: every source by itself.

    Args:
        train: standardised features.
        count: how many groups, at most one for each source.
        l2, spread: see `fit`.

    Raises:
        DataError: without one of the groups, pictures of only one class are left.
    """
    names = sorted(set(train.sources.tolist()))
    readable = ~torch.isnan(train.views[0][:, 0]).numpy()
    count = min(count or len(names), len(names))
    for fold in range(count):
        left_out = names[fold::count]
        others = train.where(readable & ~np.isin(train.sources, left_out))
        if set(others.labels.tolist()) != {0, 1}:
            raise DataError(
                f"without {', '.join(left_out) or 'pictures of no source'} there are not both classes in train"
            )
        yield left_out, fit(others, l2, spread)
