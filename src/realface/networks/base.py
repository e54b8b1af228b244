"""What every network in the registry is: a plain PyTorch module with a few facts about itself."""

from typing import Any, ClassVar

import torch
from torch import Tensor, nn


class Network(nn.Module):
    """Base of all networks: pixels in [0, 1] go in, one logit a picture comes out (positive means fake).

    A subclass states its facts as class attributes and implements `features` and `classify`. The split
    between the two is what lets a frozen trunk be run once and its features cached.

    Attributes:
        input_size: side in pixels of the square picture it takes.
        mean, std: per-channel normalisation of pixels in [0, 1], applied inside the network.
        explains: whether `explain` says where in the picture the evidence lies.
        pretrained: whether `load_pretrained` has published weights to start from.
        defaults: training settings that differ from those of `realface.training.config.Config`.
    """

    input_size: ClassVar[int]
    mean: ClassVar[tuple[float, float, float]] = (0.0, 0.0, 0.0)
    std: ClassVar[tuple[float, float, float]] = (1.0, 1.0, 1.0)
    explains: ClassVar[bool] = False
    pretrained: ClassVar[bool] = False
    defaults: ClassVar[dict[str, Any]] = {}
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
        raise NotImplementedError

    def forward(self, pixels: Tensor) -> Tensor:
        """(N, 3, S, S) float pixels in [0, 1] to (N,) logits, positive for fake."""
        return self.classify(self.features(pixels))

    def explain(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """(N, 3, S, S) float pixels in [0, 1] to (N,) logits and what each cell of a grid adds to them, (N, G, G)."""
        raise NotImplementedError(f"{type(self).__name__} does not say where its evidence lies")

    def fits_int4(self) -> bool:
        """Whether the weights of its linear layers can be stored in 4 bits without changing what it computes."""
        return False

    def load_pretrained(self) -> None:
        """Fill the trunk with published weights, from the cache that `realface networks --fetch` fills."""
        raise NotImplementedError(f"{type(self).__name__} has no published weights")
