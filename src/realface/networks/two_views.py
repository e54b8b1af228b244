"""Two views of a face, one answer: the whole face through a large trunk, its native pixels through a small network."""

from typing import ClassVar

import torch
from torch import Tensor, nn

from .base import Judged, Network
from .clip import PATCH, ClipB16
from .native import NativeView


class TwoViews(Network):
    """ClipB16 and NativeView, weighed by logistic regression; made by `realface fuse`, not trained as one."""

    input_size: ClassVar[int] = ClipB16.input_size
    window: ClassVar[int] = NativeView.window
    explains = True
    measures_novelty = True

    def __init__(self, whole: ClipB16, native: NativeView) -> None:
        super().__init__()
        self.whole, self.native = whole, native
        self.fusion = nn.Linear(2, 1)  # of the whole face's logit and the windows' mean
        # which of the 3 x 3 windows lies nearest to the middle of each of the 14 x 14 patches
        grid = self.input_size // PATCH
        nearest = (2 * torch.arange(grid) + 1) * 3 // (2 * grid)
        self.register_buffer("_nearest", (nearest[:, None] * 3 + nearest).flatten(), persistent=False)
        self._nearest: Tensor

    def judge(self, pixels: Tensor | None, windows: Tensor | None) -> Judged:
        """Fused logits, their exact sum over the patches (what a window adds, spread over those below), and novelty."""
        assert pixels is not None
        assert windows is not None
        whole, cells, novelty = self.whole.judge(pixels, None)
        each = self.native.each(windows)
        logits = self.fusion(torch.stack([whole, each.mean(1)], 1)).squeeze(1)
        weights = self.fusion.weight[0]
        added = weights[1] * each / 9
        share = 1 / torch.bincount(self._nearest, minlength=9).float()
        cells = weights[0] * cells.flatten(1) + (added * share)[:, self._nearest]
        cells = cells + (logits - cells.sum(1))[:, None] / cells.shape[1]  # the bias has no place in the picture
        grid = self.input_size // PATCH
        return logits, cells.view(-1, grid, grid), novelty

    def fits_int4(self) -> bool:
        return self.whole.fits_int4()
