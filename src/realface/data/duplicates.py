"""Pictures that are the same: byte for byte, or but for size and compression."""

from collections.abc import Iterator, Sequence

import numpy as np
from scipy.cluster.hierarchy import DisjointSet
from scipy.ndimage import uniform_filter

from ..progress import track
from .facts import Facts

MAX_BITS = 32
"""Of 256 bits of two hashes, at most this many differ. Copies at JPEG quality 10, at 64 pixels or blurred stay within
it 99 times in 100; other pictures differ in about 115."""
MIN_LIKENESS = 0.8
"""Least correlation of the details of two thumbnails. Such copies keep 0.95 or more, different portraits on plain
backdrops stay under 0.75; between them are pictures that a generator made from almost the same numbers."""
MIN_DETAIL = 32
"""Length of the details, in levels, under which there is nothing to compare; portraits have 95 and more."""

_PAIRS = 2**20  # compared at a time, which bounds the memory
_CHECKED = 2**12


def exact_groups(facts: Sequence[Facts]) -> list[list[int]]:
    """Rows of files with the same bytes: groups of two or more, in order of row."""
    groups: dict[str, list[int]] = {}
    for row, fact in enumerate(facts):
        groups.setdefault(fact.sha256, []).append(row)
    return [rows for rows in groups.values() if len(rows) > 1]


def near_groups(facts: Sequence[Facts]) -> list[list[int]]:
    """Rows of pictures that look the same although their files differ: groups of two or more, in order of row.

    All pairs are compared by their hashes, 7 ns each (140,000 pictures: a minute or two); those with near hashes are
    checked by the details of their thumbnails, for hashes of smooth portraits on plain backdrops come near by chance.
    Whoever is like a member of a group belongs to it. Files with the same bytes stand for one here: only the first
    row of theirs is looked at.
    """
    first = {fact.sha256: row for row, fact in reversed(list(enumerate(facts)))}
    rows = np.array(sorted(first.values()), dtype=int)
    found: DisjointSet = DisjointSet(rows.tolist())
    for pairs in _near_hashes(np.stack([facts[row].dhash for row in rows])):
        for start in range(0, len(pairs), _CHECKED):
            some = rows[pairs[start : start + _CHECKED]]
            some = some[[not found.connected(a, b) for a, b in some.tolist()]]  # frames of a film are, mostly
            if not len(some):
                continue
            seen, at = np.unique(some, return_inverse=True)
            one, other = _details(facts, seen)[at.reshape(some.shape)].swapaxes(0, 1)
            for a, b in some[(one * other).sum(1) >= MIN_LIKENESS].tolist():
                found.merge(a, b)
    return sorted(sorted(group) for group in found.subsets() if len(group) > 1)


def _near_hashes(hashes: np.ndarray) -> Iterator[np.ndarray]:
    """Pairs (n, 2) of rows of (N, 4) uint64 hashes that differ in at most MAX_BITS, the lower row first.

    Where two hashes are that near, one of their four words differs in at most a quarter of the bits: most pairs
    need no second look.
    """
    words = np.ascontiguousarray(hashes.T)
    step = max(1, _PAIRS // len(hashes))
    for start in track(range(0, len(hashes), step), "comparing pictures"):
        near = np.zeros((min(step, len(hashes) - start), len(hashes) - start), bool)
        for word in words:
            near |= np.bitwise_count(word[start : start + step, None] ^ word[start:]) <= MAX_BITS // len(words)
        pairs = np.argwhere(near) + start
        pairs = pairs[pairs[:, 0] < pairs[:, 1]]
        yield pairs[np.bitwise_count(hashes[pairs[:, 0]] ^ hashes[pairs[:, 1]]).sum(1) <= MAX_BITS]


def _details(facts: Sequence[Facts], rows: np.ndarray) -> np.ndarray:
    """What thumbnails show beyond smooth shading, as rows of length one (or zero, where there is nothing)."""
    thumbnails = np.array([facts[row].thumbnail for row in rows], np.float32)
    details = (thumbnails - uniform_filter(thumbnails, (1, 3, 3))).reshape(len(thumbnails), -1)
    lengths = np.linalg.norm(details, axis=1, keepdims=True)
    shortened: np.ndarray = details / np.where(lengths > MIN_DETAIL, lengths, np.inf)
    return shortened
