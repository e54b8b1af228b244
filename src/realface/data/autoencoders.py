"""Five tiny autoencoders that leave in a real picture the traces of the generators they stand in for.

TAESD and its siblings (Ollin Boer Bohan 2023, "Tiny AutoEncoder for Stable Diffusion", MIT), distilled from the
autoencoders of latent diffusion models: the last thing such a generator does to a picture is to decode it.
"""

from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from ..errors import WeightsError

LATENT = {"taesd": 4, "taesdxl": 4, "taesd3": 16, "taef1": 16, "taef2": 32}
"""Channels of the latent picture, an eighth of the sides: Stable Diffusion 1 and 2, SDXL, SD 3, FLUX.1, FLUX.2."""
STEP = 8  # sides must be a multiple of it
WIDTH = 64


class Block(nn.Module):
    """Three 3x3 convolutions, added to the input; before them FLUX.2's smallest blocks look at all of the picture."""

    def __init__(self, pooled: bool) -> None:
        super().__init__()
        convolutions = [nn.Conv2d(WIDTH, WIDTH, 3, padding=1) for _ in range(3)]
        self.conv = nn.Sequential(convolutions[0], nn.ReLU(), convolutions[1], nn.ReLU(), convolutions[2])
        wide = 4 * WIDTH
        self.pool = (
            nn.Sequential(
                nn.Conv2d(WIDTH, wide, 1, bias=False),
                nn.GroupNorm(4, wide),
                nn.ReLU(),
                nn.Conv2d(wide, WIDTH, 1, bias=False),
            )
            if pooled
            else None
        )

    def forward(self, x: Tensor) -> Tensor:  # (N, 64, H, W) -> the same
        if self.pool is not None:
            x = x + self.pool(x)
        return torch.relu(self.conv(x) + x)


class Squash(nn.Module):
    """Keeps the latent values within -3 to 3."""

    def forward(self, x: Tensor) -> Tensor:
        return 3 * torch.tanh(x / 3)


def encoder(latent: int, pooled: bool) -> nn.Sequential:
    """(N, 3, H, W) pixels in [0, 1] to (N, latent, H / 8, W / 8)."""
    layers: list[nn.Module] = [nn.Conv2d(3, WIDTH, 3, padding=1), Block(False)]
    for stage in range(3):
        layers.append(nn.Conv2d(WIDTH, WIDTH, 3, stride=2, padding=1, bias=False))
        layers += [Block(pooled and stage == 2) for _ in range(3)]
    return nn.Sequential(*layers, nn.Conv2d(WIDTH, latent, 3, padding=1))


def decoder(latent: int, pooled: bool) -> nn.Sequential:
    """(N, latent, H / 8, W / 8) to (N, 3, H, W) pixels, about [0, 1]."""
    layers: list[nn.Module] = [Squash(), nn.Conv2d(latent, WIDTH, 3, padding=1), nn.ReLU()]
    for stage in range(3):
        layers += [Block(pooled and stage == 0) for _ in range(3)]
        layers += [nn.Upsample(scale_factor=2), nn.Conv2d(WIDTH, WIDTH, 3, padding=1, bias=False)]
    return nn.Sequential(*layers, Block(False), nn.Conv2d(WIDTH, 3, 3, padding=1))


class Autoencoder(nn.Module):
    """Encoder and decoder of one of `LATENT`; pictures go in and come out, a little changed."""

    def __init__(self, name: str) -> None:
        super().__init__()
        pooled = name == "taef2"
        self.encoder, self.decoder = encoder(LATENT[name], pooled), decoder(LATENT[name], pooled)

    def forward(self, pixels: Tensor) -> Tensor:  # (N, 3, H, W) in [0, 1] -> the same
        decoded: Tensor = self.decoder(self.encoder(pixels))
        return decoded.clamp(0, 1)


def load(folder: Path) -> dict[str, Autoencoder]:
    """All of `LATENT` from `NAME_encoder.safetensors` and `NAME_decoder.safetensors` in a folder.

    Raises:
        WeightsError: a file is missing, or is not that autoencoder's.
    """
    found = {}
    for name in LATENT:
        model = Autoencoder(name)
        for part in ("encoder", "decoder"):
            path = folder / f"{name}_{part}.safetensors"
            try:
                weights = {key: value.float() for key, value in load_file(path).items()}
                getattr(model, part).load_state_dict(weights)
            except FileNotFoundError:
                raise WeightsError(f"{path} is missing; docs/data.md says how to fetch it") from None
            except Exception as error:  # safetensors and torch have no common base of what they raise
                raise WeightsError(f"{path} does not hold the {part} of {name}: {error}") from None
        found[name] = model.eval().requires_grad_(False).to(memory_format=torch.channels_last)  # pyrefly: ignore[no-matching-overload]
    return found
