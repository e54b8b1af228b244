"""`realface fuse`: a trained whole-face view and a trained native view in, one detector that weighs them out.

How much each view is worth is learned from the valid split as it is scored, and as if its sources had never been seen:
on sources it knows a view is right nearly always, and the fusion would not learn what the other is for.
"""

import hashlib
import io
import json
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from filelock import FileLock
from safetensors.torch import save
from scipy.optimize import minimize
from scipy.special import expit

from ..card import Card
from ..data import Sample
from ..data.crops import FIRST, degraded, read_face
from ..data.layouts import read_splits
from ..detector import Detector
from ..errors import DataError, ImageError
from ..evaluation.scores import Scores
from ..networks.base import Network
from ..networks.clip import ClipB16
from ..networks.native import NativeView
from ..networks.two_views import TwoViews
from ..paths import alone_in, cache_dir, found_in, make_folder, write_whole
from ..progress import track
from . import held_out
from .checkpoint import load_weights
from .config import Config, make_config, read_toml, to_toml
from .export import export, preprocessing
from .features import program_of
from .finish import finish
from .sources import weights
from .taught import of_versions
from .train import differing, in_order, lines_of, new_network, of_sources, sources_of

FOLDS = 6
VERSIONS = 2  # of each picture, as it is and after one history: what heads for the fit are asked about
AT_ONCE = 4


@dataclass(frozen=True)
class Native:
    """What the native view says of a split, as it is or after one random history.

    Attributes:
        each: (N, 9) float32 logits of the windows; NaN for pictures that show no face.
        sides: (N,) float32 native sides of the crops.
        judged: (N,) bool, False for faces with a reason of their own to be inconclusive.
    """

    each: np.ndarray
    sides: np.ndarray
    judged: np.ndarray


@dataclass(frozen=True)
class Views:
    """A split in both views, each as it is and after random histories.

    Attributes:
        samples: its pictures.
        whole: (N,) logits of the whole-face view, once for each version; NaN for pictures that show no face.
        unseen: the same of heads that have not seen the picture's source.
        native: what the native view says, once for each version.
        novelty: (N,) of the faces, once for each version.
    """

    samples: list[Sample]
    whole: list[np.ndarray]
    unseen: list[np.ndarray]
    native: list[Native]
    novelty: list[np.ndarray]

    @property
    def labels(self) -> np.ndarray:
        """(N,) int, 0 real, 1 fake."""
        return np.array([sample.label for sample in self.samples])

    def rows(self, chosen: Sequence[int]) -> "Views":
        """Some of the pictures, by their position."""
        native = [Native(of.each[chosen], of.sides[chosen], of.judged[chosen]) for of in self.native]
        whole, unseen, novelty = (
            [table[chosen] for table in tables] for tables in (self.whole, self.unseen, self.novelty)
        )
        return Views([self.samples[i] for i in chosen], whole, unseen, native, novelty)

    def inputs(self, version: int, whole: np.ndarray) -> np.ndarray:
        """(N, 2) inputs of the fusion, with (N,) logits of the whole face."""
        return np.stack([whole, self.native[version].each.mean(1)], 1)


def fuse(data: Path, whole_run: Path, native_run: Path, out: Path) -> Path:
    """Learn the fusion of two views and write the run folder of the detector that has both.

    Args:
        data: the data set both were trained on.
        whole_run: run folder of `realface train` with the network clip-b16.
        native_run: run folder of `realface train` with the network native.
        out: a new folder; gets what a run of `realface train` gets, and `teacher.safetensors`, the fused logits of the
            training pictures in all versions of `whole_run`, for a smaller network to learn from.

    Raises:
        DataError: a folder holds no such run, or one of other pictures than those of `data`, `whole_run` has no frozen
            trunk, they have not the same framing, or `out` holds something already or cannot be made.
    """
    if (out.exists() and not out.is_dir()) or found_in(out):
        raise DataError(f"{out} holds something already; choose another --out")
    config, network = load_views(whole_run, native_run)
    splits = read_splits(data)
    lines = lines_of(splits)
    for run in (whole_run, native_run):
        chosen = of_sources(splits, make_config(read_toml(run / "config.toml")))
        if differing(run, {"pictures": in_order(chosen["train"] + chosen["valid"], lines)}):
            raise DataError(f"{run} has learned from other pictures than those of {data}; name what it was trained on")
    known = known_to(native_run, splits["train"])
    make_folder(out)
    with alone_in(out):
        features = held_out.read(splits, network.whole, config, VERSIONS, lines)
        heads = held_out.folds(features, FOLDS, network.whole, config)
        views = both_views(features, heads, network, config)
        weight, bias = fit_fusion(views["valid"], known)
        with torch.no_grad():
            network.fusion.weight.copy_(torch.from_numpy(weight)[None])
            network.fusion.bias.fill_(bias)
        fused = {
            split: [of_split.inputs(version, whole) @ weight + bias for version, whole in enumerate(of_split.whole)]
            for split, of_split in views.items()
        }
        valid = _scores(views["valid"], fused["valid"])
        # Nothing is written before all is measured: a fusion that was interrupted can be begun again in the same `out`.
        path = finish(network, config, splits, lines, out, name="two-views", valid=valid)
        (out / "config.toml").write_text(to_toml(config), encoding="utf-8")
        logits = torch.from_numpy(np.stack(fused["train"])).float()
        judged = of_versions([lines[s] for s in splits["train"]], config)
        write_whole(out / "teacher.safetensors", save({"logits": logits}, judged))
    return path


