"""Run the service with uvicorn."""

import asyncio
import logging
import signal
import socket
import sys
from contextlib import suppress
from types import FrameType

import h11
import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.h11_impl import H11Protocol

from ..errors import ConfigError
from ..memory import give_freed_memory_back

HEADER_SECONDS, UNREAD_SECONDS = 10.0, 60.0  # the first also for the rest of a body that is answered already
CONNECTIONS = 512


class Protocol(H11Protocol):
    """uvicorn's HTTP/1.1, but it waits for ever for nothing: headers, the rest of a body, an answer to be read."""

    _late: asyncio.TimerHandle | None = None
    _unread: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:
        super().connection_made(transport)
        self._late = self.loop.call_later(HEADER_SECONDS, transport.abort)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.conn.their_state is not h11.IDLE and self.conn.our_state is not h11.DONE:
            _cancel(self._late)
            self._late = None
        elif self._late is None:  # one more request begins, or a body goes on after its answer; uvicorn's clock stopped
            self._late = self.loop.call_later(HEADER_SECONDS, self.transport.abort)

    def on_response_complete(self) -> None:
        _cancel(self._unread)
        if self.transport.get_write_buffer_size():
            self._unread = self.loop.call_later(UNREAD_SECONDS, self._hang_up_unread)
        super().on_response_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        _cancel(self._late)
        _cancel(self._unread)
        super().connection_lost(exc)

    def _hang_up_unread(self) -> None:
        if self.transport.get_write_buffer_size():
            self.transport.abort()


def _cancel(timer: asyncio.TimerHandle | None) -> None:
    if timer:
        timer.cancel()


def run(app: FastAPI, host: str, port: int, *, timeout: float, proxy: str | None = None) -> None:
    """Serve until SIGINT or SIGTERM; requests under way are still answered.

    Args:
        app: of `service.make_app`.
        host, port: where to listen; port 0 takes any that is free.
        timeout, proxy: see `server`.

    Raises:
        ConfigError: that cannot be listened at.
    """
    try:
        host.encode("idna")  # of a name that no host can have `create_server` would leave a socket behind
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listener = socket.create_server((host, port), family=family, backlog=CONNECTIONS)
    except (OSError, UnicodeError) as error:
        said = getattr(error, "strerror", None) or error
        raise ConfigError(f"cannot listen at {host}, port {port}: {said}") from None
    shown = f"[{host}]" if ":" in host else host
    print(f"realface serves at http://{shown}:{listener.getsockname()[1]}, until Ctrl-C", file=sys.stderr, flush=True)
    logging.getLogger("python_multipart").setLevel(logging.CRITICAL)  # what is wrong with a form is told to its sender
    give_freed_memory_back()
    with suppress(KeyboardInterrupt):  # uvicorn raises the signal once more when it has ended
        signal.signal(signal.SIGTERM, signal.default_int_handler)  # the same as SIGINT
        server(app, timeout=timeout, proxy=proxy).run(sockets=[listener])


def server(app: FastAPI, *, timeout: float = 60, proxy: str | None = None) -> uvicorn.Server:
    """A server for sockets that listen.

    Args:
        app: of `service.make_app`.
        timeout: seconds that requests under way get at the end.
        proxy: the address of a proxy whose word on who the client is (X-Forwarded-For) is taken.
    """
    config = uvicorn.Config(
        app,
        http=Protocol,
        loop="asyncio",
        ws="none",
        lifespan="on",
        log_level="error",
        access_log=False,
        server_header=False,
        proxy_headers=proxy is not None,
        forwarded_allow_ips=proxy or "",
        limit_concurrency=CONNECTIONS,
        timeout_graceful_shutdown=round(timeout),
    )
    return _Server(config)


class _Server(uvicorn.Server):
    """Ends one way: a second Ctrl-C would have it leave before its trail is closed, with a trace."""

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if not self.should_exit:
            super().handle_exit(sig, frame)
