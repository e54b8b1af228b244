"""The web page: choose pictures, press Predict, read the verdicts. `realface app` serves it."""

import base64
import hashlib
import io
import os
from collections import Counter
from html import escape
from urllib.parse import urlsplit

import numpy as np
import streamlit as st
from PIL import Image

from realface import Detector, DetectorError, Face, ImageError, __version__, images, provenance
from realface.card import Card

TYPES = ["jpg", "jpeg", "png", "webp", "bmp", "tif", "tiff", "gif"]
WORDS = {
    "fake": ("FAKE", "made by a machine"),
    "real": ("REAL", "a photograph of a person"),
    "inconclusive": ("INCONCLUSIVE", "the detector cannot tell"),
    "no_face": ("NO FACE", "there is no face here to judge"),
    "error": ("NO ANSWER", "the file could not be read"),
}
SHAPES = {  # drawn in a 24 x 24 square; each verdict has a shape of its own, not only a colour
    "fake": '<path d="M8 2h8l6 6v8l-6 6H8l-6-6V8z"/><path d="m8.5 8.5 7 7m0-7-7 7"/>',
    "real": '<circle cx="12" cy="12" r="10"/><path d="m7.5 12.5 3 3 6-7"/>',
    "inconclusive": '<path d="M12 1.5 22.5 12 12 22.5 1.5 12z"/><path d="M9.5 9.5a2.5 2.5 0 1 1 2.5 3v1.2m0 2.6v.2"/>',
    "no_face": '<circle cx="12" cy="12" r="10"/><path d="M7 12h10"/>',
    "error": '<path d="M12 2 23 21H1z"/><path d="M12 9v5m0 3v.2"/>',
    "lock": '<rect x="4" y="10" width="16" height="11" rx="2"/><path d="M8 10V7a4 4 0 0 1 8 0v3"/>',
}
LOGO = (  # half a face in a viewfinder
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32"><rect width="32" height="32" rx="8" fill="#2f6fd0"/>'
    '<path d="M6 11V6h5m10 0h5v5m0 10v5h-5m-10 0H6v-5" fill="none" stroke="#fff" stroke-width="2"/>'
    '<ellipse cx="16" cy="16" rx="5.5" ry="7" fill="none" stroke="#fff" stroke-width="2"/>'
    '<path d="M16 9a5.5 7 0 0 1 0 14z" fill="#fff"/></svg>'
)
STYLE = """<style>
.stMainBlockContainer { padding-top: 3.5rem; padding-bottom: 3rem }
.stButton button { min-width: 10rem; min-height: 2.75rem } .stButton p { font-size: 1rem; font-weight: 600 }
.rf { --real: light-dark(#14663a, #57c78d); --fake: light-dark(#b3261e, #ff8a80); --line: light-dark(#c9ced8, #454c5a);
  --soft: color-mix(in srgb, currentColor 5%, transparent); --quiet: light-dark(#4d5565, #b4bccb); line-height: 1.5 }
.rf h1 { display: flex; gap: .75rem; align-items: center; font-size: 2.25rem; padding: 0; margin: 0 }
.rf h2 { font-size: 1.0625rem; font-weight: 600; padding: 0; margin: 0 0 .5rem; overflow-wrap: anywhere }
.rf p { margin: 0 } .rf ul, .rf ol { margin: 0; padding-left: 1.25rem } .rf li { margin: .25rem 0 }
.rf-icon { flex: none; width: 2.5rem; height: 2.5rem; background: currentColor; mask: center / contain no-repeat }
.rf-track, .rf-verdict, .rf-icon { forced-color-adjust: none }
.rf-lead { font-size: 1.125rem } .rf-quiet { color: var(--quiet); font-size: .9375rem; overflow-wrap: anywhere }
.rf-private { display: flex; gap: .5rem; align-items: center; margin-top: .5rem !important; color: var(--real) }
.rf-private .rf-icon { width: 1.25rem; height: 1.25rem }
.rf-box { border: 1px solid var(--line); border-radius: .75rem; padding: 1rem }
.rf-soft { background: var(--soft) }
.rf-card { display: flex; flex-wrap: wrap; gap: 1rem }
.rf-picture { flex: 0 1 13rem } .rf-picture div { position: relative; width: fit-content; max-width: 100% }
.rf-picture img { display: block; max-width: 100%; width: auto; height: auto; max-height: 18rem; border-radius: 6px }
.rf-picture i { position: absolute; border: 2px solid #fff; outline: 2px solid #000; outline-offset: -3px }
.rf-answer { flex: 1 1 16rem; min-width: 0; display: flex; flex-direction: column; gap: .75rem }
.rf-answer h2 { margin: 0 }
.rf-verdict { display: flex; gap: .75rem; align-items: center; padding: .75rem 1rem; border-radius: .5rem; color: #fff }
.rf-verdict span { line-height: 1.25 }
.rf-verdict b { display: block; font-size: 1.625rem; letter-spacing: .03em }
.rf-fake { background: #b3261e } .rf-real { background: #14663a } .rf-inconclusive { background: #7a4b00 }
.rf-no_face, .rf-error { background: #4a5160 }
.rf-numbers { display: flex; justify-content: space-between; font-variant-numeric: tabular-nums }
.rf-track { display: flex; gap: 2px; height: .875rem; border-radius: .25rem; overflow: hidden }
.rf-track i { background: var(--real) }
.rf-track u { flex: 1; background: repeating-linear-gradient(135deg, var(--fake) 0 6px,
  color-mix(in srgb, var(--fake) 70%, transparent) 6px 9px) }
</style>"""