def load_views(whole_run: Path, native_run: Path) -> tuple[Config, TwoViews]:
    """The configuration of the whole-face view, and both views with their trained weights and no fusion yet.

    Raises:
        DataError: a folder holds no such run, the trunk of the whole-face view was trained too, or the views were
            trained with different framings.
    """
    config, whole = _load(whole_run, "clip-b16")
    if not config.freeze or config.start:  # what it is worth on sources it has not seen could not be told
        raise DataError(
            f"the trunk of {whole_run} has learned from all sources; train it anew with freeze=true and no start"
        )
    of_native, native = _load(native_run, "native")
    if of_native.framing != config.framing:
        raise DataError(
            f"{native_run} has framing={of_native.framing} and {whole_run} framing={config.framing}; train one anew"
        )
    assert isinstance(whole, ClipB16)
    assert isinstance(native, NativeView)
    return config, TwoViews(whole, native).eval()


def known_to(native_run: Path, train: Sequence[Sample]) -> set[str]:
    """The sources whose fake pictures a native view was trained on; reconstructions are of no source."""
    return sources_of(make_config(read_toml(native_run / "config.toml"))) or {sample.source for sample in train}


def both_views(
    splits: dict[str, held_out.Rows], heads: Iterable[held_out.Head], network: TwoViews, config: Config
) -> dict[str, Views]:
    """What both views say of the train and the valid split.

    Args:
        splits: their features in all versions that are wanted, see `held_out.read`.
        heads: for some sources each, the head that has not seen them; together for all of the train split. What is
            of other sources the whole-face view has not seen either.
        network: both trained views.
        config: of the whole-face view.
    """
    whole = {name: [held_out.scores(network.whole, view) for view in rows.views] for name, rows in splits.items()}
    with torch.inference_mode():
        novelty = {
            name: [network.whole.novelty(torch.tensor(view, dtype=torch.float32)).numpy() for view in rows.views]
            for name, rows in splits.items()
        }
    unseen = {name: [logits.copy() for logits in of_views] for name, of_views in whole.items()}
    for sources, head in heads:
        for name, rows in splits.items():
            chosen = np.isin(rows.sources, sources)
            for logits, features in zip(unseen[name], rows.views, strict=True):
                logits[chosen] = held_out.scores(head, features[chosen])
    found = {}
    for name, rows in splits.items():
        versions = range(len(rows.views))
        native = [native_view(network.native, rows.samples, rows.lines, config, version) for version in versions]
        found[name] = Views(rows.samples, whole[name], unseen[name], native, novelty[name])
    return found


def native_view(
    network: NativeView, samples: Sequence[Sample], lines: Sequence[str], config: Config, view: int
) -> Native:
    """What the native view says of pictures as they are (view 0) or after their random history, cached on disk.

    It is found again by `lines`, the fingerprints of the samples, the weights, and `program_of`.
    """
    assert len(lines) == len(samples)
    strength = config.degradations if view else 0.0
    facts = [program_of(network), *lines, config.framing, strength, config.seed, view]
    digest = hashlib.sha256(json.dumps(facts).encode())
    for weight in network.state_dict().values():
        digest.update(weight.numpy().tobytes())
    path = cache_dir("windows") / f"{digest.hexdigest()[:24]}.npy"
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path.with_suffix(".lock")):
        if not path.exists():
            data = export(network, Card("native", "", "native", preprocessing(network, config.framing)))
            write_whole(path, _native_table(Detector(data), samples, config, view, strength))
    table = np.load(path, allow_pickle=False)
    return Native(table[:, :9], table[:, 9], table[:, 10] > 0)


