"""Any program as a detector: it is given paths, and prints a line of JSON for each picture, as `realface check --json`.

What it prints is not trusted: it is bounded in bytes and in time, and only what can be an answer is taken.
"""

import hashlib
import json
import os
import shlex
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import wait
from typing import Any

from ..card import Thresholds
from ..degrade import AS_IT_IS
from ..errors import ConfigError, DetectorError
from ..harmless import printable
from ..results import DetectorId

BATCH = 32
MAX_LINE = 2**18
"""Bytes that a command may print for each picture."""
PLACE = "{paths}"


@dataclass(frozen=True)
class Command:
    """A detector that is a command.

    Attributes:
        text: the command, split as a shell would but run without one; `PLACE` stands where the paths go.
        seconds: it may take for `BATCH` pictures.
    """

    text: str
    seconds: float = 600.0

    def __post_init__(self) -> None:
        """ConfigError: it cannot be split, or has no place for paths."""
        try:
            words = shlex.split(self.text)
        except ValueError as error:
            raise ConfigError(f"the command cannot be understood: {error}") from None
        if words.count(PLACE) != 1 or words[0] == PLACE:
            raise ConfigError(f"a command needs {PLACE} once, as a word of its own: 'python mine.py {PLACE}'")

    @property
    def id(self) -> DetectorId:
        """Named after the command; it is known by its text alone, so change that when the program changes."""
        program, *rest = (word for word in shlex.split(self.text) if word != PLACE)
        name = printable(" ".join([os.path.basename(program), *rest]))
        return DetectorId(name[:60], "", hashlib.sha256(self.text.encode(errors="surrogateescape")).hexdigest())

    def ask(self, paths: Sequence[str], *, must: bool = True) -> Iterator[dict[str, Any]]:
        """What it says of each picture of a batch, in their order: status, side, fake and called of a `Row`, if known.

        What it says on standard error is shown as it is. It `must` answer something, unless it has shown that it can.

        Raises:
            DetectorError: it cannot be run, answers nothing, takes too long or prints too much.
        """
        full = [os.path.abspath(path) for path in paths]  # none can be taken for an option
        words = shlex.split(self.text)
        place = words.index(PLACE)
        printed, status = self._run([*words[:place], *full, *words[place + 1 :]], MAX_LINE * len(full))
        found: dict[str, dict[str, Any]] = {}
        for text in printed.split(b"\n"):
            with suppress(ValueError, TypeError, KeyError, IndexError, RecursionError, AttributeError):
                raw = json.loads(text)
                found.setdefault(os.path.abspath(raw["path"]), _answer(raw))
        if must and found.keys().isdisjoint(full):
            raise DetectorError(
                f"the command gave no usable answer to {len(full)} pictures, and ended with status {status}; see above "
                "what it says of it, if anything"
            )
        yield from (found.get(path, {"status": "missing"}) for path in full)

    def _run(self, words: list[str], most: int) -> tuple[bytes, int]:
        try:
            process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, start_new_session=True)
        except (OSError, ValueError) as error:
            raise DetectorError(f"the command cannot be run: {error}") from None
        printed, ends = bytearray(), time.monotonic() + min(self.seconds, 1e6)  # nobody can wait for a month at once
        with process:
            assert process.stdout
            pipe = process.stdout.fileno()
            try:
                while len(printed) <= most:
                    if not wait([pipe], ends - time.monotonic()):  # what left its group may keep it open
                        raise TimeoutError
                    if not (some := os.read(pipe, 2**16)):
                        process.wait(ends - time.monotonic())
                        break
                    printed += some
            except (TimeoutError, subprocess.TimeoutExpired):
                raise DetectorError(
                    f"the command took over {self.seconds:g} seconds for {BATCH} pictures; raise --command-seconds"
                ) from None
            finally:
                with suppress(OSError):
                    os.killpg(process.pid, signal.SIGKILL)  # also what it may have left behind
        if len(printed) > most:
            raise DetectorError(f"the command prints over {MAX_LINE // 1024} KB for each picture; that is no answer")
        return bytes(printed), process.returncode


def _answer(raw: dict[str, Any]) -> dict[str, Any]:
    """What a line says of the main face, which is the first, as in the output of a check."""
    if raw.get("status") in ("no_face", "error"):
        return {"status": raw["status"]}
    face = raw["faces"][0] if "faces" in raw else raw
    fake = face["probability"]["fake"] if "probability" in face else face["fake"]
    if type(fake) not in (int, float) or not 0 <= fake <= 1:
        raise ValueError
    called = face.get("verdict", Thresholds().answer(fake))
    if called not in ("real", "fake", "inconclusive"):
        raise ValueError
    side = face["crop"]["box"][2] if "crop" in face else 0
    if type(side) is not int or not 0 <= side <= 2**20:
        raise ValueError
    return {"status": "ok", "side": side, "fake": {AS_IT_IS: float(fake)}, "called": {AS_IT_IS: called}}
