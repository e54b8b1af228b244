"""Data sets made for the tests of the audit: pictures like no other, portraits all too alike, and their manifest."""

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter


def cloud(seed: int, size: tuple[int, int] = (96, 96)) -> Image.Image:
    """A picture like no other: random colours, smoothly joined, with a little grain."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(40, 216, (8, 8, 3), dtype=np.uint8)).resize(size, Image.Resampling.BICUBIC)
    return Image.fromarray((np.asarray(coarse) + rng.normal(0, 4, (*size[::-1], 3))).clip(0, 255).astype(np.uint8))


def portrait(seed: int, side: int = 192) -> Image.Image:
    """A soft portrait on a plain backdrop: all have the same pose, each its own features."""
    rng = np.random.default_rng(seed)
    image = Image.new("RGB", (side, side), (225, 228, 232))
    draw, shift = ImageDraw.Draw(image), rng.normal(0, 0.02, 2)

    def spot(x: float, y: float, width: float, height: float, colour: tuple[int, int, int]) -> None:
        x, y = x + shift[0], y + shift[1]
        draw.ellipse([(x - width) * side, (y - height) * side, (x + width) * side, (y + height) * side], fill=colour)

    dark = tuple(rng.integers(20, 110, 3).tolist())
    spot(0.5, 0.42, rng.uniform(0.22, 0.34), rng.uniform(0.28, 0.38), dark)
    spot(0.5, 1.02, rng.uniform(0.3, 0.5), rng.uniform(0.15, 0.25), tuple(rng.integers(30, 200, 3).tolist()))
    spot(0.5, 0.5, rng.uniform(0.17, 0.21), rng.uniform(0.26, 0.31), (224, 180, 150))
    for _ in range(8):  # nose, cheeks, wrinkles, light
        spot(*rng.uniform(0.35, 0.65, 2), *rng.uniform(0.01, 0.05, 2), tuple(rng.integers(130, 240, 3).tolist()))
    for x in (0.42, 0.58):
        spot(x + rng.normal(0, 0.01), 0.45 + rng.normal(0, 0.02), *rng.uniform(0.015, 0.04, 2), dark)
    spot(0.5, 0.65 + rng.normal(0, 0.02), rng.uniform(0.03, 0.09), rng.uniform(0.008, 0.03), (150, 60, 60))
    return image.filter(ImageFilter.GaussianBlur(1))


class Data:
    """A data set in the making: pictures and their rows of a manifest."""

    def __init__(self, root: Path) -> None:
        root.mkdir()
        self.root, self.rows = root, ["path,label,source,split"]

    def add(self, name: str, data: bytes, label: str = "real", split: str = "train", source: str = "") -> None:
        (self.root / name).write_bytes(data)
        self.rows.append(f"{name},{label},{source},{split}")

    def done(self) -> Path:
        (self.root / "manifest.csv").write_text("\n".join(self.rows))
        return self.root
