"""Where things lie: the cache, and what folders and globs stand for."""

import os
from pathlib import Path

import pytest
from conftest import full_disk

from realface import cli, paths


@pytest.mark.parametrize(
    ("variables", "folder"),
    [
        ({"REALFACE_CACHE": "/own", "XDG_CACHE_HOME": "/xdg"}, "/own/crops"),
        ({"XDG_CACHE_HOME": "/xdg"}, "/xdg/realface/crops"),
        ({"XDG_CACHE_HOME": "", "HOME": "/home/a", "USERPROFILE": "/home/a"}, "/home/a/.cache/realface/crops"),
    ],
)
def test_where_the_cache_is(monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], folder: str) -> None:
    monkeypatch.delenv("REALFACE_CACHE", raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert paths.cache_dir("crops") == Path(folder)


def test_a_file_that_could_not_be_written_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What there is of it would keep a full disk full."""

    monkeypatch.setattr(Path, "replace", full_disk)
    with pytest.raises(OSError, match="No space"):
        paths.write_whole(tmp_path / "a", b"x")
    assert not list(tmp_path.iterdir())


def test_of_two_that_write_one_file_the_later_is_kept(tmp_path: Path) -> None:
    with paths.whole(tmp_path / "a") as first:
        with paths.whole(tmp_path / "a") as second:
            first.write_text("first")
            second.write_text("second")
        assert (tmp_path / "a").read_text() == "second"
    assert [path.read_text() for path in tmp_path.iterdir()] == ["first"]


def test_an_unreadable_folder_within_a_folder_is_not_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "locked").mkdir()
    (tmp_path / "a.png").write_bytes(b"x")
    scandir = os.scandir

    def denied(path: str):
        if os.path.basename(path) == "locked":
            raise PermissionError(13, "denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", denied)
    assert list(paths.expand([str(tmp_path)])) == [str(tmp_path / "a.png"), str(tmp_path / "locked")]


def test_a_glob_enters_no_folder_that_is_a_link(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may lead back: with two such links there would be more names than any disk has files."""
    for name in ("a.jpg", "d/b.jpg", "d/e/c.jpg", "d/.hidden/h.jpg", "d/e/notes.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "d" / "up").symlink_to("..")
    (tmp_path / "d" / "e" / "top").symlink_to(tmp_path)
    wanted = [str(tmp_path / name) for name in ("a.jpg", "d/b.jpg", "d/e/c.jpg")]
    for pattern in ("**/*.jpg", "**/**/*.jpg", "**/[abc].jpg"):
        assert list(paths.expand([f"{tmp_path}/{pattern}"])) == wanted
    assert list(paths.expand([f"{tmp_path}/d/**/*.jpg"])) == wanted[1:]
    assert list(paths.expand([f"{tmp_path}/**/e/*.*"])) == [*wanted[2:], str(tmp_path / "d/e/notes.txt")]
    monkeypatch.chdir(tmp_path)
    assert list(paths.expand(["**/*.jpg"])) == ["a.jpg", "d/b.jpg", "d/e/c.jpg"]
    assert list(paths.expand(["**/nothing-*.jpg"])) == ["**/nothing-*.jpg"]


def test_a_name_that_no_file_can_have_is_passed_on() -> None:
    assert list(paths.expand(["a*\0.jpg"])) == ["a*\0.jpg"]


@pytest.mark.parametrize(
    "command",
    [
        "check none.jpg --report {}.html",
        "scan none --out {}.parquet",
        "audit export none.db --out {}.csv",
        "data audit none --out {}.json",
        "data import none --out {}.parquet",
    ],
)
def test_a_name_too_long_for_the_disk_is_told_before_any_work(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["realface", *command.format("x" * 247).split()])  # .part would be too much
    with pytest.raises(SystemExit, match="2"):
        cli.main()
    assert "is too long for this disk; give it a shorter one" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["scan summary {0}", "fuse none --whole {0} --native {0} --out f"])
def test_a_name_too_long_for_the_disk_is_no_defect(
    command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["realface", *command.format("x" * 300).split()])
    with pytest.raises(SystemExit, match="2"):
        cli.main()
    assert "cannot be read or written: File name too long" in capsys.readouterr().err


@pytest.mark.skipif(os.name == "nt", reason="it cannot be removed there")
@pytest.mark.parametrize(
    "command", ["scan a.jpg --out {}/r.parquet", "scan {} --out r.parquet", "check {} --report r.html"]
)
def test_a_working_folder_that_was_removed_is_no_defect(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    monkeypatch.setattr("sys.argv", ["realface", *command.format(tmp_path).split()])
    with pytest.raises(SystemExit, match="2"):
        cli.main()
    assert "the working folder was removed" in capsys.readouterr().err


def test_results_are_not_written_to_a_bucket(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    monkeypatch.setattr("sys.argv", ["realface", "scan", ".", "--out", "s3://bucket/r.parquet"])
    with pytest.raises(SystemExit, match="2"):
        cli.main()
    assert "results are written to this machine" in capsys.readouterr().err
