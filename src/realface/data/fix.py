"""`realface data audit --fix`: the same data set without its copies and leaks, as a manifest."""

import csv
import io
import logging
import os
from collections.abc import Collection
from pathlib import Path

from ..harmless import printable
from ..paths import write_asked
from .audit import Audit
from .layouts import NAMES, check_target

_KEPT_FIRST = ("test", "valid", "train")
"""A picture in several splits stays in the first of these: what was measured before can be measured again."""

log = logging.getLogger(__name__)


def kept_rows(audit: Audit, without: Collection[int] = ()) -> list[int]:
    """Rows of `audit.samples` that stay, as if those `without` were not there; none changes its split or label.

    Of files with the same bytes one stays, or none if their labels differ, for nobody knows which is right. Near
    copies stay in one split only, all of those in it.
    """
    gone = set(without)

    def order(row: int) -> int:
        return _KEPT_FIRST.index(audit.samples[row].split)

    for group in audit.exact:
        left = [row for row in group.rows if row not in gone]
        gone |= set(left)
        if left and len(group.labels) == 1:
            gone.remove(min(left, key=order))
    for group in audit.near:
        left = [row for row in group.rows if row not in gone]
        gone |= {row for row in left if order(row) > min(map(order, left))}
    return [row for row in range(len(audit.samples)) if row not in gone]


def fix(audit: Audit, out: Path) -> int:
    """Write what stays as a manifest, whole or not at all, with paths relative to it where possible.

    Pictures whose paths are not text cannot be written down; they are left out, with a warning each.

    Returns:
        How many pictures stay.

    Raises:
        DataError: it cannot be written, or would replace the manifest that was audited.
    """
    check_target(audit.data, out)
    paths = [_relative(sample.path, out) for sample in audit.samples]
    unnamed = [row for row, path in enumerate(paths) if path.encode(errors="replace").decode() != path]
    for row in unnamed:
        log.warning("left out: %s (its name is not text; rename it)", printable(paths[row]))
    rows = kept_rows(audit, unnamed)
    text = io.StringIO()
    writer = csv.writer(text)  # lines end in \r\n: csv quotes no other such characters, and names can hold both
    writer.writerow(["path", "label", "source", "split", "generator", "sha256"])
    for row in rows:
        s = audit.samples[row]
        writer.writerow([paths[row], NAMES[s.label], s.source, s.split, s.generator, audit.sha256[row]])
    write_asked(out, text.getvalue().encode())
    return len(rows)


def _relative(path: Path, out: Path) -> str:
    path = path.parent.resolve() / path.name
    try:
        return Path(os.path.relpath(path, out.parent.resolve())).as_posix()
    except ValueError:  # on another drive
        return path.as_posix()
