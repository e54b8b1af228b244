"""Warnings silenced in several threads at a time, which `warnings.catch_warnings` by itself would undo or leave so."""

import threading
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

_lock = threading.Lock()
_silenced = ExitStack()
_inside = 0


@contextmanager
def quiet() -> Iterator[None]:
    """No warning is heard until all who are inside have left: libraries warn of odd pictures, which is no news here."""
    global _inside
    with _lock:
        if not _inside:
            _silenced.enter_context(warnings.catch_warnings())
            warnings.simplefilter("ignore")
        _inside += 1
    try:
        yield
    finally:
        with _lock:
            _inside -= 1
            if not _inside:
                _silenced.close()
