"""What the service does about too much, too slow, too many at a time, and callers who mean ill."""

import re
import socket
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import requests
from conftest import brightness_detector, encoded, grey
from PIL import Image
from service_helpers import PATIENCE, Client, last_words, refusal, served
from test_detector_faces import pair

from realface import Detector, DetectorError
from realface.card import Preprocessing
from realface.images import Limits
from realface.results import Verdict
from realface.trail import Trail
from realface.web import service_body, service_keys, service_queue, service_run
from realface.web.service import Settings, make_app

FAKE = encoded(grey(255))
MEGABYTE = 2**20


class Gated(Detector):
    """Judges nothing until its gate is open."""

    def __init__(self) -> None:
        super().__init__(brightness_detector(), threads=1)
        self.gate = threading.Event()
        self.seen: list[list[bytes]] = []

    def check_many(self, pictures: Iterable[Any], **options: Any) -> Iterator[Verdict]:
        pictures = list(pictures)
        self.seen.append(pictures)
        assert self.gate.wait(PATIENCE)
        return super().check_many(pictures, **options)


class Callers:
    """Callers at the same time, each in a thread."""

    def __init__(self, client: Client, pool: ThreadPoolExecutor) -> None:
        self.client, self._pool = client, pool

    def post(self, *pictures: bytes, path: str = "/v1/check") -> "Future[requests.Response]":
        """One more caller, who stands in the line when this returns."""
        before = self.waiting()

        def call() -> requests.Response:
            with Client(self.client.port) as own:
                if len(pictures) == 1:
                    return own.post(path, data=pictures[0])
                return own.post(path, files=[("file", picture) for picture in pictures])

        called = self._pool.submit(call)
        self.until(before + 1)
        return called

    def waiting(self) -> int:
        found = re.search(r"^realface_requests_waiting (\d+)", self.client.get("/metrics").text, re.MULTILINE)
        assert found
        return int(found[1])

    def until(self, count: int) -> None:
        until(self.client, lambda: self.waiting() == count)


def until(client: Client, happened: Callable[[], bool]) -> None:
    """Ask the server other things until something has happened."""
    for _ in range(20_000):
        if happened():
            return
        assert client.get("/healthz").status_code == 200
    pytest.fail("it never happened")


@contextmanager
def calling(detector: Detector, settings: Settings, **options: Any) -> Iterator[Callers]:
    with served(make_app(detector, settings, **options)) as client, ThreadPoolExecutor(8) as pool:
        yield Callers(client, pool)


@pytest.fixture
def gated() -> Iterator[Gated]:
    detector = Gated()
    yield detector
    detector.gate.set()


def answer(connection: socket.socket) -> bytes:
    """All of one answer in JSON, of an object."""
    said = b""
    while not said.endswith(b"}"):
        more = connection.recv(65536)
        assert more, said
        said += more
    return said


@pytest.fixture(scope="module")
def narrow() -> Iterator[Client]:
    limits = Limits(MEGABYTE, 10_000)
    detector = Detector(brightness_detector(), threads=1, limits=limits)
    with served(make_app(detector, Settings(limits, pictures=3, room=5 * MEGABYTE))) as client:
        yield client


def test_too_many_bytes_are_refused_unread_and_as_they_come(narrow: Client) -> None:
    large = bytes(MEGABYTE + 1)
    assert refusal(narrow.post("/v1/check", data=large)) == (413, "too_many_bytes")
    assert refusal(narrow.post("/v1/check", data=iter([large]))) == (413, "too_many_bytes")  # no length is told
    assert refusal(narrow.post("/v1/check", files={"file": large})) == (413, "too_many_bytes")
    together = narrow.post("/v1/check", files=[("file", large)] * 4)
    assert refusal(together) == (413, "too_many_bytes")
    assert "send fewer at a time" in together.json()["error"]["message"]
    assert narrow.post("/v1/check", data=FAKE.ljust(MEGABYTE, b"\0")).json()["verdict"] == "fake"


def test_too_many_pixels_are_refused(narrow: Client) -> None:
    bomb = encoded(grey(255, 200, 200))
    assert refusal(narrow.post("/v1/check", data=bomb)) == (413, "too_many_pixels")
    fine, large = narrow.post("/v1/check", files=[("file", FAKE), ("file", bomb)]).json()
    assert (fine["verdict"], large["error"]["code"]) == ("fake", "too_many_pixels")


