"""One audit trail in a database: SQLite or PostgreSQL."""

import json
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from ..errors import MissingExtra, TrailError

try:
    from sqlalchemy import URL, Connection, Engine, create_engine, delete, event, func, insert, make_url, select, update
    from sqlalchemy.exc import ArgumentError, DBAPIError, SQLAlchemyError
except ImportError:
    raise MissingExtra('an audit trail needs SQLAlchemy: pip install "realface[serve]"') from None

from .chain import PRUNED, Entry, Walk, digest
from .tables import HEAD, RECORDS, prepare

DELETED_AT_ONCE = 10_000
WAIT, WAIT_FOR_READERS = 60, 1  # seconds, for whoever else has SQLite's file
# Seconds, and milliseconds for the last: without these a server that vanishes is waited for a quarter of an hour.
_PATIENCE = {
    "connect_timeout": "10",
    "keepalives_idle": "10",
    "keepalives_interval": "5",
    "keepalives_count": "2",
    "tcp_user_timeout": "20000",
}
Use = Literal["begin", "change", "read"]
Records = Iterable[Mapping[str, Any]]
Track = Callable[[Records, int], Records]
"""Passes records on and shows how many of a number are done."""


def untracked(records: Records, _: int) -> Records:
    return records


@dataclass(frozen=True)
class Head:
    """Number and hash of the last record; how many of the first were removed, and the hash of the last of those."""

    n: int
    hash: str
    pruned: int
    follows: str


