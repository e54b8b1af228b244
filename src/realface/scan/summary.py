"""What a scan found, in a few lines; DuckDB reads the table piece by piece."""

import os
from dataclasses import dataclass
from pathlib import Path

import duckdb
import pyarrow as pa
from pyarrow import dataset

from ..errors import ScanError
from ..harmless import printable
from .parts import folder_of

_ALL = """
    SELECT coalesce(verdict, error_code, status) AS answer, count(*) AS pictures, any_value(status) AS status
    FROM scan GROUP BY ALL ORDER BY pictures DESC, answer
"""
_BETWEEN = r"/\\" if os.sep == "\\" else "/"
_WHERE = rf"(?is)^(?:(.*\.tar)::[^{_BETWEEN}]*$|(.*)[{_BETWEEN}])"  # other names may have :: in them
_FOLDERS = """
    SELECT regexp_extract(path, $where, 1) || regexp_extract(path, $where, 2) AS folder,
        count(*) FILTER (verdict = 'fake') AS fake,
        count(*) FILTER (verdict = 'inconclusive') AS inconclusive, count(*) AS pictures
    FROM scan GROUP BY folder HAVING fake > 0 ORDER BY fake DESC, folder
"""


@dataclass(frozen=True)
class Folder:
    """A folder, or a shard, that holds fakes: how many, and how many pictures in all."""

    path: str
    fake: int
    inconclusive: int
    pictures: int


@dataclass(frozen=True)
class Summary:
    """What a scan found.

    Attributes:
        answers: verdict, "no_face" or code of an error, to the number of pictures.
        folders: those that hold fakes, the most fakes first.
        answered: whether every picture got a verdict.
        finished: whether it is the result; else of the parts so far.
    """

    answers: dict[str, int]
    folders: tuple[Folder, ...]
    answered: bool
    finished: bool

    def told(self, top: int) -> str:
        """For a person, with at most `top` folders."""
        pictures = sum(self.answers.values())
        lines = [f"{pictures:,} pictures" + ("" if self.finished else " so far; the scan is not finished")]
        lines += [f"{count:>12,}  {printable(str(answer))}" for answer, count in self.answers.items()]
        if self.folders:
            lines += ["", f"{'fake':>12} {'inconclusive':>12} {'pictures':>12}  folder"]
        for f in self.folders[:top]:
            lines.append(f"{f.fake:>12,} {f.inconclusive:>12,} {f.pictures:>12,}  {printable(f.path or '.')}")
        if len(self.folders) > top:
            lines.append(f"and {len(self.folders) - top:,} more folders; --top shows more")
        return "\n".join(lines)


def summary(out: Path) -> Summary:
    """Sum up the result of a scan, or the parts of one that is not finished.

    Raises:
        ScanError: there is none.
    """
    files = [out] if out.exists() else sorted(folder_of(out).glob("*.parquet"))
    if not files:
        raise ScanError(f"{out} holds no result of a scan, and none is begun beside it; name the --out of one")
    try:
        with duckdb.connect() as connection:
            connection.register("scan", dataset.dataset([str(file.absolute()) for file in files], format="parquet"))
            answers = connection.execute(_ALL).fetchall()
            folders = connection.execute(_FOLDERS, {"where": _WHERE}).fetchall()
    except (duckdb.Error, pa.ArrowException, OSError):
        raise ScanError(f"{out} is not the result of a scan, or damaged; scan again with another --out") from None
    return Summary(
        {answer: pictures for answer, pictures, _ in answers},
        tuple(Folder(*row) for row in folders),
        all(status == "ok" for *_, status in answers),
        out.exists(),
    )
