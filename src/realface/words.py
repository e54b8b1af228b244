"""What people are told of an answer, in the same words and signs by the command line, the app and the report."""

from collections.abc import Sequence

from .detector import CHANGES
from .results import Claim, Verdict

WORDS = {
    "fake": ("FAKE", "made by a machine"),
    "real": ("REAL", "a photograph of a person"),
    "inconclusive": ("INCONCLUSIVE", "the detector cannot tell"),
    "no_face": ("NO FACE", "there is no face here to judge"),
    "error": ("NO ANSWER", "the picture could not be judged"),
}
SHAPES = {  # drawn in a 24 x 24 square; each verdict has a shape of its own, not only a colour
    "fake": '<path d="M8 2h8l6 6v8l-6 6H8l-6-6V8z"/><path d="m8.5 8.5 7 7m0-7-7 7"/>',
    "real": '<circle cx="12" cy="12" r="10"/><path d="m7.5 12.5 3 3 6-7"/>',
    "inconclusive": '<path d="M12 1.5 22.5 12 12 22.5 1.5 12z"/><path d="M9.5 9.5a2.5 2.5 0 1 1 2.5 3v1.2m0 2.6v.2"/>',
    "no_face": '<circle cx="12" cy="12" r="10"/><path d="M7 12h10"/>',
    "error": '<path d="M12 2 23 21H1z"/><path d="M12 9v5m0 3v.2"/>',
    "lock": '<rect x="4" y="10" width="16" height="11" rx="2"/><path d="M8 10V7a4 4 0 0 1 8 0v3"/>',
}
NO_FACE = (
    "No face was found, so nothing was judged. This does not mean that the picture is real. A face that is very small, "
    "hidden or turned away can be missed: cut the picture closer around it and try again."
)
UNJUDGED = "No probability is given, because for such a face the number would mean nothing."
SEVERAL = (
    "The picture is called fake if any of its faces is, and real only if all are. Faces that cannot be judged count "
    "only if no other can."
)
HEATMAP = (
    '<i class="rf-key rf-for-fake"></i> Red speaks for fake, <i class="rf-key rf-for-real"></i> blue for real; the '
    "stronger the colour, the more it weighs. This is where this detector found its evidence, not what was altered, "
    "and the strongest place of each face has full colour even where the evidence is weak."
)
STABILITY = (
    f"Each face is judged again after each of these changes: {', '.join(CHANGES)}. A verdict that such a small change "
    "turns over should not be relied on."
)


def kind(verdict: Verdict) -> str:
    """Which of `WORDS` a picture gets."""
    return verdict.verdict or verdict.status


def origin(claims: Sequence[Claim]) -> str:
    """What a file says of its own origin, in one sentence, with what that is worth."""
    if not claims:
        return "No note of origin was found in the file, which means nothing: most sites remove such notes."
    return f"The file says: {'; '.join(map(str, claims))}; such notes can be forged or copied."


def percents(fake: float) -> tuple[str, str]:
    """The probabilities of real and fake as text that adds up and never claims certainty."""
    tenths = round(1000 * fake)
    if tenths in (0, 1000):
        return (">99.9 %", "<0.1 %") if tenths == 0 else ("<0.1 %", ">99.9 %")
    return f"{(1000 - tenths) / 10:.1f} %", f"{tenths / 10:.1f} %"


def highest(verdict: Verdict) -> float | None:
    """The highest probability of fake among the faces that could be judged; None where there is none."""
    return max((face.probability.fake for face in verdict.faces if face.reason is None), default=None)
