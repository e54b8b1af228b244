"""A scan as its user meets it: the table, resuming after any crash, what is refused, the summary."""

import json
import os
import re
import signal
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path

import pyarrow as pa
import pytest
from conftest import brightness_detector, encoded, grey
from filelock import FileLock
from pyarrow import parquet
from rich.progress import Progress
from test_scan_source import shard

from realface import Detector
from realface.errors import ScanError
from realface.images import Limits
from realface.results import DetectorId
from realface.scan import local
from realface.scan.parts import Parts, folder_of
from realface.scan.rows import SCHEMA
from realface.scan.run import _Rate, scan
from realface.scan.source import Entry, entries
from realface.scan.summary import summary
from realface.scan.worker import Settings


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """57 pictures in two folders and a shard, three of which cannot be read, and one with a name that is not UTF-8."""
    root = tmp_path_factory.mktemp("archive")
    for number in range(50):
        file = root / "pictures" / ("bright" if number % 2 else "dark") / f"{number:02}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(encoded(grey(255 if number % 2 else number)))
    (root / "pictures" / "dark" / "broken.jpg").write_bytes(b"not a picture")
    (root / "pictures" / "dark" / "empty.jpg").touch()
    (root / "pictures" / "dark" / os.fsdecode(b"\xff.png")).write_bytes(encoded(grey(128)))
    shard(
        root / "s.tar", {"in/a.png": encoded(grey(255)), "in/b.png": encoded(grey(0)), "c.png": b"?", "d.json": b"{}"}
    )
    return root


@pytest.fixture(scope="module")
def sources(archive: Path) -> list[str]:
    return [str(archive / name) for name in ("pictures", "s.tar", "gone.jpg")]


@pytest.fixture(scope="module")
def undisturbed(sources: list[str], detector_file: Path, tmp_path_factory: pytest.TempPathFactory) -> pa.Table:
    out = tmp_path_factory.mktemp("undisturbed") / "results.parquet"
    scan(sources, out, detector=str(detector_file), workers=2, part_rows=16)
    assert not folder_of(out).exists()
    return parquet.read_table(out)


def test_a_row_for_each_picture_with_the_verdict_of_check(
    undisturbed: pa.Table, sources: list[str], detector: Detector
) -> None:
    rows = undisturbed.to_pylist()
    assert undisturbed.schema.equals(SCHEMA)
    assert len(rows) == 57
    assert [row["path"] for row in rows][:2] == [f"{sources[0]}/bright/01.png", f"{sources[0]}/bright/03.png"]
    assert [row["path"].rpartition("/")[2] for row in rows][-7:] == [
        "broken.jpg", "empty.jpg", "\\xff.png", "a.png", "b.png", "s.tar::c.png", "gone.jpg"
    ]  # fmt: skip
    for row, entry in zip(rows, entries(sources), strict=True):
        if entry.offset is None:
            [verdict] = detector.check_many([entry.file])
            told = json.loads(verdict.to_json())
            assert (row["sha256"] if verdict.status == "ok" else None, row["status"], row["verdict"]) == (
                told["sha256"] if verdict.status == "ok" else None, told["status"], told["verdict"]
            )  # fmt: skip
            assert row["error_code"] == (verdict.error.code if verdict.error else None)
            for face, same in zip(row["faces"], told["faces"], strict=True):
                assert face == {key: same[key] for key in face}
                assert row["fake_probability"] == same["probability"]["fake"]
    assert {row["detector_sha256"] for row in rows} == {detector.id.sha256}
    assert [row["error_code"] for row in rows if row["error_code"]] == [
        "not_an_image", "empty", "not_an_image", "not_found"
    ]  # fmt: skip


KILLED = """
import os, sys
from pathlib import Path
from realface.scan import parts
from realface.scan.run import scan

def settle(half, whole, count=[0]):
    count[0] += 1
    if sys.argv[1:3] == [str(count[0]), "before"]:
        os.kill(os.getpid(), 9)
    settled(half, whole)
    if sys.argv[1:3] == [str(count[0]), "after"]:
        os.kill(os.getpid(), 9)

settled, parts._settle = parts._settle, settle
scan(sys.argv[5:], Path(sys.argv[4]), detector=sys.argv[3], workers=1, part_rows=16)
"""


