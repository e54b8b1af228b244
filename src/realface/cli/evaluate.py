"""The command line: measuring detectors, thin as the rest."""

import json
from pathlib import Path
from typing import Annotated

import typer

from ..detector import Detector
from .options import DetectorOption, need_folder, need_training


def evaluate(
    data: Annotated[Path, typer.Argument(help="Labelled pictures, in any layout that `train` takes.")],
    detector: DetectorOption = "best",
    split: Annotated[str, typer.Option(help="train, valid, test or all.")] = "test",
    source: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Only pictures of this source; repeatable.")
    ] = None,
    every: Annotated[int, typer.Option(min=1, metavar="N", help="One in N of the pictures, to be done sooner.")] = 1,
    grid: Annotated[
        bool, typer.Option("--grid", help="Judge every face recompressed, resized, blurred, … too; takes far longer.")
    ] = False,
    out: Annotated[Path | None, typer.Option(help="Write the figures here, as JSON.")] = None,
) -> None:
    """Measure a detector on labelled pictures, in all and by source."""
    need_training()
    from ..evaluation.evaluate import evaluate as measure
    from ..evaluation.grid import grid_table
    from ..evaluation.metrics import promises, table

    need_folder(out)
    judge = Detector.load(detector)
    result = measure(judge, data, split, source or (), grid=grid, every=every)
    print(f"{table(result['figures'])}\n\n{promises(result['figures']['all'], judge.card.policy)}")
    if grid:
        print(f"\n{grid_table(result['grid'])}")
    if out:
        out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
