"""The audit trail: nothing that was acknowledged is lost, and nothing that was written can be changed unseen."""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from sqlalchemy import Connection, NullPool, create_engine, text
from sqlalchemy.exc import DBAPIError

from realface.errors import TrailError
from realface.trail import Entry, Trail
from realface.trail.chain import START, digest
from realface.trail.trail import Use

BINARIES = [*(Path("/usr/lib/postgresql").glob("*/bin")), Path("/usr/local/bin"), Path("/usr/bin")]


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """The folder of the socket of a PostgreSQL of our own, which nobody else can reach."""
    programs = next(
        (folder for folder in BINARIES if (folder / "initdb").exists() and (folder / "pg_ctl").exists()), None
    )
    if programs is None:
        pytest.skip("PostgreSQL is not installed")
    folder = Path(tempfile.mkdtemp(prefix="realface-"))  # not pytest's: the name of a socket must be short
    user = "nobody" if os.getuid() == 0 else None  # PostgreSQL refuses to run as root
    if user:
        shutil.chown(folder, user)

    def run(program: str, *arguments: str) -> None:
        command = [str(programs / program), "-D", str(folder / "data"), *arguments]
        with (folder / "said").open("a") as said:
            code = subprocess.run(command, cwd=folder, user=user, stdout=said, stderr=said, check=False).returncode
        assert code == 0, (folder / "said").read_text()

    try:
        run("initdb", "--no-sync", "--auth=trust", "--username=realface", "--encoding=UTF8", "--no-locale")
        options = f"-k {folder} -c listen_addresses='' -c fsync=off -c shared_buffers=8MB"
        run("pg_ctl", "start", "-w", "-t", "600", "-l", str(folder / "log"), "-o", options)
        try:
            yield str(folder)
        finally:
            run("pg_ctl", "stop", "-m", "immediate")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/trail.db"
    url = f"postgresql://realface@/postgres?host={request.getfixturevalue('postgres')}"
    with connected(url) as connection:
        connection.execute(text("DROP TABLE IF EXISTS realface_trail, realface_trail_head"))
        connection.execute(text("DROP FUNCTION IF EXISTS realface_trail_guard"))
    return url


@pytest.fixture
def opened() -> Iterator[Callable[..., Trail]]:
    trails: list[Trail] = []

    def open_(url: str, use: Use = "begin") -> Trail:
        trails.append(Trail(url, use))
        return trails[-1]

    yield open_
    for trail in trails:
        trail.close()


@pytest.fixture
def trail(url: str, opened: Callable[..., Trail]) -> Trail:
    """A trail of six records, a day apart."""
    trail = opened(url)
    trail.append([entry(day) for day in (1, 2)])
    trail.append([entry(3)])
    trail.append([entry(day) for day in (4, 5, 6)])
    return trail


def entry(day: int, **changes: object) -> Entry:
    time = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(days=day - 1)
    given = Entry(time, "desk", f"r{day}", "ab" * 32, "ok", "fake", (0.97, 0.1), "cd" * 32, "at most 1 % of real faces")
    return replace(given, **changes)  # type: ignore[arg-type]


def rows(trail: Trail) -> list[dict[str, object]]:
    with trail.records() as (_, records):
        return [dict(record) for record in records]


@contextmanager
def connected(url: str) -> Iterator[Connection]:
    """A transaction in a database, past the trail."""
    engine = create_engine(url.replace("postgresql:", "postgresql+psycopg:"), poolclass=NullPool)  # none is left open
    with engine.begin() as connection:
        yield connection


def unguarded(url: str, *statements: str) -> None:
    """Change a database as somebody can who owns it: without its triggers."""
    with connected(url) as connection:
        if connection.dialect.name == "sqlite":
            names = connection.execute(text("SELECT name FROM sqlite_master WHERE type = 'trigger'")).scalars().all()
            before = [f"DROP TRIGGER {name}" for name in names]
        else:
            before = ["SET session_replication_role = replica"]
        for statement in [*before, *statements]:
            connection.execute(text(statement))


