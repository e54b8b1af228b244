"""Five networks of the registry, trained for the same time on the same pictures and measured on the same test split.

    python scripts/five_networks.py DATA --minutes 6 [--only NAME …] [--runs runs/five] [--out FILE.csv]

The two networks of the notebook with the notebook's settings (their defaults: the centred square, no degradations, the
rate reduced on a plateau), and three others with theirs, the rate falling to zero over the time there is. Training ends
where the time does, also within an epoch; nothing stops it earlier, and the weights with the lowest validation loss
count. `clip-b16` is not among them: one pass of its frozen trunk over these pictures takes longer than the others may
train; nor is `native`, which learns from pairs of windows.

A network that is in the CSV already, for the same time and pictures, is kept; the run can be stopped and repeated.
"""

import argparse
import contextlib
import csv
import io
import math
import statistics
import sys
from pathlib import Path
from time import monotonic, perf_counter
from typing import Any

import numpy as np
from figures import RESULTS
from sklearn.metrics import roc_auc_score

import realface.training  # noqa: F401  # before PyTorch is: it says how its threads wait
from realface import Detector
from realface.data import Sample
from realface.data.crops import read_face
from realface.data.layouts import content_hash, read_splits
from realface.degrade import GRID
from realface.errors import ImageError
from realface.evaluation.origin import origin, result_file
from realface.evaluation.scores import score_each
from realface.networks import describe
from realface.paths import write_whole
from realface.progress import bar, track
from realface.training.checkpoint import SafeCheckpoints
from realface.training.config import Config, make_config
from realface.training.finish import finish
from realface.training.fit import Task, fit
from realface.training.sources import Source
from realface.training.train import lines_of, new_network

NAMES = ("notebook-small", "notebook-wide", "efficientnet-lite0", "trace-resnet", "two-stream")
PAIRED = ("140k-a", "140k-b")  # of real and fake pictures made alike; where the data has none of them: all sources
CELLS = ("JPEG 50", "WebP 50", "scale 0.5", "blur 1", "noise 5")
EVERY = 2  # one in so many of each class of the paired test pictures goes through the cells
Row = dict[str, Any]


class Timed(Task):
    """Trains for some seconds, validation included; a cosine schedule falls to zero by the clock."""

    def __init__(self, seconds: float, *task: Any) -> None:
        super().__init__(*task)
        self.seconds = seconds

    def on_train_start(self) -> None:
        self.started, self.bar = monotonic(), bar()
        self.bar.start()
        self.shown = self.bar.add_task(f"{self.config.network}, seconds", total=round(self.seconds))

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        super().on_train_batch_start(batch, batch_idx)
        if self.config.schedule == "cosine":
            done = min((monotonic() - self.started) / self.seconds, 1)
            for group in self.trainer.optimizers[0].param_groups:
                group["lr"] = self.config.learning_rate * (1 + math.cos(math.pi * done)) / 2

    def on_train_batch_end(self, *_: Any, **__: Any) -> None:
        passed = monotonic() - self.started
        self.bar.update(self.shown, completed=min(round(passed), round(self.seconds)))
        self.trainer.should_stop = passed >= self.seconds  # Lightning then validates, saves and stops

    def on_train_end(self) -> None:
        self.bar.stop()


def trained(
    config: Config, splits: dict[str, list[Sample]], lines: dict[Sample, str], seconds: float, run: Path
) -> Row:
    """Train a network into a run folder, and what that took; one that is trained there already is not trained again."""
    network = new_network(config)
    sources = [Source(splits[name], config.balance, network.input_size) for name in ("train", "valid")]
    run.mkdir(parents=True, exist_ok=True)
    task = Timed(seconds, network, config, *sources)
    try:
        fit(task, run, resume=(run / "checkpoints" / "finished").exists(), quiet=True)
    except KeyboardInterrupt:
        task.on_train_end()
        sys.exit("stopped; the same command goes on with the network it was at")
    finish(network, config, splits, lines, run)
    with (run / "metrics.csv").open(newline="") as file:
        took = sum(float(row["seconds"]) for row in csv.DictReader(file))
    steps = SafeCheckpoints().load_checkpoint(run / "checkpoints" / "last.safetensors")["global_step"]
    return {
        "training_seconds": round(took),
        "epochs": round(steps * config.batch_size / len(splits["train"]), 1),
    }


