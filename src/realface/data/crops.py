"""A labelled picture as networks see it: the one way from a file to a crop, for training and for measuring."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from .. import degrade, faces, images


def read_crop(path: Path, size: int, strength: float, seed: Sequence[int]) -> np.ndarray:
    """The standard crop of the picture in a file, as it is or after one random history.

    Args:
        path: the file.
        size: side in pixels of the crop.
        strength: of `degrade.random_history`; 0 leaves the picture as it is.
        seed: fixes the history.

    Returns:
        (size, size, 3) uint8 RGB.

    Raises:
        ImageError: the picture cannot be read.
    """
    picture = images.load(path)
    picture = faces.cut(picture, faces.centre_square(picture))
    if strength:
        picture = degrade.random_history(picture, np.random.default_rng(seed), strength)
        picture = faces.cut(picture, faces.centre_square(picture))
    return faces.resample(picture, size)
