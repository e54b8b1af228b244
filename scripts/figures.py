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

from realface import Detector
from realface.data import SPLITS, read_data
from realface.evaluation.evaluate import evaluate
from realface.evaluation.grid import grid_table
from realface.evaluation.metrics import markdown, number, percent, table
from realface.evaluation.origin import origin
from realface.rates import ends_of, interval

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "results"
BUNDLED = ("best", "fast")
DETECTORS: dict[str, str | Path] = {
    **{name: name for name in BUNDLED},
    "notebook-small": ROOT / "runs" / "notebook-small" / "detector.onnx",
}
COUNTED = "data"
LAUNDERING, LAUNDERED = "laundering", ("140k-a", "140k-b")
LAUNDERED_EVERY = 2  # one in so many pictures: 19 cells of all of them take `best` over half an hour
VERDICTS = {
    "accuracy": "accuracy",
    "bpcer": "real called fake",
    "apcer": "fake called real",
    "inconclusive": "inconclusive",
}
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
    load = partial(Detector.load, threads=1)
    for name in names or (COUNTED, *DETECTORS, LAUNDERING):
        said: dict[str, Any] = {"command": "python scripts/figures.py measure DATA"}
        if name == COUNTED:
            said |= origin() | {"sources": count(data)}
            (RESULTS / "data.json").write_text(json.dumps(said, indent=1) + "\n")
            continue
        if name == LAUNDERING:
            for judge in BUNDLED:
                got = evaluate([load(judge)], Path(data), "test", LAUNDERED, grid=True, every=LAUNDERED_EVERY).result
                text = json.dumps(said | flat(got), indent=1)
                (RESULTS / f"laundering-{judge}.json").write_text(text + "\n")
            continue
        said |= flat(evaluate([load(DETECTORS[name])], Path(data), "test").result)
        (RESULTS / f"{name}.json").write_text(json.dumps(said, indent=1) + "\n")


def count(data: str) -> dict[str, dict[str, int]]:
    """The pictures of each source, by class and split, such as "real train"."""
    samples = read_data(data)
    kinds = [(word, label, split) for label, word in enumerate(("real", "fake")) for split in SPLITS]
    return {
        source: {
            f"{word} {split}": sum((s.source, s.label, s.split) == (source, label, split) for s in samples)
            for word, label, split in kinds
        }
        for source in sorted({s.source for s in samples})
    }


def flat(measured: dict[str, Any]) -> dict[str, Any]:
    """The result of an evaluation of one detector, with what is said of it at the top."""
    (detector,) = measured["detectors"]
    return {**{key: value for key, value in measured.items() if key not in ("detectors", "comparison")}, **detector}


def result(name: str) -> Any:
    """What a results file holds."""
    return json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))


def five() -> list[dict[str, str]]:
    """What `five_networks.py` measured of each network; empty where it did not run yet."""
    path = RESULTS / "five-networks.csv"
    return list(csv.DictReader(path.read_text(encoding="utf-8").splitlines())) if path.exists() else []


def compared() -> str:
    """The detectors side by side, on the sources the project's bars name."""
    detectors = [result(name)["figures"] for name in DETECTORS]
    sources = {
        "140k-a": "140k faces (a): AUC, accuracy",
        "140k-b": "140k faces (b): AUC, accuracy",
        "lfw": "LFW news photos called fake",
        "pif-fellows": "retouched portraits (pif-fellows) called fake",
        "congress-225x275": "official portraits (congress) called fake",
        "all": "all sources: AUC, accuracy",
    }
    lines = []
    for source, text in sources.items():
        rows = [figures[source] for figures in detectors]
        both = rows[0]["auc"] is not None
        cells = [f"{number(row['auc'])}, {percent(row['accuracy'])}" if both else rate(row, "bpcer") for row in rows]
        lines.append([f"{text} ({rows[0]['real'] + rows[0]['fake']})", *cells])
    unsure = [percent(figures["all"]["inconclusive"]) for figures in detectors]
    lines.append(["all sources: answered inconclusive", *unsure])
    return markdown(["on the test split", *(f"`{name}`" for name in DETECTORS)], lines)


def rate(row: dict[str, Any], key: str) -> str:
    """The BPCER or APCER of a group that has such faces, and Wilson's 95 % interval."""
    ends = interval(key, row)
    assert ends
    return f"{percent(row[key])} ({ends_of(ends)})"


def by_source() -> str:
    """The bundled detector on every source."""
    return table(result("best")["figures"])


def laundering() -> str:
    """The bundled detectors on the 140k faces, recompressed, resized, blurred."""
    parts = []
    for judge in BUNDLED:
        got = result(f"laundering-{judge}")
        counts, worst = got["figures"]["all"], got["grid"]["worst_cell"]
        told = "; ".join(f"{what}: {worst[key] or 'all alike'}" for key, what in WORST.items())
        parts.append(
            f"`{judge}`, {counts['real']} real and {counts['fake']} fake pictures:\n\n{grid_table(got['grid'])}\n\n"
            f"Worst by {told}."
        )
    return "\n\n".join(parts)


