"""Whether the heatmap means something: hiding what it marks must move the score more than hiding anything else.

    python benchmarks/heatmap.py DATA [--pictures 60] [--out results/heatmap.json]

For fake faces of the test split that the detector calls fake, a tenth of the crop's cells is hidden: those that the
heatmap says speak most for fake, those that speak least for it, or random ones (the mean of five draws). Hidden cells
get the blurred colours of their surroundings, or plain grey. What counts is how far logit and probability of fake fall.
"""

from pathlib import Path

import numpy as np
from PIL import Image, ImageFilter

from realface import Detector, faces, images
from realface.data import read_data
from realface.evaluation.origin import origin, parser_of, tell
from realface.progress import track

SHARE = 0.1
DRAWS = 5


def hidden(crop: np.ndarray, cells: np.ndarray, filling: np.ndarray) -> np.ndarray:
    """A (S, S, 3) crop with the cells marked in a (G, G) bool grid replaced by those of `filling`."""
    mask = np.asarray(Image.fromarray(cells).resize(crop.shape[:2], Image.Resampling.NEAREST))
    return np.where(mask[..., None], filling, crop)


def top(scores: np.ndarray) -> np.ndarray:
    """(G, G) bool: the tenth of the cells with the highest scores."""
    chosen = np.zeros(scores.size, bool)
    chosen[np.argsort(-scores.ravel())[: round(SHARE * scores.size)]] = True
    return chosen.reshape(scores.shape)


def main() -> None:
    parser = parser_of(__file__, __doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--detector", default="best")
    parser.add_argument("--pictures", type=int, default=60)
    parser.add_argument("--split", default="test")
    options = parser.parse_args()
    detector = Detector.load(options.detector)
    samples = [s for s in read_data(options.data) if s.split == options.split and s.label == 1]
    rng = np.random.default_rng(0)
    order = rng.permutation(len(samples))
    falls: dict[str, list[tuple[float, float]]] = {}
    used = 0
    for row in track(order[: 2 * options.pictures], "hiding parts of faces"):
        found = faces.candidates(images.load(samples[row].path), detector.card.preprocessing.crop)
        if used == options.pictures:
            break
        if not found or found[0].reason:
            continue
        crop = found[0].pixels
        logit, maps = detector.explain([crop])
        if detector.probabilities(logit)[0] < detector.card.thresholds.fake_from:
            continue
        used += 1
        evidence = maps[0]
        blurred = np.asarray(Image.fromarray(crop).filter(ImageFilter.GaussianBlur(len(crop) / 16)))
        draws = [top(rng.random(evidence.shape)) for _ in range(DRAWS)]
        for name, filling in {"blurred": blurred, "grey": np.full_like(crop, 128)}.items():
            cells = [top(evidence), top(-evidence), *draws]
            after = detector.logits([hidden(crop, chosen, filling) for chosen in cells])
            by_logit = logit[0] - after
            by_probability = detector.probabilities(logit)[0] - detector.probabilities(after)
            for i, which in enumerate(("marked", "least marked")):
                falls.setdefault(f"{which}, {name}", []).append((float(by_logit[i]), float(by_probability[i])))
            means = (float(by_logit[2:].mean()), float(by_probability[2:].mean()))
            falls.setdefault(f"random, {name}", []).append(means)
    result = {
        "command": "python benchmarks/heatmap.py DATA",
        **origin(),
        "detector": detector.id.sha256,
        "pictures": used,
        "share_hidden": SHARE,
        "mean_fall": {
            name: dict(zip(("logit", "probability"), np.mean(values, 0).round(4).tolist(), strict=True))
            for name, values in falls.items()
        },
    }
    tell(result, options.out)


if __name__ == "__main__":
    main()
