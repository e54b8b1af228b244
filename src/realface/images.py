"""The only door for pictures: untrusted bytes become an upright RGB array, or a typed error.

Nothing else in realface opens an image file. Written for hostile files: how much memory a picture takes to decode is
told from its header (`_memory`), and how long its header and its pixels are read is bounded (`_Reader`).
"""

import importlib
import io
import math
import os
import re
import stat
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from PIL import ExifTags, Image, ImageCms, JpegImagePlugin, TiffImagePlugin, TiffTags

from . import errors
from .quiet import quiet

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF", "HEIF")
MIN_SIDE = 32
_SIGNATURE = re.compile(rb"\xff\xd8\xff|\x89PNG|RIFF....WEBP|BM....\0{4}|II[*+]\0|MM\0[*+]|GIF8", re.DOTALL)
_SCAN = re.compile(rb"\xff\xda\0[\6\x08\x0a\x0c\x0e][\0-\4]")  # begins a scan of a JPEG: length, number of colours
_HEIF = re.compile(rb".{4}ftyp(hei[cmsx]|hev[cmsx]|mi[fa][12]|msf1)", re.DOTALL)
_TURNS = {
    1: (1, 1, False),
    2: (1, -1, False),
    3: (-1, -1, False),
    4: (-1, 1, False),
    5: (1, 1, True),
    6: (1, -1, True),
    7: (-1, -1, True),
    8: (-1, 1, True),
}  # EXIF orientation to what makes the stored picture of the upright one: steps down and across, then axes swapped
_ORDINARY = 7  # bytes of memory for a pixel of most files: 4 in Pillow, 3 in the array that is returned
_STRIP = 2**20  # pixels that are converted at a time


@dataclass(frozen=True)
class Limits:
    """What is refused before it is decoded.

    Attributes:
        max_bytes: largest file, in bytes.
        max_pixels: largest picture, width times height; over 178 million (Pillow's own limit) nothing is read. Of files
            that take more than 7 bytes of memory a pixel to decode the largest is that much smaller: of WebP 2.6 times.
    """

    max_bytes: int = 64 * 2**20
    max_pixels: int = 52_000_000


def read_bytes(path: str | os.PathLike[str], limits: Limits = Limits()) -> bytes:
    """The bytes of a file that may hold a picture; only regular files are opened, for a pipe could hang.

    Raises:
        NotFound, Unreadable, TooManyBytes.
    """
    try:
        kind = os.stat(path).st_mode
        if stat.S_ISDIR(kind):
            raise errors.Unreadable("this is a folder; no picture was found in it, or it cannot be read")
        if not stat.S_ISREG(kind):
            raise errors.Unreadable("this is a pipe or a device, not a picture")
        with open(path, "rb") as file:
            data = read_most(file, limits.max_bytes + 1)
    except (FileNotFoundError, NotADirectoryError):
        raise errors.NotFound("there is no such file; check the path") from None
    except PermissionError:
        raise errors.Unreadable("no permission to read this file") from None
    except (OSError, ValueError) as error:
        raise errors.Unreadable(f"the file could not be read: {error}") from None
    check_size(len(data), limits)
    return data


def read_most(file: BinaryIO, most: int) -> bytes:
    """What a file holds, but no more than so many bytes; asked for at once, they would all be made room for."""
    data = bytearray()
    while len(data) < most and (chunk := file.read(min(2**20, most - len(data)))):
        data += chunk
    return bytes(data)


def decode(data: bytes, limits: Limits = Limits()) -> np.ndarray:
    """Decode an image file to an upright RGB picture.

    EXIF orientation is applied, an embedded colour profile converted to sRGB, transparency laid onto white,
    16-bit samples scaled to 8, fractions to levels of 255, and of an animation the first frame taken.

    Args:
        data: the file: JPEG, PNG, WebP, BMP, TIFF, GIF or, where pillow-heif is installed, HEIF.
        limits: what to refuse before decoding.

    Returns:
        (height, width, 3) uint8, sRGB.

    Raises:
        EmptyFile, TooManyBytes, NotAnImage, TooManyPixels, Truncated, TooSmall.
    """
    image = _open(data, limits)
    try:
        with quiet():
            image.load()
            return _upright_srgb(image)
    except Exception:  # any failure past the header means that the pixels cannot be had
        raise errors.Truncated("the picture is cut off or damaged; copy or download the file again") from None


