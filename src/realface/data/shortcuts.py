"""Shortcuts: how well facts about the file, and not the face, tell real pictures from fake ones."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.model_selection import StratifiedGroupKFold, cross_val_score

from ..images import FORMATS
from ..progress import track
from .facts import Facts
from .layouts import NAMES

GIVES_AWAY, LEANS, FINE, TOO_FEW = "gives the label away", "leans", "fine", "too few pictures to say"
FROM = {GIVES_AWAY: 0.9, LEANS: 0.7, FINE: 0.0}
"""Each verdict with the AUC, to two decimals, that it begins at."""
LEAST = 30
"""Pictures of each class, copies counted once, under which nothing is said: chance alone would reach an AUC of 0.7 too
often."""
MOST = 20_000
"""Pictures measured; of more, a random sample is taken."""


@dataclass(frozen=True)
class Fact:
    """One kind of fact: the numbers it is predicted from and, if it takes few values, their words."""

    numbers: Callable[[Facts], Iterable[float]]
    words: Callable[[Facts], str] | None = None


FACTS = {
    "format": Fact(lambda f: [f.header.format == name for name in FORMATS], lambda f: f.header.format),
    "dimensions": Fact(lambda f: [f.header.width, f.header.height], lambda f: f"{f.header.width}x{f.header.height}"),
    "aspect": Fact(lambda f: [f.header.width / f.header.height], lambda f: f"{f.header.width / f.header.height:.2f}"),
    "chroma": Fact(
        lambda f: [f.header.subsampling == name for name in ("4:4:4", "4:2:2", "4:2:0")],
        lambda f: f.header.subsampling or "not said",
    ),
    "quantisation": Fact(lambda f: [f.header.luma, f.header.chroma], lambda f: f"{f.header.luma}/{f.header.chroma}"),
    "progressive": Fact(lambda f: [f.header.progressive], lambda f: "progressive" if f.header.progressive else "not"),
    "metadata": Fact(
        lambda f: [f.header.exif, f.header.icc, f.header.xmp],
        lambda f: "+".join(name for name in ("exif", "icc", "xmp") if getattr(f.header, name)) or "none",
    ),
    "file size": Fact(lambda f: [f.bytes]),
    "mean colour": Fact(lambda f: [*f.colour, f.colourfulness]),
    "spectrum": Fact(lambda f: f.spectrum),
}
FILE_FACTS = tuple(name for name in FACTS if name not in ("mean colour", "spectrum"))
TOGETHER = {"file facts together": FILE_FACTS, "all facts together": tuple(FACTS)}


@dataclass(frozen=True)
class Shortcut:
    """What one fact gives away of the label.

    Attributes:
        source: the source it was measured in, "" for all pictures.
        fact: a name of FACTS or TOGETHER.
        auc: cross-validated; None where there are too few pictures.
        verdict: GIVES_AWAY, LEANS, FINE or TOO_FEW.
        values: the commonest value of each class and its share, where the fact takes few values.
    """

    source: str
    fact: str
    auc: float | None
    verdict: str
    values: str = ""

    def __str__(self) -> str:
        auc = "" if self.auc is None else f" (AUC {self.auc:.2f})"
        return f"{self.fact}: {self.verdict}{auc}" + (f"; {self.values}" if self.values else "")


def shortcuts(facts: Sequence[Facts], labels: np.ndarray, sources: np.ndarray, groups: np.ndarray) -> list[Shortcut]:
    """Measure every fact alone, the file's together and all together: in all pictures, and in sources of both classes.

    Each is the mean AUC over five folds of small gradient-boosted trees that are given nothing else.

    Args:
        facts: of N pictures.
        labels: (N,) int, 0 real, 1 fake.
        sources: (N,) str; "" is no source of its own.
        groups: (N,) int, equal for copies of a picture: they are never on both sides of a fold.
    """
    columns = {name: np.array([list(fact.numbers(f)) for f in facts], np.float32) for name, fact in FACTS.items()}
    columns |= {name: np.hstack([columns[part] for part in parts]) for name, parts in TOGETHER.items()}
    both = set(sources[labels == 0].tolist()) & set(sources[labels == 1].tolist())
    found = []
    for source in track(["", *sorted(both - {""})], "looking for shortcuts"):
        rows = np.flatnonzero(sources == source) if source else np.arange(len(labels))
        if len(rows) > MOST:
            rows = np.sort(np.random.default_rng(0).choice(rows, MOST, replace=False))
        if min(len(set(groups[rows][labels[rows] == label])) for label in (0, 1)) < LEAST:
            found.append(Shortcut(source, "all facts together", None, TOO_FEW))
            continue
        parts = StratifiedGroupKFold(5, shuffle=True, random_state=0).split(rows, labels[rows], groups[rows])
        # groups of copies can leave a fold with one class
        folds = [fold for fold in parts if all(len(set(labels[rows[part]])) == 2 for part in fold)]
        for name, values in columns.items():
            auc = _auc(values[rows], labels[rows], folds)
            verdict = next(verdict for verdict, least in FROM.items() if round(auc, 2) >= least)
            words = FACTS[name].words if name in FACTS and verdict != FINE else None
            told = _commonest([words(facts[row]) for row in rows.tolist()], labels[rows]) if words else ""
            found.append(Shortcut(source, name, auc, verdict, told))
    return found


def _auc(values: np.ndarray, labels: np.ndarray, folds: list[tuple[np.ndarray, np.ndarray]]) -> float:
    if not folds or (values == values[0]).all():
        return 0.5
    trees = HistGradientBoostingClassifier(
        max_iter=50, max_leaf_nodes=8, min_samples_leaf=10, early_stopping=False, random_state=0
    )
    return float(cross_val_score(trees, values, labels, cv=folds, scoring="roc_auc").mean())


def _commonest(words: list[str], labels: np.ndarray) -> str:
    parts = []
    for label, name in enumerate(NAMES):
        (word, count), *_ = Counter(w for w, own in zip(words, labels, strict=True) if own == label).most_common(1)
        parts.append(f"{name} {word} ({count / (labels == label).sum():.0%})")
    return ", ".join(parts)
