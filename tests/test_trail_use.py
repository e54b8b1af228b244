"""The audit trail in use: its commands, and an export that can be checked without realface."""

import csv
import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pyarrow.parquet as pq
import pytest
from conftest import full_disk
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from test_trail import entry, rows, unguarded
from typer.testing import CliRunner

from realface.cli import app
from realface.errors import DataError, MissingExtra, TrailError
from realface.trail import Trail
from realface.trail.export import export

DOCUMENT = Path(__file__).resolve().parent.parent / "docs" / "audit-trail.md"


def run(*arguments: object) -> tuple[int, str]:
    """Exit status and output of `realface audit`; typed errors come through."""
    result = CliRunner().invoke(app, ["audit", *map(str, arguments)])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.stdout


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """The file of a trail of six records."""
    trail = Trail(str(tmp_path / "trail.db"))
    trail.append([entry(day) for day in range(1, 7)])
    trail.close()
    return tmp_path / "trail.db"


@contextmanager
def sealed(*files: Path, mode: int = 0o555) -> Iterator[Path]:
    """A folder with these files, in which nothing can be written, not even by the superuser; or only they cannot."""
    folder, root = Path(tempfile.mkdtemp(prefix="realface-")), os.getuid() == 0  # not pytest's: only its owner enters
    try:
        for file in files:
            shutil.copyfile(file, folder / file.name)
            (folder / file.name).chmod(0o444)  # who is not the superuser owns them
        folder.chmod(mode)
        if root:
            os.setresuid(65534, 65534, 0)
        yield folder
    finally:
        if root:
            os.setresuid(0, 0, 0)
        folder.chmod(0o755)
        shutil.rmtree(folder)


