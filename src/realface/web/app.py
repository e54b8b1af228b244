"""The web page: choose pictures, press Predict, read the verdicts. `realface app` serves it."""

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from hashlib import sha256
from html import escape
from urllib.parse import urlsplit

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from realface import Detector, Verdict, __version__, draw, images, words
from realface.paths import SUFFIXES
from realface.report import PIECES, Report
from realface.web import markup, summary
from realface.web.examples import EXAMPLES, File
from realface.web.launch import load
from realface.web.modelcard import model_card
from realface.web.style import STYLE

TYPES = [suffix.removeprefix(".") for suffix in SUFFIXES]


def show(body: str, kind: str = "div", role: str = "") -> None:
    st.html(f'<{kind} class="rf" {role and f"role={role}"}>{body}</{kind}>')


def judge(detector: Detector, data: bytes, stability: bool) -> markup.Answer:
    verdict = next(detector.check_many([data], heatmap=detector.explains, stability=stability))
    # decoded a second time, to be shown: a verdict holds no pixels
    return markup.Answer(verdict) if verdict.error else markup.answer(verdict, images.decode(data))


def judged(
    detector: Detector, files: Sequence[File], stability: bool, status: DeltaGenerator
) -> Iterator[markup.Answer]:
    """The answer for each file; judged only if this session has not, or not its stability."""
    known: dict[str, markup.Answer] = st.session_state.setdefault("answers", {})
    for number, file in enumerate(files, 1):
        key = sha256(file.data).hexdigest()
        old = known[key].verdict if key in known else None
        if not old or old.error or (stability and any(face.stability is None for face in old.faces)):
            with status:
                show(f"Looking at picture {number} of {len(files)} …", "p", "status")
                known[key] = judge(detector, file.data, stability)
        yield replace(known[key], verdict=replace(known[key].verdict, path=file.name))


def ask(files: Sequence[File]) -> None:
    st.session_state["asked"] = files
    st.session_state.pop("report", None)


def forget() -> None:
    for name in ("asked", "answers", "report"):
        st.session_state.pop(name, None)


def privacy() -> str:
    host = urlsplit("//" + st.context.headers.get("Host", "localhost")).hostname or ""
    if host in ("localhost", "127.0.0.1", "::1"):
        return "The picture never leaves this computer."
    return f"The picture goes to {escape(host)}, where realface runs, and nowhere else."


def answers(detector: Detector, files: Sequence[File]) -> None:
    """The answers for all files: what they have in common, then a card for each."""
    status, places = st.empty(), iter(st.columns(2))
    heatmap = detector.explains and next(places).toggle("Show where the evidence lies")
    stability = next(places).toggle("Check stability")
    for text in [words.HEATMAP] * heatmap + [words.STABILITY] * stability + [file.note for file in files]:
        if text:
            show(f'<p class="rf-quiet">{text}</p>')
    together = st.container()
    verdicts = []
    for answer in judged(detector, files, stability, status):
        verdicts.append(answer.verdict)
        show(markup.card(answer, heatmap, stability), "section")
    count = Counter(words.WORDS[words.kind(verdict)][0].lower() for verdict in verdicts)
    with status:
        pictures = f"{len(files)} picture{'s' if len(files) > 1 else ''}"
        show(f"{pictures}: {', '.join(f'{n} {word}' for word, n in count.items())}.", "p", "status")
    with together:
        take_away(detector, files, verdicts)


def take_away(detector: Detector, files: Sequence[File], verdicts: Sequence[Verdict]) -> None:
    """The table of several answers, and what can be downloaded."""
    if len(verdicts) > 1:
        show(summary.table(verdicts))
    places = iter(st.columns(3))
    if len(verdicts) > 1:
        table = summary.to_csv(verdicts)
        next(places).download_button("Download the table as CSV", table, "realface.csv", "text/csv", on_click="ignore")
    if next(places).button("Prepare a case report"):
        report, status = Report(detector), st.empty()
        for file, answer in zip(files, judged(detector, files, True, status), strict=True):
            report.add(answer.verdict, file.data)
        st.session_state["report"] = report.html().encode()
        with status:
            show("The case report is ready.", "p", "status")
    if made := st.session_state.get("report"):
        next(places).download_button("Download the case report", made, "report.html", "text/html", on_click="ignore")


def how_to_read(detector: Detector) -> None:
    who = (
        f"Detector {detector.id.name} {detector.id.version}, SHA-256 {detector.id.sha256[:12]}…; realface {__version__}"
    )
    show(
        f'<div class="rf-box rf-soft"><h2>How to read the answer</h2><p>{escape(detector.card.rule())}</p><ul>'
        "<li>The answer is not proof. A person decides, who also asks where the picture comes from.</li>"
        "<li>Out of scope: face swaps, retouched and otherwise edited photographs. They can be called real.</li>"
        "<li>Pictures of a kind that the detector has never seen can fool it.</li>"
        "<li>REAL says nothing about who the person is.</li></ul></div>"
    )
    # a link in Markdown opens another tab: this one keeps its pictures
    st.markdown("[Model card of the bundled detector](model-card): what it was made from, and where it fails")
    show(f'<p class="rf-quiet">{escape(who)}</p>', "footer")


def check_page() -> None:
    logo = f'<img src="{draw.uri("svg+xml", markup.LOGO.encode())}" alt="" width="40" height="40">'
    show(
        f'<h1>{logo}realface</h1><p class="rf-lead">Tells photographs of real people from faces a machine made.</p>'
        f'<p class="rf-private">{markup.icon("lock")}<b>{privacy()}</b></p>',
        "header",
    )
    detector = load(os.environ.get("REALFACE_DETECTOR", "best"))
    uploads = st.file_uploader("Pictures of faces", TYPES, accept_multiple_files=True, on_change=forget)
    files = [File(upload.name, upload.getvalue()) for upload in uploads]
    st.button("Predict", type="primary", disabled=not files, on_click=ask, args=(files,))
    if not files:
        show(
            '<p class="rf-box rf-soft">Choose one or more pictures above, then press <b>Predict</b>. '
            "Or try one of these:</p>"
        )
        for column, (label, make) in zip(st.columns(len(EXAMPLES)), EXAMPLES.items(), strict=True):
            column.button(label, on_click=lambda make=make: ask([make()]))
    if asked := st.session_state.get("asked"):
        answers(detector, asked)
    how_to_read(detector)


def card_page() -> None:
    st.page_link(CHECK, label="Check pictures")
    st.markdown(model_card())


CHECK = st.Page(check_page, title="realface: real face or machine-made?", default=True)
CARD = st.Page(card_page, title="realface: model card", url_path="model-card")

if __name__ == "__main__":
    st.set_page_config(page_icon=markup.LOGO, menu_items={"About": None})
    st.html(f"<style>{PIECES}{STYLE}</style>")
    st.navigation([CHECK, CARD], position="hidden").run()
