"""Cells of a CSV file that a spreadsheet may open."""

import unicodedata


def harmless(cell: object) -> object:
    """A cell that no spreadsheet takes for a formula: a file can be called =HYPERLINK(…)."""
    if not isinstance(cell, str):
        return cell
    plain = unicodedata.normalize("NFKC", cell).lstrip()  # full-width signs count too
    return f"'{cell}" if plain.startswith(("=", "+", "-", "@")) else cell