class Trail:
    """An append-only table of what was answered, safe with several threads, processes and servers on one database."""

    def __init__(self, url: str, use: Use = "begin") -> None:
        """Open a trail.

        Args:
            url: the path of an SQLite file, or a URL as SQLAlchemy has them: sqlite:///PATH, postgresql://USER@HOST/NAME.
            use: "begin" one where there is none, "change" one that is there, or only "read" it: then its file, which
                may lie where nothing can be written, stays as it is.

        Raises:
            TrailError: the database cannot be opened, or holds something else.
            MissingExtra: there is no driver for PostgreSQL.
        """
        self._lock = threading.Lock()
        self._name, self._path, self._engine = _engine(url, use)
        self._file = _file(self._path)
        with self._transaction(writes=use == "begin") as connection:
            prepare(connection, self._name, create=use == "begin")

    @property
    def lost(self) -> bool:
        """Whether an SQLite file was moved, removed or replaced since: what is open would write to it all the same."""
        return _file(self._path) != self._file

    def append(self, entries: Sequence[Entry]) -> None:
        """Write entries, all or none; they are on the disk when this returns.

        Raises:
            TrailError: they may not be.
        """
        rows = [entry.values() for entry in entries]
        if rows:
            with self._transaction(writes=True) as connection:
                self._add(connection, rows)

    @contextmanager
    def records(self) -> Iterator[tuple[Head, Records]]:
        """The head and, one by one, every record up to it, as they are at this moment."""
        with self._transaction() as connection:
            head = self._head(connection)
            query = select(RECORDS).where(RECORDS.c.n > head.pruned).order_by(RECORDS.c.n)
            rows = connection.execution_options(yield_per=1000).execute(query).mappings()
            yield head, (dict(row) for row in rows)

    def verify(self, expect: Iterable[str] = (), track: Track = untracked) -> Walk:
        """Check the whole chain.

        Args:
            expect: hashes noted earlier, each of which a record must still have.
            track: is given the records and how many there should be, and passes them on.
        """
        with self.records() as (head, rows):
            walk = Walk(n=head.pruned, hash=head.follows, expected=frozenset(expect))
            walk.over(track(rows, head.n - head.pruned))
        if (walk.n, walk.hash) != (head.n, head.hash):
            walk.problem(f"the trail ends with record {walk.n:,}, not as it did when {head.n:,} were written")
        if walk.pruned != head.pruned:
            walk.problem(f"the first {head.pruned:,} records are missing and no record signs for that")
        for missing in sorted(walk.expected - walk.found):
            walk.problem(f"no record has the hash {missing}: it was changed, cut off, or is older than what is kept")
        return walk

    def prune(self, before: datetime, by: str, track: Track = untracked) -> int:
        """Remove the oldest records, up to the first that is not older than a time, and sign for it in a new one.

        Args:
            before: with a time zone; not later than now, for that would remove every record.
            by: who removes them.
            track: as `verify` takes it, which is done first.

        Returns:
            How many were removed.

        Raises:
            TrailError: the time is to come, or the chain does not hold; nothing is removed, since that would hide it.
                Or they were removed, and SQLite's log still holds them for somebody who reads the trail.
        """
        if before > datetime.now(UTC):
            raise TrailError(f"nothing was removed: {before} is still to come; give a time that is past")
        if problems := self.verify(track=track).problems:
            raise TrailError(f"nothing was removed from {self._name}: {problems[0]}; see `realface audit verify`")
        limit = before.astimezone(UTC).isoformat(timespec="microseconds")
        c = RECORDS.c
        with self._transaction(writes=True) as connection:
            head = self._head(connection, lock=True)
            kept = select(func.min(c.n)).where(c.n > head.pruned, c.time >= limit)
            through: int = (connection.execute(kept).scalar() or head.n + 1) - 1
            if through > head.pruned:
                last = connection.execute(select(c.hash).where(c.n == through)).scalar_one()
                says = json.dumps({"before": limit, "through": through})
                signed = Entry(datetime.now(UTC), by, "prune", last, PRUNED, None, (), "", says)
                self._add(connection, [signed.values()], pruned=through)
        removed, left = 0, 1
        while left:  # bit by bit, so that servers that write at the same time are not held up; goes on if interrupted
            with self._transaction(writes=True) as connection:
                some = select(c.n).where(c.n <= through).order_by(c.n).limit(DELETED_AT_ONCE)
                left = connection.execute(delete(RECORDS).where(c.n.in_(some))).rowcount
            removed += left
        if self._engine.dialect.name == "sqlite" and not self._log_emptied():
            raise TrailError(
                f"{removed:,} records were removed, but somebody is at {self._name}, and until that ends "
                f"{self._name}-wal holds what was removed; prune once more then"
            )
        return removed

    def _log_emptied(self) -> bool:
        """Empty SQLite's log, which holds what was deleted for as long as a service runs, unless somebody reads on.

        While it waits for readers nobody can write, so it does not wait long.
        """
        with self._transaction() as connection:
            for statement in ("COMMIT", f"PRAGMA busy_timeout = {1000 * WAIT_FOR_READERS}"):  # not within a transaction
                connection.exec_driver_sql(statement)
            try:
                busy: int = connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)").one()[0]
            finally:
                connection.exec_driver_sql(f"PRAGMA busy_timeout = {1000 * WAIT}")
        return not busy

    def close(self) -> None:
        """Give the connections back."""
        self._engine.dispose()

    def _add(self, connection: Connection, rows: list[dict[str, Any]], pruned: int | None = None) -> None:
        head = self._head(connection, lock=True)
        previous = head.hash
        for n, row in enumerate(rows, head.n + 1):
            row["n"] = n
            row["hash"] = previous = digest(previous, row)
        connection.execute(insert(RECORDS), rows)
        pruned = head.pruned if pruned is None else pruned
        connection.execute(update(HEAD).values(n=head.n + len(rows), hash=previous, pruned=pruned))

    def _head(self, connection: Connection, *, lock: bool = False) -> Head:
        """The head; with `lock`, nobody else writes until the transaction ends."""
        query = select(HEAD.c.n, HEAD.c.hash, HEAD.c.pruned)
        row = connection.execute(query.with_for_update() if lock else query).one_or_none()
        if row is None:
            raise TrailError(f"the audit trail {self._name} has lost its head: its table {HEAD.name} is empty")
        if not (isinstance(row.n, int) and isinstance(row.pruned, int)):
            raise TrailError(f"the audit trail {self._name} was changed: its table {HEAD.name} holds what is no number")
        signed = select(RECORDS.c.sha256).where(RECORDS.c.status == PRUNED).order_by(RECORDS.c.n.desc()).limit(1)
        follows = connection.execute(signed).scalar() if row.pruned and not lock else None
        return Head(*row, follows or Walk.hash)

    @contextmanager
    def _transaction(self, *, writes: bool = False) -> Iterator[Connection]:
        """A connection whose work is on the disk, or undone, when the block ends; readers see one moment."""
        options: dict[str, Any] = {"writes": writes}
        if self._engine.dialect.name == "postgresql":
            options["isolation_level"] = "READ COMMITTED" if writes else "REPEATABLE READ"
        try:
            with (
                self._lock if writes else nullcontext(),  # threads of one process wait here in turn
                self._engine.connect().execution_options(**options) as connection,
                connection.begin(),
            ):
                yield connection
        except SQLAlchemyError as error:
            said = str(error.orig if isinstance(error, DBAPIError) else error).strip().partition("\n")[0]
            raise TrailError(f"the audit trail {self._name}: {said or type(error).__name__}") from None
        if writes and self.lost:  # asked last: what is moved from now on has this in it
            hint = "put it back, or start again with a new one"
            raise TrailError(f"the file of the audit trail {self._name} was moved, removed or replaced; {hint}")


