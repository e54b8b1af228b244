"""Scans of pictures that lie elsewhere: an S3 server and web servers, all on this computer."""

import http.server
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import ClassVar

import fsspec
import pytest
import s3fs
from conftest import encoded, grey
from moto.server import ThreadedMotoServer
from pyarrow import parquet
from test_scan_source import code, paths, shard

from realface.errors import MissingExtra, ScanError
from realface.images import Limits
from realface.scan import source
from realface.scan.parts import folder_of
from realface.scan.run import scan
from realface.scan.source import entries, read

FILES = {"b/two words.jpg": b"two", "a.png": b"", "b/c/3.JPG": b"three", "note.md": b"no"}


class Web(http.server.SimpleHTTPRequestHandler):
    """Files and pages that list folders; parts of files, as most servers send them."""

    ranges = True

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        if "broken" in self.path:
            self.send_error(500)
        elif self.ranges and (asked := self.headers.get("Range")):
            first, last = map(int, asked.removeprefix("bytes=").split("-"))
            data = Path(self.translate_path(self.path)).read_bytes()[first : last + 1]
            self.send_response(206)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)
        else:
            super().do_GET()


class Plain(Web):
    ranges = False


class Outage(Web):
    """Every other picture does not come."""

    over = False

    def do_GET(self) -> None:
        if not self.over and self.path.endswith(("1.png", "3.png")):
            self.send_error(503)
        else:
            super().do_GET()


class Refusing(Web):
    """An S3 server with a folder in a folder, which refuses to list or read the inner one, for a reason of S3."""

    reason: ClassVar[str]

    def do_HEAD(self) -> None:
        self.send_response(403)  # without a body, thus without a reason
        self.end_headers()

    def do_GET(self) -> None:
        if inner := "inner" in self.path:
            body = f"<Error><Code>{self.reason}</Code><Message>no</Message></Error>"
        else:
            body = "<ListBucketResult><CommonPrefixes><Prefix>deep/inner/</Prefix></CommonPrefixes></ListBucketResult>"
        self.send_response(403 if inner else 200)
        self.end_headers()
        self.wfile.write(body.encode())


class Silent(Web):
    """What is asked is counted, and answered to nobody."""

    asked: ClassVar[threading.Semaphore]
    end: ClassVar[threading.Event]

    def do_GET(self) -> None:
        self.asked.release()
        self.end.wait()


@contextmanager
def web(root: Path, kind: type[Web] = Web) -> Iterator[str]:
    """The address of a server of a folder."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(kind, directory=str(root))) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:  # or a test that fails here would hang
            server.shutdown()
            thread.join()


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("tree")
    for name, data in FILES.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)
    shard(root / "s.tar", {"in.png": b"inner", "empty.png": b"", "last.png": bytes(range(256)) * 4})
    return root


@pytest.fixture(scope="module")
def bucket(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[s3fs.S3FileSystem]:
    """An S3 server with the files in s3://bucket/deep."""
    with pytest.MonkeyPatch.context() as patch:
        server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
        server.start()
        host, port = server.get_host_and_port()
        home = tmp_path_factory.mktemp("home")
        for name, value in {
            "AWS_ACCESS_KEY_ID": "key",
            "AWS_SECRET_ACCESS_KEY": "secret",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_ENDPOINT_URL": f"http://{host}:{port}",
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_MAX_ATTEMPTS": "1",
            "AWS_CONFIG_FILE": str(home / "config"),
            "AWS_SHARED_CREDENTIALS_FILE": str(home / "credentials"),
        }.items():
            patch.setenv(name, value)
        patient = {"read_timeout": 300}  # the server loads a lot at its first request
        store = s3fs.S3FileSystem(use_listings_cache=False, config_kwargs=patient)
        store.mkdir("bucket")
        for file in filter(Path.is_file, tree.rglob("*")):
            store.pipe(f"bucket/deep/{file.relative_to(tree)}", file.read_bytes())
        yield store
        server.stop()
        s3fs.S3FileSystem.clear_instance_cache()


def holds_the_tree(root: str, space: str) -> None:
    """All of `FILES` and the shard, in order, however they are asked for."""
    two, three = f"{root}/b/two{space}words.jpg", f"{root}/b/c/3.JPG"
    found = {entry.path: read(entry, Limits()) for entry in entries([root])}
    wanted = {
        f"{root}/a.png": b"",
        three: b"three",
        two: b"two",
        f"{root}/s.tar::in.png": b"inner",
        f"{root}/s.tar::empty.png": b"",
        f"{root}/s.tar::last.png": bytes(range(256)) * 4,
    }
    assert list(found.items()) == list(wanted.items())
    assert paths(f"{root}/b/*.jpg") == [two]
    [one] = entries([three])
    assert read(one, Limits()) == b"three"
    assert code(one, Limits(max_bytes=4)) == "too_many_bytes"
    for gone in ("gone.jpg", "gone"):
        assert code(*entries([f"{root}/{gone}"])) == "not_found"
    for nothing in ("*.gif", "gone.tar"):
        assert code(*entries([f"{root}/{nothing}"])) == "unreadable"


