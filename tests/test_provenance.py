"""What a file says of its own origin: each kind of note in each kind of file."""

import io
import struct
import time

import numpy as np
import pillow_heif
import pytest
from conftest import encoded, grey
from helpers import chunk
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from realface import Claim, credentials, words
from realface.provenance import _SOURCES, read

PIXELS = grey(90, 32, 32)
WITH_EXIF = ["JPEG", "PNG", "WEBP", "TIFF"]
SETTINGS = "a portrait\nNegative prompt: hat\nSteps: 20, Sampler: Euler a, CFG scale: 7, Seed: 1"
SAYS = "a portrait Negative prompt: hat Steps: 20, Sampler: Euler a, CFG scale: 7, Seed: 1"
TRAINED = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
JUMBF = b"\0\0\0\x40jumb\0\0\0\x1ejumdc2pa\0\x11\0\x10\x80\0\0\xaa\0\x38\x9b\x71\x03c2pa\0"


def exif(comment: bytes = b"", **tags: str) -> Image.Exif:
    names = {"description": 0x010E, "make": 0x010F, "model": 0x0110, "software": 0x0131, "artist": 0x013B}
    made = Image.Exif()
    for name, text in tags.items():
        made[names[name]] = text
    if comment:
        made.get_ifd(0x8769)[0x9286] = comment
    return made


def with_exif(kind: str, notes: Image.Exif) -> bytes:
    if kind == "TIFF":  # Pillow leaves the photo tags out of these; EXIF is a TIFF without pixels
        return notes.tobytes().removeprefix(b"Exif\0\0")
    return encoded(PIXELS, kind, exif=notes)


def png(**texts: str) -> bytes:
    info = PngInfo()
    for name, text in texts.items():
        info.add_text(name.replace("__", "-"), text)
    return encoded(PIXELS, "PNG", pnginfo=info)


def packet(inner: str, attributes: str = "") -> bytes:
    """An XMP packet."""
    return (
        '<?xpacket begin="" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF '
        f'xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description {attributes}>{inner}'
        '</rdf:Description></rdf:RDF></x:xmpmeta><?xpacket end="w"?>'
    ).encode()


def segment(marker: int, body: bytes) -> bytes:
    return b"\xff" + bytes([marker]) + struct.pack(">H", len(body) + 2) + body


def jpeg(*segments: bytes) -> bytes:
    data = encoded(PIXELS, "JPEG")
    return data[:2] + b"".join(segments) + data[2:]


def with_xmp(kind: str, xmp: bytes) -> bytes:
    if kind == "PNG":
        info = PngInfo()
        info.add_itxt("XML:com.adobe.xmp", xmp.decode())
        return encoded(PIXELS, "PNG", pnginfo=info)
    if kind == "TIFF":
        return encoded(PIXELS, "TIFF", tiffinfo={700: xmp})
    return encoded(PIXELS, kind) + xmp if kind in ("GIF", "BMP") else encoded(PIXELS, kind, xmp=xmp)


def with_manifest(kind: str) -> bytes:
    data = encoded(PIXELS, kind)
    if kind == "JPEG":
        return jpeg(segment(0xEB, b"JP\0\1\0\0\0\1" + JUMBF))
    if kind == "PNG":
        return data[:33] + chunk(b"caBX", JUMBF) + data[33:]
    return data + (b"C2PA" + struct.pack("<I", len(JUMBF)) if kind == "WEBP" else b"") + JUMBF


def said(data: bytes) -> list[tuple[str, str]]:
    return [(claim.kind, claim.says) for claim in read(data)]


