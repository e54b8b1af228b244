"""What the choices in the two views and their fusion are worth on sources never seen, one table for each choice.

    python scripts/ablate.py DATA [--table NAME]… [--whole runs/whole] [--native runs/native] [--folds 3]

Uses the cached features of `realface train` and `realface fuse`. Sources are left out in folds and judged as in
leave_one_out.py: fakes found, real people accused. Beside it stands what the same choice, made with every source, is
worth on the valid split. Tables are added to results/ablate.json one by one, so they can be measured in several runs.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import torch
from leave_one_out import HOW, Score, Unseen, arguments, means
from sklearn.metrics import roc_auc_score
from torch.nn.functional import binary_cross_entropy_with_logits

from realface.data.layouts import read_splits
from realface.evaluation.origin import origin
from realface.networks.base import Network
from realface.networks.clip import TAPPED, WIDTH
from realface.networks.two_views import TwoViews
from realface.training import held_out
from realface.training.config import Config
from realface.training.fuse import Native, load_views, native_view, positive_regression
from realface.training.sources import weights

POOLS = ("class token", "mean", "deviation")
L2 = 0.001


@dataclass
class Bench:
    """Everything that is judged, and the heads that are trained already.

    Attributes:
        network, config: the trunk, and how its head is trained.
        rows: features of train and valid, of which the first two views are judged.
        native: what the native view says, by split, once for each version.
    """

    network: TwoViews
    config: Config
    rows: dict[str, held_out.Rows]
    native: dict[str, list[Native]]
    heads: dict[str, Network] = field(default_factory=dict)

    def head(self, left_out: list[str], views: slice = slice(None)) -> Score:
        """The shipped kind of head, trained on some versions of the pictures of all sources but some."""
        key = f"{views} {left_out}"
        if key not in self.heads:
            train, valid = (self.rows[name].without(left_out) for name in ("train", "valid"))
            self.heads[key] = held_out.fit(self.network.whole, train.seen(views), valid, self.config)
        trained = self.heads[key]
        return lambda split, version: held_out.scores(trained, self.rows[split].views[version])


Row = Callable[[Bench, list[str]], Score]  # scores by what has not seen the sources left out


def versions(chosen: slice) -> Row:
    return lambda bench, left_out: bench.head(left_out, chosen)


def linear(
    blocks: tuple[int, ...] = TAPPED, pools: tuple[str, ...] = POOLS, l2: float = L2, spread: float = 0.0
) -> Row:
    """A linear head, by L-BFGS, on some of the features.

    `spread` weighs the variance, over the sources of a class, of their mean score: a head that tells sources of the
    same class apart has learned the sources (after Krueger et al. 2021, "Out-of-Distribution Generalization via Risk
    Extrapolation").
    """
    keep = np.array([[block in blocks and pool in pools for pool in POOLS] for block in TAPPED]).repeat(WIDTH, 1)
    columns = np.flatnonzero(keep)

    def row(bench: Bench, left_out: list[str]) -> Score:
        table = standardised(bench.rows["train"].without(left_out), columns)
        return table.judge(bench, logistic(table, table.weights, l2, spread))

    return row


def robust(bench: Bench, left_out: list[str]) -> Score:
    """A linear head for which the sources it does worst on weigh more (Sagawa et al. 2020, "Distributionally Robust
    Neural Networks for Group Shifts"): four rounds, each source's weight times the exponential of its loss."""
    table = standardised(bench.rows["train"].without(left_out), np.arange(len(TAPPED) * len(POOLS) * WIDTH))
    share = torch.ones(len(table.kinds))
    for _ in range(4):
        weight = table.weights * share[table.groups]
        head = logistic(table, weight / weight.mean(), L2)
        each = binary_cross_entropy_with_logits(table.inputs @ head[:-1] + head[-1], table.labels, reduction="none")
        mean = torch.zeros_like(share).scatter_reduce(0, table.groups, each, "mean", include_self=False)
        share = share * torch.exp(5 * mean)
    return table.judge(bench, head)


@dataclass(frozen=True)
class Table:
    """All views of the pictures that show a face, with some of their features as logistic regression wants them.

    Attributes:
        inputs: (N, F), each with mean 0 and deviation 1.
        labels, weights: (N,), sources weighing as in training.
        groups: (N,), to which source and class each belongs: a row of `kinds`.
        kinds: (G,) the class of each group.
        mean, deviation: (F,), of the features as they were.
        columns: (F,), which of all features these are.
    """

    inputs: torch.Tensor
    labels: torch.Tensor
    weights: torch.Tensor
    groups: torch.Tensor
    kinds: np.ndarray
    mean: torch.Tensor
    deviation: torch.Tensor
    columns: np.ndarray

    def judge(self, bench: Bench, head: torch.Tensor) -> Score:
        def score(split: str, version: int) -> np.ndarray:
            view = torch.tensor(bench.rows[split].views[version][:, self.columns], dtype=torch.float32)
            return np.asarray((view - self.mean) / self.deviation @ head[:-1] + head[-1])

        return score


def standardised(rows: held_out.Rows, columns: np.ndarray) -> Table:
    rows = rows.where(~np.isnan(rows.views[0][:, 0]))
    inputs, views = torch.tensor(np.concatenate(rows.views)[:, columns], dtype=torch.float32), len(rows.views)
    mean, deviation = inputs.mean(0), inputs.std(0) + 1e-6
    labels = torch.from_numpy(rows.labels).float().repeat(views)
    weight = torch.from_numpy(weights(rows.samples, "source")).float().repeat(views)
    kinds, groups = np.unique(np.unique(rows.sources, return_inverse=True)[1] * 2 + rows.labels, return_inverse=True)
    inputs = (inputs - mean) / deviation
    return Table(inputs, labels, weight, torch.from_numpy(groups).repeat(views), kinds % 2, mean, deviation, columns)


def logistic(table: Table, weight: torch.Tensor, l2: float, spread: float = 0.0) -> torch.Tensor:
    """(F + 1,) weights and bias."""
    middles = torch.stack([table.inputs[table.groups == group].mean(0) for group in range(len(table.kinds))])
    head = torch.zeros(table.inputs.shape[1] + 1, requires_grad=True)
    optimizer = torch.optim.LBFGS([head], max_iter=150, history_size=20, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        optimizer.zero_grad()
        value = binary_cross_entropy_with_logits(table.inputs @ head[:-1] + head[-1], table.labels, weight)
        value = value + l2 * head[:-1].square().sum() / 2
        for label in (0, 1):
            value = value + spread * (middles[table.kinds == label] @ head[:-1]).var(correction=0)
        value.backward()
        return value

    optimizer.step(loss)
    return head.detach()


def weighed(weight: float) -> Row:
    """The whole face and so many times the native view."""

    def row(bench: Bench, left_out: list[str]) -> Score:
        whole = bench.head(left_out)
        return lambda split, version: np.asarray(whole(split, version) + weight * mean(bench.native[split][version]))

    return row


def of_native(score: Callable[[Native], np.ndarray]) -> Row:
    """The native view alone, in some way."""
    return lambda bench, left_out: lambda split, version: score(bench.native[split][version])


def mean(native: Native, windows: tuple[int, ...] = tuple(range(9))) -> np.ndarray:
    return np.asarray(native.each[:, windows].mean(1))


def softplus(x: np.ndarray) -> np.ndarray:
    return np.asarray(np.logaddexp(0, x))


def learned(inputs: Callable[[np.ndarray, Native], list[np.ndarray]]) -> Row:
    """A fusion of what `inputs` makes of both views, fitted to the valid split without the sources left out."""

    def row(bench: Bench, left_out: list[str]) -> Score:
        whole = bench.head(left_out)

        def table(split: str, version: int) -> np.ndarray:
            return np.stack(inputs(whole(split, version), bench.native[split][version]), 1)

        valid = bench.rows["valid"]
        x = [table("valid", version) for version in (0, 1)]
        fine = ~np.isin(valid.sources, left_out) & ~np.isnan(x[0]).any(1) & ~np.isnan(x[1]).any(1)
        weight = weights([s for s, keep in zip(valid.samples, fine, strict=True) if keep], "source")
        slopes, bias = positive_regression(
            np.concatenate([of[fine] for of in x]), np.tile(valid.labels[fine], 2), np.tile(weight, 2)
        )
        return lambda split, version: np.asarray(table(split, version) @ slopes + bias)

    return row


CENTRE, CROSS = (4,), (1, 3, 4, 5, 7)  # of the nine windows, row by row
TABLES: dict[str, dict[str, Row]] = {
    "versions": {
        "pictures as they are": versions(slice(0, 1)),
        "one history": versions(slice(1, 2)),
        "as they are and one history": versions(slice(0, 2)),
        "as they are and two histories (shipped before)": versions(slice(0, 3)),
        "these, one under a mask and one edited (shipped)": Bench.head,
    },
    "head": {
        "a hidden layer of 128 (shipped)": Bench.head,
        "linear": linear(),
        "linear, L2 0.0001 instead of 0.001": linear(l2=1e-4),
        "linear, L2 0.01": linear(l2=1e-2),
        "linear, L2 0.1": linear(l2=1e-1),
        "linear, sources told apart less (V-REx, 0.1)": linear(spread=0.1),
        "linear, worst sources weigh more (group DRO)": robust,
    },
    "features": {
        "blocks 5, 6, 7; class token, mean, deviation": linear(),
        **{f"block {block}": linear(blocks=(block,)) for block in TAPPED},
        **{f"{pool} only": linear(pools=(pool,)) for pool in POOLS},
    },
    "windows": {
        "nine windows, mean (shipped)": of_native(mean),
        "the one in the middle": of_native(partial(mean, windows=CENTRE)),
        "five, in a cross": of_native(partial(mean, windows=CROSS)),
        "nine windows, the largest": of_native(lambda native: np.asarray(native.each.max(1))),
        "nine windows, the median": of_native(lambda native: np.median(native.each, 1)),
    },
    "weight": {f"{weight:g}": weighed(weight) for weight in (0, 0.5, 1, 2, 5)},
    "fusion": {
        "both logits": learned(lambda whole, native: [whole, mean(native)]),
        "and the native logit times the logarithm of the face's side": learned(
            lambda whole, native: [whole, mean(native), mean(native) * np.log(native.sides / 128)]
        ),
        "the native view's largest window": learned(lambda whole, native: [whole, native.each.max(1)]),
        "only what the native view finds: softplus of its logit": learned(
            lambda whole, native: [whole, softplus(mean(native))]
        ),
        "softplus of both": learned(lambda whole, native: [softplus(whole), softplus(mean(native))]),
        "the native logit over how far its windows differ": learned(
            lambda whole, native: [whole, mean(native) / (1 + native.each.std(1))]
        ),
    },
}


def measure(bench: Bench, row: Row, folds: int) -> dict[str, float]:
    """Shares found and accused over the sources left out; AUC and accuracy on valid with none left out."""
    unseen = Unseen()
    for left_out in held_out.groups(bench.rows["train"], folds):
        unseen.add(bench.rows, row(bench, left_out), left_out)
    result = means(unseen.shares())
    score, labels = row(bench, []), bench.rows["valid"].labels
    for version, how in enumerate(HOW):
        logits = score("valid", version)
        fine = ~np.isnan(logits)
        result[f"auc_{how}"] = round(float(roc_auc_score(labels[fine], logits[fine])), 4)
        result[f"accuracy_{how}"] = round(float(((logits > 0) == labels)[fine].mean()), 4)
    return result


def main() -> None:
    parser = arguments(str(__doc__), 3, "ablate.json")
    parser.add_argument("--table", action="append", choices=TABLES, help="only this one; can be given several times")
    options = parser.parse_args()
    config, network = load_views(options.whole, options.native)
    rows = held_out.read(read_splits(options.data), network.whole, config)
    native = {
        name: [native_view(network.native, of_split.samples, of_split.lines, config, version) for version in (0, 1)]
        for name, of_split in rows.items()
    }
    bench = Bench(network, config, rows, native)
    for name in options.table or TABLES:
        found = {}
        for what, row in TABLES[name].items():
            found[what] = measure(bench, row, options.folds)
            print(f"{name}: {what}", found[what], flush=True)
        result = json.loads(options.out.read_text()) if options.out.exists() else {"tables": {}}
        result |= {"command": f"python scripts/ablate.py DATA --folds {options.folds}", **origin("torch")}
        result["tables"][name] = found
        options.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
