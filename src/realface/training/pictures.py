"""Pictures streamed from disk into tensors, the way the finished detector will see them."""

import logging
from collections.abc import Iterable, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from ..data import Sample
from ..data.crops import network_input, read_face
from ..errors import ImageError
from ..faces import Framing

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
        loud: bool = False,
    ) -> None:
        self.samples, self.size, self.framing = samples, size, framing
        self.strength, self.seed, self.loud = strength, seed, loud
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
        crop = network_input(face.pixels, self.size, self.strength, (*self.seed, position))
        return torch.from_numpy(np.array(crop)).permute(2, 0, 1), row  # a copy: torch wants writable memory


def batches(
    pictures: Pictures, batch_size: int, workers: int, sampler: Iterable[int] | None = None
) -> "DataLoader[tuple[Tensor, int] | None]":
    """Batches of ((N, 3, S, S) uint8, (N,) int64 row numbers), unreadable pictures left out."""
    return DataLoader(pictures, batch_size, sampler=sampler, num_workers=workers, collate_fn=collate)


def collate(items: list[tuple[Tensor, int] | None]) -> tuple[Tensor, Tensor]:
    """A batch of what could be read: ((N, 3, S, S) uint8, (N,) int64 row numbers)."""
    readable = [item for item in items if item is not None]
    if not readable:
        return torch.empty(0, 3, 1, 1, dtype=torch.uint8), torch.empty(0, dtype=torch.int64)
    return torch.stack([pixels for pixels, _ in readable]), torch.tensor([row for _, row in readable])
