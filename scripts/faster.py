"""What would make `fast` faster without training it again, each way measured beside what is done today.

    python scripts/faster.py DATA [--every N] [--out results/faster.json]

A network in 8 bits, one of 192 pixels, the face searched for at 160 pixels, and all of these at once judge one in N
pictures of each class of a source in the valid split, as they are and after one random history; JPEG files of 1,000
pixels and more are decoded at half their size (in the decoder, as Pillow's `draft` does) where the crop of the face
keeps so many pixels. Times are medians on one core, of steps that take turns. Nothing here changes a detector:
`graph.OPERATORS` has no operator of 8-bit networks.
"""

import hashlib
import json
import logging
import os
import statistics
import sys
import tempfile
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter
from typing import Any
from unittest import mock

import numpy as np
import onnx
from figures import ROOT, result
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from PIL import Image
from sklearn.metrics import roc_auc_score

from realface import Detector, bundled, faces, finder, graph, images, provenance
from realface.card import KEY
from realface.data import Sample, read_data
from realface.data.crops import network_input, read_face
from realface.errors import ImageError
from realface.evaluation.evaluate import thinned
from realface.evaluation.origin import origin, parser_of, tell
from realface.faces import Candidate
from realface.finder import Found
from realface.progress import track

sys.path.append(str(ROOT / "benchmarks"))
from speed import make_files

CALIBRATED_ON = 150
SEARCHED, NARROW, LARGE = 160, 192, 1000  # pixels
LEAST = (512, 256)  # sides, in pixels, that a crop must keep when its picture is decoded at half its size
TODAY = "today"
Row = dict[str, Any]


@dataclass(frozen=True)
class Way:
    """A detector, and how it finds faces."""

    detector: Detector
    find: Callable[[np.ndarray], list[Found]] = finder.find

    def check(self, path: str) -> None:
        with mock.patch.object(faces, "find", self.find):
            self.detector.check(path)

    def candidate(self, picture: np.ndarray) -> Candidate | None:
        with mock.patch.object(faces, "find", self.find):
            found = faces.candidates(picture)
        return found[0] if found else None

    def judge(self, crop: np.ndarray, reason: str | None) -> tuple[float, str]:
        """The logit, and the verdict on a face that cannot be judged for that reason."""
        logits = self.detector.logits([crop])
        fake = float(self.detector.probabilities(logits)[0])
        return float(logits[0]), "inconclusive" if reason else self.detector.card.thresholds.answer(fake)


class Given(CalibrationDataReader):
    """Pictures as the quantiser asks for them."""

    def __init__(self, inputs: list[np.ndarray]) -> None:
        self.rest = iter(inputs)

    def get_next(self) -> dict[str, np.ndarray] | None:
        given = next(self.rest, None)
        return None if given is None else {"pixels": given[None]}


def in_8_bits(path: Path, inputs: list[np.ndarray], in_float: int) -> bytes:
    """The network with activations and, for each channel, weights in 8 bits; the first convolutions stay in float.

    Weights get 7 of them: AVX2 adds pairs of products in 16 bits, where 8 run over.
    """
    model = onnx.load(path)
    convolutions = [node.name for node in model.graph.node if node.op_type == "Conv"]
    sums = [n.name for n in model.graph.node if n.op_type == "Add" and any("val_" in i for i in n.input)]  # of indices
    with tempfile.TemporaryDirectory() as folder:
        quantize_static(
            path,
            out := Path(folder) / "8.onnx",
            Given(inputs),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=["Conv", "Clip", "Add"],
            per_channel=True,
            reduce_range=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            nodes_to_exclude=convolutions[:in_float] + sums,
        )
        made = onnx.load(out)
    del made.metadata_props[:]
    made.metadata_props.extend(model.metadata_props)
    return bytes(made.SerializeToString())


def at_size(data: bytes, side: int) -> bytes:
    """The network with an input of another side in pixels: its convolutions do not care."""
    model = onnx.load_from_string(data)
    for dimension in model.graph.input[0].type.tensor_type.shape.dim[1:3]:
        dimension.dim_value = side
    card = next(entry for entry in model.metadata_props if entry.key == KEY)
    said = json.loads(card.value)
    said["preprocessing"]["size"] = side
    card.value = json.dumps(said)
    return bytes(model.SerializeToString())


def search_small(picture: np.ndarray) -> list[Found]:
    """`find` at 160 pixels for pictures that are searched whole today; landmarks are trusted as they are today."""
    longest = max(picture.shape[:2])
    if longest >= faces.CLOSE:  # a larger picture, or a closer look
        return finder.find(picture)
    with mock.patch.object(finder, "SIDE", SEARCHED):
        return [replace(face, size=face.size * longest / SEARCHED) for face in finder.find(picture)]


