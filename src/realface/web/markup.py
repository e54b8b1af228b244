"""The pieces of the page as HTML: what is shown of an answer. Nothing here asks the detector or Streamlit."""

from dataclasses import dataclass, field

import numpy as np

from .. import draw
from ..report import banner, bar, sentence, text_of, trials
from ..results import Verdict
from ..words import NO_FACE, SEVERAL, SHAPES, UNJUDGED, origin

LOGO = (  # half a face in a viewfinder
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32"><rect width="32" height="32" rx="8" fill="#2f6fd0"/>'
    '<path d="M6 11V6h5m10 0h5v5m0 10v5h-5m-10 0H6v-5" fill="none" stroke="#fff" stroke-width="2"/>'
    '<ellipse cx="16" cy="16" rx="5.5" ry="7" fill="none" stroke="#fff" stroke-width="2"/>'
    '<path d="M16 9a5.5 7 0 0 1 0 14z" fill="#fff"/></svg>'
)


@dataclass(frozen=True)
class Answer:
    """What is kept of a judged picture: the verdict, and as data URIs the picture made small and the crop of each face.

    `size` is of the picture as it was judged, `shown` of the small one, both width and height.
    """

    verdict: Verdict
    picture: str = field(default="", repr=False)
    size: tuple[int, int] = (0, 0)
    shown: tuple[int, int] = (0, 0)
    crops: tuple[str, ...] = field(default=(), repr=False)


def answer(verdict: Verdict, pixels: np.ndarray) -> Answer:
    """The answer for a picture that could be read."""
    jpeg, width, height = draw.small_jpeg(pixels, 640)
    crops = tuple(draw.uri("jpeg", draw.crop_jpeg(pixels, face)) for face in verdict.faces)
    size = (pixels.shape[1], pixels.shape[0])
    return Answer(verdict, draw.uri("jpeg", jpeg), size, (width, height), crops)


def icon(name: str) -> str:
    head = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 24 24" fill="none" stroke="#000" stroke-width="2">'
    source = draw.uri("svg+xml", f"{head}{SHAPES[name]}</svg>".encode())
    return f'<i class="rf-icon" aria-hidden="true" style="mask-image: url({source})"></i>'


def card(known: Answer, heatmap: bool, stability: bool) -> str:
    """The card of one picture, under the name in `verdict.path`."""
    verdict, count = known.verdict, len(known.verdict.faces)
    faces = "".join(_face(known, index, heatmap, stability) for index in range(count))
    if count > 1:
        faces = f'<p>{count} faces. {SEVERAL}</p><div class="rf-faces">{faces}</div>'
    says = f'<p class="rf-quiet">{text_of(origin(verdict.provenance))} The probability does not rest on this.</p>'
    rest = f"<p>{sentence(verdict.error.message)}</p>" if verdict.error else (faces or f"<p>{NO_FACE}</p>") + says
    layout = "rf-many" if count > 1 else "rf-one" if known.picture else ""
    head = f"<h2>{text_of(verdict.path or '')}</h2>{banner(verdict, icon)}"
    return (
        f'<div class="rf-box rf-card {layout}"><div class="rf-head">{head}</div>'
        f'{_picture(known)}<div class="rf-known">{rest}</div></div>'
    )


def _picture(known: Answer) -> str:
    """The picture with an outline around each face that does not fill it, numbered where there are several."""
    if not known.picture:
        return ""
    width, height = known.size
    faces = known.verdict.faces
    outlines = ""
    for number, (x, y, w, h) in enumerate((face.box for face in faces), 1):
        if (w, h) == known.size:
            continue
        place = {"left": x / width, "top": y / height, "width": w / width, "height": h / height}
        style = "; ".join(f"{side}: {share:.2%}" for side, share in place.items())
        label = f"<b>{number}</b>" if len(faces) > 1 else ""
        at_edge = ' class="rf-top"' if y < 0.1 * height else ""  # no room for a number above it
        outlines += f'<i aria-hidden="true"{at_edge} style="{style}">{label}</i>'
    also = f", with {len(faces)} numbered faces" if len(faces) > 1 else ", with its face outlined" if outlines else ""
    size = f'width="{known.shown[0]}" height="{known.shown[1]}"'
    return f'<div class="rf-picture"><img src="{known.picture}" alt="The picture{also}" {size}>{outlines}</div>'


def _face(known: Answer, index: int, heatmap: bool, stability: bool) -> str:
    """One face: what was judged of it, and the answer. Only a face among others has a name, and a banner of its own."""
    face = known.verdict.faces[index]
    name = f"Face {index + 1}" if len(known.verdict.faces) > 1 else ""
    shown = f'<img src="{known.crops[index]}" alt="What was judged{name and f" of {name}"}" width="224" height="224">'
    hot = heatmap and face.reason is None and face.heatmap is not None
    if hot:
        shown += f'<img src="{draw.uri("png", draw.heatmap_png(face))}" alt="Where the evidence lies, in colours">'
    head = f"<h3>{name}</h3>{banner(face, icon)}" if name else ""
    return (
        f'<div class="rf-face{" rf-hot" if hot else ""}">{head}<figure class="rf-crop"><div>{shown}</div>'
        f"<figcaption>What was judged</figcaption></figure>"
        f'<div class="rf-answer">{f"<p>{UNJUDGED}</p>" if face.reason else bar(face)}</div>'
        f"{trials(face) if stability and not face.reason else ''}</div>"
    )
