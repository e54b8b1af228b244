"""Text from anywhere, made harmless for where it is shown."""

import re
import unicodedata


def printable(text: str) -> str:
    """A text without what could drive a terminal or turn the direction of writing: that is written as its escape."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def cell(value: object) -> object:
    """A cell of a CSV file that no spreadsheet takes for a formula: a file can be called =HYPERLINK(…).

    Where commas are decimal, spreadsheets end a cell at a semicolon, and some do at a tab.
    """
    return "".join(map(_inert, re.split("([;\t])", value))) if isinstance(value, str) else value


def _inert(text: str) -> str:
    plain = unicodedata.normalize("NFKC", text).lstrip()  # full-width signs count too
    return f"'{text}" if plain.startswith(("=", "+", "-", "@")) else text
