"""The native view: a small network on windows of a face's own pixels, which resizing would have smoothed.

That traces of a generator live in pixels no one has resampled: Gragnaniello et al. 2021, "Are GAN Generated Images Easy
to Detect? A Critical Analysis of the State-of-the-Art".
"""

from typing import Any, ClassVar

from torch import Tensor

from .base import Judged
from .efficientnet import EfficientNetLite0

DEVIATION = 0.45
"""Of what the network is given, about that of photographs scaled to [-1, 1], which its first weights know."""
FLAT = 0.05
"""A window whose deviation is smaller, a plain backdrop, is not stretched to the full."""


class NativeView(EfficientNetLite0):
    """EfficientNet-Lite0 on windows of 192 native pixels, learned from pairs that differ in the generator's trace."""

    input_size: ClassVar[int] = 192
    sees_face: ClassVar[bool] = False
    window: ClassVar[int] = 192
    explains = True
    defaults: ClassVar[dict[str, Any]] = {"epochs": 12, "batch_size": 64, "learning_rate": 5e-4, "patience": 0}

    def normalise(self, pixels: Tensor) -> Tensor:
        """Each channel of each window to mean 0 and one deviation: light and colour are no trace of a generator."""
        centred = pixels - pixels.mean((2, 3), keepdim=True)
        deviation = centred.square().mean((2, 3), keepdim=True).sqrt()
        return centred * (DEVIATION / deviation.clamp_min(FLAT))

    def judge(self, pixels: Tensor | None, windows: Tensor | None) -> Judged:
        assert windows is not None
        each = self.each(windows)
        return each.mean(1), each.view(-1, 3, 3) / 9

    def each(self, windows: Tensor) -> Tensor:
        """(N, 9, 3, W, W) windows in [0, 1] to (N, 9) logits."""
        logits: Tensor = self(windows.flatten(0, 1))
        return logits.view(-1, 9)
