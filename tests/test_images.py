"""The door for pictures: whatever the format, colours and orientation, an upright RGB array."""

import io
import struct
from pathlib import Path

import numpy as np
import pytest
from conftest import encoded, grey
from helpers import KINDS, LOSSLESS, chunk, error, face, pixels, png, swapped_profile
from PIL import Image, ImageCms, ImageFile, TiffImagePlugin

from realface import images
from realface.images import decode, from_array, load, read_bytes


class TestFile:
    def test_its_bytes(self, tmp_path: Path) -> None:
        (tmp_path / "a").write_bytes(b"anything")
        (tmp_path / "link").symlink_to(tmp_path / "a")
        assert read_bytes(tmp_path / "a") == read_bytes(str(tmp_path / "link")) == b"anything"

    def test_the_name_does_not_matter(self, tmp_path: Path) -> None:
        (tmp_path / "a.txt").write_bytes(encoded(face(), "PNG"))
        assert np.array_equal(load(tmp_path / "a.txt"), pixels(face()))

    def test_an_array_is_passed_on(self) -> None:
        array = np.zeros((32, 40, 3), np.uint8)
        assert from_array(array) is array


class TestFormats:
    def test_all_that_the_messages_promise(self) -> None:
        assert (*KINDS, "HEIF") == images.FORMATS

    @pytest.mark.parametrize(("kind", "options"), LOSSLESS)
    def test_lossless(self, kind: str, options: dict[str, object]) -> None:
        assert np.array_equal(decode(encoded(face(), kind, **options)), pixels(face()))

    @pytest.mark.parametrize(
        ("kind", "options"),
        [
            ("JPEG", {"progressive": True}),
            ("JPEG", {"subsampling": 0}),
            ("WEBP", {}),
            ("TIFF", {"compression": "jpeg"}),
        ],
    )
    def test_lossy(self, kind: str, options: dict[str, object]) -> None:
        assert error(decode(encoded(face(), kind, quality=95, **options)), pixels(face())) < 5

    @pytest.mark.parametrize("compression", ["raw", "tiff_lzw"])
    def test_layers_of_a_tiff_are_passed_over(self, compression: str) -> None:
        tags = TiffImagePlugin.ImageFileDirectory_v2()
        tags[274], tags[37724] = 3, b"Adobe Photoshop Document Data Block\0" + bytes(9_000_000)
        tags.tagtype[37724] = 7
        data = encoded(face(), "TIFF", tiffinfo=tags, compression=compression)
        assert np.array_equal(decode(data), pixels(face())[::-1, ::-1]), "what comes before them is known"

    def test_phone_picture_with_a_second_picture_inside(self) -> None:
        data = encoded(face(), "MPO", save_all=True, append_images=[face().rotate(180)], quality=95)
        with Image.open(io.BytesIO(data)) as image:
            assert image.format == "MPO"
        assert error(decode(data), pixels(face())) < 5
        assert np.array_equal(decode(data + b"trailing"), decode(data))

    @pytest.mark.parametrize("kind", KINDS)
    def test_trailing_garbage_is_ignored(self, kind: str) -> None:
        data = encoded(face(), kind)
        assert np.array_equal(decode(data + b"garbage \xff\xd8\xff\0" * 100), decode(data))

    @pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF"])
    def test_first_frame_of_many(self, kind: str) -> None:
        options = {"lossless": True} if kind == "WEBP" else {}
        frames = [grey(200), grey(50), grey(128)]
        data = encoded(frames[0], kind, save_all=True, append_images=frames[1:], **options)
        with Image.open(io.BytesIO(data)) as image:
            assert image.n_frames == 3  # type: ignore[attr-defined]
        assert (decode(data) == 200).all()

    def test_much_metadata_is_fine(self) -> None:
        segment = b"\xff\xe1\xff\xff" + b"Exif\0\0" + bytes(0xFFFF - 8)
        data = encoded(face(), "JPEG")
        assert np.array_equal(decode(data[:2] + segment * 100 + data[2:]), decode(data))

    def test_long_text_is_fine(self) -> None:
        prompt = chunk(b"tEXt", b"workflow\0" + b"{}" * 2**20)
        assert np.array_equal(decode(png(pixels(face()), 2, prompt, bits=8)), pixels(face()))


