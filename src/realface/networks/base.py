"""What every network in the registry is: a plain PyTorch module with a few facts about itself."""

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

Judged = Tensor | tuple[Tensor, ...]
"""Logits (N,); of networks that explain, what each cell of a grid adds to them, (N, G, G); of those that measure it,
the novelty of the faces, (N,)."""


class Network(nn.Module):
    """Base of all networks: pixels in [0, 1] go in, one logit a picture comes out (positive means fake).

    A subclass states its facts as class attributes, implements `features` and has a `head`. The split between the two
    is what lets a frozen trunk be run once and its features cached.

    Attributes:
        head: from (N, F) features to (N, 1); of a frozen network, all that is trained and kept.
        input_size: side in pixels of the square picture it takes.
        any_size: whether its layers fit pictures of other sides too, multiples of 32.
        sees_face: whether it is given the whole face, resampled to `input_size`.
        window: side in pixels of the windows of native pixels it is given; 0 for none.
        mean, std: per-channel normalisation of pixels in [0, 1], applied inside the network.
        explains: whether `judge` says where in the picture the evidence lies.
        measures_novelty: whether `judge` says how unlike the training pictures a face is.
        pretrained: whether `load_pretrained` has published weights to start from.
        gains_by_bfloat16: whether bfloat16 arithmetic makes its training faster on processors that have it.
        defaults: training settings that differ from those of `realface.training.config.Config`.
    """

    input_size: ClassVar[int]
    any_size: ClassVar[bool] = False
    sees_face: ClassVar[bool] = True
    window: ClassVar[int] = 0
    mean: ClassVar[tuple[float, float, float]] = (0.0, 0.0, 0.0)
    std: ClassVar[tuple[float, float, float]] = (1.0, 1.0, 1.0)
    explains: ClassVar[bool] = False
    measures_novelty: ClassVar[bool] = False
    pretrained: ClassVar[bool] = False
    gains_by_bfloat16: ClassVar[bool] = True
    defaults: ClassVar[dict[str, Any]] = {}
    head: nn.Sequential
    _mean: Tensor
    _std: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("_mean", torch.tensor(self.mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("_std", torch.tensor(self.std).view(1, 3, 1, 1), persistent=False)

    def normalise(self, pixels: Tensor) -> Tensor:
        """(N, 3, S, S) pixels in [0, 1] to the range this network was made for."""
        return (pixels - self._mean) / self._std

    def features(self, pixels: Tensor) -> Tensor:
        """(N, 3, S, S) float pixels in [0, 1] to (N, F) features."""
        raise NotImplementedError

    def classify(self, features: Tensor) -> Tensor:
        """(N, F) features to (N,) logits."""
        logits: Tensor = self.head(features)
        return logits.squeeze(1)

    def forward(self, pixels: Tensor) -> Tensor:
        """(N, 3, S, S) float pixels in [0, 1] to (N,) logits, positive for fake."""
        return self.classify(self.features(pixels))

    def judge(self, pixels: Tensor | None, windows: Tensor | None) -> Judged:
        """What a detector file computes.

        Args:
            pixels: (N, 3, S, S) in [0, 1], the whole face; None where `sees_face` is False.
            windows: (N, 9, 3, W, W) in [0, 1], of native pixels; None where `window` is 0.
        """
        assert pixels is not None
        logits: Tensor = self(pixels)
        return logits

    def fits_int4(self) -> bool:
        """Whether the weights of its linear layers can be stored in 4 bits without changing what it computes."""
        return False

    def load_pretrained(self) -> None:
        """Fill the trunk with published weights, from the cache that `realface networks --fetch` fills."""
        raise NotImplementedError(f"{type(self).__name__} has no published weights")
