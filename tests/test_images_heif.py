"""HEIF, which iPhones write: read where pillow-heif is installed, and only loaded when such a file comes."""

import io
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pillow_heif
import pytest
from conftest import encoded, grey
from helpers import error, face, pixels, swapped_profile
from PIL import Image
from test_images import UPRIGHT_TO_STORED

from realface import errors
from realface.images import Limits, decode, header


def heif(image: Image.Image, *others: Image.Image, **options: object) -> bytes:
    """The bytes of one or more pictures as a HEIF file, the first being the main one."""
    file = pillow_heif.from_pillow(image)
    for other in others:
        file.add_from_pillow(other)
    buffer = io.BytesIO()
    file.save(buffer, quality=90, primary_index=0, **options)
    return buffer.getvalue()


def resized(data: bytes, width: int, height: int) -> bytes:
    """The file with another size told of its first picture."""
    at = data.index(b"ispe") + 8
    return data[:at] + struct.pack(">II", width, height) + data[at + 8 :]


def turned(orientation: int) -> tuple[Image.Image, bytes]:
    """The face as it is stored under an orientation, and a file of it that tells the orientation in both ways."""
    turn = UPRIGHT_TO_STORED[orientation]
    stored = face() if turn is None else face().transpose(turn)
    exif = Image.Exif()
    exif[0x0112] = orientation
    return stored, heif(stored, exif=exif.tobytes())


class TestWithoutTheExtra:
    @pytest.mark.parametrize("read", [decode, header])
    def test_a_typed_error_tells_what_to_install(self, read: object, monkeypatch: pytest.MonkeyPatch) -> None:
        data = heif(face())
        monkeypatch.setitem(sys.modules, "pillow_heif", None)
        with pytest.raises(errors.NotAnImage, match=r'pip install "realface\[heif\]"'):
            read(data)  # type: ignore[operator]

    def test_other_pictures_do_not_need_it(self, tmp_path: Path) -> None:
        (tmp_path / "a").write_bytes(encoded(face(), "PNG"))
        (tmp_path / "b").write_bytes(heif(face()))
        script = "import sys; from realface.images import load\n"
        script += "for path in sys.argv[1:]: load(path); print('pillow_heif' in sys.modules)"
        command = [sys.executable, "-c", script, tmp_path / "a", tmp_path / "b"]
        assert subprocess.run(command, check=True, capture_output=True, text=True).stdout.split() == ["False", "True"]


class TestFormats:
    @pytest.mark.parametrize("brand", [b"heic", b"heix", b"mif1", b"msf1"])
    def test_brands(self, brand: bytes) -> None:
        data = heif(face())
        assert error(decode(data[:8] + brand + data[12:]), pixels(face())) < 5

    @pytest.mark.parametrize("brand", [b"avif", b"isom", b"qt  "])
    def test_other_files_in_the_same_boxes(self, brand: bytes) -> None:
        data = heif(face())
        with pytest.raises(errors.NotAnImage, match="realface can read"):
            decode(data[:8] + brand + data[12:])

    def test_tiles(self) -> None:
        image = face().resize((200, 150))
        assert error(decode(heif(image, tile_size=64)), pixels(image)) < 5

    def test_main_picture_of_several(self) -> None:
        assert np.abs(decode(heif(grey(200), grey(50), grey(128))).astype(int) - 200).max() <= 2

    def test_header(self) -> None:
        got = header(heif(face(), exif=b"Exif\0\0MM\0*\0\0\0\x08\0\0", icc_profile=swapped_profile()))
        assert (got.format, got.width, got.height, got.icc) == ("HEIF", 64, 70, len(swapped_profile()))
        assert got.exif >= 10


class TestColour:
    @pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA"])
    def test_modes(self, mode: str) -> None:
        assert error(decode(heif(face().convert(mode))), pixels(face().convert(mode))) < 5

    @pytest.mark.parametrize(("alpha", "wanted"), [(0, 255), (255, 55), (128, 155)])
    def test_alpha_is_laid_on_white(self, alpha: int, wanted: int) -> None:
        got = decode(heif(Image.new("RGBA", (64, 64), (55, 55, 55, alpha))))
        assert np.abs(got.astype(int) - wanted).max() <= 3

    def test_ten_bits(self) -> None:
        deep = (pixels(face()).astype(np.uint16) * 257).tobytes()
        buffer = io.BytesIO()
        pillow_heif.from_bytes(mode="RGB;16", size=face().size, data=deep).save(buffer, quality=90)
        assert error(decode(buffer.getvalue()), pixels(face())) < 5

    def test_profile_is_converted_to_srgb(self) -> None:
        assert error(decode(heif(face(), icc_profile=swapped_profile())), pixels(face())[..., ::-1]) < 5


class TestOrientation:
    @pytest.mark.parametrize("orientation", range(1, 9))
    def test_upright(self, orientation: int) -> None:
        assert error(decode(turned(orientation)[1]), pixels(face())) < 5

    def test_exif_alone_turns_nothing(self) -> None:
        stored, data = turned(6)
        assert data.count(b"irot") == 1
        assert error(decode(data.replace(b"irot", b"free")), pixels(stored)) < 5


class TestBad:
    @pytest.mark.parametrize("share", [0.05, 0.1, 0.3, 0.5, 0.7, 0.9, 0.99])
    def test_cut(self, share: float) -> None:
        data = heif(face())
        with pytest.raises(errors.Truncated, match="again"):
            decode(data[: max(12, int(len(data) * share))])

    def test_too_small(self) -> None:
        with pytest.raises(errors.TooSmall, match="31 x 64"):
            decode(heif(Image.new("RGB", (31, 64))))

    @pytest.mark.parametrize("side", [7300, 9000, 16_000])
    def test_huge_headers_are_refused_before_decoding(self, side: int, monkeypatch: pytest.MonkeyPatch) -> None:
        def fail(self: object) -> None:
            raise AssertionError("decoded")

        monkeypatch.setattr(pillow_heif.HeifImageFile, "load", fail)
        with pytest.raises(errors.TooManyPixels):
            decode(resized(heif(face()), side, side))

    def test_larger_picture_behind_a_small_one(self) -> None:
        data = heif(Image.new("RGB", (64, 64)), Image.new("RGB", (640, 640)))
        with pytest.raises(errors.TooManyPixels):
            decode(data, Limits(max_pixels=300 * 300))

    def test_sizes_without_end(self) -> None:
        sizes = b"ispe\0\0\0\0\0\0\0\1\0\0\0\1" * 10_001
        with pytest.raises(errors.Truncated, match="damaged"):
            decode(heif(face()) + struct.pack(">I", 8 + len(sizes)) + b"free" + sizes)

    @pytest.mark.parametrize("side", [33, 640])
    def test_wrong_size(self, side: int) -> None:
        with pytest.raises(errors.Truncated, match="damaged"):
            decode(resized(heif(Image.new("RGB", (512, 512))), side, side))

    @pytest.mark.parametrize(("options", "bytes_a_pixel"), [({}, 7), ({"chroma": 444}, 10), ({"chroma": 422}, 8)])
    def test_fewer_pixels_where_they_take_more_memory(self, options: dict[str, object], bytes_a_pixel: int) -> None:
        data = heif(face(), **options)
        most = 64 * 70 * bytes_a_pixel // 7
        assert decode(data, Limits(max_pixels=most + 1)).shape == (70, 64, 3)
        with pytest.raises(errors.TooManyPixels):
            decode(data, Limits(max_pixels=most - 1))
