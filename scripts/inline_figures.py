"""Measured figures within sentences, taken from results/*.json as the tables of `figures.py` are.

    <!-- figure: best/figures/all/auc as .4f -->0.9966<!-- end -->

Steps lead from the name of a results file to a number; a step `*` takes the largest number of all that lie there.
`A over B` divides. The form is Python's; percentages get a space before their sign.
"""

import json
import re
from pathlib import Path
from typing import Any

FIGURE = re.compile(r"(<!-- figure: (.+?) as (\S+) -->)(.*?)(<!-- end -->)", re.DOTALL)


def rendered(text: str, results: Path) -> str:
    """The text with every marked figure made anew from the files in `results`.

    Raises:
        ValueError: a figure's steps lead nowhere.
    """

    def figure(match: re.Match[str]) -> str:
        parts = [_number(address, results) for address in match[2].split(" over ")]
        number = parts[0] / parts[1] if parts[1:] else parts[0]
        return f"{match[1]}{format(number, match[3]).replace('%', ' %')}{match[5]}"

    return FIGURE.sub(figure, text)


def _number(address: str, results: Path) -> Any:
    name, *steps = address.split("/")
    try:
        found: list[Any] = [json.loads((results / f"{name}.json").read_text(encoding="utf-8"))]
        for step in steps:
            found = (
                [x for at in found for x in at.values()] if step == "*" else [at[step] for at in found if step in at]
            )
        return max(found)
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise ValueError(f"there is no figure {address!r} in {results}: {error}") from None