def test_too_many_faces_are_refused() -> None:
    crowd = encoded(Image.fromarray(pair()))
    detector = Detector(brightness_detector(preprocessing=Preprocessing(32, "face")), threads=1, max_faces=1)
    with served(make_app(detector)) as client:
        assert refusal(client.post("/v1/check", data=crowd)) == (413, "too_many_faces")
        _, also = client.post("/v1/check", files=[("file", FAKE), ("file", crowd)]).json()
    assert (also["status"], also["error"]["code"]) == ("error", "too_many_faces")


def test_a_body_that_does_not_come_is_not_waited_for(detector: Detector) -> None:
    head = b"POST /v1/check HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 100\r\n\r\n"
    with served(make_app(detector, Settings(timeout=0.3))) as client:
        said = client.sends(head + b"x")
    assert said.startswith(b"HTTP/1.1 408 ")
    assert b'"too_slow"' in said


def test_headers_that_do_not_come_are_not_waited_for(monkeypatch: pytest.MonkeyPatch, detector: Detector) -> None:
    whole = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
    with served(make_app(detector)) as client:
        monkeypatch.setattr(service_run, "HEADER_SECONDS", 0.2)
        assert client.sends(b"") == b""
        with client.connected() as connection:
            connection.sendall(whole[:-2])
            assert last_words(connection) == b""
        monkeypatch.setattr(service_run, "HEADER_SECONDS", PATIENCE)  # until the first request is answered
        with client.connected() as connection:
            connection.sendall(whole)
            assert answer(connection).startswith(b"HTTP/1.1 200 ")
            monkeypatch.setattr(service_run, "HEADER_SECONDS", 0.2)
            connection.sendall(whole[:-2])
            assert last_words(connection) == b""


@pytest.mark.parametrize(
    ("line", "status"), [("GET /healthz", 200), ("POST /nowhere", 404), ("GET /v1/check", 405), ("POST /v1/check", 413)]
)
def test_a_body_that_is_answered_already_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch, detector: Detector, line: str, status: int
) -> None:
    monkeypatch.setattr(service_body, "LINGER", 0.1)
    head = f"{line} HTTP/1.1\r\nHost: x\r\nContent-Length: {10**12}\r\n\r\n"
    with served(make_app(detector)) as client, client.connected() as connection:
        connection.sendall(head.encode())
        assert answer(connection).startswith(f"HTTP/1.1 {status} ".encode())
        monkeypatch.setattr(service_run, "HEADER_SECONDS", 0.2)  # not before: the head need not come at once
        connection.sendall(b"x")  # uvicorn's own clock stops here
        assert last_words(connection) == b""


