"""What `realface data audit` finds in a data set, as the figures of docs/data.md.

    python scripts/audited.py DATA [--out results/audit.json]

Which facts of the files give the label away, over all pictures and within each source that has enough of both classes;
how many pictures are near copies of others, and across which splits.
"""

import argparse
import json
from typing import Any

from figures import RESULTS

from realface.data.audit import Audit, audit
from realface.data.fix import kept_rows
from realface.evaluation.origin import origin, result_file


def told(found: Audit) -> dict[str, Any]:
    """The figures of an audit; none of its paths."""
    facts: dict[str, dict[str, float]] = {}
    for shortcut in found.shortcuts:
        if shortcut.auc is not None:
            facts.setdefault(shortcut.fact, {})[shortcut.source or "all"] = round(shortcut.auc, 4)
    near = [
        {"splits": group.splits, "sources": {found.samples[row].source for row in group.rows}} for group in found.near
    ]
    return {
        "pictures": len(found.samples),
        "unreadable": len(found.unreadable),
        "sources": len({sample.source for sample in found.samples}),
        "one_class": {
            "sources": len(found.one_class),
            "share": sum(sample.source in found.one_class for sample in found.samples) / len(found.samples),
        },
        "exact_groups": len(found.exact),
        "near_groups": len(near),
        "near_sources": sorted({source for group in near for source in group["sources"]}),
        "near_across_splits": sum(len(group["splits"]) > 1 for group in near),
        "near_in_train_and_test": sum(group["splits"] >= {"train", "test"} for group in near),
        "kept_by_fix": len(kept_rows(found)),
        "auc": facts,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data")
    parser.add_argument("--out", type=result_file, default=RESULTS / "audit.json")
    options = parser.parse_args()
    found = told(audit(options.data))
    result = {"command": "python scripts/audited.py DATA", **origin("scikit-learn")}
    options.out.write_text(json.dumps(result | found, indent=1) + "\n")


if __name__ == "__main__":
    main()
