"""Write docs/presentation/index.html: the slides of docs/presentation/slides.html with the figures of results/.

    python scripts/presentation.py

One file that opens anywhere: plots are SVG in it, nothing is loaded. Arrow keys turn the slides; each prints as a page;
without scripts they stand below each other. A test renders it again and fails where the results say otherwise.
"""

import io
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
from figures import DETECTORS, five, number, percent, rate, result
from jinja2 import Environment, StrictUndefined
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from realface import __version__

FOLDER = Path(__file__).resolve().parent.parent / "docs" / "presentation"
TEMPLATE, PAGE = FOLDER / "slides.html", FOLDER / "index.html"
REAL, FAKE, OPEN, QUIET = "#14663a", "#b3261e", "#c98a1b", "#8a92a3"
SERIES = {"best": "#1f5fbf", "fast": "#c98a1b"}
LOOK: Any = {
    "font.size": 15,
    "font.family": "DejaVu Sans",
    "svg.fonttype": "none",
    "svg.hashsalt": "realface",
    "axes.spines.top": False,
    "axes.spines.right": False,
}
Table = list[tuple[str, list[str]]]


def svg(figure: Figure, told: str) -> str:
    """A figure as SVG that screen readers read as `told`, the same every time; rounded to a hundredth of a point."""
    file = io.StringIO()
    figure.savefig(file, format="svg", metadata=dict.fromkeys(("Creator", "Date", "Format", "Type")), transparent=True)
    plt.close(figure)
    drawn = re.sub(r"^.*?<svg ", "", file.getvalue(), count=1, flags=re.DOTALL)
    drawn = re.sub(r'(?:width|height)="[\d.]+pt" ', "", drawn)
    drawn = re.sub(r"-?\d+\.\d{3,}", lambda value: f"{float(value[0]):.2f}".rstrip("0").rstrip("."), drawn)
    return f'<svg role="img" aria-label="{told}" {drawn}'


def unseen(left_out: dict[str, dict[str, dict[str, float]]]) -> str:
    """Share of fakes found by source left out, by the whole face alone and by both views."""
    names = [name for name, row in left_out["fused"].items() if "found_clean" in row]
    names.sort(key=lambda name: left_out["fused"][name]["found_clean"])
    figure, axis = plt.subplots(figsize=(9.6, 6), layout="constrained")
    for offset, (view, colour, label) in enumerate(
        (("whole", QUIET, "the whole face alone"), ("fused", SERIES["best"], "both views"))
    ):
        shares = [100 * left_out[view][name]["found_clean"] for name in names]
        axis.barh([row + 0.2 - 0.4 * offset for row in range(len(names))], shares, 0.38, color=colour, label=label)
    axis.set(xlabel="fakes found with their source left out, %", xlim=(0, 100))
    axis.set_yticks(range(len(names)), names)
    axis.legend(loc="lower right")
    told = ", ".join(f"{name} {percent(left_out['fused'][name]['found_clean'])}" for name in names)
    return svg(figure, f"Fakes found by both views: {told}")


def laundering(grids: dict[str, Any]) -> str:
    """AUC in every cell of the laundering grid."""
    cells = list(grids["best"]["cells"])[::-1]
    figure, axis = plt.subplots(figsize=(9.6, 6), layout="constrained")
    for name, colour in SERIES.items():
        aucs = [grids[name]["cells"][cell]["auc"] for cell in cells]
        axis.plot(aucs, range(len(cells)), "o", color=colour, markersize=10, label=name)
    axis.set_yticks(range(len(cells)), cells)
    axis.set(xlabel="AUC (one half is chance, one is perfect)", xlim=(None, 1.005))
    axis.grid(axis="both", alpha=0.4)
    axis.legend(loc="upper left")
    told = [
        f"{name}: " + ", ".join(f"{cell} {number(g['cells'][cell]['auc'])}" for cell in cells)
        for name, g in grids.items()
    ]
    return svg(figure, f"AUC after each change. {'; '.join(told)}")


def thresholds(detectors: dict[str, Any]) -> str:
    """Which probability gets which answer."""
    figure, axis = plt.subplots(figsize=(13.5, 2.3), layout="constrained")
    told = []
    for row, name in enumerate(("fast", "best")):
        low, high = (100 * detectors[name]["thresholds"][key] for key in ("real_below", "fake_from"))
        for start, end, colour, text in (
            (0, low, REAL, "real"),
            (low, high, OPEN, "inconclusive"),
            (high, 100, FAKE, "fake"),
        ):
            axis.barh(row, end - start, 0.62, start, color=colour)
            ink = "black" if colour == OPEN else "white"
            axis.text((start + end) / 2, row, text, ha="center", va="center", color=ink, weight="bold")
        told.append(f"{name}: real under {low:.1f} %, fake from {high:.1f} % on")
        axis.text(low, row + 0.32, f"{low:.1f}", ha="center", va="bottom", size=13)
        axis.text(high, row + 0.32, f"{high:.1f}", ha="center", va="bottom", size=13)
    axis.set_yticks((0, 1), ("fast", "best"))
    axis.set(xlabel="calibrated probability of fake, %", xlim=(0, 100), ylim=(-0.45, 1.75))
    return svg(figure, "; ".join(told))


