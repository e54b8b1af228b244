"""What a detector file says of itself: the JSON under the key `realface` of its ONNX metadata."""

import json
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from .errors import DetectorError
from .faces import FRAMINGS, Framing
from .results import Answer

KEY = "realface"
FORMAT = 2  # 1 had no `window`
MAX_TEXT = 2**20  # characters of a card; those of the bundled detectors have 22,000

SIZE_GROUPS = {"under 128 px": 0, "128 to 255 px": 128, "256 to 511 px": 256, "512 px and more": 512}
"""By the native side of a face's crop: name to the smallest side in it. The keys of `Card.metrics["test_by_size"]`."""


def size_group(side: int) -> str:
    """The group of a crop of `side` native pixels."""
    return [name for name, least in SIZE_GROUPS.items() if side >= least][-1]


@dataclass(frozen=True)
class Preprocessing:
    """How a picture becomes the graph's inputs; normalisation is in the graph.

    Attributes:
        size: of `pixels`, the whole crop resampled, (N, size, size, 3) uint8 RGB; 0 where the graph has no such input.
        crop: what of a picture is judged.
        resample: how the crop gets its size.
        window: of `windows`, nine windows of the crop's native pixels, (N, 9, window, window, 3) uint8 RGB; 0 where the
            graph has no such input.
    """

    size: int
    crop: Framing = "centre-square"
    resample: str = "bicubic"
    window: int = 0


@dataclass(frozen=True)
class Calibration:
    """Platt scaling (Platt 1999): probability of fake = sigmoid(scale * logit + offset)."""

    scale: float = 1.0
    offset: float = 0.0


@dataclass(frozen=True)
class Thresholds:
    """On the probability of fake: at `fake_from` and above it is fake, under `real_below` real.

    At a `novelty` (see `training.export`) of `novel_from` and above a face is not judged at all; None judges all.
    """

    real_below: float = 0.5
    fake_from: float = 0.5
    novel_from: float | None = None

    def answer(self, fake: float) -> Answer:
        """The verdict for a probability of fake."""
        if fake >= self.fake_from:
            return "fake"
        return "real" if fake < self.real_below else "inconclusive"

    def rule(self, policy: "Policy") -> str:
        """Which probability gets which verdict, and why there: plain text, not HTML, for the file names the split."""
        low, high = self.real_below, self.fake_from
        fake = f"fake at {100 * high:.4g} % and above" if high <= 1 else "never fake"
        real = f"real under {100 * low:.4g} %" if low > 0 else "never real"
        between = ", in between inconclusive" if low < high else ""
        split = {"valid": "validation"}.get(policy.split, policy.split)
        return (
            f"The probability of fake decides: {fake}, {real}{between}. These limits were set so that at most "
            f"{100 * policy.max_bpcer:.4g} % of real {split} faces are called fake and at most "
            f"{100 * policy.max_apcer:.4g} % of fake ones are called real."
        )


@dataclass(frozen=True)
class Policy:
    """What the thresholds were set to hold, on the split they were set on.

    Attributes:
        max_bpcer: largest share of real faces called fake.
        max_apcer: largest share of fake faces called real.
        split: the split whose pictures were used.
    """

    max_bpcer: float = 0.01
    max_apcer: float = 0.05
    split: str = "valid"


@dataclass(frozen=True)
class Card:
    """Everything a detector file needs to be used right, and what is known of it."""

    name: str
    version: str
    network: str
    preprocessing: Preprocessing
    calibration: Calibration = Calibration()
    thresholds: Thresholds = Thresholds()
    policy: Policy = Policy()
    labels: tuple[str, str] = ("real", "fake")
    licence: str = ""
    data: dict[str, Any] = field(default_factory=dict)
    metrics: dict[str, Any] = field(default_factory=dict)
    format: int = FORMAT

    def to_json(self) -> str:
        return json.dumps(asdict(self), sort_keys=True)

    def rule(self) -> str:
        """`Thresholds.rule`, under the policy of this detector."""
        return self.thresholds.rule(self.policy)

    @classmethod
    def from_json(cls, text: str) -> "Card":
        """Read a card, refusing anything that is not exactly one.

        Raises:
            DetectorError: not a card, one of a newer format, or with values no detector can have.
        """
        try:
            if len(text) > MAX_TEXT:
                raise ValueError(f"it has {len(text):,} characters")
            raw = json.loads(text)
            parts = {"preprocessing": Preprocessing, "calibration": Calibration}
            parts |= {"thresholds": Thresholds, "policy": Policy}
            if raw.get("format") not in range(1, FORMAT + 1):
                raise DetectorError(f"this detector has format {raw.get('format')!r}; this realface reads {FORMAT}")
            if raw.keys() != {f.name for f in fields(cls)}:
                raise ValueError("unknown or missing entries")
            raw |= {name: kind(**raw[name]) for name, kind in parts.items()}
            card = cls(**raw | {"labels": tuple(raw["labels"])})
            card._check()
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise DetectorError(f"the detector's description is damaged: {error}") from None
        return card

    def _check(self) -> None:
        texts = (self.name, self.version, self.network, self.licence, self.policy.split)
        if not all(isinstance(text, str) for text in texts):
            raise ValueError("name, version, network, licence and split must be texts")
        if not all(text.isprintable() and len(text) <= 200 for text in texts if text != self.licence):
            raise ValueError("name, version, network and split must be short and printable")  # they go to terminals
        if not (isinstance(self.data, dict) and isinstance(self.metrics, dict)):
            raise ValueError("data and metrics must be objects")
        if not (0 <= self.policy.max_bpcer <= 1 and 0 <= self.policy.max_apcer <= 1):
            raise ValueError("the policy's shares must lie within 0 to 1")
        low, high = self.thresholds.real_below, self.thresholds.fake_from
        resample, labels = self.preprocessing.resample, self.labels
        if self.preprocessing.crop not in FRAMINGS or (resample, labels) != ("bicubic", ("real", "fake")):
            raise ValueError(f"unknown preprocessing or labels {self.preprocessing.crop!r}, {resample!r}, {labels!r}")
        if not 0 <= low <= high <= 1.0001:
            raise ValueError(f"thresholds {low}, {high} are not in order within 0 to 1")
        if not (self.thresholds.novel_from is None or 0 < self.thresholds.novel_from < 1e6):
            raise ValueError(f"novelty threshold {self.thresholds.novel_from}")
        if not (0 < self.calibration.scale < 1e6 and abs(self.calibration.offset) < 1e6):
            raise ValueError("calibration must keep the order of scores")
        sides = (self.preprocessing.size, self.preprocessing.window)
        if not (any(sides) and all(type(side) is int and (side == 0 or 16 <= side <= 4096) for side in sides)):
            raise ValueError(f"input sizes {sides}")
