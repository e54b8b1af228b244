"""Archives of labelled pictures: a download from Kaggle, and a zip file as pictures in a folder."""

import importlib
import os
import re
import shutil
import stat
import zipfile
import zlib
from collections.abc import Container, Sequence
from pathlib import Path, PureWindowsPath

from ..errors import DataError, MissingExtra
from ..paths import SUFFIXES, write_whole
from ..progress import track
from .importing_sets import PUBLISHED, Found, in_folder
from .layouts import SPLITS

_TABLES = (*(f"{split}.csv" for split in SPLITS), "manifest.csv")  # the Kaggle set's, and ours
LARGEST, TOTAL, FILES = 64 * 2**20, 64 * 2**30, 2_000_000
"""Of an archive: most bytes of a file, most bytes of all that is wanted, most files. A few bytes of it can stand for a
disk full."""


def download(name: str, to: Path | None) -> Path:
    """Fetch a data set from Kaggle with kagglehub, which finds the user's token by itself.

    Args:
        name: of a published set, or owner/name as in its address on Kaggle.
        to: the folder to write to; without it kagglehub keeps the files in its own cache.

    Raises:
        MissingExtra: kagglehub is not installed.
        DataError: there is no such set, or Kaggle did not give it.
    """
    handle = PUBLISHED[name].handle if name in PUBLISHED else name
    if not re.fullmatch(r"[\w-]+/[\w-]+(/versions/\d+)?", handle):
        raise DataError(f"kaggle:{name} is no data set; name one as kaggle:owner/name, or {', '.join(PUBLISHED)}")
    other = "or download the zip file in a browser and import that"
    try:
        kagglehub = importlib.import_module("kagglehub")
    except ImportError:
        raise MissingExtra(f"fetching from Kaggle needs kagglehub: pip install kagglehub; {other}") from None
    try:
        return Path(kagglehub.dataset_download(handle, **({"output_dir": str(to)} if to else {})))
    except Exception as error:  # of the network, of Kaggle, of a token: all are the same to the user
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DataError(f"Kaggle did not give {handle} (is your API token set up? {other}): {reason}") from None


def is_zip(path: Path) -> bool:
    """Whether a file begins as a zip file; OSError where it cannot be read."""
    with path.open("rb") as file:
        return file.read(4) in (b"PK\3\4", b"PK\5\6")


def unpack_zip(path: Path, to: Path | None, expect: str = "") -> Found:
    """Write the pictures, the manifest and Kaggle's tables of a zip file into a folder of its name in `to`, which may
    hold more.

    Args:
        path: the zip file.
        to: the folder that was named.
        expect: as of `in_folder`.

    Raises:
        DataError: the file is cut off, damaged or hostile, of which nothing is written; there is no folder, it cannot
            hold the files, or it holds others.
    """
    try:
        archive = zipfile.ZipFile(path)
    except Exception:  # whatever a damaged directory makes of the reader
        raise DataError(f"{path} is cut off or damaged: no zip file that is whole; download it again") from None
    broken = []
    with archive:
        members = _checked(path, archive.infolist())
        own = to and to / path.stem.strip(". ")
        to = made_folder(path, own, sum(member.file_size for member in members.values()), members)
        for member in track(members.values(), "unpacking"):
            try:
                with archive.open(member) as file:
                    data = file.read(member.file_size + 1)  # as many bytes are made, or a few thousand
            except (zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError, RuntimeError, ValueError):
                data = None
            if data is None or len(data) != member.file_size:
                broken.append(member.filename)
                continue
            write(to.joinpath(*_parts(member)), data)
    found = in_folder(to, expect)
    inside = os.path.abspath(to) + os.sep
    if other := [sample.path for sample in found.samples if not os.path.abspath(sample.path).startswith(inside)]:
        raise DataError(f"{path}: its manifest.csv names files that are not in it, such as {other[0]}; not imported")
    if broken:
        found.problems.insert(0, f"partial: {len(broken):,} files in {path.name} are damaged, such as {broken[0]}")
    return found


def _wanted(name: str) -> bool:
    return name in _TABLES or Path(name).suffix.lower() in SUFFIXES


