"""Where the face is, and the standard crop cut from it.

Until faces are searched for, the largest centred square of the picture is the face. A picture that already is a
standard crop (square, the face filling it) is therefore taken whole.
"""

import numpy as np
from PIL import Image

Box = tuple[int, int, int, int]
"""Left, top, width and height in pixels of the upright picture."""


def centre_square(image: np.ndarray) -> Box:
    """The largest centred square of a (height, width, 3) picture."""
    height, width = image.shape[:2]
    side = min(height, width)
    return ((width - side) // 2, (height - side) // 2, side, side)


def cut(image: np.ndarray, box: Box) -> np.ndarray:
    """The pixels of `box`, not resampled: (height, width, 3) uint8."""
    left, top, width, height = box
    return image[top : top + height, left : left + width]


def resample(crop: np.ndarray, size: int) -> np.ndarray:
    """A square crop at the network's input size: (size, size, 3) uint8.

    The one resampling there is: bicubic with antialiasing, in Pillow's integer arithmetic, so equal on every
    machine. A crop that has the size already is returned as it is.
    """
    if crop.shape[0] == crop.shape[1] == size:
        return crop
    return np.asarray(Image.fromarray(crop).resize((size, size), Image.Resampling.BICUBIC))
