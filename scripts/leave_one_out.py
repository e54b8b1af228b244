"""How each view and their fusion do on sources they have never seen: leave each out, judge it.

    python scripts/leave_one_out.py DATA [--whole runs/whole] [--native runs/native] [--folds 6] [--out FILE]

Uses the cached features of `realface train` and `realface fuse` (computing them where they are missing). For every
group of sources of the train split (--folds groups; 0: each by itself, which is slower and easier) a head and a fusion
are fitted to all others, as `train` and `fuse` do it, and the train and valid pictures of the sources left out are
judged, as they are and after one random history. Fakes count as found over the score that
calls 5 % of the real faces left out fake (sources weighing by the square root of their size), real ones as accused over
the score that does so for 1 % of the other sources' real validation faces, both versions together, as a shipped
threshold would be set. The native view is one network throughout; of the fakes of this data set it was trained on those
of its `sources` only, marked as known to it.
"""

import argparse
import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from figures import RESULTS

from realface.data.layouts import read_splits
from realface.evaluation.origin import origin, result_file
from realface.training import held_out
from realface.training.fuse import VERSIONS, Views, both_views, fit_fusion, known_to, load_views

FOUND_AT, ACCUSED_AT = 0.05, 0.01
VIEWS = ("whole", "native", "fused")
HOW = ("clean", "degraded")
Result = dict[str, float | int]
Score = Callable[[str, int], np.ndarray]  # split, version -> (N,) logits


@dataclass
class Unseen:
    """What one view says of pictures whose source it has not seen, gathered over the groups left out.

    Attributes:
        rows: source, label, version and score of each picture; whether the score is over that group's threshold for
            accusing.
    """

    rows: list[tuple[str, int, int, float, bool]] = field(default_factory=list)

    def add(self, splits: dict[str, held_out.Rows], score: Score, left_out: list[str]) -> None:
        valid = splits["valid"]
        others = ~np.isin(valid.sources, left_out) & (valid.labels == 0)
        reals = np.concatenate([score("valid", version)[others] for version in (0, 1)])
        accused_from = np.nanquantile(reals, 1 - ACCUSED_AT)
        for split, of_split in splits.items():
            for version in (0, 1):
                for sample, logit in zip(of_split.samples, score(split, version), strict=True):
                    if sample.source in left_out and not np.isnan(logit):
                        row = (sample.source, sample.label, version, float(logit), bool(logit > accused_from))
                        self.rows.append(row)

    def shares(self) -> dict[str, Result]:
        """Found and accused, by source."""
        found_from = [self._found_from(version) for version in (0, 1)]
        results: dict[str, Result] = {}
        for source, label, version in sorted({row[:3] for row in self.rows}):
            these = [row for row in self.rows if row[:3] == (source, label, version)]
            what = "found" if label else "accused"
            over = [row[3] > found_from[version] if label else row[4] for row in these]
            result = results.setdefault(source, {})
            result[f"{what}_{HOW[version]}"] = round(float(np.mean(over)), 4)
            result[f"{what}_pictures"] = len(these)
        return results

    def _found_from(self, version: int) -> float:
        reals = [(row[3], row[0]) for row in self.rows if row[1] == 0 and row[2] == version]
        scores = np.array([score for score, _ in reals])
        sizes = Counter(source for _, source in reals)
        weight = np.array([sizes[source] ** -0.5 for _, source in reals])
        order = np.argsort(-scores)
        share = np.cumsum(weight[order]) / weight.sum()
        return float(scores[order][np.searchsorted(share, FOUND_AT)])


def means(sources: dict[str, Result]) -> dict[str, float]:
    """Each share, as the mean over the sources that have it."""
    shares = [f"{name}_{how}" for name in ("found", "accused") for how in HOW]
    return {
        share: round(float(np.mean([row[share] for row in sources.values() if share in row])), 4) for share in shares
    }


def scores_of(
    views: dict[str, Views], features: dict[str, held_out.Rows], head: held_out.Head, known: set[str]
) -> dict[str, Score]:
    """How each view and their fusion score pictures, none having seen the sources left out."""
    left_out, trained = head

    def whole(split: str, version: int) -> np.ndarray:
        return held_out.scores(trained, features[split].views[version])

    def native(split: str, version: int) -> np.ndarray:
        return np.asarray(views[split].native[version].each.mean(1))

    def fused(split: str, version: int) -> np.ndarray:
        return np.asarray(views[split].inputs(version, whole(split, version)) @ slopes + bias)

    others = [i for i, sample in enumerate(views["valid"].samples) if sample.source not in left_out]
    scored = [whole("valid", version)[others] for version in range(VERSIONS)]
    slopes, bias = fit_fusion(replace(views["valid"].rows(others), whole=scored), known)

    return {"whole": whole, "native": native, "fused": fused}


def arguments(description: str, folds: int, out: str) -> argparse.ArgumentParser:
    """What is asked of whoever leaves sources out of both views."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--whole", type=Path, default=Path("runs/whole"))
    parser.add_argument("--native", type=Path, default=Path("runs/native"))
    parser.add_argument("--folds", type=int, default=folds)
    parser.add_argument("--out", type=result_file, default=RESULTS / out)
    return parser


def main() -> None:
    options = arguments(str(__doc__), 6, "leave-one-out.json").parse_args()
    config, network = load_views(options.whole, options.native)
    features = held_out.read(read_splits(options.data), network.whole, config, VERSIONS)
    heads = list(held_out.folds(features, options.folds, network.whole, config))
    features = {split: rows.seen(slice(VERSIONS)) for split, rows in features.items()}  # that are judged
    views = both_views(features, heads, network, config)
    known = known_to(options.native, views["train"].samples)
    unseen = {name: Unseen() for name in VIEWS}
    for head in heads:
        for name, score in scores_of(views, features, head, known).items():
            unseen[name].add(features, score, head[0])
        print(f"left out: {', '.join(head[0])}", flush=True)
    found = {name: of_view.shares() for name, of_view in unseen.items()}
    result = {
        "command": f"python scripts/leave_one_out.py DATA --folds {options.folds}",
        **origin("torch"),
        "folds": options.folds,
        "known_to_native": sorted(known),
        "mean": {name: means(sources) for name, sources in found.items()},
        "sources": found,
    }
    print(json.dumps(result["mean"], indent=1))
    options.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
