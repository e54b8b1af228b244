"""`realface evaluate`: one detector on labelled pictures."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .. import __version__
from ..data import SPLITS, read_data
from ..data.layouts import content_hash, fingerprints
from ..degrade import AS_IT_IS
from ..detector import Detector
from ..errors import DataError
from .grid import grid_figures, score_grid
from .metrics import by_size, by_source
from .scores import score


def evaluate(
    detector: Detector, data: Path, split: str, sources: Sequence[str] = (), *, grid: bool = False, every: int = 1
) -> dict[str, Any]:
    """Measure a detector on one split of a data set ("all": on every picture).

    Args:
        detector: the detector.
        data: a data set in one of the layouts of `realface.data`.
        split: train, valid, test or all.
        sources: only pictures of these; none given, of all.
        every: only one in so many of the pictures, by their order; what is left is as mixed as the whole.
        grid: judge every face in each cell of the laundering grid too.

    Returns:
        detector: name, version, sha256; thresholds; policy; split; sources; data_sha256: of its pictures; realface:
        its version; unreadable, faceless: paths; figures and by_size: by source and by size of the face, see
        `realface.evaluation.metrics.figures`; grid, where asked for: see `realface.evaluation.grid.grid_figures`.

    Raises:
        DataError: there is no such split or source, or nothing in it.
    """
    if split not in (*SPLITS, "all"):
        raise DataError(f"split must be one of {', '.join(SPLITS)} or all, not {split!r}")
    samples = [s for s in read_data(data) if split in (s.split, "all")]
    if not samples:
        raise DataError(f"{data} has no pictures in the {split} split")
    known = {s.source for s in samples}
    for source in sources:
        if source not in known:
            names = ", ".join(sorted(known - {""})) or "none that has a name"
            raise DataError(f"there is no source {source!r} in the {split} split; there are: {names}")
    samples = [s for s in samples if not sources or s.source in sources]
    samples = samples[::every]
    label = f"measuring on {split}"
    cells = score_grid(detector, samples, label) if grid else {AS_IT_IS: score(detector, samples, label)}
    scores, thresholds = cells[AS_IT_IS], detector.card.thresholds
    fake = detector.probabilities(scores.logits)
    return {
        "detector": vars(detector.id),
        "thresholds": vars(thresholds),
        "policy": vars(detector.card.policy),
        "split": split,
        "sources": sorted(set(sources)),
        "every": every,
        "data_sha256": content_hash(fingerprints(samples)),
        "realface": __version__,
        "unreadable": list(scores.unreadable),
        "faceless": list(scores.faceless),
        "figures": by_source(scores, fake, thresholds),
        "by_size": by_size(scores, fake, thresholds),
        **({"grid": grid_figures(detector, cells)} if grid else {}),
    }
