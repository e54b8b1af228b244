"""Execute notebooks/real_or_fake_faces.ipynb on its drawn faces and store it with what it shows: `make notebook`.

Needs the extra `notebook`. The data is always the drawings, so that no picture of anybody gets into the repository.
"""

import os
import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient

NOTEBOOK = Path(__file__).resolve().parent.parent / "notebooks" / "real_or_fake_faces.ipynb"


def executed(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """The notebook after a run in an empty folder, without what differs from run to run for no reason.

    Raises:
        nbclient.exceptions.CellExecutionError: a cell failed.
    """
    kept = {name: value for name, value in os.environ.items() if name != "REALFACE_DATA"}
    with tempfile.TemporaryDirectory() as folder:
        environment = kept | {
            "PYTHONPATH": os.pathsep.join(filter(None, [str(NOTEBOOK.parent), kept.get("PYTHONPATH")])),
            "IPYTHONDIR": str(Path(folder, "ipython")),
            "REALFACE_CACHE": kept.get("REALFACE_CACHE", str(Path(folder, "cache"))),
            "COLUMNS": "100",
        }
        client = NotebookClient(
            notebook,
            kernel_name="python3",
            timeout=1800,
            startup_timeout=600,
            record_timing=False,
            resources={"metadata": {"path": folder}},
        )
        client.execute(env=environment)
    for cell in notebook.cells:
        if cell.cell_type == "code":  # a progress bar that is over leaves an empty output
            cell.outputs = [output for output in cell.outputs if output.get("data", {}).get("text/plain") != ""]
    notebook.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    return notebook


def main() -> None:
    nbformat.write(executed(nbformat.read(NOTEBOOK, 4)), NOTEBOOK)
    print(f"{NOTEBOOK.name}: {NOTEBOOK.stat().st_size / 1000:.0f} KB")


if __name__ == "__main__":
    main()