class TestCamera:
    @pytest.mark.parametrize("kind", WITH_EXIF)
    def test_make_model_and_software_in_each_kind_of_file(self, kind: str) -> None:
        notes = exif(make="Canon", model="Canon EOS 5D", software="Adobe Photoshop 26.1")
        assert read(encoded(PIXELS, kind, exif=notes)) == (
            Claim("camera", "Canon EOS 5D", "EXIF Make and Model"),
            Claim("software", "Adobe Photoshop 26.1", "EXIF Software"),
        )

    @pytest.mark.parametrize(
        ("make", "model", "name"),
        [
            ("NIKON CORPORATION", "NIKON D850", "NIKON D850"),
            ("Apple", "iPhone 15 Pro", "Apple iPhone 15 Pro"),
            ("Canon", "", "Canon"),
            ("", "X100", "X100"),
        ],
    )
    def test_the_make_is_not_said_twice(self, make: str, model: str, name: str) -> None:
        assert said(encoded(PIXELS, "JPEG", exif=exif(make=make, model=model))) == [("camera", name)]

    def test_both_orders_of_bytes(self) -> None:
        def block(order: str) -> bytes:
            entry = struct.pack(f"{order}HHI", 0x010F, 2, 4) + b"Acme"
            return {"<": b"II*\0", ">": b"MM\0*"}[order] + struct.pack(f"{order}IH", 8, 1) + entry + bytes(4)

        for order in "<>":
            assert said(jpeg(segment(0xE1, b"Exif\0\0" + block(order)))) == [("camera", "Acme")]

            assert said(b"\0\0\0\x18ftypheic" + bytes(99) + b"Exif\0\0" + block(order)) == [("camera", "Acme")]

    def test_in_heif(self) -> None:
        buffer = io.BytesIO()
        notes = exif(make="Apple", software="Midjourney 6").tobytes()
        pillow_heif.from_pillow(PIXELS).save(buffer, exif=notes, xmp=packet("", 'xmp:CreatorTool="Tool"'))
        assert said(buffer.getvalue()) == [("generator", "Midjourney 6"), ("camera", "Apple"), ("software", "Tool")]

    def test_place_time_and_people_are_not_told(self) -> None:
        notes = exif(make="Acme", artist="Jane Doe", description="Jane at home, 12 Elm Street")
        notes[0x0132] = notes.get_ifd(0x8769)[0x9003] = "2024:05:06 07:08:09"
        notes.get_ifd(0x8825).update({1: "N", 2: (52.0, 31.0, 12.0), 0x1D: "2024:05:06"})
        xmp = packet("<photoshop:Credit>Jane Doe</photoshop:Credit>", 'exif:GPSLatitude="52,31.2N"')
        assert said(encoded(PIXELS, "JPEG", exif=notes, xmp=xmp)) == [("camera", "Acme")]


