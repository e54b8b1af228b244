"""How well faces are found and cut, and what that costs.

    python benchmarks/faces.py DATA [--out results/faces.json]

On labelled faces (any layout of `realface train`): the share of each source's pictures whose main face is found, and
the bundled detector's figures on every second test picture of the 140k sources three ways: the ready-made crops as they
are, the crops through the face finder, and pasted into photographs of 1,600 x 1,200 pixels. Beside that: test pictures
on their side and upside down, faces "found" in generated pictures that hold none, and the time for a picture of
640 x 480.
"""

import statistics
import time
from collections import Counter
from dataclasses import replace
from functools import cache, partial
from pathlib import Path

import numpy as np
import skimage
from PIL import Image, ImageDraw

from realface import Detector, faces, images
from realface.data import Sample, read_data
from realface.evaluation.metrics import figures
from realface.evaluation.origin import origin, parser_of, tell
from realface.finder import find
from realface.progress import track

FACELESS = 2000
SMALL = 300  # pictures with room around the face
STEP = 2  # of the test pictures every second is turned, of the 140k ones judged three ways
SCENES = ("coffee", "rocket", "chelsea")  # photographs without people that come with scikit-image


def recall(samples: list[Sample]) -> dict[str, dict[str, float]]:
    """By source: pictures, and the share of them whose main face is found.

    The main face of a labelled picture lies around its middle: the largest face found counts if its centre is in the
    middle three fifths of the width, and between a tenth and four fifths of the height.
    """
    total: Counter[str] = Counter()
    hits: Counter[str] = Counter()
    for sample in track(samples, "finding faces"):
        picture = images.load(sample.path)
        total[sample.source] += 1
        if found := find(picture):
            height, width = picture.shape[:2]
            left, top, right, bottom = found[0].box
            x, y = (left + right) / 2 / width, (top + bottom) / 2 / height
            hits[sample.source] += 0.2 <= x <= 0.8 and 0.1 <= y <= 0.8
    return {name: {"pictures": n, "found": round(hits[name] / n, 4)} for name, n in sorted(total.items())}