@dataclass(frozen=True, slots=True)
class Header:
    """What a picture's file says before a pixel is decoded.

    Attributes:
        format: as Pillow names it: JPEG, PNG, WEBP, …
        width, height: in pixels as stored, before it is turned upright.
        luma, chroma: sums of the first and the second JPEG quantisation table; 0 where there is none.
        subsampling: of JPEG: 4:4:4, 4:2:2 or 4:2:0; otherwise empty.
        progressive: of JPEG: stored in several passes.
        exif, icc, xmp: bytes of metadata of each kind.
    """

    format: str
    width: int
    height: int
    luma: int
    chroma: int
    subsampling: str
    progressive: bool
    exif: int
    icc: int
    xmp: int


def header(data: bytes, limits: Limits = Limits()) -> Header:
    """Read a file's header only.

    Raises:
        EmptyFile, TooManyBytes, NotAnImage, TooManyPixels, Truncated, TooSmall.
    """
    image = _open(data, limits)
    info, tables = image.info, getattr(image, "quantization", {})
    return Header(
        format=image.format or "",
        width=image.width,
        height=image.height,
        luma=sum(tables.get(0, ())),
        chroma=sum(tables.get(1, ())),
        subsampling={0: "4:4:4", 1: "4:2:2", 2: "4:2:0"}.get(JpegImagePlugin.get_sampling(image), ""),
        progressive=bool(info.get("progressive")),
        exif=len(info.get("exif") or b""),
        icc=len(info.get("icc_profile") or b""),
        xmp=len(info.get("xmp") or b""),
    )


def from_array(array: np.ndarray) -> np.ndarray:
    """Check a picture given as an array.

    Args:
        array: (height, width, 3) uint8 RGB.

    Raises:
        NotAnImage: another shape or type.
        TooSmall: a side is under 32 pixels.
    """
    if not isinstance(array, np.ndarray) or array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] != 3:
        raise errors.NotAnImage("a picture given as an array must be (height, width, 3) uint8 RGB")
    if min(array.shape[:2]) < MIN_SIDE:
        raise errors.TooSmall(f"{array.shape[1]} x {array.shape[0]} pixels is too small; {MIN_SIDE} a side are needed")
    return array


def load(path: str | Path, limits: Limits = Limits()) -> np.ndarray:
    """`decode` of `read_bytes`: the picture in a file as (height, width, 3) uint8 RGB."""
    return decode(read_bytes(path, limits), limits)


class _Reader(io.BytesIO):
    """A file that can be read only so often: Pillow reads on for as long as a file tells it to, step by small step.

    Attributes:
        left: bytes that may still be read; each call costs a kilobyte besides.
        end: where the last call ended.
    """

    left = 16 * 2**20
    end = 0

    def read(self, size: int | None = -1, /) -> bytes:
        # The bytes of what is refused are not counted, so that a TIFF is read without its layers: Pillow ends the list
        # of what describes a picture where it meets them, and what is needed stands before.
        self.left -= 1024
        taken = max(size or 0, 0)
        if taken > self.left:
            raise OSError("too much to read")
        self.left -= taken
        data = super().read(size)
        self.end = self.tell()
        return data


def _open(data: bytes, limits: Limits) -> Image.Image:
    """The picture with its header read and nothing decoded, or one of the errors of `decode`."""
    if not data:
        raise errors.EmptyFile("the file is empty; copy or download it again")
    check_size(len(data), limits)
    heif = _heif_reader() if _HEIF.match(data) else None
    reader = _Reader(data)
    if data[:2] in (b"II", b"MM"):
        reader.left //= 4  # a list of strips takes a hundred times its bytes in memory
    try:
        with quiet():  # Pillow warns of large pictures and odd metadata; limits are ours
            image: Image.Image = heif(reader) if heif else Image.open(reader, formats=FORMATS[:-1])
            memory = _memory(image, data, reader.end)
    except Image.DecompressionBombError:
        raise errors.TooManyPixels(_too_many(limits.max_pixels)) from None
    except Exception:  # a damaged header can make readers fail in any way they like
        if not heif and not _SIGNATURE.match(data):
            kinds = f"{', '.join(FORMATS[:-1])}; with an optional part {FORMATS[-1]}"
            raise errors.NotAnImage(f"this is not a picture realface can read ({kinds})") from None
        raise errors.Truncated("the header is damaged or unusual; download the file again or save it as PNG") from None
    pixels = image.width * image.height
    most = int(min(1, _ORDINARY * pixels / memory) * limits.max_pixels)
    if pixels > most:
        raise errors.TooManyPixels(f"{image.width} x {image.height} pixels is too large; {_too_many(most)}")
    if min(image.size) < MIN_SIDE:
        raise errors.TooSmall(f"{image.width} x {image.height} pixels is too small; {MIN_SIDE} a side are needed")
    reader.left = 2**30  # a million steps: more than any file within the limits needs for its pixels
    return image