class TestAppend:
    def test_what_is_written_is_read(self, trail: Trail) -> None:
        got = rows(trail)
        assert [row["n"] for row in got] == [1, 2, 3, 4, 5, 6]
        assert got[2] == {
            "n": 3,
            "time": "2026-01-03T00:00:00.000000+00:00",
            "who": "desk",
            "request": "r3",
            "sha256": "ab" * 32,
            "status": "ok",
            "verdict": "fake",
            "probabilities": "[0.97, 0.1]",
            "detector": "cd" * 32,
            "policy": "at most 1 % of real faces",
            "hash": digest(str(got[1]["hash"]), got[2]),
        }
        walk = trail.verify()
        assert (walk.records, walk.n, walk.hash, walk.problems) == (6, 6, got[-1]["hash"], [])

    def test_an_empty_trail_holds(self, url: str, opened: Callable[..., Trail]) -> None:
        trail = opened(url)
        trail.append([])
        walk = trail.verify()
        assert (walk.records, walk.hash, walk.problems) == (0, START, [])

    def test_a_trail_is_gone_on_with(self, url: str, trail: Trail, opened: Callable[..., Trail]) -> None:
        opened(url).append([entry(7)])
        trail.append([entry(8)])
        assert [row["request"] for row in rows(trail)][-3:] == ["r6", "r7", "r8"]
        assert trail.verify().problems == []

    def test_odd_entries(self, url: str, opened: Callable[..., Trail]) -> None:
        trail = opened(url)
        east = datetime(2026, 1, 1, 2, 30, tzinfo=timezone(timedelta(hours=5)))
        trail.append([entry(1, time=east, who="a\0b\ud800\n\u202eü", sha256=None, verdict=None, probabilities=())])
        (row,) = rows(trail)
        assert row["time"] == "2025-12-31T21:30:00.000000+00:00"
        assert row["who"] == r"a\x00b\ud800\n\u202eü"
        assert (row["sha256"], row["verdict"], row["probabilities"]) == (None, None, "[]")
        assert trail.verify().problems == []

    def test_nothing_is_written_of_a_wrong_entry(self, trail: Trail) -> None:
        for wrong in ({"time": datetime(2026, 1, 1)}, {"probabilities": (float("nan"),)}):
            with pytest.raises(ValueError, match=r"time zone|not JSON compliant"):
                trail.append([entry(7), entry(8, **wrong)])
        assert trail.verify().n == 6

    def test_threads_and_servers_write_one_chain(self, url: str, opened: Callable[..., Trail]) -> None:
        trails = [opened(url) for _ in range(3)]

        def write(i: int) -> None:
            trails[i % 3].append([entry(1, request=f"{i}.{j}") for j in range(i % 4)])

        with ThreadPoolExecutor(12) as pool:
            list(pool.map(write, range(60)))
        got = [str(row["request"]) for row in rows(trails[0])]
        assert sorted(got) == sorted(f"{i}.{j}" for i in range(60) for j in range(i % 4))
        assert trails[1].verify().problems == []

    def test_what_was_acknowledged_outlives_a_crash(self, url: str, opened: Callable[..., Trail]) -> None:
        """Two processes begin a trail at once, and are killed while they write."""
        code = """if True:
            import sys
            from datetime import UTC, datetime
            from realface.trail import Entry, Trail
            trail, i = Trail(sys.argv[1]), 0
            while True:
                trail.append([Entry(datetime.now(UTC), sys.argv[2], str(i), None, "ok", None, (), "", "")])
                print(i, flush=True)
                i += 1
        """
        command = [sys.executable, "-c", code, url]
        writers = [subprocess.Popen([*command, who], stdout=subprocess.PIPE, text=True) for who in "ab"]
        seen = {}
        for who, writer in zip("ab", writers, strict=True):
            assert writer.stdout
            seen[who] = [writer.stdout.readline() for _ in range(20)]
        for who, writer in zip("ab", writers, strict=True):
            writer.kill()
            seen[who] += writer.communicate()[0].splitlines(keepends=True)
        trail = opened(url)
        for who, said in seen.items():
            acknowledged = [line.strip() for line in said if line.endswith("\n")]
            written = [row["request"] for row in rows(trail) if row["who"] == who]
            assert acknowledged == [str(i) for i in range(len(acknowledged))]
            assert written[: len(acknowledged)] == acknowledged
        assert trail.verify().problems == []


