"""What several tests of pictures build: a small face, files by hand, a telling colour profile."""

import functools
import os
import struct
import zlib
from pathlib import Path

import numpy as np
from PIL import Image
from skimage.data import astronaut

FACES = Path(os.environ.get("REALFACE_FACES", Path(__file__).resolve().parents[2] / "shared" / "faces"))
"""The project's own labelled faces, which are not in the repository."""

SRGB_CURVE = (2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)
KINDS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF")
LOSSLESS: list[tuple[str, dict[str, object]]] = [
    ("PNG", {}),
    ("WEBP", {"lossless": True}),
    ("BMP", {}),
    ("TIFF", {}),
    ("TIFF", {"compression": "tiff_lzw"}),
]


@functools.cache
def face() -> Image.Image:
    """64 x 70 pixels of the astronaut: not square, so that a wrong turn shows."""
    return Image.fromarray(astronaut()[70:140, 180:244])


def pixels(image: Image.Image) -> np.ndarray:
    return np.asarray(image.convert("RGB"))


def error(got: np.ndarray, wanted: np.ndarray) -> float:
    """Mean difference in levels; pictures of different sizes are all wrong."""
    assert got.shape == wanted.shape
    assert got.dtype == np.uint8
    return float(np.abs(got.astype(float) - wanted).mean())


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(samples: np.ndarray, colour: int, *extra: bytes, bits: int = 16) -> bytes:
    """A PNG of (height, width, ...) samples, written by hand: Pillow writes neither 16-bit colour nor bombs."""
    height, width = samples.shape[:2]
    rows = b"".join(b"\0" + row.astype(">u2" if bits == 16 else "u1").tobytes() for row in samples)
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0))
    return b"".join([b"\x89PNG\r\n\x1a\n", header, *extra, chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b"")])


def swapped_profile() -> bytes:
    """An ICC profile as sRGB's in which red and blue have changed places: converting to sRGB swaps them back."""

    def xyz(*values: float) -> bytes:
        return b"XYZ \0\0\0\0" + b"".join(struct.pack(">i", round(v * 65536)) for v in values)

    text = b"swapped\0"
    curve = b"para\0\0\0\0" + struct.pack(">HH5i", 3, 0, *(round(v * 65536) for v in SRGB_CURVE))
    tags = {
        b"desc": b"desc\0\0\0\0" + struct.pack(">I", len(text)) + text + bytes(78),
        b"cprt": b"text\0\0\0\0none\0\0\0\0",
        b"wtpt": xyz(0.9642, 1.0, 0.8249),
        b"rXYZ": xyz(0.1431, 0.0606, 0.7141),
        b"gXYZ": xyz(0.3851, 0.7169, 0.0971),
        b"bXYZ": xyz(0.4360, 0.2225, 0.0139),
        b"rTRC": curve,
        b"gTRC": curve,
        b"bTRC": curve,
    }
    offset, table, body = 128 + 4 + 12 * len(tags), b"", b""
    for name, data in tags.items():
        data += bytes(-len(data) % 4)
        table += name + struct.pack(">II", offset + len(body), len(data))
        body += data
    size = offset + len(body)
    header = struct.pack(">I4xI4s4s4s12x4s", size, 0x02400000, b"mntr", b"RGB ", b"XYZ ", b"acsp")
    header = header.ljust(68, b"\0") + struct.pack(">3i", 63190, 65536, 54061)
    return header.ljust(128, b"\0") + struct.pack(">I", len(tags)) + table + body
