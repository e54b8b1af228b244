"""What a scan reads: files, folders, globs, lists, tar shards and fsspec URLs as one stream of pictures."""

import glob
import importlib
import os
import re
import tarfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import chain, takewhile
from typing import Any

import fsspec
from fsspec.implementations.local import LocalFileSystem
from fsspec.utils import glob_translate

from .. import images
from ..errors import (
    ImageError,
    MissingExtra,
    NotFound,
    RealfaceError,
    ScanError,
    Truncated,
    Unreachable,
    Unreadable,
)
from ..images import Limits
from ..paths import SUFFIXES, expand, matches

_URL = re.compile(r"[a-z][a-z0-9+.-]*://", re.IGNORECASE)
_SHARD = ".tar"
_TRY = "check the address, the network and the credentials (docs/scan.md says which)"
_WRONG_CREDENTIALS = ("ExpiredToken", "InvalidAccessKeyId", "RequestTimeTooSkewed", "SignatureDoesNotMatch")
_NAMELESS = "what has // in its name cannot be listed; name each picture in a list"
_MAX_HEADER = 2**14  # bytes that tarfile may ask for at once: it would read a long name of any length
_DIGITS = re.compile(rb"\d{512}")  # tarfile searches them in quadratic time; no field has so many
_MAX_HEADERS = 2**20  # bytes of all headers before one file: those of a sparse file go on as long as they like
_MAX_FIELDS = 1000  # that apply to one file: those for all files add up, and tarfile copies them for each


@dataclass(frozen=True, slots=True)
class Entry:
    """One picture that is to be judged.

    Attributes:
        path: what it is called in the results; of a picture in a shard `shard.tar::name`.
        file: the local path or the URL to open.
        offset: where in a tar shard the picture begins, in bytes; None for a file of its own.
        size: in bytes, where it is known.
        broken: why nothing can be read here, of a damaged shard.
    """

    path: str
    file: str
    offset: int | None = None
    size: int | None = None
    broken: str = ""


def absolute(file: str) -> str:
    """The same local path or URL, whatever the working folder is."""
    return file if _URL.match(file) else os.path.abspath(file)


def entries(sources: Iterable[str]) -> Iterator[Entry]:
    """The pictures of all sources in a fixed order, listed folder by folder; all that a local glob matches at once.

    A source is a picture, a folder (looked through in order of name, links to folders not followed), a glob, a tar
    shard, a URL that fsspec opens (again a file, a folder, a glob or a shard), or a `.txt` file with one of these
    a line. What is not there or must not be listed is passed on, so that it gets a row of its own.

    Raises:
        MissingExtra: a package for this kind of URL is not installed.
        ScanError: there is no such kind of URL, a list cannot be read, or a URL does not answer: going on without its
            pictures would leave a hole that nobody fills.
    """
    for name in _named(sources):
        yield from _listed(name)


def relative(sources: Sequence[str]) -> bool:
    """Whether it depends on the working folder which pictures these are; ScanError where a list cannot be read."""
    return not all(_URL.match(name) or os.path.isabs(name) for name in chain(sources, _named(sources)))


def check_there(sources: Sequence[str]) -> None:
    """ScanError where none of the sources is there: the result would hold nothing but typing errors."""
    if not any(_URL.match(s) or os.path.lexists(s) or any(matches(s)) for s in sources):
        raise ScanError(f"there is no {' nor '.join(sources)}; check the path")


def read(entry: Entry, limits: Limits) -> bytes:
    """The bytes of a picture; nothing of a shard is ever written to the disk.

    Raises:
        ImageError: one of those of `images.read_bytes`, Truncated where a shard ends too early, or Unreachable.
    """
    if entry.broken:
        raise Unreadable(entry.broken)
    remote = _URL.match(entry.file)
    if not remote and entry.offset is None:
        return images.read_bytes(entry.file, limits)
    images.check_size(entry.size or 0, limits)
    try:
        data = _remote_bytes(entry, limits) if remote else _local_bytes(entry)
    except FileNotFoundError:
        raise NotFound("there is no such file; check the path") from None
    except ImageError:
        raise
    except Exception as error:  # every kind of URL fails in ways of its own
        raise (Unreachable if remote else Unreadable)(f"it could not be read: {_said(error)}; {_TRY}") from None
    if entry.offset is not None and len(data) != entry.size:
        raise Truncated("the shard ends within this picture; copy or download it again")
    images.check_size(len(data), limits)
    return data


