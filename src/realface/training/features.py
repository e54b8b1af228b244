"""What a frozen trunk says of every picture, computed once and kept on disk."""

import hashlib
import inspect
import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import torch
from filelock import FileLock

from ..data import Sample, read_data
from ..data.crops import FIRST, program
from ..data.layouts import fingerprints
from ..errors import DataError
from ..faces import Framing
from ..memory import keep_freed_memory
from ..networks.base import Network
from ..paths import cache_dir, write_whole
from ..progress import track
from .config import Config
from .pictures import Pictures, batches
from .twins import pair_of

BATCH = 32


def cached_views(
    network: Network, samples: Sequence[Sample], lines: Sequence[str], config: Config, views: Iterable[int]
) -> list[np.ndarray]:
    """Features of every sample in each of some views, from the cache or computed into it.

    View 0 is the pictures as they are; every other view gives each picture one random history of its own, of some
    views after what `FIRST` says. A pass that was interrupted goes on where it stopped. The cache is found again by the
    trunk's weights, by `lines`, the fingerprints of the samples in their order, and by `program_of`.

    Returns:
        For each view (len(samples), F) float16, memory-mapped; a row of NaN stands for a picture that could not be read
        or shows no face.
    """
    found: list[np.ndarray] = []
    for view in views:
        strength = config.degradations if view else 0.0
        key = _key(network, lines, config.framing, strength, config.seed if view else 0)
        path = cache_dir("features") / key / f"view{view}.npy"
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(path.with_suffix(".lock")):  # another run may want the same features
            _fill(path, network, samples, config, view)
        found.append(np.lib.format.open_memmap(path, "r"))
    return found


def faces_of_nobody(trunk: Network | None, config: Config, versions: int) -> tuple[list[Sample], list[np.ndarray]]:
    """More fakes to learn from: what `realface data reconstruct --stylegan` put into `config.pairs`, train split.

    Args:
        trunk: the frozen one, if any.
        config: which folder, and how pictures are looked at.
        versions: of each face, as it is and after random histories.

    Returns:
        The faces that belong to no real picture there and, with a frozen trunk, one (N, F) table of their features for
        each version, see `cached_views`; nothing where `pairs` is not set.

    Raises:
        DataError: there are no such faces.
    """
    if not config.pairs:
        return [], []
    samples = read_data(config.pairs)
    real = {pair_of(sample) for sample in samples if sample.label == 0}
    alone = [s for s in samples if s.label and s.split == "train" and pair_of(s) not in real]
    if not alone:
        raise DataError(
            f"{config.pairs}: of pairs only the network native learns; for others, add faces of nobody with "
            "realface data reconstruct --stylegan"
        )
    if trunk is None:
        return alone, []
    return alone, cached_views(trunk, alone, fingerprints(alone), config, range(versions))


def _fill(path: Path, network: Network, samples: Sequence[Sample], config: Config, view: int) -> None:
    done_path = path.with_suffix(".done")
    if not path.exists():
        done_path.unlink(missing_ok=True)  # or it would speak of the table that is begun now
    done = int(done_path.read_text()) if done_path.exists() else 0
    if done >= len(samples):
        return
    keep_freed_memory()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    network = network.eval().to(device)
    with torch.inference_mode():
        width = network.features(torch.zeros(1, 3, network.input_size, network.input_size, device=device)).shape[1]
    shape = (len(samples), width)
    table = np.lib.format.open_memmap(path, "r+" if done else "w+", np.float16, shape)
    strength, seed = config.degradations if view else 0.0, (config.seed, view)
    pictures = Pictures(samples, network.input_size, config.framing, strength, seed, first=FIRST.get(view), loud=True)
    loader = batches(pictures, BATCH, config.workers, range(done, len(samples)))
    for pixels, rows in track(loader, f"features, view {view}"):
        end = min(done + BATCH, len(samples))
        found = np.full((end - done, width), np.nan, np.float16)
        if len(rows):
            found[rows.numpy() - done] = _features(network, pixels.to(device)).float().cpu().numpy()
        with path.open("r+b") as file:  # written through the map, a full disk would end the process without a word
            file.seek(table.offset + done * found.itemsize * width)
            file.write(found.tobytes())
            file.flush()
            os.fsync(file.fileno())
        done = end
        write_whole(done_path, str(done).encode())
    network.cpu()


def _features(network: Network, pixels: torch.Tensor) -> torch.Tensor:
    with torch.inference_mode(), torch.autocast(pixels.device.type, torch.bfloat16, enabled=has_bfloat16()):
        return network.features(pixels.float() / 255)


def has_bfloat16() -> bool:
    """Whether bfloat16 arithmetic is done in hardware here: it is twice as fast then, else far slower."""
    return torch.cuda.is_available() or torch.cpu._is_avx512_bf16_supported()


def program_of(network: Network) -> str:
    """`program`, which changes with the code of a network too: other blocks may give as many features."""
    return program(*(inspect.getfile(kind) for kind in type(network).__mro__ if issubclass(kind, Network)))


def _key(network: Network, lines: Sequence[str], framing: Framing, strength: float, seed: int) -> str:
    digest = hashlib.sha256(json.dumps([program_of(network), list(lines), framing, strength, seed]).encode())
    if network.input_size != type(network).input_size:
        digest.update(str(network.input_size).encode())
    for name, value in network.state_dict().items():
        if not name.startswith("head."):
            digest.update(name.encode() + value.cpu().numpy().tobytes())
    return digest.hexdigest()[:24]
