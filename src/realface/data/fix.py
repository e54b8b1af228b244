"""`realface data audit --fix`: the same data set without its copies and leaks, as a manifest."""

import csv
import os
from pathlib import Path

from ..errors import DataError
from .audit import Audit
from .layouts import NAMES

_KEPT_FIRST = ("test", "valid", "train")
"""A picture in several splits stays in the first of these: what was measured before can be measured again."""


def kept_rows(audit: Audit) -> list[int]:
    """Rows of `audit.samples` that stay; none changes its split or label.

    Of files with the same bytes one stays, or none if their labels differ, for nobody knows which is right. Near
    copies stay in one split only, all of those in it.
    """
    gone: set[int] = set()

    def order(row: int) -> int:
        return _KEPT_FIRST.index(audit.samples[row].split)

    for group in audit.exact:
        gone |= set(group.rows)
        if len(group.labels) == 1:
            gone.remove(min(group.rows, key=order))
    for group in audit.near:
        left = [row for row in group.rows if row not in gone]
        gone |= {row for row in left if order(row) > min(map(order, left))}
    return [row for row in range(len(audit.samples)) if row not in gone]


def check_target(data: str | Path, out: Path) -> None:
    """Refuse to write `out` over the manifest of `data`, before any work is done.

    Raises:
        DataError
    """
    if any(out.resolve() == Path(data, name).resolve() for name in ("", "manifest.csv")):
        raise DataError(f"{out} is the manifest that is audited; give the new one another name")


def fix(audit: Audit, out: Path) -> int:
    """Write what stays as a manifest, with paths relative to it where possible.

    Returns:
        How many pictures stay.

    Raises:
        DataError: it cannot be written, or would replace the manifest that was audited.
    """
    check_target(audit.data, out)
    rows = kept_rows(audit)
    try:
        with out.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(["path", "label", "source", "split", "generator", "sha256"])
            for row in rows:
                s = audit.samples[row]
                path = _relative(s.path, out)
                writer.writerow([path, NAMES[s.label], s.source, s.split, s.generator, audit.sha256[row]])
    except (OSError, UnicodeEncodeError) as error:
        raise DataError(f"{out}: cannot be written: {error}") from None
    return len(rows)


def _relative(path: Path, out: Path) -> str:
    path = path.parent.resolve() / path.name
    try:
        return Path(os.path.relpath(path, out.parent.resolve())).as_posix()
    except ValueError:  # on another drive
        return path.as_posix()