def _local_bytes(entry: Entry) -> bytes:
    with open(entry.file, "rb") as file:
        file.seek(entry.offset or 0)
        return file.read(entry.size)


def _remote_bytes(entry: Entry, limits: Limits) -> bytes:
    if entry.size == 0:  # an empty range would be a wrong one
        return b""
    system, path = _open_url(entry.file)
    if _is_http(system):
        return _http_bytes(system, path, entry, limits.max_bytes + 1)
    if entry.size is not None:  # one request
        start = entry.offset or 0  # a file of its own may have grown since it was listed
        end = limits.max_bytes + 1 if entry.offset is None else start + entry.size
        return bytes(system.cat_file(path, start=start, end=end))
    with _opened(system, path) as file:
        return images.read_most(file, limits.max_bytes + 1)


def _http_bytes(system: Any, path: str, entry: Entry, most: int) -> bytes:
    """As it comes, in one request, and no more than is wanted: what a server says of sizes and ranges may be wrong."""
    options: dict[str, Any] = {}
    if entry.offset is not None and entry.size is not None:
        options["headers"] = {"Range": f"bytes={entry.offset}-{entry.offset + entry.size - 1}"}
        most = entry.size
    with system.open(path, "rb", block_size=0, size=1, **options) as file:
        if options and file.r.status != 206:
            raise Unreadable("the server does not send parts of files; download the shard and scan it here")
        return images.read_most(file, most)


def _named(sources: Iterable[str]) -> Iterator[str]:
    """The sources, with what is in a list in its place."""
    for source in sources:
        if source.lower().endswith(".txt") and os.path.isfile(source):
            yield from _lines(source)
        else:
            yield source


def _lines(path: str) -> Iterator[str]:
    try:
        with open(path, encoding="utf-8-sig", errors="surrogateescape", newline="\n") as file:
            yield from filter(None, (line.rstrip("\r\n") for line in file))
    except OSError as error:
        raise ScanError(f"the list {path} cannot be read: {error.strerror}") from None


def _listed(source: str) -> Iterator[Entry]:
    if _URL.match(source):
        yield from _remote(source)
        return
    for path in expand([source], (*SUFFIXES, _SHARD)):
        if path.lower().endswith(_SHARD) and os.path.isfile(path):
            yield from _shard(path)
        else:
            yield Entry(path, path)


def _remote(url: str) -> Iterator[Entry]:
    system, path = _open_url(url)
    bare = path.partition("?")[0] if _is_http(system) else path
    try:
        if _is_glob(system, path):
            fixed = "/".join(takewhile(lambda part: not glob.has_magic(part), path.split("/")))
            infos = _walk(system, fixed or system.root_marker, path)
        else:
            single = bare.lower().endswith((*SUFFIXES, _SHARD))  # asking would load it: for HTTP all could be folders
            folder = not single and system.isdir(path)
            infos = _walk(system, path) if folder else iter([{"name": path, "size": None}])
        found = False
        for info in infos:
            name = info["name"]
            whole = name if _URL.match(name) else system.unstrip_protocol(name)
            if broken := info.get("broken"):
                yield Entry(whole, whole, broken=broken)
            elif (bare if name == path else name).lower().endswith(_SHARD):
                yield from _shard(whole)
            elif name == path or name.lower().endswith(SUFFIXES):
                yield Entry(whole, whole, size=info.get("size"))
            else:
                continue
            found = True
        if not found:
            yield Entry(url, url, broken="no picture was found there")
    except RealfaceError:
        raise
    except Exception as error:  # as on reading
        if not isinstance(error, FileNotFoundError | PermissionError) or _wrong_credentials(error):
            raise _silent(url, error) from None
        yield Entry(url, url, broken=_unlisted(error))


