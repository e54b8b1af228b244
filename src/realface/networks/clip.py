"""The first eight blocks of CLIP's ViT-B/16 image tower, and a head of one hidden layer on blocks 5 to 7.

Radford et al. 2021, "Learning Transferable Visual Models From Natural Language Supervision"; that features of
CLIP's middle blocks separate real from generated pictures better than its last ones: Koutlis and Papadopoulos
2024, "Leveraging Representations from Intermediate Encoder-blocks for Synthetic Image Detection".
"""

from collections.abc import Iterator
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .base import Network
from .pretrained import clip_image_tower

WIDTH, HEADS, PATCH, BLOCKS = 768, 12, 16, 8
TAPPED = (5, 6, 7)
HIDDEN = 128
INT4_BLOCK = 32


class Block(nn.Module):
    """One pre-norm transformer block with CLIP's quick GELU."""

    def __init__(self) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(WIDTH)
        self.q = nn.Linear(WIDTH, WIDTH)
        self.k = nn.Linear(WIDTH, WIDTH)
        self.v = nn.Linear(WIDTH, WIDTH)
        self.out = nn.Linear(WIDTH, WIDTH)
        self.norm2 = nn.LayerNorm(WIDTH)
        self.fc1 = nn.Linear(WIDTH, 4 * WIDTH)
        self.fc2 = nn.Linear(4 * WIDTH, WIDTH)

    def forward(self, x: Tensor) -> Tensor:  # (N, T, 768) -> (N, T, 768)
        n, t, _ = x.shape
        y = self.norm1(x)
        q, k, v = (f(y).view(n, t, HEADS, -1).transpose(1, 2) for f in (self.q, self.k, self.v))  # (N, 12, T, 64)
        y = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(n, t, WIDTH)
        x = x + self.out(y)
        y = self.fc1(self.norm2(x))
        x = x + self.fc2(y * torch.sigmoid(1.702 * y))
        return x


