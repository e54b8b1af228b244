"""The case report: one HTML file for people, with everything a check found out. It loads nothing and runs no script."""

import hashlib
import os
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from html import escape
from pathlib import Path

import numpy as np

from . import __version__, draw, images
from .detector import Detector
from .errors import DataError
from .harmless import printable
from .images import Limits
from .paths import check_name, write_asked
from .rates import FIGURES, TOO_FEW, Figures, Rates, cell, ends_of, interval, too_few
from .results import REASONS, Claim, Face, Verdict
from .words import HEATMAP, NO_FACE, SEVERAL, SHAPES, STABILITY, UNJUDGED, WORDS, highest, kind, origin, percents

SHOWN = 640
"""Longer side of a picture in the report, in pixels."""
LIMITS = (
    "The answer is not proof. A person decides, who also asks where the picture comes from and who had it before.",
    "Out of scope are face swaps, retouched and otherwise edited photographs: they can be called real.",
    "Pictures of a kind that the detector has never seen, such as those of a newer generator, can fool it, and so can "
    "a person who sets out to. The error rates below hold only for pictures like those that were measured.",
    "Only the faces were judged, each within its square; of an animation, those of its first frame. The rest was not.",
    "REAL does not say who the person is, nor when, where or in what circumstances the picture was taken.",
    "What a file says of its own origin can be forged, copied or removed. No probability rests on it.",
)


