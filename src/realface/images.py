"""The only door for pictures: untrusted bytes become an upright RGB array, or a typed error.

Nothing else in realface opens an image file.
"""

import io
import os
import re
import stat
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, ImageCms, JpegImagePlugin

from . import errors

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF")
MIN_SIDE = 32
_SIGNATURE = re.compile(rb"\xff\xd8\xff|\x89PNG|RIFF....WEBP|BM....\0{4}|II[*+]\0|MM\0[*+]|GIF8", re.DOTALL)
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}  # EXIF orientation to what undoes it


@dataclass(frozen=True)
class Limits:
    """What is refused before it is decoded.

    Attributes:
        max_bytes: largest file, in bytes.
        max_pixels: largest picture, width times height; over 178 million (Pillow's own limit) nothing is read.
    """

    max_bytes: int = 64 * 2**20
    max_pixels: int = 80_000_000


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
            data = file.read(limits.max_bytes + 1)
    except (FileNotFoundError, NotADirectoryError):
        raise errors.NotFound("there is no such file; check the path") from None
    except PermissionError:
        raise errors.Unreadable("no permission to read this file") from None
    except (OSError, ValueError) as error:
        raise errors.Unreadable(f"the file could not be read: {error}") from None
    _check_size(len(data), limits)
    return data


def decode(data: bytes, limits: Limits = Limits()) -> np.ndarray:
    """Decode an image file to an upright RGB picture.

    EXIF orientation is applied, an embedded colour profile converted to sRGB, transparency laid onto white,
    16-bit samples scaled to 8, and of an animation the first frame taken.

    Args:
        data: the file: JPEG, PNG, WebP, BMP, TIFF or GIF.
        limits: what to refuse before decoding.

    Returns:
        (height, width, 3) uint8, sRGB.

    Raises:
        EmptyFile, TooManyBytes, NotAnImage, TooManyPixels, Truncated, TooSmall.
    """
    image = _open(data, limits)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            image.load()
            rgb = _to_rgb(_to_srgb(_upright(image)))
    except Exception:  # as above: any failure past the header means that the pixels cannot be had
        raise errors.Truncated("the picture is cut off or damaged; copy or download the file again") from None
    return np.asarray(rgb)


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
    jpeg = isinstance(image, JpegImagePlugin.JpegImageFile)
    sampling = JpegImagePlugin.get_sampling(image) if jpeg else -1
    return Header(
        format=image.format or "",
        width=image.width,
        height=image.height,
        luma=sum(tables.get(0, ())),
        chroma=sum(tables.get(1, ())),
        subsampling={0: "4:4:4", 1: "4:2:2", 2: "4:2:0"}.get(sampling, ""),
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


def _open(data: bytes, limits: Limits) -> Image.Image:
    """The picture with its header read and nothing decoded, or one of the errors of `decode`."""
    if not data:
        raise errors.EmptyFile("the file is empty; copy or download it again")
    _check_size(len(data), limits)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns of large pictures and odd metadata; limits are ours
            image = Image.open(io.BytesIO(data), formats=FORMATS)
    except Image.DecompressionBombError:
        raise errors.TooManyPixels(_too_many(limits)) from None
    except Exception:  # a damaged header can make Pillow's readers fail in any way they like
        if not _SIGNATURE.match(data):
            raise errors.NotAnImage(f"this is not a picture realface can read ({', '.join(FORMATS)})") from None
        raise errors.Truncated("the header is damaged or unusual; download the file again or save it as PNG") from None
    if image.width * image.height > limits.max_pixels:
        raise errors.TooManyPixels(f"{image.width} x {image.height} pixels is too large; {_too_many(limits)}")
    if min(image.size) < MIN_SIDE:
        raise errors.TooSmall(f"{image.width} x {image.height} pixels is too small; {MIN_SIDE} a side are needed")
    return image


def _check_size(size: int, limits: Limits) -> None:
    if size > limits.max_bytes:
        raise errors.TooManyBytes(f"the file is larger than {limits.max_bytes / 2**20:.0f} MB; make it smaller first")


def _too_many(limits: Limits) -> str:
    return f"at most {limits.max_pixels / 1e6:.0f} million pixels are read; make the picture smaller first"


def _upright(image: Image.Image) -> Image.Image:
    try:
        turn = _UPRIGHT.get(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # damaged EXIF says nothing; viewers ignore it too
        return image
    return image if turn is None else image.transpose(turn)


def _to_srgb(image: Image.Image) -> Image.Image:
    profile = image.info.get("icc_profile")
    if not profile or image.mode not in ("RGB", "RGBA", "CMYK", "L"):
        return image
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if "sRGB" in ImageCms.getProfileDescription(source):
            return image
        mode = image.mode if image.mode in ("RGB", "RGBA") else "RGB"
        converted = ImageCms.profileToProfile(image, source, ImageCms.createProfile("sRGB"), outputMode=mode)
    except Exception:  # a broken profile is common and harmless: viewers ignore it too
        return image
    return converted or image


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode == "F":
        grey = np.nan_to_num(np.asarray(image)).clip(0, 255).round()
        return Image.fromarray(grey.astype(np.uint8)).convert("RGB")
    if image.mode.startswith("I"):  # 16 bits of grey; 32 are read as if they were
        grey = np.asarray(image).clip(0, 65535).astype(np.uint32)
        return Image.fromarray(((grey + 128) // 257).astype(np.uint8)).convert("RGB")
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(white, image).convert("RGB")
    return image if image.mode == "RGB" else image.convert("RGB")
