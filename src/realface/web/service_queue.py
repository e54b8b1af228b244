"""Pictures of many callers in one line before a few threads, and the record of the answers."""

import asyncio
import functools
import logging
import math
import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace

from ..detector import Detector
from ..errors import TrailError
from ..report import Report
from ..results import Verdict
from ..trail import Entry, Trail
from .service_body import Upload
from .service_refusals import Refused

FORGIVEN = 10.0  # seconds
_log = logging.getLogger("uvicorn.error")


@dataclass(frozen=True)
class Wish:
    """What a caller wants besides the verdict, see `Detector.check`; in a report, or not."""

    heatmap: bool
    stability: bool
    report: bool


@dataclass(eq=False)
class _Job:
    upload: Upload
    wish: Wish
    report: Report | None
    done: "asyncio.Future[Verdict]" = field(default_factory=lambda: asyncio.get_running_loop().create_future())

    def goes_with(self, other: "_Job") -> bool:
        """Whether both may be judged in one go. Not into reports: what is tried again would be added twice."""
        return self.wish == other.wish and not self.wish.report


class Queue:
    """First come, first served. A request brings one picture at a time, so that many do not hold up one.

    Attributes:
        places: requests that wait or are judged.
        free: threads with nothing to do.
    """

    def __init__(self, detector: Detector, *, workers: int, batch: int, most: int) -> None:
        """A queue of `most` requests before `workers` threads, each of which takes up to `batch` pictures at once."""
        self._detector, self._batch, self._most = detector, batch, most
        self._waiting: deque[_Job] = deque()
        self._pool = ThreadPoolExecutor(workers, "realface")
        self.places, self.free = 0, workers

    @property
    def full(self) -> bool:
        return self.places >= self._most

    @contextmanager
    def place(self) -> Iterator[None]:
        """For a request, once all of it has come.

        Raises:
            Refused: the queue is full.
        """
        if self.full:
            raise Refused("busy", "too many requests are waiting; try again in a moment")
        self.places += 1
        try:
            yield
        finally:
            self.places -= 1

    async def check(self, upload: Upload, wish: Wish, report: Report | None) -> Verdict:
        """The verdict on a picture, under the client's name for it; it is added to the report too."""
        job = _Job(upload, wish, report)
        self._waiting.append(job)
        self._start()
        try:
            return await job.done
        finally:  # a caller who has gone leaves the line
            with suppress(ValueError):
                self._waiting.remove(job)

    def close(self) -> None:
        """End the threads, once they have finished what they are at."""
        self._pool.shutdown(cancel_futures=True)

    def _start(self) -> None:
        while self.free and self._waiting:
            jobs = [self._waiting.popleft()]
            while len(jobs) < self._batch and self._waiting and self._waiting[0].goes_with(jobs[0]):
                jobs.append(self._waiting.popleft())
            self.free -= 1
            work = asyncio.get_running_loop().run_in_executor(self._pool, self._judge, jobs)
            work.add_done_callback(functools.partial(self._end, jobs))

    def _end(self, jobs: list[_Job], work: "asyncio.Future[Sequence[Verdict | Exception]]") -> None:
        self.free += 1
        ended = [Refused("busy", "the service is stopping")] * len(jobs)
        outcomes: Sequence[Verdict | Exception] = ended if work.cancelled() else work.result()
        for job, outcome in zip(jobs, outcomes, strict=True):
            if not job.done.done():
                job.done.set_exception(outcome) if isinstance(outcome, Exception) else job.done.set_result(outcome)
        self._start()

    def _judge(self, jobs: list[_Job]) -> Sequence[Verdict | Exception]:
        """The verdict on each, or why there is none. What fails together, by a defect, is judged one by one."""
        wish, pictures = jobs[0].wish, [job.upload.data for job in jobs]
        try:
            judged = self._detector.check_many(
                pictures, batch_size=len(jobs), heatmap=wish.heatmap, stability=wish.stability
            )
            verdicts = [replace(verdict, path=job.upload.name) for job, verdict in zip(jobs, judged, strict=True)]
            for job, verdict in zip(jobs, verdicts, strict=True):
                if job.report:
                    job.report.add(verdict, job.upload.data)
        except Exception as error:
            return [error] if len(jobs) == 1 else [outcome for job in jobs for outcome in self._judge([job])]
        return verdicts


class Recorder:
    """Writes to the audit trail. While it writes for some callers others gather, and are written in one commit."""

    def __init__(self, trail: Trail | None) -> None:
        self._trail = trail
        self._gathered: list[tuple[Sequence[Entry], asyncio.Future[None]]] = []
        self._writing: asyncio.Task[None] | None = None
        self._failed, self._begun = -FORGIVEN, math.inf

    @property
    def failing(self) -> bool:
        """Whether the file is gone, a record hangs or the last failed; that is forgiven, for requests may stay away."""
        if self._trail and self._trail.lost:
            return True
        now = time.monotonic()
        return now - self._failed < FORGIVEN or now - self._begun > FORGIVEN

    async def record(self, entries: Sequence[Entry]) -> None:
        """Returns once all entries are committed, where there is a trail.

        Raises:
            Refused: they could not be.
        """
        if self._trail is None:
            return
        done = asyncio.get_running_loop().create_future()
        self._gathered.append((entries, done))
        if self._writing is None or self._writing.done():
            self._writing = asyncio.create_task(self._write(self._trail))
        await done

    async def _write(self, trail: Trail) -> None:
        while self._gathered:
            batch, self._gathered = self._gathered, []
            error: Exception | None = None
            self._begun = time.monotonic()
            try:
                await asyncio.to_thread(trail.append, [entry for entries, _ in batch for entry in entries])
                self._failed = -FORGIVEN
            except TrailError as problem:
                self._failed = time.monotonic()
                _log.error("no answer, for it could not be recorded: %s", problem)  # nothing for the caller
                error = Refused("trail", "the answer could not be recorded, and so is not given")
            except Exception as defect:
                error = defect
            self._begun = math.inf
            for _, done in batch:
                if not done.done():
                    done.set_exception(error) if error else done.set_result(None)
