"""Measure the figures of the README and the model card, and write them there.

    python scripts/figures.py measure DATA [NAME…]    detectors on the test split of DATA -> results/*.json; the name
                                                      laundering is the bundled one on the 140k faces, made worse, and
                                                      data counts the pictures
    python scripts/figures.py write                   results/*.json -> what is between the marks in the documents:
                                                      the tables, and figures in sentences (`inline_figures.py`)

A test runs `write` in memory and fails where a document and the results disagree.
"""

import csv
import json
import re
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import inline_figures

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "results"
BUNDLED = ("best", "fast")
DETECTORS: dict[str, str | Path] = {
    **{name: name for name in BUNDLED},
    "notebook-small": ROOT / "runs" / "notebook-small" / "detector.onnx",
}
COUNTED = "data"
LAUNDERING, LAUNDERED = "laundering", ("140k-a", "140k-b")
LAUNDERED_EVERY = 2  # one in so many pictures: 14 cells of all of them take `best` half an hour
WORST = {"auc": "AUC", "bpcer": "real faces called fake", "apcer": "fake faces called real"}
DOCUMENTS = (
    "README.md",
    "MODEL_CARD.md",
    "docs/data-card.md",
    "docs/data.md",
    "docs/decisions.md",
    "docs/evaluation.md",
    "docs/experiments.md",
    "docs/networks.md",
    "docs/faces.md",
    "docs/scan.md",
    "docs/service.md",
    "docs/speed.md",
    "docs/threat-model.md",
)


def measure(data: str, names: list[str]) -> None:
    """Evaluate the named detectors, or all and the laundering grid, on the test split and keep the figures."""
    from realface import Detector
    from realface.evaluation.evaluate import evaluate
    from realface.evaluation.origin import origin

    load = partial(Detector.load, threads=1)
    for name in names or (COUNTED, *DETECTORS, LAUNDERING):
        result: dict[str, Any] = {"command": "python scripts/figures.py measure DATA"}
        if name == COUNTED:
            result |= origin() | {"sources": count(data)}
            (RESULTS / "data.json").write_text(json.dumps(result, indent=1) + "\n")
            continue
        if name == LAUNDERING:
            for judge in BUNDLED:
                got = evaluate([load(judge)], Path(data), "test", LAUNDERED, grid=True, every=LAUNDERED_EVERY).result
                text = json.dumps(result | flat(got), indent=1)
                (RESULTS / f"laundering-{judge}.json").write_text(text + "\n")
            continue
        result |= flat(evaluate([load(DETECTORS[name])], Path(data), "test").result)
        (RESULTS / f"{name}.json").write_text(json.dumps(result, indent=1) + "\n")


def count(data: str) -> dict[str, dict[str, int]]:
    """The pictures of each source, by class and split, such as "real train"."""
    from realface.data import SPLITS, read_data

    samples = read_data(data)
    kinds = [(word, label, split) for label, word in enumerate(("real", "fake")) for split in SPLITS]
    return {
        source: {
            f"{word} {split}": sum((s.source, s.label, s.split) == (source, label, split) for s in samples)
            for word, label, split in kinds
        }
        for source in sorted({s.source for s in samples})
    }


def flat(result: dict[str, Any]) -> dict[str, Any]:
    """The result of an evaluation of one detector, with what is said of it at the top."""
    (detector,) = result["detectors"]
    return {**{key: value for key, value in result.items() if key not in ("detectors", "comparison")}, **detector}


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
        cells = [f"{number(row['auc'])}, {percent(row['accuracy'])}" if both else rate(row, "bpcer") for row in rows]
        lines.append(f"| {text} ({rows[0]['real'] + rows[0]['fake']}) | {' | '.join(cells)} |")
    unsure = [percent(figures["all"]["inconclusive"]) for figures in detectors.values()]
    lines.append(f"| all sources: answered inconclusive | {' | '.join(unsure)} |")
    return "\n".join(lines)


def rate(row: dict[str, Any], key: str) -> str:
    """The BPCER or APCER of a group that has such faces, and Wilson's 95 % interval."""
    from realface.rates import wilson

    total = row["real" if key == "bpcer" else "fake"]
    ends = wilson(round(row[key] * total), total)
    assert ends
    return f"{percent(row[key])} ({100 * ends[0]:.1f} to {100 * ends[1]:.1f})"


