"""API keys: a file of lines `name:sha256`, the hash of a key that only its owner has.

A key is 256 random bits, so a plain hash is enough: there is nothing to guess, and a slow hash would be a way to keep
the service busy.
"""

import hashlib
import hmac
import os
import re
import secrets
from collections.abc import Mapping
from pathlib import Path

from ..errors import ConfigError

_LINE = re.compile(r"([\w.-]{1,64}):([0-9a-f]{64})")


def load(path: Path) -> dict[str, str]:
    """The names in a file of keys, each with the SHA-256 of its key in hexadecimal.

    Raises:
        ConfigError: it cannot be read, or is not such a file.
    """
    keys = _read(path)
    if not keys:
        said = "holds no key, or is not there"
        raise ConfigError(f"{path} {said}; make one with: realface serve --keys {path} --add-key NAME")
    return keys


def _read(path: Path) -> dict[str, str]:
    """As `load`, but a file that is not there or holds no key is no error."""
    try:
        lines = path.read_text("utf-8-sig").splitlines()
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise ConfigError(f"the file of keys could not be read: {error}") from None
    keys: dict[str, str] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.startswith("#"):
            continue
        match = _LINE.fullmatch(line.strip())
        if not match or match[1] in keys:
            raise ConfigError(f"{path}, line {number}: each line is name:sha256, each name once; add with --add-key")
        keys[match[1]] = match[2]
    return keys


def add(path: Path, name: str) -> str:
    """Make a key, add its hash to a file, which is made where there is none, and return the key: it is kept nowhere.

    Raises:
        ConfigError: the name is taken or no name, or the file cannot be written.
    """
    key = f"realface_{secrets.token_urlsafe(32)}"
    line = f"{name}:{_hash(key)}"
    if not _LINE.fullmatch(line):
        raise ConfigError("the name of a key is of letters, digits, dots, dashes and underscores, 64 at most")
    if name in _read(path):
        raise ConfigError(f"{path} has a key named {name}; remove its line first")
    try:
        with open(os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600), "r+", encoding="utf-8") as file:
            unended = file.read()[-1:] not in ("", "\n")  # by whoever edited it
            print("\n" * unended + line, file=file)
    except OSError as error:
        raise ConfigError(f"the key could not be written: {error}") from None
    return key


def owner(keys: Mapping[str, str], key: str) -> str | None:
    """Whose key it is, in a time that tells nothing of the hashes."""
    given, found = _hash(key), None
    for name, known in keys.items():
        if hmac.compare_digest(given, known):
            found = name
    return found


def _hash(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()
