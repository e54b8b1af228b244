"""Where realface keeps what can be made again, and which files a command line means."""

import errno
import glob
import os
import secrets
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from .errors import DataError

SUFFIXES = (".jpg", ".jpeg", ".jfif", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".heic", ".heif")
"""Of files that are taken for pictures when a folder is looked through, in lower case."""

LOCK = "lock"
"""In a folder in which a run is at work, or was when it was killed."""
LITTER = (".DS_Store", "Thumbs.db", "desktop.ini")
"""What systems leave in folders that people look at."""


def cache_dir(part: str) -> Path:
    """`part` of the cache folder: under REALFACE_CACHE, or else XDG_CACHE_HOME, or else ~/.cache."""
    base = os.environ.get("REALFACE_CACHE")
    if base:
        return Path(base) / part
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "realface" / part


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """Where to write a file that is to be there whole or not at all; it gets its name when the block ends.

    Each writer has a place of its own: of two that write the same file at a time, the later one's is kept.
    """
    part = path.with_name(f".{secrets.token_hex(8)}.part")  # hidden, and as long as any name may be
    try:
        yield part
        part.replace(path)
    except BaseException:  # Ctrl-C too
        with suppress(OSError):
            part.unlink()  # or a full disk would stay full of it
        raise


def write_whole(path: Path, data: bytes | Iterable[bytes]) -> None:
    """Write a file, in one or piece by piece, so that it is there whole or not at all."""
    with whole(path) as part, part.open("wb") as file:
        file.writelines([data] if isinstance(data, bytes) else data)


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Keep a folder to this run for a while, without what runs that were killed have left half written in it.

    Raises:
        DataError: another run is at work in it, or it cannot be written to.
    """
    from filelock import FileLock, Timeout  # of the extra train

    lock = FileLock(folder / LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout:  # an OSError, too
        raise DataError(f"another run is at work in {folder}; wait for it, or choose another --out") from None
    except OSError as error:
        raise DataError(f"{folder} cannot be written to: {error.strerror}") from None
    try:
        for part in folder.rglob(".*.part"):
            part.unlink()
        yield
    finally:
        with suppress(OSError):  # an open file cannot go on Windows; there `release` takes it away
            (folder / LOCK).unlink()
        lock.release()


def found_in(folder: Path) -> set[str]:
    """The names of what a folder holds, but for what systems and runs that were killed leave behind."""
    names = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    return {name for name in names - {LOCK, *LITTER} if not (name.startswith(".") and name.endswith(".part"))}


def make_folder(path: Path) -> None:
    """Make a folder that somebody asked for by name, and those above it, where it is missing.

    Raises:
        DataError: it cannot be made.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"{path} cannot be made: {error.strerror}") from None


def check_name(path: Path) -> None:
    """DataError where the name of a file is too long to be written in parts, which is called so with more behind it."""
    try:
        os.lstat(f"{path}.parts")
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            raise DataError(f"the name {path.name} is too long for this disk; give it a shorter one") from None


def write_asked(path: Path, data: bytes | Iterable[bytes]) -> None:
    """`write_whole`, for a file that somebody asked for by name.

    Raises:
        DataError: it cannot be written.
    """
    try:
        write_whole(path, data)
    except OSError as error:
        raise DataError(
            f"{path} cannot be written: {error.strerror or error}; make room or name another file"
        ) from None


def expand(paths: Iterable[str], suffixes: tuple[str, ...] = SUFFIXES) -> Iterator[str]:
    """Files, folders (looked through in order of name) and globs as single paths, in the order given.

    Of a folder, files with one of the `suffixes` are taken. What is in a folder that a glob matches comes once.
    What cannot be expanded (a missing file, a folder that cannot be read or holds no picture) is passed on as it
    is, so that it gets an answer of its own.
    """
    for path in paths:
        if path != "-" and not os.path.lexists(path) and glob.has_magic(path):
            found = sorted(set(matches(path)))
            folders: set[Path] = set()  # each comes before what is in it, and is looked through whole
            for match in found or [path]:
                if folders.isdisjoint(Path(match).parents):
                    if os.path.isdir(match):
                        folders.add(Path(match))
                    yield from _within(match, suffixes)
        else:
            yield from _within(path, suffixes)


def matches(pattern: str) -> Iterator[str]:
    """What a glob matches, in no order, some of it twice. `**` enters no folder that is a link: it may lead back."""
    parts = pattern.replace(os.altsep or os.sep, os.sep).split(os.sep)
    if "\0" in pattern:
        return
    if "**" not in parts:
        yield from glob.iglob(pattern)
        return
    at = parts.index("**")
    rest = parts[at + 1 :] or ["*"]
    before = os.sep.join([*parts[:at], ""])
    for base in glob.iglob(before) if before else [""]:
        for folder, folders, _ in os.walk(base or os.curdir):
            folders[:] = [name for name in folders if not name.startswith(".")]  # as `glob` does
            inside = os.path.relpath(folder, base or os.curdir)
            here = base if inside == os.curdir else os.path.join(base, inside, "")
            yield from matches(glob.escape(here) + os.sep.join(rest))


def _within(path: str, suffixes: tuple[str, ...]) -> Iterator[str]:
    if not os.path.isdir(path):
        yield path
        return
    empty = True
    unreadable: list[str] = []
    for folder, folders, files in os.walk(path, onerror=lambda error: unreadable.append(str(error.filename))):
        folders.sort()
        yield from unreadable
        empty = empty and not unreadable
        unreadable.clear()
        for name in sorted(files):
            if os.path.splitext(name)[1].lower() in suffixes:
                empty = False
                yield os.path.join(folder, name)
    yield from unreadable
    if empty and not unreadable:
        yield path
