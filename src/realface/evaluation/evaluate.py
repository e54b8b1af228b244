"""`realface evaluate`: one detector on labelled pictures."""

from pathlib import Path
from typing import Any

from .. import __version__
from ..data import SPLITS, read_data
from ..data.layouts import content_hash, fingerprints
from ..detector import Detector
from ..errors import DataError
from .metrics import by_size, by_source
from .scores import score


def evaluate(detector: Detector, data: Path, split: str) -> dict[str, Any]:
    """Measure a detector on one split of a data set ("all": on every picture).

    Returns:
        detector: name, version, sha256; thresholds; split; data_sha256: of its pictures; realface: its version;
        unreadable, faceless: paths; figures and by_size: by source and
        by size of the face, see `realface.evaluation.metrics.figures`.

    Raises:
        DataError: there is no such split, or nothing in it.
    """
    if split not in (*SPLITS, "all"):
        raise DataError(f"split must be one of {', '.join(SPLITS)} or all, not {split!r}")
    samples = [s for s in read_data(data) if split in (s.split, "all")]
    if not samples:
        raise DataError(f"{data} has no pictures in the {split} split")
    scores = score(detector, samples, f"measuring on {split}")
    fake, thresholds = detector.probabilities(scores.logits), detector.card.thresholds
    return {
        "detector": vars(detector.id),
        "thresholds": vars(thresholds),
        "split": split,
        "data_sha256": content_hash(fingerprints(samples)),
        "realface": __version__,
        "unreadable": list(scores.unreadable),
        "faceless": list(scores.faceless),
        "figures": by_source(scores, fake, thresholds),
        "by_size": by_size(scores, fake, thresholds),
    }