@st.cache_resource(show_spinner="Loading the detector …")
def load(name: str) -> Detector:
    return Detector.load(name)


def show(body: str, kind: str = "div", role: str = "") -> None:
    st.html(f'<{kind} class="rf" {role and f"role={role}"}>{body}</{kind}>')


def encoded(kind: str, data: bytes) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"


def icon(name: str) -> str:
    head = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 24 24" fill="none" stroke="#000" stroke-width="2">'
    source = encoded("svg+xml", f"{head}{SHAPES[name]}</svg>".encode())
    return f'<i class="rf-icon" aria-hidden="true" style="mask-image: url({source})"></i>'


def percents(fake: float) -> tuple[str, str]:
    """The probabilities of real and fake as text that adds up and never claims certainty."""
    tenths = round(1000 * fake)
    if tenths in (0, 1000):
        return (">99.9 %", "<0.1 %") if tenths == 0 else ("<0.1 %", ">99.9 %")
    return f"{(1000 - tenths) / 10:.1f} %", f"{tenths / 10:.1f} %"


def bar(face: Face, label: str) -> str:
    real, fake = map(escape, percents(face.probability.fake))
    return (
        f'<div role="img" aria-label="{label}: real {real}, fake {fake}"><div class="rf-numbers">'
        f"<span>Real <b>{real}</b></span><span>Fake <b>{fake}</b></span></div>"
        f'<div class="rf-track"><i style="width: {100 * face.probability.real:.2f}%"></i><u></u></div></div>'
    )


def picture(pixels: np.ndarray, faces: tuple[Face, ...]) -> str:
    """The picture made small, with an outline around each face that does not fill it."""
    height, width = pixels.shape[:2]
    small = Image.fromarray(pixels)
    small.thumbnail((640, 640))
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=85)
    outlines = ""
    for x, y, w, h in (face.box for face in faces if face.box[2:] != (width, height)):
        place = {"left": x / width, "top": y / height, "width": w / width, "height": h / height}
        outlines += f'<i style="{"; ".join(f"{side}: {share:.2%}" for side, share in place.items())}"></i>'
    size = f'width="{small.width}" height="{small.height}"'
    image = f'<img src="{encoded("jpeg", buffer.getvalue())}" alt="The picture" {size}>'
    note = '<p class="rf-quiet">Judged: the outlined part.</p>' if outlines else ""
    return f'<div class="rf-picture"><div>{image}{outlines}</div>{note}</div>'


def judge(detector: Detector, data: bytes) -> tuple[str, str, str]:
    """What to show of one file: the kind of answer, and the HTML of the picture and of what is known."""
    try:
        pixels = images.decode(data)
        verdict = detector.check(pixels)
    except ImageError as error:
        return "error", "", f"<p>{escape(str(error)[:1].upper() + str(error)[1:])}.</p>"
    many = len(verdict.faces) > 1
    labels = [f"Face {number}" if many else "Probability" for number in range(1, len(verdict.faces) + 1)]
    bars = "".join(bar(face, label) for face, label in zip(verdict.faces, labels, strict=True))
    says = f'<p class="rf-quiet">{escape(provenance.read(data).summary)} The probability does not rest on this.</p>'
    return verdict.verdict or verdict.status, picture(pixels, verdict.faces), bars + says