class Report:
    """A report on pictures judged by one detector; `add` each, then `write` it. `cases` holds each as HTML.

    A picture is drawn when it is added, so that of thousands only small copies are in memory.
    """

    def __init__(self, detector: Detector) -> None:
        self._card, self._id = detector.card, detector.id
        self._rates = Rates(detector.card)
        self.cases: list[str] = []
        self._rows: list[str] = []
        self._counts: Counter[str] = Counter()

    def add(self, verdict: Verdict, data: bytes | None = None) -> None:
        """Add one picture, under the name in `verdict.path`.

        Args:
            verdict: the answer; heatmaps and stability are shown where it has them.
            data: the file that was judged; without it no picture is shown.

        Raises:
            ValueError: these are not the bytes that the verdict is about.
            ImageError: the verdict says that the picture could be read, and it cannot.
        """
        sha256 = verdict.sha256 if data is None else hashlib.sha256(data).hexdigest()
        if verdict.sha256 not in (None, sha256):
            raise ValueError("the verdict is about another file")
        pixels = None
        if data is not None and verdict.error is None:  # and so within the limits it was judged with
            pixels = images.decode(data, Limits(len(data), sys.maxsize))
        number = len(self.cases) + 1
        name = os.path.basename(verdict.path or "")
        title = f"{number}. {text_of(name or f'Picture {number}')}"
        facts = {"File": verdict.path or "", "SHA-256": sha256 or "not known"}
        facts["Size"] = "" if data is None else f"{len(data):,} bytes"
        if pixels is not None:
            facts["Size"] += f", {pixels.shape[1]} x {pixels.shape[0]} pixels"
        parts = [f"<h2>{title}</h2>", banner(verdict, _icon)]
        if pixels is not None:
            parts.append(_picture(pixels, verdict.faces))
        parts.append(fact_list(facts))
        if verdict.error:
            parts.append(f"<p>{sentence(verdict.error.message)} (Error {text_of(verdict.error.code)}.)</p>")
        else:
            several = f"<p>{len(verdict.faces)} faces were found. {SEVERAL}</p>"
            parts.append(several if len(verdict.faces) > 1 else "" if verdict.faces else f"<p>{NO_FACE}</p>")
            parts += [self._face(i, face, pixels, len(verdict.faces)) for i, face in enumerate(verdict.faces, 1)]
            parts.append(_provenance(verdict.provenance))
        self.cases.append(f'<section class="case" id="case-{number}">{"".join(parts)}</section>')
        self._rows.append(summary_row(f'<a href="#case-{number}">{title}</a>', verdict))
        self._counts[WORDS[kind(verdict)][0].lower()] += 1

    def html(self) -> str:
        """The report as one HTML document, which any encoding of Unicode can hold."""
        return "".join(self._parts(stopped=False))

    def _parts(self, *, stopped: bool) -> Iterator[str]:
        """The document piece by piece: one text of thousands of pictures would take several times their memory."""
        total = f"{len(self.cases)} picture{'' if len(self.cases) == 1 else 's'}"
        counts = ", ".join(f"{n} {word}" for word, n in self._counts.items())
        facts = {
            "Written": datetime.now(UTC).isoformat(timespec="seconds"),
            "Program": f"realface {__version__}",
            "Detector": f"{self._id.name}, version {self._id.version}, network {self._card.network}",
            "SHA-256 of the detector": self._id.sha256,
        }
        several = f"<section><h2>All pictures</h2>{summary_table(self._rows)}</section>" if len(self._rows) > 1 else ""
        ended = " It was stopped before all pictures were judged." if stopped else ""
        yield (
            f"{page_head('Case report of realface')}<body><header><h1>Case report: real or machine-made faces</h1>"
            f'<p class="lead"><b>{total}{counts and f": {counts}"}.{ended}</b> A verdict is a hint for a person who '
            f"decides. It is not proof.</p>{fact_list(facts)}</header><main>{several}"
        )
        yield from self.cases
        yield f"{self._explained()}</main></body></html>\n"

    def write(self, path: Path, *, stopped: bool = False) -> None:
        """Write `html` to a file, whole or not at all; where it was `stopped` too early, it says so.

        Raises:
            DataError: it cannot be written there.
        """
        write_asked(path, (part.encode() for part in self._parts(stopped=stopped)))

    def _face(self, number: int, face: Face, pixels: np.ndarray | None, count: int) -> str:
        name = f"Face {number}" if count > 1 else "The face"
        shown, answer = "", f"<h3>{name}</h3>"
        if count > 1:
            answer += banner(face, _icon)
        if pixels is not None:
            crop = f'<img src="{draw.uri("jpeg", draw.crop_jpeg(pixels, face))}" alt="{name}, as it was judged">'
            shown = f"<figure>{crop}<figcaption>What was judged</figcaption></figure>"
            if face.heatmap is not None and face.reason is None:
                heat = (
                    f'<img src="{draw.uri("png", draw.heatmap_png(face))}" alt="Where the evidence lies, in colours">'
                )
                shown += f'<figure class="heat"><div>{crop}{heat}</div>{_LEGEND}</figure>'
        answer += f"<p>{UNJUDGED}</p>" if face.reason else bar(face) + trials(face)
        x, y, width, height = face.box
        left, top, side, _ = face.crop.box
        way = "anticlockwise" if face.crop.roll > 0 else "clockwise"
        turned = f", turned upright by {abs(face.crop.roll):g}° {way}" if face.crop.roll else ""
        given = self._card.preprocessing
        seen = [f"at {given.size} pixels a side"] * bool(given.size)
        seen += [f"in nine windows of {given.window} pixels a side"] * bool(given.window)
        where = (
            f"Face: {width} x {height} pixels at {x}, {y} from the top left. Judged: the square of {side} x {side} "
            f"at {left}, {top}{turned}; the detector sees it {' and '.join(seen)}."
        )
        rates = "" if face.reason else f"<p>{text_of(self._rates.sentence(side))}</p>"
        answer += f'{rates}<p class="quiet">{where}</p>'
        return f'<section class="rf-face"><div class="crops">{shown}</div><div class="answer">{answer}</div></section>'

    def _explained(self) -> str:
        """How to read the report: said once, at its end."""
        limits = "".join(f"<li>{limit}</li>" for limit in LIMITS)
        rates = self._rates
        tables = _rates_table("By size of the judged square", rates.by_size) + _rates_table(
            "By source", rates.by_source
        )
        measured = (
            "<p>On labelled pictures set aside for testing, by the thresholds above; faces that could not be judged "
            "are among the inconclusive. Below a rate stands its 95 % interval, as if the pictures were independent. "
            f"The figures are those that the detector's file gives of itself.</p>{tables}"
            if tables
            else "<p>The detector's file gives no error rates: nothing was measured, or it is not told.</p>"
        )
        return (
            f'<section class="case"><h2>How to read this report</h2><h3>From probability to verdict</h3>'
            f"<p>{text_of(self._card.rule())} {SEVERAL}</p>"
            f"<h3>Heatmap and stability</h3><p>{HEATMAP}</p><p>{STABILITY}</p>"
            f"<h3>What the answer does not mean</h3><ul>{limits}</ul><h3>Measured error rates</h3>{measured}</section>"
        )