@pytest.mark.parametrize(
    ("at", "when", "done"), [(1, "before", 0), (2, "after", 16), (4, "before", 32), (6, "before", 57), (6, "after", 57)]
)
def test_killed_at_any_moment_it_goes_on(
    at: int, when: str, done: int, undisturbed: pa.Table, sources: list[str], detector_file: Path, tmp_path: Path
) -> None:
    out = tmp_path / "results.parquet"
    arguments = [str(at), when, str(detector_file), str(out), *sources]
    killed = subprocess.run([sys.executable, "-c", KILLED, *arguments], stderr=subprocess.DEVNULL)
    assert killed.returncode == -signal.SIGKILL
    assert sum(parquet.read_metadata(part).num_rows for part in folder_of(out).glob("*.parquet")) == done
    scan(sources, out, detector=str(detector_file), workers=1, resume=True)
    assert parquet.read_table(out).equals(undisturbed)
    assert not folder_of(out).exists()


@pytest.fixture
def begun(undisturbed: pa.Table, sources: list[str], detector_file: Path, tmp_path: Path, monkeypatch) -> Path:
    """A scan that was stopped by Ctrl-C after 24 pictures."""
    out = tmp_path / "results.parquet"
    add = Parts.add

    def stopped(parts: Parts, rows: pa.Table) -> None:
        add(parts, rows)
        if parts.done == 24:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Parts, "add", stopped)
        patch.setattr(
            local.Pool,
            "run",
            lambda self, batches: (undisturbed[i : i + 8] for i, _ in zip(range(0, 57, 8), batches, strict=False)),
        )
        with pytest.raises(KeyboardInterrupt):
            scan(sources, out, detector=str(detector_file), workers=1)
    return out


def test_a_changed_source_detector_or_limit_is_refused(
    begun: Path, sources: list[str], detector_file: Path, tmp_path: Path
) -> None:
    def refused(why: str, sources: list[str] = sources, detector: Path = detector_file, **more: object) -> None:
        with pytest.raises(ScanError, match=why):
            scan(sources, begun, detector=str(detector), workers=1, **{"resume": True, **more})  # type: ignore[arg-type]

    other = tmp_path / "other.onnx"
    other.write_bytes(brightness_detector(version="2"))
    refused("add --resume", resume=False)
    refused(r"detector was (\S+) 1 \(SHA-256 \w{12}…\), is \1 2 \(SHA-256 \w{12}…\)$", detector=other)
    refused(f"sources was {' '.join(sources)}, is {sources[0]}$", sources=sources[:1])
    refused(r"limits was [\d,]+ bytes and [\d,]+ pixels, is 5 bytes and", limits=Limits(max_bytes=5))
    new = Path(sources[0]) / "bright" / "00.png"
    try:
        new.touch()
        refused("source has changed.* picture 1 was .*01.png, now it is .*00.png")
    finally:
        new.unlink()
    with FileLock(folder_of(begun) / "lock"):
        refused("another scan is writing .*; wait for it")


