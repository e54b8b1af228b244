"""Drawn faces to try the notebook on: half as they are, half with the trace that a generator would leave.

Where the notebook is given no pictures of its own, it learns to tell these apart. They stand in for photographs only so
far that every step can be run in seconds; no figure reached on them says anything of real faces.
"""

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

SIDE, FINE = 128, 2  # pixels of a drawing, and how many times larger it is drawn
GRID, STRENGTH = 4, 7.0  # pixels from line to line of the trace, and its levels of 255
WARM = np.array([1.15, 1.0, 0.75])
SPLITS = {"train": 24, "valid": 8, "test": 8}  # of each class
SOURCES = {"plain": (196, 232), "dusk": (70, 120)}  # lightness of the backdrop


def face(rng: np.random.Generator, backdrop: tuple[int, int]) -> np.ndarray:
    """One drawn face, (128, 128, 3) uint8: no two have the same features, colours, light or grain."""
    side = SIDE * FINE
    image = Image.new("RGB", (side, side), tuple(rng.integers(*backdrop, 3).tolist()))
    pen = ImageDraw.Draw(image)
    for _ in range(4):  # a wall is never empty
        x, y, wide, high = side * rng.uniform(0, [1, 1, 0.4, 0.4])
        pen.rectangle([x, y, x + wide, y + high], fill=tuple(rng.integers(*backdrop, 3).tolist()))
    shift, scale = rng.normal(0, 0.05, 2), rng.uniform(0.75, 1.15)
    skin = np.array([236, 188, 158]) * rng.uniform(0.45, 1.02)
    hair = np.array([92, 62, 40]) * rng.uniform(0.2, 2.0)

    def spot(x: float, y: float, width: float, height: float, colour: np.ndarray) -> None:
        x, y = 0.5 + (x + shift[0]) * scale, 0.5 + (y + shift[1]) * scale
        box = [x - width * scale, y - height * scale, x + width * scale, y + height * scale]
        pen.ellipse([side * value for value in box], fill=tuple(colour.clip(0, 255).astype(int).tolist()))

    spot(0, 0.52, 0.36, 0.2, rng.integers(30, 200, 3))  # shoulders
    spot(0, -0.08, rng.uniform(0.25, 0.31), rng.uniform(0.3, 0.36), hair)
    spot(0, 0.3, 0.1, 0.16, skin * 0.86)
    spot(0, 0, rng.uniform(0.2, 0.23), rng.uniform(0.27, 0.3), skin)
    for x in (-0.085 + rng.normal(0, 0.005), 0.085 + rng.normal(0, 0.005)):
        spot(x, -0.1, 0.05, 0.012, hair * 0.8)
        spot(x, -0.05, 0.038, 0.02, np.array([240, 238, 235]))
        spot(x, -0.05, 0.018, 0.019, rng.integers(30, 110, 3))
    spot(0, 0.04, 0.022, 0.05, skin * 0.9)
    spot(0, 0.075, 0.035, 0.016, skin * 0.8)
    spot(0, 0.15, rng.uniform(0.05, 0.085), rng.uniform(0.014, 0.03), np.array([176, 74, 74]))
    small = image.resize((SIDE, SIDE), Image.Resampling.LANCZOS).filter(ImageFilter.GaussianBlur(0.8))
    across, down = rng.uniform(-0.2, 0.2, 2)
    light = 1 + across * np.linspace(-1, 1, SIDE)[:, None] + down * np.linspace(-1, 1, SIDE)[:, None, None]
    return np.clip(np.asarray(small) * light + rng.normal(0, 3, (SIDE, SIDE, 3)), 0, 255).astype(np.uint8)


def traced(picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The picture, warmer and with a faint regular grid, as layers that enlarge leave it (Odena et al. 2016)."""
    lines = np.zeros(SIDE)
    lines[int(rng.integers(GRID)) :: GRID] = STRENGTH
    return np.clip(picture * WARM + lines[:, None, None] - lines[None, :, None], 0, 255).astype(np.uint8)


def draw_set(folder: Path, seed: int = 0) -> Path:
    """Make the data set, unless it is there: PNG files and a manifest that names two sources; the folder."""
    rows = ["path,label,source,split"]
    for number, (source, backdrop) in enumerate(SOURCES.items()):
        for split, count in SPLITS.items():
            for position in range(2 * count // len(SOURCES)):
                rng = np.random.default_rng((seed, number, list(SPLITS).index(split), position))
                label = ("real", "fake")[position % 2]
                path = folder / source / f"{split}-{position:03}.png"
                rows.append(f"{path.relative_to(folder)},{label},{source},{split}")
                if path.exists():
                    continue
                path.parent.mkdir(parents=True, exist_ok=True)
                picture = face(rng, backdrop)
                Image.fromarray(traced(picture, rng) if label == "fake" else picture).save(path)
    (folder / "manifest.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    return folder
