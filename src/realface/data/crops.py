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
