"""The pictures in a request, raw or in a form: read as they come, kept in memory only, never more than is allowed."""

import asyncio
import sys
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect, Request

from ..images import megabytes
from .service_refusals import Refused

LINGER = 1.0  # seconds
AROUND = 2**13  # bytes around a picture in a form
RAW = ("", "application/octet-stream", "application/x-www-form-urlencoded")  # curl says the last if not told
Take = Callable[[int], None]


@dataclass(frozen=True)
class Upload:
    """A picture as it came. The name is the client's: text to be repeated, never a path to be opened."""

    name: str | None
    data: bytes


class Room:
    """Bytes of pictures that are kept at a time, over all requests."""

    def __init__(self, most: int) -> None:
        self.most, self.taken = most, 0

    @contextmanager
    def lease(self) -> Iterator[Take]:
        """Gives what takes so many bytes more, or raises Refused; all are given back at the end."""
        mine = 0

        def take(size: int) -> None:
            nonlocal mine
            if mine + size > self.most:  # to try again would not help
                said = f"the pictures of a request may have {megabytes(self.most)} together; send fewer at a time"
                raise Refused("too_many_bytes", said)
            if self.taken + size > self.most:
                raise Refused("busy", "too many pictures are waiting; try again in a moment")
            self.taken += size
            mine += size

        try:
            yield take
        finally:
            self.taken -= mine


class Body:
    """The body of one request.

    Attributes:
        many: whether it is a form, which holds any number of pictures.
    """

    def __init__(self, request: Request, max_bytes: int, max_pictures: int) -> None:
        """Of a request, with the most bytes of a picture and the most pictures."""
        self._request, self._max_bytes, self._max_pictures = request, max_bytes, max_pictures
        self._kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        self.many = self._kind == "multipart/form-data"

    async def read(self, take: Take) -> list[Upload]:
        """All pictures.

        Raises:
            Refused: too much of something, no picture, or nothing that could be one.
            ClientDisconnect: there is nobody to answer.
        """
        if self.many:
            return await self._form(take)
        if self._kind not in RAW and not self._kind.startswith("image/"):
            raise Refused("media_type", "send the bytes of one picture, or multipart/form-data with one or more")
        data = bytearray()
        async for chunk in self._chunks(self._max_bytes, take):
            data += chunk
        return [Upload(None, bytes(data))]

    async def _form(self, take: Take) -> list[Upload]:
        async def chunks() -> AsyncGenerator[bytes, None]:
            async for chunk in self._chunks(self._max_pictures * (self._max_bytes + AROUND), take):
                yield chunk
            if not parser.whole:
                raise Refused("request", "the form is cut off")

        parser = _Form(self._request.headers, chunks(), max_files=self._max_pictures, max_fields=0)
        try:
            form = await parser.parse()
        except MultiPartException as error:
            if error.message.startswith("Too many fields"):
                said = "a form holds pictures only; give options in the address, as in /v1/check?heatmap=true"
                raise Refused("request", said) from None
            code = "too_many_pictures" if error.message.startswith("Too many files") else "request"
            raise Refused(code, f"the form cannot be read: {error.message}") from None
        except UnicodeError:  # from a `charset` that is none for texts
            raise Refused("request", "the form cannot be read: send its names in UTF-8") from None
        try:
            pictures = [value for value in form.getlist("file") if isinstance(value, UploadFile)]
            if not pictures or len(pictures) < len(form.multi_items()):
                raise Refused("request", 'send pictures, in fields of the form that are named "file"')
            if any((picture.size or 0) > self._max_bytes for picture in pictures):
                raise self._too_large()
            return [Upload(picture.filename, await picture.read()) for picture in pictures]
        finally:
            await form.close()

    async def _chunks(self, most: int, take: Take) -> AsyncGenerator[bytes, None]:
        told = self._request.headers.get("content-length", "")
        if told.isdecimal() and int(told) > most:
            raise self._too_large(together=self.many)
        size = 0
        async for chunk in self._request.stream():
            size += len(chunk)
            if size > most:
                raise self._too_large(together=self.many)
            take(len(chunk))
            yield chunk

    def _too_large(self, *, together: bool = False) -> Refused:
        if together:
            return Refused("too_many_bytes", "the pictures of a request are too large together; send fewer at a time")
        return Refused("too_many_bytes", f"a picture may have {megabytes(self._max_bytes)}; make it smaller first")


async def drain(request: Request) -> None:
    """Read on for a moment, and drop it: cut off while they send, few clients would see why they are refused."""
    if "expect" in request.headers:  # it waits to be told to send
        return
    with suppress(TimeoutError, ClientDisconnect, RuntimeError):  # the last where nothing more comes
        async with asyncio.timeout(LINGER):
            async for _ in request.stream():
                pass


class _Form(MultiPartParser):
    """Starlette's parser, but no picture gets into a file, and it is told whether the form came to its end."""

    spool_max_size = sys.maxsize
    whole = False

    def on_end(self) -> None:
        self.whole = True
