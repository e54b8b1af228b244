"""The door for pictures: what is refused, by which error, before it costs memory."""

import math
import os
import socket
import struct
import subprocess
import sys
import tracemalloc
import zlib
from pathlib import Path

import numpy as np
import pytest
from conftest import encoded
from helpers import KINDS, chunk, face, pixels, png
from PIL import Image, ImageFile

from realface import errors
from realface.images import Limits, decode, from_array, load, megabytes, read_bytes


class TestFile:
    @pytest.mark.parametrize("name", ["missing.jpg", "no/folder/missing.jpg", "file/below.jpg", "dangling", ""])
    def test_missing(self, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        Path("file").touch()
        Path("dangling").symlink_to("nowhere")
        with pytest.raises(errors.NotFound, match="no such file"):
            read_bytes(name)

    @pytest.mark.parametrize(
        ("name", "message"),
        [
            (".", "folder"),
            ("loop", "could not be read"),
            ("a\0b.jpg", "could not be read"),
            ("a" * 5000, "could not be read"),
        ],
    )
    def test_impossible(self, tmp_path: Path, name: str, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        Path("loop").symlink_to("loop")
        with pytest.raises(errors.Unreadable, match=message):
            read_bytes(name)

    def test_a_limit_without_end_takes_no_memory(self, tmp_path: Path) -> None:
        (tmp_path / "a.jpg").write_bytes(b"x" * 3 * 2**20)
        assert len(read_bytes(tmp_path / "a.jpg", Limits(max_bytes=2**70))) == 3 * 2**20

    @pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes")
    def test_a_pipe_does_not_hang(self, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "pipe")
        with pytest.raises(errors.Unreadable, match="pipe"):
            read_bytes(tmp_path / "pipe")

    def test_socket(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)  # the address of a socket must be short
        with socket.socket(socket.AF_UNIX) as unix:
            unix.bind("s")
            with pytest.raises(errors.Unreadable, match="pipe or a device"):
                read_bytes("s")

    @pytest.mark.parametrize("name", ["/dev/zero", "/dev/null"])
    @pytest.mark.skipif(not Path("/dev/zero").exists(), reason="needs devices")
    def test_device(self, name: str) -> None:
        with pytest.raises(errors.Unreadable, match="device"):
            read_bytes(name)

    @pytest.mark.parametrize(
        ("problem", "message"),
        [(PermissionError(13, "denied"), "no permission"), (OSError(5, "Input/output error"), "Input/output error")],
    )
    def test_unreadable(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, problem: OSError, message: str) -> None:
        def refuse(*args: object) -> None:
            raise problem

        (tmp_path / "a").touch()
        monkeypatch.setattr("builtins.open", refuse)
        with pytest.raises(errors.Unreadable, match=message):
            read_bytes(tmp_path / "a")

    @pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything")
    def test_no_permission(self, tmp_path: Path) -> None:
        (tmp_path / "a").touch(mode=0)
        with pytest.raises(errors.Unreadable, match="no permission"):
            read_bytes(tmp_path / "a")

    def test_size_limit(self, tmp_path: Path) -> None:
        (tmp_path / "a").write_bytes(bytes(1000))
        assert len(read_bytes(tmp_path / "a", Limits(max_bytes=1000))) == 1000
        with pytest.raises(errors.TooManyBytes, match="larger than 999 bytes;"):
            read_bytes(tmp_path / "a", Limits(max_bytes=999))
        assert [megabytes(size) for size in (2**20, 3 * 2**19, 20_000 * 2**20)] == ["1 MB", "1.5 MB", "20,000 MB"]

    def test_size_limit_holds_before_reading(self, tmp_path: Path) -> None:
        with (tmp_path / "sparse").open("wb") as file:
            file.truncate(2**34)
        tracemalloc.start()
        try:
            with pytest.raises(errors.TooManyBytes):
                read_bytes(tmp_path / "sparse", Limits(max_bytes=2**20))
            assert tracemalloc.get_traced_memory()[1] < 2**23
        finally:
            tracemalloc.stop()


class TestNotAPicture:
    def test_other_formats_are_refused(self) -> None:
        for kind in ("PPM", "ICO", "TGA", "PCX", "EPS"):
            with pytest.raises(errors.NotAnImage, match="JPEG, PNG, WEBP, BMP, TIFF, GIF; with an optional part HEIF"):
                decode(encoded(face(), kind))

    @pytest.mark.parametrize(
        "text", [b"This is not a picture.\n" * 20, b"\0" * 1000, b"<svg/>", b"BMW is a make of car"]
    )
    def test_not_a_picture(self, tmp_path: Path, text: bytes) -> None:
        (tmp_path / "a.jpg").write_bytes(text)
        with pytest.raises(errors.NotAnImage):
            load(tmp_path / "a.jpg")

    def test_empty(self, tmp_path: Path) -> None:
        (tmp_path / "a.jpg").touch()
        with pytest.raises(errors.EmptyFile, match="empty"):
            load(tmp_path / "a.jpg")


class TestLimits:
    def test_sizes(self) -> None:
        for size in ((1, 1), (31, 64), (64, 31), (1, 5000)):
            with pytest.raises(errors.TooSmall, match=f"{size[0]} x {size[1]}"):
                decode(encoded(Image.new("RGB", size), "PNG"))
        assert decode(encoded(Image.new("RGB", (32, 33)), "PNG")).shape == (33, 32, 3)

    def test_pixels(self) -> None:
        data = encoded(face(), "PNG")
        assert decode(data, Limits(max_pixels=64 * 70)).shape == (70, 64, 3)
        with pytest.raises(errors.TooManyPixels, match="64 x 70"):
            decode(data, Limits(max_pixels=64 * 70 - 1))

    def test_bytes(self) -> None:
        data = encoded(face(), "PNG")
        assert decode(data, Limits(max_bytes=len(data))).shape == (70, 64, 3)
        with pytest.raises(errors.TooManyBytes):
            decode(data, Limits(max_bytes=len(data) - 1))

    @pytest.mark.parametrize("side", [9000, 10_000, 30_000, 65_000])
    @pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "BMP", "TIFF"])
    def test_huge_headers_are_refused_before_decoding(
        self, kind: str, side: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        data = bytearray(encoded(Image.new("L", (64, 64)), kind))
        if kind == "PNG":
            data[8:33] = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0))
        elif kind == "JPEG":
            struct.pack_into(">HH", data, data.index(b"\xff\xc0") + 5, side, side)
        elif kind == "GIF":
            struct.pack_into("<HH", data, 6, side, side)
        elif kind == "BMP":
            struct.pack_into("<ii", data, 18, side, side)
        else:
            for tag in (256, 257):
                struct.pack_into("<I", data, data.index(struct.pack("<HHI", tag, 4, 1)) + 8, side)

        def fail(self: object) -> None:
            raise AssertionError("decoded")

        monkeypatch.setattr(ImageFile.ImageFile, "load", fail)
        tracemalloc.start()
        try:
            with pytest.raises(errors.TooManyPixels, match="at most 52,000,000 pixels"):
                decode(bytes(data))
            assert tracemalloc.get_traced_memory()[1] < 2**21
        finally:
            tracemalloc.stop()

    @pytest.mark.parametrize(
        ("kind", "options", "bytes_a_pixel"),
        [
            ("PNG", {}, 7),
            ("JPEG", {}, 7),
            ("JPEG", {"progressive": True}, 7),
            ("JPEG", {"progressive": True, "subsampling": 0}, 10),
            ("WEBP", {}, 18),
            ("TIFF", {}, 7),
            ("TIFF", {"tiffinfo": {274: 3}}, 8),
            ("TIFF", {"compression": "tiff_adobe_deflate", "strip_size": 2**20}, 10),
        ],
    )
    def test_fewer_pixels_where_they_take_more_memory(
        self, kind: str, options: dict[str, object], bytes_a_pixel: int
    ) -> None:
        data = encoded(face(), kind, **options)
        most = 64 * 70 * bytes_a_pixel / 7
        assert decode(data, Limits(max_pixels=math.ceil(most) + 1)).shape == (70, 64, 3)
        with pytest.raises(errors.TooManyPixels, match="64 x 70"):
            decode(data, Limits(max_pixels=math.floor(most) - 1))

    def test_jpeg_of_one_colour_a_scan_counts_as_progressive(self) -> None:
        data = encoded(face(), "JPEG", subsampling=0)
        scan = data.index(b"\xff\xda")
        apart = data[:scan] + b"\xff\xda\0\x08\1\1\0\0\x3f\0" + data[scan:]
        with pytest.raises(errors.TooManyPixels):
            decode(apart, Limits(max_pixels=64 * 70))

    def test_scans_are_counted_only_where_there_may_be_many(self) -> None:
        film = b"\xff\xda" * 250_000  # as phones append it to a picture
        two = encoded(face(), "MPO", save_all=True, append_images=[face()])
        for data in (encoded(face(), "JPEG"), two):
            assert np.array_equal(decode(data + film), decode(data))
        progressive = encoded(face(), "JPEG", progressive=True)
        assert np.array_equal(decode(progressive + film), decode(progressive)), "no scan begins there"
        with pytest.raises(errors.Truncated, match="unusual"):
            decode(progressive + b"\xff\xda\0\x08\1" * 250_000)

    @pytest.mark.parametrize(
        ("mode", "side", "kind", "options"),
        [
            ("RGBA", 7200, "PNG", {"compress_level": 1}),
            ("RGB", 7200, "JPEG", {"progressive": True}),
            ("RGB", 6000, "JPEG", {"progressive": True, "subsampling": 0}),
            ("RGB", 6700, "TIFF", {"compression": "tiff_lzw", "tiffinfo": {274: 6}}),
            ("RGB", 4490, "WEBP", {"method": 0}),
        ],
    )
    def test_memory_of_the_largest_that_are_read(
        self, tmp_path: Path, mode: str, side: int, kind: str, options: dict[str, object]
    ) -> None:
        if not Path("/proc/self/status").exists():
            pytest.skip("how much memory a process had at most is read from /proc")
        (tmp_path / "a").write_bytes(encoded(Image.new(mode, (side, side), 99), kind, **options))
        script = "import sys; from realface.images import load; print(load(sys.argv[1]).shape)\n"
        script += "print(open('/proc/self/status').read().partition('VmHWM:')[2].split()[0])"  # in kB
        got = subprocess.run([sys.executable, "-c", script, tmp_path / "a"], check=True, capture_output=True, text=True)
        shape, peak = got.stdout.splitlines()
        assert shape == f"({side}, {side}, 3)"
        assert int(peak) * 1024 < 600e6

    @pytest.mark.parametrize("kind", [b"zTXt", b"iTXt", b"iCCP"])
    def test_bombs_in_metadata(self, kind: bytes) -> None:
        bomb = zlib.compress(bytes(64 * 2**20))
        body = b"name\0\1\0\0\0" + bomb if kind == b"iTXt" else b"name\0\0" + bomb
        data = png(pixels(face()), 2, chunk(kind, body), bits=8)
        tracemalloc.start()
        try:
            with pytest.raises(errors.Truncated):
                decode(data)
            assert tracemalloc.get_traced_memory()[1] < 8 * 2**20
        finally:
            tracemalloc.stop()


