"""The model card as a page of the app can show it."""

import re
from pathlib import Path

PACKAGE = Path(__file__).parents[1]


def model_card(package: Path = PACKAGE) -> str:
    """Markdown of the card: it lies beside the detector of an installed package, or at the root of the repository."""
    for place in (package / "weights" / "MODEL_CARD.md", package.parents[1] / "MODEL_CARD.md"):
        if place.is_file():
            return _plain(place.read_text(encoding="utf-8"))
    return "There is no model card beside this program."


def _plain(markdown: str) -> str:
    """Without comments, pictures, and links into the repository, which lead nowhere from the app."""
    markdown = re.sub(r"<!--.*?-->|!\[[^\]]*\]\([^)]*\)", "", markdown, flags=re.DOTALL)
    markdown = re.sub(r"\[([^\]]*)\]\((?!https?://)[^)]*\)", r"\1", markdown)
    return markdown.replace("$", r"\$")  # else Streamlit takes what is between two for a formula