class TestColour:
    @pytest.mark.parametrize("mode", ["1", "L", "P"])
    @pytest.mark.parametrize("kind", ["PNG", "TIFF", "BMP", "GIF"])
    def test_few_bits(self, kind: str, mode: str) -> None:
        image = face().quantize(16) if mode == "P" else face().convert(mode)
        assert np.array_equal(decode(encoded(image, kind)), pixels(image))

    def test_cmyk(self) -> None:
        cmyk = Image.new("CMYK", (64, 64), (0, 255, 255, 0))  # magenta and yellow ink: red
        assert (decode(encoded(cmyk, "TIFF")) == (255, 0, 0)).all()
        assert np.abs(decode(encoded(cmyk, "JPEG", quality=95)).astype(int) - (255, 0, 0)).max() <= 2
        assert error(decode(encoded(face().convert("CMYK"), "JPEG", quality=95)), pixels(face())) < 5

    def test_adobe_stores_cmyk_inverted(self) -> None:
        data = encoded(Image.new("CMYK", (64, 64), (0, 0, 0, 0)), "JPEG", quality=95)
        assert b"Adobe" in data
        with Image.open(io.BytesIO(data)) as stored:
            stored.tile = [ImageFile._Tile(*tile[:3], ("CMYK", "")) for tile in stored.tile]
            assert stored.getextrema() == ((255, 255),) * 4  # the samples in the file are full, yet mean: no ink
        assert (decode(data) == 255).all()

    def test_lab(self) -> None:
        srgb, lab = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
        image = ImageCms.profileToProfile(face(), srgb, lab, outputMode="LAB")
        assert image is not None
        assert error(decode(encoded(image, "TIFF")), pixels(face())) < 2

    @pytest.mark.parametrize("kind", ["PNG", "TIFF"])
    @pytest.mark.parametrize("top", [65535, 5000, 255])
    def test_grey_of_16_bits(self, kind: str, top: int) -> None:
        levels = np.linspace(0, top, 40 * 50).reshape(40, 50).round().astype(np.uint16)
        data = encoded(Image.fromarray(levels), kind)
        assert np.array_equal(decode(data), np.repeat(np.round(levels / 257)[..., None], 3, 2))

    def test_grey_of_16_bits_big_endian_and_turned(self) -> None:
        levels = (np.arange(40 * 50).reshape(40, 50) * 32).astype(">u2")
        image = Image.frombytes("I;16B", (50, 40), levels.tobytes())
        exif = Image.Exif()
        exif[0x0112] = 3
        got = decode(encoded(image, "TIFF", exif=exif))[..., 0]
        assert np.array_equal(got, np.round(levels[::-1, ::-1] / 257))

    def test_grey_of_32_bits_is_read_as_16(self) -> None:
        levels = np.linspace(-1000, 70000, 40 * 50).reshape(40, 50).astype(np.int32)
        got = decode(encoded(Image.fromarray(levels), "TIFF"))
        assert np.array_equal(got[..., 0], np.round(levels.clip(0, 65535) / 257))

    def test_floating_grey_is_clipped(self) -> None:
        levels = np.linspace(-50, 400, 40 * 50, dtype=np.float32).reshape(40, 50)
        levels[0, 0] = np.nan
        got = decode(encoded(Image.fromarray(levels), "TIFF"))[..., 0]
        assert np.array_equal(got, np.nan_to_num(levels).clip(0, 255).round())

    def test_fractions_of_grey_are_levels(self) -> None:
        """As programs count that compute with pictures: black is 0, white 1."""
        levels = np.linspace(0, 1, 700 * 1100, dtype=np.float32).reshape(700, 1100)  # more than one strip
        got = decode(encoded(Image.fromarray(levels), "TIFF"))[..., 0]
        assert np.array_equal(got, (levels * 255).round())

    @pytest.mark.parametrize(("colour", "channels"), [(2, 3), (6, 4), (4, 2)])
    def test_colour_of_16_bits(self, rng: np.random.Generator, colour: int, channels: int) -> None:
        samples = rng.integers(0, 65536, (40, 50, channels))
        if colour >= 4:
            samples[..., -1] = 65535
        wanted = samples[..., :3] if channels >= 3 else samples[..., :1].repeat(3, 2)
        assert np.abs(decode(png(samples, colour)) - wanted / 257).max() <= 1

    @pytest.mark.parametrize(("alpha", "wanted"), [(0, 255), (255, 55), (128, 155)])
    @pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF"])
    def test_alpha_is_laid_on_white(self, kind: str, alpha: int, wanted: int) -> None:
        options = {"lossless": True, "exact": True} if kind == "WEBP" else {}
        for image in (Image.new("RGBA", (64, 64), (55, 55, 55, alpha)), Image.new("LA", (64, 64), (55, alpha))):
            assert np.abs(decode(encoded(image, kind, **options)).astype(int) - wanted).max() <= 1

    @pytest.mark.parametrize("kind", ["PNG", "GIF"])
    def test_transparent_colour_of_a_palette(self, kind: str) -> None:
        image = Image.new("P", (64, 64), 1)
        image.putpalette([10, 20, 30, 200, 100, 0])
        image.paste(0, (0, 0, 32, 64))
        got = decode(encoded(image, kind, transparency=0))
        assert (got[:, :32] == 255).all()
        assert (got[:, 32:] == (200, 100, 0)).all()

    def test_transparent_level_of_16_bits(self) -> None:
        image = Image.fromarray(np.full((40, 40), 1285, np.uint16))
        assert (decode(encoded(image, "PNG", transparency=1285)) == 255).all()
        assert (decode(encoded(image, "PNG")) == 5).all()

    def test_half_transparent_palette(self) -> None:
        image = Image.new("P", (64, 64), 1)
        image.putpalette([10, 20, 30, 0, 0, 0])
        assert (decode(encoded(image, "PNG", transparency=b"\xff\x80")) == 127).all()

    @pytest.mark.parametrize(("mode", "key"), [("RGB", (9, 8, 7)), ("L", 9), ("1", 0)])
    def test_transparent_colour_without_a_palette(self, mode: str, key: int | tuple[int, ...]) -> None:
        image = Image.new(mode, (64, 64), key)
        image.paste(1 if mode == "1" else 50 if mode == "L" else (50, 50, 50), (32, 0, 64, 64))
        got = decode(encoded(image, "PNG", transparency=key))
        assert (got[:, :32] == 255).all()
        assert np.array_equal(got[:, 32:], pixels(image)[:, 32:])


