"""Which features of the trunk, and which head on them, judge sources they have never seen best.

    python scripts/ablate_head.py DATA [--whole runs/whole] [--folds 3] [--out results/ablate-head.json]

Leave-one-source-out on cached features, as in leave_one_out.py. Each row keeps some features (blocks 5, 6, 7; class
token, mean and deviation of the patches) or fits another head, and is judged on fakes found at 5 % and real people
accused at 1 % of the other sources' real validation faces: mean over the sources left out, as they are / degraded.
"""

import argparse
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits

from realface.networks import build
from realface.networks.clip import TAPPED, WIDTH
from realface.training import held_out
from realface.training.config import make_config, read_toml
from realface.training.sources import weights

POOLS = ("class token", "mean", "deviation")
Judge = Callable[[torch.Tensor], np.ndarray]
Fit = Callable[[held_out.Rows], Judge]


def columns(blocks: tuple[int, ...] = TAPPED, pools: tuple[str, ...] = POOLS) -> np.ndarray:
    """The features of some blocks and poolings."""
    keep = np.array([[block in blocks and pool in pools for pool in POOLS] for block in TAPPED])
    return np.flatnonzero(keep.repeat(WIDTH, 1))


def linear(rows: held_out.Rows) -> Judge:
    head = held_out.fit(rows)
    return lambda view: held_out.scores(head, view)


def perceptron(rows: held_out.Rows) -> Judge:
    """One hidden layer of 64, dropout 0.5, 8 passes."""
    torch.manual_seed(0)
    inputs, views = torch.cat(rows.views), len(rows.views)
    labels = torch.from_numpy(rows.labels).float().repeat(views)
    weight = torch.from_numpy(weights(rows.samples, "source")).float().repeat(views)
    head = nn.Sequential(nn.Linear(inputs.shape[1], 64), nn.ReLU(), nn.Dropout(0.5), nn.Linear(64, 1))
    optimizer = torch.optim.AdamW(head.parameters(), 1e-3, weight_decay=0.1)
    for _ in range(8):
        for some in torch.randperm(len(inputs)).split(128):
            loss = binary_cross_entropy_with_logits(head(inputs[some]).squeeze(1), labels[some], weight[some])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    head.eval()

    def judge(view: torch.Tensor) -> np.ndarray:
        with torch.inference_mode():
            return np.asarray(head(view).squeeze(1))

    return judge


def robust(rows: held_out.Rows) -> Judge:
    """A linear head for which the sources it does worst on weigh more (Sagawa et al. 2020, "Distributionally Robust
    Neural Networks for Group Shifts"): six rounds, each source's weight times the exponential of its loss."""
    inputs, views = torch.cat(rows.views), len(rows.views)
    labels = torch.from_numpy(rows.labels).float().repeat(views)
    start = torch.from_numpy(weights(rows.samples, "source")).float().repeat(views)
    groups = torch.from_numpy(np.unique(rows.sources, return_inverse=True)[1]).repeat(views) * 2 + labels.long()
    share = torch.ones(int(groups.max()) + 1)
    head = torch.zeros(inputs.shape[1] + 1, requires_grad=True)
    for _ in range(6):
        weight = start * share[groups]
        weight = weight / weight.mean()
        optimizer = torch.optim.LBFGS([head], max_iter=40, history_size=20, line_search_fn="strong_wolfe")

        def closure(weight: torch.Tensor = weight, optimizer: torch.optim.Optimizer = optimizer) -> torch.Tensor:
            optimizer.zero_grad()
            value = binary_cross_entropy_with_logits(inputs @ head[:-1] + head[-1], labels, weight)
            value = value + held_out.L2 * head[:-1].square().sum() / 2
            value.backward()
            return value

        optimizer.step(closure)
        with torch.no_grad():
            each = binary_cross_entropy_with_logits(inputs @ head[:-1] + head[-1], labels, reduction="none")
            mean = torch.zeros_like(share).scatter_reduce(0, groups, each, "mean", include_self=False)
            share = share * torch.exp(5 * mean)
    final = head.detach()
    return lambda view: held_out.scores(final, view)


ROWS: dict[str, tuple[np.ndarray, Fit]] = {
    "blocks 5, 6, 7; class token, mean, deviation; linear": (columns(), linear),
    "block 5": (columns((5,)), linear),
    "block 6": (columns((6,)), linear),
    "block 7": (columns((7,)), linear),
    "class token only": (columns(pools=("class token",)), linear),
    "mean only": (columns(pools=("mean",)), linear),
    "deviation only": (columns(pools=("deviation",)), linear),
    "hidden layer of 64 instead of a linear head": (columns(), perceptron),
    "worst sources weigh more": (columns(), robust),
}


def measure(splits: dict[str, held_out.Rows], fit: Fit, folds: int) -> dict[str, float]:
    """Shares found and accused, mean over the sources left out."""
    names = sorted(set(splits["train"].sources.tolist()))
    shares: dict[str, list[float]] = {}
    for fold in range(folds):
        left_out = names[fold::folds]
        kept = {name: ~np.isin(rows.sources, left_out) for name, rows in splits.items()}
        judge = fit(splits["train"].where(kept["train"]))
        valid = splits["valid"]
        reals = np.concatenate([judge(view)[kept["valid"] & (valid.labels == 0)] for view in valid.views])
        for version, how in enumerate(("clean", "degraded")):
            scores = {name: judge(rows.views[version]) for name, rows in splits.items()}
            for source in left_out:
                for label, what, share in ((1, "found", 0.05), (0, "accused", 0.01)):
                    these = np.concatenate(
                        [scores[n][(rows.sources == source) & (rows.labels == label)] for n, rows in splits.items()]
                    )
                    if len(these):
                        over = float((these > np.quantile(reals, 1 - share)).mean())
                        shares.setdefault(f"{what}_{how}", []).append(over)
    return {name: round(float(np.mean(of)), 4) for name, of in shares.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--whole", type=Path, default=Path("runs/whole"))
    parser.add_argument("--folds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path("results/ablate-head.json"))
    options = parser.parse_args()
    config = make_config(read_toml(options.whole / "config.toml"))
    raw = held_out.read(options.data, build("clip-b16", pretrained=True, seed=config.seed), config)
    splits = {
        name: rows.where(~torch.isnan(rows.views[0][:, 0]).numpy()) for name, rows in held_out.standardised(raw).items()
    }
    found = {}
    for name, (chosen, fit) in ROWS.items():
        some = {split: held_out.Rows(r.samples, [v[:, chosen] for v in r.views]) for split, r in splits.items()}
        found[name] = measure(some, fit, options.folds)
        print(name, found[name], flush=True)
    result = {"command": f"python scripts/ablate_head.py DATA --folds {options.folds}", "rows": found}
    options.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