def check_target(path: Path) -> None:
    """Refuse a place where no report can be written, before pictures are judged for it.

    Raises:
        DataError: it is not named .html (it could be a picture, by mistake) or too long, or its folder refuses.
    """
    folder = path.absolute().parent
    if path.suffix.lower() not in (".html", ".htm"):
        raise DataError(f"a report is a web page; give it a name such as {path.stem or 'case'}.html")
    check_name(path)
    if os.path.isdir(path) or not os.access(folder, os.W_OK | os.X_OK):
        raise DataError(f"no report can be written to {path}; choose a folder that exists and can be written to")


def page_head(title: str, more: str = "") -> str:
    """The head of a page that loads nothing and runs no script. `title` is HTML, `more` style beside the usual one."""
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><meta http-equiv="Content-Security-Policy" '
        "content=\"default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'\">"
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{title}</title><style>{PIECES}{_STYLE}{more}</style></head>"
    )


def text_of(text: str) -> str:
    """Text from anywhere as HTML; what does not print, or turns the direction of writing, is shown as its escape."""
    return escape(printable(text))


def sentence(message: str) -> str:
    """What an error says, as a sentence in HTML."""
    return f"{text_of(message[:1].upper() + message[1:])}."


def fact_list(facts: dict[str, str]) -> str:
    rows = "".join(f"<div><dt>{term}</dt><dd>{text_of(told)}</dd></div>" for term, told in facts.items() if told)
    return f"<dl>{rows}</dl>"


def _icon(name: str) -> str:
    return f'<svg class="icon" viewBox="0 0 24 24" aria-hidden="true">{SHAPES[name]}</svg>'


def banner(of: Verdict | Face, icon: Callable[[str], str]) -> str:
    """The verdict on a picture or face, with a sign made by `icon`, and what it means or why there is none."""
    if isinstance(of, Face):
        name, reason = of.verdict, of.reason
    else:
        name, reason = kind(of), of.faces[0].reason if len(of.faces) == 1 else None
    word, usual = WORDS[name]
    meaning = REASONS[reason] if reason else usual
    return f'<p class="rf-verdict rf-{name}">{icon(name)}<span><b>{word}</b> {meaning}</span></p>'


def summary_row(name: str, verdict: Verdict) -> str:
    """The row of one picture in `summary_table`; `name` is HTML."""
    word, fake = WORDS[kind(verdict)][0], highest(verdict)
    cells = f"<td>{word}</td><td>{len(verdict.faces)}</td><td>{'-' if fake is None else escape(percents(fake)[1])}</td>"
    if verdict.error:
        cells = f'<td colspan="3">{word}: {text_of(verdict.error.message)}</td>'
    return f'<tr><th scope="row">{name}</th>{cells}</tr>'


def summary_table(rows: Sequence[str]) -> str:
    """The table of all pictures, of their `summary_row`."""
    heads = ("Picture", "Verdict", "Faces", "Fake")
    return _table("Of several faces, the highest probability of fake", heads, "".join(rows))


def _table(caption: str, heads: Sequence[str], rows: str, more: str = "") -> str:
    """A table; caption and heads are plain text, rows HTML, `more` an attribute."""
    head = "".join(f'<th scope="col">{text_of(name)}</th>' for name in heads)
    return (
        f"<table{more}><caption>{text_of(caption)}</caption><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"
    )


def _picture(pixels: np.ndarray, faces: tuple[Face, ...]) -> str:
    """The picture made small, with each face outlined and numbered, and dashed the square that was judged."""
    jpeg, width, height = draw.small_jpeg(pixels, SHOWN)
    scale = width / pixels.shape[1]
    marks, numbers, dashed = "", "", False
    for number, face in enumerate(faces, 1):
        x, y, w, h = (scale * value for value in face.box)
        left, top, side, _ = (scale * value for value in face.crop.box)
        if face.crop.box != face.box:
            dashed = True
            middle = f"{left + side / 2:.1f} {top + side / 2:.1f}"
            marks += _outline("dashed", left, top, side, side, f' transform="rotate({face.crop.roll:g} {middle})"')
        marks += _outline("found", x, y, w, h)
        if len(faces) > 1:  # the number stands on the outline, or within where there is no room
            x, y = min(x, width - 20), max(y - 18, 0)
            numbers += f'<rect x="{x:.1f}" y="{y:.1f}" width="20" height="18"/>'
            numbers += f'<text x="{x + 10:.1f}" y="{y + 14:.1f}">{number}</text>'
    also = ", with its face outlined" if len(faces) == 1 else f", with {len(faces)} numbered faces" if faces else ""
    caption = (
        "<figcaption>Solid: the face. Dashed: the square around it that was judged.</figcaption>" if dashed else ""
    )
    return (
        f'<figure class="picture"><div><img src="{draw.uri("jpeg", jpeg)}" alt="The picture{also}" '
        f'width="{width}" height="{height}"><svg viewBox="0 0 {width} {height}" aria-hidden="true">'
        f"{marks}{numbers}</svg></div>{caption}</figure>"
    )


