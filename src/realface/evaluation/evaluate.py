"""`realface evaluate`: detectors on labelled pictures, from pictures to figures."""

import hashlib
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np

from ..data import SPLITS, Sample, read_data
from ..data.crops import program
from ..data.layouts import content_hash, fingerprints
from ..degrade import AS_IT_IS, GRID
from ..detector import Detector
from ..errors import DataError, ImageError
from ..paths import alone_in, make_folder
from ..progress import track
from . import rows as kept_rows
from .commands import BATCH, Command
from .compare import differences
from .grid import grid_figures
from .metrics import classes, drawn, grouped, grouped_by_size, of_answers, operating_points
from .origin import origin
from .rows import Picture, Row, answers
from .scores import look

Judge = Detector | Command
TIMED = 32
"""Pictures over which the time of one is measured."""
LOST = {"unreadable": "could not be read", "faceless": "show no face", "missing": "got no usable answer"}
"""Why pictures have no answer, see `measured`, and how that is told."""


@dataclass(frozen=True)
class Evaluation:
    """Figures, and what they are made of.

    Attributes:
        result: plain dictionaries, lists, strings and numbers. machine, versions, commit: see
            `realface.evaluation.origin`; split, sources, every: which pictures; data_sha256: of them; pictures: how
            many; detectors: `measured` of each; comparison: of the first with each of the others, see
            `realface.evaluation.compare.differences`.
        rows: those of each detector.
    """

    result: dict[str, Any]
    rows: list[list[Row]]


def evaluate(
    judges: Sequence[Judge],
    data: Path,
    split: str,
    sources: Sequence[str] = (),
    *,
    grid: bool = False,
    every: int = 1,
    out: Path | None = None,
    resume: bool = False,
) -> Evaluation:
    """Measure detectors on one split of a data set ("all": on every picture).

    Args:
        judges: detectors; those that are files are quickest with `threads=1`, for pictures are spread over the cores.
        data: a data set in one of the layouts of `realface.data`.
        split: train, valid, test or all.
        sources: only pictures of these; none given, of all.
        every: only one in so many of the pictures of each class of a source, by their order.
        grid: judge every face in each cell of the laundering grid too; commands judge pictures only as they are.
        out: a folder that keeps each score as soon as it is known.
        resume: take what `out` has, and find out only the rest.

    Raises:
        DataError: there is no such split or source, nothing in it, nothing that could be read, or `out` cannot be used.
        DetectorError: a detector fails.
    """
    ids = [judge.id.sha256 for judge in judges]
    if len(set(ids)) < len(ids):
        raise DataError("the same detector is named twice; name each once")
    samples = thinned(choose(data, split, sources), every)
    with kept_in(out, resume) as store:
        lines = fingerprints(track(samples, "reading"))
        pictures = [
            Picture(str(s.path), text.split()[0], s.label, s.source, (s.generator or s.source) * s.label)
            for s, text in zip(samples, lines, strict=True)
        ]
        known = {(row.detector, row.path): row for row in (kept_rows.read(store) if store else [])}
        if known.keys() - {(who, picture.path) for who in ids for picture in pictures}:
            raise DataError(
                f"{out} holds scores of detectors or pictures that are not asked for now; "
                "ask for all of them again, or choose another --out"
            )
        told: list[list[Row]] = []
        for judge in judges:
            cells = list(GRID) if grid and isinstance(judge, Detector) else [AS_IT_IS]
            of_judge = (known.get((judge.id.sha256, p.path)) for p in pictures)
            done = [
                row if row and row.answers(p, judge.id.sha256, cells) else None
                for row, p in zip(of_judge, pictures, strict=True)
            ]
            todo = [p for row, p in zip(done, pictures, strict=True) if row is None]
            fresh = _judged(judge, todo, cells, f"{judge.id.name} on {split}", answered=any(done))
            new = iter(list(_kept(fresh, store) if store else fresh))
            told.append([row or next(new) for row in done])
        if store:  # in order, once each
            kept_rows.write(store, (row for rows in told for row in rows))
    facts = {"split": split, "sources": sorted(set(sources)), "every": every, "data_sha256": content_hash(lines)}
    return summary([_described(judge, pictures) for judge in judges], told, facts)


