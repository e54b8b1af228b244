"""Damaged, hostile and very large image files, put through everything in realface that reads image files.

    python benchmarks/fuzz.py [--files 20000] [--seed 0] [--out results/fuzz.json]

Each must give a picture or a typed error within 5 seconds, and the process that reads them all must stay under 600 MB;
otherwise the exit status is 1. File N depends on the seed and on N alone. The tests use the same files and mutations.
"""

import functools
import io
import multiprocessing
import random
import re
import resource
import struct
import sys
import time
import traceback
import zlib
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Literal

import numpy as np
import pillow_heif
from PIL import Image

from realface import errors, images, metadata, provenance
from realface.evaluation.origin import origin, parser_of, tell

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))
from helpers import chunk, face, swapped_profile

SECONDS, MEGABYTES = 5, 600
GIVE_UP = 60.0  # seconds
CODES = {"ok"} | {kind.code for kind in errors.ImageError.__subclasses__()}
MAXRSS_UNIT = 1 if sys.platform == "darwin" else 1024
LARGE_EVERY = 200  # of so many mutated files one is large
NUMBERS = (0, 1, 31, 32, 65, 1000, 7200, 7300, 16_383, 30_000, 65_535, 2**24 - 1, 2**31 - 1, 2**32 - 1)
# What stands before width and height, how many bytes each has, and in which order.
SIZES: dict[bytes, tuple[int, Literal["big", "little"]]] = {
    rb"\xff[\xc0-\xc2]...": (2, "big"),
    rb"IHDR": (4, "big"),
    rb"ispe\0{4}": (4, "big"),
    rb"VP8 .{4}...\x9d\x01\*": (2, "little"),
    rb"VP8L.{4}/": (2, "little"),
    rb"VP8X.{8}": (3, "little"),
    rb"^BM.{16}": (4, "little"),
    rb"^GIF8..": (2, "little"),
    rb"[\0\1\x16\x42\x43]\x01[\3\4]\0\x01\0\0\0": (4, "little"),
}


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    if kind == "HEIF":
        pillow_heif.from_pillow(image).save(buffer, **options)
    else:
        image.save(buffer, kind, **options)
    return buffer.getvalue()


@functools.cache
def seeds() -> list[bytes]:
    """Small real files of every kind there is a reader for, some with metadata, several frames or rare samples."""
    grey, cut_out = face().convert("L"), face().convert("RGBA")
    deep = Image.fromarray(np.asarray(grey).astype(np.uint16) * 257)
    cut_out.putalpha(grey)
    exif = Image.Exif()
    exif[0x0112], exif[0x0131], exif[0x010F] = 6, "A program", "A camera"
    xmp = b'<x:xmpmeta><rdf:Description xmp:CreatorTool="Another program"/></x:xmpmeta>'
    told = {"exif": exif, "xmp": xmp, "icc_profile": swapped_profile()}
    wrong = {"exif": b"Exif\0\0MM\0*\0\0\0\x08\0\x09garbage", "icc_profile": swapped_profile()[:300]}
    frames = {"save_all": True, "append_images": [face().rotate(90)]}
    return [
        *(encoded(face(), kind) for kind in images.FORMATS),
        *(encoded(face(), kind, **told) for kind in ("JPEG", "PNG", "WEBP", "TIFF")),
        *(encoded(face(), kind, **wrong) for kind in ("JPEG", "PNG", "WEBP")),
        *(encoded(face(), kind, **frames) for kind in ("GIF", "PNG", "WEBP", "TIFF", "MPO")),
        *(encoded(face(), "TIFF", compression=name) for name in ("tiff_lzw", "tiff_adobe_deflate", "jpeg")),
        *(encoded(face().quantize(16), kind) for kind in ("PNG", "BMP", "TIFF")),
        *(encoded(cut_out, kind) for kind in ("PNG", "WEBP", "TIFF", "HEIF")),
        *(encoded(deep, kind) for kind in ("PNG", "TIFF")),
        encoded(face(), "WEBP", lossless=True),
        encoded(face(), "JPEG", progressive=True, subsampling=0),
        encoded(face().convert("CMYK"), "JPEG", comment=b"Steps: 20, Sampler: Euler"),
        encoded(face().resize((130, 140)), "HEIF", tile_size=64),
        encoded(face(), "HEIF", **{**told, "exif": exif.tobytes()}),
        run_lengths(64, 70, 70),
        *claiming(encoded(face(), "JPEG"), encoded(face(), "PNG")),
    ]


