"""EfficientNet-Lite0: EfficientNet-B0 without squeeze-and-excitation, with ReLU6 for swish.

Tan and Le 2019, "EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks"; the Lite variants are
Liu 2020, "Higher accuracy on vision models with EfficientNet-Lite" (TensorFlow blog).
"""

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from .base import Network
from .pretrained import efficientnet_lite0

# (repeats, kernel, stride of the first, expansion, channels out)
STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
STEM, WIDTH, CLASSES = 32, 1280, 1000


def conv(channels: int, out: int, kernel: int = 1, stride: int = 1, groups: int = 1) -> list[nn.Module]:
    """Convolution and normalisation with TensorFlow's "same" padding, for pictures of even sides.

    At stride 2 that padding has one row and column more at the bottom right than at the top left. The published
    weights were trained with it; padding both sides alike shifts every stage by half a pixel.
    """
    before, after = (kernel - stride) // 2, (kernel - stride + 1) // 2
    pad = [nn.ZeroPad2d((before, after, before, after))] if before != after else []
    padding = 0 if pad else before
    weight = nn.Conv2d(channels, out, kernel, stride, padding, groups=groups, bias=False)
    return [*pad, weight, nn.BatchNorm2d(out, eps=1e-3)]


class Block(nn.Module):
    """Inverted residual: widen, filter each channel by itself, narrow; added to its input where shapes agree."""

    def __init__(self, channels: int, out: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        wide = channels * expansion
        widen = [*conv(channels, wide), nn.ReLU6()] if expansion > 1 else []
        self.layers = nn.Sequential(*widen, *conv(wide, wide, kernel, stride, wide), nn.ReLU6(), *conv(wide, out))
        self.residual = stride == 1 and channels == out

    def forward(self, x: Tensor) -> Tensor:  # (N, channels, H, W) -> (N, out, H / stride, W / stride)
        y: Tensor = self.layers(x)
        return x + y if self.residual else y


class EfficientNetLite0(Network):
    """EfficientNet-Lite0, every layer fine-tuned from ImageNet weights."""

    input_size: ClassVar[int] = 192
    any_size = True
    mean = (0.5, 0.5, 0.5)
    std = (0.5, 0.5, 0.5)
    pretrained = True
    gains_by_bfloat16 = False  # filters of one channel each gain nothing by it
    defaults: ClassVar[dict[str, Any]] = {"epochs": 12, "batch_size": 32, "learning_rate": 5e-4}

    def __init__(self) -> None:
        super().__init__()
        layers = [*conv(3, STEM, 3, 2), nn.ReLU6()]  # 192 -> 96
        channels = STEM
        for repeats, kernel, stride, expansion, out in STAGES:  # 96, 48, 24, 12, 12, 6, 6
            for i in range(repeats):
                layers.append(Block(channels, out, kernel, stride if i == 0 else 1, expansion))
                channels = out
        layers += [*conv(channels, WIDTH), nn.ReLU6(), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
        self.body = nn.Sequential(*layers)
        self.head = nn.Sequential(nn.Dropout(0.2), nn.Linear(WIDTH, 1))

    def features(self, pixels: Tensor) -> Tensor:
        pooled: Tensor = self.body(self.normalise(pixels))
        return pooled  # (N, 1280)

    def load_pretrained(self) -> None:
        body = self.body.state_dict()
        imagenet_head = [torch.empty(CLASSES, WIDTH), torch.empty(CLASSES)]  # last in the file, of no use here
        values = efficientnet_lite0([*body.values(), *imagenet_head])[:-2]
        self.body.load_state_dict(dict(zip(body, values, strict=True)))