class TestTruncated:
    @pytest.mark.parametrize("share", [0.01, 0.1, 0.3, 0.5, 0.7, 0.9])
    @pytest.mark.parametrize("kind", KINDS)
    def test_cut(self, kind: str, share: float) -> None:
        data = encoded(face(), kind)
        with pytest.raises(errors.Truncated, match="again"):
            decode(data[: max(12, int(len(data) * share))])

    def test_jpeg_without_its_last_bytes(self) -> None:
        data = encoded(face(), "JPEG")
        for missing in (10, 20, 100):
            with pytest.raises(errors.Truncated):
                decode(data[:-missing])

    def test_damaged_body(self) -> None:
        data = bytearray(encoded(face(), "PNG"))
        middle = data.index(b"IDAT") + 20
        data[middle : middle + 20] = bytes(20)
        with pytest.raises(errors.Truncated, match="damaged"):
            decode(bytes(data))

    def test_no_memory_is_a_typed_error(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def fail(self: object) -> None:
            raise MemoryError

        monkeypatch.setattr(ImageFile.ImageFile, "load", fail)
        with pytest.raises(errors.Truncated):
            decode(encoded(face(), "JPEG"))


class TestFromArray:
    @pytest.mark.parametrize(
        "array",
        [
            np.zeros((64, 64), np.uint8),
            np.zeros((64, 64, 1), np.uint8),
            np.zeros((64, 64, 4), np.uint8),
            np.zeros((1, 64, 64, 3), np.uint8),
            np.zeros((64, 64, 3), np.float32),
            np.zeros((64, 64, 3), np.uint16),
            [[[0, 0, 0]]],
        ],
    )
    def test_wrong_arrays(self, array: np.ndarray) -> None:
        with pytest.raises(errors.NotAnImage, match=r"\(height, width, 3\) uint8 RGB"):
            from_array(array)

    @pytest.mark.parametrize("shape", [(0, 0, 3), (31, 64, 3), (64, 31, 3)])
    def test_too_small(self, shape: tuple[int, ...]) -> None:
        with pytest.raises(errors.TooSmall, match=f"{shape[1]} x {shape[0]}"):
            from_array(np.zeros(shape, np.uint8))