def test_who_finishes_a_body_that_is_answered_already_goes_on(
    monkeypatch: pytest.MonkeyPatch, detector: Detector
) -> None:
    monkeypatch.setattr(service_body, "LINGER", 0.1)
    with served(make_app(detector)) as client, client.connected() as connection:
        connection.sendall(b"POST /nowhere HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\n")
        assert answer(connection).startswith(b"HTTP/1.1 404 ")
        connection.sendall(b"a")
        connection.sendall(b"bcGET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert b"HTTP/1.1 200 " in last_words(connection)


def test_an_answer_that_is_not_read_is_not_kept(monkeypatch: pytest.MonkeyPatch, detector: Detector) -> None:
    unread = threading.Event()
    hang_up = service_run.Protocol._hang_up_unread

    def noted(late: service_run.Protocol) -> None:
        if late.transport.get_write_buffer_size():
            unread.set()
        hang_up(late)

    monkeypatch.setattr(service_run, "UNREAD_SECONDS", 0.2)
    monkeypatch.setattr(service_run.Protocol, "_hang_up_unread", noted)
    with served(make_app(detector)) as client, socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.connect(("127.0.0.1", client.port))
        with suppress(ConnectionError):  # it need not wait for the last of them
            connection.sendall(b"GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n" * 1000)
        assert unread.wait(PATIENCE)
        until(client, lambda: len(client.connections()) == 1)  # our own


@pytest.mark.parametrize(
    "head",
    [
        b"POST /v1/check HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nabcdef",
        b"POST /v1/check HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"POST /v1/check HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n\r\n",
        b"POST /v1/check HTTP/1.1\r\nHost: x\r\nX: " + b"x" * 100_000,
        b"\x16\x03\x01\x02\x00\r\n\r\n",
    ],
)
def test_what_is_no_http_is_refused(narrow: Client, head: bytes) -> None:
    assert narrow.sends(head).startswith(b"HTTP/1.1 400 ")


def test_memory_for_waiting_pictures_is_bounded(gated: Gated) -> None:
    with calling(gated, Settings(room=2 * len(FAKE) - 1)) as callers:
        called = callers.post(FAKE)
        response = callers.client.post("/v1/check", data=FAKE)
        assert refusal(response) == (503, "busy")
        assert response.headers["retry-after"] == "2"
        gated.gate.set()
        assert called.result().status_code == 200
        for _ in range(3):  # each gives its room back
            assert callers.client.post("/v1/check", data=FAKE).status_code == 200


def test_what_never_has_room_is_not_told_to_try_again(detector: Detector) -> None:
    with served(make_app(detector, Settings(room=MEGABYTE))) as client:
        for body in ({"data": bytes(MEGABYTE + 1)}, {"files": [("file", bytes(MEGABYTE // 2))] * 2}):
            response = client.post("/v1/check", **body)
            assert refusal(response) == (413, "too_many_bytes")
            assert "may have 1 MB together" in response.json()["error"]["message"]


def test_a_full_line_says_so_at_once_and_is_not_ready(gated: Gated) -> None:
    with calling(gated, Settings(queue=2)) as callers:
        both = [callers.post(FAKE) for _ in range(2)]
        assert refusal(callers.client.post("/v1/check", data=FAKE)) == (503, "busy")
        assert refusal(callers.client.get("/readyz")) == (503, "busy")
        assert callers.client.get("/healthz").status_code == 200
        gated.gate.set()
        assert [called.result().json()["verdict"] for called in both] == ["fake", "fake"]
        assert callers.client.get("/readyz").status_code == 200


def test_one_client_cannot_take_every_place(gated: Gated) -> None:
    with calling(gated, Settings(per_client=2)) as callers:
        both = [callers.post(FAKE) for _ in range(2)]
        response = callers.client.post("/v1/check", data=FAKE)
        assert refusal(response) == (429, "too_many_requests")
        assert response.headers["retry-after"] == "1"
        gated.gate.set()
        assert {called.result().status_code for called in both} == {200}
        assert callers.client.post("/v1/check", data=FAKE).status_code == 200


def test_a_turn_that_does_not_come_in_time_is_an_answer_too(gated: Gated) -> None:
    head = b"POST /v1/check HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(FAKE)
    with calling(gated, Settings(timeout=0.3)) as callers:
        said = callers.client.sends(head + FAKE)  # in one piece: all of it has the same time limit
        assert said.startswith(b"HTTP/1.1 503 ")
        assert b'"busy"' in said
        assert callers.waiting() == 0
        gated.gate.set()


def test_pictures_of_a_form_stand_in_line_one_by_one(gated: Gated) -> None:
    form = [encoded(grey(level)) for level in (1, 2, 3)]
    with calling(gated, Settings()) as callers:
        calls = [callers.post(*form), callers.post(FAKE)]
        gated.gate.set()
        assert [called.result().status_code for called in calls] == [200, 200]
    assert gated.seen == [form[:1], [FAKE], form[1:2], form[2:]]


def test_pictures_of_several_callers_are_judged_in_one_go_where_asked(gated: Gated) -> None:
    pictures = [encoded(grey(level)) for level in (0, 255, 128, 1)]
    with calling(gated, Settings(batch=2)) as callers:
        calls = [callers.post(picture) for picture in pictures]
        gated.gate.set()
        answers = [called.result().json()["verdict"] for called in calls]
    assert answers == ["real", "fake", "inconclusive", "real"]
    assert gated.seen == [pictures[:1], pictures[1:3], pictures[3:]]


def test_what_fails_for_one_caller_fails_for_no_other(gated: Gated, monkeypatch: pytest.MonkeyPatch) -> None:
    bad, whole = encoded(grey(1)), gated.check_many

    def check_many(pictures: list[bytes], **options: Any) -> Iterator[Verdict]:
        yield from whole(pictures, **options)
        if bad in pictures:
            raise DetectorError("no number came of it")

    monkeypatch.setattr(gated, "check_many", check_many)
    with calling(gated, Settings(batch=3)) as callers:
        calls = [callers.post(picture) for picture in (FAKE, FAKE, bad, FAKE)]
        gated.gate.set()
        assert [called.result().status_code for called in calls] == [200, 200, 500, 200]
    assert gated.seen == [[FAKE], [FAKE, bad, FAKE], [FAKE], [bad], [FAKE]]


def test_pictures_of_reports_are_judged_alone(gated: Gated) -> None:
    with calling(gated, Settings(batch=2)) as callers:
        calls = [callers.post(FAKE, path="/v1/check?report=html") for _ in range(3)]
        gated.gate.set()
        assert all("1 picture: 1 fake." in called.result().text for called in calls)
    assert gated.seen == [[FAKE]] * 3


def test_who_has_gone_leaves_the_line(gated: Gated) -> None:
    other = encoded(grey(0))
    head = b"POST /v1/check HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(other)
    with calling(gated, Settings()) as callers:
        first = callers.post(FAKE)
        with callers.client.connected() as connection:
            connection.sendall(head + other)
            callers.until(2)
        callers.until(1)
        gated.gate.set()
        assert first.result().status_code == 200
    assert gated.seen == [[FAKE]]


def test_answers_that_wait_for_their_record_share_a_commit(detector_file: Path, tmp_path: Path) -> None:
    gate, judged = threading.Event(), threading.Semaphore(0)
    sizes: list[int] = []

    class Slow(Trail):
        def append(self, entries: Any) -> None:
            sizes.append(len(entries))
            assert gate.wait(PATIENCE)
            super().append(entries)

    class Counted(Detector):
        def check_many(self, *arguments: Any, **options: Any) -> Iterator[Verdict]:
            yield from super().check_many(*arguments, **options)
            judged.release()

    trail = Slow(str(tmp_path / "trail.db"))
    with calling(Counted.load(detector_file), Settings(), trail=trail) as callers:
        calls = [callers.post(FAKE) for _ in range(4)]
        assert all(judged.acquire(timeout=PATIENCE) for _ in calls)
        assert callers.waiting() == 4  # judged, but not answered
        gate.set()
        assert {called.result().status_code for called in calls} == {200}
    assert trail.verify().n == 4
    assert sizes[0] == 1
    assert len(sizes) < 4


def test_a_record_that_hangs_is_not_ready(detector: Detector, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service_queue, "FORGIVEN", 0.0)
    gate, writes = threading.Event(), threading.Event()

    class Silent(Trail):
        def append(self, entries: Any) -> None:
            writes.set()
            assert gate.wait(PATIENCE)

    with calling(detector, Settings(), trail=Silent(str(tmp_path / "trail.db"))) as callers:
        assert callers.client.get("/readyz").status_code == 200
        called = callers.post(FAKE)
        assert writes.wait(PATIENCE)
        assert refusal(callers.client.get("/readyz")) == (503, "trail")
        gate.set()
        assert called.result().status_code == 200
        assert callers.client.get("/readyz").status_code == 200


def test_who_is_refused_while_sending_is_told_why(
    detector: Detector, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service_body, "LINGER", PATIENCE)  # all of it comes, however slowly
    service_keys.add(tmp_path / "keys", "ann")
    with served(make_app(detector, keys=service_keys.load(tmp_path / "keys"))) as client:
        assert refusal(client.post("/v1/check", data=bytes(8 * MEGABYTE))) == (401, "unauthorized")
        for path, status in (("/v1/check", 401), ("/v1/check?heatmap=maybe", 422), ("/nowhere", 404)):
            last = f"POST {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {8 * MEGABYTE}\r\n\r\n"
            assert client.sends(last.encode() + bytes(8 * MEGABYTE)).startswith(f"HTTP/1.1 {status} ".encode())
        head = b"POST /v1/check HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 9\r\nConnection: close"
        assert client.sends(head + b"\r\n\r\n").startswith(b"HTTP/1.1 401 ")  # and is never told to go on