def test_an_s3_bucket(bucket: s3fs.S3FileSystem) -> None:
    holds_the_tree("s3://bucket/deep", " ")
    assert code(*entries(["s3://no-such-bucket/pictures"])) == "not_found"


def test_a_shard_in_a_bucket_that_is_cut_off(bucket: s3fs.S3FileSystem, tree: Path) -> None:
    bucket.pipe("bucket/cut.tar", (tree / "s.tar").read_bytes()[:2100])
    *before, last, broken = entries(["s3://bucket/cut.tar"])
    assert [read(entry, Limits()) for entry in before] == [b"inner", b""]
    assert (code(last), code(broken)) == ("truncated", "unreadable")


def test_what_has_two_slashes_in_its_name_in_a_bucket_is_told(bucket: s3fs.S3FileSystem) -> None:
    for name in ("a/1.png", "a//2.png", "b.png"):
        bucket.pipe(f"bucket/slashes/{name}", name.encode())
    for whole in ("s3://bucket/slashes", "s3://bucket/slashes/**"):
        lost, one, other = entries([whole])
        assert (lost.path, code(lost)) == ("s3://bucket/slashes/a/", "unreadable")
        assert [read(one, Limits()), read(other, Limits())] == [b"a/1.png", b"b.png"]
    assert paths("s3://bucket/slashes/*/*.png") == ["s3://bucket/slashes/a/1.png"]
    [named] = entries(["s3://bucket/slashes/a//2.png"])
    assert read(named, Limits()) == b"a//2.png"


def test_a_picture_that_grew_since_it_was_listed_is_read_whole(bucket: s3fs.S3FileSystem) -> None:
    bucket.pipe("bucket/grows/a.png", b"small")
    [entry] = entries(["s3://bucket/grows"])
    bucket.pipe("bucket/grows/a.png", b"much larger")
    assert read(entry, Limits()) == b"much larger"
    assert code(entry, Limits(max_bytes=9)) == "too_many_bytes"


def test_s3_that_does_not_answer_or_knows_nobody(bucket: s3fs.S3FileSystem, monkeypatch: pytest.MonkeyPatch) -> None:
    s3fs.S3FileSystem.clear_instance_cache()  # each looks at the environment once
    with monkeypatch.context() as patch:
        patch.delenv("AWS_ACCESS_KEY_ID")
        with pytest.raises(ScanError, match=r"NoCredentials.*credentials \(docs/scan.md"):
            paths("s3://bucket/deep")
        assert code(*entries(["s3://bucket/deep/a.png"])) == "unreachable"
    s3fs.S3FileSystem.clear_instance_cache()
    with monkeypatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
        with pytest.raises(ScanError, match=r"cannot be listed: .*127.0.0.1:1.* network"):
            paths("s3://bucket/deep")
        with pytest.raises(ScanError, match="cannot be listed"):
            paths("s3://bucket/deep/s.tar")
    s3fs.S3FileSystem.clear_instance_cache()


@pytest.mark.parametrize("reason", ["AccessDenied", "ExpiredToken", "InvalidAccessKeyId", "SignatureDoesNotMatch"])
def test_a_scan_whose_credentials_expire_can_go_on(
    bucket: s3fs.S3FileSystem, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reason: str
) -> None:
    s3fs.S3FileSystem.clear_instance_cache()
    monkeypatch.setattr(Refusing, "reason", reason, raising=False)
    with web(tmp_path, Refusing) as root, monkeypatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", root)
        for place in ("s3://bucket/deep", "s3://bucket/deep/inner", "s3://bucket/deep/inner/s.tar"):
            if reason == "AccessDenied":  # to this place, whoever asks
                assert code(*entries([place])) == "unreadable"
            else:
                with pytest.raises(ScanError, match=r"credentials .* --resume"):
                    paths(place)
    s3fs.S3FileSystem.clear_instance_cache()


