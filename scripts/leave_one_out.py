"""How each view and their fusion do on sources they have never seen: leave each out, judge it.

    python scripts/leave_one_out.py DATA [--whole runs/whole] [--native runs/native] [--folds 6] [--out FILE]

Uses the cached features of `realface train` and `realface fuse` (computing them where they are missing). For every
group of sources of the train split (--folds groups; 0: each by itself, which is slower and easier) a head and a fusion
are fitted to all others, and the train and valid pictures of the sources left out are judged. Fakes count as found over
the score that calls 5 % of the other sources' real validation faces fake, real ones as accused over the score that does
so for 1 %; both as they are and after one random history. The native view is one network throughout: of the fakes of
this data set it was trained on those of its `sources` only, so these are marked as known to it.
"""

import argparse
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np

from realface.training import held_out
from realface.training.fuse import Views, both_views, fit_fusion, known_to, load_views

FOUND_AT, ACCUSED_AT = 0.05, 0.01
VIEWS = ("whole", "native", "fused")
Result = dict[str, float | int | bool]
Score = Callable[[str, int], np.ndarray]  # split, version -> (N,) logits


def judge(views: dict[str, Views], score: Score, left_out: list[str]) -> dict[str, Result]:
    """Found and accused shares of each of some sources by scores that have seen none of them."""
    valid = views["valid"]
    others = ~np.isin([s.source for s in valid.samples], left_out) & (valid.labels == 0)
    reals = np.concatenate([score("valid", version)[others] for version in (0, 1)])
    reals = reals[~np.isnan(reals)]
    results: dict[str, Result] = {source: {} for source in left_out}
    for source, result in results.items():
        for label, name, share in ((1, "found", FOUND_AT), (0, "accused", ACCUSED_AT)):
            threshold = np.quantile(reals, 1 - share)
            for version, how in enumerate(("clean", "degraded")):
                parts = []
                for split, of_split in views.items():
                    these = np.array([s.source == source for s in of_split.samples]) & (of_split.labels == label)
                    parts.append(score(split, version)[these])
                scores = np.concatenate(parts)
                scores = scores[~np.isnan(scores)]
                if len(scores):
                    result[f"{name}_pictures"] = len(scores)
                    result[f"{name}_{how}"] = round(float((scores > threshold).mean()), 4)
    return results


def means(sources: dict[str, Result]) -> dict[str, float]:
    """Each share, as the mean over the sources that have it."""
    shares = [f"{name}_{how}" for name in ("found", "accused") for how in ("clean", "degraded")]
    return {
        share: round(float(np.mean([row[share] for row in sources.values() if share in row])), 4) for share in shares
    }


def leave_out(
    views: dict[str, Views],
    features: dict[str, held_out.Rows],
    head: held_out.Head,
    known: set[str],
) -> dict[str, dict[str, Result]]:
    """For each view and their fusion, what it says of the sources the head has not seen."""
    left_out, weights = head

    def without(of_split: Views) -> Views:
        keep = [i for i, sample in enumerate(of_split.samples) if sample.source not in left_out]
        return of_split.rows(keep)

    slopes, bias = fit_fusion({split: without(of_split) for split, of_split in views.items()}, known)

    def whole(split: str, version: int) -> np.ndarray:
        return held_out.scores(weights, features[split].views[version])

    def native(split: str, version: int) -> np.ndarray:
        return views[split].native[version].each.mean(1)

    def fused(split: str, version: int) -> np.ndarray:
        return views[split].inputs(version, whole(split, version)) @ slopes + bias

    return {name: judge(views, score, left_out) for name, score in zip(VIEWS, (whole, native, fused), strict=True)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--whole", type=Path, default=Path("runs/whole"))
    parser.add_argument("--native", type=Path, default=Path("runs/native"))
    parser.add_argument("--folds", type=int, default=6)
    parser.add_argument("--l2", type=float, default=held_out.L2)
    parser.add_argument("--out", type=Path, default=Path("results/leave-one-out.json"))
    options = parser.parse_args()
    config, network = load_views(options.whole, options.native)
    raw = held_out.read(options.data, network.whole, config)
    features = held_out.standardised(raw)
    heads = list(held_out.folds(features["train"], options.folds, options.l2))
    views = both_views(raw, heads, network, config)
    known = known_to(options.native, views["train"].samples)
    found: dict[str, dict[str, Result]] = {name: {} for name in VIEWS}
    for head in heads:
        for name, some in leave_out(views, features, head, known).items():
            found[name] |= some
        print(f"left out: {', '.join(head[0])}", flush=True)
    result = {
        "command": f"python scripts/leave_one_out.py DATA --folds {options.folds} --l2 {options.l2}",
        "folds": options.folds,
        "l2": options.l2,
        "known_to_native": sorted(known),
        "mean": {name: means(sources) for name, sources in found.items()},
        "sources": {name: dict(sorted(sources.items())) for name, sources in found.items()},
    }
    print(json.dumps(result["mean"], indent=1))
    options.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