class TestGenerator:
    @pytest.mark.parametrize(
        ("texts", "says"),
        [
            ({"parameters": SETTINGS}, f"Stable Diffusion: {SAYS}"),
            ({"parameters": "{red|blue} hat, Steps: 9"}, "Stable Diffusion: {red|blue} hat, Steps: 9"),
            ({"parameters": '{"prompt": "a portrait", "steps": 30}'}, "Stable Diffusion"),
            ({"parameters": '{"sui_image_params": {"prompt": "x"}}'}, "SwarmUI"),
            ({"prompt": '{"1": {"class_type": "KSampler", "inputs": {}}}'}, "ComfyUI"),
            (
                {
                    "workflow": '{"last_node_id": 9, "nodes": []}',
                    "prompt": '{"4": {"inputs": {"ckpt_name": "sd_xl.safetensors"}, "class_type": "Loader"}}',
                },
                "ComfyUI, model sd_xl.safetensors",
            ),
            ({"sd__metadata": '{"model_weights": "x"}'}, "InvokeAI"),
            ({"invokeai_metadata": '{"model": {"model_name": "dream"}}'}, "InvokeAI, model dream"),
            ({"Dream": "a cat -s 50"}, "InvokeAI: a cat -s 50"),
            ({"Software": "NovelAI", "Title": "AI generated image", "Comment": "{}"}, "NovelAI"),
            ({"Description": "a cat --v 6 Job ID: 0a1b2c3d-0000-1111-2222-333344445555"}, None),
            ({"Author": "DALL-E"}, "DALL-E"),
        ],
    )
    def test_texts_of_png(self, texts: dict[str, str], says: str | None) -> None:
        ((kind, got),) = said(png(**texts))
        assert kind == "generator"
        assert got == says if says else got.startswith("Midjourney: a cat")

    def test_packed_texts_of_png(self) -> None:
        for international in (False, True):
            info = PngInfo()
            (info.add_itxt if international else info.add_text)("parameters", SETTINGS, zip=True)
            assert said(encoded(PIXELS, "PNG", pnginfo=info)) == [("generator", f"Stable Diffusion: {SAYS}")]

    def test_texts_after_the_pixels(self) -> None:
        data = encoded(PIXELS)
        assert said(data[:-12] + chunk(b"tEXt", b"Software\0NovelAI") + data[-12:]) == [("generator", "NovelAI")]

    @pytest.mark.parametrize("kind", WITH_EXIF)
    @pytest.mark.parametrize(
        "comment",
        [
            b"UNICODE\0" + SETTINGS.encode("utf-16-be"),
            b"UNICODE\0" + SETTINGS.encode("utf-16-le"),
            b"ASCII\0\0\0" + SETTINGS.encode(),
            bytes(8) + SETTINGS.encode(),
            SETTINGS.encode(),
        ],
    )
    def test_the_user_comment_in_each_encoding(self, kind: str, comment: bytes) -> None:
        data = with_exif(kind, exif(comment, make="Acme"))
        assert said(data) == [("generator", f"Stable Diffusion: {SAYS}"), ("camera", "Acme")]

    def test_a_workflow_in_the_place_of_the_camera(self) -> None:
        notes = exif(make='workflow:{"last_node_id": 3}', model='prompt:{"1": {"class_type": "X"}}')
        assert said(encoded(PIXELS, "WEBP", exif=notes)) == [("generator", "ComfyUI")]

    def test_a_comment_of_jpeg(self) -> None:
        assert said(encoded(PIXELS, "JPEG", comment=SETTINGS)) == [("generator", f"Stable Diffusion: {SAYS}")]

    @pytest.mark.parametrize(
        ("inner", "says"),
        [
            ("<photoshop:Credit>Made with Google AI</photoshop:Credit>", "Made with Google AI"),
            ("<photoshop:Credit>Edited with Google AI</photoshop:Credit>", "Edited with Google AI"),
            ("<xmp:CreatorTool>Adobe Firefly</xmp:CreatorTool>", "Adobe Firefly"),
            ("<xmp:CreatorTool>Gemini</xmp:CreatorTool>", "Gemini"),
            ("<Iptc4xmpExt:AISystemUsed>Maker &amp; Co</Iptc4xmpExt:AISystemUsed>", "Maker & Co"),
        ],
    )
    def test_xmp(self, inner: str, says: str) -> None:
        assert said(with_xmp("JPEG", packet(inner))) == [("generator", says)]

    def test_captions_and_people_are_not_generators(self) -> None:
        notes = exif(artist="Sora Dalle", description="A speaker of OpenAI on Midjourney and Stable Diffusion")
        data = encoded(PIXELS, "JPEG", exif=notes, xmp=packet("<photoshop:Credit>Leonardo Flux</photoshop:Credit>"))
        assert said(data) == []
        assert said(png(parameters="mass = 3", prompt="say cheese", manifest="signed", provenance="http://a")) == []