@functools.cache
def hostile() -> dict[str, bytes]:
    """Small files that would take much time or memory, and that are no pictures anybody makes."""
    jpeg, gif, whole = (encoded(Image.new("L", (64, 64)), kind) for kind in ("JPEG", "GIF", "PNG"))
    scans = bytearray(encoded(face(), "JPEG", progressive=True))
    last = scans.rindex(b"\xff\xda")
    struct.pack_into(">HH", scans, scans.index(b"\xff\xc2") + 5, 7200, 7200)
    small = {256: 64, 257: 64, 258: 8, 262: 1, 273: 8, 277: 1, 279: 9}
    return {
        "JPEG of a thousand scans": bytes(scans[:last] + (scans[last : last + 10] + bytes(4)) * 1000),
        "JPEG with padding": jpeg[:2] + b"\xff" * 2_000_000 + jpeg[2:],
        "JPEG with EXIF in pieces": jpeg[:2] + b"\xff\xe1\0\x32Exif\0\0".ljust(52, b"x") * 40_000 + jpeg[2:],
        "GIF with garbage": gif[:-1].replace(b",\0\0\0\0", b"\1" * 2_000_000 + b",\0\0\0\0"),
        "PNG with empty chunks": whole[:33] + chunk(b"prIv", b"") * 200_000 + whole[33:],
        "PNG with a bomb for text": whole[:33] + chunk(b"zTXt", b"k\0\0" + zlib.compress(bytes(2**26))) + whole[33:],
        "BMP in runs of one pixel": run_lengths(7200, 7200, 100),
        "TIFF in a million strips": tiff({**small, 273: [8] * 1_000_000, 278: 1}),
        "TIFF with tiles larger than itself": tiff({**small, 259: 8, 322: 30_000, 323: 30_000, 324: 8, 325: 9}),
        "TIFF with tiles wider than itself": tiff(
            {**small, 257: 10_000, 259: 8, 322: 65_536, 323: 16, 324: [8] * 625, 325: [9] * 625}
        ),
    }


