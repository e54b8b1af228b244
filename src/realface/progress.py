"""Progress of long work, with the time left, on standard error."""

from collections.abc import Iterable, Iterator, Sized
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

T = TypeVar("T")


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