def make_ways(inputs: list[np.ndarray]) -> dict[str, Way]:
    path = bundled()["fast"]
    data, eight = path.read_bytes(), in_8_bits(path, inputs, 0)

    def load(file: bytes) -> Detector:
        with mock.patch.object(graph, "check"):  # it knows no operator of 8-bit networks
            return Detector(file, threads=1)

    fast = load(data)
    return {
        TODAY: Way(fast),
        "8 bits": Way(load(eight)),
        "8 bits, first layer in float": Way(load(in_8_bits(path, inputs, 1))),
        f"{NARROW} pixels": Way(load(at_size(data, NARROW))),
        f"face searched for at {SEARCHED} pixels": Way(fast, search_small),
        "all at once": Way(load(at_size(eight, NARROW)), search_small),
    }


def take_turns(steps: Mapping[str, Callable[[int], object]], count: int, rounds: int) -> dict[str, list[float]]:
    """Milliseconds of each step on each of `count` things, in the same order for all."""
    took: dict[str, list[float]] = {name: [] for name in steps}
    for i in list(range(count)) * rounds:
        for name, step in steps.items():
            start = perf_counter()
            step(i)
            took[name].append(1000 * (perf_counter() - start))
    return took


def speed(ways: dict[str, Way], rounds: int) -> tuple[dict[str, float], dict[str, Row]]:
    """What `check` does on the files of benchmarks/speed.py, step by step, and how long it takes in each way."""
    with tempfile.TemporaryDirectory() as folder:
        files = make_files(Path(folder), 12)
        data = [Path(path).read_bytes() for path in files]
        pictures = [images.decode(file) for file in data]
        today = ways[TODAY].detector

        def limit(_: int) -> None:
            timer = threading.Timer(60, print)
            timer.start()
            timer.cancel()

        steps: dict[str, Callable[[int], object]] = {
            "reading": lambda i: images.read_bytes(files[i]),
            "decoding": lambda i: images.decode(data[i]),
            "SHA-256 and notes": lambda i: (hashlib.sha256(data[i]), provenance.read(data[i])),
            "search at 256 pixels": lambda i: finder.find(pictures[i]),
            "search, closer look and crop": lambda i: faces.candidates(pictures[i]),
            "time limit": limit,
            "network": lambda _: today.logits(pictures[:1]),
            "check": lambda i: today.check(files[i]),
        }
        spent = {name: round(statistics.median(took), 2) for name, took in take_turns(steps, 12, rounds).items()}
        checks = {name: lambda i, way=way: way.check(files[i]) for name, way in ways.items()}
        networks = {name: lambda _, way=way: way.detector.logits(pictures[:1]) for name, way in ways.items()}
        rows: dict[str, Row] = {name: {} for name in ways}
        for what, calls in (("check", checks), ("network", networks)):
            took = take_turns(calls, 12, rounds)
            for name, row in rows.items():
                ratio = statistics.median(np.array(took[TODAY]) / np.array(took[name]))
                row |= {f"{what}_ms": round(statistics.median(took[name]), 1), f"{what}_times": round(ratio, 2)}
    return spent, rows


def compared(
    today: list[tuple[float, str]], way: list[tuple[float, str]], labels: list[int], detector: Detector
) -> Row:
    """AUC, accuracy at 0.5 and how many verdicts are others than today's."""
    scores = np.array([logit for logit, _ in way])
    right = (detector.probabilities(scores) >= 0.5) == np.array(labels, bool)
    return {
        "pictures": len(way),
        "auc": round(float(roc_auc_score(labels, scores)), 4),
        "accuracy": round(float(right.mean()), 4),
        "changed": sum(a[1] != b[1] for a, b in zip(today, way, strict=True)),
    }


def judge(ways: dict[str, Way], samples: list[Sample]) -> dict[str, Row]:
    """What each way says of the main faces of pictures, as they are and after one random history."""
    said: dict[str, dict[int, list[tuple[float, str]]]] = {name: {0: [], 1: []} for name in ways}
    moved: dict[str, list[float]] = {name: [] for name in ways}
    labels = []
    for i, sample in enumerate(track(samples, "valid pictures")):
        try:
            picture, usual = images.decode(sample.path.read_bytes()), read_face(sample.path, "face")
        except ImageError:
            continue
        labels.append(sample.label)
        for name, way in ways.items():
            found = usual if way.find is finder.find else way.candidate(picture)
            face = found or usual
            moved[name].append(shift(usual, face))
            for strength in (0, 1):
                if name != TODAY and way.detector is ways[TODAY].detector and not moved[name][-1]:
                    said[name][strength].append(said[TODAY][strength][-1])
                    continue
                crop = network_input(face.pixels, way.detector.card.preprocessing.size, strength, (0, i))
                said[name][strength].append(way.judge(crop, face.reason))
    rows: dict[str, Row] = {}
    for name, way in ways.items():
        rows[name] = {"crops_changed": sum(map(bool, moved[name])), "largest_shift": round(max(moved[name]), 3)}
        for strength, how in ((0, "clean"), (1, "degraded")):
            rows[name][how] = compared(said[TODAY][strength], said[name][strength], labels, way.detector)
    return rows