COPY = (
    "INSERT INTO realface_trail SELECT {}, time, who, request, sha256, status, verdict, probabilities, detector, "
    "policy, hash FROM realface_trail WHERE n = {}"
)


class TestAppendOnly:
    @pytest.mark.parametrize(
        "statement",
        [
            "UPDATE realface_trail SET verdict = 'real' WHERE n = 3",
            "DELETE FROM realface_trail",
            "DELETE FROM realface_trail WHERE n = 6",
            "DELETE FROM realface_trail_head",
            "UPDATE realface_trail_head SET n = 5",
            "UPDATE realface_trail_head SET n = 7, pruned = 7",
            "UPDATE realface_trail_head SET hash = ''",
            COPY.format(0, 3),
        ],
    )
    def test_the_database_refuses(self, url: str, trail: Trail, statement: str) -> None:
        own = ["INSERT OR REPLACE INTO realface_trail SELECT * FROM realface_trail WHERE n = 3"]
        own.append("INSERT OR REPLACE INTO realface_trail_head VALUES (1, 0, '', 0)")
        if not url.startswith("sqlite"):
            own = ["TRUNCATE realface_trail", "TRUNCATE realface_trail_head"]
        for each in [statement, *own]:
            with pytest.raises(DBAPIError, match="append-only"), connected(url) as connection:
                connection.execute(text(each))
        assert trail.verify().n == len(rows(trail)) == 6
        assert trail.verify().problems == []

    @pytest.mark.parametrize("url", ["postgresql"], indirect=True)
    def test_a_service_needs_no_more_rights_than_the_document_gives(
        self, url: str, trail: Trail, opened: Callable[..., Trail]
    ) -> None:
        document = Path(__file__).resolve().parent.parent / "docs" / "audit-trail.md"
        grants = re.findall(r"^GRANT .*;$", document.read_text(encoding="utf-8"), re.MULTILINE)
        unguarded(url, "CREATE ROLE service LOGIN", *grants)
        service = url.replace("realface@", "service@")
        opened(service).append([entry(7)])
        assert opened(service, "change").verify().records == 7
        for statement in ("DELETE FROM realface_trail", "ALTER TABLE realface_trail DISABLE TRIGGER ALL"):
            with pytest.raises(DBAPIError, match=r"permission denied|must be owner"), connected(service) as connection:
                connection.execute(text(statement))
        trail.append([entry(8)])
        assert trail.verify().problems == []


def swapped(a: int, b: int) -> list[str]:
    change = "UPDATE realface_trail SET n = {} WHERE n = {}"
    return [change.format(*pair) for pair in ((-1, a), (a, b), (b, -1))]


