"""What a file says of its own origin, where it is damaged or made to do harm: plain text, and little spent on it."""

import json
import struct
import time
import tracemalloc
import zlib
from collections.abc import Callable

import pytest
from conftest import encoded
from helpers import chunk
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL.PngImagePlugin import PngInfo
from test_provenance import JUMBF, PIXELS, SETTINGS, TRAINED, WITH_EXIF, exif, packet, with_exif, with_xmp

from realface.provenance import read


def flood(unit: bytes, start: bytes = b"\xff\xd8", size: int = 40_000_000) -> Callable[[], bytes]:
    return lambda: start + unit * (size // len(unit))


def laughs() -> bytes:
    entities = "".join(f'<!ENTITY a{i + 1} "{f"&a{i};" * 10}">' for i in range(12))
    text = f'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a0 "ha">{entities}]>'.encode()
    return with_xmp("PNG", text + packet("<xmp:CreatorTool>&a12;</xmp:CreatorTool>"))


def folders() -> bytes:
    """EXIF whose folders point to themselves, with as many tags as can be counted, each as large as can be."""
    entries = b"".join(struct.pack("<HHII", tag % 0xFFFF, 2, 0xFFFFFFFF, 8) for tag in range(0x0100, 0x8770))
    return b"II*\0" + struct.pack("<IH", 8, 0xFFFF) + entries + struct.pack("<HHII", 0x8769, 4, 1, 8) * 9


def claims() -> bytes:
    """As many different claims as XMP can make."""
    parts = []
    for part in range(100):
        body = b"http://ns.adobe.com/xap/1.0/\0" + b"".join(
            b"<a:CreatorTool>%04dxq%04d<" % (part, i) for i in range(100)
        )
        parts.append(b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body)
    return b"\xff\xd8" + b"".join(parts)


PNG = b"\x89PNG\r\n\x1a\n"
HEIF = b"\0\0\0\x18ftypheic"
BOMB = zlib.compress(bytes(50_000_000))
HOSTILE: dict[str, Callable[[], bytes]] = {
    "billion laughs": laughs,
    "50 MB of text": lambda: PNG + chunk(b"tEXt", b"parameters\0" + b"Steps: 1, Sampler: " * 2_600_000),
    "50 MB of XMP": lambda: PNG + chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + b' a:Credit="' * 4_500_000),
    "XMP of spaces": lambda: with_xmp("WEBP", b"<a:Credit" + b" " * 3_000_000),
    "XMP of tags": lambda: with_xmp("WEBP", b"<a:Credit " * 300_000),
    "XMP of open tags": lambda: with_xmp("WEBP", b" a:Make>" * 130_000),
    "packed texts": flood(chunk(b"zTXt", b"parameters\0\0" + BOMB), PNG),
    "packed XMP": flood(chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + BOMB), PNG),
    "many texts": flood(chunk(b"tEXt", b"Software\0x"), PNG),
    "many chunks": flood(chunk(b"IDAT", b""), PNG),
    "many EXIF": lambda: PNG + chunk(b"eXIf", folders()) * 100,
    "EXIF on EXIF": folders,
    "many claims": claims,
    "names of XMP": lambda: PNG + chunk(b"zTXt", b"XML:com.adobe.xmp\0\0" + zlib.compress(b" a:Make" * 149_000)) * 2,
    "padding": flood(b"\xff"),
    "segments": flood(b"\xff\xe2\0\x02"),
    "RIFF chunks": flood(b"abcd\0\0\0\0", b"RIFF\0\0\0\0WEBP"),
    "EXIF in HEIF": lambda: HEIF + b"Exif\0\0II*\1" * 4_000_000 + b"Exif\0\0" + folders() * 40,
    "packets": flood(b"<x:xmpmeta", b"GIF89a"),
}


def seconds(work: Callable[[], object]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


@pytest.fixture(scope="module")
def little() -> float:
    """About a second, on a slow machine more: six times what the worst takes, a third of what it would unguarded."""
    return 4 * seconds(lambda: sum(range(2 * 10**7)))


@pytest.mark.parametrize("make", HOSTILE.values(), ids=HOSTILE)
def test_files_made_to_do_harm_cost_little(make: Callable[[], bytes], little: float) -> None:
    data = make()
    assert seconds(lambda: read(data)) < little
    tracemalloc.start()
    claims = read(data)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 40 * 2**20
    assert len(claims) <= 20
    assert all(len(claim.says) <= 2000 for claim in claims)
    assert "haha" not in str(claims)


def rich(kind: str) -> bytes:
    """A file with every kind of note that its kind can hold."""
    notes = exif(b"UNICODE\0" + SETTINGS.encode("utf-16-be"), make="Acme", model="One", software="Tool")
    xmp = packet("<xmp:CreatorTool>Firefly</xmp:CreatorTool>", f'a:DigitalSourceType="{TRAINED}"')
    if kind == "PNG":
        info = PngInfo()
        info.add_text("parameters", SETTINGS, zip=True)
        info.add_itxt("XML:com.adobe.xmp", xmp.decode())
        data = encoded(PIXELS, "PNG", exif=notes, pnginfo=info)
        return data[:33] + chunk(b"caBX", JUMBF) + data[33:]
    if kind == "TIFF":
        return with_exif("TIFF", notes) + JUMBF
    if kind == "HEIF":
        return HEIF + bytes(99) + notes.tobytes() + xmp + JUMBF
    return encoded(PIXELS, kind, exif=notes, xmp=xmp) + (b"C2PA\x40\0\0\0" + JUMBF if kind == "WEBP" else b"")


SEEDS = {kind: rich(kind) for kind in [*WITH_EXIF, "HEIF"]}


def check(data: bytes) -> None:
    claims = read(data)
    assert len(claims) <= 20
    for claim in claims:
        assert 0 < len(claim.says) <= 2000
        assert len(claim.where) <= 100
        assert (claim.says + claim.where).isprintable()
        json.dumps(claim.says).encode("ascii")


def test_the_files_that_are_damaged_below_say_much() -> None:
    kinds = {kind: {claim.kind for claim in read(data)} for kind, data in SEEDS.items()}
    assert kinds["PNG"] == kinds["WEBP"] == kinds["HEIF"] == {"generator", "source-type", "c2pa", "camera", "software"}
    assert kinds["TIFF"] == kinds["PNG"] - {"source-type"}
    assert kinds["JPEG"] == kinds["PNG"] - {"c2pa"}


@pytest.mark.parametrize("data", SEEDS.values(), ids=SEEDS)
def test_every_cut(data: bytes) -> None:
    for length in range(0, len(data), 3):
        check(data[:length])


@settings(
    max_examples=400, deadline=None, derandomize=True, database=None, suppress_health_check=[HealthCheck.too_slow]
)
@given(st.sampled_from(sorted(SEEDS)), st.lists(st.tuples(st.integers(0, 10**5), st.binary(max_size=6)), max_size=8))
def test_damaged_files(kind: str, changes: list[tuple[int, bytes]]) -> None:
    data = bytearray(SEEDS[kind])
    for at, piece in changes:
        at %= len(data)
        data[at : at + len(piece) - (at % 3 == 0)] = piece
    check(bytes(data))


@settings(max_examples=300, deadline=None, derandomize=True, database=None)
@given(
    st.sampled_from([b"", b"\xff\xd8\xff\xe1", PNG, b"RIFF\0\0\0\0WEBP", b"II*\0", b"MM\0*", HEIF + b"Exif\0\0II*\0"]),
    st.binary(),
)
def test_any_bytes(start: bytes, body: bytes) -> None:
    check(start + body)
