"""How the web service stands many clients at a time, some of whom mean ill.

    python benchmarks/service.py [--clients 64] [--minutes 10] [--hostile 0.1] [--detector fast] [--batch 1]

Starts `realface serve` with an audit trail on this computer, and so many clients, each of which asks again as soon as
it has its answer: pictures of a face of several kinds and sizes, raw and in forms, and among them hostile files, forms
and connections. The bars: no 5xx, no answer without its record, p99 within 5 times the median, and memory that does
not grow. Exit status 1 where one is missed.
"""

import http.client
import json
import random
import re
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field

from fuzz import encoded, flat_png, hostile, mutated, seeds
from PIL import Image
from skimage.data import astronaut

from realface.evaluation.origin import origin, parser_of, tell
from realface.trail import Trail

RATIO, GROWTH = 5.0, 0.10
KINDS: list[tuple[str, dict[str, object]]] = [
    ("JPEG", {"quality": 90}),
    ("JPEG", {"quality": 60, "progressive": True}),
    ("PNG", {}),
    ("WEBP", {"quality": 80}),
    ("BMP", {}),
]
SECONDS = 330.0  # after which a client gives up


@dataclass
class Seen:
    """What the clients saw, together."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    statuses: Counter[str] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)
    answered: dict[str, int] = field(default_factory=dict)
    """Pictures that were answered, by the number of the request."""
    unexpected: Counter[str] = field(default_factory=Counter)
    memory: list[float] = field(default_factory=list)


def pictures() -> list[bytes]:
    """A face in several kinds of file and sizes, alone and in a larger picture."""
    made = []
    for side in (128, 256, 512, 1024):
        for kind, options in KINDS:
            box = (90, 0, 346, 256) if side < 512 else (0, 0, 512, 512)
            made.append(encoded(Image.fromarray(astronaut()).crop(box).resize((side, side)), kind, **options))
    return made


def form(files: list[bytes]) -> bytes:
    """A form with pictures, under names that are not nice."""
    parts = b""
    for i, data in enumerate(files):
        head = f'Content-Disposition: form-data; name="file"; filename="../<b>{i}.jpg"'
        parts += b"--x\r\n" + head.encode() + b"\r\n\r\n" + data + b"\r\n"
    return parts + b"--x--\r\n"


class Client:
    """Asks again and again; each of its requests depends on the seed and its number alone."""

    def __init__(self, number: int, port: int, seen: Seen, share: float, good: list[bytes], bad: list[bytes]) -> None:
        self._rng, self._port, self._seen = random.Random(number), port, seen
        self._share, self._good, self._bad = share, good, bad
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=SECONDS)

    def run(self, until: float) -> None:
        while time.monotonic() < until:
            if self._rng.random() >= self._share:
                self._friendly()
            else:
                self._rng.choice([self._file, self._file, self._file, self._form, self._cut, self._nonsense])()
        self._connection.close()

    def _friendly(self) -> None:
        count = self._rng.choice([1, 1, 1, 1, 1, 1, 2, 3])
        files = [self._rng.choice(self._good) for _ in range(count)]
        kind = {"Content-Type": "multipart/form-data; boundary=x"} if count > 1 else {}
        self._post(form(files) if count > 1 else files[0], kind, {200})

    def _file(self) -> None:
        data = self._rng.choice(self._bad)
        if self._rng.random() < 0.5:
            data = mutated(self._rng.choice(seeds()), self._rng.choice(seeds()), self._rng)
        self._post(data, {}, {200, 413, 415, 422})

    def _form(self) -> None:
        data = form([self._rng.choice(self._good)] * self._rng.choice([0, 1, 40]))
        data = data[: self._rng.randrange(1, len(data))]
        self._post(data, {"Content-Type": "multipart/form-data; boundary=x"}, {413, 422})

    def _cut(self) -> None:
        """Leaves in the middle of sending, or before the answer."""
        data = self._rng.choice(self._good)
        head = b"POST /v1/check HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(data)
        with socket.create_connection(("127.0.0.1", self._port), timeout=SECONDS) as connection:
            connection.sendall((head + data)[: self._rng.choice([9, len(head) + 99, len(head) + len(data)])])
        self._count("left")

    def _nonsense(self) -> None:
        where = ("127.0.0.1", self._port)
        with suppress(ConnectionError), socket.create_connection(where, timeout=SECONDS) as connection:
            connection.sendall(self._rng.randbytes(64) + b"\r\n\r\n")
            while connection.recv(4096):
                pass
        self._count("no HTTP")

    def _post(self, data: bytes, headers: dict[str, str], expected: set[int]) -> None:
        start = time.perf_counter()
        try:
            self._connection.request("POST", "/v1/check", data, headers)
            response = self._connection.getresponse()
            body = response.read()
        except (OSError, http.client.HTTPException) as error:
            self._connection.close()
            self._count(type(error).__name__, wrong=200 in expected and len(expected) == 1)
            return
        seconds = time.perf_counter() - start
        self._count(str(response.status), wrong=response.status not in expected)
        told = json.loads(body)
        verdicts = told if isinstance(told, list) else [told] if "sha256" in told else []
        with self._seen.lock:
            if verdicts:
                self._seen.answered[response.headers["X-Request-ID"]] = len(verdicts)
                self._seen.seconds.append(seconds)

    def _count(self, what: str, wrong: bool = False) -> None:
        with self._seen.lock:
            self._seen.statuses[what] += 1
            if wrong:
                self._seen.unexpected[what] += 1


def watch(port: int, seen: Seen, until: float, every: float) -> None:
    """Note the service's memory, in megabytes, now and then."""
    while time.monotonic() < until:
        time.sleep(every)
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=SECONDS)
        connection.request("GET", "/metrics")
        found = re.search(
            r"^process_resident_memory_bytes (\S+)", connection.getresponse().read().decode(), re.MULTILINE
        )
        seen.memory.append(float(found[1]) / 1e6 if found else 0.0)
        connection.close()


