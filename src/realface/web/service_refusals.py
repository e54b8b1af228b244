"""Every way in which the service says no: a stable code, its HTTP status, and one form of body for all."""

import json
import uuid

from starlette.responses import Response

STATUS: dict[str, int] = {
    "unauthorized": 401,
    "not_found": 404,
    "method": 405,
    "too_slow": 408,
    "too_many_bytes": 413,
    "too_many_pixels": 413,
    "too_many_faces": 413,
    "too_many_pictures": 422,
    "media_type": 415,
    "not_an_image": 415,
    "request": 422,
    "empty": 422,
    "truncated": 422,
    "too_small": 422,
    "too_many_requests": 429,
    "internal": 500,
    "detector": 500,
    "busy": 503,
    "trail": 503,
}
"""Code to status. Those that `realface.errors` names too are about a picture, the others about the request."""

_HEADERS = {401: {"WWW-Authenticate": "Bearer"}, 429: {"Retry-After": "1"}, 503: {"Retry-After": "2"}}


class Refused(Exception):
    """A request that is not answered; `code` is a key of `STATUS`, the message is for a person."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code

    def response(self) -> Response:
        """The answer: `{"error": {"code", "message"}}` under the code's status, with a number of its own."""
        status = STATUS[self.code]
        body = json.dumps({"error": {"code": self.code, "message": str(self)}})
        headers = {"X-Request-ID": uuid.uuid4().hex, **_HEADERS.get(status, {})}
        return Response(body, status, headers, "application/json")
