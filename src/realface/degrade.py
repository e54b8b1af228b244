"""What happens to pictures on their way: small pure functions on (height, width, 3) uint8 RGB pictures.

The same functions augment training and make the laundering grid of the evaluation. Each takes a picture and a
strength and returns a new picture; those that need chance take a `numpy.random.Generator`.
"""

import io
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw, ImageEnhance, ImageFilter

# In quotes throughout: a check needs no random numbers, and NumPy imports them when they are first named.
Change = Callable[[np.ndarray, "np.random.Generator"], np.ndarray]

# Of medical and cloth masks: RGB levels that `cover` varies a little.
_MASKS = (
    (158, 199, 219),
    (236, 239, 240),
    (34, 34, 37),
    (42, 54, 92),
    (128, 132, 138),
    (176, 213, 190),
    (222, 182, 190),
)


def jpeg(image: np.ndarray, quality: int) -> np.ndarray:
    """Compressed as JPEG at `quality` (1 to 95) with 4:2:0 chroma, and decoded again."""
    return _recompressed(image, "JPEG", quality)


def webp(image: np.ndarray, quality: int) -> np.ndarray:
    """Compressed as lossy WebP at `quality` (1 to 100), and decoded again."""
    return _recompressed(image, "WEBP", quality)


def resize(image: np.ndarray, scale: float) -> np.ndarray:
    """Both sides times `scale`, bicubic with antialiasing; no side gets under 32 pixels."""
    height, width = image.shape[:2]
    scale = max(scale, 32 / min(height, width))
    size = (max(32, round(width * scale)), max(32, round(height * scale)))
    return np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BICUBIC))


def blur(image: np.ndarray, sigma: float) -> np.ndarray:
    """Gaussian blur; `sigma` in pixels of the picture."""
    return np.asarray(Image.fromarray(image).filter(ImageFilter.GaussianBlur(sigma)))


def noise(image: np.ndarray, sigma: float, rng: "np.random.Generator") -> np.ndarray:
    """Independent Gaussian noise on every sample; `sigma` in levels of 255."""
    noisy = image + rng.normal(0, sigma, image.shape).astype(np.float32)
    return noisy.round().clip(0, 255).astype(np.uint8)


def crop(image: np.ndarray, keep: float, rng: "np.random.Generator") -> np.ndarray:
    """A window of `keep` (0 to 1) of both sides, but of 32 pixels where there are as many, anywhere in the picture."""
    height, width = image.shape[:2]
    h, w = min(height, max(32, round(height * keep))), min(width, max(32, round(width * keep)))
    top, left = rng.integers(0, height - h + 1), rng.integers(0, width - w + 1)
    return image[top : top + h, left : left + w]


def grayscale(image: np.ndarray) -> np.ndarray:
    """Without colour (ITU-R 601 luma)."""
    return np.asarray(Image.fromarray(image).convert("L").convert("RGB"))


def tone(image: np.ndarray, brightness: float, contrast: float, saturation: float) -> np.ndarray:
    """Brightness, contrast and saturation times the given factors; 1 leaves each as it is."""
    picture = Image.fromarray(image)
    picture = ImageEnhance.Brightness(picture).enhance(brightness)
    picture = ImageEnhance.Contrast(picture).enhance(contrast)
    return np.asarray(ImageEnhance.Color(picture).enhance(saturation))


def gamma(image: np.ndarray, exponent: float) -> np.ndarray:
    """Every sample, as a share of 255, to a power: over 1 darkens, under 1 brightens."""
    levels = (255 * (np.arange(256) / 255) ** exponent).round().astype(np.uint8)
    return levels[image]


def tint(image: np.ndarray, red: float, green: float, blue: float) -> np.ndarray:
    """Each channel times its factor."""
    return (image * np.array([red, green, blue], np.float32)).round().clip(0, 255).astype(np.uint8)


def sharpen(image: np.ndarray, radius: float, percent: int) -> np.ndarray:
    """Unsharp mask: `percent` of what a Gaussian blur of `radius` pixels takes away is added."""
    return np.asarray(Image.fromarray(image).filter(ImageFilter.UnsharpMask(radius, percent, 0)))


def straighten(image: np.ndarray, degrees: float) -> np.ndarray:
    """Turned counter-clockwise about its middle and cut to a rectangle of its shape that has no empty corner; no side
    gets under 32 pixels."""
    height, width = image.shape[:2]
    turn = np.radians(abs(degrees))
    keep = 1 / (np.cos(turn) + max(height / width, width / height) * np.sin(turn))
    keep = max(keep, min(1, 32 / min(height, width)))
    turned = Image.fromarray(image).rotate(degrees, Image.Resampling.BICUBIC)
    left, top = (1 - keep) * width / 2, (1 - keep) * height / 2
    return np.asarray(turned.crop((round(left), round(top), round(width - left), round(height - top))))


def edit(image: np.ndarray, rng: "np.random.Generator") -> np.ndarray:
    """What the software of a camera or a person may do for looks: to angle, colour, light and sharpness, by chance."""
    if rng.random() < 0.3:
        image = straighten(image, rng.uniform(-10, 10))
    if rng.random() < 0.15:
        image = grayscale(image)
    if rng.random() < 0.4:
        image = tint(image, *rng.uniform(0.75, 1.25, 3))
    if rng.random() < 0.5:
        image = gamma(image, np.exp(rng.uniform(-0.7, 0.7)))
    if rng.random() < 0.4:
        image = tone(image, *rng.uniform(0.7, 1.4, 3))
    if rng.random() < 0.6:
        image = sharpen(image, rng.uniform(0.5, 3), int(rng.integers(50, 300)))
    return image


