"""The table of `realface check`: one line for each face, and for each picture that has none."""

from .harmless import printable
from .results import REASONS, Face, Verdict
from .words import percents

HEAD = f"{'verdict':<13} {'real':>7} {'fake':>7}  picture"


def rows(verdict: Verdict) -> str:
    """The lines of one picture; a name cannot drive the terminal it is printed on."""
    name = printable(verdict.path or "")
    if verdict.error:
        return _row("error", None, f"{name}: {verdict.error.message}")
    lines = [] if verdict.faces else [_row("no face", None, f"{name}: no face was found")]
    for number, face in enumerate(verdict.faces, 1):
        told = f"{name}, face {number}" if len(verdict.faces) > 1 else name
        lines.append(_row(face.verdict.upper(), face, f"{told}{_note(face)}"))
    if verdict.provenance:
        lines.append(f"{'':<13} the file says: {'; '.join(map(str, verdict.provenance))}")
    return "\n".join(lines)


def _note(face: Face) -> str:
    """Why a face cannot be judged, or whether its verdict holds, where that was asked."""
    if face.reason:
        return f": {REASONS[face.reason]}"
    if face.stability is None:
        return ""
    changes = [f"{trial.verdict} after {trial.change}" for trial in face.stability if trial.verdict != face.verdict]
    return f": {', '.join(changes) or 'holds'}"


def _row(word: str, face: Face | None, told: str) -> str:
    real, fake = percents(face.probability.fake) if face and not face.reason else ("-", "-")
    return f"{word:<13} {real:>7} {fake:>7}  {told}"