def _heif_reader() -> Any:
    """What reads a HEIF file as `Image.open` reads others."""
    try:
        return importlib.import_module("pillow_heif").HeifImageFile
    except ImportError:
        raise errors.NotAnImage(
            'HEIF pictures are read with an optional part: pip install "realface[heif]", or save this one as JPEG'
        ) from None


def _memory(image: Image.Image, data: bytes, body: int) -> float:
    """About how many bytes of memory a picture takes to decode, by its header.

    As measured with Pillow 13 and pillow-heif 1.8 on pictures of one colour, which take hardly any bytes on the disk.

    Args:
        image: the picture with its header read.
        data: the file.
        body: where in it the header ends, of a JPEG.

    Raises:
        ValueError: it would take too long to decode.
    """
    pixels = image.width * image.height
    if isinstance(image, JpegImagePlugin.JpegImageFile):
        return _jpeg_memory(image, data, body)
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        return _tiff_memory(image)
    if image.format == "WEBP":
        return 18 * pixels
    if image.format == "HEIF":
        return _heif_memory(image, data)
    return _ORDINARY * pixels


def _jpeg_memory(image: JpegImagePlugin.JpegImageFile, data: bytes, body: int) -> float:
    """As `_memory`. Of a JPEG in several scans all coefficients are kept until the last, in 2 bytes each."""
    pixels = image.width * image.height
    coefficients = {0: 3, 1: 2, 2: 1.5}.get(JpegImagePlugin.get_sampling(image), image.layers)
    partial = any(  # the first scan has fewer colours than the picture
        data.startswith(b"\xff\xda\0" + bytes([6 + 2 * colours, colours]), body - 8 - 2 * colours)
        for colours in range(1, image.layers)
    )
    if not partial and not image.info.get("progressive"):
        return _ORDINARY * pixels
    most = min(2**30 // pixels, 1000)
    if sum(1 for _ in islice(_SCAN.finditer(data, body), most + 1)) > most:
        raise ValueError("too many scans")
    return (4 + 2 * coefficients) * pixels


def _tiff_memory(image: TiffImagePlugin.TiffImageFile) -> float:
    """As `_memory`. Of a TIFF every tile is decompressed whole, and Pillow copies a picture to turn it."""
    if len(image.tile) > 2**17:
        raise ValueError("too many strips")
    exif = image.getexif()
    for pointer in TiffTags.TAGS_V2_GROUPS:
        exif.pop(pointer, None)  # what it points to would be read on loading
    tags = image.tag_v2
    width, height = int(tags[TiffImagePlugin.IMAGEWIDTH]), int(tags[TiffImagePlugin.IMAGELENGTH])
    a_pixel = _ORDINARY if tags.get(ExifTags.Base.Orientation, 1) == 1 else 8
    if image.tile[0].codec_name != "libtiff":
        return a_pixel * width * height
    across = tags.get(TiffImagePlugin.TILEWIDTH, width)
    down = tags.get(TiffImagePlugin.TILELENGTH, min(tags.get(TiffImagePlugin.ROWSPERSTRIP, height), height))
    samples = tags.get(TiffImagePlugin.SAMPLESPERPIXEL, 1) * max(tags.get(TiffImagePlugin.BITSPERSAMPLE, (1,))) / 8
    padded = math.ceil(width / across) * across * math.ceil(height / down) * down
    return float(max(a_pixel * padded, 4 * width * height + 2 * samples * across * down))


def _heif_memory(image: Image.Image, data: bytes) -> float:
    """As `_memory`. A HEIF file may hold larger pictures than its main one, for example as its alpha channel."""
    sizes = list(islice(re.finditer(rb"ispe\0.{3}(.{4})(.{4})", data, re.DOTALL), 10_001))
    if len(sizes) > 10_000:
        raise ValueError("too many parts")
    pixels = max(int.from_bytes(size[1]) * int.from_bytes(size[2]) for size in sizes)
    planes = {420: 1.5, 422: 2}.get(image.info.get("chroma", 444), 3) + ("A" in image.mode.upper())
    samples = planes * (2 if image.info["bit_depth"] > 8 else 1)
    kept = 3 if getattr(image, "n_frames", 1) > 1 else 0
    return (4 + 2 * samples + kept) * max(pixels, image.width * image.height)


def check_size(size: int, limits: Limits) -> None:
    """TooManyBytes for a file of so many bytes if that is over the limit."""
    if size > limits.max_bytes:
        raise errors.TooManyBytes(f"the picture is larger than {megabytes(limits.max_bytes)}; make it smaller first")


def megabytes(size: int) -> str:
    """So many bytes, for a person."""
    return f"{round(size / 2**20, 1):,.10g} MB" if size >= 2**20 else f"{size:,} bytes"


def _too_many(most: int) -> str:
    return f"at most {most:,} pixels are read of such a file; make the picture smaller first"


def _upright_srgb(image: Image.Image) -> np.ndarray:
    """A loaded picture as `decode` returns it, made strip by strip: whole copies in between would add up."""
    width, height = image.size
    down, across, swapped = _turn(image)
    rgb = np.empty((width, height, 3) if swapped else (height, width, 3), np.uint8)
    stored = rgb[::down, ::across]
    stored = stored.swapaxes(0, 1) if swapped else stored
    rows = max(1, _STRIP // width)
    fractions = image.mode == "F" and bool(np.asarray(image.getextrema())[1] <= 1)
    to_srgb = None
    for top in range(0, height, rows):
        strip = _eight_bits(image.crop((0, top, width, min(top + rows, height))), fractions)
        if top == 0:
            to_srgb = _to_srgb(image.info.get("icc_profile"), strip.mode)
        if to_srgb:
            strip = to_srgb.apply(strip)
        stored[top : top + rows] = np.asarray(_on_white(strip))
    return rgb


def _turn(image: Image.Image) -> tuple[int, int, bool]:
    if image.format == "HEIF" or len(image.info.get("exif") or b"") > 2**22:
        return _TURNS[1]  # HEIF is turned by its reader, whatever EXIF says; and no camera writes that much EXIF
    try:
        return _TURNS.get(image.getexif().get(ExifTags.Base.Orientation, 1), _TURNS[1])
    except Exception:  # damaged EXIF says nothing; viewers ignore it too
        return _TURNS[1]


def _eight_bits(image: Image.Image, fractions: bool) -> Image.Image:
    """The picture in a mode that colour profiles are made for: L, RGB, RGBA or CMYK."""
    if image.mode == "F":  # of 0 to 1, as programs count that compute with them, or else of 0 to 255
        levels = np.nan_to_num(np.asarray(image)) * (255 if fractions else 1)
        return Image.fromarray(levels.clip(0, 255).round().astype(np.uint8))
    if image.mode.startswith("I"):  # 16 bits of grey; 32 are read as if they were
        grey = np.asarray(image).clip(0, 65535).astype(np.uint32)
        if isinstance(clear := image.info.get("transparency"), int):
            grey[grey == clear] = 65535  # laid onto white, as the others are
        return Image.fromarray(((grey + 128) // 257).astype(np.uint8))
    if image.has_transparency_data:
        return image.convert("RGBA")
    return image if image.mode in ("L", "RGB", "CMYK") else image.convert("RGB")


def _to_srgb(profile: bytes | None, mode: str) -> ImageCms.ImageCmsTransform | None:
    if not profile:
        return None
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if "sRGB" in ImageCms.getProfileDescription(source):
            return None
        return ImageCms.buildTransform(
            source, ImageCms.createProfile("sRGB"), mode, "RGBA" if mode == "RGBA" else "RGB"
        )
    except Exception:  # a broken profile, or one for other colours, is common and harmless: viewers ignore it too
        return None


def _on_white(image: Image.Image) -> Image.Image:
    if image.mode == "RGBA":
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image if image.mode == "RGB" else image.convert("RGB")
