"""Scanning many pictures: its rate against decoding and judging alone, its memory, kills, and Ray.

    python benchmarks/scan.py [--detector fast] [--images 2000] [--memory 5000 200000] [--kills 20] [--ray 1000]

Pictures are JPEG files of 256 x 256 pixels with one face. "Decode" is reading and decoding them, "networks" finding
faces and judging them decoded, both by as many processes as a scan has, without a scan. The memory is that of a scan
and all its workers, the largest of a look every tenth of a second, each process counted with what it shares with
others divided among them; the pictures are links to few files, since only their number matters. A kill is of the scan
alone, after a random share of the time that it takes undisturbed. A part is left out with 0 as its number.
"""

import argparse
import json
import os
import random
import shlex
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from pyarrow import parquet
from speed import make_files

from realface import Detector, images
from realface.evaluation.origin import origin, parser_of
from realface.scan.parts import folder_of

CORES = len(os.sched_getaffinity(0))
BARRIER: list[Any] = []


def _meet(barrier: Any) -> None:
    BARRIER.append(barrier)


def decode(files: list[str], detector: str) -> tuple[float, float]:
    """When, by the wall clock, decoding all files began and ended; it begins in all processes at once."""
    BARRIER[0].wait()
    start = time.time()
    for path in files:
        images.load(path)
    return start, time.time()


def judge(files: list[str], detector: str) -> tuple[float, float]:
    """As `decode`, of judging files that are decoded."""
    pictures = [images.load(path) for path in files[:50]]
    judged = Detector.load(detector, threads=1)
    judged.check(pictures[0])
    BARRIER[0].wait()
    start = time.time()
    for number in range(len(files)):
        judged.check(pictures[number % len(pictures)])
    return start, time.time()


def alone(work: Callable[[list[str], str], tuple[float, float]], files: list[str], detector: str) -> float:
    """Files a second, on all cores."""
    context = get_context("spawn")
    with context.Pool(CORES, _meet, [context.Barrier(CORES)]) as pool:
        shares = [(files[core::CORES], detector) for core in range(CORES)]
        begun, ended = zip(*pool.starmap(work, shares, chunksize=1), strict=True)
        return float(len(files) / (max(ended) - min(begun)))


def command(source: Path, out: Path, options: argparse.Namespace, *more: str) -> list[str]:
    main = "from realface.cli import main; main()"
    return [sys.executable, "-c", main, "scan", str(source), "--out", str(out), "--detector", options.detector, *more]


def scan(source: Path, out: Path, options: argparse.Namespace, *more: str) -> float:
    """Seconds a scan takes, with its start and the summary."""
    out.unlink(missing_ok=True)
    start = time.perf_counter()
    done = subprocess.run(command(source, out, options, *more), capture_output=True, text=True)
    if done.returncode not in (0, 1):
        sys.exit(done.stderr)
    return time.perf_counter() - start


def tree(folder: Path, files: list[str], count: int) -> Path:
    """A folder of `count` pictures, a thousand in each folder within it."""
    for number in range(count):
        path = folder / f"{number // 1000:04}" / f"{number:07}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        os.link(files[number % len(files)], path)
    return folder


