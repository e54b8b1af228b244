"""What `scan --detector auto` gains and costs: `fast` answers what it is sure of, `best` judges the rest.

    python scripts/cascade.py REPORT [--out results/cascade.json]

REPORT is the folder that the command in `EVALUATE` writes: what both answer for the test split. Faces a second
are worked out from results/speed.json, on one core: milliseconds of `fast` for every face, and of `best` for the share
that is sent on.
"""

import argparse
import json
from pathlib import Path

from figures import RESULTS

from realface import Detector
from realface.evaluation.origin import origin, result_file
from realface.evaluation.rows import FILE

EVALUATE = "realface evaluate DATA --detector fast --detector best --out REPORT"
Answer = tuple[int, float, str]  # label, probability of fake, verdict


def figures(answers: list[Answer]) -> dict[str, float]:
    """Accuracy at 0.5 and the shares of wrong and of inconclusive verdicts."""
    real, fake = ([called for label, _, called in answers if label == which] for which in (0, 1))
    return {
        "accuracy": round(sum((p >= 0.5) == bool(label) for label, p, _ in answers) / len(answers), 4),
        "bpcer": round(real.count("fake") / len(real), 4),
        "apcer": round(fake.count("real") / len(fake), 4),
        "inconclusive": round((real + fake).count("inconclusive") / len(answers), 4),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("report", type=Path)
    parser.add_argument("--out", type=result_file, default=RESULTS / "cascade.json")
    options = parser.parse_args()
    names = {Detector.load(name).id.sha256: name for name in ("fast", "best")}
    limits = Detector.load("fast").card.thresholds
    rows: dict[str, dict[str, Answer]] = {"fast": {}, "best": {}}
    for line in (options.report / FILE).read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        if row["status"] == "ok":
            [fake], [called] = row["fake"].values(), row["called"].values()
            rows[names[row["detector"]]][row["path"]] = (row["label"], fake, called)
    unsure = {
        path
        for path, (_, fake, called) in rows["fast"].items()
        if called == "inconclusive" and limits.real_below <= fake < limits.fake_from
    }
    auto = {path: rows["best" if path in unsure else "fast"][path] for path in rows["fast"]}
    took = json.loads((RESULTS / "speed.json").read_text())["milliseconds_on_one_core"]
    sent = len(unsure) / len(auto)
    cost = {"fast": took["fast"], "best": took["best"], "auto": took["fast"] + sent * took["best"]}
    result = {
        "command": f"{EVALUATE}; python scripts/cascade.py REPORT",
        **origin(),
        "detectors": {name: sha256 for sha256, name in names.items()},
        "pictures": len(auto),
        "sent_on": round(sent, 4),
        "rows": {
            name: figures(list(answers.values())) | {"faces_per_second": round(1000 / cost[name], 1)}
            for name, answers in (("fast", rows["fast"]), ("auto", auto), ("best", rows["best"]))
        },
    }
    options.out.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