TAMPERED = {
    "changed": (["UPDATE realface_trail SET verdict = 'real' WHERE n = 3"], ["record 3 is not"]),
    "all of a column": (["UPDATE realface_trail SET who = 'x'"], [f"record {n} is not" for n in range(1, 7)]),
    "first removed": (["DELETE FROM realface_trail WHERE n = 1"], ["records 1 to 1 are missing"]),
    "middle removed": (["DELETE FROM realface_trail WHERE n IN (3, 4)"], ["records 3 to 4 are missing"]),
    "closed up": (
        ["DELETE FROM realface_trail WHERE n = 5", "UPDATE realface_trail SET n = 5 WHERE n = 6"],
        ["record 5 is not", "the trail ends with record 5"],
    ),
    "end cut": (["DELETE FROM realface_trail WHERE n > 4"], ["the trail ends with record 4"]),
    "all removed": (["DELETE FROM realface_trail"], ["the trail ends with record 0"]),
    "reordered": (swapped(2, 3), ["record 2 is not", "record 3 is not", "record 4 is not"]),
    "put in": ([COPY.format(7, 3)], ["record 7 is not", "the trail ends with record 7"]),
    "put in and counted": (
        [COPY.format(7, 3), "UPDATE realface_trail_head SET n = 7"],
        ["record 7 is not", "the trail ends with"],
    ),
    "pruned unsigned": (
        ["DELETE FROM realface_trail WHERE n < 3", "UPDATE realface_trail_head SET pruned = 2"],
        ["record 3 is not", "the first 2 records are missing and no record signs for that"],
    ),
    "odd values": (["UPDATE realface_trail SET status = 'pruned', policy = 'x' WHERE n = 6"], ["record 6 is not"]),
}


class TestVerify:
    @pytest.mark.parametrize("case", TAMPERED)
    def test_tampering_is_found(self, url: str, trail: Trail, case: str) -> None:
        statements, problems = TAMPERED[case]
        unguarded(url, *statements)
        found = trail.verify().problems
        assert len(found) == len(problems)
        assert all(said.startswith(wanted) for said, wanted in zip(found, problems, strict=True)), found

    @pytest.mark.parametrize(
        "change", ["who = x'00ff'", "n = 'x'", """status = 'pruned', policy = '{"through": Infinity}'"""]
    )
    def test_values_of_another_type(self, tmp_path: Path, opened: Callable[..., Trail], change: str) -> None:
        trail = opened(str(tmp_path / "trail.db"))
        trail.append([entry(1)])
        unguarded(f"sqlite:///{tmp_path}/trail.db", f"UPDATE realface_trail SET {change}")
        assert trail.verify().count == 1

    @pytest.mark.parametrize("column", ["n", "pruned"])
    def test_a_head_that_is_no_number(self, tmp_path: Path, opened: Callable[..., Trail], column: str) -> None:
        trail = opened(str(tmp_path / "trail.db"))
        unguarded(f"sqlite:///{tmp_path}/trail.db", f"UPDATE realface_trail_head SET {column} = 'x'")
        for use in (trail.verify, lambda: trail.append([entry(1)])):
            with pytest.raises(TrailError, match="was changed"):
                use()

    def test_a_cut_end_or_another_trail_is_known_by_a_noted_hash(self, url: str, trail: Trail) -> None:
        noted = trail.verify().hash
        early = str(rows(trail)[1]["hash"])
        assert trail.verify([noted, early]).problems == []
        unguarded(url, "DELETE FROM realface_trail WHERE n > 4")
        unguarded(url, "UPDATE realface_trail_head SET n = 4, hash = (SELECT hash FROM realface_trail WHERE n = 4)")
        assert trail.verify([early]).problems == []
        trail.append([entry(5, verdict="real"), entry(6)])
        (problem,) = trail.verify([noted, early]).problems
        assert noted in problem

    def test_problems_are_counted_and_the_first_told(self, url: str, opened: Callable[..., Trail]) -> None:
        trail = opened(url)
        trail.append([entry(1)] * 1500)
        unguarded(url, "UPDATE realface_trail SET who = 'x' WHERE n > 100")
        walk = trail.verify()
        assert (walk.records, walk.count, len(walk.problems)) == (1500, 1400, 20)


