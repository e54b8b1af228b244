"""Pictures to try the app with: one in the public domain, and what can be made of it or drawn."""

import io
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image, ImageDraw, ImageFilter

PORTRAIT = Path(__file__).with_name("examples") / "portrait.jpg"


@dataclass(frozen=True)
class File:
    """A picture to judge; `note` says what is to be learned from an example."""

    name: str
    data: bytes = field(repr=False)
    note: str = ""


def portrait() -> File:
    note = "A photograph of a real person: Eileen Collins, portrayed for NASA (public domain)."
    return File("portrait.jpg", PORTRAIT.read_bytes(), note)


def sharp_and_blurred() -> File:
    """The portrait beside itself, blurred beyond judging."""
    sharp = Image.open(PORTRAIT).crop((40, 0, 440, 400))
    both = Image.new("RGB", (800, 400))
    both.paste(sharp, (0, 0))
    both.paste(sharp.filter(ImageFilter.GaussianBlur(6)), (400, 0))
    note = "The same person twice: each face gets an answer of its own, and the blurred one cannot be judged."
    return File("sharp and blurred.jpg", _jpeg(both), note)


def drawing() -> File:
    picture = Image.new("RGB", (1024, 1024), "#9ecae1")
    pen = ImageDraw.Draw(picture)
    for box, colour in (
        ((212, 760, 812, 1300), "#3a6ea5"),  # shoulders
        ((262, 130, 762, 700), "#5b3a1e"),  # hair
        ((432, 640, 592, 880), "#e0ac8a"),  # neck
        ((292, 200, 732, 800), "#f1c7a5"),  # head
        ((362, 430, 472, 500), "white"),
        ((552, 430, 662, 500), "white"),
        ((390, 436, 446, 496), "#2b4a2f"),
        ((580, 436, 636, 496), "#2b4a2f"),
        ((486, 560, 538, 610), "#d99a76"),  # nose
    ):
        pen.ellipse(box, colour)
    for left in (352, 542):
        pen.arc((left, 380, left + 130, 460), 200, 340, "#5b3a1e", 14)
    pen.chord((422, 600, 602, 720), 20, 160, "#b5483f")
    note = (
        "A cartoon made of ellipses, neither a photograph nor made to pass for one. The detector was not made for "
        "drawings: one it finds unlike all it knows is not judged, and for another the answer means nothing."
    )
    return File("drawing.jpg", _jpeg(picture.resize((512, 512), Image.Resampling.LANCZOS)), note)


EXAMPLES = {"A real portrait": portrait, "A sharp and a blurred face": sharp_and_blurred, "A drawing": drawing}


def _jpeg(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=90)
    return buffer.getvalue()
