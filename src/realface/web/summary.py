"""All answers in one table: on the page, and as CSV to take away."""

import csv
import io
from collections.abc import Sequence

from ..harmless import cell
from ..report import summary_row, summary_table, text_of
from ..results import Verdict
from ..words import highest, kind

COLUMNS = ("file", "sha256", "verdict", "faces", "probability_fake", "error")


def table(verdicts: Sequence[Verdict]) -> str:
    """The table for the page; `path` of each verdict is the name of its file."""
    return summary_table([summary_row(text_of(verdict.path or ""), verdict) for verdict in verdicts])


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