class TestPrune:
    def test_what_is_left_holds_and_says_what_is_gone(self, trail: Trail) -> None:
        before = rows(trail)
        assert trail.prune(datetime(2026, 1, 4, tzinfo=UTC), "records office") == 3
        after = rows(trail)
        assert after[:-1] == before[3:]
        signed = after[-1]
        assert (signed["n"], signed["who"], signed["status"]) == (7, "records office", "pruned")
        assert signed["sha256"] == before[2]["hash"]
        assert json.loads(str(signed["policy"])) == {"before": "2026-01-04T00:00:00.000000+00:00", "through": 3}
        walk = trail.verify([str(before[2]["hash"]), str(before[5]["hash"])])
        assert (walk.records, walk.pruned, walk.problems) == (4, 3, [])
        (problem,) = trail.verify([str(before[1]["hash"])]).problems
        assert "older than what is kept" in problem

    def test_again_and_with_nothing_to_do(self, trail: Trail) -> None:
        assert trail.prune(datetime(2026, 1, 1, tzinfo=UTC), "x") == 0
        assert trail.verify().n == 6
        assert trail.prune(datetime(2026, 1, 3, tzinfo=UTC), "x") == 2
        assert trail.prune(datetime(2026, 1, 3, tzinfo=UTC), "x") == 0
        assert trail.prune(datetime.now(UTC), "x") == 5  # with the record of the first time
        (only,) = rows(trail)
        assert (only["n"], json.loads(str(only["policy"]))["through"]) == (8, 7)
        trail.append([entry(9)])
        assert (trail.verify().records, trail.verify().problems) == (2, [])

    def test_what_is_to_come_is_no_limit(self, trail: Trail) -> None:
        with pytest.raises(TrailError, match=r"nothing was removed: .* is still to come"):
            trail.prune(datetime.now(UTC) + timedelta(hours=1), "x")
        assert trail.verify().n == len(rows(trail)) == 6

    def test_an_older_record_behind_a_newer_one_is_kept(self, trail: Trail) -> None:
        trail.append([entry(1)])
        assert trail.prune(datetime(2026, 1, 3, tzinfo=UTC), "x") == 2
        assert [row["n"] for row in rows(trail)] == [3, 4, 5, 6, 7, 8]

    def test_in_steps_and_after_an_interruption(self, trail: Trail, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("realface.trail.trail.DELETED_AT_ONCE", 2)
        kept = rows(trail)[:2]
        assert trail.prune(datetime(2026, 1, 6, tzinfo=UTC), "x") == 5
        columns = ", ".join(kept[0])
        values = ["(" + ", ".join(repr(value) for value in row.values()) + ")" for row in kept]
        unguarded(url, f"INSERT INTO realface_trail ({columns}) VALUES {', '.join(values)}")
        assert trail.verify().problems == []  # signed for, and only not deleted yet
        assert trail.prune(datetime(2026, 1, 6, tzinfo=UTC), "x") == 2
        with connected(url) as connection:
            assert connection.execute(text("SELECT min(n) FROM realface_trail")).scalar() == 6

    @pytest.mark.parametrize("url", ["sqlite"], indirect=True)
    def test_its_log_holds_nothing_of_them(self, trail: Trail, url: str, opened: Callable, tmp_path: Path) -> None:
        assert b"2026-01-03" in (tmp_path / "trail.db-wal").read_bytes()
        assert opened(url, "change").prune(datetime(2026, 1, 4, tzinfo=UTC), "x") == 3
        trail.append([entry(7)])
        for name in ("trail.db-wal", "trail.db"):
            assert b"2026-01-03" not in (tmp_path / name).read_bytes()

    def test_a_broken_trail_is_kept_as_evidence(self, trail: Trail, url: str) -> None:
        unguarded(url, "UPDATE realface_trail SET who = 'x' WHERE n = 2")
        with pytest.raises(TrailError, match=r"nothing was removed.*record 2 is not.*; see `realface audit verify`"):
            trail.prune(datetime(2026, 1, 4, tzinfo=UTC), "x")
        assert len(rows(trail)) == 6
