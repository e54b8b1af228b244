"""Text from anywhere, made harmless for where it is shown."""

import unicodedata


def printable(text: str) -> str:
    """A text without what could drive a terminal or turn the direction of writing: that is written as its escape."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def cell(value: object) -> object:
    """A cell of a CSV file that no spreadsheet takes for a formula: a file can be called =HYPERLINK(…)."""
    if not isinstance(value, str):
        return value
    plain = unicodedata.normalize("NFKC", value).lstrip()  # full-width signs count too
    return f"'{value}" if plain.startswith(("=", "+", "-", "@")) else value