def test_relative_names_do_not_go_on_in_another_folder(
    detector_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder in ("here", "there"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "a.png").write_bytes(encoded(grey(255)))
    (tmp_path / "relative.txt").write_text("a.png\n")
    (tmp_path / "absolute.txt").write_text(f"{tmp_path}/here/a.png\n")
    lists = [str(tmp_path / name) for name in ("relative.txt", "absolute.txt")]
    for source, refused in (("a.png", True), (lists[0], True), (lists[1], False)):
        out = tmp_path / f"{Path(source).stem}.parquet"
        monkeypatch.chdir(tmp_path / "here")
        assert scan([source], out, detector=str(detector_file), workers=1)
        assert not scan([source], out, detector=str(detector_file), workers=1, resume=True)
        monkeypatch.chdir(tmp_path / "there")
        with pytest.raises(ScanError, match=r"working folder was .*here, is .*there") if refused else nullcontext():
            scan([source], out, detector=str(detector_file), workers=1, resume=True)


def test_damaged_parts_are_scanned_again_and_results_are_left_alone(
    begun: Path, undisturbed: pa.Table, sources: list[str], detector_file: Path
) -> None:
    [part] = folder_of(begun).glob("*.parquet")
    part.write_bytes(part.read_bytes()[:-9])
    assert scan(sources, begun, detector=str(detector_file), workers=2, resume=True)
    assert parquet.read_table(begun).equals(undisturbed)
    written = begun.stat()
    assert not scan(sources, begun, detector=str(detector_file), resume=True), "it was finished"
    with pytest.raises(ScanError, match="there already; name another"):
        scan(sources, begun, detector=str(detector_file))
    assert begun.stat() == written
    assert not folder_of(begun).exists()


DEADLY = """
import builtins, os
opened = builtins.open
def open(file, *more, **options):
    if "deadly" in str(file):
        os.kill(os.getpid(), 9)
    if "unlucky" in str(file) and not os.path.exists(mark := str(file) + ".mark"):
        opened(mark, "w").close()
        os.kill(os.getpid(), 9)
    return opened(file, *more, **options)
builtins.open = open
"""


def test_pictures_that_kill_their_process_are_errors_and_take_no_other_along(
    tmp_path: Path, detector_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(DEADLY)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path / "site"), *sys.path]))
    folder = tmp_path / "pictures"
    folder.mkdir()
    names = [f"{n:02}.png" for n in range(20)] + ["03-deadly.png", "12-unlucky.png"]
    for name in names:
        (folder / name).write_bytes(encoded(grey(255)))
    scan([str(folder)], tmp_path / "out.parquet", detector=str(detector_file), workers=1)
    rows = parquet.read_table(tmp_path / "out.parquet").to_pylist()
    assert [Path(row["path"]).name for row in rows] == sorted(names)
    assert {row["path"]: row["error_code"] for row in rows if row["status"] != "ok"} == {
        str(folder / "03-deadly.png"): "crashed"
    }


