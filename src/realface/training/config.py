"""Every setting of a training run, in one flat table that TOML can hold."""

import difflib
import json
import math
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from ..errors import ConfigError
from ..faces import FRAMINGS, Framing
from ..networks import find

SCHEDULES = ("cosine", "plateau", "constant")
BALANCES = ("source", "class", "none")
SIZES = range(32, 1025, 32)  # sides that halve five times
_OPTIONAL = {"dropout": float, "input_size": int}  # None where not set, which TOML says by leaving them out


@dataclass(frozen=True)
class Config:
    """Settings of one training run; a network may have defaults of its own (`Network.defaults`).

    Attributes:
        network: name in the registry (`realface networks`).
        seed: fixes first weights, order and degradations.
        pretrained: start from the network's published weights, where it has some.
        freeze: train only the head, on features of the trunk computed once and cached.
        views: with `freeze` or a `teacher`, versions of each training picture: as it is, and `views - 1` random
            histories, before which the fourth version gets a mask where the standard crop has the lower face and the
            fifth is edited (`data.crops.FIRST`). With a teacher at least as many as it has judged; of the others the
            label is all that is known.
        degradations: 0 (pictures as they are) to 1: how likely each step of `degrade.random_history` is.
        balance: what weighs the same in every epoch: "source" (both classes; within a class, sources by the
            square root of their size), "class", or "none".
        epochs: most passes over the training pictures.
        patience: epochs without a better validation loss before training stops, and the weights of the best one count;
            0 never stops early, and those of the last one count.
        batch_size: pictures a step.
        learning_rate, weight_decay: of AdamW.
        dropout: chance in every dropout layer of the network; None leaves the network's own.
        input_size: side in pixels of the picture the network takes; None leaves the network's own.
        part: side in pixels of the part of a picture that a step of training sees, anywhere in it; 0: all of it.
        schedule: "cosine" to zero, "plateau" (a fifth of the rate at the third epoch without gain), "constant".
        framing: what of a picture is judged: "face" (the standard crop of the face that is found) or
            "centre-square" (nothing is searched for).
        sources: learn from these sources of the data set only, separated by commas; empty: from all.
        pairs: folder that `realface data reconstruct` wrote; the native view learns from its pairs, other networks
            from the generated faces in it that belong to no real picture.
        start: run folder of a network of the same layers, to start from its weights.
        teacher: run folder that `realface fuse` wrote, to learn from what that detector says of the pictures.
        max_bpcer, max_apcer: the threshold policy, see `realface.card.Policy`.
        workers: processes that decode and degrade pictures.
        licence: terms of the detector, stored in its file.
    """

    network: str = "clip-b16"
    seed: int = 0
    pretrained: bool = True
    freeze: bool = False
    views: int = 5
    degradations: float = 1.0
    balance: str = "source"
    epochs: int = 30
    patience: int = 6
    batch_size: int = 64
    learning_rate: float = 1e-3
    weight_decay: float = 0.01
    dropout: float | None = None
    input_size: int | None = None
    part: int = 0
    schedule: str = "cosine"
    framing: Framing = "face"
    sources: str = ""
    pairs: str = ""
    start: str = ""
    teacher: str = ""
    max_bpcer: float = 0.01
    max_apcer: float = 0.05
    workers: int = 2
    licence: str = ""

    @property
    def versions(self) -> int:
        """How many versions of each training picture are learned from with `freeze`."""
        return self.views if self.degradations else 1

    def __post_init__(self) -> None:
        checks = {
            "seed": 0 <= self.seed < 2**32,
            "schedule": self.schedule in SCHEDULES,
            "balance": self.balance in BALANCES,
            "framing": self.framing in FRAMINGS,
            "views": self.views >= 1,
            "degradations": 0 <= self.degradations <= 1,
            "epochs": self.epochs >= 1,
            "patience": self.patience >= 0,
            "batch_size": self.batch_size >= 2,
            "learning_rate": 0 < self.learning_rate < math.inf,
            "weight_decay": 0 <= self.weight_decay < math.inf,
            "dropout": self.dropout is None or 0 <= self.dropout < 1,
            "input_size": self.input_size is None or self.input_size in SIZES,
            "part": self.part == 0 or self.part in SIZES,
            "max_bpcer": 0 < self.max_bpcer < 1,
            "max_apcer": 0 < self.max_apcer < 1,
            "workers": self.workers >= 0,
        }
        for name, fine in checks.items():
            if not fine:
                allowed = {"schedule": SCHEDULES, "balance": BALANCES, "framing": FRAMINGS}.get(name)
                hint = f"; it is one of {', '.join(allowed)}" if allowed else ""
                hint = f"; it is a multiple of 32, at most {max(SIZES)}" if name in ("input_size", "part") else hint
                raise ConfigError(f"{name} cannot be {getattr(self, name)!r}{hint}")


def make_config(settings: Mapping[str, Any]) -> Config:
    """A configuration from the defaults, the network's own defaults, and `settings` on top.

    Raises:
        ConfigError: a key is unknown (the nearest right one is named) or a value of the wrong type or range.
    """
    known = {field.name: field for field in fields(Config)}
    network = find(settings.get("network", Config.network))
    values: dict[str, Any] = {}
    for key, value in {"pretrained": network.pretrained, **network.defaults, **settings}.items():
        if key not in known:
            near = difflib.get_close_matches(key, known, 1, 0.0)
            raise ConfigError(f"there is no setting {key!r}; did you mean {near[0]!r}?")
        kind = _OPTIONAL.get(key) or type(getattr(Config, key))
        if kind is float and type(value) is int:
            value = float(value)
        if type(value) is not kind:
            raise ConfigError(f"{key} must be of type {kind.__name__}, not {value!r}")
        values[key] = value
    return Config(**values)


def read_toml(path: Path) -> dict[str, Any]:
    """The settings in a TOML file.

    Raises:
        ConfigError: it cannot be read or is not TOML.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path} could not be read as TOML: {error}") from None


def parse_setting(text: str) -> tuple[str, Any]:
    """`key=value` from the command line; the value is TOML, or text where it is not or the setting is a text."""
    key, equals, value = text.partition("=")
    if not equals:
        raise ConfigError(f"--set takes key=value, not {text!r}")
    key, value = key.strip(), value.strip()
    try:
        read = tomllib.loads(f"value = {value}")["value"]
    except ValueError:
        return key, value
    return key, value if isinstance(getattr(Config, key, None), str) and not isinstance(read, str) else read


def to_toml(config: Config) -> str:
    """The whole configuration, as `--config` takes it. (A JSON scalar is a TOML scalar.)"""

    def scalar(value: Any) -> str:  # of what JSON leaves as it is, TOML wants one character escaped
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")

    return "".join(f"{key} = {scalar(value)}\n" for key, value in asdict(config).items() if value is not None)
