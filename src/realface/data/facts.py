"""What can be said of a picture without looking at the face: its file, its colour, its spectrum, its hashes."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from .. import faces, images
from ..errors import ImageError
from ..images import Header
from ..progress import spread
from .layouts import Sample

SIZE = 224
"""Side in pixels of the standard crop that colour, spectrum and thumbnail are taken from."""
BANDS = 16
THUMBNAIL = 32
HASH_SIDE = 16
_SHUFFLE = np.random.default_rng(0).permutation(HASH_SIDE * HASH_SIDE)

_WINDOW = np.outer(np.hanning(SIZE), np.hanning(SIZE)).astype(np.float32)
_RADIUS = np.hypot(np.fft.fftfreq(SIZE)[:, None], np.fft.rfftfreq(SIZE)[None])
_BAND = np.minimum((_RADIUS * 2 * BANDS).astype(int), BANDS).ravel()  # the last one, past Nyquist, is not used
_BAND_SIZE = np.bincount(_BAND)


@dataclass(frozen=True, slots=True)
class Facts:
    """Facts of one picture.

    Attributes:
        sha256: of the file's bytes, in hexadecimal.
        bytes: size of the file.
        header: format, size, quantisation, metadata.
        colour: (3,) float32, mean red, green and blue of the standard crop.
        colourfulness: 0 for grey, about 30 for a portrait, over 100 for a fairground.
        spectrum: (16,) float32, mean log10 power of the crop's brightness in rings from low to high frequency.
        thumbnail: (32, 32) uint8, brightness of the crop.
        dhash: (4,) uint64, 256 bits that change little when a picture is resized or compressed again.
    """

    sha256: str
    bytes: int
    header: Header
    colour: np.ndarray
    colourfulness: float
    spectrum: np.ndarray
    thumbnail: np.ndarray
    dhash: np.ndarray


def read(path: str | Path) -> Facts:
    """The facts of the picture in a file.

    Raises:
        ImageError: it cannot be read.
    """
    data = images.read_bytes(path)
    header, picture = images.header(data), images.decode(data)
    crop = faces.resample(faces.cut(picture, faces.centre_square(picture)), SIZE).astype(np.float32)
    grey = crop @ np.array([0.299, 0.587, 0.114], np.float32)
    return Facts(
        sha256=hashlib.sha256(data).hexdigest(),
        bytes=len(data),
        header=header,
        colour=crop.mean((0, 1)),
        colourfulness=colourfulness(crop),
        spectrum=spectrum(grey),
        thumbnail=_shrunk(grey, THUMBNAIL, THUMBNAIL).round().astype(np.uint8),
        dhash=difference_hash(grey),
    )


def read_all(samples: Sequence[Sample]) -> Iterator[Facts | ImageError]:
    """The facts of each picture, in order, or why it cannot be read; a few are read at a time."""

    def tried(sample: Sample) -> Facts | ImageError:
        try:
            return read(sample.path)
        except ImageError as error:
            return error

    return spread(tried, samples, "reading pictures", len(samples))


def colourfulness(crop: np.ndarray) -> float:
    """How colourful (height, width, 3) float RGB is, after Hasler and Suesstrunk, "Measuring Colourfulness in
    Natural Images", 2003."""
    red, green, blue = np.moveaxis(crop, -1, 0)
    opponents = np.stack([red - green, (red + green) / 2 - blue]).reshape(2, -1)
    return float(np.hypot(*opponents.std(axis=1)) + 0.3 * np.hypot(*opponents.mean(axis=1)))


def spectrum(grey: np.ndarray) -> np.ndarray:
    """Mean log10 power in 16 rings of equal width up to the Nyquist frequency.

    A one-dimensional spectrum as in Durall et al., "Watch Your Up-Convolution", CVPR 2020, under a Hann window so
    that the picture's edges do not count as high frequency.

    Args:
        grey: (224, 224) float, 0 to 255.

    Returns:
        (16,) float32.
    """
    power = np.abs(np.fft.rfft2((grey - grey.mean()) * _WINDOW)) ** 2
    rings = np.bincount(_BAND, np.log10(power + 1).ravel()) / _BAND_SIZE
    return rings[:BANDS].astype(np.float32)


def difference_hash(grey: np.ndarray) -> np.ndarray:
    """256 bits: in each of 16 rows of a 17 x 16 version, whether the next pixel is brighter.

    Krawetz's dHash ("Kind of Like That", 2013), longer than usual because aligned faces are alike. Brighter means by
    two levels, for on a plain backdrop compression alone decides which of two pixels is brighter by less. The bits
    are shuffled, always the same way, so that each word speaks of the whole picture.

    Args:
        grey: (height, width) float, 0 to 255.

    Returns:
        (4,) uint64.
    """
    small = _shrunk(grey, HASH_SIDE + 1, HASH_SIDE)
    bits = (small[:, 1:] > small[:, :-1] + 2).ravel()[_SHUFFLE]
    return np.packbits(bits).view(np.uint64)


def _shrunk(grey: np.ndarray, width: int, height: int) -> np.ndarray:
    return np.asarray(Image.fromarray(grey).resize((width, height), Image.Resampling.BOX))
