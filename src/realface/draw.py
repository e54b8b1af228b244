"""Pictures for people, made the same way for the web app and the case report."""

import base64
import io

import numpy as np
from PIL import Image

from . import faces
from .results import Face

FAKE = np.array([179, 38, 30], np.float32)
REAL = np.array([31, 95, 191], np.float32)
FULL = 0.75
"""How much of the strongest cell's colour covers the picture."""


def uri(kind: str, data: bytes) -> str:
    """A file as a data URI, `kind` such as "png" or "svg+xml"."""
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"


def small_jpeg(picture: np.ndarray, side: int) -> tuple[bytes, int, int]:
    """A (height, width, 3) uint8 picture as JPEG, made to fit a square of `side`; and its width and height then."""
    small = Image.fromarray(picture)
    small.thumbnail((side, side))
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=85)
    return buffer.getvalue(), small.width, small.height


def crop_jpeg(picture: np.ndarray, face: Face, side: int = 224) -> bytes:
    """What was judged of a face, as a JPEG of `side` pixels."""
    return small_jpeg(faces.resample(faces.cut(picture, face.crop), side), side)[0]


def heatmap_png(face: Face, side: int = 224) -> bytes:
    """The heatmap of a face as a PNG of `side` pixels to lay over its crop.

    Red where the evidence speaks for fake, blue where it speaks for real, and the more opaque the more it weighs; the
    strongest cell of this face is `FULL` opaque.

    Raises:
        ValueError: the face has no heatmap.
    """
    if face.heatmap is None:
        raise ValueError("this face was judged without a heatmap")
    cells = Image.fromarray(np.asarray(face.heatmap, np.float32)).resize((side, side), Image.Resampling.BICUBIC)
    evidence = np.asarray(cells)
    strength = np.abs(evidence) / max(float(np.abs(face.heatmap).max()), 1e-9)
    colour = np.where(evidence[..., None] > 0, FAKE, REAL)
    pixels = np.concatenate([colour, 255 * FULL * strength.clip(0, 1)[..., None]], 2).round().astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels, "RGBA").save(buffer, "PNG")
    return buffer.getvalue()
