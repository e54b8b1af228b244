"""What `scan --detector auto` gains and costs: `fast` answers what it is sure of, `best` judges the rest.

    python scripts/cascade.py REPORT [--out results/cascade.json]

REPORT is the folder that the command in `EVALUATE` writes: what both answer for the test split. Faces a second
are worked out from results/speed.json, on one core: milliseconds of `fast` for every face, and of `best` for the share
that is sent on.
"""

from pathlib import Path

from figures import VERDICTS, result

from realface import Detector
from realface.degrade import AS_IT_IS
from realface.evaluation.metrics import of_answers
from realface.evaluation.origin import origin, parser_of, tell
from realface.evaluation.rows import FILE, Row, answers, read

EVALUATE = "realface evaluate DATA --detector fast --detector best --out REPORT"


def figures(rows: dict[str, Row]) -> dict[str, float]:
    """Accuracy at 0.5 and the shares of wrong and of inconclusive verdicts."""
    got = answers(list(rows.values()))
    told = of_answers(got.labels, got.fake, got.called, spread={})
    return {key: round(told[key], 4) for key in VERDICTS}


def main() -> None:
    parser = parser_of(__file__, __doc__)
    parser.add_argument("report", type=Path)
    options = parser.parse_args()
    detectors = {name: Detector.load(name) for name in ("fast", "best")}
    kept = [row for row in read(options.report / FILE) if row.status == "ok"]
    rows = {name: {row.path: row for row in kept if row.detector == of.id.sha256} for name, of in detectors.items()}
    limits = detectors["fast"].card.thresholds
    unsure = {  # but for faces with a reason of their own, where their probability shows that there is one
        path
        for path, row in rows["fast"].items()
        if row.called[AS_IT_IS] == limits.answer(row.fake[AS_IT_IS]) == "inconclusive"
    }
    auto = {path: rows["best" if path in unsure else "fast"][path] for path in rows["fast"]}
    took = result("speed")["milliseconds_on_one_core"]
    sent = len(unsure) / len(auto)
    cost = {"fast": took["fast"], "best": took["best"], "auto": took["fast"] + sent * took["best"]}
    found = {
        "command": f"{EVALUATE}; python scripts/cascade.py REPORT",
        **origin(),
        "detectors": {name: of.id.sha256 for name, of in detectors.items()},
        "pictures": len(auto),
        "sent_on": round(sent, 4),
        "rows": {
            name: figures(of) | {"faces_per_second": round(1000 / cost[name], 1)}
            for name, of in (("fast", rows["fast"]), ("auto", auto), ("best", rows["best"]))
        },
    }
    tell(found, options.out)


if __name__ == "__main__":
    main()
