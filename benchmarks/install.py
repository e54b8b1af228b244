"""How much `pip install .` puts on a disk, and how long a cold `realface check photo.jpg` takes.

    python benchmarks/install.py [--out results/install.json]

Installs this checkout into a new virtual environment and runs the command from there, fifteen times, each a new
process. The time is compared with that of starting the same Python and importing NumPy alone, and of importing
TensorFlow and loading the notebook's model, in turns.
"""

import statistics
import subprocess
import tempfile
import time
import venv
from pathlib import Path

from PIL import Image
from skimage.data import astronaut
from speed import keras_python

from realface.evaluation.origin import origin, parser_of, tell

ROOT = Path(__file__).resolve().parent.parent


def seconds(command: list[str]) -> float:
    start = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def main() -> None:
    parser = parser_of(__file__, __doc__)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        venv.create(folder / "venv", with_pip=True)
        python = folder / "venv" / "bin" / "python"
        packages = folder / "venv" / "lib"
        before = size(packages)
        subprocess.run([python, "-m", "pip", "install", "--quiet", ROOT], check=True)
        photo = folder / "photo.jpg"
        Image.fromarray(astronaut()[:300, 90:390]).save(photo)
        check = [str(python.with_name("realface")), "check", str(photo)]
        plain = [str(python), "-c", "import numpy"]
        keras, worker = str(keras_python()), str(Path(__file__).with_name("keras_path.py"))
        subprocess.run([keras, worker, "save", str(folder / "model.keras")], check=True)
        theirs = [keras, worker, "load", str(folder / "model.keras")]
        for command in (check, plain, theirs):  # so that none pays for files that nobody had read yet
            seconds(command)
        rounds = [(seconds(check), seconds(plain), seconds(theirs)) for _ in range(15)]
        result = {
            "command": "python benchmarks/install.py",
            **origin(),
            "installed_megabytes": round((size(packages) - before) / 1e6, 1),
            "cold_check_seconds": round(statistics.median(row[0] for row in rounds), 2),
            "import_numpy_seconds": round(statistics.median(row[1] for row in rounds), 2),
            "keras_load_seconds": round(statistics.median(row[2] for row in rounds), 2),
            "share_of_keras": round(statistics.median(row[0] / row[2] for row in rounds), 3),
        }
    tell(result, options.out)


def size(folder: Path) -> int:
    """Bytes of all files under a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


if __name__ == "__main__":
    main()
