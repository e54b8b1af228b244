"""All answers in one table: on the page, and as CSV to take away."""

import csv
import io
from collections.abc import Sequence
from html import escape

from ..harmless import cell
from ..report import text_of
from ..results import Verdict
from ..words import WORDS, highest, kind, percents

COLUMNS = ("file", "sha256", "verdict", "faces", "probability_fake", "error")


def table(verdicts: Sequence[Verdict]) -> str:
    """The table for the page; `path` of each verdict is the name of its file."""
    head = "".join(f'<th scope="col">{name}</th>' for name in ("Picture", "Verdict", "Faces", "Fake"))
    rows = ""
    for verdict in verdicts:
        word, fake = WORDS[kind(verdict)][0], highest(verdict)
        probability = "-" if fake is None else escape(percents(fake)[1])
        cells = f"<td>{word}</td><td>{len(verdict.faces)}</td><td>{probability}</td>"
        if verdict.error:
            cells = f'<td colspan="3">{word}: {escape(verdict.error.message)}</td>'
        rows += f'<tr><th scope="row">{text_of(verdict.path or "")}</th>{cells}</tr>'
    caption = "<caption>All pictures; of several faces, the highest probability of fake</caption>"
    return f"<table>{caption}<thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"


def to_csv(verdicts: Sequence[Verdict]) -> bytes:
    """The same for a spreadsheet, in UTF-8 with the mark by which Excel knows it."""
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(COLUMNS)
    for verdict in verdicts:
        fake = highest(verdict)
        probability = "" if fake is None else f"{fake:.6f}"
        error = verdict.error.message if verdict.error else ""
        row = (verdict.path or "", verdict.sha256 or "", kind(verdict), len(verdict.faces), probability, error)
        writer.writerow([cell(value) for value in row])
    return text.getvalue().encode("utf-8-sig", "backslashreplace")