def _file(path: Path | None) -> tuple[int, int] | None:
    """By what a file is known, whatever its name; None where there is none."""
    if path is None:
        return None
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _engine(url: str, use: Use) -> tuple[str, Path | None, Engine]:
    """How a database is called, without its password or options, its file if it is SQLite, and the way into it."""
    try:
        parsed = make_url(url) if "://" in url else URL.create("sqlite", database=url)
    except (ArgumentError, ValueError):  # not repeated: there may be a password in it
        raise TrailError("this is no database: give a path, sqlite:///PATH or postgresql://USER@HOST/NAME") from None
    name = parsed.set(query={}).render_as_string()
    if parsed.drivername in ("sqlite", "sqlite+pysqlite") and parsed.database not in (None, "", ":memory:"):
        path = Path(str(parsed.database))
        try:
            if use == "begin":
                path.touch(mode=0o600)  # it says who asked for what
            elif not path.is_file():
                raise TrailError(f"there is no audit trail {path}; check the path")
        except (OSError, ValueError) as error:
            raise TrailError(f"the audit trail {path} cannot be opened: {error}") from None
        engine = create_engine(_sqlite_url(path.resolve(), use == "read"), connect_args={"timeout": WAIT})
        event.listen(engine, "connect", _sqlite_connect)
        if use == "begin":  # else it stays as it was begun
            event.listen(engine, "connect", _sqlite_write_ahead)
        event.listen(engine, "begin", _sqlite_begin)
        return str(path), path.absolute(), engine
    if parsed.get_backend_name() not in ("postgresql", "postgres"):
        raise TrailError(f"an audit trail is kept in an SQLite file or in PostgreSQL, not in {name}")
    try:
        import psycopg  # noqa: F401
    except ImportError:
        raise MissingExtra('PostgreSQL needs a driver: pip install "realface[postgres]"') from None
    parsed = parsed.set(drivername="postgresql+psycopg", query={**_PATIENCE, **parsed.query})
    engine = create_engine(parsed, pool_pre_ping=True)
    event.listen(engine, "begin", _postgresql_begin)
    return name, None, engine


def _sqlite_url(path: Path, read_only: bool) -> URL:
    """Of a file that is there: another one is not begun in its place later."""
    log = Path(f"{path}-wal").exists()
    options = {"uri": "true", "mode": "ro" if read_only and log else "rw"}  # "rw" ends a log, "ro" leaves one behind
    if read_only and not log and not (os.access(path, os.W_OK) and os.access(path.parent, os.W_OK)):
        options["immutable"] = "1"  # else SQLite would put a log beside it even to read
    return URL.create("sqlite", database=path.as_uri(), query=options)


def _sqlite_connect(connection: Any, _: object) -> None:
    connection.isolation_level = None  # transactions begin where `_sqlite_begin` says, not where Python thinks
    for pragma in ("synchronous=FULL", "secure_delete=ON"):
        connection.execute(f"PRAGMA {pragma}")


def _sqlite_write_ahead(connection: Any, _: object) -> None:
    connection.execute("PRAGMA journal_mode=WAL")


def _sqlite_begin(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE" if connection.get_execution_options()["writes"] else "BEGIN")


def _postgresql_begin(connection: Connection) -> None:
    connection.exec_driver_sql("SET LOCAL synchronous_commit = on; SET LOCAL lock_timeout = '30s'")
