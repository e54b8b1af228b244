"""One stream over the pixels, one over their frequencies, joined where both have a 16 x 16 grid.

That upsampling leaves marks in the spectrum: Frank et al. 2020, "Leveraging Frequency Analysis for Deep Fake Image
Recognition". Two streams, with the discrete cosine transform of small blocks as the second: Qian et al. 2020,
"Thinking in Frequency: Face Forgery Detection by Mining Frequency-aware Clues" (F3-Net).
"""

import math
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .base import Network
from .trace import Residual

BLOCK = 8  # that of JPEG
GRID_CHANNELS = 128


def cosine_filters() -> Tensor:
    """(64, 1, 8, 8): the orthonormal two-dimensional cosine functions of a block, lowest frequency first."""
    at, frequency = torch.arange(BLOCK) + 0.5, torch.arange(BLOCK)
    waves = torch.cos(math.pi / BLOCK * frequency[:, None] * at) * math.sqrt(2 / BLOCK)  # (8, 8)
    waves = torch.cat([waves[:1] / math.sqrt(2), waves[1:]])
    return torch.einsum("uy,vx->uvyx", waves, waves).reshape(BLOCK**2, 1, BLOCK, BLOCK)


class TwoStream(Network):
    """Residual network over pixels beside one over the log spectra of 8 x 8 blocks, joined half-way."""

    input_size: ClassVar[int] = 128
    any_size = True
    mean = (0.5, 0.5, 0.5)
    std = (0.5, 0.5, 0.5)
    defaults: ClassVar[dict[str, Any]] = {"patience": 10}
    cosines: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("cosines", cosine_filters().repeat(3, 1, 1, 1), persistent=False)  # (192, 1, 8, 8)
        self.pixel_stream = nn.Sequential(
            nn.Conv2d(3, 32, 3, 2, padding=1, bias=False),
            nn.BatchNorm2d(32),
            nn.ReLU(),  # (N, 32, 64, 64)
            Residual(32, 32),
            Residual(32, 64, 2),
            Residual(64, 64),
            Residual(64, GRID_CHANNELS, 2),  # (N, 128, 16, 16)
        )
        self.frequency_stream = nn.Sequential(
            nn.BatchNorm2d(3 * BLOCK**2),  # each frequency in units of its own spread
            nn.Conv2d(3 * BLOCK**2, GRID_CHANNELS, 1, bias=False),
            nn.BatchNorm2d(GRID_CHANNELS),
            nn.ReLU(),
            Residual(GRID_CHANNELS, GRID_CHANNELS),  # (N, 128, 16, 16)
        )
        self.joined = nn.Sequential(
            Residual(2 * GRID_CHANNELS, 128, 2), Residual(128, 128), nn.AdaptiveAvgPool2d(1), nn.Flatten()
        )
        self.head = nn.Sequential(nn.Dropout(0.2), nn.Linear(128, 1))

    def spectra(self, pixels: Tensor) -> Tensor:
        """(N, 3, 128, 128) pixels to (N, 192, 16, 16) logarithms of what each frequency of each block holds."""
        with torch.autocast("cuda" if pixels.is_cuda else "cpu", enabled=False):  # half precision has no fine ones
            blocks = F.conv2d(pixels.float() * 255, self.cosines, stride=BLOCK, groups=3)
        return torch.log(blocks.abs() + 1)

    def features(self, pixels: Tensor) -> Tensor:
        streams = [self.pixel_stream(self.normalise(pixels)), self.frequency_stream(self.spectra(pixels))]
        joined: Tensor = self.joined(torch.cat(streams, 1))
        return joined  # (N, 128)
