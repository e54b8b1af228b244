"""The command line: `realface scan`, thin as the rest."""

import shlex
import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from typer.core import TyperGroup

from ..errors import DataError, Unreachable
from ..images import Limits
from .options import TABLES, fail, need, need_folder, need_form

_PICTURES = "pictures"


class _Scan(TyperGroup):
    """`scan SOURCE…` beside `scan summary FILE`: what does not begin with that word is the former."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        return super().parse_args(ctx, args if args[:1] == ["summary"] else [_PICTURES, *args])

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        name, command, rest = super().resolve_command(ctx, args)
        return "" if name == _PICTURES else name, command, rest


scan_app = typer.Typer(cls=_Scan, help="Judge archives of pictures; sum up what was found.")


@scan_app.command(_PICTURES, epilog="realface scan summary FILE.parquet says which folders hold fakes.")
def scan(
    sources: Annotated[
        list[str],
        typer.Argument(
            metavar="SOURCE...", help="Folders, files, globs, .tar shards, URLs such as s3://…, .txt lists of these."
        ),
    ],
    out: Annotated[Path, typer.Option(metavar="FILE.parquet", help="The table to write.")],
    detector: Annotated[
        str, typer.Option(help="fast, best, a detector file, or auto: what fast is unsure of is judged by best.")
    ] = "fast",
    resume: Annotated[bool, typer.Option("--resume", help="Go on where a scan to --out stopped, or begin.")] = False,
    workers: Annotated[
        int | None,
        typer.Option(min=1, max=1024, help="Processes that judge.  [default: one a core]", show_default=False),
    ] = None,
    engine: Annotated[
        Literal["local", "ray"], typer.Option(help="This machine's processes, or those of a Ray cluster.")
    ] = "local",
    address: Annotated[
        str | None, typer.Option(help="Of the Ray cluster.  [default: RAY_ADDRESS, else one on this machine]")
    ] = None,
    max_megabytes: Annotated[int, typer.Option(min=1, help="Larger files are not read.")] = Limits().max_bytes // 2**20,
    max_megapixels: Annotated[
        int, typer.Option(min=1, max=178, help="Larger pictures are not read.")
    ] = Limits().max_pixels // 10**6,
) -> None:
    """Judge every picture of SOURCE and write a row for each to a Parquet file, in the order of the source.

    Stopped or killed, the same command with --resume goes on.
    Exit status: 0 all answered, 1 some could not be or show no face, 2 wrong usage, 130 stopped.
    """
    need("scan")
    need_folder(out)
    need_form(out, "a Parquet file", *TABLES)
    if address and engine != "ray":
        raise DataError("--address is that of a Ray cluster; add --engine ray")
    from ..scan.run import scan as run_scan
    from ..scan.summary import summary as sum_up

    try:
        begun = run_scan(
            sources,
            out,
            detector=detector,
            resume=resume,
            engine=engine,
            workers=workers,
            address=address,
            limits=Limits(max_megabytes * 2**20, max_megapixels * 1_000_000),
        )
    except KeyboardInterrupt:
        words = [word for word in sys.argv[2:] if word != "--resume"]
        fail(f"stopped; go on with: realface scan --resume {shlex.join(words)}", 130)
    found = sum_up(out)
    print(found.told(20))
    if begun:
        print(f"\n{out} holds a row for each picture. A verdict is a hint for a person, not proof.")
    else:
        print(f"\n{out} was finished before, and nothing was looked at again; for new pictures name another --out.")
    if Unreachable.code in found.answers:
        print("Pictures that were unreachable are asked for again by the same command with --resume.")
    raise typer.Exit(0 if found.answered else 1)


@scan_app.command()
def summary(
    file: Annotated[Path, typer.Argument(metavar="FILE.parquet", help="The --out of a scan, finished or not.")],
    top: Annotated[int, typer.Option(min=1, help="Folders to list.")] = 20,
) -> None:
    """Say what a scan found, and which folders hold fakes."""
    need("scan")
    from ..scan.summary import summary as sum_up

    print(sum_up(file).told(top))