def _outline(name: str, x: float, y: float, width: float, height: float, more: str = "") -> str:
    """White on black, to be seen on any picture."""
    place = f'x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}"{more}'
    return f'<rect class="under" {place}/><rect class="{name}" {place}/>'


def bar(face: Face) -> str:
    """Both probabilities of a face, in figures and as a bar."""
    real, fake = map(escape, percents(face.probability.fake))
    numbers = f"<span>Probability of real <b>{real}</b></span><span>of fake <b>{fake}</b></span>"
    return (
        f'<div class="rf-numbers">{numbers}</div>'
        f'<div class="rf-track" aria-hidden="true"><i style="width: {face.probability.real:.2%}"></i><u></u></div>'
    )


def trials(face: Face) -> str:
    """The table of the stability check; nothing where it was not asked."""
    if face.stability is None:
        return ""
    rows = ""
    for trial in face.stability:
        told = "holds" if trial.verdict == face.verdict else f"<b>changes to {WORDS[trial.verdict][0]}</b>"
        fake = escape(percents(trial.probability.fake)[1])
        rows += f'<tr><th scope="row">{text_of(trial.change)}</th><td>{told}</td><td>{fake}</td></tr>'
    caption = f"Stability: the verdict {'holds' if face.stable else 'does not hold'}"
    return _table(caption, ("After", "Verdict", "Fake"), rows)


def _provenance(claims: Sequence[Claim]) -> str:
    rows = "".join(
        f"<li><b>{text_of(claim.kind)}:</b> {text_of(claim.says)} "
        f'<span class="quiet">({text_of(claim.where)})</span></li>'
        for claim in claims
    )
    told = f"<ul>{rows}</ul><p>Such notes can be forged or copied.</p>" if claims else f"<p>{origin(claims)}</p>"
    return f'<section class="origin"><h3>What the file says of its origin</h3>{told}</section>'


def figure_table(caption: str, heads: Sequence[str], rows: Mapping[str, Sequence[str]]) -> str:
    """A table of numbers. Caption, heads and names of rows are plain text, cells are HTML."""
    body = "".join(
        f'<tr><th scope="row">{text_of(name)}</th>{"".join(f"<td>{told}</td>" for told in cells)}</tr>'
        for name, cells in rows.items()
    )
    table = _table(caption, heads, body, ' class="figures"')
    return f'<div class="wide">{table}</div>'


def _rates_table(caption: str, rows: dict[str, Figures]) -> str:
    cells = {name: [_rate_cell(figure, row) for figure in FIGURES] for name, row in rows.items()}
    return figure_table(f"{caption} († {TOO_FEW})", ["", *FIGURES.values()], cells) if rows else ""


def _rate_cell(figure: str, row: Figures) -> str:
    ends = interval(figure, row)
    within = f'{"†" * too_few(ends)}<div class="quiet">{ends_of(ends)}</div>' if ends else ""
    return cell(figure, row[figure]) + within


