"""Aligned fakes: real faces and what the autoencoders of generators make of them, pair by pair.

Rajan et al. 2024, "Aligned Datasets Improve Detection of Latent Diffusion-Generated Images": a picture and its
reconstruction differ in nothing but the generator's trace, so nothing else can be learned from the two.
"""

import csv
import hashlib
import io
import logging
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from ..errors import DataError, ImageError
from ..harmless import printable
from ..images import from_array, read_bytes
from ..memory import keep_freed_memory
from ..paths import alone_in, found_in, write_whole
from ..progress import track
from . import makers
from .autoencoders import STEP, Autoencoder, load
from .crops import read_face
from .layouts import Sample, check_target, read_data
from .makers import Maker

LARGEST = 512  # pixels a side; of a larger face its middle is taken, never a smaller copy of it
MANIFEST, PICTURES = "manifest.csv", "pictures"
COLUMNS = ("path", "label", "source", "split", "generator", "pair")
FOUND_SIDES, FOUND_QUALITIES = (256, 256, 256, 300, 512, 1024), (75, 75, 85, 92, 96)
VALID = 10  # of the faces of nobody, every so manieth is for validation
Row = tuple[str, ...]  # of the manifest, as COLUMNS
log = logging.getLogger(__name__)


def reconstruct(
    data: Path, autoencoders: Path, out: Path, *, each: int = 1, also: Sequence[str] = (), stylegan: int = 0
) -> int:
    """Write the main face of every real picture and its reconstructions as lossless pairs.

    `out` becomes a data set of its own: native pixels of the standard crop, as PNG, and a manifest whose columns
    `generator` and `pair` say what made a picture and which belong together. Pictures that are there already are
    not made again, so a stopped run goes on where it was.

    Args:
        data: a data set; its fake pictures are passed over, and its test split.
        autoencoders: the folder with the weights, see `realface.data.autoencoders.load`.
        out: a new or empty folder, or one of an earlier run.
        each: autoencoders for every picture, which its content decides; 5 is all of them.
        also: makers of `realface.data.makers.MAKERS` for every picture, besides.
        stylegan: whole generated faces, which belong to no real one.

    Returns:
        How many fakes there are.

    Raises:
        DataError: there are no real pictures with a face, or `out` cannot be written or holds something else.
        WeightsError: the weights of an autoencoder or a maker are missing.
        ConfigError, MissingExtra: a maker is unknown or cannot be run.
    """
    check_target(data, out / MANIFEST)  # which may lie beside a folder of that name, too
    keep_freed_memory()
    samples = [s for s in read_data(data) if s.label == 0 and s.split != "test"]
    models = {name: partial(reconstructed, model=model) for name, model in load(autoencoders).items()}
    names = list(models)
    others = makers.load(also)
    nobody = makers.stylegan() if stylegan else None
    rows: dict[str, Row] = {}  # by path, so that a copy is not told twice
    try:
        out.mkdir(parents=True, exist_ok=True)
        if strangers := found_in(out) - {PICTURES, MANIFEST}:
            raise DataError(f"{out} holds something else ({min(strangers)}); give a new folder")
        with alone_in(out):
            (out / PICTURES).mkdir(exist_ok=True)
            for sample in track(samples, "reconstructing"):
                try:
                    pair = hashlib.sha256(read_bytes(sample.path)).hexdigest()[:20]
                    first = int(pair[:8], 16)  # not by its place: then one picture more would change what others get
                    chosen = [names[(first + i) % len(names)] for i in range(each)]
                    for row in _pair(pair, sample, {name: models[name] for name in chosen} | others, out):
                        rows.setdefault(row[0], row)
                except ImageError as error:
                    log.warning("left out: %s (%s)", printable(str(sample.path)), error)
            if not rows:
                raise DataError(f"{data}: no real picture shows a face")
            if nobody:
                rows |= {row[0]: row for row in _faces_of_nobody(nobody, stylegan, out)}
            text = io.StringIO()
            csv.writer(text).writerows([COLUMNS, *rows.values()])
            write_whole(out / MANIFEST, text.getvalue().encode())
    except OSError as error:
        raise DataError(f"{out} cannot be written: {error.strerror}") from None
    return sum(row[1] == "fake" for row in rows.values())


def _pair(pair: str, sample: Sample, models: Mapping[str, Maker], out: Path) -> list[Row]:
    """Rows of the manifest for a real picture and its reconstructions; files that are missing are made."""
    paths = {name: out / PICTURES / f"{pair}.{name}.png" for name in models}
    real = out / PICTURES / f"{pair}.png"
    missing = {name: path for name, path in paths.items() if not path.exists()}
    if missing or not real.exists():
        face = _middle(read_face(sample.path, "face").pixels)
        from_array(face)  # a pair too small to be read again is left out
        _save(Image.fromarray(face), real, "PNG", compress_level=1)
        for name, path in missing.items():
            _save(Image.fromarray(models[name](face)), path, "PNG", compress_level=1)
    rows: list[Row] = [(f"{PICTURES}/{real.name}", "real", sample.source, sample.split, "", pair)]
    for name, path in paths.items():
        source = f"{sample.source} by {name}" if sample.source else name
        rows.append((f"{PICTURES}/{path.name}", "fake", source, sample.split, name, pair))
    return rows


def _faces_of_nobody(make: Callable[[int], np.ndarray], count: int, out: Path) -> list[Row]:
    """Rows of the manifest for whole generated faces; files that are missing are made."""
    rows: list[Row] = []
    for number in track(range(count), "generating"):
        path = out / PICTURES / f"{number:06}.stylegan.jpg"
        if not path.exists():
            _save_as_found(make(number), np.random.default_rng(number), path)
        split = "train" if (number + 1) % VALID else "valid"
        rows.append((f"{PICTURES}/{path.name}", "fake", "stylegan", split, "stylegan", ""))
    return rows


def _save_as_found(face: np.ndarray, rng: np.random.Generator, path: Path) -> None:
    """A generated face as such faces get about: most of them small, all of them JPEG. Lossless ones of one size would
    be told from photographs by that."""
    side = int(rng.choice(FOUND_SIDES))
    small = Image.fromarray(face).resize((side, side), Image.Resampling.LANCZOS)
    _save(small, path, "JPEG", quality=int(rng.choice(FOUND_QUALITIES)))


def reconstructed(face: np.ndarray, model: Autoencoder) -> np.ndarray:
    """A (H, W, 3) uint8 picture, sides multiples of 8, after its way through an autoencoder."""
    pixels = torch.from_numpy(face.copy()).permute(2, 0, 1)[None].float() / 255
    with torch.inference_mode():
        decoded = model(pixels.contiguous(memory_format=torch.channels_last))[0]
    return np.asarray((decoded * 255).round().byte().permute(1, 2, 0))


def _middle(crop: np.ndarray) -> np.ndarray:
    side = min(LARGEST, crop.shape[0] // STEP * STEP)
    start = (crop.shape[0] - side) // 2
    return crop[start : start + side, start : start + side]


def _save(picture: Image.Image, path: Path, form: str, **options: int) -> None:
    buffer = io.BytesIO()
    picture.save(buffer, form, **options)
    write_whole(path, buffer.getvalue())
