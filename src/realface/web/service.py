"""The web service: `POST /v1/check` and what operators need beside it. No picture is kept, on disk or in memory."""

import asyncio
import json
import logging
import time
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Coroutine, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Annotated, Literal

import numpy as np
from fastapi import Depends, FastAPI, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from prometheus_client import CONTENT_TYPE_LATEST
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse

from .. import __version__, finder
from ..detector import Detector
from ..errors import DetectorError
from ..images import Limits
from ..report import Report
from ..trail import Entry, Trail
from . import service_keys
from .service_body import Body, Room, Upload, drain
from .service_metrics import Metrics
from .service_openapi import ABOUT, CHECKED, HEALTH, METRICS, READY, body, with_examples
from .service_queue import Queue, Recorder, Wish
from .service_refusals import STATUS, Refused

_log = logging.getLogger("uvicorn.error")


@dataclass(frozen=True)
class Settings:
    """What the service allows.

    Attributes:
        limits: of one picture.
        workers: threads that judge; each uses one processor core.
        batch: pictures, of any callers, that a thread judges at once.
        queue: requests that may wait or be judged; further ones are refused.
        per_client: requests of one client at a time; a client is an API key, or an address where there are none.
        pictures: in one request.
        room: bytes of pictures that are kept at a time.
        timeout: seconds for a request, from its headers to the answer.
    """

    limits: Limits = Limits()
    workers: int = 1
    batch: int = 1
    queue: int = 128
    per_client: int = 16
    pictures: int = 16
    room: int = 512 * 2**20
    timeout: float = 60.0


class Asked(BaseModel, extra="forbid"):
    """The parameters of a check; any other is refused."""

    report: Literal["html"] | None = Field(None, description="Answer with a case report for people.")
    heatmap: bool = Field(False, description="Say where in each face the evidence lies.")
    stability: bool = Field(False, description="Say whether each verdict holds for changed copies.")


class Service:
    """What the routes of one application share."""

    def __init__(
        self, detector: Detector, settings: Settings, keys: Mapping[str, str] | None, trail: Trail | None
    ) -> None:
        self.detector, self.settings, self.keys = detector, settings, keys
        self.queue = Queue(detector, workers=settings.workers, batch=settings.batch, most=settings.queue)
        self.room, self.recorder, self.clients = Room(settings.room), Recorder(trail), Counter[str]()
        self.metrics = Metrics(self.queue, self.room)

    async def answer(self, request: Request, key: str | None, wish: Wish) -> Response:
        """A response to one check, whatever comes; counted, and with the number it has in the trail."""
        start, number = time.perf_counter(), uuid.uuid4().hex
        try:
            response = await self._answer(request, key, wish, number)
        except Refused as refused:
            await drain(request)
            response = refused.response()
        except ClientDisconnect:
            response = Response(status_code=499)  # nobody reads it
        except Exception:
            _log.exception("request %s", number)
            response = Refused("internal", "this is a defect in realface, please report it").response()
        self.metrics.request(response.status_code, time.perf_counter() - start)
        response.headers["X-Request-ID"] = number
        return response

    async def wrong(self, request: Request, error: Exception) -> Response:
        """The refusal of a check whose parameters FastAPI found wrong; counted like every other."""
        assert isinstance(error, RequestValidationError)
        start = time.perf_counter()
        await drain(request)
        first = error.errors()[0]
        response = Refused("request", f"{first['loc'][-1]}: {first['msg']}; see /openapi.json").response()
        self.metrics.request(response.status_code, time.perf_counter() - start)
        return response

    async def _answer(self, request: Request, key: str | None, wish: Wish, number: str) -> Response:
        who = self._who(request, key)
        if wish.heatmap and not self.detector.explains:
            raise Refused("request", f"the detector {self.detector.id.name} gives no heatmaps; leave heatmap away")
        if self.queue.full:
            raise Refused("busy", "too many requests are waiting; try again in a moment")
        sent = Body(request, self.settings.limits.max_bytes, self.settings.pictures)
        late = Refused("too_slow", f"the request did not come within {self.settings.timeout:g} seconds")
        with self._client(who), self.room.lease() as take:
            try:
                async with asyncio.timeout(self.settings.timeout):
                    uploads = await sent.read(take)
                    late = Refused("busy", f"no answer within {self.settings.timeout:g} seconds; try again later")
                    with self.queue.place():
                        report = Report(self.detector) if wish.report else None
                        return await _unless_gone(
                            request, self._judged(uploads, sent.many, wish, report, who=who, number=number)
                        )
            except TimeoutError:
                raise late from None

    async def _judged(
        self, uploads: list[Upload], many: bool, wish: Wish, report: Report | None, *, who: str, number: str
    ) -> Response:
        """Record first, then answer."""
        verdicts = [await self.queue.check(upload, wish, report) for upload in uploads]
        for verdict in verdicts:
            if verdict.error and verdict.error.code == DetectorError.code:
                _log.error("request %s: %s", number, verdict.error.message)
        card = self.detector.card
        policy = json.dumps(asdict(card.policy) | asdict(card.thresholds))
        await self.recorder.record(
            [
                Entry(
                    time=datetime.now(UTC),
                    who=who,
                    request=number,
                    sha256=verdict.sha256,
                    status=verdict.status,
                    verdict=verdict.verdict,
                    probabilities=tuple(face.probability.fake for face in verdict.faces),
                    detector=verdict.detector.sha256,
                    policy=policy,
                )
                for verdict in verdicts
            ]
        )
        for verdict in verdicts:
            self.metrics.picture(verdict)
        if not many and (error := verdicts[0].error):
            return Response(verdicts[0].to_json(), STATUS.get(error.code, 422), media_type="application/json")
        if report:
            return Response(report.html(), headers={"Content-Security-Policy": "sandbox"}, media_type="text/html")
        rows = ", ".join(verdict.to_json() for verdict in verdicts)
        return Response(f"[{rows}]" if many else rows, media_type="application/json")

    def _who(self, request: Request, key: str | None) -> str:
        if self.keys is None:
            return request.client.host if request.client else "unknown"
        if name := service_keys.owner(self.keys, key or ""):
            return name
        raise Refused("unauthorized", "send an API key of this service: Authorization: Bearer KEY")

    @contextmanager
    def _client(self, who: str) -> Iterator[None]:
        if self.clients[who] >= self.settings.per_client:
            raise Refused("too_many_requests", f"at most {self.settings.per_client} requests of a client at a time")
        self.clients[who] += 1
        try:
            yield
        finally:
            self.clients[who] -= 1
            if not self.clients[who]:
                del self.clients[who]


