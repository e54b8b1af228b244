"""Windows of native pixels, a real and a fake one at a time, that went through the same on their way."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from .. import degrade, faces, images
from ..data import Sample
from ..data.crops import read_face
from ..errors import DataError, ImageError
from ..faces import Framing
from .config import Config
from .pictures import batches

ALIGNED = 0.6
"""Share of twins that are a real picture and its reconstruction; the others are two pictures of one source."""
BLENDED = 1 / 3
"""Of the reconstructions, the share mixed half and half with the picture: a trace may be weaker than a decoder's."""

Twin = tuple[int, int]  # row of a real picture, row of a fake one


class Twins:
    """Draws twins for a network that looks at windows of native pixels; used in place of `training.sources.Source`.

    Both of a twin get the same random history and the same window, so that nothing but the generator's trace, and
    in twins of one source what the pictures show, differs. That holds for pictures of one size, as a picture and what
    `realface data reconstruct` makes of it always are. Two pictures of a source may differ in size; the noise of a
    history then takes more random numbers for one than for the other, and what is drawn after it, the window too, is
    not the same.

    Attributes:
        samples: pictures of a data set, then those of its reconstructions.
        weights: (N,) ones; who is drawn how often is decided by source.
    """

    def __init__(self, samples: Sequence[Sample], pairs: Sequence[Sample], size: int, framing: Framing) -> None:
        """Pair up `samples` by source and `pairs`, what `realface data reconstruct` wrote, by their name."""
        self.samples, self.size, self.framing = [*samples, *pairs], size, framing
        self.weights = torch.ones(len(self.samples))
        self._labels = torch.tensor([float(s.label) for s in self.samples])
        self._first_pair = len(samples)
        self._of_source = _by_source(samples)
        self._aligned = _by_pair(pairs, self._first_pair)
        if not self._of_source and not self._aligned:
            raise DataError("this network learns from twins: a source with real and fake pictures, or `pairs`")

    def labels_of(self, rows: Tensor) -> Tensor:
        """(N,) float labels of the given rows, on their device."""
        return self._labels.to(rows.device)[rows]

    def drawn(self, config: Config, epoch: int) -> "DataLoader[Any]":
        """Batches of ((N, 3, S, S) uint8, (N,) rows) of one training epoch, half of each class."""
        return self._loader(config, np.random.default_rng((config.seed, epoch)), epoch + 1)

    def in_order(self, config: Config) -> "DataLoader[Any]":
        """The same twins every time, for validation."""
        return self._loader(config, np.random.default_rng(config.seed), 0)

    def _draw(self, rng: np.random.Generator) -> Twin:
        if self._aligned and (not self._of_source or rng.random() < ALIGNED):
            real, *fakes = _pick(rng, _pick(rng, self._aligned, root=True))
            return real, _pick(rng, fakes)
        reals, fakes = _pick(rng, self._of_source, root=True)
        return _pick(rng, reals), _pick(rng, fakes)

    def _loader(self, config: Config, rng: np.random.Generator, epoch: int) -> "DataLoader[Any]":
        twins = [self._draw(rng) for _ in range(len(self.samples) // 2)]
        windows = _Windows(self, twins, config.degradations, (config.seed, epoch))
        return batches(windows, config.batch_size // 2, config.workers)

    def read(self, row: int) -> np.ndarray:
        """The face in a picture, native pixels; a reconstruction is nothing but a face."""
        path = self.samples[row].path
        return images.load(path) if row >= self._first_pair else read_face(path, self.framing).pixels


class _Windows(Dataset[tuple[Tensor, Tensor] | None]):
    """Twins as (2, 3, size, size) uint8 and their (2,) rows; None where a picture cannot be read or shows no face."""

    def __init__(self, source: Twins, twins: Sequence[Twin], strength: float, seed: tuple[int, int]) -> None:
        self.source, self.twins, self.strength, self.seed = source, twins, strength, seed

    def __len__(self) -> int:
        return len(self.twins)

    def __getitem__(self, position: int) -> tuple[Tensor, Tensor] | None:
        rows = self.twins[position]
        try:
            real, fake = (self.source.read(row) for row in rows)
        except ImageError:
            return None
        chance = np.random.default_rng((*self.seed, position))
        if real.shape == fake.shape and rows[1] >= self.source._first_pair and chance.random() < BLENDED:
            fake = ((real.astype(np.uint16) + fake + 1) // 2).astype(np.uint8)
        strength = self.strength * chance.random()
        pixels = []
        for picture in (real, fake):
            same = np.random.default_rng((*self.seed, position, 1))  # both go through the same
            window = faces.window(degrade.random_history(picture, same, strength), self.source.size, *same.random(2))
            pixels.append(torch.from_numpy(window.copy()).permute(2, 0, 1))
        untouched = torch.equal(*pixels)  # by an edit of another part of the face: that is no fake
        return torch.stack(pixels), torch.tensor((rows[0], rows[0]) if untouched else rows)


def pair_of(sample: Sample) -> str:
    """What the names of a picture and its reconstructions, which `realface data reconstruct` wrote, have in common."""
    return sample.path.name.partition(".")[0]


def _by_source(samples: Sequence[Sample]) -> list[tuple[list[int], list[int]]]:
    """Rows of the real and of the fake pictures of every source that has both."""
    found: dict[str, tuple[list[int], list[int]]] = {}
    for row, sample in enumerate(samples):
        found.setdefault(sample.source, ([], []))[sample.label].append(row)
    return [both for both in found.values() if all(both)]


def _by_pair(pairs: Sequence[Sample], first: int) -> list[list[list[int]]]:
    """For every source, the rows of each real picture and its reconstructions."""
    names: dict[str, list[int]] = {}
    for row, sample in enumerate(pairs, first):
        rows = names.setdefault(pair_of(sample), [])
        rows.insert(0 if sample.label == 0 else len(rows), row)
    found: dict[str, list[list[int]]] = {}
    for rows in names.values():
        if [pairs[row - first].label for row in (rows[0], rows[-1])] == [0, 1]:  # neither without the other
            found.setdefault(pairs[rows[0] - first].source, []).append(rows)
    return list(found.values())


def _pick(rng: np.random.Generator, items: Sequence[Any], *, root: bool = False) -> Any:
    """One of some items; with `root`, each of some groups as often as the square root of its size says."""
    if not root:
        return items[int(rng.integers(len(items)))]
    shares = np.array([sum(map(len, group)) if isinstance(group, tuple) else len(group) for group in items]) ** 0.5
    return items[int(rng.choice(len(items), p=shares / shares.sum()))]
