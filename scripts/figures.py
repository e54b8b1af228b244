"""Measure the figures of the README and the model card, and write them there.

    python scripts/figures.py measure DATA [NAME…]    detectors on the test split of DATA -> results/*.json; the name
                                                      laundering is the bundled one on the 140k faces, made worse
    python scripts/figures.py write                   results/*.json -> the tables between the marks in the documents

A test runs `write` in memory and fails where a document and the results disagree.
"""

import json
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "results"
DETECTORS = {"best": "best", "fast": "fast", "notebook-small": ROOT / "runs" / "notebook-small" / "detector.onnx"}
LAUNDERING, LAUNDERED = "laundering", ("140k-a", "140k-b")
LAUNDERED_EVERY = {"best": 10, "fast": 2}  # one in so many pictures: 14 cells of all of them take `best` an hour
WORST = {"auc": "AUC", "bpcer": "real faces called fake", "apcer": "fake faces called real"}
DOCUMENTS = ("README.md", "MODEL_CARD.md", "docs/faces.md", "docs/experiments.md")


def measure(data: str, names: list[str]) -> None:
    """Evaluate the named detectors, or all and the laundering grid, on the test split and keep the figures."""
    from realface import Detector
    from realface.evaluation.evaluate import evaluate

    for name in names or (*DETECTORS, LAUNDERING):
        result = {"command": "python scripts/figures.py measure DATA", "commit": commit()}
        if name == LAUNDERING:
            for judge, every in LAUNDERED_EVERY.items():
                figures = evaluate(Detector.load(judge), Path(data), "test", LAUNDERED, grid=True, every=every)
                (RESULTS / f"laundering-{judge}.json").write_text(json.dumps(result | figures, indent=1) + "\n")
            continue
        result |= evaluate(Detector.load(DETECTORS[name]), Path(data), "test")
        (RESULTS / f"{name}.json").write_text(json.dumps(result, indent=1) + "\n")


def commit() -> str:
    """The commit of the code that measures, with a + where files differ from it."""
    described = subprocess.run(["git", "describe", "--always", "--dirty=+"], cwd=ROOT, capture_output=True, text=True)
    return described.stdout.strip() or "unknown"


def percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.1f} %"


def number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def compared() -> str:
    """The detectors side by side, on the sources the project's bars name."""
    detectors = {name: json.loads((RESULTS / f"{name}.json").read_text())["figures"] for name in DETECTORS}
    sources = {
        "140k-a": "140k faces (a): AUC, accuracy",
        "140k-b": "140k faces (b): AUC, accuracy",
        "lfw": "LFW news photos called fake",
        "pif-fellows": "retouched portraits (pif-fellows) called fake",
        "congress-225x275": "official portraits (congress) called fake",
        "all": "all sources: AUC, accuracy",
    }
    lines = [
        f"| on the test split | {' | '.join(f'`{name}`' for name in detectors)} |",
        f"|---|{'--:|' * len(detectors)}",
    ]
    for source, text in sources.items():
        rows = [figures[source] for figures in detectors.values()]
        both = rows[0]["auc"] is not None
        cells = [f"{number(row['auc'])}, {percent(row['accuracy'])}" if both else percent(row["bpcer"]) for row in rows]
        lines.append(f"| {text} ({rows[0]['real'] + rows[0]['fake']}) | {' | '.join(cells)} |")
    unsure = [percent(figures["all"]["inconclusive"]) for figures in detectors.values()]
    lines.append(f"| all sources: answered inconclusive | {' | '.join(unsure)} |")
    return "\n".join(lines)


def by_source() -> str:
    """The bundled detector on every source."""
    from realface.evaluation.metrics import table

    return table(json.loads((RESULTS / "best.json").read_text())["figures"])


def laundering() -> str:
    """The bundled detectors on the 140k faces, recompressed, resized, blurred."""
    from realface.evaluation.grid import grid_table

    parts = []
    for judge in LAUNDERED_EVERY:
        path = RESULTS / f"laundering-{judge}.json"
        if not path.exists():
            return f"Not measured yet: `python scripts/figures.py measure DATA {LAUNDERING}`."
        got = json.loads(path.read_text())
        counts, worst = got["figures"]["all"], got["grid"]["worst_cell"]
        told = "; ".join(f"{what}: {worst[key] or 'all alike'}" for key, what in WORST.items())
        parts.append(
            f"`{judge}`, {counts['real']} real and {counts['fake']} fake pictures:\n\n{grid_table(got['grid'])}\n\n"
            f"Worst by {told}."
        )
    return "\n\n".join(parts)


def speed() -> str:
    """Every detector against the notebook's path through Keras."""
    result = json.loads((RESULTS / "speed.json").read_text())
    lines = [
        "| detector | one at a time, images/s | times Keras | batches of 16, images/s | times Keras |",
        "|---|--:|--:|--:|--:|",
    ]
    for name, row in result["rows"].items():
        cells = [f"{row[b][key]:g}" for b in ("1", "16") for key in ("images_per_second", "ratio_to_keras")]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    faces = ", ".join(f"`{name}` {ms:.0f} ms" for name, ms in result.get("milliseconds_on_one_core", {}).items())
    lines += ["", f"A face that is cut already, on one core: {faces}."] if faces else []
    versions = ", ".join(f"{name} {version}" for name, version in result["versions"].items())
    return "\n".join([*lines, "", f"`{result['command']}` on {result['machine']}; {versions}."])


