"""What the C library (glibc) does with memory that is freed."""

import ctypes

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD, _MMAP_MAX, _ARENA_MAX = -1, -2, -3, -4, -8  # of mallopt(3)


def keep_freed_memory() -> None:
    """Have large blocks kept for what comes next.

    Each goes back to the kernel otherwise and is got again, page by page, at every step of training, which costs two
    fifths of the time: EfficientNet-Lite0 at 128 pixels takes 39 pictures a second on two cores instead of 68. A
    `check` takes a quarter fewer pages while it loads a detector.
    """
    _tell({_MMAP_MAX: 0, _TRIM_THRESHOLD: 2**31 - 1, _TOP_PAD: 2**28})


def give_freed_memory_back() -> None:
    """Have the memory of large pictures returned at once; `benchmarks/service.py` takes half."""
    _tell({_MMAP_THRESHOLD: 2**22, _ARENA_MAX: 2})


def _tell(options: dict[int, int]) -> None:
    """Nothing where it cannot be told: by another C library, or on another system."""
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, TypeError, AttributeError):
        return
    for option, value in options.items():
        mallopt(option, value)
