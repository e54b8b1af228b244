"""Images a second of `Detector.check`, for every network, against the notebook's path through Keras.

    python benchmarks/speed.py [--images 64] [--rounds 5] [--out results/speed.json]

Everything runs in one call on the same files, taking turns round by round, so that the ratios hold
whatever else the machine does. TensorFlow is installed by this script alone, into a folder of its own. Networks
without a bundled detector are timed with untrained weights: speed does not depend on them. Plain PyTorch judges the
whole picture, as a script of ten lines would: no face is looked for, and no file is distrusted.
"""

import json
import statistics
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from skimage import data

from realface import Detector, bundled
from realface.card import Card
from realface.evaluation.origin import origin, parser_of
from realface.networks import NETWORKS, build
from realface.networks.base import Network
from realface.paths import cache_dir
from realface.training.config import make_config
from realface.training.export import export, preprocessing

TENSORFLOW = "tensorflow-cpu==2.21.0"
BATCH = 16
PLAIN = "efficientnet-lite0"  # the network of `fast`
Contender = Callable[[list[str], int], float]  # seconds for files, so many at a time


def keras_python() -> Path:
    """The Python of an environment that holds TensorFlow, made on the first call."""
    folder = cache_dir("benchmarks") / TENSORFLOW.replace("==", "-")
    python = folder / "bin" / "python"
    if not (folder / "ready").exists():
        venv.create(folder, with_pip=True, clear=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", TENSORFLOW, "pillow"], check=True)
        (folder / "ready").touch()
    return python


def make_files(folder: Path, count: int) -> list[str]:
    """256 x 256 JPEG files (quality 90) of one face, cut each time a little differently."""
    rng = np.random.default_rng(0)
    portrait = Image.fromarray(data.astronaut())
    paths = []
    for i in range(count):
        left, top, side = 90 + int(rng.integers(0, 20)), int(rng.integers(0, 10)), int(rng.integers(250, 290))
        paths.append(str(folder / f"{i}.jpg"))
        portrait.crop((left, top, left + side, top + side)).resize((256, 256)).save(paths[-1], quality=90)
    return paths


def ours(detector: Detector) -> Contender:
    def seconds(files: list[str], batch: int) -> float:
        start = time.perf_counter()
        if batch == 1:
            for path in files:
                detector.check(path)
        else:
            for _ in detector.check_many(files, batch_size=batch):
                pass
        return time.perf_counter() - start

    return seconds


def plain(network: Network) -> Contender:
    def seconds(files: list[str], batch: int) -> float:
        start = time.perf_counter()
        with torch.inference_mode():
            for first in range(0, len(files), batch):
                some = [Image.open(path).convert("RGB") for path in files[first : first + batch]]
                side = (network.input_size, network.input_size)
                pixels = [np.asarray(image.resize(side, Image.Resampling.BICUBIC)) for image in some]
                network(torch.from_numpy(np.stack(pixels)).movedim(-1, 1).float() / 255).sigmoid().numpy()
        return time.perf_counter() - start

    return seconds


def on_one_core(detector: Detector) -> float:
    """Median milliseconds a face of 256 pixels takes, cut already, on one core."""
    crop = np.asarray(Image.fromarray(data.astronaut()).crop((90, 0, 346, 256)))
    times = []
    for _ in range(12):
        start = time.perf_counter()
        detector.logits([crop])
        times.append(time.perf_counter() - start)
    return 1000 * statistics.median(times[2:])


def theirs(process: "subprocess.Popen[str]") -> Contender:
    def seconds(files: list[str], batch: int) -> float:
        assert process.stdin
        assert process.stdout
        process.stdin.write(json.dumps({"files": files, "batch": batch}) + "\n")
        process.stdin.flush()
        return float(json.loads(process.stdout.readline()))

    return seconds


def main() -> None:
    parser = parser_of(__file__, __doc__)
    parser.add_argument("--images", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()

    contenders: dict[str, Contender] = {}
    for name, path in bundled().items():
        contenders[f"bundled: {name}"] = ours(Detector.load(path))
    for name in NETWORKS:
        network = build(name, seed=0)
        given = preprocessing(network, make_config({"network": name}).framing)
        contenders[name] = ours(Detector(export(network, Card(name, "0", name, given))))
    contenders[f"plain PyTorch: {PLAIN}"] = plain(build(PLAIN, seed=0).eval())
    worker = Path(__file__).with_name("keras_path.py")
    with (
        tempfile.TemporaryDirectory() as folder,
        subprocess.Popen([keras_python(), worker], stdin=-1, stdout=-1, text=True) as process,
    ):
        assert process.stdout
        facts = json.loads(process.stdout.readline())
        contenders["Keras notebook-small"] = theirs(process)
        files = make_files(Path(folder), options.images)
        rates: dict[str, dict[int, list[float]]] = {name: {1: [], BATCH: []} for name in contenders}
        for contender in contenders.values():  # warm-up
            contender(files[:4], 1)
            contender(files[:BATCH], BATCH)
        for number in range(options.rounds):
            for name, contender in contenders.items():
                for batch in (1, BATCH):
                    rates[name][batch].append(len(files) / contender(files, batch))
            print(f"round {number + 1} of {options.rounds}", file=sys.stderr)
        assert process.stdin
        process.stdin.close()

    base = rates["Keras notebook-small"]
    rows = {}
    for name, by_batch in rates.items():
        rows[name] = {
            str(batch): {
                "images_per_second": round(statistics.median(got), 1),
                "ratio_to_keras": round(statistics.median(a / b for a, b in zip(got, base[batch], strict=True)), 2),
            }
            for batch, got in by_batch.items()
        }
    result = {
        "command": f"python benchmarks/speed.py --images {options.images} --rounds {options.rounds}",
        **origin("torch"),
        "keras": facts["version"],
        "keras_parameters": facts["parameters"],
        "milliseconds_on_one_core": {
            name: round(on_one_core(Detector.load(path, threads=1)), 1) for name, path in bundled().items()
        },
        "rows": rows,
    }
    options.out.write_text(json.dumps(result, indent=1) + "\n")
    print(f"| detector | one at a time, images/s | ratio to Keras | batches of {BATCH}, images/s | ratio |")
    print("|---|--:|--:|--:|--:|")
    for name, row in rows.items():
        one, many = row["1"], row[str(BATCH)]
        print(
            f"| {name} | {one['images_per_second']} | {one['ratio_to_keras']} "
            f"| {many['images_per_second']} | {many['ratio_to_keras']} |"
        )


if __name__ == "__main__":
    main()
