"""How Sphinx builds the site from the documents of this folder: `python scripts/docs.py site`."""

import re
import shutil
from pathlib import Path

from sphinx.application import Sphinx

import realface

project = "realface"
copyright = "the authors of realface, MIT licence"
release = version = realface.__version__
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
source_suffix = {".md": "markdown"}
exclude_patterns = ["presentation"]
myst_heading_anchors = 3  # sections can be linked to as on a code host
default_role = "code"  # docstrings put code between single backticks
napoleon_use_ivar = True
napoleon_use_rtype = False
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
html_theme = "furo"
html_title = f"realface {release}"
html_copy_source = False
html_show_sphinx = False

ROOT = Path(__file__).resolve().parent.parent
AT_THE_ROOT = {  # page of the site: the document at the root of the repository that it shows
    "model-card": "MODEL_CARD.md",
    "contributing": "CONTRIBUTING.md",
    "changelog": "CHANGELOG.md",
    "security": "SECURITY.md",
}


def at_the_root(app: Sphinx, page: str, source: list[str]) -> None:
    """Show documents of the root as pages, and let links lead to pages, from wherever they come."""
    name = AT_THE_ROOT.get(page)
    if name and (ROOT / name).exists():
        source[0] = (ROOT / name).read_text(encoding="utf-8").replace("](docs/", "](")
    up = "../" * page.count("/")
    for shown, document in {**AT_THE_ROOT, "index": "README.md"}.items():
        source[0] = re.sub(rf"\]\((\.\./)*{re.escape(document)}", f"]({up}{shown}.md", source[0])


def slides(app: Sphinx, error: Exception | None) -> None:
    """Put the slides beside the pages: one file that is a page already."""
    (folder := Path(app.outdir, "presentation")).mkdir(exist_ok=True)
    shutil.copy(ROOT / "docs" / "presentation" / "index.html", folder)


def setup(app: Sphinx) -> None:
    app.connect("source-read", at_the_root)
    app.connect("build-finished", slides)