def _kept(fresh: Iterator[Row], store: Path) -> Iterator[Row]:
    """Rows passed on, each once it is in the file."""
    try:
        with store.open("a", encoding="ascii", newline="\n") as file:
            for row in fresh:
                file.write(kept_rows.line(row))
                file.flush()
                yield row
    except OSError as error:
        raise DataError(f"{store} cannot be written to: {error.strerror}") from None


def choose(data: Path, split: str, sources: Sequence[str]) -> list[Sample]:
    """The pictures of a split and of some sources, all where none are named; DataError where there are none."""
    if split not in (*SPLITS, "all"):
        raise DataError(f"split must be one of {', '.join(SPLITS)} or all, not {split!r}")
    samples = [s for s in read_data(data) if split in (s.split, "all")]
    if not samples:
        raise DataError(f"{data} has no pictures in the {split} split; choose another --split")
    known = {s.source for s in samples}
    for source in sources:
        if source not in known:
            names = ", ".join(sorted(known - {""})) or "none that has a name"
            raise DataError(f"there is no source {source!r} in the {split} split; there are: {names}")
    return [s for s in samples if not sources or s.source in sources]


def thinned(samples: Sequence[Sample], every: int) -> list[Sample]:
    """One in so many of each class of a source: of a folder with pairs, one in two of all could be all of one class."""
    numbers: defaultdict[tuple[str, int], Iterator[int]] = defaultdict(count)
    return [sample for sample in samples if next(numbers[sample.source, sample.label]) % every == 0]


@contextmanager
def kept_in(out: Path | None, resume: bool) -> Iterator[Path | None]:
    """The file of scores in a folder, this run's alone, with the whole rows it has already, none of a new one.

    Raises:
        DataError: it holds an evaluation and `resume` does not say so, or the reverse; another run writes it; or it
            cannot be written to.
    """
    if out is None:
        yield None
        return
    path = out / kept_rows.FILE
    if path.exists() and path.stat().st_size and not resume:
        raise DataError(f"{out} holds an evaluation already; add --resume to go on with it, or choose another --out")
    if resume and not path.exists():
        raise DataError(f"{out} holds no evaluation to go on with; leave --resume away to begin one")
    make_folder(out)
    with alone_in(out):
        kept_rows.write(path, kept_rows.read(path) if resume else [])  # a line that was cut off goes
        yield path


def summary(described: Sequence[dict[str, Any]], told: list[list[Row]], facts: dict[str, Any]) -> Evaluation:
    """All figures of detectors that judged the same pictures: what is known of each, its rows, and of the pictures."""
    names: list[str] = []
    for known in described:
        name = known["detector"]["name"]
        names.append(name if name not in names else f"{name} ({known['detector']['sha256'][:8]})")
    result = {
        **origin("scikit-learn"),
        **facts,
        "pictures": len(told[0]),
        "detectors": [
            {"name": name, **known, **measured(rows)} for name, known, rows in zip(names, described, told, strict=True)
        ],
        "comparison": [
            {"first": names[0], "other": name} | differences(told[0], rows)
            for name, rows in zip(names[1:], told[1:], strict=True)
        ],
    }
    return Evaluation(result, told)