class ClipB16(Network):
    """CLIP ViT-B/16, blocks 0 to 7; class token, mean and deviation of the patches of blocks 5, 6, 7; a small head."""

    input_size: ClassVar[int] = 224
    mean = (0.48145466, 0.4578275, 0.40821073)
    std = (0.26862954, 0.26130258, 0.27577711)
    explains = True
    measures_novelty = True
    pretrained = True
    defaults: ClassVar[dict[str, Any]] = {
        "freeze": True,
        "batch_size": 128,
        "epochs": 50,
        "patience": 0,
        "learning_rate": 5e-4,
        "weight_decay": 0.1,
    }

    def __init__(self) -> None:
        super().__init__()
        tokens = (self.input_size // PATCH) ** 2 + 1
        self.patches = nn.Conv2d(3, WIDTH, PATCH, PATCH, bias=False)
        self.class_token = nn.Parameter(torch.zeros(WIDTH))
        self.positions = nn.Parameter(torch.zeros(tokens, WIDTH))
        self.norm = nn.LayerNorm(WIDTH)
        self.blocks = nn.ModuleList(Block() for _ in range(BLOCKS))
        size = 3 * WIDTH * len(TAPPED)
        # Without affine parameters this is plain standardisation, by mean and variance over all batches of training.
        self.head = nn.Sequential(
            nn.BatchNorm1d(size, affine=False, momentum=None),
            nn.Dropout(0.3),
            nn.Linear(size, HIDDEN),
            nn.ReLU(),
            nn.Dropout(0.5),
            nn.Linear(HIDDEN, 1),
        )
        self._round_weights()

    def tapped(self, pixels: Tensor) -> list[Tensor]:
        """The (N, 197, 768) tokens after each of the blocks the head looks at, the class token first."""
        x = self.patches(self.normalise(pixels)).flatten(2).transpose(1, 2)  # (N, 196, 768)
        x = torch.cat([self.class_token.expand(x.shape[0], 1, -1), x], 1) + self.positions
        x = self.norm(x)
        found = []
        for i, block in enumerate(self.blocks):
            x = block(x)
            if i in TAPPED:
                found.append(x)
        return found

    def features(self, pixels: Tensor) -> Tensor:
        return pooled(self.tapped(pixels))

    def judge(self, pixels: Tensor | None, windows: Tensor | None) -> tuple[Tensor, ...]:
        """The logits, their exact sum over the 14 x 14 patches, and the `novelty` of the faces.

        A class activation map (Zhou et al. 2016, "Learning Deep Features for Discriminative Localization"): for the
        hidden units that a picture turns on the head is linear, a mean is a sum over patches, and so is a deviation, as
        variance over deviation. What the class token and the biases add has no place in the picture and is spread
        evenly.
        """
        assert pixels is not None
        tapped = self.tapped(pixels)
        features = pooled(tapped)
        logits = self.classify(features)
        slopes = self._slopes(features).view(-1, len(TAPPED), 3, WIDTH, 1)
        cells = torch.zeros_like(tapped[0][:, 1:, :1])  # (N, 196, 1)
        for block, tokens in enumerate(tapped):
            patches = tokens[:, 1:]
            centred = patches - patches.mean(1, keepdim=True)
            deviation = (centred.square().mean(1, keepdim=True) + 1e-8).sqrt()
            cells = cells + patches @ slopes[:, block, 1] + (centred.square() / deviation) @ slopes[:, block, 2]
        cells = cells.squeeze(2) / cells.shape[1]
        cells = cells + (logits - cells.sum(1)).unsqueeze(1) / cells.shape[1]
        grid = self.input_size // PATCH
        return logits, cells.view(-1, grid, grid), self.novelty(features)

    def _slopes(self, features: Tensor) -> Tensor:
        """How the logits change with (N, 6912) features, (N, 6912), the head being linear around each."""
        norm, first, last = self.head[0], self.head[2], self.head[5]
        assert isinstance(norm, nn.BatchNorm1d)
        assert isinstance(first, nn.Linear)
        assert isinstance(last, nn.Linear)
        assert norm.running_var is not None
        on = (first(norm(features)) > 0).float()
        nothing = torch.zeros(1, device=features.device)
        # Not `@`: the weights are then one constant of the file, beside those of `first` and not in 4 bits.
        return torch.addmm(nothing, on * last.weight, first.weight) / (norm.running_var + norm.eps).sqrt()

    def novelty(self, features: Tensor) -> Tensor:
        """How unlike the training pictures (N, 6912) features are, (N,): their mean squared deviation, of which that of
        the training pictures is 1."""
        deviations: Tensor = self.head[0](features)
        return deviations.square().mean(1)

    def load_pretrained(self) -> None:
        missing, unexpected = self.load_state_dict(clip_image_tower(BLOCKS), strict=False)
        wrong = [name for name in missing if not name.startswith("head.")] + unexpected
        if wrong:
            raise ValueError(f"these weights do not fit clip-b16: {wrong[:3]}")
        self._round_weights()

    def fits_int4(self) -> bool:
        """True while the trunk lies on the levels it starts from; fine-tuning leaves them, and 4 bits would undo it."""
        return all(torch.equal(round_to_int4(weight), weight) for weight in self._weights())

    def _weights(self) -> Iterator[Tensor]:
        return (layer.weight for layer in self.blocks.modules() if isinstance(layer, nn.Linear))

    @torch.no_grad()
    def _round_weights(self) -> None:
        for weight in self._weights():
            weight.copy_(round_to_int4(weight))


def pooled(tapped: list[Tensor]) -> Tensor:
    """Class token, mean and deviation of the patches of each (N, 197, 768): (N, 6912)."""
    parts = []
    for tokens in tapped:
        patches = tokens[:, 1:]
        centred = patches - patches.mean(1, keepdim=True)
        parts += [tokens[:, 0], patches.mean(1), (centred.square().mean(1) + 1e-8).sqrt()]
    return torch.cat(parts, 1)


def round_to_int4(weight: Tensor) -> Tensor:
    """Round (out, in) weights to the 16 levels that a 4-bit detector file stores for each run of 32 inputs.

    Done before training, so that the head is fitted to exactly the features the finished file will compute.
    """
    runs = weight.view(-1, INT4_BLOCK)
    largest = runs.gather(1, runs.abs().argmax(1, keepdim=True))
    scale = largest / -8
    scale = torch.where(scale == 0, 1, scale)
    return ((runs / scale).round().clamp(-8, 7) * scale).view_as(weight)
