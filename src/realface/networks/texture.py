"""A network that judges texture: which of its channels occur together, wherever in the picture they do.

Liu, Qi and Torr 2020, "Global Texture Enhancement for Fake Face Detection in the Wild" (Gram-Net): Gram matrices
of several depths beside the pooled features, which survive blur and resizing better than local traces do.
"""

from itertools import pairwise
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from .base import Network
from .trace import Residual

CHANNELS = (24, 48, 96, 160)  # at 64, 32, 16 and 8 pixels a side
GRAM, SUMMARY = 16, 32


class Gram(nn.Module):
    """The 16 x 16 products of as many channels with each other, averaged over the picture, in 32 numbers."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.narrow = nn.Sequential(nn.Conv2d(channels, GRAM, 1, bias=False), nn.BatchNorm2d(GRAM))
        self.summary = nn.Sequential(nn.BatchNorm1d(GRAM**2), nn.Linear(GRAM**2, SUMMARY), nn.ReLU())

    def forward(self, x: Tensor) -> Tensor:  # (N, channels, H, W) -> (N, 32)
        x = self.narrow(x).flatten(2)  # (N, 16, H * W)
        products = x @ x.transpose(1, 2) / x.shape[2]  # (N, 16, 16)
        summary: Tensor = self.summary(products.flatten(1))
        return summary


class GramTexture(Network):
    """Small residual network with Gram matrices of its texture at four depths."""

    input_size: ClassVar[int] = 128
    any_size = True
    mean = (0.5, 0.5, 0.5)
    std = (0.5, 0.5, 0.5)
    defaults: ClassVar[dict[str, Any]] = {"patience": 10}

    def __init__(self) -> None:
        super().__init__()
        first = CHANNELS[0]
        self.stem = nn.Sequential(
            nn.Conv2d(3, first, 3, 2, padding=1, bias=False), nn.BatchNorm2d(first), nn.ReLU(), Residual(first, first)
        )
        self.stages = nn.ModuleList(Residual(channels, out, 2) for channels, out in pairwise(CHANNELS))
        self.grams = nn.ModuleList(Gram(channels) for channels in CHANNELS)
        self.head = nn.Sequential(nn.Dropout(0.2), nn.Linear(SUMMARY * len(CHANNELS) + CHANNELS[-1], 1))

    def features(self, pixels: Tensor) -> Tensor:
        x = self.stem(self.normalise(pixels))  # (N, 24, 64, 64)
        found = [self.grams[0](x)]
        for stage, gram in zip(self.stages, self.grams[1:], strict=True):
            x = stage(x)
            found.append(gram(x))
        return torch.cat([*found, x.mean((2, 3))], 1)  # (N, 4 * 32 + 160)