def lost(url: str, seen: Seen) -> int:
    """Answered pictures of which the trail has no record."""
    with Trail(url).records() as (_, rows):
        recorded = Counter(row["request"] for row in rows)
    return sum(max(0, count - recorded[number]) for number, count in seen.answered.items())


def main() -> None:
    parser = parser_of(__file__, __doc__)
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--hostile", type=float, default=0.1)
    parser.add_argument("--detector", default="fast")
    parser.add_argument("--batch", type=int, default=1)
    options = parser.parse_args()
    seen, good = Seen(), pictures()
    seeds()  # made once, before there are threads
    bad = [*hostile().values(), flat_png(7200, 7200, 2), flat_png(8900, 8900, 6), b"", bytes(65 * 2**20)]
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{folder}/trail.db"
        command = [sys.executable, "-c", "from realface.cli import main; main()", "serve", "--port", "0"]
        command += ["--detector", options.detector, "--batch", str(options.batch), "--trail", url]
        # All come from one address, and wait for each other: with the defaults most would be refused, as they should.
        raised = f"--per-client {2 * options.clients} --queue {2 * options.clients} --timeout 300"
        command += raised.split()
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
            assert process.stderr
            try:
                port = int(re.findall(r":(\d+),", process.stderr.readline())[0])
                start = time.monotonic()
                until = start + 60 * options.minutes
                with ThreadPoolExecutor(options.clients + 1) as pool:
                    clients = [Client(i, port, seen, options.hostile, good, bad) for i in range(options.clients)]
                    work = [pool.submit(client.run, until) for client in clients]
                    work.append(pool.submit(watch, port, seen, until, 60 * options.minutes / 60))
                    for done in work:
                        done.result()
                seconds = time.monotonic() - start
                process.send_signal(signal.SIGINT)
                said = process.stderr.read()
                ended = process.wait(120)
            finally:
                process.kill()
        missing = lost(url, seen)
    p50, *_, p99 = statistics.quantiles(seen.seconds, n=100)[49:]
    parts = [
        statistics.median(seen.memory[i:][: len(seen.memory) // 3])
        for i in (len(seen.memory) // 3, -len(seen.memory) // 3)
    ]
    result = {
        "command": f"python benchmarks/service.py --clients {options.clients} --minutes {options.minutes:g} "
        f"--hostile {options.hostile:g} --detector {options.detector} --batch {options.batch}, "
        f"which starts realface serve {raised}",
        **origin("fastapi", "uvicorn"),
        "requests": sum(seen.statuses.values()),
        "outcomes": dict(seen.statuses.most_common()),
        "pictures_per_second": round(sum(seen.answered.values()) / seconds, 1),
        "seconds": {"p50": round(p50, 2), "p99": round(p99, 2), "slowest": round(max(seen.seconds), 2)},
        "ratio_p99_to_p50": round(p99 / p50, 2),
        "unexpected": dict(seen.unexpected),
        "lost_records": missing,
        "memory_megabytes": {
            "second_third": round(parts[0]),
            "last_third": round(parts[1]),
            "peak": round(max(seen.memory)),
        },
        "ended": {"status": ended, "lines_on_standard_error": len(said.splitlines())},
        "bars": {"unexpected": 0, "lost_records": 0, "ratio_p99_to_p50": RATIO, "memory_growth": GROWTH},
    }
    tell(result, options.out)
    held = not seen.unexpected and not missing and p99 <= RATIO * p50 and parts[1] <= (1 + GROWTH) * parts[0]
    raise SystemExit(0 if held and not ended else 1)


if __name__ == "__main__":
    main()