def measured(rows: Sequence[Row]) -> dict[str, Any]:
    """The figures of one detector.

    Returns:
        unreadable, faceless, missing: paths without an answer (see `Row.status`); unanswered: of each class, how many
        of how many those are; figures, by_size, by_generator: `of_answers` of all and of each source, size of the face
        and generator, that of fakes only; worst_generator: that with the highest APCER, None where all are alike;
        classes, operating_points: see `realface.evaluation.metrics`; grid: where it was judged, `grid_figures`.

    Raises:
        DataError: there is not one answer.
    """
    got = answers(rows)
    if not got.rows:
        raise DataError("none of the pictures could be read and judged")
    three = got.labels, got.fake, got.called
    spread = drawn(*three)
    made = grouped(*three, np.where(got.labels == 1, got.generators, ""))  # whatever a row edited by hand says
    rates = {name: row["apcer"] for name, row in made.items()}
    paths = {status: [row.path for row in rows if row.status == status] for status in ("error", "no_face", "missing")}
    totals = {name: [row.status != "ok" for row in rows if row.label == label] for name, label in _LABELS}
    return {
        "unreadable": paths["error"],
        "faceless": paths["no_face"],
        "missing": paths["missing"],
        "unanswered": {name: [sum(lost), len(lost)] for name, lost in totals.items()},
        "figures": {"all": of_answers(*three, spread)} | grouped(*three, got.sources),
        "by_size": grouped_by_size(*three, got.sides),
        "by_generator": made,
        "worst_generator": max(made, key=lambda name: rates[name]) if len(set(rates.values())) > 1 else None,
        "classes": classes(*three, spread),
        "operating_points": operating_points(got.labels, got.fake, spread),
        **({"grid": grid_figures(rows)} if all(set(GRID) <= row.fake.keys() for row in got.rows) else {}),
    }


def _judged(
    judge: Judge, pictures: Sequence[Picture], cells: Sequence[str], label: str, *, answered: bool
) -> Iterator[Row]:
    if isinstance(judge, Command):
        batches = [pictures[i : i + BATCH] for i in range(0, len(pictures), BATCH)]
        for batch in track(batches, f"{label}, batches"):
            for picture, said in zip(batch, judge.ask([p.path for p in batch], must=not answered), strict=True):
                yield Row(**vars(picture), detector=judge.id.sha256, code=program(), **said)
            answered = True
        return
    paths = [Path(p.path) for p in pictures]
    # by the picture, so that it gets the same noise whatever else is measured
    seeds = [tuple(hashlib.sha256(p.sha256.encode()).digest()[:8]) for p in pictures]
    answer = judge.card.thresholds.answer
    for picture, seen in zip(pictures, look(judge, paths, label, [GRID[cell] for cell in cells], seeds), strict=True):
        who = vars(picture) | {"detector": judge.id.sha256, "code": program()}
        if isinstance(seen, str):
            yield Row(**who, status=seen if seen == "no_face" else "error")
            continue
        fakes = dict(zip(cells, judge.probabilities(seen.logits).tolist(), strict=True))
        judged = dict(zip(cells, seen.judged.tolist(), strict=True))
        called: dict[str, str] = {cell: answer(fakes[cell]) if judged[cell] else "inconclusive" for cell in cells}
        yield Row(**who, status="ok", side=seen.side, fake=fakes, called=called)


def _described(judge: Judge, pictures: Sequence[Picture]) -> dict[str, Any]:
    """What is said of a detector beside its answers: who it is, its thresholds, its speed."""
    if isinstance(judge, Command):
        return {"detector": vars(judge.id), "thresholds": None, "policy": None, "seconds": None}
    seconds = []
    for picture in pictures[:: max(1, len(pictures) // TIMED)][:TIMED]:
        start = time.perf_counter()
        try:
            judge.check(picture.path)
        except ImageError:
            continue
        seconds.append(time.perf_counter() - start)
    middle, slow = np.quantile(seconds, (0.5, 0.95)).tolist() if seconds else (None, None)
    return {
        "detector": vars(judge.id),
        "thresholds": vars(judge.card.thresholds),
        "policy": vars(judge.card.policy),
        "seconds": {"p50": middle, "p95": slow, "pictures": len(seconds)},
    }


_LABELS = (("real", 0), ("fake", 1))
