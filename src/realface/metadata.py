"""What an image file carries beside its pixels, as short texts. No pixel is decoded.

Written for hostile files: nothing here raises, expands an entity or follows a loop, and the parts that are walked
through, the bytes of each that are read, and the texts that come out are bounded.
"""

import re
import zlib
from collections.abc import Iterable, Iterator
from html import unescape
from itertools import islice
from typing import Literal, NamedTuple

MAX_STEPS = 20_000  # segments or chunks of one file that are walked through
MAX_PARTS = 100  # of these with metadata in them
MAX_BYTES = 2**20  # that are read of one part, counted after decompression; of all parts twice as many
MAX_TAGS = 512  # of one folder of EXIF
MAX_TEXT = 100_000  # bytes of one text

_C2PA = b"jumdc2pa\0\x11\0\x10\x80\0\0\xaa\0\x38\x9b\x71"  # how the description of a C2PA manifest store starts
_XMP_HEAD = b"http://ns.adobe.com/xap/1.0/\0"
_TAGS = {
    0x010E: "ImageDescription",
    0x010F: "Make",
    0x0110: "Model",
    0x0131: "Software",
    0x013B: "Artist",
    0x02BC: "XMP",
    0x9286: "UserComment",
}
_HEIF_EXIF = re.compile(rb"Exif\0\0(?:II\*\0|MM\0\*)")
_PHOTO_TAGS = 0x8769  # points to the tags on how the picture was taken; those on where (GPS) are never opened
_NAMES = """CreatorTool | DigitalSourceType | DigitalSourceFileType | Credit | Make | Model | Software |
    softwareAgent | AISystemUsed | provenance"""
# {}+ is never given back in part, which could not match, and what is long begins at a <: else 1 MB takes seconds
_PROPERTY = re.compile(
    r"""\s [\w.-]{1,40} : (?P<attribute> NAMES ) \s{0,9} = \s{0,9}
            (?: "(?P<double>[^"<]{0,4000}+)" | '(?P<single>[^'<]{0,4000}+)' ) |
        < [\w.-]{1,40} : (?P<element> NAMES )
            (?: \s [^<>]{0,200}? \b rdf:resource \s{0,9} = \s{0,9} ["'] (?P<link>[^"'<]{0,400}+) ["'] |
            (?: \s [^<>]{0,200}+ )? (?<!/) > (?P<body>[^<]{0,4000}+) < )""".replace("NAMES", _NAMES),
    re.VERBOSE,
)


class Field(NamedTuple):
    """One text of a file: where it stands (EXIF, XMP, PNG, JPEG or C2PA), its name there, and what it says."""

    place: str
    name: str
    text: str


Part = tuple[str, str, bytes]  # as Field, but undecoded; EXIF and XMP come as whole blocks


def fields(data: bytes) -> list[Field]:
    """The texts in an image file that tell of its origin, as they stand there and in that order.

    Of EXIF and XMP those that `provenance` knows, of a PNG every text, of a C2PA manifest only that there is one. Any
    bytes will do; what cannot be read is left out.
    """
    if data.startswith(b"\xff\xd8"):
        parts = _jpeg(data)
    elif data.startswith(b"\x89PNG\r\n\x1a\n"):
        parts = _png(data)
    elif data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        parts = _webp(data)
    else:
        parts = _others(data)
    found: list[Field] = []
    left = 2 * MAX_BYTES
    for place, name, body in _opened(islice(parts, MAX_PARTS)):
        left -= len(body)
        if left < 0:
            break
        found += _xmp(body) if place == "XMP" else [Field(place, name, _text(body))]
    return found


def _opened(parts: Iterable[Part]) -> Iterator[Part]:
    for part in parts:
        if part[0] == "EXIF":
            yield from _exif(part[2])
        else:
            yield part


def _jpeg(data: bytes) -> Iterator[Part]:
    at = 2
    for _ in range(MAX_STEPS):
        marker, size = data[at : at + 2], int.from_bytes(data[at + 2 : at + 4])
        if marker == b"\xff\xff":  # padding
            at += 1
            continue
        if marker[:1] != b"\xff" or marker == b"\xff\xda" or size < 2:
            return  # the pixels, or nothing that makes sense
        body = data[at + 4 : at + 2 + size]
        if marker == b"\xff\xe1" and body.startswith(b"Exif\0"):
            yield "EXIF", "", body
        elif marker == b"\xff\xe1" and body.startswith(_XMP_HEAD):
            yield "XMP", "", body[len(_XMP_HEAD) :]
        elif marker == b"\xff\xeb" and _C2PA in body:
            yield "C2PA", "manifest", b""
        elif marker == b"\xff\xfe":
            yield "JPEG", "comment", body
        at += 2 + size