def measured(path: Path, test: list[Sample]) -> Row:
    """What a detector file is worth on all test pictures, on the paired sources, there after changes; its speed."""
    detector = Detector.load(path, threads=1)
    figures = detector.card.metrics["test"]
    paired = [figures[name] for name in PAIRED if name in figures] or [figures["all"]]
    those = [sample for sample in test if sample.source in PAIRED] or test
    some = [sample for label in (0, 1) for sample in [s for s in those if s.label == label][::EVERY]]
    cells = score_each(detector, some, "through the cells", [GRID[name] for name in CELLS])
    crop = np.random.default_rng(0).integers(0, 256, (256, 256, 3), np.uint8)
    times = []
    for _ in range(20):
        start = perf_counter()
        detector.logits([crop])
        times.append(perf_counter() - start)
    return {
        "accuracy": round(figures["all"]["accuracy"], 4),
        "auc": round(figures["all"]["auc"], 4),
        "accuracy_140k": round(statistics.mean(row["accuracy"] for row in paired), 4),
        "auc_140k": round(statistics.mean(row["auc"] for row in paired), 4),
        "robust_auc": round(statistics.mean(float(roc_auc_score(cell.labels, cell.logits)) for cell in cells), 4),
        "faces_per_second": round(1 / statistics.median(times[3:]), 1),
    }


def compare(data: Path, minutes: float, names: list[str], runs: Path, out: Path) -> list[Row]:
    """Train and measure the named networks that are not in the CSV yet; all rows."""
    splits = read_splits(data)
    lines = lines_of(splits)
    same = {"minutes": f"{minutes:g}", "data_sha256": content_hash(lines.values())}
    rows: list[Row] = []
    if out.exists():
        with out.open(newline="", encoding="utf-8") as file:
            rows = [row for row in csv.DictReader(file) if all(row[key] == value for key, value in same.items())]
    missing = [name for name in names if name not in {row["network"] for row in rows}]
    if missing:
        for sample in track(lines, "finding faces"):
            with contextlib.suppress(ImageError):  # found once, remembered: that is no network's time
                read_face(sample.path, "face")
    facts = {fact.name: fact for fact in describe()}
    for name in missing:
        config = make_config({"network": name, "patience": 1000, "epochs": 1000})  # never reached
        run = runs / f"{name}-{same['minutes']}-{same['data_sha256'][:8]}"
        made = origin("torch")
        row = {
            "network": name,
            "parameters": facts[name].parameters,
            "multiply_adds": facts[name].multiply_adds,
            "input_size": facts[name].input_size,
            "pretrained": config.pretrained,
            **trained(config, splits, lines, 60 * minutes, run),
            **measured(run / "detector.onnx", splits["test"]),
            **same,
            **{split: len(samples) for split, samples in splits.items()},
            "hardware": made["machine"],
            **{name: made["versions"][name] for name in ("realface", "torch", "onnxruntime")},
            "commit": made.get("commit"),
        }
        rows.append(row)
        rows.sort(key=lambda row: (*NAMES, row["network"]).index(row["network"]))
        text = io.StringIO()
        writer = csv.DictWriter(text, list(row), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        write_whole(out, text.getvalue().encode())
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--minutes", type=float, default=6)
    parser.add_argument("--only", nargs="+", choices=NAMES, default=list(NAMES), metavar="NAME")
    parser.add_argument("--runs", type=Path, default=Path("runs/five"))
    parser.add_argument("--out", type=result_file, default=RESULTS / "five-networks.csv")
    options = parser.parse_args()
    for row in compare(options.data, options.minutes, options.only, options.runs, options.out):
        print(f"{row['network']}: AUC {row['auc']}, after changes {row['robust_auc']}")


if __name__ == "__main__":
    main()
