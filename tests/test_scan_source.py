"""What a scan reads: every kind of source, in order, and hostile ones as rows of their own."""

import io
import os
import tarfile
from itertools import islice
from pathlib import Path

import fsspec
import pytest

from realface.errors import ImageError, MissingExtra, ScanError
from realface.images import Limits
from realface.scan import source
from realface.scan.source import Entry, entries, read


def shard(path: Path, files: dict[str, bytes], kind: int = tarfile.USTAR_FORMAT) -> bytes:
    """A tar file, written and returned."""
    with tarfile.open(path, "w", format=kind) as tar:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return path.read_bytes()


def paths(*sources: object) -> list[str]:
    return [entry.path for entry in entries(map(str, sources))]


def code(entry: Entry, limits: Limits = Limits()) -> str:
    with pytest.raises(ImageError) as raised:
        read(entry, limits)
    return raised.value.code


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "tree"
    for name in ("b/2.jpg", "b/10.PNG", "a.jpg", "b/note.txt"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(name.encode())
    return root


def test_folders_globs_lists_and_files_in_order(tree: Path, tmp_path: Path) -> None:
    wanted = [str(tree / name) for name in ("a.jpg", "b/10.PNG", "b/2.jpg")]
    assert paths(tree) == wanted
    assert paths(tree / "b" / "*.jpg", tree / "a.jpg") == [wanted[2], wanted[0]]
    (tmp_path / "list.txt").write_bytes(os.fsencode(f"{tree}/b\r\n\n{tree}/gone.jpg\n{tree}/a.jpg"))
    assert paths(tmp_path / "list.txt") == [*wanted[1:], f"{tree}/gone.jpg", wanted[0]]
    (tmp_path / "list.txt").write_bytes(b"\xef\xbb\xbf" + os.fsencode(tree))  # as Windows' Notepad begins a file
    assert paths(tmp_path / "list.txt") == wanted
    assert code(Entry("gone", f"{tree}/gone.jpg")) == "not_found"


def test_what_a_glob_matches_comes_once(tree: Path) -> None:
    wanted = [str(tree / name) for name in ("a.jpg", "b/10.PNG", "b/2.jpg")]
    (tree / "b-1").mkdir()  # sorts between b and what is in it
    (tree / "b-1" / "x.jpg").touch()
    both = [*wanted, str(tree / "b-1" / "x.jpg")]
    for pattern in ("**", "**/*", "*"):
        assert sorted(paths(tree / pattern)) == sorted(both), pattern
    assert paths(f"file://{tree}/b*") == [f"file://{path}" for path in both[1:]]
    assert sorted(paths(f"file://{tree}/**")) == sorted(f"file://{path}" for path in both)


def test_shards_in_a_folder_are_looked_into(tmp_path: Path) -> None:
    shard(tmp_path / "s.tar", {"in.png": b"inner"})
    assert paths(tmp_path) == [f"{tmp_path}/s.tar::in.png"]
    assert paths(f"file://{tmp_path}") == [f"file://{tmp_path}/s.tar::in.png"]


def test_a_folder_that_cannot_be_listed_is_a_row_among_others(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    system, _ = fsspec.url_to_fs(f"file://{tree}")
    ls = type(system).ls

    def refuse(self: object, path: str, **options: object) -> object:
        if path.rstrip("/").endswith("/b"):
            raise PermissionError(13, "Permission denied")
        return ls(self, path, **options)

    (tree / "c").mkdir()
    (tree / "c" / "3.jpg").touch()
    monkeypatch.setattr(type(system), "ls", refuse)
    for root in (f"file://{tree}", f"file://{tree}/**/*.jpg"):
        found = [entry for entry in entries([root]) if "PNG" not in entry.path]
        assert [entry.path.removeprefix(f"file://{tree}/") for entry in found] == ["a.jpg", "b", "c/3.jpg"]
        assert "Permission denied" in found[1].broken
        assert code(found[1]) == "unreadable"


def test_a_list_does_not_read_lists(tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text(str(tmp_path / "list.txt"))
    assert paths(tmp_path / "list.txt") == [str(tmp_path / "list.txt")]


def test_links_that_loop_and_names_that_are_not_utf8(tree: Path) -> None:
    (tree / "loop").symlink_to(tree)
    name = os.fsdecode(b"z\xff.jpg")
    (tree / name).write_bytes(b"here")
    assert paths(tree)[1] == str(tree / name)
    assert len(paths(tree)) == 4
    assert read(next(e for e in entries([str(tree)]) if e.path.endswith(name)), Limits()) == b"here"


def test_pictures_in_shards_are_read_in_place(tmp_path: Path) -> None:
    long = "deep/" * 60 + "long.png"
    shard(
        tmp_path / "s.tar",
        {"a/1.jpg": b"one", "a/1.json": b"{}", "../../up.png": b"up", long: b"long"},
        tarfile.PAX_FORMAT,
    )
    found = list(entries([str(tmp_path / "*.tar")]))
    assert [e.path for e in found] == [f"{tmp_path}/s.tar::{name}" for name in ("a/1.jpg", "../../up.png", long)]
    assert [read(e, Limits()) for e in found] == [b"one", b"up", b"long"]
    assert code(found[2], Limits(max_bytes=3)) == "too_many_bytes"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["s.tar"]


def test_links_in_shards_are_passed_over(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "s.tar", "w") as tar:
        for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.DIRTYPE):
            member = tarfile.TarInfo("passwd.jpg")
            member.type, member.linkname = kind, "/etc/passwd"
            tar.addfile(member)
    assert paths(tmp_path / "s.tar") == []


@pytest.mark.parametrize(("cut", "listed"), [(0, 0), (100, 0), (512, 1), (700, 1), (1100, 1), (1636, 2)])
def test_a_shard_that_is_cut_off_is_a_row(tmp_path: Path, cut: int, listed: int) -> None:
    whole = shard(tmp_path / "s.tar", {"1.jpg": b"1" * 300, "2.jpg": b"2" * 300})
    (tmp_path / "s.tar").write_bytes(whole[:cut])
    *before, last = entries([str(tmp_path / "s.tar")])
    assert code(last) == "unreadable"
    assert [entry.path.rpartition("::")[2] for entry in before] == ["1.jpg", "2.jpg"][:listed]
    assert {code(entry) for entry in before if entry.offset + entry.size > cut} <= {"truncated"}


def test_a_damaged_header_is_not_the_end(tmp_path: Path) -> None:
    whole = bytearray(shard(tmp_path / "s.tar", {"1.jpg": b"1", "2.jpg": b"2", "3.jpg": b"3"}))
    whole[1024 + 150] ^= 1  # the second header's checksum
    (tmp_path / "s.tar").write_bytes(whole)
    one, broken = entries([str(tmp_path / "s.tar")])
    assert read(one, Limits()) == b"1"
    assert code(broken) == "unreadable"


def test_a_header_of_zeros_is_not_the_end(tmp_path: Path) -> None:
    whole = bytearray(shard(tmp_path / "s.tar", {"1.jpg": b"1", "2.jpg": b"2", "3.jpg": b"3"}))
    whole[1024:1536] = bytes(512)
    (tmp_path / "s.tar").write_bytes(whole)
    one, broken = entries([str(tmp_path / "s.tar")])
    assert (read(one, Limits()), code(broken)) == (b"1", "unreadable")
    (tmp_path / "s.tar").write_bytes(bytes(10240))
    [broken] = entries([str(tmp_path / "s.tar")])
    assert "nothing is in it" in broken.broken


def test_a_file_with_holes_is_not_taken_for_its_bytes_in_the_shard(tmp_path: Path) -> None:
    """What stands there is but its parts that are no holes, and then the next files."""
    header = tarfile.TarInfo("2.jpg")
    header.pax_headers = SPARSE | {"GNU.sparse.realsize": "9000", "GNU.sparse.name": "2.jpg"}
    header.size = 512 + 4
    map_of = b"1\n8996\n4\n".ljust(512, b"\0")
    whole = header.tobuf(tarfile.PAX_FORMAT) + map_of + b"data".ljust(512, b"\0")
    (tmp_path / "s.tar").write_bytes(whole + shard(tmp_path / "t.tar", {"3.jpg": b"3"}))
    holes, other = entries([str(tmp_path / "s.tar")])
    assert (code(holes), "holes" in holes.broken) == ("unreadable", True)
    assert read(other, Limits()) == b"3"


def test_a_name_with_two_colons_is_no_chain_of_urls(tree: Path) -> None:
    """Or it would be judged as what stands before them."""
    (tree / "a.jpg").write_bytes(b"before")
    (tree / "a.jpg::b.jpg").write_bytes(b"whole")
    found = {entry.path.rpartition("/")[2]: read(entry, Limits()) for entry in entries([f"file://{tree}"])}
    assert (found["a.jpg"], found["a.jpg::b.jpg"]) == (b"before", b"whole")
    for more in ("zip://*.jpg::pictures.zip", "dir://pictures"):
        with pytest.raises(ScanError, match="cannot be opened"):
            paths(more)


def test_a_name_without_end_is_not_read(tmp_path: Path) -> None:
    header = tarfile.TarInfo("x")
    header.type, header.size = tarfile.GNUTYPE_LONGNAME, 2**33
    with (tmp_path / "s.tar").open("wb") as file:
        file.write(header.tobuf(tarfile.GNU_FORMAT))
        file.truncate(2**33)
    [entry] = entries([str(tmp_path / "s.tar")])
    assert "too large" in entry.broken


@pytest.mark.parametrize("kind", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_names_may_be_as_long_as_systems_allow(tmp_path: Path, kind: int) -> None:
    name = "n" * 4092 + ".jpg"
    shard(tmp_path / "s.tar", {name: b"long"}, kind)
    assert [read(e, Limits()) for e in entries([str(tmp_path / "s.tar")])] == [b"long"]


SPARSE = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0"}  # what is in the file stands before its data


def sized(size: int) -> bytes:
    header = tarfile.TarInfo("2.jpg")
    header.size = size
    return header.tobuf(tarfile.GNU_FORMAT)


def told(**fields: str) -> bytes:
    header = tarfile.TarInfo("2.jpg")
    header.pax_headers = fields
    return header.tobuf(tarfile.PAX_FORMAT)


@pytest.mark.parametrize(
    ("header", "why"),
    [
        (sized(-1), "damaged"),
        (sized(-512), "damaged"),
        (told(size="-8192"), "damaged"),
        (told(size="-1536"), "damaged"),  # back to its own beginning
        (tarfile.TarInfo.create_pax_global_header({f"key{n}": "" for n in range(1100)}) + sized(0), "damaged"),
        (told(comment="a" * 2**14), "too large"),
        (told(comment="1" * 600), "damaged"),
        (told(**SPARSE) + b"999999\n" + b"1\n" * 2**20, "too large"),
    ],
    ids=["-1", "-512", "PAX -8192", "PAX -1536", "many fields", "long field", "digits", "sparse"],
)
def test_hostile_headers_end_a_shard(tmp_path: Path, header: bytes, why: str) -> None:
    whole = shard(tmp_path / "s.tar", {"1.jpg": b"1" * 10_000})
    (tmp_path / "s.tar").write_bytes(whole[:10_752] + header + bytes(1024))
    one, broken = islice(entries([str(tmp_path / "s.tar")]), 9)
    assert read(one, Limits()) == b"1" * 10_000
    assert why in broken.broken


def test_urls(tmp_path: Path) -> None:
    store = fsspec.filesystem("memory")
    try:
        store.pipe({"/scan/b/2.jpg": b"two", "/scan/a.png": b"", "/scan/readme.md": b"no", "/scan/b/c/3.JPG": b"3"})
        store.pipe("/scan/t/s.tar", shard(tmp_path / "s.tar", {"in.png": b"inner"}))
        found = list(entries(["memory://scan"]))
        assert [e.path for e in found] == [
            "memory:///scan/a.png", "memory:///scan/b/2.jpg", "memory:///scan/b/c/3.JPG", "memory:///scan/t/s.tar::in.png"
        ]  # fmt: skip
        assert [read(e, Limits()) for e in found] == [b"", b"two", b"3", b"inner"]
        assert paths("memory://scan/b/*.jpg") == ["memory:///scan/b/2.jpg"]
        assert [read(e, Limits()) for e in entries(["memory://scan/b/2.jpg"])] == [b"two"]
        [gone] = entries(["memory://scan/gone.jpg"])
        assert code(gone) == "not_found"
        assert code(found[1], Limits(max_bytes=2)) == "too_many_bytes"
        assert code(*entries(["memory://scan/*.gif"])) == "unreadable"
    finally:
        store.rm("/scan", recursive=True)


def test_names_with_signs_of_globs_mean_themselves_first(tmp_path: Path) -> None:
    store = fsspec.filesystem("memory")
    names = [f"/odd/{name}" for name in ("img[1].jpg", "what?.jpg", "all*.jpg", "a[b]/c.jpg")]
    try:
        store.pipe(dict.fromkeys((*names, "/odd/img1.jpg", "/odd/allow.jpg"), b""))
        store.pipe("/odd/s[1].tar", shard(tmp_path / "s.tar", {"in.png": b"inner"}))
        wanted = [f"memory://{name}" for name in (*names, "/odd/s[1].tar::in.png")]
        (tmp_path / "again.txt").write_text("\n".join([*wanted[:3], "memory:///odd/a[b]", "memory:///odd/s[1].tar"]))
        assert paths(tmp_path / "again.txt") == wanted
        assert paths("memory://odd/img[0-9].jpg") == ["memory:///odd/img1.jpg"]
    finally:
        store.rm("/odd", recursive=True)


def test_urls_that_cannot_be_opened_say_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ScanError, match="nosuch"):
        paths("nosuch://a/b")
    with pytest.raises(ScanError, match=r"only \.tar archives are read"):
        paths("zip:///pictures.zip")

    def missing(*_: object, **__: object) -> None:
        raise ImportError("Install s3fs to access S3")

    monkeypatch.setattr(source.fsspec, "get_filesystem_class", missing)
    with pytest.raises(MissingExtra, match=r"realface\[scan,urls\]"):
        paths("s3://bucket/pictures")
    with pytest.raises(MissingExtra, match="Install"):
        paths("gs://bucket/pictures")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes")
def test_a_pipe_named_by_a_url_does_not_hang(tmp_path: Path) -> None:
    for name in ("pipe.jpg", "pipe.tar"):
        os.mkfifo(tmp_path / name)
        [entry] = entries([f"file://{tmp_path}/{name}"])
        assert code(entry) == "unreadable"
