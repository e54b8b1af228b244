"""A labelled picture as networks see it: the one way from a file to a crop, for training and for measuring."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from .. import degrade, faces, images
from ..errors import NoFace
from ..faces import Candidate, Framing


def read_face(path: Path, framing: Framing) -> Candidate:
    """The main face of the picture in a file: the largest, which is what its label speaks of.

    Raises:
        ImageError: the picture cannot be read; `NoFace` where it shows none.
    """
    found = faces.candidates(images.load(path), framing)
    if not found:
        raise NoFace("no face was found in this picture")
    return found[0]


def network_input(crop: np.ndarray, size: int, strength: float, seed: Sequence[int]) -> np.ndarray:
    """A crop as a network takes it, as it is or after one random history.

    Args:
        crop: (S, S, 3) uint8 RGB, native pixels.
        size: side in pixels of the network's input.
        strength: of `degrade.random_history`; 0 leaves the crop as it is.
        seed: fixes the history.

    Returns:
        (size, size, 3) uint8 RGB.
    """
    if strength:
        crop = degrade.random_history(crop, np.random.default_rng(seed), strength)
    return faces.resample(crop, size)