def large() -> list[bytes]:
    """Pictures of one colour, as large as the limits let them be or larger, and the hostile files."""
    colour, alpha = Image.new("RGB", (7200, 7200), (9, 90, 200)), Image.new("RGBA", (7200, 7200), (9, 90, 200, 99))
    many = b"".join(
        chunk(b"iTXt", b"%d\0\1\0\0\0" % i + zlib.compress("\U0001f600".encode() * (2**18 - 1))) for i in range(60)
    )
    text = encoded(Image.new("L", (64, 64)), "PNG")
    return [
        encoded(colour, "PNG", icc_profile=swapped_profile()),
        encoded(alpha, "PNG", save_all=True, append_images=[alpha.rotate(90)]),
        *(flat_png(7200, 7200, kind, bits=16) for kind in (0, 2, 6)),
        flat_png(8900, 8900, 6, bits=16),
        flat_png(32, 1_600_000, 6),
        flat_png(1_600_000, 32, 6),
        text[:33] + many + text[33:],
        encoded(colour, "JPEG", exif=b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\3\0\0\0\1\0\6\0\0\0\0\0\0"),
        encoded(colour, "JPEG", progressive=True),
        encoded(colour.resize((6000, 6000)), "JPEG", progressive=True, subsampling=0),
        encoded(colour.resize((6000, 6000)), "TIFF", compression="tiff_lzw", tiffinfo={278: 6000}),
        encoded(colour.resize((6700, 6700)), "TIFF", compression="tiff_lzw", tiffinfo={274: 6}),
        encoded(colour.resize((5000, 5000)).convert("CMYK"), "JPEG", progressive=True),
        encoded(alpha.resize((4490, 4490)), "WEBP", method=0, lossless=True),
        encoded(colour.resize((4490, 4490)), "WEBP", method=0),
        encoded(colour.resize((7200, 5000)), "WEBP", method=0),
        encoded(colour, "GIF"),
        encoded(colour.convert("1"), "BMP"),
        encoded(colour.resize((4096, 3072)), "HEIF", quality=10),
        encoded(alpha.resize((3072, 2048)), "HEIF", quality=10, chroma=444),
        *hostile().values(),
    ]


def flat_png(width: int, height: int, kind: int, bits: int = 8) -> bytes:
    """A PNG of one grey, made row by row; the kinds of colour are PNG's own."""
    row = b"\0" + b"\x55" * (width * {0: 1, 2: 3, 6: 4}[kind] * bits // 8)
    pack = zlib.compressobj()
    body = b"".join(pack.compress(row) for _ in range(height)) + pack.flush()
    header = struct.pack(">IIBBBBB", width, height, bits, kind, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


def run_lengths(width: int, height: int, rows: int) -> bytes:
    """A BMP in runs of one pixel, with so many of its rows."""
    runs = (b"\1\5" * width + b"\0\0") * rows
    palette = b"".join(bytes((i, 255 - i, i, 0)) for i in range(256))
    header = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 8, 1, len(runs), 0, 0, 256, 0)
    return b"BM" + struct.pack("<IHHI", 1078 + len(runs), 0, 0, 1078) + header + palette + runs


def tiff(tags: dict[int, int | list[int]]) -> bytes:
    """A TIFF of these tags and nothing else; lists stand behind them."""
    entries = lists = b""
    for tag, value in sorted(tags.items()):
        values = value if isinstance(value, list) else [value]
        behind = 14 + 12 * len(tags) + len(lists)
        entries += struct.pack("<HHII", tag, 4, len(values), behind if len(values) > 1 else values[0])
        lists += struct.pack(f"<{len(values)}I", *values) if len(values) > 1 else b""
    return b"II*\0\x08\0\0\0" + struct.pack("<H", len(tags)) + entries + bytes(4) + lists


def claiming(jpeg: bytes, png: bytes) -> tuple[bytes, bytes]:
    """The files with a C2PA manifest store in which there is no manifest."""
    about = b"c2pa\0\x11\0\x10\x80\0\0\xaa\0\x38\x9b\x71\3c2pa\0"
    store = struct.pack(">I4sI4s", 16 + len(about), b"jumb", 8 + len(about), b"jumd") + about
    segment = struct.pack(">2sH", b"\xff\xeb", 10 + len(store)) + b"JP\0\1\0\0\0\1" + store
    return jpeg[:2] + segment + jpeg[2:], png[:33] + chunk(b"caBX", store) + png[33:]


def parts(data: bytes) -> list[tuple[int, int]]:
    """Start and end of the segments, chunks, boxes or tags of a file, or of pieces of 12 bytes, and of what is left."""
    begins = {b"\xff\xd8": 2, b"\x89P": 8, b"RI": 12, b"II": 8}
    starts = [begins.get(data[:2], 0)]
    if data.startswith(b"II"):
        starts.append(10 + max(0, int.from_bytes(data[4:8], "little") - 8))  # the first tag
    while starts[-1] < len(data) and len(starts) < 64:
        at = starts[-1]
        kind, size = data[at + 4 : at + 8], int.from_bytes(data[at : at + 4])
        if data.startswith(b"\xff\xd8"):
            size = 2 + int.from_bytes(data[at + 2 : at + 4])
        elif data.startswith(b"\x89P"):
            size += 12
        elif data.startswith(b"RI"):
            size = 8 + int.from_bytes(kind, "little")
            size += size % 2
        elif data[4:8] != b"ftyp":
            size = 12
        elif kind in (b"meta", b"iprp", b"ipco"):  # boxes of boxes
            size = 12 if kind == b"meta" else 8
        starts.append(at + max(size, 1))
    return list(pairwise([start for start in starts if start < len(data)] + [len(data)])) or [(0, len(data))]


def place(data: bytes, rng: random.Random) -> int:
    """A place in a file, in each of its parts as often: most are short, and it is in these that readers differ."""
    start, end = rng.choice(parts(data))
    return rng.randrange(start, end)


def overwrite(data: bytes, _: bytes, rng: random.Random) -> bytes:
    at, piece = place(data, rng), rng.choice([b"\0", b"\xff", b"\xff\xff\xff\x7f", rng.randbytes(1), rng.randbytes(4)])
    return data[:at] + piece + data[at + len(piece) :]


def insert(data: bytes, _: bytes, rng: random.Random) -> bytes:
    at = place(data, rng)
    return data[:at] + rng.randbytes(rng.randint(1, 8)) + data[at:]


def delete(data: bytes, _: bytes, rng: random.Random) -> bytes:
    at = place(data, rng)
    return data[:at] + data[at + rng.randint(1, 8) :]


def cut(data: bytes, _: bytes, rng: random.Random) -> bytes:
    return data[: place(data, rng)]


def splice(data: bytes, other: bytes, rng: random.Random) -> bytes:
    return data[: place(data, rng)] + other[place(other, rng) :]


def blow_up(data: bytes, _: bytes, rng: random.Random) -> bytes:
    """Another number in place of the one at the start of a part, which for most tells its length."""
    start, _end = rng.choice(parts(data))
    at, size = start + rng.choice([0, 2, 4, 8]), rng.choice([2, 4])
    number: int = rng.choice([*NUMBERS, len(data)]) % 256**size
    return data[:at] + number.to_bytes(size, rng.choice(["big", "little"])) + data[at + size :]


def resize(data: bytes, _: bytes, rng: random.Random) -> bytes:
    """Another width or height."""
    found = [(at.end(), *how) for before, how in SIZES.items() for at in re.finditer(before, data, re.DOTALL)]
    if not found:
        return data
    at, size, order = rng.choice(found)
    at += rng.choice([0, size])
    number: int = rng.choice(NUMBERS) % 256**size
    return data[:at] + number.to_bytes(size, order) + data[at + size :]


def repeat(data: bytes, _: bytes, rng: random.Random) -> bytes:
    start, end = rng.choice(parts(data))
    return data[:end] + data[start:end] * rng.choice([1, 2, 20]) + data[end:]


def lend(data: bytes, other: bytes, rng: random.Random) -> bytes:
    """A part of another file in place of, or beside, one of this."""
    (start, end), (first, last) = rng.choice(parts(data)), rng.choice(parts(other))
    return data[:start] + other[first:last] + data[rng.choice([start, end]) :]


MUTATIONS = (overwrite, overwrite, insert, delete, cut, splice, blow_up, resize, repeat, lend)


def mutated(data: bytes, other: bytes, rng: random.Random) -> bytes:
    """A file after a few mutations, which may take pieces of another, in half of the cases with good checksums."""
    for _ in range(rng.choice([1, 1, 1, 2, 3, 6])):
        data = rng.choice(MUTATIONS)(data, other, rng) or b"\0"
    return mended(data) if rng.random() < 0.5 else data


def mended(data: bytes) -> bytes:
    """The file with its checksums made right, without which the readers of PNG look no further."""
    if not data.startswith(b"\x89PNG"):
        return data
    pieces = [data[:8]]
    for start, end in parts(data):
        body = data[start + 4 : end - 4]
        pieces.append(data[start : start + 4] + body + struct.pack(">I", zlib.crc32(body)))
    return b"".join(pieces)


def outcome(data: bytes) -> str:
    """ "ok" for a proper picture, or the code of a typed error; anything else is raised."""
    metadata.fields(data)
    provenance.read(data)
    try:
        images.header(data)
        picture = images.decode(data)
    except errors.ImageError as problem:
        return problem.code
    return "ok" if images.from_array(picture) is picture else "no picture"


def measured(data: bytes) -> tuple[str, float, float]:
    """The outcome or the exception, the seconds it took, and this process's peak of memory so far in megabytes."""
    start = time.perf_counter()
    try:
        what = outcome(data)
    except Exception:
        what = traceback.format_exc()
    seconds = time.perf_counter() - start
    return what, seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * MAXRSS_UNIT / 1e6


def main() -> None:
    parser = parser_of(__file__, __doc__)
    parser.add_argument("--files", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    pool = multiprocessing.Pool(1)  # of its own, so that a crash is noticed and making the files is not measured
    small, great = seeds(), large()
    counts: Counter[str] = Counter()
    slowest, unhandled, most = (0.0, 0), 0, 0.0
    for number in range(options.files):
        rng = random.Random(f"{options.seed} {number}")
        if number < len(great):
            data = great[number]
        else:
            data = mutated(rng.choice(small if number % LARGE_EVERY else great), rng.choice(small), rng)
        try:
            what, seconds, memory = pool.apply_async(measured, (data,)).get(GIVE_UP)
        except multiprocessing.TimeoutError:
            what, seconds, memory = "crash or hang", GIVE_UP, 0.0
            pool.terminate()
            pool = multiprocessing.Pool(1)
        if what in CODES:
            counts[what] += 1
        else:
            unhandled += 1
            print(f"file {number}: {what}", flush=True)
        slowest, most = max(slowest, (seconds, number)), max(most, memory)
        if number % 500 == 499:
            print(f"{number + 1} files, slowest {slowest[0]:.2f} s, peak {most:.0f} MB", flush=True)
    pool.terminate()
    result = {
        "command": f"python benchmarks/fuzz.py --files {options.files} --seed {options.seed}",
        **origin("pillow-heif"),
        "files": options.files,
        "outcomes": dict(counts.most_common()),
        "unhandled_exceptions": unhandled,
        "slowest_seconds": round(slowest[0], 2),
        "slowest_file": slowest[1],
        "peak_megabytes": round(most),
        "bars": {"unhandled_exceptions": 0, "slowest_seconds": SECONDS, "peak_megabytes": MEGABYTES},
    }
    tell(result, options.out)
    sys.exit(bool(unhandled) or slowest[0] > SECONDS or most > MEGABYTES)


if __name__ == "__main__":
    main()
