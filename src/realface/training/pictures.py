"""Pictures streamed from disk into tensors, the way the finished detector will see them."""

import logging
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, default_collate

from ..data import Sample
from ..data.crops import network_input, read_face
from ..degrade import Change
from ..errors import ImageError
from ..faces import Framing, window

log = logging.getLogger(__name__)


class Pictures(Dataset[tuple[Tensor, int] | None]):
    """Samples as ((3, size, size) uint8, row number); None where a file cannot be read or shows no face.

    Args:
        samples: the pictures.
        size: input side of the network.
        framing: what of a picture is its face.
        strength: chance factor of `degrade.random_history`; 0 gives the pictures as they are.
        seed: two numbers (run, epoch) that, with the position, fix what happens to each picture.
        rows: which samples, in which order; one drawn twice has another random history each time.
        part: side in pixels of the part that is given of each, anywhere in it; 0: all of it.
        first: what befalls every face before its history begins.
        loud: whether to log which files cannot be read.
    """

    def __init__(
        self,
        samples: Sequence[Sample],
        size: int,
        framing: Framing,
        strength: float,
        seed: tuple[int, int],
        *,
        rows: Sequence[int] | None = None,
        part: int = 0,
        first: Change | None = None,
        loud: bool = False,
    ) -> None:
        self.samples, self.size, self.framing = samples, size, framing
        self.strength, self.seed, self.part, self.first, self.loud = strength, seed, part, first, loud
        self.rows: Sequence[int] = range(len(samples)) if rows is None else rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, position: int) -> tuple[Tensor, int] | None:
        row = self.rows[position]
        try:
            face = read_face(self.samples[row].path, self.framing)
        except ImageError as error:
            if self.loud:
                log.warning("left out: %s (%s)", self.samples[row].path, error)
            return None
        crop = self.seen(face.pixels, position)
        if self.part:
            crop = window(crop, self.part, *np.random.default_rng((*self.seed, position, 1)).random(2))
        return torch.from_numpy(np.array(crop)).permute(2, 0, 1), row  # a copy: torch wants writable memory

    def seen(self, crop: np.ndarray, position: int) -> np.ndarray:
        """What the network is given of a face, (size, size, 3) uint8."""
        return network_input(crop, self.size, self.strength, (*self.seed, position), self.first)


def batches(
    items: Dataset[Any], batch_size: int, workers: int, sampler: Iterable[int] | None = None
) -> "DataLoader[Any]":
    """Batches of (inputs, (N,) int64 row numbers), without the items that are None.

    An item is inputs and their row: ((3, S, S) uint8, row) gives batches of (N, 3, S, S). It may also be several
    of them, stacked, which are counted one by one.
    """
    return DataLoader(items, batch_size, sampler=sampler, num_workers=workers, collate_fn=_collate)


def _collate(items: list[Any]) -> tuple[Tensor, Tensor]:
    readable = [item for item in items if item is not None]
    if not readable:
        return torch.empty(0, 3, 1, 1, dtype=torch.uint8), torch.empty(0, dtype=torch.int64)
    inputs, rows = default_collate(readable)
    return inputs.flatten(0, rows.ndim - 1), rows.flatten()