def turned(samples: list[Sample]) -> dict[str, dict[str, float]]:
    """Of pictures turned by so many degrees: the share whose main face is turned upright again, and without a face."""
    rolls: dict[int, list[float | None]] = {90: [], 180: [], 270: []}
    for sample in track(samples, "turning pictures"):
        picture = images.load(sample.path)
        if not (upright := faces.candidates(picture)):
            continue
        for degrees, of_turn in rolls.items():
            found = faces.candidates(np.rot90(picture, degrees // 90))  # anticlockwise
            of_turn.append((found[0].crop.roll - upright[0].crop.roll + degrees) % 360 if found else None)
    return {
        str(degrees): {
            "pictures": len(of_turn),
            "upright": round(float(np.mean([roll is not None and min(roll, 360 - roll) < 20 for roll in of_turn])), 4),
            "no_face": round(float(np.mean([roll is None for roll in of_turn])), 4),
        }
        for degrees, of_turn in rolls.items()
    }


def faceless(count: int) -> float:
    """The share of generated pictures of shapes, stripes and noise in which a face is found."""
    rng = np.random.default_rng(0)
    wrong = 0
    for _ in track(range(count), "looking where there is no face"):
        coarse = rng.integers(0, 256, (*rng.integers(2, 12, 2), 3), dtype=np.uint8)
        size = tuple(rng.integers(200, 700, 2).tolist())
        image = Image.fromarray(coarse).resize(size, Image.Resampling(int(rng.integers(0, 4))))
        draw = ImageDraw.Draw(image)
        for _ in range(int(rng.integers(0, 25))):
            x, y = rng.integers(-50, 600, 2).tolist()
            w, h = rng.integers(5, 300, 2).tolist()
            shape = (draw.ellipse, draw.rectangle, partial(draw.arc, start=0, end=360))[int(rng.integers(0, 3))]
            colour = tuple(rng.integers(0, 256, 3).tolist())
            shape((x, y, x + w, y + h), fill=colour)
        noisy = np.asarray(image) + rng.normal(0, rng.uniform(0, 20), (size[1], size[0], 3))
        wrong += bool(faces.candidates(noisy.clip(0, 255).astype(np.uint8)))
    return wrong / count


def milliseconds(rounds: int = 40) -> float:
    """Median time to find the faces in a photograph of 640 x 480 pixels and cut their crops."""
    picture = np.asarray(Image.fromarray(skimage.data.astronaut()).resize((640, 640)))[:480]
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        faces.candidates(picture)
        times.append(1000 * (time.perf_counter() - start))
    return statistics.median(times)


@cache
def scene(name: str) -> np.ndarray:
    return np.asarray(Image.fromarray(getattr(skimage.data, name)()).resize((1600, 1200)))


def pasted(crop: np.ndarray, number: int) -> np.ndarray:
    """A crop, in its own pixels, somewhere in a photograph of 1,600 x 1,200."""
    rng = np.random.default_rng(number)
    picture = scene(SCENES[number % len(SCENES)]).copy()
    top, left = (int(rng.integers(0, room - side)) for room, side in zip(picture.shape, crop.shape[:2], strict=False))
    picture[top : top + crop.shape[0], left : left + crop.shape[1]] = crop
    return picture


def three_ways(detector: Detector, samples: list[Sample]) -> dict[str, dict[str, float | int | None]]:
    """The detector's figures on ready-made crops: as they are, through the finder, and small in large photographs."""
    ways = {"as they are": 0, "through the finder": 1, "in photographs of 1600 x 1200": 2}
    labels = np.array([sample.label for sample in samples])
    fakes: dict[str, list[float]] = {way: [] for way in ways}
    judged: dict[str, list[bool]] = {way: [] for way in ways}
    for number, sample in enumerate(track(samples, "judging crops three ways")):
        crop = images.load(sample.path)
        for way, how in ways.items():
            picture = pasted(crop, number) if how == 2 else crop
            found = faces.candidates(picture, "face" if how else "centre-square")
            pixels = found[0].pixels if found else crop  # a face that is missed counts as inconclusive
            logits, novelty, _ = detector.judge([pixels])
            judged[way].append(bool(found) and found[0].reason is None and not detector.unfamiliar(novelty)[0])
            fakes[way].append(float(detector.probabilities(logits)[0]))
    return {way: figures(labels, np.array(fakes[way]), np.array(judged[way]), detector.card.thresholds) for way in ways}


def small_in_frame(detector: Detector, samples: list[Sample], count: int) -> dict[str, dict[str, float | int | None]]:
    """The figures on pictures with room around the face: alone, and pasted whole into photographs of 1,600 x 1,200.

    Unlike a ready-made crop, such a picture hides its edges from the detector: the crop lies within it both times.
    """
    rng = np.random.default_rng(0)
    alone: list[faces.Candidate] = []
    within: list[faces.Candidate] = []
    labels: list[int] = []
    for row in track(rng.permutation(len(samples)), "judging small faces in photographs"):
        picture = images.load(samples[row].path)
        found = faces.candidates(picture)
        if not found or found[0].crop.box[2] > 0.8 * min(picture.shape[:2]) or max(picture.shape[:2]) > 1000:
            continue
        again = faces.candidates(pasted(picture, len(labels)))
        alone.append(found[0])
        within.append(again[0] if again else found[0])
        labels.append(samples[row].label)
        if len(labels) == count:
            break
    result = {}
    for way, some in {"alone": alone, "in photographs of 1600 x 1200": within}.items():
        logits, novelty = map(np.concatenate, zip(*(detector.judge([face.pixels])[:2] for face in some), strict=True))
        judged = np.array([face.reason is None for face in some]) & ~detector.unfamiliar(novelty)
        fake = detector.probabilities(logits)
        result[way] = figures(np.array(labels), fake, judged, detector.card.thresholds)
    return result


def main() -> None:
    parser = parser_of(__file__, __doc__)
    parser.add_argument("data", type=Path)
    options = parser.parse_args()
    detector, samples = Detector.load(), read_data(options.data)
    tests = [s for s in samples if s.split == "test"]
    crops = [s for s in tests if s.source.startswith("140k")][::STEP]
    result = {
        "command": "python benchmarks/faces.py DATA",
        **origin(),
        "detector": detector.id.sha256,
        "milliseconds_640x480": round(milliseconds(), 1),
        "faceless": {"pictures": FACELESS, "found": faceless(FACELESS)},
        "recall": recall([replace(s, source=s.source or "all") for s in samples]),
        "turned": turned(tests[::STEP]),
        "three_ways": three_ways(detector, crops),
        "small_in_frame": small_in_frame(detector, tests, SMALL),
    }
    tell(result, options.out)


if __name__ == "__main__":
    main()
