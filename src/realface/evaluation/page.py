"""The report of an evaluation: one HTML file for people. It loads nothing and runs no script."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from html import escape
from pathlib import Path
from typing import Any

from .. import draw
from ..card import Policy, Thresholds
from ..data.crops import read_face
from ..data.layouts import sha256_of
from ..errors import ImageError
from ..faces import FRAMINGS, resample
from ..rates import TOO_FEW, ends_of, too_few, wilson
from ..report import fact_list, figure_table, page_head, text_of
from . import plots
from .bootstrap import BPCERS
from .compare import row_text
from .evaluate import LOST, Evaluation
from .grid import grid_rows
from .metrics import METRICS, Figures, number, promises
from .rows import Answers, answers

SHOWN = 12
"""Mistakes of each detector that are shown."""
_SAID, _DOUBT = f" <i>{TOO_FEW}</i>", f'<i title="{TOO_FEW}">†</i>'


def page(evaluation: Evaluation, facts: dict[str, str]) -> str:
    """The report as one HTML document; `facts` are told at its top, beside when it was written.

    It holds pictures of people: the most confident mistakes.
    """
    result = evaluation.result
    detectors: list[dict[str, Any]] = result["detectors"]
    named = list(zip(detectors, map(answers, evaluation.rows), strict=True))
    roc, det = plots.curves({known["name"]: got for known, got in named})
    row = detectors[0]["figures"]["all"]
    programs = ", ".join(f"{name} {version}" for name, version in result["versions"].items())
    facts = {"Measured by": f"{programs}; {result['machine']}"} | facts
    about = {"Written": datetime.now(UTC).isoformat(timespec="seconds"), **facts}
    about["Pictures"] = (
        f"{result['pictures']:,}; by the first detector {row['real']:,} real and {row['fake']:,} fake faces were judged"
    )
    about |= {text_of(f"Detector {known['name']}"): _who(known["detector"]) for known in detectors}
    several = "".join(_comparison(compared) for compared in result["comparison"])
    parts = [
        f"<section><h2>All figures</h2>{_overview(detectors)}</section>",
        f"<section><h2>Against each other</h2>{_DIFFER}{several}</section>" if several else "",
        f'<section><h2>Curves</h2><div class="plots">{_figure(roc, _ROC)}{_figure(det, _DET)}</div></section>',
        *(_detector(known, got) for known, got in named),
        _MEANING,
    ]
    return (
        f"{page_head('Evaluation by realface', _MORE)}<body><header><h1>Evaluation: real or machine-made faces</h1>"
        f"{_LEAD}{fact_list(about)}</header><main>{''.join(parts)}</main></body></html>\n"
    )


def mistakes(got: Answers) -> list[int]:
    """The rows with a wrong verdict, the most confident first, at most `SHOWN`."""
    wrong = [i for i in range(len(got.rows)) if got.called[i] == 1 - got.labels[i]]
    return sorted(wrong, key=lambda i: -abs(got.fake[i] - got.labels[i]))[:SHOWN]


def _overview(detectors: Sequence[dict[str, Any]]) -> str:
    lines: dict[str, list[str]] = {}

    def add(what: str, cell: str) -> None:
        lines.setdefault(what, []).append(cell)

    for known in detectors:
        for key, metric in METRICS.items():
            add(metric.name, _cell(known["figures"]["all"], key))
        worst = known["worst_generator"]
        of_worst = known["by_generator"].get(worst)
        add("APCER of the worst generator", f"{text_of(worst)}: {_cell(of_worst, 'apcer')}" if of_worst else "-")
        points = {point["at"]: point for point in known["operating_points"]}
        for at in BPCERS:
            point = points.get(at)
            told = _rate(point["apcer"], point["interval"], few=not point["enough"]) if point else "-"
            add(f"APCER at BPCER {100 * at:g} %", told)
        for who, (lost, total) in known["unanswered"].items():
            share = lost / total if total else None
            add(f"No answer ({'APNRR, fake' if who == 'fake' else 'BPNRR, real'})", _rate(share, wilson(lost, total)))
        for who in ("real", "fake"):
            for what, (value, pair) in known["classes"][who].items():
                add(f"{what.capitalize()} of {who} at 50 %", _rate(value, pair))
        speed = known["seconds"]
        timed = speed and None not in (speed["p50"], speed["p95"])
        told = f"{1000 * speed['p50']:,.0f}, {1000 * speed['p95']:,.0f}" if timed else "-"
        add("Milliseconds a picture, one at a time: median, 95 in 100 within", told)
    return figure_table("", ["", *(known["name"] for known in detectors)], lines)


def _detector(known: dict[str, Any], got: Answers) -> str:
    thresholds = Thresholds(**known["thresholds"]) if known["thresholds"] else None
    figures, verdicts, matrix = known["figures"], known["classes"]["verdicts"], known["classes"]["matrix"]
    policy = Policy(**known["policy"]) if known["policy"] else None
    kept = f"{thresholds.rule(policy)}\n{promises(figures['all'], policy)}" if thresholds and policy else _NO_POLICY
    counted = {
        f"{who} faces": [f"{verdicts[who][word]:,}" for word in ("real", "inconclusive", "fake")]
        + [f"{count:,}" for count in matrix[label]]
        for label, who in enumerate(("real", "fake"))
    }
    heads = ["", "called real", "inconclusive", "called fake", "under 50 %", "50 % and over"]
    sources = {name: row for name, row in figures.items() if name != "all"}
    lost = [f"{len(known[key])} {words}" for key, words in LOST.items() if known[key]]
    grid = known.get("grid")
    parts = [
        f"<h2>{text_of(known['name'])}</h2>",
        "".join(f"<p>{text_of(line)}</p>" for line in kept.splitlines()),
        f"<p>Without an answer, and in no figure but the share of those: {', '.join(lost)}.</p>" if lost else "",
        figure_table("Confusion matrix: by verdict, and by probability", heads, counted),
        f'<div class="plots">{_figure(plots.reliability(got), _RELIABILITY)}'
        f"{_figure(plots.histogram(got, thresholds), _HISTOGRAM)}</div>",
        _groups("By generator of the fakes", known["by_generator"], ("fake", "apcer", "inconclusive", "accuracy")),
        _groups("By source", sources),
        _groups("By native size of the face", known["by_size"]),
        _figure(plots.heatmap(grid_rows(grid)), _GRID, "grid") if grid else "",
        _groups("Laundering grid, with intervals", grid["cells"]) if grid else "",
        _gallery(got),
    ]
    return f'<section class="case">{"".join(parts)}</section>'


def _groups(caption: str, groups: Mapping[str, Figures], keys: Sequence[str] = ()) -> str:
    keys = keys or ("real", "fake", *(key for key, metric in METRICS.items() if metric.column))
    heads = [METRICS[key].column if key in METRICS else key for key in keys]
    rows = {name: [_cell(row, key, _DOUBT) for key in keys] for name, row in groups.items()}
    return figure_table(f"{caption} († {TOO_FEW})", ["", *heads], rows) if rows else ""


def _gallery(got: Answers) -> str:
    figures = ""
    for i in mistakes(got):
        row = got.rows[i]
        shown = _shown(Path(row.path), row.sha256)
        is_, as_ = ("fake", "real") if row.label else ("real", "fake")
        made = row.generator or row.source
        figures += (
            f"<figure>{shown}<figcaption><b>{is_}, called {as_}</b><br>"
            f"probability of fake {100 * got.fake[i]:.1f}&nbsp;%"
            f"<br>{text_of(Path(row.path).name)}{f'<br>{text_of(made)}' if made else ''}</figcaption></figure>"
        )
    if not figures:
        return "<h3>Most confident mistakes</h3><p>No face got a wrong verdict.</p>"
    return f'<h3>Most confident mistakes</h3><p>{_MISTAKES}</p><div class="gallery">{figures}</div>'


def _shown(path: Path, sha256: str) -> str:
    """The main face of a picture, or its middle, where none is found: some detectors judge that."""
    for framing in FRAMINGS if sha256_of(path) == sha256 else ():  # else another picture lies there now
        with suppress(ImageError):
            jpeg = draw.small_jpeg(resample(read_face(path, framing).pixels, 160), 160)[0]
            return f'<img src="{draw.uri("jpeg", jpeg)}" alt="A face with a wrong verdict" width="160" height="160">'
    return '<p class="quiet">The picture is not there any more.</p>'


def _comparison(compared: dict[str, Any]) -> str:
    first, other = compared["first"], compared["other"]
    rows = {}
    for key, row in compared["figures"].items():
        what, *cells = row_text(key, row)
        rows[what] = [escape(cell) for cell in cells]
    left = f"; {compared['left_out']:,} more were answered by one only" if compared["left_out"] else ""
    caption = f"{other} against {first}, on {compared['pictures']:,} pictures that both answered{left}"
    return figure_table(caption, ["", first, other, "difference", "95 % interval", f"{other} is"], rows)


def _cell(row: Figures, key: str, doubt: str = _SAID) -> str:
    """A count, or a figure with its interval and, where that says little, `doubt`."""
    if key not in METRICS:
        return f"{row[key]:,}"
    return (_rate if METRICS[key].share else _number)(row[key], row["intervals"][key], doubt)


def _rate(value: float | None, ends: Sequence[float] | None, doubt: str = _SAID, few: bool = False) -> str:
    """A share with its interval, and with `doubt` behind it where that says little or `few` says so."""
    if value is None:
        return "-"
    within = ends_of(ends) if ends else "no interval"
    return f'<b>{100 * value:.1f} %</b> <span class="quiet">{within}</span>{doubt if few or too_few(ends) else ""}'


def _number(value: float | None, ends: Sequence[float] | None, doubt: str) -> str:
    if value is None:
        return "-"
    within = f'<span class="quiet">{ends[0]:.4f} to {ends[1]:.4f}</span>' if ends else doubt
    return f"<b>{number(value)}</b> {within}"


def _figure(svg: str, caption: str, name: str = "plot") -> str:
    return f'<figure class="{name}">{svg}<figcaption>{caption}</figcaption></figure>'


def _who(detector: dict[str, str]) -> str:
    version = f"version {detector['version']}, " if detector["version"] else ""
    return f"{version}SHA-256 {detector['sha256']}"


_LEAD = (
    '<p class="lead">How often detectors are right and wrong on labelled pictures. The rates are in the style of '
    "ISO/IEC 30107-3; <b>this is no conformance test</b>, and nothing here says that a detector conforms to it. The "
    "figures hold for pictures like these, and for no others.</p>"
)
_DIFFER = (
    "<p>Each row is the difference between two detectors on the very same pictures. Where its interval holds 0, the "
    "pictures are too few to say which is better. Of many rows, one in twenty is outside its interval by chance.</p>"
)
_ROC = "ROC: fake faces found against real faces called fake, over all thresholds."
_DET = (
    "DET, on axes of normal deviates: both errors over all thresholds. Nearer to the lower left is better. Rates under "
    "0.05 % are drawn at the edge."
)
_RELIABILITY = (
    "Reliability: of faces with a given probability of fake, the share that is fake. On the diagonal the probabilities "
    "mean what they say. Large dots stand for many faces."
)
_HISTOGRAM = "Probabilities of fake given to real and to fake faces. Dashed: the thresholds of the verdicts."
_GRID = (
    "What is left after pictures were recompressed, resized, blurred: the darker, the worse. Each face is found once, "
    "in the picture as it is. Mean and worst leave out the picture as it is and the covered face."
)
_MISTAKES = (
    "Pictures with a wrong verdict, those with the least doubt first. Shown is the main face, whatever square of the "
    "picture the detector looks at."
)
_NO_POLICY = "This detector is a command: its thresholds and its policy are its own, and are not known here."
_MEANING = f"""<section class="case"><h2>What the figures mean</h2><ul>
<li><b>APCER</b> (attack presentation classification error rate): of the fake faces, the share called real. In ISO/IEC
30107-3 it is given for each attack instrument species and the worst counts; here a generator stands for a species, and
the source of the pictures where the generator is not known.</li>
<li><b>BPCER</b> (bona fide presentation classification error rate): of the real faces, the share called fake.</li>
<li>Both are at the thresholds and by the policy in the detector's file. <b>Inconclusive</b> faces, with a probability
between the thresholds or for a reason of their own, count as neither error.</li>
<li><b>No answer</b> (APNRR, BPNRR, non-response rates): of the pictures, the share that could not be read, shows no
face or got no usable answer. They are in no other figure.</li>
<li><b>APCER at BPCER x %</b>: the threshold is set, on these very pictures, so that at most x % of the real faces are
called fake, whatever the file's thresholds are. Under it stands "{TOO_FEW}" where even no error among so many real
faces would not show such a BPCER.</li>
<li><b>Equal error rate</b>: where the threshold makes both errors alike. <b>AUC</b> and <b>average precision</b>: how
well the order of the probabilities parts fake from real. <b>Accuracy, precision, recall and F1</b> are at a probability
of 50 % and count every face.</li>
<li><b>ECE</b>: how far, in 15 bins, the mean probability of fake is from the share of fakes. Of few pictures it is too
large; its interval makes up for that, and holds the true value some 90 times in 100. <b>Brier score</b>: the mean
squared error of the probability.</li>
<li><b>Intervals</b> hold the true value 95 times in 100 if the pictures are independent draws of their kind: Wilson's
for shares by thresholds that were set before, 1,000 bootstrap samples for the rest. Pictures of one source are alike:
truth is less sure than they say. "{TOO_FEW.capitalize()}" stands where the interval of a rate spans more than 20
points, or no sample differs.</li>
</ul></section>"""
_MORE = """
.plots { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 22rem), 1fr)); gap: 1rem }
figure svg { display: block; width: 100%; height: auto; max-width: 30rem } .grid svg { max-width: 46rem }
.gallery { display: grid; grid-template-columns: repeat(auto-fill, minmax(9.5rem, 1fr)); gap: 1rem }
.figures td:last-child { white-space: normal } .figures td :is(b, .quiet) { white-space: nowrap }
.figures td .quiet, .figures i { font-size: .8125rem }
h3 { margin-top: 1.5rem }
"""
