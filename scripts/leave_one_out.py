"""How a linear head on a frozen trunk does on sources it has never seen: leave each out, judge it.

    python scripts/leave_one_out.py DATA [--network clip-b16] [--views 2] [--l2 0.001] [--out FILE]

Uses the cached features of `realface train` (computing them where they are missing). For every source of the train
split a head is fitted to all others, and the train and valid pictures of the source are judged, none of which it has
seen; with --folds, groups of sources are left out together, which is quicker and harder. Fakes count as found over the
score that calls 5 % of the other sources' real validation faces fake, real ones as accused over the score that does so
for 1 %; both as they are and after one random history.
"""

import argparse
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch.nn.functional import binary_cross_entropy_with_logits

from realface.data import Sample, read_data
from realface.data.layouts import fingerprints
from realface.networks import build
from realface.training.features import cached_features
from realface.training.sources import weights

FOUND_AT, ACCUSED_AT = 0.05, 0.01
Result = dict[str, float | int]


@dataclass
class Rows:
    """Pictures and one (N, F) float32 table of standardised features for each view of them."""

    samples: list[Sample]
    views: list[torch.Tensor]

    def where(self, keep: np.ndarray) -> "Rows":
        chosen = torch.from_numpy(np.flatnonzero(keep))
        return Rows([self.samples[i] for i in chosen.tolist()], [view[chosen] for view in self.views])

    @property
    def labels(self) -> np.ndarray:
        return np.array([sample.label for sample in self.samples])

    @property
    def sources(self) -> np.ndarray:
        return np.array([sample.source for sample in self.samples])


def read(data: Path, network: str, views: int) -> dict[str, Rows]:
    """The train and valid split, both standardised by the train split, without pictures that show no face."""
    trunk = build(network, pretrained=True, seed=0)
    found = {}
    for split in ("train", "valid"):
        samples = [s for s in read_data(data) if s.split == split]
        lines = fingerprints(samples)
        tables = [
            torch.from_numpy(
                cached_features(trunk, samples, lines, view=v, framing="face", strength=1.0, seed=0, workers=2).astype(
                    np.float32
                )
            )
            for v in range(views if split == "train" else 2)
        ]
        found[split] = Rows(samples, tables).where(~torch.isnan(tables[0][:, 0]).numpy())
    every = torch.cat(found["train"].views)
    mean, deviation = every.mean(0), every.std(0) + 1e-6
    for rows in found.values():
        rows.views = [(view - mean) / deviation for view in rows.views]
    return found


def fit(rows: Rows, l2: float, spread: float) -> torch.Tensor:
    """(F + 1,) weights and bias of logistic regression on all views, by L-BFGS.

    `spread` weighs the variance, over the sources of a class, of their mean score: a head that tells sources of the
    same class apart has learned the sources.
    """
    inputs = torch.cat(rows.views)
    labels = torch.from_numpy(rows.labels).float().repeat(len(rows.views))
    weight = torch.from_numpy(weights(rows.samples, "source")).float().repeat(len(rows.views))
    means = [
        torch.stack(
            [
                torch.cat(
                    [view[torch.from_numpy((rows.sources == source) & (rows.labels == label))] for view in rows.views]
                ).mean(0)
                for source in sorted(set(rows.sources[rows.labels == label].tolist()))
            ]
        )
        for label in ((0, 1) if spread else ())
    ]
    head = torch.zeros(inputs.shape[1] + 1, requires_grad=True)
    optimizer = torch.optim.LBFGS([head], max_iter=150, history_size=20, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        optimizer.zero_grad()
        value = binary_cross_entropy_with_logits(inputs @ head[:-1] + head[-1], labels, weight)
        value = value + l2 * head[:-1].square().sum() / 2
        if means:
            value = value + spread * sum((of_class @ head[:-1]).var(correction=0) for of_class in means)
        value.backward()
        return value

    optimizer.step(loss)
    return head.detach()


def judge(head: torch.Tensor, view: torch.Tensor) -> np.ndarray:
    return (view @ head[:-1] + head[-1]).numpy()


def leave_out(train: Rows, valid: Rows, sources: list[str], l2: float, spread: float) -> dict[str, Result]:
    """Found and accused shares of each of some sources by one head that has seen none of them."""
    head = fit(train.where(~np.isin(train.sources, sources)), l2, spread)
    others = valid.where(~np.isin(valid.sources, sources) & (valid.labels == 0))
    reals = np.concatenate([judge(head, view) for view in others.views[:2]])
    results: dict[str, Result] = {source: {} for source in sources}
    for source, result in results.items():
        for label, name, share in ((1, "found", FOUND_AT), (0, "accused", ACCUSED_AT)):
            threshold = np.quantile(reals, 1 - share)
            parts = [rows.where((rows.sources == source) & (rows.labels == label)) for rows in (train, valid)]
            if count := sum(len(part.samples) for part in parts):
                result[f"{name}_pictures"] = count
                for view, how in enumerate(("clean", "degraded")):
                    scores = np.concatenate([judge(head, part.views[view]) for part in parts])
                    result[f"{name}_{how}"] = round(float((scores > threshold).mean()), 4)
    return results


def means(sources: dict[str, Result]) -> dict[str, float]:
    """Each share, as the mean over the sources that have it."""
    shares = [f"{name}_{how}" for name in ("found", "accused") for how in ("clean", "degraded")]
    return {
        share: round(float(np.mean([row[share] for row in sources.values() if share in row])), 4) for share in shares
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--network", default="clip-b16")
    parser.add_argument("--views", type=int, default=2)
    parser.add_argument("--l2", type=float, default=0.001)
    parser.add_argument("--folds", type=int, default=0, help="leave this many groups of sources out instead of each")
    parser.add_argument("--spread", type=float, default=0.0)
    parser.add_argument("--out", type=Path, default=Path("results/leave-one-out.json"))
    options = parser.parse_args()
    rows = read(options.data, options.network, options.views)
    names = sorted(set(rows["train"].sources.tolist()))
    folds = options.folds or len(names)
    sources: dict[str, Result] = {}
    for fold in range(folds):
        some = leave_out(rows["train"], rows["valid"], names[fold::folds], options.l2, options.spread)
        print(json.dumps(some, indent=1), flush=True)
        sources |= some
    result = {
        "command": f"python scripts/leave_one_out.py DATA --folds {folds} --l2 {options.l2} --spread {options.spread}",
        "network": options.network,
        "views": options.views,
        "l2": options.l2,
        "spread": options.spread,
        "folds": folds,
        "mean": means(sources),
        "sources": dict(sorted(sources.items())),
    }
    print(json.dumps(result["mean"]))
    options.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