def _native_table(detector: Detector, samples: Sequence[Sample], config: Config, view: int, strength: float) -> bytes:
    """A .npy file of (N, 11) float32: nine logits, the side, and whether the face can be judged."""
    table = np.full((len(samples), 11), np.nan, np.float32)
    kept: list[tuple[int, np.ndarray]] = []

    def judge() -> None:
        if kept:
            rows = [row for row, _ in kept]
            _, evidence = detector.explain([crop for _, crop in kept])
            table[rows, :9] = evidence.reshape(len(rows), 9) * 9
            table[rows, 9] = [crop.shape[0] for _, crop in kept]
            kept.clear()

    for row, sample in enumerate(track(samples, f"native view, version {view}")):
        try:
            face = read_face(sample.path, config.framing)
        except ImageError:
            continue
        history = (config.seed, view, row)  # the one the cached features have
        kept.append((row, degraded(face.pixels, strength, history, FIRST.get(view))))
        table[row, 10] = face.reason is None
        if len(kept) == AT_ONCE:
            judge()
    judge()
    file = io.BytesIO()
    np.save(file, table, allow_pickle=False)
    return file.getvalue()


def fit_fusion(valid: Views, known: Collection[str] = ()) -> tuple[np.ndarray, float]:
    """Weights (2,) and bias of the fusion: logistic regression, classes and sources weighing the same.

    Users bring faces of sources that were learned from and of others, so each face of the valid split counts twice: as
    the head scores it, and as one does that has not seen its source. The second time faces of sources that the native
    view knows are left out, where others of both classes remain.
    """
    fine = ~np.isnan(valid.native[0].each[:, 0])
    new = fine & np.array([sample.source not in known for sample in valid.samples])
    if len(set(valid.labels[new])) < 2:
        new = fine
    x, labels, weight = [], [], []
    for whole, rows in ((valid.whole, fine), (valid.unseen, new)):
        x += [valid.inputs(version, whole[version])[rows] for version in range(VERSIONS)]
        labels += [valid.labels[rows]] * VERSIONS
        of_each = weights([valid.samples[row] for row in np.flatnonzero(rows)], "source")
        weight += [of_each * fine.sum() / rows.sum()] * VERSIONS  # both times weigh the same
    slopes, bias = positive_regression(*map(np.concatenate, (x, labels, weight)))
    return slopes.astype(np.float32), bias


def positive_regression(x: np.ndarray, y: np.ndarray, weight: np.ndarray) -> tuple[np.ndarray, float]:
    """Slopes (K,), none of them negative, and bias of logistic regression: what speaks for fake in a view may be worth
    nothing, but never the opposite. Views that never err get the weights at which the solver sees no slope any more."""

    def loss(p: np.ndarray) -> tuple[float, np.ndarray]:
        score = x @ p[:-1] + p[-1]
        error = weight * (expit(score) - y) / len(y)
        return float((weight * (np.logaddexp(0, score) - y * score)).mean()), np.r_[x.T @ error, error.sum()]

    bounds = [(0, None)] * x.shape[1] + [(None, None)]
    found = minimize(loss, np.zeros(x.shape[1] + 1), jac=True, bounds=bounds, method="L-BFGS-B").x
    return found[:-1], float(found[-1])


def _load(run: Path, name: str) -> tuple[Config, Network]:
    if not (run / "config.toml").exists():
        raise DataError(f"{run} holds no run of `realface train`")
    config = make_config(read_toml(run / "config.toml"))
    if config.network != name:
        raise DataError(f"{run} is a run of the network {config.network}, not {name}")
    network = new_network(replace(config, pretrained=config.freeze and config.pretrained))
    load_weights(network, run)
    return config, network.eval()


def _scores(views: Views, logits: Sequence[np.ndarray]) -> Scores:
    """The fused logits of a split, both versions of it, as they are scored elsewhere."""
    sources = np.array([sample.source for sample in views.samples])
    parts = []
    for of_view, native, novelty in zip(logits, views.native, views.novelty, strict=True):
        sides = np.nan_to_num(native.sides).astype(int)
        every = Scores(views.labels, of_view, sources, sides, native.judged, novelty)
        parts.append(every.where(~np.isnan(native.each[:, 0])))
    return parts[0].joined(parts[1])
