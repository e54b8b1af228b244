"""A scan from beginning to end."""

import os
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from threading import Thread
from typing import Literal

import pyarrow as pa
from rich.progress import Progress, ProgressColumn, Task, TaskID
from rich.text import Text

from .. import __version__
from ..cores import cores
from ..errors import RealfaceError, ScanError
from ..images import Limits
from ..progress import bar
from .local import BATCH, Pool
from .parts import Parts
from .rows import text
from .source import Entry, check_there, entries, relative
from .worker import Settings, load

Engine = Literal["local", "ray"]


def scan(
    sources: Sequence[str],
    out: Path,
    *,
    detector: str = "fast",
    resume: bool = False,
    engine: Engine = "local",
    workers: int | None = None,
    address: str | None = None,
    limits: Limits = Limits(),
    part_rows: int = 1000,
) -> bool:
    """Judge all pictures of some sources and write a row for each, in their order, to a Parquet file.

    Interrupted or killed, it goes on with `resume` where it stopped; with neither a result nor a part of one, `resume`
    begins. Pictures that were unreachable are judged again; else a finished scan is left as it is.

    Args:
        sources: see `source.entries`.
        out: the file; until all is done, its parts lie in a folder beside it.
        detector: a name or a file, see `worker.load`.
        engine: processes of this machine, or of a Ray cluster.
        workers: processes; None for one a core, of the whole cluster.
        address: of a Ray cluster; None for the one Ray knows of, or else one on this machine.
        limits: largest files and pictures that are read.
        part_rows: pictures after which a part is written, or after 30 seconds.

    Returns:
        Whether anything was left to do; the sources of a finished scan are not looked at again.

    Raises:
        ScanError: it cannot begin, or not go on with what is there.
        DetectorError: there is no such detector.
        MissingExtra: Ray, or what opens a kind of URL, is not installed.
    """
    settings = Settings(detector, load(detector, limits).id, limits)
    record = {
        "sources": list(map(text, sources)),
        "working folder": text(os.getcwd()) if relative(sources) else None,
        "detector": asdict(settings.identity),
        "limits": asdict(limits),
        "realface": __version__,
    }
    with Parts(out, record, resume=resume, rows=part_rows) as parts:
        if parts.finished:
            return False
        check_there(sources)
        batches = _batches(_rest(entries(sources), parts.rows()))
        with bar() as display:
            display.columns = (*display.columns, _Rate())
            task = display.add_task("scanning", total=None, completed=parts.done)
            Thread(target=_count, args=(sources, display, task), daemon=True).start()
            with closing(_judged(batches, settings, engine, workers, address)) as judged:
                for rows in judged:
                    parts.add(rows)
                    display.update(task, completed=parts.done)
        parts.join()
    return True


def _judged(
    batches: Iterator[list[Entry]], settings: Settings, engine: Engine, workers: int | None, address: str | None
) -> Generator[pa.Table, None, None]:
    if engine == "ray":
        from .cluster import judged

        yield from judged(batches, settings, workers, address)
        return
    with Pool(settings, workers or cores()) as pool:
        yield from pool.run(batches)


def _rest(listing: Iterator[Entry], done: Iterable[tuple[str, bool]]) -> Iterator[Entry]:
    """What of a listing is not done, after what of it is to be judged again.

    Raises:
        ScanError: the listing does not begin with what is done.
    """
    for number, (path, again) in enumerate(done, 1):
        entry = next(listing, None)
        if not entry or text(entry.path) != path:
            now = text(entry.path) if entry else "nothing"
            raise ScanError(
                f"the source has changed since the scan began: picture {number:,} was {path}, now it is {now}; "
                "begin again with another --out"
            )
        if again:
            yield entry
    yield from listing


def _batches(pictures: Iterator[Entry]) -> Iterator[list[Entry]]:
    while batch := list(islice(pictures, BATCH)):
        yield batch


def _count(sources: Sequence[str], display: Progress, task: TaskID) -> None:
    """List once more, only to know how long it will take; shards elsewhere would have to be read for that."""
    total = 0
    with suppress(RealfaceError):  # the scan itself will meet it, and say it
        for entry in entries(sources):
            if entry.offset is not None and "://" in entry.file:
                return
            total += 1
        display.update(task, total=total)


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed  # none before the second message, which may never come
        return Text(f"{speed:,.1f}/s" if speed else "")