def test_a_worker_that_cannot_start_ends_the_scan(detector_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Settings(str(detector_file), DetectorId("brightness", "1", "of another file"))

    def refused() -> None:
        with local.Pool(settings, 1) as pool, pytest.raises(ScanError, match="could not be started"):
            list(pool.run([[Entry("a", "a")]]))

    def no_memory(*_: object, **__: object) -> None:
        raise OSError(12, "Cannot allocate memory")

    refused()
    monkeypatch.setattr(local.subprocess, "Popen", no_memory)
    refused()


def test_an_unforeseen_error_ends_the_scan(detector_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unforeseen(*_: object) -> None:
        raise RuntimeError("unforeseen")

    monkeypatch.setattr(local.Worker, "send", unforeseen)
    settings = Settings(str(detector_file), DetectorId("brightness", "1", "0"))
    with local.Pool(settings, 2) as pool, pytest.raises(RuntimeError, match="unforeseen"):
        list(pool.run([[Entry("a", "a")], [Entry("b", "b")]]))


def test_no_rate_is_told_before_there_is_one() -> None:
    display = Progress(get_time=iter(range(100)).__next__)
    task = display.add_task("scanning", total=5)
    told = []
    for done in (3, 5):
        display.update(task, completed=done)
        told.append(str(_Rate().render(display.tasks[0])))
    assert told[0] == ""
    assert re.fullmatch(r"\d\.\d/s", told[1])


def test_typing_errors_alone_make_no_result(sources: list[str], detector_file: Path, tmp_path: Path) -> None:
    out = tmp_path / "r.parquet"
    with pytest.raises(ScanError, match=r"there is no .*nope nor .*\*\.jpg; check the path"):
        scan([f"{tmp_path}/nope", f"{tmp_path}/*.jpg"], out, detector=str(detector_file))
    assert list(tmp_path.iterdir()) == []
    scan([f"{tmp_path}/nope", f"{sources[0]}/bright/0*.png"], out, detector=str(detector_file), workers=1)
    assert summary(out).answers["not_found"] == 1


def test_the_command_line(begun: Path, sources: list[str], detector_file: Path, run, monkeypatch) -> None:
    status, out, _ = run("scan", "summary", begun)
    assert (status, out.splitlines()[0]) == (0, "24 pictures so far; the scan is not finished")
    scan_it = ("scan", "--out", begun, *sources, "--detector", detector_file, "--workers", "1")
    assert run(*scan_it)[0] == 2
    status, _, err = run(*scan_it, "--resume", "--address", "auto")
    assert (status, "--address is that of a Ray cluster; add --engine ray" in err) == (2, True)
    with monkeypatch.context() as patch:
        patch.setattr(local.Pool, "run", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        status, _, err = run(*scan_it, "--resume")
    assert (status, f"go on with: realface scan --resume --out {begun}" in err) == (130, True)
    status, out, _ = run(*scan_it, "--resume")
    assert (status, "57 pictures\n" in out) == (1, True)
    assert [line.split() for line in out.splitlines() if line.endswith(("/bright", "s.tar::in", "/dark"))] == [
        ["25", "0", "25", f"{sources[0]}/bright"],
        ["1", "0", "2", f"{sources[1]}::in"],
    ]
    status, out, _ = run(*scan_it, "--resume")
    assert (status, "was finished before, and nothing was looked at again" in out) == (1, True)
    found = summary(begun)
    assert found.answers == {"fake": 26, "real": 26, "not_an_image": 2, "empty": 1, "inconclusive": 1, "not_found": 1}
    assert (found.answered, found.finished) == (False, True)


def test_a_summary_names_the_folders_of_odd_names(tmp_path: Path) -> None:
    names = ["a/2024 12:30:00.jpg", "s.tar::in/b.png", "t.tar::c.png", "d.jpg", "two\nlines/e.jpg", "s3://f/g:h/i.jpg"]
    names += ["b/x::y.jpg", "x::y.jpg", "b/S.TAR::x::y.png", "c::d/e.jpg"]
    rows = [{"path": name, "verdict": "fake", "status": "ok"} for name in names]
    parquet.write_table(pa.Table.from_pylist(rows, SCHEMA), tmp_path / "out.parquet")
    found = {folder.path for folder in summary(tmp_path / "out.parquet").folders}
    assert found == {
        "a", "s.tar::in", "t.tar", "", "two\nlines", "s3://f/g:h", "b", "b/S.TAR", "c::d"
    }  # fmt: skip


def test_a_result_may_be_called_like_a_url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    parquet.write_table(pa.Table.from_pylist([{"path": "a", "status": "ok", "verdict": "real"}], SCHEMA), "x.parquet")
    assert summary(Path("x.parquet").rename("s3:x.parquet")).answers == {"real": 1}


def test_a_summary_says_nothing_that_could_drive_a_terminal(tmp_path: Path) -> None:
    row = {"path": "a/\x1b[1mb.jpg", "verdict": "\x1b[2Jreal", "status": "ok"}
    parquet.write_table(pa.Table.from_pylist([row], SCHEMA), tmp_path / "out.parquet")
    said = summary(tmp_path / "out.parquet").told(9)
    assert "\x1b" not in said
    assert r"1  \x1b[2Jreal" in said


def test_help_and_wrong_usage(tmp_path: Path, run) -> None:
    status, out, _ = run("scan", "--help")
    assert status == 0
    assert re.search(r"realface scan +\[OPTIONS\] .*SOURCE", out)
    assert "realface scan summary FILE.parquet" in out
    (tmp_path / "no.parquet").write_bytes(b"PAR1")
    wrong = [(), ("summary",), ("summary", tmp_path / "none.parquet"), ("summary", tmp_path / "no.parquet")]
    for out in (tmp_path / "nowhere" / "a.parquet", tmp_path / "no.parquet"):
        wrong.append((tmp_path, "--resume", "--out", out))
    for arguments in wrong:
        status, _, err = run("scan", *arguments)
        assert (status, "Traceback" in err) == (2, False)