def rate(folder: Path, files: list[str], options: argparse.Namespace) -> dict[str, Any]:
    """Rounds of all three in turn; the scan's rate is of the pictures by which a long one is longer than a short."""
    few, many = (tree(folder / str(n), files, n) for n in (options.images // 10, options.images))
    names = sorted(map(str, many.rglob("*.jpg")))
    out = folder / "out.parquet"
    rounds: dict[str, list[float]] = {"decode": [], "networks": [], "scan": [], "scan_with_start": [], "ratio": []}
    for _ in range(options.rounds):
        rounds["decode"].append(alone(decode, names, options.detector))
        rounds["networks"].append(alone(judge, names, options.detector))
        short, long = scan(few, out, options), scan(many, out, options)
        rounds["scan"].append((options.images - options.images // 10) / max(long - short, 1e-9))
        rounds["scan_with_start"].append(options.images / long)
        rounds["ratio"].append(rounds["scan"][-1] / min(rounds["decode"][-1], rounds["networks"][-1]))
    return {name: round(statistics.median(of), 3) for name, of in rounds.items()}


def memory_of(process: int) -> int:
    """Bytes of a process and all below it."""
    try:
        children = Path(f"/proc/{process}/task").glob("*/children")
        below = sum(memory_of(int(child)) for file in children for child in file.read_text().split())
        lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
        return below + 1024 * sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    except OSError:  # it ended
        return 0


def memory(folder: Path, files: list[str], options: argparse.Namespace) -> dict[str, Any]:
    """Megabytes at the peak, for each number of pictures."""
    peaks = {}
    for count in options.memory:
        source, out = tree(folder / f"m{count}", files, count), folder / "memory.parquet"
        out.unlink(missing_ok=True)
        peak = 0
        with subprocess.Popen(command(source, out, options), stdout=-3, stderr=-3) as running:
            while running.poll() is None:
                peak = max(peak, memory_of(running.pid))
                time.sleep(0.1)
        peaks[str(count)] = round(peak / 2**20, 1)
        assert parquet.read_metadata(out).num_rows == count
    return peaks | {"ratio": round(peaks[str(options.memory[-1])] / peaks[str(options.memory[0])], 3)}


def kills(folder: Path, files: list[str], options: argparse.Namespace) -> dict[str, Any]:
    """Scans killed at random moments and resumed, against one that was left alone."""
    source, whole, out = tree(folder / "k", files, options.killed), folder / "whole.parquet", folder / "killed.parquet"
    seconds = scan(source, whole, options)
    wanted, moments = parquet.read_table(whole), random.Random(0)
    lost = twice = differing = killed = 0
    resumed_from = []
    for _ in range(options.kills):
        out.unlink(missing_ok=True)
        shutil.rmtree(folder_of(out), ignore_errors=True)
        with subprocess.Popen(command(source, out, options), stdout=-3, stderr=-3) as running:
            try:
                running.wait(moments.uniform(0, seconds))
            except subprocess.TimeoutExpired:
                running.send_signal(signal.SIGKILL)
                killed += 1
        resumed_from.append(sum(parquet.read_metadata(p).num_rows for p in folder_of(out).glob("*.parquet")))
        if not out.exists() or folder_of(out).exists():
            subprocess.run(command(source, out, options, "--resume"), capture_output=True, check=False)
        got = parquet.read_table(out)
        paths = got["path"].to_pylist()
        lost += len(set(wanted["path"].to_pylist()) - set(paths))
        twice += len(paths) - len(set(paths))
        differing += not got.equals(wanted)
    return {
        "pictures": options.killed,
        "killed": killed,
        "lost": lost,
        "twice": twice,
        "tables_that_differ": differing,
        "rows_in_parts_when_killed": resumed_from,
    }


def cluster(folder: Path, files: list[str], options: argparse.Namespace) -> dict[str, Any]:
    """Ray with one worker and with all cores, against the local engine; each of two sizes, to tell start from rate."""
    few, many = (tree(folder / f"r{n}", files, n) for n in (max(options.ray // 5, 1), options.ray))
    out, found, tables = folder / "ray.parquet", {}, []
    ways: dict[str, tuple[str, ...]] = {"local, 1 worker": ("--workers", "1"), "local": ("--workers", str(CORES))}
    ways |= {f"ray, {n} workers": ("--engine", "ray", "--workers", str(n)) for n in (1, CORES)}
    for name, way in ways.items():
        short, long = scan(few, out, options, *way), scan(many, out, options, *way)
        tables.append(parquet.read_table(out))
        each = max(long - short, 1e-9) / (options.ray - options.ray // 5)
        found[name] = {"images_per_second": round(1 / each, 2), "start_seconds": round(long - each * options.ray, 1)}
    one, all_cores = (found[f"ray, {n} workers"]["images_per_second"] for n in (1, CORES))
    local = found["local"]["images_per_second"] / found["local, 1 worker"]["images_per_second"]
    same = all(table.equals(tables[0]) for table in tables)
    return {
        "pictures": options.ray,
        **found,
        "speedup": round(all_cores / one, 2),
        "local_speedup": round(local, 2),
        "same_rows": same,
    }


def main() -> None:
    parser = parser_of(__file__, __doc__)
    parser.add_argument("--detector", default="fast")
    parser.add_argument("--images", type=int, default=2000, help="for the rate")
    parser.add_argument("--rounds", type=int, default=3, help="of the rate")
    parser.add_argument("--memory", type=int, nargs="+", default=[5000, 200_000])
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--killed", type=int, default=3000, help="pictures of a scan that is killed")
    parser.add_argument("--ray", type=int, default=1000, help="pictures for Ray")
    options = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    before = json.loads(options.out.read_text()) if options.out.exists() else {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "files").mkdir()
        files = make_files(folder / "files", 50)
        parts = {"rate": options.images, "memory": options.memory[-1], "kills": options.kills, "ray": options.ray}
        for part, do in {"rate": rate, "memory": memory, "kills": kills, "ray": cluster}.items():
            if parts[part]:
                asked = {"command": f"python {shlex.join(sys.argv)}", "detector": Path(options.detector).stem}
                before[part] = asked | do(folder, files, options)
                print(f"{part}: {json.dumps(before[part])}", file=sys.stderr)
    result = {
        **origin("pyarrow", "ray"),
        **{part: before[part] for part in ("rate", "memory", "kills", "ray") if part in before},
    }
    options.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