def card_of(name: str, kind: str, figure: str, known: str) -> str:
    word, meaning = WORDS[kind]
    return (
        f'<div class="rf-box rf-card">{figure}<div class="rf-answer"><h2>{escape(name)}</h2>'
        f'<p class="rf-verdict rf-{kind}">{icon(kind)}<span><b>{word}</b> {meaning}</span></p>{known}</div></div>'
    )


def rule(card: Card) -> str:
    """Which probability gets which verdict, and why there."""
    low, high = card.thresholds.real_below, card.thresholds.fake_from
    fake = f"fake at {100 * high:.4g} % and above" if high <= 1 else "never fake"
    between = ", in between inconclusive" if low < high else ""
    policy = card.policy
    split = escape({"valid": "validation"}.get(policy.split, str(policy.split)))
    return (
        f"The probability of fake decides: <b>{fake}, real under {100 * low:.4g} %{between}</b>. These limits were set "
        f"so that at most {100 * policy.max_bpcer:.4g} % of real {split} faces are called fake and at most "
        f"{100 * policy.max_apcer:.4g} % of fake ones are called real."
    )


def privacy() -> str:
    host = urlsplit("//" + st.context.headers.get("Host", "localhost")).hostname or ""
    if host in ("localhost", "127.0.0.1", "::1"):
        return "The picture never leaves this computer."
    return f"The picture goes to {escape(host)}, where realface runs, and nowhere else."


def answers(detector: Detector, files: list[tuple[str, str, bytes]]) -> None:
    """Show a card for each (name, SHA-256, bytes), judging those that have not been."""
    known = st.session_state.setdefault("answers", {})
    status = st.empty()
    for number, (name, sha256, data) in enumerate(files, 1):
        if sha256 not in known:
            with status:
                show(f"Looking at picture {number} of {len(files)} …", "p", "status")
            known[sha256] = judge(detector, data)
        show(card_of(name, *known[sha256]), "section")
    count = Counter(WORDS[known[sha256][0]][0].lower() for _, sha256, _ in files)
    with status:
        total = f"{len(files)} picture{'s' if len(files) > 1 else ''}"
        show(f"{total}: {', '.join(f'{n} {word}' for word, n in count.items())}.", "p", "status")


def main() -> None:
    st.set_page_config("realface: real face or machine-made?", LOGO, menu_items={"About": None})
    st.html(STYLE)
    logo = f'<img src="{encoded("svg+xml", LOGO.encode())}" alt="" width="40" height="40">'
    show(
        f'<h1>{logo}realface</h1><p class="rf-lead">Tells photographs of real people from faces a machine made.</p>'
        f'<p class="rf-private">{icon("lock")}<b>{privacy()}</b></p>',
        "header",
    )
    try:
        detector = load(os.environ.get("REALFACE_DETECTOR", "best"))
    except DetectorError as error:
        show(
            f'<p class="rf-box rf-soft"><b>The detector could not be loaded:</b> {escape(str(error))}.</p>',
            role="alert",
        )
        return
    uploads = st.file_uploader("Pictures, each of one face", TYPES, accept_multiple_files=True)
    files = [(file.name, hashlib.sha256(data := file.getvalue()).hexdigest(), data) for file in uploads]
    chosen = [(name, sha256) for name, sha256, _ in files]
    if st.button("Predict", type="primary", disabled=not files):
        st.session_state["asked"] = chosen
    if not files:
        show('<p class="rf-box rf-soft">Choose one or more pictures above, then press <b>Predict</b>.</p>')
    if files and st.session_state.get("asked") == chosen:
        answers(detector, files)
    else:
        st.session_state["answers"] = {}
        st.session_state["asked"] = None
    show(
        f'<div class="rf-box rf-soft"><h2>How to read the answer</h2><p>{rule(detector.card)}</p><ul>'
        "<li>The answer is not proof. A person decides, who also asks where the picture comes from.</li>"
        "<li>Out of scope: face swaps, retouched and otherwise edited photographs. They can be called real.</li>"
        "<li>Pictures of a kind that the detector has never seen can fool it.</li>"
        "<li>REAL says nothing about who the person is.</li></ul></div>",
    )
    who = (
        f"Detector {detector.id.name} {detector.id.version}, SHA-256 {detector.id.sha256[:12]}…; realface {__version__}"
    )
    show(f'<p class="rf-quiet">{escape(who)}</p>', "footer")


if __name__ == "__main__":
    main()
