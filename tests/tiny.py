"""A network that several tests of training train, and the pictures it can tell apart."""

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

import numpy as np
from PIL import Image
from torch import Tensor, nn

from realface.networks.base import Network


class Tiny(Network):
    """Mean colour and a linear head: learns bright from dark in seconds."""

    input_size = 32
    any_size = True
    gains_by_bfloat16 = False  # its sums would depend on how many processes share them
    defaults: ClassVar = {
        "learning_rate": 0.05,
        "batch_size": 8,
        "epochs": 4,
        "workers": 0,
        "views": 2,
        "framing": "centre-square",
    }

    def __init__(self) -> None:
        super().__init__()
        self.trunk = nn.Conv2d(3, 4, 1)
        self.head = nn.Sequential(nn.Dropout(0.1), nn.Linear(4, 1))

    def features(self, pixels: Tensor) -> Tensor:
        return self.trunk(pixels).mean((2, 3))

    def classify(self, features: Tensor) -> Tensor:
        return self.head(features).squeeze(1)


def write_faces(folder: Path, counts: Mapping[str, int]) -> Path:
    """Dark "real" and bright "fake" pictures in `folder`, so many of each class in each split."""
    rng = np.random.default_rng(1)
    for split, count in counts.items():
        for label, level in {"real": 70, "fake": 180}.items():
            inside = folder / split / label
            inside.mkdir(parents=True)
            for i in range(count):
                pixels = rng.normal(level, 25, (40, 36, 3)).clip(0, 255).astype(np.uint8)
                Image.fromarray(pixels).save(inside / f"{i}.jpg")
    return folder