def cover(image: np.ndarray, rng: "np.random.Generator") -> np.ndarray:
    """The lower face hidden under a plain mask, from below the eyes over nose and mouth to the chin.

    What is left of a face that wears one are eyes, forehead and hair. The picture is a standard crop
    (`realface.faces`): eyes at about 45 % of the height, mouth at 70 %. Shape and colour vary within what medical and
    cloth masks have, the cloth is a little darker where it turns away; no pixel of the upper half changes.
    """
    height, width = image.shape[:2]
    cheek, jaw, chin = rng.uniform(0.24, 0.28), rng.uniform(0.19, 0.22), rng.uniform(0.07, 0.10)  # half widths
    top, bottom = rng.uniform(0.52, 0.55), rng.uniform(0.87, 0.92)
    right = [(0.06, top), (cheek, top + 0.045), (cheek - 0.01, 0.66), (jaw, 0.79), (chin, bottom)]
    points = [(0.5 + x, y) for x, y in right] + [(0.5 - x, y) for x, y in reversed(right)]
    shape = Image.new("L", (1024, 1024))  # drawn large, so that the edge is smooth at any size
    ImageDraw.Draw(shape).polygon([(1024 * x, 1024 * y) for x, y in points], fill=255)
    alpha = np.asarray(shape.resize((width, height), Image.Resampling.BILINEAR), np.float32)[..., None] / 255
    x, y = np.linspace(-1, 1, width, dtype=np.float32), np.linspace(0, 1, height, dtype=np.float32)[:, None]
    light = 1 - 0.9 * (x - rng.uniform(-0.15, 0.15)) ** 2 - 0.35 * (y - 0.6) ** 2
    colour = np.array(_MASKS[rng.integers(len(_MASKS))]) + rng.uniform(-12, 12, 3)
    cloth = (light[..., None] * colour).astype(np.float32)
    return np.asarray((image + alpha * (cloth - image)).round().clip(0, 255), np.uint8)


def random_history(image: np.ndarray, rng: "np.random.Generator", strength: float = 1.0) -> np.ndarray:
    """One random life of a picture: framed, mirrored, retouched, shrunk, blurred, noisy, compressed.

    Every step has its chance times `strength` (0: the picture as it is). The shrinking takes large pictures to
    the sizes small ones have, so that neither size nor cleanliness tells one source from another.
    """

    def happens(chance: float) -> bool:
        return rng.random() < chance * strength

    if happens(0.5):
        image = image[:, ::-1]
    if happens(0.5):
        image = crop(image, rng.uniform(0.8, 1.0), rng)
    if happens(0.3):
        image = tone(image, *rng.uniform(0.75, 1.25, 3))
    if happens(0.1):
        image = grayscale(image)
    side = min(image.shape[:2])
    if happens(0.6):
        largest = min(side, 512)
        image = resize(image, np.exp(rng.uniform(np.log(min(80, largest)), np.log(largest))) / side)
    if happens(0.25):
        image = blur(image, rng.uniform(0.3, 1.6))
    if happens(0.15):
        image = noise(image, rng.uniform(1, 6), rng)
    if happens(0.7):
        image = jpeg(image, int(rng.integers(30, 96))) if rng.random() < 0.8 else webp(image, int(rng.integers(30, 91)))
    return np.ascontiguousarray(image)


def _recompressed(image: np.ndarray, kind: str, quality: int) -> np.ndarray:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, kind, quality=quality)
    return np.asarray(Image.open(buffer).convert("RGB"))


AS_IT_IS, COVERED = "as it is", "lower face covered"
EDITS: dict[str, Change] = {
    "darkened": lambda crop, _: gamma(crop, 2),
    "brightened": lambda crop, _: gamma(crop, 0.5),
    "sepia": lambda crop, _: tint(grayscale(crop), 1.2, 1.05, 0.8),
    "sharpened": lambda crop, _: sharpen(crop, 2, 150),
    "straightened": lambda crop, _: straighten(crop, 7),
    COVERED: cover,
}
"""Cells of `GRID` that a picture does not go through by being sent about: somebody did it, or wears it."""
GRID: dict[str, Change] = {
    AS_IT_IS: lambda crop, _: crop,
    "JPEG 90": lambda crop, _: jpeg(crop, 90),
    "JPEG 70": lambda crop, _: jpeg(crop, 70),
    "JPEG 50": lambda crop, _: jpeg(crop, 50),
    "JPEG 30": lambda crop, _: jpeg(crop, 30),
    "WebP 50": lambda crop, _: webp(crop, 50),
    "scale 1.5": lambda crop, _: resize(crop, 1.5),
    "scale 0.75": lambda crop, _: resize(crop, 0.75),
    "scale 0.5": lambda crop, _: resize(crop, 0.5),
    "blur 0.5": lambda crop, _: blur(crop, 0.5),
    "blur 1": lambda crop, _: blur(crop, 1),
    "blur 1.5": lambda crop, _: blur(crop, 1.5),
    "noise 5": lambda crop, rng: noise(crop, 5, rng),
    **EDITS,
}
"""The grid of the evaluation: what is done to the crop of a face, in its native pixels."""