_LEGEND = (
    '<figcaption><i class="rf-key rf-for-fake"></i> red speaks for fake, '
    '<i class="rf-key rf-for-real"></i> blue for real</figcaption>'
)
PIECES = """
.rf-verdict { display: flex; gap: .75rem; align-items: center; padding: .75rem 1rem; border-radius: .5rem; color: #fff }
.rf-verdict span { line-height: 1.25 } .rf-verdict b { display: block; font-size: 1.5rem; letter-spacing: .03em }
.rf-face .rf-verdict { padding: .375rem .75rem; font-size: .9375rem } .rf-face .rf-verdict b { font-size: 1.125rem }
.rf-fake, .rf-for-fake { background: #b3261e } .rf-real { background: #14663a } .rf-for-real { background: #1f5fbf }
.rf-inconclusive { background: #7a4b00 } .rf-no_face, .rf-error { background: #4a5160 }
.rf-numbers { display: flex; flex-wrap: wrap; justify-content: space-between; gap: 0 1rem;
  font-variant-numeric: tabular-nums } .rf-numbers b { white-space: nowrap }
.rf-track { display: flex; gap: 2px; height: .875rem; border-radius: .25rem; overflow: hidden }
.rf-track i { background: var(--real) }
.rf-track u { flex: 1; background: repeating-linear-gradient(135deg, transparent 0 6px, #fff6 6px 9px) var(--fake) }
.rf-key { display: inline-block; width: .875rem; height: .875rem; border-radius: 2px; vertical-align: -1px }
.rf-verdict, .rf-icon, .rf-track, .rf-key, rect { forced-color-adjust: none; print-color-adjust: exact;
  -webkit-print-color-adjust: exact }
"""
"""How the pieces look that the app shows as well; the page gives the colours `--real` and `--fake`."""
_STYLE = """
:root { color-scheme: light; --line: #c9ced8; --quiet: #4d5565; --real: #14663a; --fake: #b3261e }
* { box-sizing: border-box }
body { max-width: 60rem; margin: 0 auto; padding: 1.5rem 1rem; background: #fff; color: #1b1f27;
  font: 1rem/1.5 system-ui, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; overflow-wrap: anywhere }
h1 { font-size: 1.75rem; line-height: 1.2; margin: 0 0 .75rem } h2 { font-size: 1.25rem; margin: 0 0 .75rem }
h3 { font-size: 1.0625rem; margin: 0 0 .5rem } p, ul, dl, table { margin: 0 0 .75rem } ul { padding-left: 1.25rem }
a { color: #1f4f9e } .quiet, figcaption, dt { color: var(--quiet); font-size: .9375rem }
.lead { font-size: 1.125rem } dd { margin: 0 }
dl div { display: grid; grid-template-columns: 12rem 1fr; gap: 0 1rem; padding: .25rem 0;
  border-top: 1px solid var(--line) }
section { margin-top: 2rem } .case { border-top: 3px solid #1b1f27; padding-top: 1rem }
.case .origin, .case h3:not(:first-child) { margin-top: 1.5rem }
.icon { flex: none; width: 2.25rem; fill: none; stroke: #fff; stroke-width: 2 }
figure { margin: 0 0 .75rem } img { display: block; max-width: 100%; height: auto }
.picture div { position: relative; width: fit-content; max-width: 100% }
.picture svg { position: absolute; inset: 0; width: 100%; height: 100% }
.picture rect.under { fill: none; stroke: #000; stroke-width: 4 }
.picture rect.found, .picture rect.dashed { fill: none; stroke: #fff; stroke-width: 2 }
.picture rect.dashed { stroke-dasharray: 6 5; stroke-width: 1.5 }
.picture text { fill: #fff; font: 600 13px sans-serif; text-anchor: middle }
.rf-face { display: flex; flex-wrap: wrap; gap: 1rem; margin: 1rem 0 0; padding: 1rem; border: 1px solid var(--line);
  border-radius: .5rem }
.rf-face p:last-child { margin: 0 } .crops { display: flex; flex-wrap: wrap; gap: 1rem; flex: 0 1 auto }
.crops figure { flex: 0 1 11rem; min-width: 0; margin: 0 } .crops img { width: 100% }
.heat div { position: relative } .heat img + img { position: absolute; inset: 0 }
.answer { flex: 1 1 18rem; min-width: 0 }
.rf-track { margin: .25rem 0 .75rem }
table { width: 100%; border-collapse: collapse; font-size: .9375rem; font-variant-numeric: tabular-nums }
caption { text-align: left; font-weight: 600; padding-bottom: .25rem } thead th { font-weight: 600 }
th, td { text-align: left; vertical-align: top; padding: .25rem .75rem .25rem 0; font-weight: 400;
  border-bottom: 1px solid var(--line) }
section > table th[scope=row] { width: 40% }
td, thead th { overflow-wrap: normal } td:last-child:not([colspan]) { white-space: nowrap }
.figures td, .figures thead th { text-align: right } .figures tbody th { min-width: 7.5rem } .wide { overflow-x: auto }
@media (max-width: 34rem) { dl div { grid-template-columns: 1fr } .crops { flex-wrap: nowrap } }
@page { margin: 15mm }
@media print {
  html { font-size: 9pt } body { max-width: none; padding: 0 } .picture img { max-height: 7cm; width: auto }
  .case + .case { break-before: page }
  h1, h2, h3, caption, thead, .case > .rf-verdict { break-after: avoid }
  .rf-face, figure, tr, li, dl, .rf-verdict, .origin { break-inside: avoid } .wide { overflow: visible }
}
"""
