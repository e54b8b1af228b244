"""The plots of an evaluation, each as the text of an SVG to put into a page: no script, and nothing is loaded."""

import io
from collections.abc import Mapping
from html import escape
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.stats import norm
from sklearn.metrics import roc_curve

from ..card import Thresholds
from ..harmless import printable
from .bootstrap import BINS, bins
from .rows import Answers

COLOURS = ("#1f5fbf", "#b3261e", "#14663a", "#7a4b00", "#6a3d9a", "#00798c")
_STYLES = ("-", "--", "-.", ":")
_TICKS = (0.001, 0.005, 0.01, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8)
_SETTINGS: Any = {"svg.fonttype": "none", "svg.hashsalt": "realface", "font.size": 10, "axes.axisbelow": True}


def curves(told: Mapping[str, Answers]) -> tuple[str, str]:
    """The ROC and the DET curve of each detector that has both classes, by name.

    DET on axes of normal deviates: Martin et al. 1997, "The DET Curve in Assessment of Detection Task Performance".
    """
    with matplotlib.rc_context(_SETTINGS):
        roc, det = _axes("BPCER: real called fake", "fake called fake"), _axes("APCER: fake called real", "BPCER")
        roc.plot([0, 1], [0, 1], color="#c9ced8", linewidth=1)
        ends = norm.ppf([_TICKS[0] / 2, 0.9])  # rates of 0 would lie infinitely far away
        for i, (name, got) in enumerate(told.items()):
            if len(set(got.labels.tolist())) < 2:
                continue
            fpr, tpr, _ = roc_curve(got.labels, got.fake, drop_intermediate=False)
            look: dict[str, Any] = {
                "color": COLOURS[i % len(COLOURS)],
                "linestyle": _STYLES[i % len(_STYLES)],
                "label": _named(i, name),
            }
            roc.plot(fpr, tpr, **look)
            det.plot(norm.ppf(1 - tpr).clip(*ends), norm.ppf(fpr).clip(*ends), **look)
        roc.set(xlim=(-0.01, 1), ylim=(0, 1.01))
        det.set(xlim=ends, ylim=ends)
        for axis in (det.xaxis, det.yaxis):
            axis.set_ticks(norm.ppf(_TICKS), [f"{100 * tick:g} %" for tick in _TICKS])
        det.tick_params(axis="x", rotation=45)
        for axes in (roc, det):
            if axes.get_legend_handles_labels()[0]:
                axes.legend(fontsize=9)
        return _svg(roc, "ROC curve"), _svg(det, "DET curve")


def reliability(got: Answers) -> str:
    """In each bin of the probability of fake, its mean against the share of fakes; the larger a dot, the more faces."""
    with matplotlib.rc_context(_SETTINGS):
        axes = _axes("mean probability of fake", "share of fakes")
        axes.plot([0, 1], [0, 1], color="#c9ced8", linewidth=1)
        inside = bins(got.fake)
        counts = np.bincount(inside, minlength=BINS)
        full = counts > 0
        x, y = (np.bincount(inside, of, BINS)[full] / counts[full] for of in (got.fake, got.labels))
        axes.plot(x, y, color=COLOURS[0], linewidth=1)
        axes.scatter(x, y, 12 + 150 * counts[full] / counts.max(), color=COLOURS[0], alpha=0.7)
        axes.set(xlim=(-0.04, 1.04), ylim=(-0.04, 1.04))
        return _svg(axes, "Reliability diagram")


def histogram(got: Answers, thresholds: Thresholds | None) -> str:
    """How many real and fake faces got which probability of fake, with the thresholds."""
    with matplotlib.rc_context(_SETTINGS):
        axes = _axes("probability of fake", "faces (logarithmic)")
        edges = np.linspace(0, 1, 26).tolist()
        for label, name in enumerate(("real", "fake")):
            colour = COLOURS[label]
            values = got.fake[got.labels == label]
            axes.hist(values, edges, color=colour, alpha=0.45, edgecolor=colour, label=f"{name} faces")
        for line in {thresholds.real_below, thresholds.fake_from} if thresholds else ():
            axes.axvline(line, color="#1b1f27", linewidth=1, linestyle="--")
        axes.set_yscale("symlog", linthresh=1)
        axes.set(xlim=(0, 1), ylim=(0, None))
        axes.legend(fontsize=9)
        return _svg(axes, "Histogram of the probabilities of real and fake faces")


def heatmap(cells: Mapping[str, Mapping[str, float | None]]) -> str:
    """The laundering grid: a row a cell, with AUC, accuracy and error rates as numbers; the darker, the worse."""
    heads = {"auc": "AUC", "accuracy": "accuracy", "bpcer": "BPCER", "apcer": "APCER", "inconclusive": "inconclusive"}
    with matplotlib.rc_context(_SETTINGS):
        axes = _axes("", "", (6.4, 0.8 + 0.3 * len(cells)))
        values = np.array(
            [[np.nan if row[key] is None else row[key] for key in heads] for row in cells.values()], float
        )
        bad = values.copy()
        bad[:, :2] = 2 * (1 - bad[:, :2])  # an AUC or an accuracy of a half is chance
        axes.imshow(bad.clip(0, 1), "Reds", vmin=0, vmax=1, aspect="auto")
        for (y, x), value in np.ndenumerate(values):
            text = "-" if np.isnan(value) else f"{value:.3f}" if x == 0 else f"{100 * value:.1f} %"
            axes.text(x, y, text, ha="center", va="center", color=_ink(float(bad[y, x])))
        axes.set_xticks(range(len(heads)), list(heads.values()))
        axes.set_yticks(range(len(cells)), list(cells))
        axes.tick_params(length=0, top=True, labeltop=True, bottom=False, labelbottom=False)
        axes.grid(False)
        return _svg(axes, "Heatmap of the laundering grid")


def _ink(share: float) -> str:
    """Black or white, whichever stands out more from a red, by the contrast of WCAG 2; black where nothing is drawn."""
    if np.isnan(share):
        return "black"
    ground = matplotlib.colormaps["Reds"](min(share, 1.0))[:3]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in ground]
    luminance = float(np.dot(linear, (0.2126, 0.7152, 0.0722)))
    return "white" if 1.05 / (luminance + 0.05) > (luminance + 0.05) / 0.05 else "black"


def _axes(x: str, y: str, size: tuple[float, float] = (4.4, 4.0)) -> Axes:
    axes: Axes = Figure(figsize=size, layout="constrained").subplots()
    axes.set(xlabel=x, ylabel=y)
    axes.grid(alpha=0.3)
    return axes


def _named(number: int, name: str) -> str:
    name = printable(name)
    short = name if len(name) <= 30 else name[:29] + "…"
    return f"{number + 1}. {short}".replace("$", r"\$")  # dollars begin a formula, and a leading _ would hide it


def _svg(axes: Axes, what: str) -> str:
    buffer = io.StringIO()
    axes.get_figure(root=True).savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})  # pyrefly: ignore[missing-attribute]
    text = buffer.getvalue()
    return f'<svg role="img" aria-label="{escape(what)}" ' + text[text.index("<svg ") + 5 :]