def _folded(path: Path) -> str:
    """The same for all names that mean one file on some system."""
    return path.as_posix().casefold()


def _parts(member: zipfile.ZipInfo) -> tuple[str, ...]:
    """The name of a file in a zip, part by part; some programs separate them by backslashes."""
    return PureWindowsPath(member.filename).parts


def _checked(path: Path, members: Sequence[zipfile.ZipInfo]) -> dict[str, zipfile.ZipInfo]:
    """The files that are wanted, by name, folded, if every one in the archive is harmless.

    Raises:
        DataError
    """
    if len(members) > FILES:
        raise DataError(f"{path} holds {len(members):,} files, more than is unpacked")
    kept: dict[str, zipfile.ZipInfo] = {}
    for member in members:
        name, parts = member.filename, _parts(member)
        up = any(not part.rstrip(". ") for part in parts)  # Windows cuts dots and spaces off the end of a name
        if PureWindowsPath(name).anchor or up or "\0" in member.orig_filename:
            raise DataError(f"{path} would write outside the folder ({name!r}); not unpacked")
        if stat.S_IFMT(member.external_attr >> 16) not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise DataError(f"{path} holds a link or a device ({name!r}); not unpacked")
        if member.is_dir() or not parts or parts[0] == "__MACOSX" or any(part.startswith(".") for part in parts):
            continue
        if _wanted(parts[-1]):
            if ":" in name:
                raise DataError(f"{path} holds {name!r}, a name that Windows takes for a drive; not unpacked")
            key = _folded(Path(*parts))
            if key in kept:
                raise DataError(f"{path} holds {name!r} twice; not unpacked")
            if member.flag_bits & 1:
                raise DataError(f"{path} is locked with a password; unpack it yourself and import the folder")
            if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):  # others are read without bounds
                raise DataError(f"{path} is packed in a way that is not read; pack it again, as an ordinary zip file")
            if member.file_size > LARGEST:
                raise DataError(f"{path}: {name!r} would be {member.file_size:,} bytes large; not unpacked")
            kept[key] = member
    if sum(member.file_size for member in kept.values()) > TOTAL:
        raise DataError(f"{path} would be larger than {TOTAL:,} bytes; not unpacked")
    if all(_parts(member)[-1] in _TABLES for member in kept.values()):
        raise DataError(f"{path}: no pictures found in it")
    return kept


def made_folder(source: Path, to: Path | None, size: int, names: Container[str] | None = None) -> Path:
    """The folder to unpack to, made where it is missing.

    Where the `names` of all that will be in it are given, folded, nothing else may be there that would be taken for a
    part of the data set: another archive's, perhaps.

    Raises:
        DataError: none was named, it cannot be made, it holds something else, or so many bytes do not fit into it.
    """
    if to is None:
        raise DataError(f"{source} is an archive and nothing is copied unasked; name a folder for it with --copy-to")
    try:
        to.mkdir(parents=True, exist_ok=True)
        files = [path for path in to.rglob("*") if path.is_file()]
        there = sum(path.stat().st_size for path in files)  # of an earlier attempt
        free = shutil.disk_usage(to).free
    except OSError as error:
        raise DataError(f"{to}: cannot be written to: {error}") from None
    if names is not None:
        for path in files:
            if _wanted(path.name) and _folded(path.relative_to(to)) not in names:
                raise DataError(f"{to} holds something else ({path.name}); name another folder with --copy-to")
    if size - there > free:
        raise DataError(f"{to}: {size / 1e9:.1f} GB are needed and {free / 1e9:.1f} GB are free")
    return to


def write(target: Path, data: bytes) -> None:
    """Write a file whole, and the folders it is in, unless it is there already; one that was cut off is written again.

    Raises:
        DataError: that fails, or something else is there: a manifest may list it.
    """
    try:
        there = target.read_bytes() if target.is_file() else None
        if there == data:
            return
        if there is not None and not data.startswith(there):
            raise DataError(f"{target} is there already, with other content; name another folder with --copy-to")
        target.parent.mkdir(parents=True, exist_ok=True)
        write_whole(target, data)
    except OSError as error:
        raise DataError(f"{target}: cannot be written: {error}") from None
