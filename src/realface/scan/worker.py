"""One process of a scan: batches of pictures in as lines of JSON, their rows out as an Arrow stream.

Processes, not threads: finding faces and resampling hold Python's lock half of the time, and a picture that kills its
decoder takes one process with it, not the scan. Each runs its networks on one thread and reads ahead while it judges.
"""

import json
import os
import sys
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, astuple, dataclass, replace
from queue import SimpleQueue
from threading import Thread
from typing import BinaryIO

import pyarrow as pa

from ..cascade import Cascade
from ..detector import Detector
from ..errors import RealfaceError
from ..images import Limits
from ..results import DetectorId, Verdict, failed
from .rows import SCHEMA, table
from .source import Entry, read

READERS = 8  # pictures read at a time: what is far away takes longer to come than to be judged

Judge = Detector | Cascade
_Reading = tuple[Entry, "Future[bytes]"]


def load(detector: str, limits: Limits) -> Judge:
    """The detector of that name or file, or "auto" for the cascade of both that are bundled; on one thread.

    Raises:
        DetectorError: there is none, or the file is not one.
    """
    if detector == "auto":
        return Cascade.load(threads=1, limits=limits)
    return Detector.load(detector, threads=1, limits=limits)


@dataclass(frozen=True)
class Settings:
    """What every process of a scan judges with.

    Attributes:
        detector: a name or a file.
        identity: what `load` makes of it, so that a file changed meanwhile is not used.
        limits: largest files and pictures that are read.
    """

    detector: str
    identity: DetectorId
    limits: Limits = Limits()

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> "Settings":
        said = json.loads(text)
        return cls(said["detector"], DetectorId(**said["identity"]), Limits(**said["limits"]))


def line(batch: list[Entry]) -> bytes:
    """A batch as a worker reads it."""
    return json.dumps([astuple(entry) for entry in batch]).encode() + b"\n"


def batch_of(text: bytes) -> list[Entry]:
    """What `line` wrote."""
    return [Entry(*fields) for fields in json.loads(text)]


def judged(judge: Judge, entry: Entry, reading: "Future[bytes]") -> Verdict:
    """The answer for one picture.

    One at a time: on one thread a batch of 16 through the network takes at most a tenth less time a face, and would
    hold 16 decoded pictures.
    """
    try:
        [verdict] = judge.check_many([reading.result()])
        return replace(verdict, path=entry.path)
    except RealfaceError as error:  # it cannot be read
        return failed(entry.path, None, error, judge.id)


def main() -> None:
    """Judge until standard input ends; the first batch, an empty one, says that the detector is loaded."""
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints must not get between the rows
    settings = Settings.from_json(sys.argv[1])
    judge = load(settings.detector, settings.limits)
    if judge.id != settings.identity:
        raise SystemExit("the detector has changed since the scan began")
    batches: SimpleQueue[list[_Reading] | None] = SimpleQueue()
    Thread(target=_read_ahead, args=(sys.stdin.buffer, batches, settings.limits), daemon=True).start()
    try:
        with pa.ipc.new_stream(out, SCHEMA) as stream:
            stream.write_batch(table([]))
            out.flush()
            while (batch := batches.get()) is not None:
                stream.write_batch(table(judged(judge, *reading) for reading in batch))
                out.flush()
    except BrokenPipeError:  # the scan is gone
        os._exit(1)


def _read_ahead(lines: BinaryIO, batches: "SimpleQueue[list[_Reading] | None]", limits: Limits) -> None:
    with ThreadPoolExecutor(READERS) as pool:
        for text in lines:
            batches.put([(entry, pool.submit(read, entry, limits)) for entry in batch_of(text)])
    batches.put(None)


if __name__ == "__main__":
    main()
