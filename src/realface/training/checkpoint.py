"""Checkpoints without pickle: tensors in safetensors, everything else as JSON in its header."""

import json
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning.plugins.io import CheckpointIO
from safetensors import safe_open
from safetensors.torch import save
from torch import nn

from ..errors import DataError
from ..paths import write_whole

BEST = Path("checkpoints", "best.safetensors")
"""The weights that count, in a run folder."""
_TENSOR, _PAIRS, _TUPLE = "$tensor", "$pairs", "$tuple"


class SafeCheckpoints(CheckpointIO):
    """Makes Lightning write and read its checkpoints as `.safetensors`, atomically."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        tensors: dict[str, torch.Tensor] = {}
        text = json.dumps(_pack(checkpoint, tensors))
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        write_whole(Path(path), save(tensors, {"tree": text}))  # safetensors itself tells of a full disk its own way

    def load_checkpoint(self, path: Any, map_location: Any = None, weights_only: bool | None = None) -> dict[str, Any]:
        try:
            with safe_open(path, "pt") as file:
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
                tree: dict[str, Any] = _unpack(json.loads(file.metadata()["tree"]), tensors)
                return tree
        except Exception as error:  # safetensors has no common base of the errors it raises
            raise DataError(f"{path} is not a checkpoint of realface, or is damaged: {error}") from None

    def remove_checkpoint(self, path: Any) -> None:
        Path(path).unlink(missing_ok=True)


def load_weights(network: nn.Module, run: Path) -> None:
    """Fill a network with the best weights of a run; those of a frozen trunk, which a run does not keep, stay.

    Raises:
        DataError: the run holds none, or they are of other layers.
    """
    path = run / BEST
    state = SafeCheckpoints().load_checkpoint(path)["state_dict"]
    try:
        found = network.load_state_dict({key.removeprefix("network."): w for key, w in state.items()}, strict=False)
    except RuntimeError:
        raise DataError(f"{path} holds the weights of another network") from None
    if found.unexpected_keys or any(key.startswith("head.") for key in found.missing_keys):
        raise DataError(f"{path} holds the weights of another network")


def _pack(value: Any, tensors: dict[str, torch.Tensor]) -> Any:
    if isinstance(value, torch.Tensor):
        name = str(len(tensors))
        tensors[name] = value.detach().cpu().contiguous().clone()
        return {_TENSOR: name}
    if isinstance(value, dict):
        if all(isinstance(key, str) and not key.startswith("$") for key in value):
            return {key: _pack(inner, tensors) for key, inner in value.items()}
        return {_PAIRS: [[_pack(key, tensors), _pack(inner, tensors)] for key, inner in value.items()]}
    if isinstance(value, tuple):
        return {_TUPLE: [_pack(inner, tensors) for inner in value]}
    if isinstance(value, list):
        return [_pack(inner, tensors) for inner in value]
    return value


def _unpack(value: Any, tensors: dict[str, torch.Tensor]) -> Any:
    if isinstance(value, list):
        return [_unpack(inner, tensors) for inner in value]
    if isinstance(value, dict):
        if _TENSOR in value:
            return tensors[value[_TENSOR]]
        if _PAIRS in value:
            return {_unpack(key, tensors): _unpack(inner, tensors) for key, inner in value[_PAIRS]}
        if _TUPLE in value:
            return tuple(_unpack(inner, tensors) for inner in value[_TUPLE])
        return {key: _unpack(inner, tensors) for key, inner in value.items()}
    return value
