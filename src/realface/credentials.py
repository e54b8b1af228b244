"""What C2PA manifests ("Content Credentials") say, read with c2pa-python where it is installed. Nothing is fetched."""

import ctypes
import functools
import importlib
import io
import json
import os
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from .metadata import Field

_SETTINGS = {
    "core": {"allowed_network_hosts": [], "decode_identity_assertions": False},
    "verify": {"remote_manifest_fetch": False, "ocsp_fetch": False},
}
_STATES = {
    "Trusted": "signature valid, signer on a trust list",
    "Valid": "signature valid, name not checked",
}
_MAX_ITEMS = 50  # manifests of a file, and actions of a manifest, that are looked at


def fields(data: bytes) -> list[Field]:
    """The texts in the C2PA manifests of an image file that is known to hold one.

    "manifest" tells the state of the signature of the active manifest, "claim generator" the program that wrote it,
    "softwareAgent" and "DigitalSourceType" what made the picture; those of manifests of pictures that went into
    this one stand in the place "C2PA ingredient".
    """
    library = _library()
    if library is None:
        return [Field("C2PA", "manifest", 'manifest not read: pip install "realface[c2pa]"')]
    try:
        context = library.Context.from_dict(_SETTINGS)
        with library.Reader(_type(data), io.BytesIO(data), context=context) as reader:
            store = json.loads(reader.json())
        return _told(store)
    except Exception:  # the library has many errors of its own, and a manifest can hold anything
        return [Field("C2PA", "manifest", "manifest that cannot be read")]


def _type(data: bytes) -> str:
    starts = {b"\xff\xd8": "jpeg", b"\x89PNG": "png", b"RIFF": "webp", b"GIF8": "gif", b"II": "tiff", b"MM": "tiff"}
    return "image/" + next((kind for start, kind in starts.items() if data.startswith(start)), "heif")


def _told(store: dict[str, Any]) -> list[Field]:
    active = store["active_manifest"]
    found = [Field("C2PA", "manifest", _state(store, store["manifests"][active].get("signature_info") or {}))]
    for label, manifest in list(store["manifests"].items())[:_MAX_ITEMS]:
        place = "C2PA" if label == active else "C2PA ingredient"
        writers = manifest.get("claim_generator_info") or [manifest.get("claim_generator")]
        found += [Field(place, "claim generator", _program(writer)) for writer in writers[:1]]
        actions = [
            action
            for assertion in manifest.get("assertions", [])
            if assertion["label"].startswith("c2pa.actions")
            for action in assertion["data"]["actions"]
        ]
        for action in actions[:_MAX_ITEMS]:
            found.append(Field(place, "softwareAgent", _program(action.get("softwareAgent"))))
            found.append(Field(place, "DigitalSourceType", str(action.get("digitalSourceType") or "")))
    return found


def _state(store: dict[str, Any], signature: dict[str, Any]) -> str:
    signer = signature.get("issuer") or signature.get("common_name") or "nobody"
    failures = store.get("validation_results", {}).get("activeManifest", {}).get("failure", [])
    codes = [failure["code"] for failure in failures if failure["code"] != "signingCredential.untrusted"]
    state = _STATES.get(str(store.get("validation_state")), f"not valid: {', '.join(codes[:3])}")
    return f"manifest signed in the name of {signer} ({state})"


def _program(value: object) -> str:
    """The name and version of a program, which is told as text or as an object."""
    if isinstance(value, dict):
        return " ".join(str(value[key]) for key in ("name", "version") if value.get(key))
    return str(value or "")


@functools.cache
def _library() -> Any:
    """The module c2pa, or None where it is not installed or does not work.

    Left to itself it takes its native half from the current folder before its own: whoever gets a person to check a
    folder of pictures must not choose the code that runs, so the file is named to it.
    """
    try:
        spec = find_spec("c2pa")
        folders = list(spec.submodule_search_locations or []) if spec else []
        files = [file for folder in folders for file in Path(folder, "libs").glob("*c2pa_c.*")]
        native = next(file for file in files if file.suffix in (".so", ".dylib", ".dll"))
        ctypes.CDLL(str(native))
        os.environ["C2PA_LIBRARY_NAME"] = str(native)
        return importlib.import_module("c2pa")
    except Exception:  # an optional part that does not work is one that is not there
        return None