def _is_glob(system: Any, path: str) -> bool:
    """Whether a path stands for those that match it: unless something has this very name, as on the disk."""
    if _is_http(system):  # pages quote names; a question mark begins a query
        return "*" in path or "[" in path
    try:
        return glob.has_magic(path) and not system.exists(path)
    except PermissionError:  # for what matches there may be permission
        return True


def _silent(url: str, error: Exception) -> ScanError:
    return ScanError(f"{url} cannot be listed: {_said(error)}; {_TRY}, then go on with --resume")


def _wrong_credentials(error: Exception) -> bool:
    """Whether S3 refuses who asks, in the middle too where they expire, and not what is asked for."""
    said = getattr(error.__cause__, "response", {})  # s3fs makes the same of both
    return said.get("Error", {}).get("Code") in _WRONG_CREDENTIALS


def _unlisted(error: Exception) -> str:
    return f"it could not be listed: {_said(error)}"


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".removesuffix(": ")


def _walk(system: Any, folder: str, wanted: str = "") -> Iterator[dict[str, Any]]:
    """As `paths.expand`: in order of name, links to folders left alone; what cannot be listed is passed on, `broken`.

    Only what matches the glob `wanted`, if there is one, and all that is in folders that do. fsspec's own walk keeps
    all it has seen, and its own glob leaves out what does not answer.
    """
    for info in sorted(system.ls(folder, detail=True), key=lambda info: str(info["name"])):
        name = info["name"].rstrip("/")
        here = not wanted or _matches(name, wanted)
        if info["type"] != "directory":
            if here:
                yield info
            continue
        if info["name"] == f"{folder.rstrip('/')}/" and not _is_http(system):  # S3 has such, s3fs cannot list them
            if not wanted or _leads_to(info["name"], wanted):
                yield {"name": info["name"], "broken": _NAMELESS}
            continue
        below = name.startswith(folder.rstrip("/") + "/" * bool(folder))  # pages link upwards, which would be circles
        if below and not info.get("islink") and (here or _leads_to(name, wanted)):
            try:
                yield from _walk(system, info["name"], "" if here else wanted)
            except (FileNotFoundError, PermissionError) as error:
                if _wrong_credentials(error):
                    raise
                yield {"name": info["name"], "broken": _unlisted(error)}


def _matches(name: str, wanted: str) -> bool:
    return _pattern(wanted).fullmatch(name) is not None


@cache
def _pattern(wanted: str) -> re.Pattern[str]:
    return re.compile(glob_translate(wanted))


def _leads_to(folder: str, wanted: str) -> bool:
    """Whether what is in a folder, or further down, can match a glob."""
    parts = wanted.split("/")
    depth = folder.count("/") + 1
    return "**" in parts[:depth] or (depth < len(parts) and _matches(folder, "/".join(parts[:depth])))


def _is_http(system: Any) -> bool:
    return str(system.protocol[0]).startswith("http")


def _open_url(url: str) -> tuple[Any, str]:
    kind = url.split("://")[0].lower()
    options: dict[str, Any] = {"use_listings_cache": False}
    try:
        if kind in ("http", "https"):  # its own patience is five minutes
            aiohttp = importlib.import_module("aiohttp")
            options["timeout"] = aiohttp.ClientTimeout(total=300, sock_connect=10, sock_read=20)
        if kind in ("s3", "s3a"):
            os.environ.setdefault("AWS_MAX_ATTEMPTS", "2")  # within each try of s3fs
        opener = fsspec.get_filesystem_class(kind)  # `fsspec.url_to_fs` takes a `::` in a name for a chain of URLs
        system = fsspec.filesystem(kind, **opener._get_kwargs_from_urls(url), **options)
        if kind in ("s3", "s3a"):  # five tries of 15 seconds, for a part of a file five times five
            system.retries, system.read_timeout = 2, 10
        return system, str(opener._strip_protocol(url))
    except ImportError as error:
        ours = kind in ("http", "https", "s3", "s3a")
        how = 'pip install "realface[scan,urls]"' if ours else str(error)
        raise MissingExtra(f"{kind}:// needs another package: {how}") from None
    except IsADirectoryError:  # the working folder is what it would take for the archive
        raise ScanError(f"{url} cannot be opened: only .tar archives are read, and each is named itself") from None
    except Exception as error:  # no such kind, or one that needs more than a URL
        raise ScanError(f"{url} cannot be opened: {_said(error)}") from None


