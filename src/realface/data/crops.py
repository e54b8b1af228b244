"""A labelled picture as networks see it: the one way from a file to a crop, for training and for measuring."""

import hashlib
import json
from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path

import numpy as np

from .. import degrade, faces, finder, images
from ..errors import NoFace
from ..faces import Candidate, Framing
from ..paths import cache_dir, write_whole
from ..results import Crop

FIRST: dict[int, degrade.Change] = {3: degrade.cover, 4: degrade.edit}
"""What befalls a face before its random history in some versions of a training picture, as `training.Config.views`
counts them."""


def read_face(path: Path, framing: Framing) -> Candidate:
    """The main face of the picture in a file: the largest, which is what its label speaks of.

    Where it is, is looked up rather than searched for again when the same picture is read a second time.

    Raises:
        ImageError: the picture cannot be read; `NoFace` where it shows none.
    """
    data = images.read_bytes(path)
    picture = images.decode(data)
    if framing != "face":
        return faces.candidates(picture, framing)[0]
    known = cache_dir("faces") / _version() / f"{hashlib.sha256(data).hexdigest()}.json"
    try:
        where = json.loads(known.read_text())
        if where is None:
            raise NoFace("no face was found in this picture")
        crop = Crop(tuple(where["crop"]), where["roll"])
        return Candidate(tuple(where["box"]), crop, faces.cut(picture, crop), where["reason"])
    except (OSError, ValueError, KeyError, TypeError):
        pass
    found = faces.candidates(picture, framing)
    where = None
    if found:
        main = found[0]
        where = {"box": main.box, "crop": main.crop.box, "roll": main.crop.roll, "reason": main.reason}
    with suppress(OSError):  # full or read-only: it will be searched for again
        known.parent.mkdir(parents=True, exist_ok=True)
        write_whole(known, json.dumps(where).encode())
    if not found:
        raise NoFace("no face was found in this picture")
    return found[0]


def program(*more: str) -> str:
    """Changes whenever the code or the weights do that find, cut and change faces, or the code in more files."""
    return _version(degrade.__file__, __file__, *more)


@cache
def _version(*more: str) -> str:
    """Changes whenever the code or the weights do that say where a face is, or the code in more files."""
    digest = hashlib.sha256(finder.weights())
    for file in (faces.__file__, finder.__file__, images.__file__, *more):
        digest.update(Path(file).read_bytes())
    return digest.hexdigest()[:16]


def degraded(crop: np.ndarray, strength: float, seed: Sequence[int], first: degrade.Change | None = None) -> np.ndarray:
    """A crop after one random history.

    Args:
        crop: (S, S, 3) uint8 RGB, native pixels.
        strength: of `degrade.random_history`; 0 leaves the crop as it is.
        seed: fixes the history and what befalls the crop before it.
        first: what that is.

    Returns:
        (H, W, 3) uint8 RGB.
    """
    if not strength:
        return crop
    rng = np.random.default_rng(seed)
    return degrade.random_history(first(crop, rng) if first else crop, rng, strength)


def network_input(
    crop: np.ndarray, size: int, strength: float, seed: Sequence[int], first: degrade.Change | None = None
) -> np.ndarray:
    """(size, size, 3) uint8 RGB: a crop, `degraded`, as a network with that input side takes it."""
    return faces.resample(degraded(crop, strength, seed, first), size)