def install() -> str:
    """What installing the using half costs."""
    got = json.loads((RESULTS / "install.json").read_text())
    return (
        f"`pip install .` puts {got['installed_megabytes']:.0f} MB on the disk; a cold\n`realface check photo.jpg`, "
        f"from command to answer, takes {got['cold_check_seconds']:.1f} s (importing NumPy alone "
        f"{got['import_numpy_seconds']:.1f} s; `{got['command']}`, {got['machine']})."
    )


def found() -> str:
    """How often the main face of a labelled picture is found."""
    got = json.loads((RESULTS / "faces.json").read_text())
    lines = ["| source | pictures | main face found |", "|---|--:|--:|"]
    lines += [f"| {name} | {row['pictures']} | {percent(row['found'])} |" for name, row in got["recall"].items()]
    none = got["faceless"]
    return "\n".join(
        [
            *lines,
            "",
            f"Of {none['pictures']:,} generated pictures without a face, {percent(none['found'])} get one. Finding and "
            f"cutting the face in a photograph of 640 x 480 takes {got['milliseconds_640x480']:.0f} ms "
            f"(`{got['command']}`, {got['machine']}).",
        ]
    )


def three_ways() -> str:
    """The detector on ready-made crops and other pictures, through the face finder, and in large photographs."""
    got = json.loads((RESULTS / "faces.json").read_text())
    lines = [
        "| test pictures | real, fake | AUC | accuracy | real called fake | fake called real | inconclusive |",
        "|---|--:|--:|--:|--:|--:|--:|",
    ]
    for what, ways in {"140k crops": got["three_ways"], "with room around the face": got["small_in_frame"]}.items():
        for name, row in ways.items():
            shares = " | ".join(percent(row[key]) for key in ("accuracy", "bpcer", "apcer", "inconclusive"))
            lines.append(f"| {what}, {name} | {row['real']}, {row['fake']} | {number(row['auc'])} | {shares} |")
    return "\n".join(lines)


def heatmap() -> str:
    """What hiding a tenth of the crop does to the score of fakes."""
    got = json.loads((RESULTS / "heatmap.json").read_text())
    lines = [
        "| a tenth of the crop hidden, filled with | fall of the logit | fall of the probability |",
        "|---|--:|--:|",
    ]
    for name, fall in got["mean_fall"].items():
        lines.append(f"| {name} | {fall['logit']:.2f} | {fall['probability']:.3f} |")
    return "\n".join(
        [*lines, "", f"`{got['command']}`: {got['pictures']} fakes of the test split that are called fake."]
    )


def left_out() -> str:
    """Every source judged by views that have never seen it, and by their fusion."""
    got = json.loads((RESULTS / "leave-one-out.json").read_text())
    views = got["sources"]
    columns = [f"{what}: {view}" for what in ("fakes found", "real people accused") for view in views]
    lines = [f"| left out | pictures | {' | '.join(columns)} |", f"|---|--:|{'--:|' * len(columns)}"]

    def cells(rows: list[dict[str, float]]) -> str:
        return " | ".join(
            f"{percent(row[f'{what}_clean'])} / {percent(row[f'{what}_degraded'])}" if f"{what}_clean" in row else "-"
            for what in ("found", "accused")
            for row in rows
        )

    for name, row in views["fused"].items():
        count = row.get("found_pictures", 0) + row.get("accused_pictures", 0)
        known = " (known to the native view)" if name in got["known_to_native"] else ""
        lines.append(f"| {name}{known} | {count} | {cells([views[view][name] for view in views])} |")
    lines.append(f"| mean over sources | | {cells([got['mean'][view] for view in views])} |")
    return "\n".join(lines)


TABLES = {
    "compared": compared,
    "by-source": by_source,
    "laundering": laundering,
    "speed": speed,
    "install": install,
    "found": found,
    "three-ways": three_ways,
    "heatmap": heatmap,
    "left-out": left_out,
}


def rendered(document: str) -> str:
    """The document's text with every marked table made anew from the results."""

    def table(match: re.Match[str]) -> str:
        return f"{match[1]}\n{TABLES[match[2]]()}\n{match[3]}"

    text = (ROOT / document).read_text(encoding="utf-8")
    return re.sub(r"(<!-- table: ([\w-]+) -->)\n.*?(<!-- end -->)", table, text, flags=re.DOTALL)


def main() -> None:
    match sys.argv[1:]:
        case ["measure", data, *names]:
            measure(data, names)
        case ["write"]:
            for document in DOCUMENTS:
                (ROOT / document).write_text(rendered(document), encoding="utf-8")
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    main()