class TestXmp:
    @pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "GIF", "BMP"])
    @pytest.mark.parametrize(
        ("inner", "attributes"),
        [
            ("", f'Iptc4xmpExt:DigitalSourceType="{TRAINED}"'),
            ("", f"iptcExt:DigitalSourceType = '{TRAINED}'"),
            (f"<Iptc4xmpExt:DigitalSourceType>{TRAINED}</Iptc4xmpExt:DigitalSourceType>", ""),
            (f'<Iptc4xmpExt:DigitalSourceType rdf:resource="{TRAINED}"/>', ""),
        ],
    )
    def test_each_way_to_write_it_in_each_kind_of_file(self, kind: str, inner: str, attributes: str) -> None:
        (claim,) = read(with_xmp(kind, packet(inner, attributes)))
        assert claim.kind == "source-type"
        assert claim.says == "made by a generative model (trainedAlgorithmicMedia)"
        assert claim.where == "XMP DigitalSourceType"

    @pytest.mark.parametrize(("code", "words"), _SOURCES.items())
    def test_the_vocabulary_of_source_types(self, code: str, words: str) -> None:
        for text in (f"http://cv.iptc.org/newscodes/digitalsourcetype/{code}", code, code.lower()):
            data = with_xmp("JPEG", packet("", f'a:DigitalSourceType="{text}"'))
            assert said(data) == [("source-type", f"{words} ({code})")]

    def test_an_unknown_source_type_is_told_as_it_is(self) -> None:
        data = with_xmp("JPEG", packet("", 'a:DigitalSourceType="https://c2pa.org/digitalsourcetype/empty"'))
        assert said(data) == [("source-type", "empty")]

    def test_tools_of_the_history_each_once(self) -> None:
        steps = "".join(f'<rdf:li stEvt:softwareAgent="Adobe Photoshop {v}"/>' for v in ("25.0", "25.0", "26.1"))
        data = with_xmp("JPEG", packet(steps, 'xmp:CreatorTool="Adobe Photoshop" tiff:Make="Acme" tiff:Model="One"'))
        assert said(data) == [
            ("camera", "Acme One"),
            ("software", "Adobe Photoshop 25.0"),
            ("software", "Adobe Photoshop 26.1"),
        ]

    def test_in_utf_16(self) -> None:
        text = packet("", 'xmp:CreatorTool="Tool"').decode().encode("utf-16")
        assert said(jpeg(segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + text))) == [("software", "Tool")]


class TestManifest:
    @pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "GIF"])
    def test_its_presence_needs_no_library(self, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(credentials, "_library", lambda: None)
        wanted = Claim("c2pa", 'manifest not read: pip install "realface[c2pa]"', "C2PA manifest")
        assert read(with_manifest(kind)) == (wanted,)
        assert read(encoded(PIXELS, kind)) == ()

    def test_one_kept_elsewhere_is_not_fetched(self) -> None:
        data = with_xmp("JPEG", packet("", 'dcterms:provenance="https://example.org/a.c2pa"'))
        assert said(data) == [("c2pa", "manifest kept elsewhere, which is not fetched")]

    def test_other_jumbf_is_none(self) -> None:
        assert said(jpeg(segment(0xEB, b"JP\0\1\0\0\0\1" + JUMBF.replace(b"c2pa\0\x11", b"json\0\x11")))) == []


class TestSummary:
    def test_nothing_means_nothing(self) -> None:
        for data in (encoded(PIXELS), b"", b"text"):
            assert read(data) == ()
        assert words.origin(()).startswith("No note of origin was found in the file, which means nothing")

    def test_claims_in_one_sentence_the_most_telling_first(self) -> None:
        notes = exif(make="Acme", software="NovelAI")
        xmp = packet("", f'a:DigitalSourceType="{TRAINED}" xmp:CreatorTool="GIMP"')
        assert words.origin(read(encoded(PIXELS, "JPEG", exif=notes, xmp=xmp))) == (
            "The file says: generator NovelAI; source made by a generative model (trainedAlgorithmicMedia); "
            "camera Acme; software GIMP; such notes can be forged or copied."
        )

    def test_long_texts_are_cut_for_a_person_and_bounded_for_a_program(self) -> None:
        (claim,) = read(png(parameters="x" * 5000 + " Steps: 1"))
        assert len(claim.says) == 2000
        assert len(str(claim)) < 140
        assert claim.says[-1] == str(claim)[-1] == "…"

    def test_only_printable_text_on_one_line(self) -> None:
        software = "\x1b[31mred\x07\n\u202etxet \u2066\x9b<b>&amp;"
        assert said(png(Software=software)) == [("software", "[31mred txet <b>&amp;")]


def test_a_photograph_takes_next_to_no_time() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (1200, 1600, 3), np.uint8)
    data = encoded(Image.fromarray(noise), "JPEG", exif=exif(make="Acme"), xmp=packet("", 'xmp:CreatorTool="Tool"'))
    times = []
    for _ in range(20):
        start = time.perf_counter()
        read(data)
        times.append(time.perf_counter() - start)
    assert min(times) < 0.005
