"""Where the faces are, the standard crop cut from each, and whether it can be judged at all.

The standard crop is framed as in FFHQ (Karras et al. 2019, "A Style-Based Generator Architecture for Generative
Adversarial Networks"): a square around eyes and mouth that shows the whole head. Pixels are cut, not resampled, unless
the head is tilted. Training and checking both cut here.
"""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from PIL import Image

from .finder import Found, find
from .results import Box, Crop, Reason

Framing = Literal["face", "centre-square"]
FRAMINGS: tuple[Framing, ...] = ("face", "centre-square")
"""What is judged: the standard crop of each face, or, without a search, the largest centred square as the one face."""

DOUBT, CERTAIN, MORE = 0.91, 0.9, 0.01
"""Where the finder is less sure than the first of every face, or finds none, the picture is tried on its sides and
upside down too: of upright faces one in twenty. It is turned where the finder is as sure as the second then, and by the
third more."""
STANDARD = 0.85
"""A crop of at least this share of the picture's shorter side is all of that side: the picture is a crop already."""
SURELY = 1.15
"""From so many times that share on, no closer look at the face is taken: nothing it could find changes the crop."""
MAX_ROLL = 10.0
"""Heads tilted further, in degrees, are turned upright; less is as the detector was trained, and resamples nothing."""
LEAN = 6.0
LOOKS = 3
CLOSE = 320
ROUGH = 140
"""Heads that lean by more degrees, or are smaller than this where they were found, are looked at again, closer."""
MIN_CROP = 64
MAX_TURN = 0.8
MIN_MARGIN = 0.15
MIN_SHARPNESS = 0.06


@dataclass(frozen=True)
class Candidate:
    """A face that was found: where, what is cut for it, the pixels, and why it cannot be judged, if so."""

    box: Box
    crop: Crop
    pixels: np.ndarray
    reason: Reason | None


def candidates(picture: np.ndarray, framing: Framing = "face") -> list[Candidate]:
    """The faces in a (height, width, 3) uint8 RGB picture, the largest first; `pixels` are (S, S, 3) uint8, native."""
    if framing == "face":
        quarters, found = _upright(picture)
        return [_candidate(picture, face, quarters) for face in found]
    crop = centre_square(picture)
    return [Candidate(crop.box, crop, cut(picture, crop), None)]


def _upright(picture: np.ndarray) -> tuple[int, list[Found]]:
    """The faces in a picture turned upright, and by how many quarters, anticlockwise, it was turned for that.

    The finder finds faces on their side or upside down too, with landmarks as if they were upright, but is less sure.
    """
    found = find(picture)
    if _surest(found) >= DOUBT:
        return 0, found
    tries = {quarters: find(picture, quarters) for quarters in (1, 2, 3)}
    quarters = max(tries, key=lambda turn: _surest(tries[turn]))
    turned = _surest(tries[quarters]) >= max(CERTAIN, _surest(found) + MORE)
    return (quarters, tries[quarters]) if turned else (0, found)


def _surest(found: list[Found]) -> float:
    return max((face.score for face in found), default=0.0)


