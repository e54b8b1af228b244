"""The door for pictures, pushed at random: any bytes give a picture or a typed error."""

import functools
import os

import numpy as np
import pytest
from conftest import encoded
from helpers import KINDS, face, swapped_profile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from realface import errors
from realface.images import decode, from_array


def outcome(data: bytes) -> str:
    """ "ok" for a proper picture, or the code of a typed error."""
    try:
        array = decode(data)
    except errors.ImageError as problem:
        return problem.code if str(problem) else "an error without a message"
    return "ok" if from_array(array) is array else "not a picture"


@functools.cache
def seeds() -> list[bytes]:
    """Small files of every kind there is a reader for, some with metadata."""
    exif = Image.Exif()
    exif[0x0112] = 6
    extra = {"exif": exif, "icc_profile": swapped_profile()}
    frames = {"save_all": True, "append_images": [face().rotate(90)]}
    flat = face().quantize(16)
    deep = Image.fromarray(np.asarray(face().convert("L")).astype(np.uint16) * 257)
    return [
        *(encoded(face(), kind) for kind in KINDS),
        *(encoded(face(), kind, **extra) for kind in ("JPEG", "PNG", "WEBP", "TIFF")),
        *(encoded(face(), kind, **frames) for kind in ("GIF", "PNG", "WEBP", "TIFF", "MPO")),
        *(encoded(face(), "TIFF", compression=name) for name in ("tiff_lzw", "tiff_adobe_deflate", "jpeg")),
        *(encoded(flat, kind) for kind in ("PNG", "BMP")),
        encoded(face().convert("CMYK"), "JPEG"),
        encoded(face(), "JPEG", progressive=True),
        encoded(deep, "PNG"),
    ]


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    data = bytearray(draw(st.sampled_from(seeds())))
    for _ in range(draw(st.integers(1, 8))):
        end = min(len(data) - 1, draw(st.sampled_from([40, 400, 10**6])))  # headers are where the readers differ
        at = draw(st.integers(0, end))
        how = draw(st.sampled_from(["set", "set", "insert", "delete", "cut"]))
        if how == "set":
            piece = draw(st.one_of(st.sampled_from([b"\0", b"\xff", b"\xff\xff\xff\x7f"]), st.binary(max_size=4)))
            data[at : at + len(piece)] = piece
        elif how == "insert":
            data[at:at] = draw(st.binary(max_size=8))
        elif how == "delete":
            del data[at : at + draw(st.integers(1, 8))]
        else:
            del data[max(at, 8) :]
        data = data or bytearray(1)
    return bytes(data)


@pytest.mark.parametrize("kind", KINDS)
def test_every_cut_is_typed(kind: str) -> None:
    data = encoded(face().crop((0, 0, 32, 32)), kind)
    for length in range(0, len(data), 1 + len(data) // 150):
        assert outcome(data[:length]) in {"ok", "empty", "not_an_image", "truncated"}


@settings(
    max_examples=int(os.environ.get("REALFACE_FUZZ", "300")),
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(mutated())
def test_damaged_files_give_a_picture_or_a_typed_error(data: bytes) -> None:
    assert outcome(data) in {"ok"} | {kind.code for kind in errors.ImageError.__subclasses__()}


@settings(max_examples=200, deadline=None, derandomize=True, database=None)
@given(
    st.binary(max_size=200), st.sampled_from([b"", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"BM", b"II*\0"])
)
def test_any_bytes(body: bytes, start: bytes) -> None:
    with pytest.raises(errors.ImageError):
        decode(start + body)
