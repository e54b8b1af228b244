"""What /openapi.json says of the service beyond what its code says."""

import json
from collections.abc import Callable
from typing import Any

from ..errors import NotAnImage
from ..results import Crop, DetectorId, Face, Probability, Verdict, failed
from .service_refusals import STATUS

ABOUT = (
    "Tell photographs of real faces from faces a machine made. A verdict is a hint for a person who decides, not "
    "proof. Pictures are judged in memory and not kept."
)
_ID = DetectorId("best", "0.1.0", 64 * "0")
_VERDICT = Verdict(
    None,
    64 * "1",
    "ok",
    "fake",
    (Face((61, 48, 132, 180), "fake", Probability(0.03125, 0.96875), Crop((0, 0, 256, 256))),),
    None,
    _ID,
)
_NO_PICTURE = failed("notes.txt", 64 * "2", NotAnImage("this is not a picture realface can read"), _ID)
_REFUSAL = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["code", "message"],
            "properties": {"code": {"type": "string"}, "message": {"type": "string"}},
        }
    },
}
_MEANINGS = {
    401: "No API key, or none of this service",
    408: "The request did not come in time",
    413: "Too many bytes, pixels or faces",
    415: "No picture, or of a kind that is not read",
    422: "A picture that is damaged, empty or too small, or a parameter or a form that is wrong",
    429: "Too many requests of this client at a time",
    500: "A defect, or the detector fails",
    503: "Too busy to answer in time, or the answer could not be recorded; see Retry-After",
}


def body(pictures: int) -> dict[str, Any]:
    """Of a check, with at most so many pictures in a form."""
    picture = {"type": "string", "format": "binary"}
    form = {
        "type": "object",
        "required": ["file"],
        "additionalProperties": False,
        "properties": {"file": {"type": "array", "minItems": 1, "maxItems": pictures, "items": picture}},
    }
    content = {
        "image/*": {"schema": picture},
        "application/octet-stream": {"schema": picture},
        "multipart/form-data": {"schema": form},
    }
    return {"requestBody": {"required": True, "content": content}}


def _refused(status: int) -> dict[str, Any]:
    """A refusal. Of one picture that cannot be read it is the verdict, which has the same entry `error`."""
    codes = [code for code, of in STATUS.items() if of == status]
    example = {"error": {"code": codes[0], "message": "what is wrong, and what to do"}}
    return {
        "description": f"{_MEANINGS[status]} (`error.code`: {', '.join(codes)})",
        "content": {"application/json": {"schema": _REFUSAL, "example": example}},
    }


CHECKED: dict[int | str, dict[str, Any]] = {
    200: {
        "model": Verdict | list[Verdict],
        "description": "The verdict on one picture, or the verdicts on those of a form",
        "content": {"text/html": {"schema": {"type": "string"}}},
    },
    **{status: _refused(status) for status in _MEANINGS},
}
_OK = {"schema": {"type": "object"}, "example": {"status": "ok"}}
HEALTH: dict[int | str, dict[str, Any]] = {200: {"description": "It lives", "content": {"application/json": _OK}}}
READY: dict[int | str, dict[str, Any]] = {
    200: {"description": "It is ready", "content": {"application/json": _OK}},
    503: _refused(503),
}
METRICS: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The counters",
        "content": {
            "text/plain": {"schema": {"type": "string"}, "example": 'realface_requests_total{status="200"} 3.0'}
        },
    }
}


def with_examples(make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What `make` says, with examples of verdicts: FastAPI would leave out all in them that is null."""
    said = make()
    content = said["paths"]["/v1/check"]["post"]["responses"]["200"]["content"]["application/json"]
    content["examples"] = {
        "one": {"summary": "One picture", "value": json.loads(_VERDICT.to_json())},
        "form": {"summary": "A form", "value": [json.loads(v.to_json()) for v in (_VERDICT, _NO_PICTURE)]},
    }
    return said
