"""The command line: `realface audit`, thin as the rest."""

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import TrailError
from ..harmless import printable
from .options import need_folder

if TYPE_CHECKING:
    from ..trail.trail import Records

audit_app = typer.Typer(help="The audit trail of `realface serve`: check, export and shorten it.", no_args_is_help=True)
TrailArgument = Annotated[
    str,
    typer.Argument(
        metavar="URL", envvar="REALFACE_TRAIL", help="An SQLite file, or postgresql://USER:PASSWORD@HOST/NAME."
    ),
]


@audit_app.command()
def verify(
    url: TrailArgument,
    expect: Annotated[
        list[str] | None, typer.Option(metavar="HASH", help="A last hash noted earlier; repeatable.")
    ] = None,
) -> None:
    """Check that no record was changed, removed, moved or put in, and print the last hash to note elsewhere.

    Exit status: 0 the chain holds, 1 it does not, 2 it could not be read, or HASH is no hash.
    """
    from ..trail import Trail

    hashes = [hash_.strip().lower() for hash_ in expect or ()]
    for hash_ in hashes:
        if not re.fullmatch("[0-9a-f]{64}", hash_):
            raise TrailError(f"--expect {hash_}: this is no hash; give all 64 hexadecimal digits that were noted")
    walk = Trail(url, "read").verify(hashes, _progress)
    print(f"{walk.records:,} records, and {walk.pruned:,} older ones that were removed")
    print(f"last record: {walk.n}\nlast hash: {printable(str(walk.hash))}", *walk.problems, sep="\n")
    if walk.count > len(walk.problems):
        print(f"and {walk.count - len(walk.problems):,} more such records")
    print("The trail was changed or is damaged." if walk.count else "The chain holds.")
    raise typer.Exit(1 if walk.count else 0)


@audit_app.command()
def export(
    url: TrailArgument,
    out: Annotated[Path, typer.Option(metavar="FILE", help="A .jsonl, .csv or .parquet file to write.")],
) -> None:
    """Write every record to a file, for other programs or to keep."""
    from ..trail import Trail
    from ..trail.export import export as write

    need_folder(out)
    count = write(Trail(url, "read"), out, _progress)
    print(f"{count:,} records are in {out}")


@audit_app.command()
def prune(
    url: TrailArgument,
    before: Annotated[datetime, typer.Option(help="Remove records older than this, in UTC.")],
    by: Annotated[str, typer.Option(metavar="NAME", help="Who removes them; it is recorded.")],
) -> None:
    """Remove the oldest records for good, and add one that says how many, up to which hash, and who did it."""
    from ..trail import Trail

    count = Trail(url, "change").prune(before.replace(tzinfo=UTC), by, _progress)
    print("1 record was removed" if count == 1 else f"{count:,} records were removed")


def _progress(rows: "Records", total: int) -> "Records":
    from ..progress import track

    return track(rows, "records", total)