class TestProfiles:
    @pytest.mark.parametrize(("kind", "options"), [("PNG", {}), ("WEBP", {"lossless": True}), ("TIFF", {})])
    def test_converted_to_srgb(self, kind: str, options: dict[str, object]) -> None:
        got = decode(encoded(face(), kind, icc_profile=swapped_profile(), **options))
        assert error(got, pixels(face())[..., ::-1]) < 1

    def test_converted_with_alpha(self) -> None:
        image = Image.new("RGBA", (64, 64), (200, 100, 0, 255))
        image.paste((0, 0, 0, 0), (0, 0, 32, 64))
        got = decode(encoded(image, "PNG", icc_profile=swapped_profile())).astype(int)
        assert (got[:, :32] == 255).all()
        assert np.abs(got[:, 32:] - (0, 100, 200)).max() <= 1

    def test_srgb_is_left_alone(self) -> None:
        profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
        assert np.array_equal(decode(encoded(face(), "PNG", icc_profile=profile)), pixels(face()))

    @pytest.mark.parametrize("kind", ["PNG", "GIF"])
    def test_converted_with_a_palette(self, kind: str) -> None:
        image = Image.new("P", (64, 64), 1)
        image.putpalette([0, 0, 0, 200, 100, 0])
        got = decode(encoded(image, kind, icc_profile=swapped_profile())).astype(int)
        assert np.abs(got - ((0, 100, 200) if kind == "PNG" else (200, 100, 0))).max() <= 1  # a GIF has no profile

    @pytest.mark.parametrize("profile", [b"nonsense", bytes(500), swapped_profile()[:200], swapped_profile()[:300]])
    @pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
    def test_broken_profile_is_ignored(self, kind: str, profile: bytes) -> None:
        assert np.array_equal(decode(encoded(face(), kind, icc_profile=profile)), decode(encoded(face(), kind)))

    @pytest.mark.parametrize("mode", ["L", "CMYK"])
    def test_profile_of_another_colour_space_is_ignored(self, mode: str) -> None:
        image = face().convert(mode)
        assert np.array_equal(decode(encoded(image, "TIFF", icc_profile=swapped_profile())), pixels(image))


