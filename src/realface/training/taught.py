"""What a small network draws from when it learns from a larger one.

Hinton et al. 2015, "Distilling the Knowledge in a Neural Network"; that teacher and pupil should look at the very same
version of a picture: Beyer et al. 2022, "Knowledge distillation: A good teacher is patient and consistent".
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from ..data import Sample
from ..data.crops import network_input, read_face
from ..errors import DataError, ImageError
from .config import Config
from .pictures import collate
from .sources import Source, weights

TRUST = 0.5
"""How much of a target is what the teacher says; the rest is the label."""


class Taught(Source):
    """Pictures as they are and after the one random history of each that the teacher has judged too.

    A row number is that of the version (0 as they are, 1 degraded) times the number of pictures, plus the picture's.
    """

    def __init__(self, samples: Sequence[Sample], config: Config, size: int) -> None:
        """Take what `realface fuse` left in the run folder `config.teacher`.

        Raises:
            DataError: there is no such thing, or it is of other pictures.
        """
        super().__init__([*samples, *samples], config.balance, size)
        self.count, self.config = len(samples), config
        path = Path(config.teacher) / "teacher.safetensors"
        try:
            logits = load_file(path)["logits"]
        except Exception:  # safetensors has no common base of the errors it raises
            raise DataError(f"{path} is not what `realface fuse` leaves for a smaller network to learn from") from None
        if logits.shape != (2, len(samples)):
            raise DataError(f"{config.teacher} has judged other pictures than these; fuse again on this data")
        fine = ~logits.isnan().flatten()
        one = torch.from_numpy(weights(samples, config.balance)).float()
        self.weights = torch.cat([one, one]) * fine
        self._labels = (1 - TRUST) * self._labels + TRUST * logits.flatten().nan_to_num().sigmoid()

    def drawn(self, config: Config, epoch: int) -> "DataLoader[Any]":
        generator = torch.Generator().manual_seed(config.seed * 1000 + epoch)
        rows = torch.multinomial(self.weights, self.count, replacement=True, generator=generator).tolist()
        versions = _Versions(self, rows, (config.seed, epoch))
        return DataLoader(versions, config.batch_size, num_workers=config.workers, collate_fn=collate)


class _Versions(Dataset[tuple[Tensor, int] | None]):
    """The versions the teacher has seen as ((3, size, size) uint8, row number), mirrored by chance."""

    def __init__(self, source: Taught, rows: Sequence[int], seed: tuple[int, int]) -> None:
        self.source, self.rows, self.seed = source, rows, seed

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, position: int) -> tuple[Tensor, int] | None:
        row, config = self.rows[position], self.source.config
        version, number = divmod(row, self.source.count)
        try:
            face = read_face(self.source.samples[number].path, config.framing)
        except ImageError:
            return None
        strength = config.degradations if version else 0.0
        crop = network_input(face.pixels, self.source.size, strength, (config.seed, version, number))
        if np.random.default_rng((*self.seed, position)).random() < 0.5:
            crop = crop[:, ::-1]
        return torch.from_numpy(np.array(crop)).permute(2, 0, 1), row
