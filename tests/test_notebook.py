"""The notebook runs from its first cell to its last, and what is stored of it is such a run."""

import re
from pathlib import Path

import nbformat
import pytest
from conftest import in_turns
from execute_notebook import NOTEBOOK, executed
from nbclient import NotebookClient
from PIL import Image
from skimage.data import astronaut

ABSOLUTE = re.compile(r"(?<![\w.])/(home|root|tmp|usr|opt|work|Users|var)/|[A-Z]:\\\\")


def texts(node: nbformat.NotebookNode) -> str:
    """Everything a notebook's cells say in words; the pictures left out."""
    said = []
    for cell in node.cells:
        said.append(cell.source)
        for output in cell.get("outputs", []):
            said.append(output.get("text", ""))
            said += [value for kind, value in output.get("data", {}).items() if not kind.startswith("image/")]
    return "\n".join(said)


def test_it_runs_on_drawn_faces(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("REALFACE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("REALFACE_DATA", str(tmp_path / "pictures of somebody"))  # never gets into what is stored
    monkeypatch.setenv("REALFACE_NETWORKS", "notebook-small texture-gram")  # the export of each takes seconds
    fresh = executed(nbformat.read(NOTEBOOK, 4))
    said = texts(fresh)
    assert "chosen: " in said
    assert "best of 2 trials" in said
    assert "f1-score" in said
    assert "somebody" not in said
    for name in ("notebook-small", "texture-gram"):
        assert f"| {name} | 8 | 8 |" in said, f"no validation figures of {name}"
    assert not ABSOLUTE.search(said)


def test_it_runs_on_pictures_of_your_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Up to the training, which is told that the published weights were not fetched, and goes on."""
    head = Image.fromarray(astronaut()).crop((120, 0, 320, 200))
    in_turns(tmp_path / "mine", (head.point(lambda level, i=i: level * (100 - i) // 100) for i in range(24)))
    for name, value in {
        "REALFACE_DATA": str(tmp_path / "mine"),
        "REALFACE_NETWORKS": "efficientnet-lite0",
        "REALFACE_CACHE": str(tmp_path / "cache"),
        "IPYTHONDIR": str(tmp_path / "ipython"),
    }.items():
        monkeypatch.setenv(name, value)
    notebook = nbformat.read(NOTEBOOK, 4)
    end = next(i for i, cell in enumerate(notebook.cells) if cell.source.startswith("## Tuning"))
    notebook.cells = notebook.cells[:end]
    NotebookClient(notebook, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}).execute()
    said = texts(notebook)
    assert "Shortcuts" in said
    assert "efficientnet-lite0: this starts from published weights; fetch them once with:" in said
    assert (tmp_path / "runs" / "mine").is_dir()


def test_the_stored_run_is_whole_small_and_tells_of_no_machine() -> None:
    stored = nbformat.read(NOTEBOOK, 4)
    nbformat.validate(stored)
    code = [cell for cell in stored.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1)), "run: make notebook"
    outputs = [output for cell in code for output in cell.outputs]
    assert {output.output_type for output in outputs} <= {"stream", "display_data", "execute_result"}
    assert not any(output.get("name") == "stderr" for output in outputs)
    assert sum(bool({"image/jpeg", "image/png"} & output.get("data", {}).keys()) for output in outputs) >= 4
    assert not ABSOLUTE.search(texts(stored))
    assert NOTEBOOK.stat().st_size < 300_000