UPRIGHT_TO_STORED = {
    1: None,
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


class TestOrientation:
    @pytest.mark.parametrize("orientation", range(1, 9))
    @pytest.mark.parametrize(("kind", "options"), [*(x for x in LOSSLESS if x[0] != "BMP"), ("JPEG", {"quality": 95})])
    def test_upright(self, kind: str, options: dict[str, object], orientation: int) -> None:
        turn = UPRIGHT_TO_STORED[orientation]
        stored = face() if turn is None else face().transpose(turn)
        exif = Image.Exif()
        exif[0x0112] = orientation
        limit = 5 if kind == "JPEG" else 0
        assert error(decode(encoded(stored, kind, exif=exif, **options)), pixels(face())) <= limit

    @pytest.mark.parametrize("orientation", [0, 9, 65535])
    def test_unknown_orientation_is_ignored(self, orientation: int) -> None:
        exif = Image.Exif()
        exif[0x0112] = orientation
        assert np.array_equal(decode(encoded(face(), "PNG", exif=exif)), pixels(face()))

    @pytest.mark.parametrize("exif", [b"Exif\0\0garbage", b"Exif\0\0", b"Exif\0\0MM\0*\0\0\0\x08\0\x09", b"\xff" * 50])
    def test_damaged_exif_is_ignored(self, exif: bytes) -> None:
        assert np.array_equal(decode(encoded(face(), "JPEG", exif=exif)), decode(encoded(face(), "JPEG")))

    def test_exif_that_cannot_be_written_back_still_turns(self) -> None:
        entries = struct.pack(">HHIHH", 0x0112, 3, 1, 6, 0) + struct.pack(">HHI4s", 0x9999, 77, 1, b"what")
        exif = b"Exif\0\0MM\0*\0\0\0\x08\0\x02" + entries + bytes(4)
        turned = decode(encoded(face(), "JPEG", exif=exif))
        assert np.array_equal(turned, np.rot90(decode(encoded(face(), "JPEG")), -1))

    def test_failing_exif_reader_is_ignored(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def fail(self: Image.Image) -> None:
            raise SyntaxError("not a TIFF file")

        data = encoded(face(), "PNG")
        monkeypatch.setattr(Image.Image, "getexif", fail)
        assert np.array_equal(decode(data), pixels(face()))


class TestStrips:
    """Pictures are converted strip by strip, which must not show."""

    @pytest.mark.parametrize("pixels_a_strip", [1, 64, 1000, 64 * 69])
    @pytest.mark.parametrize("orientation", range(1, 9))
    def test_turned(self, orientation: int, pixels_a_strip: int, monkeypatch: pytest.MonkeyPatch) -> None:
        exif = Image.Exif()
        exif[0x0112] = orientation
        data = encoded(face(), "PNG", exif=exif, icc_profile=swapped_profile())
        whole = decode(data)
        monkeypatch.setattr(images, "_STRIP", pixels_a_strip)
        assert np.array_equal(decode(data), whole)

    @pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "I;16", "F", "CMYK"])
    def test_colours(self, mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
        grey = np.asarray(face().convert("L"))
        made = {"P": face().quantize(16), "I;16": Image.fromarray(grey.astype(np.uint16) * 257)}
        data = encoded(made.get(mode) or face().convert(mode), "TIFF")
        whole = decode(data)
        monkeypatch.setattr(images, "_STRIP", 1000)
        assert np.array_equal(decode(data), whole)