def speed(rows: dict[str, Any]) -> str:
    """Pictures a second, one at a time."""
    rates = sorted((row["1"]["images_per_second"], name.removeprefix("bundled: ")) for name, row in rows.items())
    figure, axis = plt.subplots(figsize=(9.6, 5.6), layout="constrained")
    colours = [SERIES.get(name, "#3d4454" if "Keras" in name else QUIET) for _, name in rates]
    bars = axis.barh([name for _, name in rates], [rate for rate, _ in rates], color=colours)
    axis.bar_label(bars, [f"{rate:g}" for rate, _ in rates], padding=4)
    axis.set(xlabel="pictures a second", xscale="log")
    ticks = [5, 10, 20, 50, 100, 200]
    axis.set_xticks(ticks, [str(tick) for tick in ticks])
    return svg(figure, "Pictures a second: " + ", ".join(f"{name} {rate:g}" for rate, name in rates))


def compared(detectors: dict[str, Any]) -> Table:
    """The detectors side by side."""
    said: Table = []

    def row(text: str, source: str, cell: Callable[[dict[str, Any]], str]) -> None:
        said.append((text, [cell(got["figures"][source]) for got in detectors.values()]))

    for source, text in (("140k-a", "140k faces (a)"), ("140k-b", "140k faces (b)"), ("all", "all sources")):
        row(f"{text}: AUC, accuracy", source, lambda f: f"{number(f['auc'])}, {percent(f['accuracy'])}")
    row("all sources: real called fake", "all", lambda f: percent(f["bpcer"]))
    row("all sources: fake called real", "all", lambda f: percent(f["apcer"]))
    row("all sources: inconclusive", "all", lambda f: percent(f["inconclusive"]))
    return said


def calibrated(detectors: dict[str, Any]) -> Table:
    """Calibration and error rates, with 95 % intervals."""
    rows = [detectors[name]["figures"]["all"] for name in SERIES]
    said = [
        (text, [rate(row, key) for row in rows])
        for text, key in (("real called fake", "bpcer"), ("fake called real", "apcer"))
    ]
    said.append(("inconclusive", [percent(row["inconclusive"]) for row in rows]))
    return [
        *said,
        ("ECE", [number(row["ece"]) for row in rows]),
        ("Brier score", [number(row["brier"]) for row in rows]),
    ]


def rendered() -> str:
    """The page, from the template and the results."""
    detectors = {name: result(name) for name in DETECTORS}
    grids = {name: result(f"laundering-{name}")["grid"] for name in SERIES}
    left_out, by_source = result("leave-one-out"), detectors["best"]["figures"]
    named = {source: row for source, row in by_source.items() if source != "all"}
    gemini = result("outside")["detectors"]["best"]["as they are"]
    accused = [
        row[key] for row in left_out["sources"]["fused"].values() for key in row if re.match("accused_(c|d)", key)
    ]
    timed = result("speed")
    with matplotlib.rc_context(LOOK):
        plots = {
            "unseen": unseen(left_out["sources"]),
            "laundering": laundering(grids),
            "thresholds": thresholds(detectors),
            "speed": speed(timed["rows"]),
        }
    page = Environment(undefined=StrictUndefined, keep_trailing_newline=True, autoescape=False)
    filters: dict[str, Callable[[Any], str]] = {
        "percent": lambda share: percent(float(share)),
        "number": lambda value: number(float(value)),
        "millions": lambda count: f"{int(count) / 1e6:.2f} M",
    }
    page.filters.update(filters)
    return page.from_string(TEMPLATE.read_text(encoding="utf-8")).render(
        version=__version__,
        generator=f"matplotlib {matplotlib.__version__}",
        all=by_source["all"],
        sources=len(named),
        both=sum(row["auc"] is not None for row in named.values()),
        detectors=detectors,
        compared=compared(detectors),
        calibrated=calibrated(detectors),
        policy=detectors["best"]["policy"],
        five=five(),
        mean=left_out["mean"]["fused"],
        worst_accused={"share": max(accused)},
        grids=grids,
        outside={**gemini, "total": sum(gemini.values())},
        speed=timed,
        install=result("install"),
        plots=plots,
    )


def main() -> None:
    PAGE.write_text(rendered(), encoding="utf-8")
    print(f"{PAGE}: {PAGE.stat().st_size / 1000:.0f} KB")


if __name__ == "__main__":
    main()
