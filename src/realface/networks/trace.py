"""A residual network for the traces in the noise of a picture rather than for what it shows.

Two ideas from steganalysis: filters that remove the content and keep the noise, cut off at a few grey levels
(Fridrich and Kodovsky 2012, "Rich Models for Steganalysis of Digital Images"), and first layers that keep every
pixel, because downsampling averages exactly that noise away (Boroumand, Chen and Fridrich 2018, "Deep Residual
Network for Steganalysis of Digital Images", SRNet).
"""

from itertools import pairwise
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .base import Network

CUT = 8.0  # grey levels beyond which a residual is content, not noise
CHANNELS = (16, 32, 64, 128)  # at 128, 64, 32 and 16 pixels a side


class Residual(nn.Module):
    """Two 3x3 convolutions around a shortcut; the first may halve the sides."""

    def __init__(self, channels: int, out: int, stride: int = 1) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(channels, out, 3, stride, padding=1, bias=False),
            nn.BatchNorm2d(out),
            nn.ReLU(),
            nn.Conv2d(out, out, 3, padding=1, bias=False),
            nn.BatchNorm2d(out),
        )
        short = [nn.Conv2d(channels, out, 1, stride, bias=False), nn.BatchNorm2d(out)]
        self.shortcut = nn.Identity() if stride == 1 and channels == out else nn.Sequential(*short)

    def forward(self, x: Tensor) -> Tensor:  # (N, channels, H, W) -> (N, out, H / stride, W / stride)
        return torch.relu(self.layers(x) + self.shortcut(x))


def noise_residuals(pixels: Tensor) -> Tensor:
    """(N, 3, H, W) pixels in [0, 1] to (N, 9, H, W): what its neighbours do not predict of a pixel, in [-1, 1].

    Three of the rich models' predictors: the mean of the two neighbours in the row, in the column, and the
    3x3 "square", which is one after the other. Slices instead of a convolution keep this in full precision.
    """
    x = F.pad(pixels * 255, (1, 1, 1, 1), mode="reflect")
    across = x[..., 1:-1] - (x[..., :-2] + x[..., 2:]) / 2  # (N, 3, H + 2, W)
    down = x[..., 1:-1, :] - (x[..., :-2, :] + x[..., 2:, :]) / 2  # (N, 3, H, W + 2)
    square = across[..., 1:-1, :] - (across[..., :-2, :] + across[..., 2:, :]) / 2  # (N, 3, H, W)
    return torch.cat([across[..., 1:-1, :], down[..., 1:-1], square], 1).clamp(-CUT, CUT) / CUT


class TraceResNet(Network):
    """Residual network on pixels and their noise residuals that keeps full resolution in its first layers."""

    input_size: ClassVar[int] = 128
    any_size = True
    mean = (0.5, 0.5, 0.5)
    std = (0.5, 0.5, 0.5)
    defaults: ClassVar[dict[str, Any]] = {"patience": 10}

    def __init__(self) -> None:
        super().__init__()
        first = CHANNELS[0]
        layers: list[nn.Module] = [nn.Conv2d(12, first, 3, padding=1, bias=False), nn.BatchNorm2d(first), nn.ReLU()]
        layers += [Residual(first, first), Residual(first, first)]
        for channels, out in pairwise(CHANNELS):
            layers += [Residual(channels, out, 2), Residual(out, out)]
        self.body = nn.Sequential(*layers)
        self.head = nn.Sequential(nn.Dropout(0.2), nn.Linear(2 * CHANNELS[-1], 1))

    def features(self, pixels: Tensor) -> Tensor:
        x = torch.cat([self.normalise(pixels), noise_residuals(pixels)], 1)  # (N, 12, 128, 128)
        x = self.body(x)  # (N, 128, 16, 16)
        return torch.cat([x.mean((2, 3)), x.amax((2, 3))], 1)  # (N, 256): how much of a trace there is, and the most
