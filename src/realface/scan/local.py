"""The engine of one machine: a pool of worker processes, each driven by a thread of this one."""

import os
import subprocess
import sys
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future
from contextlib import closing, suppress
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from threading import Thread

import pyarrow as pa

from ..errors import Crashed, ScanError
from ..results import failed
from .rows import table
from .source import Entry
from .worker import Settings, line

BATCH = 8  # pictures in a message; those of two messages are in a worker's memory, undecoded
_SENT = 2  # messages a worker has at a time: one that it judges, one that it reads
_AHEAD = 128  # messages for each worker that may be judged before an earlier one, so that one slow picture stops nobody


class Ended(BaseException):
    """A worker is gone because it was told to go, which is no error."""


class Worker:
    """One process of `realface.scan.worker`, started when it is first needed and again whenever it dies."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._process: subprocess.Popen[bytes] | None = None
        self._sent: deque[list[Entry]] = deque()
        self._ended = False

    def send(self, batch: list[Entry]) -> None:
        """Raises ScanError where no process can be started."""
        if not self._process:
            self._start()
        self._sent.append(batch)
        self._write(batch)

    def receive(self) -> pa.Table:
        """The rows of the earliest batch sent. The pictures of one that was lost with the process are judged again,
        each by itself; one that kills its process again is an error.

        Raises:
            ScanError: no process can be started.
            Ended: after `end`.
        """
        batch = self._sent.popleft()
        if (rows := self._read()) is not None:
            return rows
        alone = []
        self._start()
        for entry in batch:
            self._write([entry])
            if (rows := self._read()) is None:
                error = Crashed("the process that judged this picture died, twice; the picture may be a hostile one")
                rows = _table(table([failed(entry.path, None, error, self._settings.identity)]))
                self._start()
            alone.append(rows)
        for later in self._sent:
            self._write(later)
        return pa.concat_tables(alone)

    def end(self) -> None:
        """Kill the process for good, from any thread."""
        self._ended = True
        if process := self._process:  # its own thread may take it away meanwhile
            process.kill()

    def _write(self, batch: list[Entry]) -> None:
        assert self._process
        assert self._process.stdin
        with suppress(OSError):  # a dead process is noticed on reading
            self._process.stdin.write(line(batch))
            self._process.stdin.flush()

    def _read(self) -> pa.Table | None:
        try:
            return _table(self._rows.read_next_batch())
        except (StopIteration, OSError, pa.ArrowException):
            return None

    def _start(self) -> None:
        self.close()
        if self._ended:
            raise Ended
        ready = False
        with suppress(StopIteration, OSError, pa.ArrowException):
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "realface.scan.worker", self._settings.to_json()],  # -P: not from here
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=None if os.environ.get("REALFACE_DEBUG") else subprocess.DEVNULL,
                env={**os.environ, "OMP_NUM_THREADS": "1"},
                process_group=0,  # Ctrl-C is for the scan, which ends its workers
            )
            self._rows = pa.ipc.open_stream(self._process.stdout)
            ready = self._read() is not None
        if self._ended:
            self.close()
            raise Ended
        if not ready:
            self.close()
            raise ScanError(
                "a worker could not be started: is there memory for so many (--workers), was the detector changed?"
            )

    def close(self) -> None:
        """End the process and wait until it is gone."""
        if not self._process:
            return
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe
            with suppress(OSError):  # what could not be sent
                pipe.close()
        self._process = None


def _table(batch: pa.RecordBatch) -> pa.Table:
    return pa.Table.from_batches([batch])


@dataclass(frozen=True)
class _Job:
    batch: list[Entry]
    rows: "Future[pa.Table]" = field(default_factory=Future)


class Pool:
    """Worker processes that judge batches in parallel; a context manager."""

    def __init__(self, settings: Settings, workers: int) -> None:
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._workers = [Worker(settings) for _ in range(workers)]
        self._threads = [Thread(target=self._drive, args=(worker,), daemon=True) for worker in self._workers]
        for thread in self._threads:
            thread.start()

    def __enter__(self) -> "Pool":
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self._workers:
            worker.end()
        self._jobs.put(None)
        for thread in self._threads:
            thread.join()

    def run(self, batches: Iterable[list[Entry]]) -> Iterator[pa.Table]:
        """The rows of each batch, in the order given.

        Raises:
            ScanError: a worker cannot be started.
        """
        waiting: deque[_Job] = deque()
        for batch in batches:
            waiting.append(_Job(batch))
            self._jobs.put(waiting[-1])
            while waiting and (waiting[0].rows.done() or len(waiting) >= _AHEAD * len(self._workers)):
                yield waiting.popleft().rows.result()
        while waiting:
            yield waiting.popleft().rows.result()

    def _drive(self, worker: Worker) -> None:
        """Keep one worker busy."""
        jobs: deque[_Job] = deque()
        with closing(worker), suppress(Ended):
            while (job := self._next(len(jobs))) or jobs:
                try:
                    if job:
                        jobs.append(job)
                        worker.send(job.batch)
                    if not job or len(jobs) == _SENT:
                        jobs[0].rows.set_result(worker.receive())
                        jobs.popleft()
                except Exception as error:  # whatever it is: who waits for the rows would wait for ever
                    while jobs:
                        jobs.popleft().rows.set_exception(error)

    def _next(self, busy: int) -> _Job | None:
        """Another job for a worker that has `busy`; None where it has enough, or there is none any more."""
        try:
            job = self._jobs.get(block=not busy)
        except Empty:
            return None
        if job is None:
            self._jobs.put(None)  # for the next thread to see
        return job
