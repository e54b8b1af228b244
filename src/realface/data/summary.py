"""An audit as text for a person."""

from collections import Counter
from collections.abc import Iterator
from itertools import groupby
from textwrap import fill

from ..harmless import printable
from .audit import Audit, Group, some
from .layouts import NAMES, SPLITS
from .shortcuts import FINE

_SHOWN = 8
_SOURCES = 50
"""Of a long list, so many are printed; the JSON has all."""


def summary(audit: Audit) -> str:
    """What was found: balance, files, copies, shortcuts, and the problems and notes drawn from them."""
    parts = [_balance(audit), _one_class(audit), _unreadable(audit), *_copies(audit), _shortcuts(audit)]
    for title, told in (("Problems", audit.problems), ("To know", audit.notes)):
        parts.append(_listed(title, list(map(printable, told))))
    parts += [] if audit.problems else ["No problems found."]
    return "\n\n".join(filter(None, parts))


def _balance(audit: Audit) -> str:
    columns = [(split, name) for name in NAMES for split in SPLITS]
    sizes = Counter(sample.source for sample in audit.samples)
    largest = sorted(source for source, _ in sizes.most_common(_SOURCES)) if any(sizes) else []
    rows = [
        (printable(source) or "(not said)", [audit.counts[source, *column] for column in columns]) for source in largest
    ]
    rows.append(("all pictures", [audit.count(*column) for column in columns]))
    width = max(len(title) for title, _ in rows)
    lines = [" " * width + "".join(f"{name + ' ' + split:>12}" for split, name in columns)]
    lines += [f"{title:<{width}}" + "".join(f"{cell or '-':>12}" for cell in cells) for title, cells in rows]
    if len(sizes) > _SOURCES:
        lines.insert(-1, f"and {len(sizes) - _SOURCES:,} smaller sources")
    return "\n".join(lines)


def _one_class(audit: Audit) -> str:
    kinds = {name: [printable(source) for source, own in audit.one_class.items() if own == name] for name in NAMES}
    told = [f"{name}: {some(sources, _SOURCES)}" for name, sources in kinds.items() if sources]
    lines = [fill(line, 120, initial_indent="  ", subsequent_indent="    ", break_on_hyphens=False) for line in told]
    return "\n".join(["Sources of one class only", *lines]) if lines else ""


def _unreadable(audit: Audit) -> str:
    told = [printable(f"{path}: {reason}") for path, reason in audit.unreadable.items()]
    return _listed("Unreadable", told, _SHOWN)


def _copies(audit: Audit) -> Iterator[str]:
    for title, groups in (("The same, byte for byte", audit.exact), ("Near copies", audit.near)):
        worst_first = sorted(groups, key=lambda g: (len(g.labels), len(g.splits)), reverse=True)
        yield _listed(title, [_group(audit, group) for group in worst_first], _SHOWN)


def _group(audit: Audit, group: Group) -> str:
    samples = [audit.samples[row] for row in group.rows]
    told = "\n    ".join(f"{s.split} {NAMES[s.label]}  {printable(str(s.path))}" for s in samples[:_SHOWN])
    return told + (f"\n    and {len(samples) - _SHOWN:,} more" if len(samples) > _SHOWN else "")


def _shortcuts(audit: Audit) -> str:
    """All facts for all pictures; for a source with enough of them, the facts that tell something."""
    measured = [s for s in audit.shortcuts if not s.source or s.auc is not None]
    lines = ["Shortcuts: how well a fact alone tells the label (0.5 is chance)"]
    for source, group in groupby(measured, key=lambda s: s.source):
        found = list(group)
        told = [s for s in found if not source or s.verdict != FINE]
        lines.append(f"  in {printable(source) or 'all pictures'}")
        lines += [f"    {s}" for s in told]
        if len(told) < len(found):
            best = max(s.auc or 0 for s in found if s not in told)
            lines.append(
                f"    the {len(found) - len(told)} {'other ' if told else ''}facts: fine (AUC {best:.2f} at most)"
            )
    return "\n".join(lines)


def _listed(title: str, items: list[str], most: int = 1_000) -> str:
    lines = [f"  - {item}" for item in items[:most]]
    lines += [f"  and {len(items) - most:,} more"] if len(items) > most else []
    return "\n".join([f"{title} ({len(items):,})", *lines]) if items else ""
