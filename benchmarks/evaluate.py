"""How long `realface evaluate` takes for 2,000 faces on the whole laundering grid, and how much memory.

    python benchmarks/evaluate.py DATA [--detector fast] [--every 4] [--out results/evaluate.json]

Of all splits one in four pictures, so that DATA as the project has it gives a little over 2,000.
"""

import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from realface.evaluation.origin import origin, parser_of, tell

MINUTES, MEGABYTES, FACES = 15, 2000, 2000


def main() -> None:
    parser = parser_of(__file__, __doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--detector", default="fast")
    parser.add_argument("--every", type=int, default=4)
    options = parser.parse_args()
    asked = ["--detector", options.detector, "--split", "all", "--every", str(options.every), "--grid"]
    with tempfile.TemporaryDirectory() as folder:
        command = ["from realface.cli import main; main()", "evaluate", str(options.data), *asked, "--out", folder]
        start = time.perf_counter()
        subprocess.run([sys.executable, "-c", *command], check=True, stdout=subprocess.DEVNULL)
        minutes = (time.perf_counter() - start) / 60
        said = json.loads((Path(folder) / "evaluation.json").read_text())
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * (1 if sys.platform == "darwin" else 1024)  # bytes
    (detector,) = said["detectors"]
    result = {
        "command": f"realface evaluate DATA {' '.join(asked)}",
        **origin(),
        "detector": detector["detector"]["sha256"],
        "faces": detector["figures"]["all"]["real"] + detector["figures"]["all"]["fake"],
        "cells": len(detector["grid"]["cells"]),
        "minutes": round(minutes, 1),
        "peak_megabytes": round(peak / 1e6),
        "bars": {"faces": FACES, "minutes": MINUTES, "peak_megabytes": MEGABYTES},
    }
    tell(result, options.out)


if __name__ == "__main__":
    main()
