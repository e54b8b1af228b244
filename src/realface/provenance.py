"""What a picture's file says of its own origin: generator, kind of source, C2PA manifest, camera, software.

It is no part of any probability: anyone can write, copy or remove such notes, and that there are none means nothing.
"""

import re
from collections.abc import Iterator
from itertools import pairwise

from . import credentials, metadata
from .metadata import Field
from .results import Claim

MAX_CLAIMS = 20
MAX_SAYS = 2000  # characters of one claim

_ORDER = ("generator", "source-type", "c2pa", "camera", "software")
_PROGRAMS = {"Software", "CreatorTool", "softwareAgent", "claim generator"}
_PEOPLE = {"Credit", "Artist", "Author", "Source"}  # names of persons in general: told only where they name a generator
_GENERATOR = re.compile(
    r"""\b( stable[ -]?diffusion | automatic1111 | comfyui | novelai | invoke\ ?ai | fooocus | swarmui | midjourney |
    easy\ diffusion | draw\ things | diffusionbee | mochi\ diffusion | dall[-·.]e | chatgpt | gpt-?4o | gpt[- ]image |
    adobe\ firefly | (google|made\ with|edited\ with)\ ai | ai[- ]generated | google\ imagen | nano[ -]banana |
    image\ playground | bing\ image\ creator | microsoft\ designer | black\ forest\ labs | flux[-. ]?\d |
    leonardo\.?ai | ideogram\.?ai | recraft | seedream | tensor\.?art | civitai | nightcafe | craiyon |
    artbreeder | stylegan\d? | this\ ?person\ ?does\ ?not\ ?exist )\b""",
    re.VERBOSE | re.IGNORECASE,
)
_AMBIGUOUS = re.compile(  # as the name of a program a generator, elsewhere a person, a place or a word
    r"\b(openai|sora|firefly|gemini|imagen|flux|dalle|ideogram|leonardo|krea|grok|sdxl)\b", re.IGNORECASE
)
_MARKS = [  # how the settings of a generator look, as "name: text"
    ("ComfyUI", re.compile(r'"class_type"\s*:|"last_node_id"\s*:')),
    ("SwarmUI", re.compile(r'"sui_image_params"\s*:')),
    ("Fooocus", re.compile(r"^fooocus_scheme: ")),
    ("InvokeAI", re.compile(r"^(sd-metadata|invokeai_\w+|Dream): ")),
    ("Easy Diffusion", re.compile(r"^use_stable_diffusion_model: ")),
    ("Stable Diffusion", re.compile(r"\bSteps: \d+, Sampler: |^parameters: .*(\bSteps: \d|\"prompt\"\s*:)", re.DOTALL)),
    ("Midjourney", re.compile(r"\bJob ID: [0-9a-f]{8}-[0-9a-f]{4}-")),
]
_JSON = re.compile(r'(\w+:)?\s*[{\[]\s*["{]')
_MODEL = re.compile(r'"(?:ckpt_name|unet_name|model_name|base_model)"\s*:\s*"([^"]{1,200})"')
_VOCABULARY = re.compile(r"https?://(?:cv\.iptc\.org/newscodes|c2pa\.org)/digitalsourcetype/(\w+)/?", re.IGNORECASE)
_SOURCES = {  # https://cv.iptc.org/newscodes/digitalsourcetype/
    "trainedAlgorithmicMedia": "made by a generative model",
    "compositeWithTrainedAlgorithmicMedia": "edited with or composed of parts by a generative model",
    "algorithmicMedia": "made by an algorithm without training data",
    "compositeSynthetic": "composed with synthetic parts",
    "compositeCapture": "composed of captures of real life",
    "composite": "composed of several pictures",
    "algorithmicallyEnhanced": "enhanced by an algorithm",
    "dataDrivenMedia": "drawn from data",
    "digitalArt": "drawn by a person on a computer",
    "digitalCreation": "made by a person on a computer",
    "softwareImage": "made with software",
    "virtualRecording": "recorded in a virtual world",
    "screenCapture": "a picture of a screen",
    "humanEdits": "edited by a person",
    "minorHumanEdits": "slightly edited by a person",
    "digitalCapture": "taken by a digital camera",
    "computationalCapture": "taken by a digital camera from several exposures",
    "negativeFilm": "scanned from a negative",
    "positiveFilm": "scanned from a slide",
    "print": "scanned from a print",
}
_WORDS = {code.lower(): (code, words) for code, words in _SOURCES.items()}


