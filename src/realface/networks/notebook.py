"""The two networks of the notebook this project began as, after their Keras description, layer for layer.

Dropout stands between ReLU and batch normalisation, and batch normalisation and first weights are Keras's, not
PyTorch's; by Keras's count (`realface.networks.describe`) both have exactly the parameters the notebook printed.
"""

from typing import Any, ClassVar

from torch import Tensor, nn

from .base import Network

CONV_DROPOUT = (0.0, 0.1, 0.0, 0.2, 0.2)  # after the ReLU of each convolution
DENSE_DROPOUT = 0.2


class NotebookSmall(Network):
    """Five 3x3 convolutions of 32 to 256 channels, each pooled, and one dense layer of 128."""

    input_size: ClassVar[int] = 128
    defaults: ClassVar[dict[str, Any]] = {
        "framing": "centre-square",
        "schedule": "plateau",
        "degradations": 0.0,
        "balance": "none",
        "weight_decay": 0.0,
        "learning_rate": 1e-3,
    }
    channels: ClassVar[tuple[int, ...]] = (32, 64, 64, 128, 256)
    dense: ClassVar[tuple[int, ...]] = (128,)

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        width = 3
        for out, dropout in zip(self.channels, CONV_DROPOUT, strict=True):
            layers += [nn.Conv2d(width, out, 3, padding=1), nn.ReLU()]
            layers += [nn.Dropout(dropout)] if dropout else []
            layers += [nn.BatchNorm2d(out, eps=1e-3, momentum=0.01), nn.MaxPool2d(2)]
            width = out
        self.body = nn.Sequential(*layers, nn.Flatten())
        width *= (self.input_size // 2 ** len(self.channels)) ** 2
        layers = []
        for out in self.dense:
            layers += [nn.Linear(width, out), nn.ReLU(), nn.Dropout(DENSE_DROPOUT)]
            width = out
        self.head = nn.Sequential(*layers, nn.Linear(width, 1))
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def features(self, pixels: Tensor) -> Tensor:  # (N, 3, 128, 128) -> (N, 4 * 4 * last of channels)
        flat: Tensor = self.body(pixels)
        return flat


class NotebookWide(NotebookSmall):
    """Five 3x3 convolutions of 32 to 512 channels, each pooled, and dense layers of 2048 and 1024."""

    channels = (32, 64, 128, 256, 512)
    dense = (2048, 1024)
