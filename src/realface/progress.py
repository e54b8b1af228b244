"""Progress of long work, with the time left, on standard error."""

from collections.abc import Callable, Iterable, Iterator, Sized
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from .cores import cores
from .quiet import quiet

T = TypeVar("T")
R = TypeVar("R")


def bar() -> Progress:
    """An empty progress display: description, bar, done of total, time left."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=Console(stderr=True))


def track(items: Iterable[T], label: str, total: int | None = None) -> Iterator[T]:
    """Pass items on, showing how many are done and how long the rest will take; `total` where they do not know it."""
    with bar() as progress:
        task = progress.add_task(label, total=len(items) if isinstance(items, Sized) else total)
        for item in items:
            yield item
            progress.advance(task)


def spread(work: Callable[[T], R], items: Iterable[T], label: str, total: int) -> Iterator[R]:
    """What `work` makes of each item that has to do with a picture, in order, shown as `track` does.

    Items are spread over the cores by threads, for Pillow, NumPy and ONNX Runtime compute without the interpreter.
    """
    pool = ThreadPoolExecutor(cores())
    with quiet():
        try:
            yield from track(pool.map(work, items), label, total)
        finally:
            pool.shutdown(cancel_futures=True)