def by_source() -> str:
    """The bundled detector on every source."""
    from realface.evaluation.metrics import table

    return table(json.loads((RESULTS / "best.json").read_text())["figures"])


def laundering() -> str:
    """The bundled detectors on the 140k faces, recompressed, resized, blurred."""
    from realface.evaluation.grid import grid_table

    parts = []
    for judge in BUNDLED:
        got = json.loads((RESULTS / f"laundering-{judge}.json").read_text())
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


def faster() -> str:
    """What would make `fast` faster, what it gains, and what it changes."""
    got = json.loads((RESULTS / "faster.json").read_text())
    lines = [
        "| way | network, times as fast | `check` ms | times as fast | AUC | accuracy | other verdicts | other crops |",
        f"|---|{'--:|' * 7}",
    ]
    for name, row in got["rows"].items():
        both = [row[how] for how in ("clean", "degraded")]
        cells = [f"{row['network_times']:.2f}", f"{row['check_ms']:.0f}", f"{row['check_times']:.2f}"]
        cells += [" / ".join(f"{way['auc']:.3f}" for way in both), " / ".join(percent(way["accuracy"]) for way in both)]
        cells += [" / ".join(percent(way["changed"] / way["pictures"]) for way in both), str(row["crops_changed"])]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    lines += ["", "| large JPEG files | at half, of | ms | AUC | accuracy | other verdicts |", f"|---|{'--:|' * 5}"]
    for name, row in got["large"].items():
        was, now = row["today"], row["clean"]
        cells = [f"{row['decoded_at_half']}, {now['pictures']}", f"{row['ms']:.0f}, today {row['ms_today']:.0f}"]
        cells += [f"{now['auc']:.3f}, today {was['auc']:.3f}"]
        cells += [f"{percent(now['accuracy'])}, today {percent(was['accuracy'])}", f"{now['changed']}"]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join([*lines, "", f"`{got['command']}` on {got['machine']}; commit {got['commit']}."])


def install() -> str:
    """What installing the using half costs."""
    got = json.loads((RESULTS / "install.json").read_text())
    return (
        f"`pip install .` puts {got['installed_megabytes']:.0f} MB on the disk; a cold\n`realface check photo.jpg`, "
        f"from command to answer, takes {got['cold_check_seconds']:.1f} s (importing NumPy alone "
        f"{got['import_numpy_seconds']:.1f} s, TensorFlow and the notebook's model {got['keras_load_seconds']:.1f} s; "
        f"`{got['command']}`, {got['machine']})."
    )


def counted() -> str:
    """The pictures of every source, by class and split."""
    sources = json.loads((RESULTS / "data.json").read_text())["sources"]
    heads = list(next(iter(sources.values())))
    lines = [f"| source | {' | '.join(heads)} |", f"|---|{'--:|' * len(heads)}"]
    lines += [f"| {name} | {' | '.join(str(row[head] or '') for head in heads)} |" for name, row in sources.items()]
    total = [f"{sum(row[head] for row in sources.values()):,}" for head in heads]
    return "\n".join([*lines, f"| all | {' | '.join(total)} |"])


def shortcuts() -> str:
    """What facts about the files give away of the label, over all pictures and within sources."""
    got = json.loads((RESULTS / "audit.json").read_text())["auc"]
    sources = ["all", *sorted({source for row in got.values() for source in row} - {"all"})]
    lines = [f"| AUC of | {' | '.join(sources)} |", f"|---|{'--:|' * len(sources)}"]
    for fact, row in got.items():
        lines.append(f"| {fact} | {' | '.join(f'{row[source]:.2f}' if source in row else '-' for source in sources)} |")
    return "\n".join(lines)


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


def cascade() -> str:
    """`fast`, `best`, and one after the other."""
    got = json.loads((RESULTS / "cascade.json").read_text())
    names = ("accuracy", "bpcer", "apcer", "inconclusive")
    lines = ["| detector | accuracy | real called fake | fake called real | inconclusive | faces a second |"]
    lines.append(f"|---|{'--:|' * 5}")
    for name, row in got["rows"].items():
        lines.append(f"| `{name}` | {' | '.join(percent(row[key]) for key in names)} | {row['faces_per_second']:g} |")
    sent = f"{got['pictures']:,} pictures with a face; {percent(got['sent_on'])} of them are sent on to `best`."
    return "\n".join([*lines, "", f"{sent} `{got['command']}`."])


