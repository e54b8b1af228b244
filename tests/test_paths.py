"""Where things lie: the cache, and what folders and globs stand for."""

import os
from pathlib import Path

import pytest

from realface import paths


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
