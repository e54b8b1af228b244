"""The service as tests meet it: over real sockets, on this computer only."""

import re
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import requests
import uvicorn
from fastapi import FastAPI

from realface.web.service_run import Protocol, server

PATIENCE = 300  # seconds after which a test hangs, on the slowest of machines


class Client(requests.Session):
    """A session whose paths are on one server."""

    server: uvicorn.Server

    def __init__(self, port: int) -> None:
        super().__init__()
        self.trust_env = False  # no proxy of this computer's
        self.port = port

    def request(self, method, url, *args, **kwargs):  # type: ignore[no-untyped-def]
        return super().request(method, f"http://127.0.0.1:{self.port}{url}", *args, **{"timeout": PATIENCE, **kwargs})

    def connections(self) -> list[Protocol]:
        """The server's side of all that are open."""
        return list(self.server.server_state.connections)  # type: ignore[arg-type]

    def sends(self, data: bytes) -> bytes:
        """All that the server answers to these very bytes, until it hangs up."""
        with self.connected() as connection:
            connection.sendall(data)
            return b"".join(iter(lambda: connection.recv(65536), b""))

    def connected(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), PATIENCE)


def refusal(response: requests.Response) -> tuple[int, str]:
    """Status and code of a refusal, or of a picture that cannot be read: of one form, numbered, never a stack trace."""
    assert re.fullmatch("[0-9a-f]{32}", response.headers["x-request-id"])
    assert response.headers["content-type"] == "application/json"
    said = response.json()["error"]
    assert list(said) == ["code", "message"]
    assert said["message"]
    assert "Traceback" not in response.text
    return response.status_code, said["code"]


def last_words(connection: socket.socket) -> bytes:
    """All that comes until the other side hangs up, which is a reset where something of ours was on its way to it."""
    said = b""
    with suppress(ConnectionError):
        while more := connection.recv(65536):
            said += more
    return said


@contextmanager
def served(app: FastAPI) -> Iterator[Client]:
    """The service on a free port, until the end of the block."""
    listener = socket.create_server(("127.0.0.1", 0))
    ready = threading.Event()
    running = server(app, timeout=5)
    started = running.startup

    async def startup(sockets=None):  # type: ignore[no-untyped-def]
        await started(sockets)
        ready.set()

    running.startup = startup  # type: ignore[method-assign]
    thread = threading.Thread(target=running.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        assert ready.wait(PATIENCE)
        with Client(listener.getsockname()[1]) as client:
            client.server = running
            yield client
    finally:
        running.should_exit = True
        thread.join()
        listener.close()