def _png(data: bytes) -> Iterator[Part]:
    at = 8
    for _ in range(MAX_STEPS):
        size, kind = int.from_bytes(data[at : at + 4]), data[at + 4 : at + 8]
        start, end = at + 8, at + 8 + min(size, MAX_BYTES)
        if kind in (b"", b"IEND"):
            return
        if kind == b"eXIf":
            yield "EXIF", "", data[start : start + size]
        elif kind == b"caBX":
            yield "C2PA", "manifest", b""
        elif kind in (b"tEXt", b"zTXt", b"iTXt"):
            name, _, body = data[start:end].partition(b"\0")
            if kind == b"zTXt":
                body = _inflate(body[1:])
            elif kind == b"iTXt":
                packed, body = body[:1] == b"\1", body[2:].partition(b"\0")[2].partition(b"\0")[2]
                body = _inflate(body) if packed else body
            yield ("XMP" if name == b"XML:com.adobe.xmp" else "PNG"), name[:79].decode("latin-1"), body
        at += 12 + size


def _webp(data: bytes) -> Iterator[Part]:
    at = 12
    for _ in range(MAX_STEPS):
        kind, size = data[at : at + 4], int.from_bytes(data[at + 4 : at + 8], "little")
        start = at + 8
        if not kind:
            return
        if kind == b"EXIF":
            yield "EXIF", "", data[start : start + size]
        elif kind == b"XMP ":
            yield "XMP", "", data[start : start + min(size, MAX_BYTES)]
        elif kind == b"C2PA":
            yield "C2PA", "manifest", b""
        at = start + size + size % 2


def _others(data: bytes) -> Iterator[Part]:
    """TIFF is what EXIF is; in other kinds of file C2PA, XMP and the EXIF of HEIF are found by how they start."""
    if _C2PA in data:
        yield "C2PA", "manifest", b""
    if data[:4] in (b"II*\0", b"MM\0*"):
        yield "EXIF", "", data
        return
    if data[4:8] == b"ftyp" and (block := _HEIF_EXIF.search(data)):
        yield "EXIF", "", data[block.start() : block.start() + MAX_BYTES]
    if (start := data.find(b"<x:xmpmeta")) >= 0:
        end = data.find(b"</x:xmpmeta", start, start + MAX_BYTES)
        yield "XMP", "", data[start : max(start, end)]


def _exif(data: bytes) -> Iterator[Part]:
    """The known tags in the first folder of a TIFF structure and in its folder of photo tags, each once."""
    data = data.removeprefix(b"Exif\0\0")
    order: Literal["little", "big"] = "little" if data[:2] == b"II" else "big"

    def number(at: int, size: int) -> int:
        return int.from_bytes(data[at : at + size], order)

    unseen = dict(_TAGS)
    folders = [number(4, 4)]
    for folder in islice(folders, 2):
        for entry in range(folder + 2, folder + 2 + 12 * min(number(folder, 2), MAX_TAGS), 12):
            tag, size, value = number(entry, 2), number(entry + 4, 4), number(entry + 8, 4)
            if tag == _PHOTO_TAGS:
                folders.append(value)
            elif name := unseen.pop(tag, ""):
                start = value if size > 4 else entry + 8
                body = data[start : start + min(size, MAX_BYTES)]
                yield ("XMP", "", body) if name == "XMP" else ("EXIF", name, _comment(body))


def _comment(body: bytes) -> bytes:
    """The text of a UserComment, which starts with the name of its encoding; other texts stay as they are."""
    if not body.startswith((b"ASCII\0\0\0", b"UNICODE\0", b"JIS\0\0\0\0\0", bytes(8))):
        return body
    code, body = body[:8], body[8:]
    if code != b"UNICODE\0":
        return body
    big = body[::2].count(0) >= body[1::2].count(0)  # writers follow neither the standard nor the order of the file
    return body.decode("utf-16-be" if big else "utf-16-le", "replace").encode("utf-8", "replace")


def _xmp(body: bytes) -> list[Field]:
    """The known properties of an XMP packet, found by pattern: no parser, so no entity or nesting can do harm."""
    text = body.replace(b"\0", b"").decode("utf-8", "replace")  # without zeros, UTF-16 is text too
    found = []
    for match in islice(_PROPERTY.finditer(text), MAX_PARTS):
        said = next(filter(None, match.group("double", "single", "link", "body")), "")
        found.append(Field("XMP", match["attribute"] or match["element"], unescape(said)))
    return found


def _inflate(body: bytes) -> bytes:
    try:
        return zlib.decompressobj().decompress(body, MAX_BYTES)
    except zlib.error:
        return b""


def _text(body: bytes) -> str:
    body = body[:MAX_TEXT].rstrip(b"\0")
    try:
        return body.decode("utf-8")
    except UnicodeDecodeError:
        return body.decode("latin-1")