def read(data: bytes) -> tuple[Claim, ...]:
    """What the file says of its own origin, most telling first, each thing once.

    Args:
        data: an image file; any bytes will do. No pixel is decoded, and nothing is fetched.

    Returns:
        At most 20 claims, in plain printable text of at most 2,000 characters. Place and time are never among them.
    """
    fields = metadata.fields(data)
    if any(field.place == "C2PA" for field in fields):
        fields = [field for field in fields if field.place != "C2PA"] + credentials.fields(data)
    claims = [*(claim for field in fields for claim in _claims(field)), *_camera(fields)]
    claims.sort(key=lambda claim: _ORDER.index(claim.kind))
    unique: dict[tuple[str, str], Claim] = {}
    for claim in claims:
        unique.setdefault((claim.kind, claim.says), claim)
    # in order of their texts, one that says more stands right behind what it begins with
    less = {one for one, other in pairwise(sorted(unique)) if one[0] == other[0] and other[1].startswith(one[1])}
    return tuple(claim for key, claim in unique.items() if key not in less)[:MAX_CLAIMS]


def _claims(field: Field) -> Iterator[Claim]:
    """The claim in one text, if there is one."""
    text, where = _plain(field.text), _plain(f"{field.place} {field.name}", 100)
    if not text:
        return
    if field.name in ("DigitalSourceType", "DigitalSourceFileType"):
        code = match[1] if (match := _VOCABULARY.fullmatch(text)) else text
        known = _WORDS.get(code.lower())
        yield Claim("source-type", f"{known[1]} ({known[0]})" if known else _plain(code, 200), where)
    elif (field.place, field.name) == ("C2PA", "manifest"):
        yield Claim("c2pa", _plain(text, 400), where)
    elif (field.place, field.name) == ("XMP", "provenance") and text.startswith("http"):
        yield Claim("c2pa", "manifest kept elsewhere, which is not fetched", where)
    elif settings := _settings(field):
        yield Claim("generator", settings, where)
    elif field.name == "AISystemUsed" or (field.name in _PROGRAMS | _PEOPLE and _GENERATOR.search(text)):
        yield Claim("generator", _plain(text, 200), where)
    elif field.name in _PROGRAMS:
        yield Claim("generator" if _AMBIGUOUS.search(text) else "software", _plain(text, 200), where)


def _settings(field: Field) -> str:
    """The generator whose settings a text holds, with the text itself or the model named in it; else nothing."""
    named = f"{field.name}: {field.text}"
    maker = next((maker for maker, mark in _MARKS if mark.search(named)), "")
    if maker and _JSON.match(field.text):  # which nobody wants to read
        model = _MODEL.search(field.text)
        return _plain(f"{maker}, model {model[1]}" if model else maker)
    return _plain(f"{maker}: {field.text}") if maker else ""


def _camera(fields: list[Field]) -> Iterator[Claim]:
    for place in ("EXIF", "XMP"):
        own = [field for field in fields if field.place == place and not _settings(field)]
        make, model = (next((_plain(f.text, 100) for f in own if f.name == name), "") for name in ("Make", "Model"))
        repeated = make and model.lower().startswith(make.lower().split()[0])
        if name := model if repeated else f"{make} {model}".strip():
            yield Claim("camera", name, f"{place} Make and Model")


def _plain(text: str, length: int = MAX_SAYS) -> str:
    """One line of printable characters, cut to a length."""
    line = " ".join("".join(c if c.isprintable() else " " for c in text[: 2 * length]).split())
    return line if len(line) <= length else line[: length - 1] + "…"