def speed() -> str:
    """Every detector against the notebook's path through Keras."""
    got = result("speed")
    heads = ["detector", "one at a time, images/s", "times Keras", "batches of 16, images/s", "times Keras"]
    rows = [
        [name, *(f"{row[b][key]:g}" for b in ("1", "16") for key in ("images_per_second", "ratio_to_keras"))]
        for name, row in got["rows"].items()
    ]
    faces = ", ".join(f"`{name}` {ms:.0f} ms" for name, ms in got["milliseconds_on_one_core"].items())
    versions = ", ".join(f"{name} {version}" for name, version in got["versions"].items())
    return (
        f"{markdown(heads, rows)}\n\nA face that is cut already, on one core: {faces}.\n\n"
        f"`{got['command']}` on {got['machine']}; {versions}."
    )


def faster() -> str:
    """What would make `fast` faster, what it gains, and what it changes."""
    got = result("faster")
    heads = ["way", "network, times as fast", "`check` ms", "times as fast"]
    heads += ["AUC", "accuracy", "other verdicts", "other crops"]
    rows = []
    for name, row in got["rows"].items():
        both = [row[how] for how in ("clean", "degraded")]
        cells = [f"{row['network_times']:.2f}", f"{row['check_ms']:.0f}", f"{row['check_times']:.2f}"]
        cells += [" / ".join(f"{way['auc']:.3f}" for way in both), " / ".join(percent(way["accuracy"]) for way in both)]
        cells += [" / ".join(percent(way["changed"] / way["pictures"]) for way in both), str(row["crops_changed"])]
        rows.append([name, *cells])
    large = []
    for name, row in got["large"].items():
        was, now = row["today"], row["clean"]
        cells = [f"{row['decoded_at_half']}, {now['pictures']}", f"{row['ms']:.0f}, today {row['ms_today']:.0f}"]
        cells += [f"{now['auc']:.3f}, today {was['auc']:.3f}"]
        cells += [f"{percent(now['accuracy'])}, today {percent(was['accuracy'])}", f"{now['changed']}"]
        large.append([name, *cells])
    of_large = markdown(["large JPEG files", "at half, of", "ms", "AUC", "accuracy", "other verdicts"], large)
    return f"{markdown(heads, rows)}\n\n{of_large}\n\n`{got['command']}` on {got['machine']}; commit {got['commit']}."


def install() -> str:
    """What installing the using half costs."""
    got = result("install")
    return (
        f"`pip install .` puts {got['installed_megabytes']:.0f} MB on the disk; a cold\n`realface check photo.jpg`, "
        f"from command to answer, takes {got['cold_check_seconds']:.1f} s (importing NumPy alone "
        f"{got['import_numpy_seconds']:.1f} s, TensorFlow and the notebook's model {got['keras_load_seconds']:.1f} s; "
        f"`{got['command']}`, {got['machine']})."
    )


def counted() -> str:
    """The pictures of every source, by class and split."""
    sources = result("data")["sources"]
    heads = list(next(iter(sources.values())))
    rows = [[name, *(str(row[head] or "") for head in heads)] for name, row in sources.items()]
    total = [f"{sum(row[head] for row in sources.values()):,}" for head in heads]
    return markdown(["source", *heads], [*rows, ["all", *total]])


def shortcuts() -> str:
    """What facts about the files give away of the label, over all pictures and within sources."""
    got = result("audit")["auc"]
    sources = ["all", *sorted({source for row in got.values() for source in row} - {"all"})]
    rows = [[fact, *(f"{row[of]:.2f}" if of in row else "-" for of in sources)] for fact, row in got.items()]
    return markdown(["AUC of", *sources], rows)


def found() -> str:
    """How often the main face of a labelled picture is found."""
    got = result("faces")
    rows = [[name, str(row["pictures"]), percent(row["found"])] for name, row in got["recall"].items()]
    none = got["faceless"]
    turns = [
        f"turned by {degrees} degrees, {percent(row['upright'])} are turned back, and in "
        f"{percent(row['no_face'])} no face is found"
        for degrees, row in got["turned"].items()
    ]
    return (
        f"{markdown(['source', 'pictures', 'main face found'], rows)}\n\n"
        f"Of {got['turned']['180']['pictures']} test pictures with a face, {'; '.join(turns)}. "
        f"Of {none['pictures']:,} generated pictures without a face, {percent(none['found'])} get one. Finding and "
        f"cutting the face in a photograph of 640 x 480 takes {got['milliseconds_640x480']:.0f} ms "
        f"(`{got['command']}`, {got['machine']})."
    )


