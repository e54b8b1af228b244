"""The two tables of a trail, and the triggers by which the database itself refuses to change what was written."""

from sqlalchemy import BigInteger, CheckConstraint, Column, Connection, Integer, MetaData, Table, Text, inspect, text

from ..errors import TrailError
from .chain import NAMES, START

METADATA = MetaData()
_NULL = {"sha256", "verdict"}
RECORDS = Table(
    "realface_trail",
    METADATA,
    Column("n", BigInteger, primary_key=True, autoincrement=False),
    *(Column(name, Text, nullable=name in _NULL) for name in (*NAMES[1:], "hash")),
)
HEAD = Table(  # one row: number and hash of the last record, and how many of the first ones were removed
    "realface_trail_head",
    METADATA,
    Column("id", Integer, CheckConstraint("id = 1"), primary_key=True, autoincrement=False),
    Column("n", BigInteger, nullable=False),
    Column("hash", Text, nullable=False),
    Column("pruned", BigInteger, nullable=False),
)

# Records are added behind the last and removed up to `pruned`, which only grows. BEFORE INSERT stops INSERT OR REPLACE.
_SAID = "'the audit trail is append-only'"
_SQLITE = {
    "BEFORE UPDATE ON realface_trail": "1",
    "BEFORE DELETE ON realface_trail": "OLD.n > (SELECT pruned FROM realface_trail_head)",
    "BEFORE INSERT ON realface_trail": "NEW.n <= (SELECT n FROM realface_trail_head)",
    "BEFORE UPDATE ON realface_trail_head": "NOT (NEW.n > OLD.n AND NEW.pruned BETWEEN OLD.pruned AND OLD.n)",
    "BEFORE DELETE ON realface_trail_head": "1",
    "BEFORE INSERT ON realface_trail_head": "EXISTS (SELECT 1 FROM realface_trail_head)",
}
_POSTGRESQL = f"""
CREATE FUNCTION realface_trail_guard() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF TG_OP = 'DELETE' AND TG_TABLE_NAME = 'realface_trail' THEN
    IF OLD.n <= (SELECT pruned FROM realface_trail_head) THEN RETURN OLD; END IF;
  ELSIF TG_OP = 'INSERT' THEN
    IF NEW.n > (SELECT n FROM realface_trail_head) THEN RETURN NEW; END IF;
  ELSIF TG_OP = 'UPDATE' AND TG_TABLE_NAME = 'realface_trail_head' THEN
    IF NEW.n > OLD.n AND NEW.pruned BETWEEN OLD.pruned AND OLD.n THEN RETURN NEW; END IF;
  END IF;
  RAISE EXCEPTION {_SAID};
END $$;
CREATE TRIGGER realface_trail_rows BEFORE INSERT OR UPDATE OR DELETE ON realface_trail
  FOR EACH ROW EXECUTE FUNCTION realface_trail_guard();
CREATE TRIGGER realface_trail_all BEFORE TRUNCATE ON realface_trail EXECUTE FUNCTION realface_trail_guard();
CREATE TRIGGER realface_trail_rows BEFORE UPDATE OR DELETE ON realface_trail_head
  FOR EACH ROW EXECUTE FUNCTION realface_trail_guard();
CREATE TRIGGER realface_trail_all BEFORE TRUNCATE ON realface_trail_head EXECUTE FUNCTION realface_trail_guard();
"""


def prepare(connection: Connection, name: str, *, create: bool) -> None:
    """Make the tables where there are none, in a transaction that writes.

    Raises:
        TrailError: there are none and none are to be made, or they are not those of a trail.
    """
    sqlite = connection.dialect.name == "sqlite"
    if create and not sqlite:
        connection.execute(text("SELECT pg_advisory_xact_lock(727146)"))  # two servers may start at once
    there = inspect(connection)
    for table in METADATA.tables.values():
        if there.has_table(table.name):
            if {column["name"] for column in there.get_columns(table.name)} != set(table.columns.keys()):
                raise TrailError(f"{name}: its table {table.name} is not that of this version of realface")
        elif not create:
            raise TrailError(f"there is no audit trail in {name}; check the address")
    if create and not there.has_table(RECORDS.name):
        METADATA.create_all(connection)
        connection.execute(HEAD.insert().values(id=1, n=0, hash=START, pruned=0))
        guards = [
            f"CREATE TRIGGER realface_trail_{i} {when} WHEN {wrong} BEGIN SELECT RAISE(ABORT, {_SAID}); END"
            for i, (when, wrong) in enumerate(_SQLITE.items())
        ]
        for guard in guards if sqlite else [_POSTGRESQL]:
            connection.exec_driver_sql(guard)
