"""`realface data explore`: one page that shows a data set before anything is learned from it."""

import io
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from .. import __version__, draw, faces, images
from ..errors import DataError, ImageError
from ..progress import track
from ..report import figure_table, page_head, text_of
from .layouts import NAMES, SPLITS, Sample, read_data

SIDE = 128
"""Pixels of the crops of which means are taken."""
SHOWN, SHOWN_SIDE = 24, 96
_STYLE = "h2 { margin-top: 1.5rem } .grid { display: flex; flex-wrap: wrap; gap: 4px }"


@dataclass
class Seen:
    """What is kept of the pictures of one class: sums and counts, never the pictures, but for a few small ones.

    Attributes:
        sizes: (width, height) of each picture that could be read.
        formats: how many files of each format.
        pixels, power: (128, 128, 3) and (128, 128) sums of crops, 0 to 255, and of their log10 power spectra.
        crops: how many are in the sums: the pictures that show a face.
        shown: JPEG files of a few crops.
    """

    sizes: list[tuple[int, int]] = field(default_factory=list)
    formats: Counter[str] = field(default_factory=Counter)
    pixels: np.ndarray = field(default_factory=lambda: np.zeros((SIDE, SIDE, 3)))
    power: np.ndarray = field(default_factory=lambda: np.zeros((SIDE, SIDE)))
    crops: int = 0
    shown: list[bytes] = field(default_factory=list)


def explore(data: Path) -> str:
    """The page: counts, sizes, formats, examples, mean face and mean spectrum of each class and their difference.

    Everything is in the one HTML file, a few small pictures of the data included: share it no further than the data.

    Raises:
        DataError: there is nothing to show.
    """
    samples = read_data(data)
    rng = np.random.default_rng(0)
    classes = [[i for i, sample in enumerate(samples) if sample.label == label] for label in (0, 1)]
    picked = {i for rows in classes for i in rng.permutation(rows)[:SHOWN].tolist()}
    seen = (Seen(), Seen())
    unreadable = 0
    for i, sample in enumerate(track(samples, "looking at pictures")):
        try:
            _look(sample, seen[sample.label], i in picked)
        except ImageError:
            unreadable += 1
    if not any(of_class.sizes for of_class in seen):
        raise DataError(f"{data}: none of the pictures could be read")
    return _page(data, samples, seen, unreadable)


def spectrum(crop: np.ndarray) -> np.ndarray:
    """log10 power of each frequency of a (S, S, 3) uint8 crop's luma, (S, S), the lowest in the middle."""
    grey = crop @ np.array([0.299, 0.587, 0.114])
    window = np.hanning(len(grey))
    power = np.abs(np.fft.fftshift(np.fft.fft2((grey - grey.mean()) * np.outer(window, window)))) ** 2
    return np.asarray(np.log10(power + 1))


def _look(sample: Sample, seen: Seen, shown: bool) -> None:
    data = images.read_bytes(sample.path)
    header, picture = images.header(data), images.decode(data)
    seen.sizes.append((header.width, header.height))
    seen.formats[header.format] += 1
    found = faces.candidates(picture)
    if not found:
        return
    crop = faces.resample(found[0].pixels, SIDE)
    seen.pixels += crop
    seen.power += spectrum(crop)
    seen.crops += 1
    if shown:
        seen.shown.append(draw.small_jpeg(crop, SHOWN_SIDE)[0])


def _page(data: Path, samples: Sequence[Sample], seen: tuple[Seen, Seen], unreadable: int) -> str:
    counts = Counter((sample.source, sample.label, sample.split) for sample in samples)
    rows = {
        source or "(no source)": [f"{counts[source, label, split]:,}" for label in (0, 1) for split in SPLITS]
        for source in sorted({sample.source for sample in samples})
    }
    real, fake = (sum(sample.label == label for sample in samples) for label in (0, 1))
    formats = sorted({name for of_class in seen for name in of_class.formats})
    faceless = sum(len(of_class.sizes) - of_class.crops for of_class in seen)
    parts = [
        f"<h1>{text_of(str(data))}</h1>",
        f"<p>{len(samples):,} pictures: {real:,} real, {fake:,} fake. {unreadable:,} cannot be read, "
        f"{faceless:,} show no face.</p>",
        figure_table("Counts", ["", *(f"{name} {split}" for name in NAMES for split in SPLITS)], rows),
        figure_table("Formats", ["", *NAMES], {name: [f"{s.formats[name]:,}" for s in seen] for name in formats}),
        _figure(_sizes(seen), "Shorter side of the pictures of each class"),
    ]
    for name, of_class in zip(NAMES, seen, strict=True):
        shown = "".join(f'<img src="{draw.uri("jpeg", jpeg)}" alt="">' for jpeg in of_class.shown)
        parts += [f'<h2>Some that are {name}</h2><div class="grid">{shown}</div>'] * bool(shown)
    if all(of_class.crops for of_class in seen):
        parts += [
            "<h2>Means</h2>",
            _figure(_means([s.pixels / s.crops for s in seen], "levels"), "Mean crop of each class, and fake - real"),
            _figure(_means([s.power / s.crops for s in seen], "log10 power"), "Mean spectrum, and fake - real"),
            "<p>What differs here need not come from a generator: compression, sharpness and framing differ too. "
            "<code>realface data audit</code> says how far such facts give the label away.</p>",
        ]
    return f"{page_head(text_of(str(data)), _STYLE)}<body>{''.join(parts)}<p>realface {__version__}</p></body></html>\n"


def _figure(figure: Figure, caption: str) -> str:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    source = draw.uri("png", buffer.getvalue())
    return f'<figure><img src="{source}" alt="{caption}"><figcaption>{caption}</figcaption></figure>'


def _sizes(seen: tuple[Seen, Seen]) -> Figure:
    figure = Figure(figsize=(8, 3), layout="constrained")
    axis = figure.subplots()
    sides = [[min(size) for size in of_class.sizes] for of_class in seen]
    largest = max(max(of_class, default=1) for of_class in sides)
    axis.hist(sides, bins=np.geomspace(32, max(64, largest) + 1, 40).tolist(), label=NAMES)
    axis.set(xscale="log", xlabel="shorter side, pixels", ylabel="pictures")
    axis.legend()
    return figure


def _means(means: Sequence[np.ndarray], unit: str) -> Figure:
    """Both means beside their difference, (S, S) or (S, S, 3)."""
    figure = Figure(figsize=(11, 3.6), layout="constrained")
    axes = figure.subplots(1, 3)
    colour = means[0].ndim == 3
    low, high = min(mean.min() for mean in means), max(mean.max() for mean in means)
    for axis, name, mean in zip(axes, NAMES, means, strict=False):
        axis.imshow(Image.fromarray(mean.astype(np.uint8)) if colour else mean, vmin=low, vmax=high)
        axis.set(title=name, xticks=[], yticks=[])
    difference = means[1] - means[0]
    difference = difference.mean(2) if colour else difference
    limit = float(np.abs(difference).max()) or 1.0
    drawn = axes[2].imshow(difference, cmap="RdBu_r", vmin=-limit, vmax=limit)
    axes[2].set(title=f"fake - real, {unit}", xticks=[], yticks=[])
    figure.colorbar(drawn, ax=axes[2])
    return figure