def centre_square(picture: np.ndarray) -> Crop:
    """The largest centred square of a (height, width, 3) picture."""
    height, width = picture.shape[:2]
    side = min(height, width)
    return Crop(((width - side) // 2, (height - side) // 2, side, side))


def crop_for(picture: np.ndarray, landmarks: np.ndarray) -> Crop:
    """The standard crop for (5, 2) landmarks, shifted and shrunk to lie within the picture.

    A picture that is a standard crop itself is taken whole along its shorter side.
    """
    height, width = picture.shape[:2]
    _, down = _axes(landmarks)
    side = _side(landmarks)
    x, y = landmarks[:2].mean(0) + 0.1 * down
    shorter = min(height, width)
    roll = _roll(landmarks)
    if side >= STANDARD * shorter:
        side, roll = shorter, 0.0
    side = max(1, round(side))
    left, top = round(min(max(x - side / 2, 0), width - side)), round(min(max(y - side / 2, 0), height - side))
    return Crop((left, top, side, side), round(roll, 1) if abs(roll) > MAX_ROLL else 0.0)


def _side(landmarks: np.ndarray) -> float:
    """The side, in pixels, of the standard crop for (5, 2) landmarks."""
    across, down = _axes(landmarks)
    return 2 * max(2.0 * math.hypot(*across), 1.8 * math.hypot(*down))


def _axes(landmarks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """From eye to eye and from the eyes to the mouth, (2,) each, for (5, 2) landmarks."""
    return landmarks[1] - landmarks[0], landmarks[3:].mean(0) - landmarks[:2].mean(0)


def _roll(landmarks: np.ndarray) -> float:
    """Degrees by which a head leans clockwise, for (5, 2) landmarks."""
    across, down = _axes(landmarks)
    right = across + np.array([down[1], -down[0]])  # two estimates of where the head's right is, added
    return math.degrees(math.atan2(right[1], right[0]))


def _landmarks(picture: np.ndarray, face: Found) -> np.ndarray:
    """The (5, 2) landmarks of a face, looked for again where those found are rough: on small and on leaning heads.

    The finder sees a lean smaller than it is; turning the head by what it sees and looking again finds the rest.
    """
    if abs(_roll(face.landmarks)) < LEAN and face.size >= ROUGH:
        return face.landmarks
    left, top, right, bottom = face.box
    middle, extent = np.array([left + right, top + bottom]) / 2, max(right - left, bottom - top)
    # all that a square of twice the box can reach when it is turned
    corner = np.maximum(np.floor(middle - 1.5 * extent), 0).astype(int)
    end = np.ceil(middle + 1.5 * extent).astype(int)
    around = picture[corner[1] : end[1], corner[0] : end[0]]
    factor = max(1, int(extent / CLOSE))  # a large face needs no more pixels than this to be looked at
    around = np.asarray(Image.fromarray(around).reduce(factor))
    side = math.ceil(2 * extent / factor)
    start = np.round((middle - corner) / factor - side / 2).astype(int)
    points = (face.landmarks - corner) / factor
    for _ in range(LOOKS):
        roll = _roll(points)
        closer = cut(around, Crop((int(start[0]), int(start[1]), side, side), roll))
        found = find(resample(closer, CLOSE))
        if not found:
            break
        nearest = min(found, key=lambda other: math.hypot(*(other.landmarks.mean(0) - CLOSE / 2)))
        seen = nearest.landmarks * side / CLOSE - side / 2
        turn = math.radians(roll)
        back = np.array([[math.cos(turn), math.sin(turn)], [-math.sin(turn), math.cos(turn)]])
        again = seen @ back + start + side / 2
        x, y = again.mean(0) * factor + corner
        if not (left <= x <= right and top <= y <= bottom):
            break  # that is somebody else
        points = again
        if abs(_roll(seen)) < LEAN:
            break
    return np.asarray(points * factor + corner)


def cut(picture: np.ndarray, crop: Crop) -> np.ndarray:
    """The native pixels of a crop, (S, S, 3) uint8, turned upright about its centre where it has a roll."""
    left, top, side, _ = crop.box
    height, width = picture.shape[:2]
    if not crop.roll % 90 and 0 <= left <= width - side and 0 <= top <= height - side:
        return np.rot90(picture[top : top + side, left : left + side], int(crop.roll // 90))
    reach = math.ceil(side * 0.71) + 2  # half the diagonal: what a turn brings in
    x, y = left + side // 2, top + side // 2
    x0, y0, x1, y1 = max(0, x - reach), max(0, y - reach), min(width, x + reach), min(height, y + reach)
    beyond = ((y0 - y + reach, y + reach - y1), (x0 - x + reach, x + reach - x1), (0, 0))
    around = np.pad(picture[y0:y1, x0:x1], beyond, "edge")  # not mirrored: half a face must not become a whole one
    cos, sin = (round(f(math.radians(crop.roll)), 15) for f in (math.cos, math.sin))
    start = -(side // 2)  # from the centre, about which the square is turned
    turn = (cos, -sin, (cos - sin) * start + reach, sin, cos, (cos + sin) * start + reach)
    turned = Image.fromarray(around).transform((side, side), Image.Transform.AFFINE, turn, Image.Resampling.BICUBIC)
    return np.array(turned)


def resample(crop: np.ndarray, size: int) -> np.ndarray:
    """A square crop at the network's input size: (size, size, 3) uint8.

    Bicubic with antialiasing, in Pillow's integer arithmetic, so equal on every machine. A crop that has the size
    already is returned as it is.
    """
    if crop.shape[0] == crop.shape[1] == size:
        return crop
    return np.asarray(Image.fromarray(crop).resize((size, size), Image.Resampling.BICUBIC))


def window(crop: np.ndarray, size: int, across: float, down: float) -> np.ndarray:
    """A window of native pixels, (size, size, 3) uint8, `across` and `down` (0 to 1) of the way through a crop.

    A crop smaller than the window is enlarged to it.
    """
    if min(crop.shape[:2]) < size:
        crop = resample(crop[: min(crop.shape[:2]), : min(crop.shape[:2])], size)
    top, left = round(down * (crop.shape[0] - size)), round(across * (crop.shape[1] - size))
    return crop[top : top + size, left : left + size]


def windows(crop: np.ndarray, size: int) -> np.ndarray:
    """Nine windows of native pixels that lie evenly over a crop, row by row: (9, size, size, 3) uint8."""
    return np.stack([window(crop, size, x / 2, y / 2) for y in range(3) for x in range(3)])


def sharpness(crop: np.ndarray) -> float:
    """Fine detail of a crop at 112 pixels: deviation of its Laplacian over that of its grey levels.

    Photographs of faces are at 0.1 to 0.9; a Gaussian blur of 5 pixels on 256 leaves 0.06.
    """
    small = Image.fromarray(crop).convert("L").resize((112, 112), Image.Resampling.BILINEAR)
    grey = np.asarray(small, np.float32)
    around = grey[1:-1, :-2] + grey[1:-1, 2:] + grey[:-2, 1:-1] + grey[2:, 1:-1]
    return float((around - 4 * grey[1:-1, 1:-1]).std() / (grey.std() + 1))


def _candidate(whole: np.ndarray, face: Found, quarters: int) -> Candidate:
    """The candidate for a face that was found in a picture turned by so many quarters, see `_upright`."""
    picture = np.rot90(whole, quarters)
    height, width = picture.shape[:2]
    left, top, right, bottom = face.box
    inside = (max(0.0, left), max(0.0, top), min(float(width), right), min(float(height), bottom))
    x, y = math.floor(inside[0]), math.floor(inside[1])
    box = (x, y, max(1, math.ceil(inside[2]) - x), max(1, math.ceil(inside[3]) - y))
    landmarks = face.landmarks
    if not _is_crop_already(landmarks, (width, height)):
        landmarks = _landmarks(picture, face)
    crop = crop_for(picture, landmarks)
    roll = 180 - (180 - crop.roll - 90 * quarters) % 360  # over -180, and 180 at most
    back = Crop(_turned_back(crop.box, quarters, whole.shape), round(roll, 1))
    pixels = cut(whole, back)
    reason = _reason(landmarks, (width, height), pixels)
    return Candidate(_turned_back(box, quarters, whole.shape), back, pixels, reason)


def _turned_back(box: Box, quarters: int, shape: tuple[int, ...]) -> Box:
    """Where a box in a picture that was turned by so many quarters lies in the picture itself, (height, width, 3)."""
    x, y, across, down = box
    for quarter in range(quarters, 0, -1):
        x, y, across, down = shape[quarter % 2] - y - down, x, down, across
    return x, y, across, down


def _is_crop_already(landmarks: np.ndarray, size: tuple[int, int]) -> bool:
    """Whether rough landmarks leave no doubt that the picture, of `size`, is a standard crop of a face to be judged."""
    margin, aside = _pose(landmarks, size)
    upright = abs(_roll(landmarks)) < LEAN and margin > 2 * MIN_MARGIN and aside < 0.7 * MAX_TURN
    return upright and size[0] == size[1] and _side(landmarks) >= SURELY * STANDARD * size[0]


def _reason(landmarks: np.ndarray, size: tuple[int, int], pixels: np.ndarray) -> Reason | None:
    """Why a face with these landmarks, in a picture of `size` (width, height), cannot be judged."""
    margin, aside = _pose(landmarks, size)
    if margin < MIN_MARGIN:
        return "cut_off"
    if pixels.shape[0] < MIN_CROP:
        return "too_small"
    if aside > MAX_TURN:
        return "turned_away"
    return "too_blurred" if sharpness(pixels) < MIN_SHARPNESS else None


def _pose(landmarks: np.ndarray, size: tuple[int, int]) -> tuple[float, float]:
    """How far the nearest landmark is from the picture's edge, and the nose from between the eyes; both in distances
    between the eyes."""
    across, down = _axes(landmarks)
    unit = max(math.hypot(*across), 0.9 * math.hypot(*down), 1e-6)  # between the eyes, also of a head turned aside
    margin = float(np.concatenate([landmarks, size - landmarks]).min()) / unit
    aside = abs(float((landmarks[2] - landmarks[:2].mean(0)) @ across)) / max(math.hypot(*across), 1e-6) ** 2
    return margin, aside