def test_s3_that_is_silent_is_asked_twice(
    bucket: s3fs.S3FileSystem, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    s3fs.S3FileSystem.clear_instance_cache()
    monkeypatch.setattr(Silent, "asked", threading.Semaphore(0), raising=False)
    monkeypatch.setattr(Silent, "end", threading.Event(), raising=False)
    monkeypatch.setitem(fsspec.config.conf, "s3", {"config_kwargs": {"read_timeout": 0.1}})
    with web(tmp_path, Silent) as root, monkeypatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", root)
        with pytest.raises(ScanError, match=r"cannot be listed: .*[Tt]imeout"):
            paths("s3://bucket/deep")
        assert all(Silent.asked.acquire(timeout=300) for _ in range(2))  # a thread of the server may be late
        assert not Silent.asked.acquire(blocking=False)
        Silent.end.set()
    s3fs.S3FileSystem.clear_instance_cache()


def test_a_web_server(tree: Path) -> None:
    with web(tree) as root:
        holds_the_tree(root, "%20")


def test_a_web_server_without_ranges_sends_no_whole_shard_for_a_picture(tree: Path) -> None:
    with web(tree, Plain) as root:
        [three] = entries([f"{root}/b/c/3.JPG"])
        assert read(three, Limits()) == b"three"
        inner, *_ = entries([f"{root}/s.tar"])
        with pytest.raises(source.Unreadable, match="download the shard"):
            read(inner, Limits())
        assert code(inner) == "unreadable"  # asking once more would not help


def test_web_servers_that_fail(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with web(tree) as root:
        assert code(*entries([f"{root}/broken.jpg"])) == "unreachable"
        with pytest.raises(ScanError, match=r"broken cannot be listed: .*500.* network"):
            paths(f"{root}/broken")
        with pytest.raises(ScanError, match=r"broken/\*.jpg cannot be listed: .*500.* network"):
            paths(f"{root}/broken/*.jpg")
        assert code(*entries([f"{root}/broken.jpg?signed=1"])) == "unreachable"
        inner, *_ = entries([f"{root}/s.tar?signed=1"])
        assert (inner.path, read(inner, Limits())) == (f"{root}/s.tar?signed=1::in.png", b"inner")
        [signed] = entries([f"{root}/b/c/3.JPG?signed=1"])
        assert read(signed, Limits()) == b"three"
    root = "http://127.0.0.1:1"  # nobody is there; who closes a port may see it taken by another
    with pytest.raises(ScanError, match=r"cannot be listed: .* --resume"):
        paths(f"{root}/b")
    with pytest.raises(ScanError, match=r"s.tar cannot be listed: .* --resume"):
        paths(f"{root}/s.tar")
    assert code(*entries([f"{root}/a.png"])) == "unreachable"

    def missing(name: str) -> None:
        raise ImportError(name)

    monkeypatch.setattr(source.importlib, "import_module", missing)
    with pytest.raises(MissingExtra, match=r"realface\[scan,urls\]"):
        paths(root)


def test_a_scan_of_both(bucket: s3fs.S3FileSystem, detector_file: Path, tmp_path: Path) -> None:
    (tmp_path / "www").mkdir()
    (tmp_path / "www" / "fake.png").write_bytes(encoded(grey(255)))
    bucket.pipe("bucket/real/real.png", encoded(grey(0)))
    out = tmp_path / "out.parquet"
    with web(tmp_path / "www") as root:
        scan(["s3://bucket/real", root, f"{root}/gone.png"], out, detector=str(detector_file), workers=1)
    rows = parquet.read_table(out).to_pylist()
    assert [(row["path"], row["verdict"] or row["error_code"]) for row in rows] == [
        ("s3://bucket/real/real.png", "real"),
        (f"{root}/fake.png", "fake"),
        (f"{root}/gone.png", "not_found"),
    ]


def test_pictures_that_did_not_come_are_judged_when_it_goes_on(
    detector_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def judged(out: Path) -> list[str | None]:
        scan([root], out, detector=str(detector_file), workers=1, resume=True)
        return [row["verdict"] or row["error_code"] for row in parquet.read_table(out).to_pylist()]

    (tmp_path / "www").mkdir()
    for number in range(5):
        (tmp_path / "www" / f"{number}.png").write_bytes(encoded(grey(255)))
    out = tmp_path / "out.parquet"
    with web(tmp_path / "www", Outage) as root:
        assert judged(out) == judged(out) == ["fake", "unreachable", "fake", "unreachable", "fake"]
        monkeypatch.setattr(Outage, "over", True)
        assert judged(out) == ["fake"] * 5
        assert not folder_of(out).exists()
        judged(tmp_path / "undisturbed.parquet")
        assert parquet.read_table(out).equals(parquet.read_table(tmp_path / "undisturbed.parquet"))