def shift(one: Candidate, other: Candidate) -> float:
    """How far a crop is moved or resized, as a share of its side; a level of difference in a pixel counts a little."""
    (x, y, side, _), (u, v, size, _) = one.crop.box, other.crop.box
    if (x, y, side) != (u, v, size) or one.crop.roll != other.crop.roll:
        return max(abs(x - u), abs(y - v), abs(side - size), abs(one.crop.roll - other.crop.roll)) / side
    return 0.0 if np.array_equal(one.pixels, other.pixels) else 1e-6


def half_size(data: bytes) -> np.ndarray:
    """`images.decode` of a JPEG file at half its size."""
    image = images._open(data, images.Limits())
    image.draft(None, (image.width // 2, image.height // 2))
    image.load()
    return images._upright_srgb(image)


def large(way: Way, samples: list[Sample]) -> dict[str, Row]:
    """JPEG files of 1,000 pixels and more, decoded whole or at half their size where the crop keeps enough pixels."""
    decoders = (images.decode, half_size)
    sides, labels = [], []
    took: list[list[float]] = []  # decoding, then the rest; whole, then half
    said: list[list[tuple[float, str]]] = []
    for sample in track(samples, "large pictures"):
        data = sample.path.read_bytes()
        both, times, side = [], [], 0
        for decode in decoders:
            start = perf_counter()
            picture = decode(data)
            decoded = perf_counter()
            face = way.candidate(picture)
            if face:
                both.append(way.judge(face.pixels, face.reason))
                side = len(face.pixels)
            times += [1000 * (decoded - start), 1000 * (perf_counter() - decoded)]
        if len(both) == 2:
            took.append(times)
            said.append(both)
            sides.append(side)
            labels.append(sample.label)
    rows: dict[str, Row] = {}
    for least in LEAST:
        used = np.array(sides) >= least
        whole, rest, half, rest_half = np.array(took).T
        way_takes = half + np.where(used, rest_half, whole + rest)
        usual = [both[0] for both in said]
        answers = [both[use] for both, use in zip(said, used.astype(int), strict=True)]
        probabilities = [way.detector.probabilities(np.array([a for a, _ in of])) for of in (usual, answers)]
        rows[f"half-size decoding, crops of {least} pixels or more"] = {
            "decoded_at_half": int(used.sum()),
            "ms": round(float(np.median(way_takes)), 1),
            "ms_today": round(float(np.median(whole + rest)), 1),
            "times": round(float(np.median((whole + rest) / way_takes)), 2),
            "decoding_ms": [round(float(np.median(took)), 1) for took in (whole, half)],
            "largest_change": round(float(np.abs(probabilities[0] - probabilities[1]).max()), 3),
            "today": compared(usual, usual, labels, way.detector),
            "clean": compared(usual, answers, labels, way.detector),
        }
    return rows


def is_large(sample: Sample) -> bool:
    with Image.open(sample.path) as image:
        return image.format == "JPEG" and min(image.size) >= LARGE


def main() -> None:
    parser = parser_of(__file__, __doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    logging.disable(logging.WARNING)  # the quantiser has a word on every channel
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])  # the finder, too, on one core
    samples = read_data(options.data)
    train = [sample for sample in samples if sample.split == "train"]
    given = []
    for i, sample in enumerate(track(train[:: max(1, len(train) // CALIBRATED_ON)], "train pictures")):
        try:
            given.append(network_input(read_face(sample.path, "face").pixels, 256, 1.0, (1, i)))
        except ImageError:
            continue
    ways = make_ways(given)
    big = [sample for sample in samples if is_large(sample)]
    print("times", file=sys.stderr, flush=True)
    spent, rows = speed(ways, options.rounds)
    half = large(ways[TODAY], big)
    judged = judge(ways, thinned([sample for sample in samples if sample.split == "valid"], options.every))
    keras = result("speed")["rows"]["Keras notebook-small"]["1"]
    found = {
        "command": f"python scripts/faster.py DATA --every {options.every}",
        **origin(),
        "instructions": instructions(),
        "bar_ms": round(1000 / keras["images_per_second"] / 15, 1),
        "steps_ms": spent,
        "rows": {name: rows[name] | judged[name] for name in ways},
        "large": half,
    }
    tell(found, options.out)


def instructions() -> list[str]:
    """Which of the instructions that 8-bit networks gain by this processor has."""
    try:
        has = Path("/proc/cpuinfo").read_text().split()
    except OSError:
        return []
    return [name for name in ("avx2", "avx512f", "avx_vnni", "avx512_vnni", "amx_int8") if name in has]


if __name__ == "__main__":
    main()
