"""What happens to pictures on their way: small pure functions on (height, width, 3) uint8 RGB pictures.

The same functions augment training and make the laundering grid of the evaluation. Each takes a picture and a
strength and returns a new picture; those that need chance take a `numpy.random.Generator`.
"""

import io

import numpy as np
from PIL import Image, ImageEnhance, ImageFilter


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


def noise(image: np.ndarray, sigma: float, rng: np.random.Generator) -> np.ndarray:
    """Independent Gaussian noise on every sample; `sigma` in levels of 255."""
    noisy = image + rng.normal(0, sigma, image.shape).astype(np.float32)
    return noisy.round().clip(0, 255).astype(np.uint8)


def crop(image: np.ndarray, keep: float, rng: np.random.Generator) -> np.ndarray:
    """A window of `keep` (0 to 1) of both sides, anywhere in the picture."""
    height, width = image.shape[:2]
    h, w = max(32, round(height * keep)), max(32, round(width * keep))
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


def random_history(image: np.ndarray, rng: np.random.Generator, strength: float = 1.0) -> np.ndarray:
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
