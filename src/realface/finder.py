"""Find faces: boxes and five landmarks, by YuNet in ONNX Runtime.

Wu, Peng and Yu 2023, "YuNet: A Tiny Millisecond-level Face Detector", Machine Intelligence Research 20. The weights are
those of the OpenCV Zoo (MIT); `weights/finder/LICENCE.txt` says where they come from and what was changed.
"""

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image

from .runtime import ort

SIDE, BIG_SIDE, SMALL_SIDE = 640, 1280, 256
"""Longest sides, in pixels, at which a picture is searched: larger ones than 1,280 at that too, for the small faces of
group pictures, and where no face was found at 256, for one that fills the picture."""
SCORE = 0.6
OVERLAP = 0.3
MAX_FACES = 200
_STRIDES = (8, 16, 32)


@dataclass(frozen=True)
class Found:
    """A face in a picture, in pixels of the picture.

    Attributes:
        box: left, top, right, bottom.
        landmarks: (5, 2) x and y of the eyes, the tip of the nose and the corners of the mouth, each pair from left to
            right as they stand in the picture.
        score: how sure the finder is, 0 to 1.
        size: larger side of the box in pixels of the picture that was searched, which may be a smaller one.
    """

    box: tuple[float, float, float, float]
    landmarks: np.ndarray
    score: float
    size: float


def weights() -> bytes:
    """The finder's ONNX file."""
    return (Path(__file__).parent / "weights" / "finder" / "yunet.onnx").read_bytes()


def find(picture: np.ndarray, quarters: int = 0) -> list[Found]:
    """The faces in a (height, width, 3) uint8 RGB picture turned by so many quarters, anticlockwise, the largest first;
    at most 200."""
    longest = max(picture.shape[:2])
    found = _at_side(picture, SIDE, quarters)
    if longest > BIG_SIDE:
        large = np.array([face.box for face in found]).reshape(-1, 4)
        more = _at_side(picture, BIG_SIDE, quarters)
        found += [face for face in more if (_overlaps(np.array(face.box), large) < OVERLAP).all()]
    if not found and longest > SMALL_SIDE:
        found = _at_side(picture, SMALL_SIDE, quarters)
    found.sort(key=lambda face: (face.box[0] - face.box[2]) * (face.box[3] - face.box[1]))
    return found[:MAX_FACES]


def _at_side(picture: np.ndarray, longest: int, quarters: int) -> list[Found]:
    height, width = picture.shape[:2]
    scale, small = longest / max(height, width), picture
    if scale < 1:
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        small = np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.BILINEAR, reducing_gap=2.0))
    small = np.rot90(small, quarters)  # and not the picture: a turned copy of a large one would be one more in memory
    height, width = np.rot90(picture, quarters).shape[:2]  # a view
    h, w = small.shape[:2]
    canvas = np.zeros((1, 3, -(-h // 32) * 32, -(-w // 32) * 32), np.float32)
    canvas[0, :, :h, :w] = small[:, :, ::-1].transpose(2, 0, 1)  # the network takes BGR, 0 to 255
    session = _session()
    outputs = dict(zip((o.name for o in session.get_outputs()), session.run(None, {"input": canvas}), strict=True))
    scores, boxes, points = (np.concatenate(part) for part in zip(*_decoded(outputs, canvas.shape[3]), strict=True))
    inside = (boxes[:, :2] < (w, h)).all(1) & (boxes[:, 2:] > 0).all(1)  # some of each
    rows = np.flatnonzero(inside & (scores >= SCORE))
    rows = rows[np.argsort(-scores[rows])]
    ratio = np.array([width / w, height / h])
    found: list[Found] = []
    while len(rows) and len(found) < MAX_FACES:
        row, box = rows[0], boxes[rows[0]]
        extent = float((box[2:] - box[:2]).max())
        left, top, right, bottom = (box.reshape(2, 2) * ratio).ravel().tolist()
        found.append(Found((left, top, right, bottom), points[row] * ratio, float(scores[row]), extent))
        rows = rows[1:][_overlaps(box, boxes[rows[1:]]) < OVERLAP]
    return found


def _decoded(outputs: dict[str, np.ndarray], width: int) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Scores (N,), corners (N, 4) and landmarks (N, 5, 2) of each stride's grid, in pixels of the canvas."""
    levels = []
    for stride in _STRIDES:
        score = np.sqrt(outputs[f"cls_{stride}"][0, :, 0].clip(0, 1) * outputs[f"obj_{stride}"][0, :, 0].clip(0, 1))
        rows, columns = np.divmod(np.arange(len(score)), width // stride)
        grid = np.stack([columns, rows], 1).astype(np.float32)
        raw = outputs[f"bbox_{stride}"][0]
        centre = (grid + raw[:, :2]) * stride
        half = np.exp(raw[:, 2:].clip(-10, 10)) * stride / 2
        points = (grid[:, None] + outputs[f"kps_{stride}"][0].reshape(-1, 5, 2)) * stride
        levels.append((score, np.concatenate([centre - half, centre + half], 1), points))
    return levels


def _overlaps(one: np.ndarray, others: np.ndarray) -> np.ndarray:
    """(N,) intersection over union of a box (4,) with others (N, 4)."""
    sides = (np.minimum(one[2:], others[:, 2:]) - np.maximum(one[:2], others[:, :2])).clip(0)
    shared, areas = sides.prod(1), (others[:, 2:] - others[:, :2]).prod(1)
    ratio: np.ndarray = shared / ((one[2:] - one[:2]).prod() + areas - shared)
    return ratio


@cache
def _session() -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1  # it is quick, and whoever uses it may run several at a time
    return ort.InferenceSession(weights(), options, providers=["CPUExecutionProvider"])
