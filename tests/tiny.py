"""A network that several tests of training train."""

from typing import ClassVar

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