def _opened(system: Any, path: str) -> Any:
    """A file opened for reading; no pipe or device of this machine, which might never end."""
    if isinstance(system, LocalFileSystem) and os.path.exists(path) and not os.path.isfile(path):
        raise Unreadable("this is a pipe or a device, not a file")
    return system.open(path, "rb")


class _Headers:
    """A tar file of which headers are read, and nothing larger; where its bytes do not come, it is not damaged."""

    def __init__(self, file: Any, name: str) -> None:
        self._file, self._name = file, name
        self.left = _MAX_HEADERS

    def read(self, size: int = -1) -> bytes:
        self.left -= size
        if not 0 <= size <= _MAX_HEADER or self.left < 0:
            raise tarfile.ReadError("a header is too large")
        try:
            data = bytes(self._file.read(size))
        except Exception as error:
            if isinstance(error, ValueError) or not _URL.match(self._name):  # a server without ranges; a bad disk
                raise
            raise _silent(self._name, error) from None
        if _DIGITS.search(data):
            raise tarfile.ReadError("a header is damaged")
        return data

    def seek(self, offset: int, whence: int = 0) -> int:
        return int(self._file.seek(offset, whence))

    def tell(self) -> int:
        return int(self._file.tell())


def _open_shard(file: str) -> Any:
    if not _URL.match(file):
        return open(file, "rb")
    system, path = _open_url(file)
    try:
        return _opened(system, path)
    except Exception as error:
        why = error.__cause__ if isinstance(error.__cause__, OSError) else error  # of HTTP all is "not found" at first
        if isinstance(why, PermissionError):
            why = _reason(system, path) or why
        if isinstance(why, FileNotFoundError | PermissionError | Unreadable) and not _wrong_credentials(why):
            raise why from None
        raise _silent(file, why) from None


def _reason(system: Any, path: str) -> Exception | None:
    """Why a file is refused: S3 has said no more than that it is, as long as only its size was asked for."""
    try:
        system.cat_file(path, start=0, end=1)
    except Exception as error:
        return error
    return None


def _shard(file: str) -> Iterator[Entry]:
    """The pictures in a tar file, by its headers; links, devices and other files in it are passed over."""
    try:
        with _open_shard(file) as raw, tarfile.open(fileobj=(headers := _Headers(raw, file)), mode="r:") as tar:  # pyrefly: ignore[no-matching-overload]
            while (member := tar.next()) is not None:
                if member.size < 0 or tar.offset <= member.offset or len(member.pax_headers) > _MAX_FIELDS:
                    raise tarfile.ReadError("a header is damaged")  # or leads back, to be read for ever
                headers.left = _MAX_HEADERS
                tar.members.clear()  # it would keep them all
                if member.isreg() and member.name.lower().endswith(SUFFIXES):
                    broken = "a file with holes is not read in a shard; unpack it" if member.issparse() else ""
                    yield Entry(f"{file}::{member.name}", file, member.offset_data, member.size, broken)
            raw.seek(tar.offset)  # tarfile takes a damaged header for the end, and one block of zeros, of the two
            after = raw.read(1024)
        if after.strip(b"\0") or len(after) % 512:
            raise tarfile.ReadError("a header is damaged")
        if not tar.offset:
            raise tarfile.ReadError("nothing is in it")
    except Unreadable as error:
        yield Entry(file, file, broken=str(error))
    except RealfaceError:
        raise
    except FileNotFoundError:
        yield Entry(file, file, broken="there is no such file; check the path")
    except PermissionError:
        yield Entry(file, file, broken="there is no permission to read this file")
    except Exception as error:  # whatever a damaged archive makes of the reader
        yield Entry(file, file, broken=f"the shard is cut off or damaged: {error}; copy or download it again")
