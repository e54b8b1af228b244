"""The site builds without a warning and loads nothing from elsewhere; the command reference is what the code says."""

import re
from pathlib import Path

import docs


def test_the_command_line_reference_is_what_the_code_says() -> None:
    assert docs.CLI.read_text(encoding="utf-8") == docs.cli_reference(), "run: python scripts/docs.py cli"


def test_the_site_builds_and_loads_nothing_from_elsewhere(tmp_path: Path) -> None:
    built = docs.build(tmp_path)
    assert (built.returncode, built.stdout + built.stderr) == (0, "")
    pages = {path.relative_to(tmp_path).with_suffix("") for path in tmp_path.rglob("*.html")}
    folder, slides = docs.ROOT / "docs", Path("presentation", "index")
    assert pages > {path.relative_to(folder).with_suffix("") for path in folder.glob("**/*.md")} | {slides}
    loads = re.compile(r"<(?:script|img|iframe|source)\b[^>]*?\ssrc=\"([^\"]*)|<link\b[^>]*?\shref=\"([^\"]*)")
    for path in tmp_path.rglob("*.html"):
        found = ["".join(match) for match in loads.findall(path.read_text(encoding="utf-8"))]
        assert found or path == tmp_path / slides.with_suffix(".html"), path
        assert not [target for target in found if re.match(r"[a-z]+:|//", target)], path
    for path in tmp_path.rglob("*.css"):
        assert not re.search(r"(?:url\(|@import)\s*[\"']?(?:https?:)?//", path.read_text(encoding="utf-8")), path