def three_ways() -> str:
    """The detector on ready-made crops and other pictures, through the face finder, and in large photographs."""
    got = result("faces")
    rows = []
    for what, ways in {"140k crops": got["three_ways"], "with room around the face": got["small_in_frame"]}.items():
        for name, row in ways.items():
            shares = [percent(row[key]) for key in VERDICTS]
            rows.append([f"{what}, {name}", f"{row['real']}, {row['fake']}", number(row["auc"]), *shares])
    return markdown(["test pictures", "real, fake", "AUC", *VERDICTS.values()], rows)


def heatmap() -> str:
    """What hiding a tenth of the crop does to the score of fakes."""
    got = result("heatmap")
    heads = ["a tenth of the crop hidden, filled with", "fall of the logit", "fall of the probability"]
    falls = got["mean_fall"].items()
    rows = [[name, f"{fall['logit']:.2f}", f"{fall['probability']:.3f}"] for name, fall in falls]
    told = f"`{got['command']}`: {got['pictures']} fakes of the test split that are called fake."
    return f"{markdown(heads, rows)}\n\n{told}"


def cascade() -> str:
    """`fast`, `best`, and one after the other."""
    got = result("cascade")
    rows = [
        [f"`{name}`", *(percent(row[key]) for key in VERDICTS), f"{row['faces_per_second']:g}"]
        for name, row in got["rows"].items()
    ]
    sent = f"{got['pictures']:,} pictures with a face; {percent(got['sent_on'])} of them are sent on to `best`."
    return f"{markdown(['detector', *VERDICTS.values(), 'faces a second'], rows)}\n\n{sent} `{got['command']}`."


def both_versions(row: dict[str, float], what: str, form: Callable[[float], str] = percent) -> str:
    """A figure of pictures as they are / after one random history."""
    return f"{form(row[f'{what}_clean'])} / {form(row[f'{what}_degraded'])}"


def ablation(name: str) -> str:
    """What one choice in the two views is worth, on sources left out and on the valid split."""
    columns = {"found": percent, "accused": percent, "auc": number, "accuracy": percent}
    heads = ["", "unseen fakes found", "unseen real people accused", "valid: AUC", "valid: accuracy"]
    tables = result("ablate")["tables"]
    rows = [[what, *(both_versions(row, *column) for column in columns.items())] for what, row in tables[name].items()]
    return markdown(heads, rows)


def left_out() -> str:
    """Every source judged by views that have never seen it, and by their fusion."""
    got = result("leave-one-out")
    views = got["sources"]
    columns = [f"{what}: {view}" for what in ("fakes found", "real people accused") for view in views]

    def cells(rows: list[dict[str, float]]) -> list[str]:
        return [
            both_versions(row, what) if f"{what}_clean" in row else "-" for what in ("found", "accused") for row in rows
        ]

    rows = []
    for name, row in views["fused"].items():
        count = row.get("found_pictures", 0) + row.get("accused_pictures", 0)
        known = " (known to the native view)" if name in got["known_to_native"] else ""
        rows.append([f"{name}{known}", str(count), *cells([views[view][name] for view in views])])
    rows.append(["mean over sources", "", *cells([got["mean"][view] for view in views])])
    return markdown(["left out", "pictures", *columns], rows)


def five_networks() -> str:
    """Five networks after the same time of training."""
    rows = five()
    if not rows:
        return "Not measured yet: `python scripts/five_networks.py DATA`."
    heads = ["network", "140k faces: AUC, accuracy", "after changes: AUC", "all sources: AUC, accuracy"]
    heads += ["parameters", "multiply-adds", "faces a second", "trained, passes"]
    lines = []
    for row in rows:
        cells = [f"{number(float(row[f'auc{of}']))}, {percent(float(row[f'accuracy{of}']))}" for of in ("_140k", "")]
        cells.insert(1, number(float(row["robust_auc"])))
        cells += [f"{int(row['parameters']) / 1e6:.2f} M", f"{int(row['multiply_adds']) / 1e6:.0f} M"]
        cells += [row["faces_per_second"], f"{row['training_seconds']} s, {row['epochs']}"]
        lines.append([f"`{row['network']}`", *cells])
    one = rows[0]
    return (
        f"{markdown(heads, lines)}\n\n"
        f"{one['minutes']} minutes each on {one['hardware']}; {one['train']} pictures to train on, {one['valid']} "
        f"to choose by, {one['test']} to test; realface {one['realface']}, torch {one['torch']}, "
        f"onnxruntime {one['onnxruntime']}, commit {', '.join(dict.fromkeys(row['commit'] for row in rows))}."
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

    def made(match: re.Match[str]) -> str:
        return f"{match[1]}\n{TABLES[match[2]]()}\n{match[3]}"

    text = (ROOT / document).read_text(encoding="utf-8")
    text = re.sub(r"(<!-- table: ([\w-]+) -->)\n.*?(<!-- end -->)", made, text, flags=re.DOTALL)
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