class TestExport:
    def test_every_kind_holds_the_same(self, path: Path, tmp_path: Path) -> None:
        trail = Trail(str(path))
        wanted = [{**row, "probabilities": [0.97, 0.1]} for row in rows(trail)]
        for name in ("t.jsonl", "t.csv", "t.parquet"):
            assert export(trail, tmp_path / name) == 6
        trail.close()
        lines = (tmp_path / "t.jsonl").read_text().splitlines()
        assert [json.loads(line) for line in lines] == wanted
        assert pq.read_table(tmp_path / "t.parquet").to_pylist() == wanted
        with (tmp_path / "t.csv").open(newline="") as file:
            got = list(csv.DictReader(file))
        assert got == [{k: str(v) for k, v in row.items()} for row in wanted]
        assert sorted(p.name for p in tmp_path.glob("t.*")) == ["t.csv", "t.jsonl", "t.parquet"]

    def test_parquet_in_several_groups(self, path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("realface.trail.export.ROWS", 4)
        run("export", path, "--out", tmp_path / "t.parquet")
        read = pq.ParquetFile(tmp_path / "t.parquet")
        assert [read.metadata.row_group(i).num_rows for i in range(read.num_row_groups)] == [4, 2]

    def test_no_cell_is_a_formula(self, path: Path, tmp_path: Path) -> None:
        trail = Trail(str(path))
        trail.append([entry(7, who="=HYPERLINK(1)", request="\uff1d1", policy=" \ufe631;=1")])
        trail.close()
        run("export", path, "--out", tmp_path / "t.csv")
        with (tmp_path / "t.csv").open(newline="") as file:
            last = list(csv.DictReader(file))[-1]
        assert (last["who"], last["request"], last["policy"]) == ("'=HYPERLINK(1)", "'\uff1d1", "' \ufe631;'=1")

    def test_a_failure_leaves_what_was_there(self, path: Path, tmp_path: Path) -> None:
        (tmp_path / "t.jsonl").write_text("old")
        unguarded(f"sqlite:///{path}", "UPDATE realface_trail SET probabilities = 'x' WHERE n = 5")
        with pytest.raises(TrailError, match="record 5"):
            run("export", path, "--out", tmp_path / "t.jsonl")
        assert (tmp_path / "t.jsonl").read_text() == "old"
        assert not list(tmp_path.glob(".*.part"))
        with pytest.raises(TrailError, match=r"\.jsonl, \.csv, \.parquet"):
            run("export", path, "--out", tmp_path / "t.txt")
        for name in ("no/t.csv", "t.jsonl/t.csv"):
            with pytest.raises(DataError, match=r"there is no folder .* to write t\.csv to"):
                run("export", path, "--out", tmp_path / name)

    def test_a_failure_names_the_file_that_was_asked_for(
        self, path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(Path, "replace", full_disk)
        with pytest.raises(TrailError, match=r"/t.csv could not be written: No space left on device$"):
            run("export", path, "--out", tmp_path / "t.csv")

    @pytest.mark.parametrize(
        ("name", "change"),
        [
            ("t.jsonl", "who = x'00ff'"),
            ("t.parquet", "who = x'00ff'"),
            ("t.parquet", "n = 'x'"),
            ("t.parquet", "probabilities = '[\"x\"]'"),
            ("t.jsonl", f"probabilities = '{'[' * 100_000}'"),
        ],
    )
    def test_what_no_record_holds_is_not_exported(self, path: Path, tmp_path: Path, name: str, change: str) -> None:
        unguarded(f"sqlite:///{path}", f"UPDATE realface_trail SET {change} WHERE n = 5")
        with pytest.raises(TrailError, match="realface audit verify"):
            run("export", path, "--out", tmp_path / name)
        assert not list(tmp_path.glob("t.*"))

    @pytest.mark.parametrize("kind", ["jsonl", "csv", "parquet"])
    @pytest.mark.parametrize(
        "change", ["DELETE FROM realface_trail WHERE n > 4", "UPDATE realface_trail_head SET n = 5"]
    )
    def test_as_many_are_written_as_there_are_or_none(self, path: Path, tmp_path: Path, change: str, kind: str) -> None:
        unguarded(f"sqlite:///{path}", change)
        with pytest.raises(TrailError, match=r"the trail has [46] records, not the [56] .* `realface audit verify`"):
            run("export", path, "--out", tmp_path / f"t.{kind}")
        assert not list(tmp_path.glob("t.*"))

    def test_the_document_checks_an_export_without_realface(self, path: Path, tmp_path: Path) -> None:
        (code,) = re.findall(r"```python\n(.*?)```", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL)
        run("prune", path, "--before", "2026-01-03", "--by", "x")
        run("export", path, "--out", tmp_path / "trail.jsonl")
        whole = (tmp_path / "trail.jsonl").read_text()
        said = []
        for text in (whole, whole.replace('"fake"', '"real"', 1)):
            (tmp_path / "trail.jsonl").write_text(text)
            command = [sys.executable, "-c", code]
            done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
            said.append((done.returncode, done.stdout.split()))
        assert said == [(0, ["7", json.loads(whole.splitlines()[-1])["hash"]]), (1, [])]


class TestCommands:
    def test_verify(self, path: Path) -> None:
        code, said = run("verify", path)
        assert code == 0
        wanted = r"6 records, and 0 older ones.*last record: 6\nlast hash: ([0-9a-f]{64})\n.*chain holds"
        match = re.search(wanted, said, re.DOTALL)
        assert match
        assert run("verify", path, "--expect", f" {match[1].upper()} ")[0] == 0
        code, said = run("verify", path, "--expect", "0" * 63 + "1")
        assert (code, "no record has the hash" in said, "was changed" in said) == (1, True, True)

    @pytest.mark.parametrize("noted", ["", "abc", "0" * 63, "0" * 65, "g" * 64])
    def test_what_is_no_hash_is_not_looked_for(self, path: Path, noted: str) -> None:
        with pytest.raises(TrailError, match="all 64 hexadecimal digits"):
            run("verify", path, "--expect", noted)

    def test_verify_prints_nothing_that_drives_a_terminal(self, path: Path) -> None:
        unguarded(f"sqlite:///{path}", "UPDATE realface_trail SET hash = char(27) || '[2J' WHERE n = 6")
        code, said = run("verify", path)
        assert (code, "\x1b" in said, r"last hash: \x1b[2J" in said) == (1, False, True)

    def test_what_is_only_read_is_not_changed(self, path: Path) -> None:
        with sqlite3.connect(path) as connection:
            connection.execute("PRAGMA journal_mode=DELETE")
        connection.close()
        before = path.read_bytes()
        assert run("verify", path)[0] == run("export", path, "--out", path.with_name("t.csv"))[0] == 0
        assert path.read_bytes() == before

    @pytest.mark.parametrize(("name", "log"), [("trail.db", True), ("a?mode=rwc#b%41.db", True), ("trail.db", False)])
    def test_a_copy_is_not_changed(self, path: Path, tmp_path: Path, name: str, log: bool) -> None:
        trail = Trail(str(path))
        trail.append([entry(7)])
        (tmp_path / "copy").mkdir()
        if not log:
            trail.close()
        copies = [tmp_path / "copy" / f"{name}{end}" for end in ("", "-wal")[: 1 + log]]
        for copy, end in zip(copies, ("", "-wal"), strict=False):
            shutil.copyfile(f"{path}{end}", copy)
        trail.close()
        before = [copy.read_bytes() for copy in copies]
        code = (
            "from realface.cli import main; main()"  # a process of its own, for it is at the end that SQLite tidies up
        )
        command = [sys.executable, "-c", code, "audit", "verify", str(copies[0])]
        assert "7 records" in subprocess.run(command, capture_output=True, text=True, check=True).stdout
        assert [copy.read_bytes() for copy in copies] == before
        assert log or list(copies[0].parent.iterdir()) == copies  # nor is a log begun beside it

    @pytest.mark.parametrize(("used", "mode"), [(False, 0o555), (True, 0o555), (False, 0o777)])
    def test_a_trail_is_read_where_nothing_can_be_written(self, path: Path, used: bool, mode: int) -> None:
        run("verify", shutil.copy(path, path.with_name("other.db")))  # loads what the superuser alone may read
        trail = Trail(str(path))
        trail.append([entry(7)])
        if not used:
            trail.close()
        with sealed(*sorted(path.parent.glob("trail.db*")), mode=mode) as folder:
            before = {file.name: file.read_bytes() for file in folder.iterdir()}
            assert len(before) == (3 if used else 1)
            assert "7 records" in run("verify", folder / "trail.db")[1]
            assert {file.name: file.read_bytes() for file in folder.iterdir()} == before
        trail.close()

    def test_verify_counts_what_it_does_not_tell(self, path: Path) -> None:
        trail = Trail(f"sqlite:///{path}")
        trail.append([entry(7)] * 30)
        trail.close()
        unguarded(f"sqlite:///{path}", "UPDATE realface_trail SET who = 'x' WHERE n > 6")
        code, said = run("verify", path)
        assert (code, said.count("is not what"), "and 10 more" in said) == (1, 20, True)

    def test_prune(self, path: Path) -> None:
        assert run("prune", path, "--before", "2026-01-03T12:00:00", "--by", "me") == (0, "3 records were removed\n")
        assert "4 records, and 3 older ones" in run("verify", path)[1]
        assert run("prune", path, "--before", "2026-01-05", "--by", "me") == (0, "1 record was removed\n")

    def test_prune_tells_where_a_reader_keeps_what_was_removed(
        self, path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("realface.trail.trail.WAIT_FOR_READERS", 0)
        log, arguments = (
            path.with_name(f"{path.name}-wal"),
            ("prune", path, "--before", "2026-01-03T12:00:00", "--by", "me"),
        )
        service, reader = Trail(str(path)), Trail(str(path), "read")
        service.append([entry(7)])
        with reader.records() as (_, rows):
            next(iter(rows))
            told = (
                f"3 records were removed, but somebody is at {path}, and until that ends {log} holds what was removed"
            )
            with pytest.raises(TrailError, match=re.escape(told)):
                run(*arguments)
            service.append([entry(8)])
            assert b"2026-01-02" in log.read_bytes() + path.read_bytes()
        del rows
        reader.close()
        assert run(*arguments) == (0, "0 records were removed\n")
        service.append([entry(9)])
        assert b"2026-01-02" not in log.read_bytes() + path.read_bytes()
        service.close()

    def test_the_address_may_come_from_the_environment(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("REALFACE_TRAIL", str(path))
        assert run("verify")[0] == 0


class TestNoTrail:
    @pytest.mark.parametrize(
        ("url", "said"),
        [
            ("missing.db", "there is no audit trail missing.db"),
            ("sqlite:///missing.db", "there is no audit trail missing.db"),
            ("empty.db", "there is no audit trail in empty.db"),
            ("text.db", "text.db: file is not a database"),
            ("other.db", "table realface_trail is not that of this version"),
            ("headless.db", "has lost its head"),
            (":memory:", "SQLite file or in PostgreSQL"),
            ("sqlite://", "SQLite file or in PostgreSQL"),
            ("sqlite+other:///trail.db", r"not in sqlite\+other:///trail.db"),
            ("mysql://u:secret@h/d", r"not in mysql://u:\*\*\*@h/d"),
            ("postgresql://u:secret@127.0.0.1:1/d", r"u:\*\*\*@127.0.0.1:1/d: connection failed"),
            ("postgresql://u@127.0.0.1:1/d?password=secret", r"u@127.0.0.1:1/d: connection failed"),
            ("postgresql://u:secret@h:port/d", "this is no database"),
            ("://", "this is no database"),
            ("a\0b", "there is no audit trail|cannot be opened"),
        ],
    )
    def test_what_cannot_be_read_is_a_typed_error(
        self, url: str, said: str, path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(path.parent)
        Path("empty.db").touch()
        Path("text.db").write_text("text" * 1000)
        Path("headless.db").write_bytes(path.read_bytes())
        unguarded("sqlite:///headless.db", "DELETE FROM realface_trail_head")
        unguarded("sqlite:///other.db", "CREATE TABLE realface_trail (n INTEGER)")
        with pytest.raises(TrailError, match=said) as error:
            run("verify", url)
        assert "secret" not in str(error.value)
        assert not Path("missing.db").exists()

    def test_nothing_begins_where_no_file_can_be(self, tmp_path: Path) -> None:
        for place in (tmp_path / "no/trail.db", tmp_path):
            with pytest.raises(TrailError):
                Trail(str(place))

    @pytest.mark.parametrize("again", [False, True])
    def test_what_lies_elsewhere_is_not_written_to(self, path: Path, tmp_path: Path, again: bool) -> None:
        trail = Trail(str(path))
        trail.append([entry(7)])
        (tmp_path / "old").mkdir()
        for file in tmp_path.glob("trail.db*"):
            file.rename(tmp_path / "old" / file.name)
        if again:
            Trail(str(path)).close()
        assert trail.lost
        with pytest.raises(TrailError, match="was moved, removed or replaced; put it back, or start again"):
            trail.append([entry(8)])
        assert path.exists() == again
        for file in (tmp_path / "old").iterdir():
            file.rename(tmp_path / file.name)
        trail.append([entry(9)])
        assert trail.verify().problems == []
        trail.close()
        path.unlink()
        with pytest.raises(TrailError, match="unable to open"):  # nor does a pool that connects anew begin a file
            trail.append([entry(10)])
        assert not path.exists()

    def test_only_its_owner_can_read_it(self, path: Path) -> None:
        assert path.stat().st_mode & 0o077 == 0

    @pytest.mark.parametrize(("query", "limit"), [("", "20000"), ("?tcp_user_timeout=500", "500")])
    def test_a_server_that_goes_silent_is_not_waited_for(
        self, query: str, limit: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        asked: list[dict[str, Any]] = []

        def connect(**options: Any) -> None:
            del options["context"]  # SQLAlchemy's, for psycopg; the rest is for libpq
            asked.append(conninfo_to_dict(make_conninfo(**options)))
            raise psycopg.OperationalError("none")

        monkeypatch.setattr(psycopg, "connect", connect)
        with pytest.raises(TrailError):
            Trail(f"postgresql://u@h/d{query}")
        (said,) = asked
        assert said["tcp_user_timeout"] == limit  # milliseconds
        seconds = [int(said[f"keepalives_{name}"]) for name in ("idle", "interval", "count")]
        assert seconds[0] + seconds[1] * seconds[2] == 20

    def test_a_missing_driver_is_named(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "psycopg", None)
        with pytest.raises(MissingExtra, match=r"realface\[postgres\]"):
            Trail("postgresql://h/d")