def both_versions(row: dict[str, float], what: str, form: Callable[[float], str] = percent) -> str:
    """A figure of pictures as they are / after one random history."""
    return f"{form(row[f'{what}_clean'])} / {form(row[f'{what}_degraded'])}"


def ablation(name: str) -> str:
    """What one choice in the two views is worth, on sources left out and on the valid split."""
    rows = json.loads((RESULTS / "ablate.json").read_text())["tables"][name]
    columns = {"found": percent, "accused": percent, "auc": number, "accuracy": percent}
    lines = [
        "| | unseen fakes found | unseen real people accused | valid: AUC | valid: accuracy |",
        "|---|--:|--:|--:|--:|",
    ]
    for what, row in rows.items():
        cells = [both_versions(row, of, form) for of, form in columns.items()]
        lines.append(f"| {what} | {' | '.join(cells)} |")
    return "\n".join(lines)


def left_out() -> str:
    """Every source judged by views that have never seen it, and by their fusion."""
    got = json.loads((RESULTS / "leave-one-out.json").read_text())
    views = got["sources"]
    columns = [f"{what}: {view}" for what in ("fakes found", "real people accused") for view in views]
    lines = [f"| left out | pictures | {' | '.join(columns)} |", f"|---|--:|{'--:|' * len(columns)}"]

    def cells(rows: list[dict[str, float]]) -> str:
        return " | ".join(
            both_versions(row, what) if f"{what}_clean" in row else "-" for what in ("found", "accused") for row in rows
        )

    for name, row in views["fused"].items():
        count = row.get("found_pictures", 0) + row.get("accused_pictures", 0)
        known = " (known to the native view)" if name in got["known_to_native"] else ""
        lines.append(f"| {name}{known} | {count} | {cells([views[view][name] for view in views])} |")
    lines.append(f"| mean over sources | | {cells([got['mean'][view] for view in views])} |")
    return "\n".join(lines)


def five_networks() -> str:
    """Five networks after the same time of training."""
    path = RESULTS / "five-networks.csv"
    if not path.exists():
        return "Not measured yet: `python scripts/five_networks.py DATA`."
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    lines = [
        "| network | 140k faces: AUC, accuracy | after changes: AUC | all sources: AUC, accuracy | parameters "
        "| multiply-adds | faces a second | trained, passes |",
        "|---|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for row in rows:
        cells = [f"{number(float(row[f'auc{of}']))}, {percent(float(row[f'accuracy{of}']))}" for of in ("_140k", "")]
        cells.insert(1, number(float(row["robust_auc"])))
        cells += [f"{int(row['parameters']) / 1e6:.2f} M", f"{int(row['multiply_adds']) / 1e6:.0f} M"]
        cells += [row["faces_per_second"], f"{row['training_seconds']} s, {row['epochs']}"]
        lines.append(f"| `{row['network']}` | {' | '.join(cells)} |")
    one = rows[0]
    return "\n".join(
        [
            *lines,
            "",
            f"{one['minutes']} minutes each on {one['hardware']}; {one['train']} pictures to train on, {one['valid']} "
            f"to choose by, {one['test']} to test; realface {one['realface']}, torch {one['torch']}, "
            f"onnxruntime {one['onnxruntime']}, commit {', '.join(dict.fromkeys(row['commit'] for row in rows))}.",
        ]
    )


TABLES: dict[str, Callable[[], str]] = {
    "compared": compared,
    "by-source": by_source,
    "laundering": laundering,
    "speed": speed,
    "faster": faster,
    "install": install,
    "data": counted,
    "shortcuts": shortcuts,
    "found": found,
    "three-ways": three_ways,
    "heatmap": heatmap,
    "cascade": cascade,
    **{name: partial(ablation, name) for name in ("versions", "head", "features", "windows", "weight", "fusion")},
    "left-out": left_out,
    "five-networks": five_networks,
}


def rendered(document: str) -> str:
    """The document's text with every marked table and figure made anew from the results."""

    def table(match: re.Match[str]) -> str:
        return f"{match[1]}\n{TABLES[match[2]]()}\n{match[3]}"

    text = (ROOT / document).read_text(encoding="utf-8")
    text = re.sub(r"(<!-- table: ([\w-]+) -->)\n.*?(<!-- end -->)", table, text, flags=re.DOTALL)
    return inline_figures.rendered(text, RESULTS)


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