async def _unless_gone(request: Request, work: Coroutine[None, None, Response]) -> Response:
    """The response, unless the client leaves before: then the work is dropped, and ClientDisconnect raised."""

    async def gone() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass

    answering, leaving = asyncio.ensure_future(work), asyncio.ensure_future(gone())
    try:
        await asyncio.wait({answering, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if answering.done():
            return answering.result()
        raise ClientDisconnect
    finally:
        answering.cancel()
        leaving.cancel()


def make_app(
    detector: Detector,
    settings: Settings = Settings(),
    *,
    keys: Mapping[str, str] | None = None,
    trail: Trail | None = None,
) -> FastAPI:
    """The service as an ASGI application.

    Args:
        detector: judges; best loaded with `threads=1`, the settings' limits and a `max_faces` that fits the timeout.
        settings: what is allowed.
        keys: names and hashes of API keys, see `service_keys`; None lets everybody in.
        trail: where every answer is recorded before it is given, closed at the end; None records nothing.
    """
    service = Service(detector, settings, keys, trail)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        blank = np.zeros((64, 64, 3), np.uint8)
        finder.find(blank)
        detector.logits([blank])  # what cannot judge must not say that it is ready
        yield
        service.queue.close()
        if trail:
            trail.close()

    app = FastAPI(
        title="realface",
        description=ABOUT,
        version=__version__,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,  # to whatever host the caller names
        lifespan=lifespan,
    )
    app.add_exception_handler(HTTPException, _no_such)
    app.add_exception_handler(RequestValidationError, service.wrong)
    guard = HTTPBearer(auto_error=False, description="Made with `realface serve --add-key`") if keys else _no_key
    Key = Annotated[HTTPAuthorizationCredentials | None, Depends(guard)]

    @app.post(
        "/v1/check", openapi_extra=body(settings.pictures), responses=CHECKED, response_class=Response, tags=["check"]
    )
    async def check(request: Request, key: Key, asked: Annotated[Asked, Query()]) -> Response:
        """Say of one picture, or of each of several, whether its faces are real or made by a machine.

        The body is a picture's bytes (JPEG, PNG, WebP, BMP, TIFF, GIF), or a form with pictures in fields named `file`.
        One picture gets one object, a form a list, in order; in a form, one bad picture does not stop the rest.
        """
        report = asked.report is not None
        wish = Wish(asked.heatmap or (report and detector.explains), asked.stability or report, report)
        return await service.answer(request, key.credentials if key else None, wish)

    @app.head("/healthz", include_in_schema=False)
    @app.get("/healthz", responses=HEALTH, response_class=Response, tags=["operate"])
    async def healthz() -> Response:
        """Whether the process lives."""
        return JSONResponse({"status": "ok"})

    @app.head("/readyz", include_in_schema=False)
    @app.get("/readyz", responses=READY, response_class=Response, tags=["operate"])
    async def readyz() -> Response:
        """Whether a check would be answered now."""
        if service.queue.full:
            return Refused("busy", "too many requests are waiting").response()
        if service.recorder.failing:
            return Refused("trail", "answers cannot be recorded").response()
        return JSONResponse({"status": "ok"})

    @app.get("/metrics", responses=METRICS, response_class=Response, tags=["operate"])
    async def metrics() -> Response:
        """Counters in Prometheus' text format."""
        return Response(service.metrics.text(), media_type=CONTENT_TYPE_LATEST)

    app.openapi = partial(with_examples, app.openapi)  # pyrefly: ignore[method-assign]
    return app


async def _no_key() -> None:
    """In place of a key where none is asked for."""


async def _no_such(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    await drain(request)
    code = "method" if error.status_code == 405 else "not_found"
    response = Refused(code, f"{error.detail}; see /openapi.json").response()
    response.headers.update(error.headers or {})
    return response
