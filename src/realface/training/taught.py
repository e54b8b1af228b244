"""What a small network draws from when it learns from a larger one.

Hinton et al. 2015, "Distilling the Knowledge in a Neural Network"; that teacher and pupil should look at the very same
version of a picture: Beyer et al. 2022, "Knowledge distillation: A good teacher is patient and consistent".
"""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import safe_open
from torch.utils.data import DataLoader

from ..data import Sample
from ..data.crops import FIRST, network_input
from ..errors import DataError
from .config import Config
from .pictures import Pictures, batches
from .sources import Source, as_they_are

TRUST = 0.5
"""How much of a target is what the teacher says; the rest is the label."""


class Taught(Source):
    """Pictures as they are and after random histories.

    There are `config.views` versions of each, or as many as the teacher has judged where that is more; the target of
    those it has not judged is the label. A row number is that of the version (0 as they are, 1 and on degraded) times
    the number of pictures, plus the picture's.
    """

    def __init__(self, samples: Sequence[Sample], lines: Sequence[str], config: Config, size: int) -> None:
        """Take what `realface fuse` left in the run folder `config.teacher`; `lines` are the samples' fingerprints.

        Raises:
            DataError: there is no such thing, or it is of other pictures or other versions of them.
        """
        path = Path(config.teacher) / "teacher.safetensors"
        try:
            with safe_open(path, "pt") as file:
                logits, judged = file.get_tensor("logits"), file.metadata() or {}  # none in files of realface 0.1.0
        except Exception:  # safetensors has no common base of the errors it raises
            raise DataError(f"{path} is not what `realface fuse` leaves for a smaller network to learn from") from None
        if logits.ndim != 2 or len(logits) < 2 or logits.shape[1] != len(samples):
            raise DataError(f"{config.teacher} has judged other pictures than these; fuse again on this data")
        wanted = of_versions(lines, config)
        if other := [name for name in wanted if judged.get(name, wanted[name]) != wanted[name]]:
            raise DataError(f"{config.teacher} has judged other {' and '.join(other)}; choose the same, or fuse again")
        versions = max(config.views, len(logits))
        super().__init__([*samples] * versions, config.balance, size)
        self.draws = len(samples)
        fine = ~logits.isnan()
        self.weights *= torch.cat([fine, fine[:1].expand(versions - len(logits), -1)]).flatten()
        self.weights[: self.draws] *= as_they_are(versions)
        said = logits.flatten().nan_to_num().sigmoid()
        self._labels[: len(said)] = (1 - TRUST) * self._labels[: len(said)] + TRUST * said

    def _loader(self, config: Config, rows: list[int], epoch: int) -> "DataLoader[Any]":
        seed = (config.seed, epoch - 1)
        size, framing, strength, part = self.size, config.framing, config.degradations, config.part
        versions = _Versions(self.samples, size, framing, strength, seed, rows=rows, part=part, pictures=self.draws)
        return batches(versions, config.batch_size, config.workers)


class _Versions(Pictures):
    """The versions the teacher has seen of so many `pictures`, mirrored by chance."""

    def __init__(self, *args: Any, pictures: int, **options: Any) -> None:
        super().__init__(*args, **options)
        self.pictures = pictures

    def seen(self, crop: np.ndarray, position: int) -> np.ndarray:
        version, number = divmod(self.rows[position], self.pictures)
        strength, seed = self.strength if version else 0.0, (self.seed[0], version, number)
        crop = network_input(crop, self.size, strength, seed, FIRST.get(version))
        return crop[:, ::-1] if np.random.default_rng((*self.seed, position)).random() < 0.5 else crop


def of_versions(lines: Sequence[str], config: Config) -> dict[str, str]:
    """What fixes the versions of pictures, by `lines`, their fingerprints in order: stored with a teacher's logits."""
    pictures = hashlib.sha256("\n".join(lines).encode()).hexdigest()
    settings = {"seed": config.seed, "framing": config.framing, "degradations": config.degradations}
    return {"pictures": pictures} | {name: str(value) for name, value in settings.items()}
