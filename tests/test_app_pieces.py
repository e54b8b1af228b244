"""What the app is put together from: the table and its CSV, the pieces of a card, the examples, the model card."""

import csv
import io
from pathlib import Path

import pytest

from realface import Detector, draw, faces, images, words
from realface.results import REASONS, Answer, Crop, DetectorId, Face, Probability, Problem, Reason, Trial, Verdict
from realface.web import markup, summary
from realface.web.examples import EXAMPLES, PORTRAIT
from realface.web.modelcard import PACKAGE, model_card

DETECTOR = DetectorId("d", "1", "0" * 64)


def face(fake: float, verdict: Answer, reason: Reason | None = None, *trials: Trial) -> Face:
    probability = Probability(1 - fake, fake)
    return Face((10, 40, 20, 20), verdict, probability, Crop((0, 30, 40, 40)), reason, stability=trials or None)


def answered(name: str, verdict: Answer, *found: Face) -> Verdict:
    return Verdict(name, "a" * 64, "ok", verdict, found, None, DETECTOR)


FAILED = Verdict("b.txt", None, "error", None, (), Problem("empty", "the file is <empty>, really"), DETECTOR)
NO_FACE = Verdict("wall.png", "c" * 64, "no_face", None, (), None, DETECTOR)
TWO = answered("two.png", "fake", face(0.1, "real"), face(0.93, "fake"), face(0.99, "inconclusive", "too_small"))


def rows(verdicts: list[Verdict]) -> list[list[str]]:
    return list(csv.reader(io.StringIO(summary.to_csv(verdicts).decode("utf-8-sig"))))


def test_the_csv_has_a_line_for_each_file() -> None:
    assert rows([TWO, FAILED, NO_FACE]) == [
        ["file", "sha256", "verdict", "faces", "probability_fake", "error"],
        ["two.png", "a" * 64, "fake", "3", "0.930000", ""],
        ["b.txt", "", "error", "0", "", "the file is <empty>, really"],
        ["wall.png", "c" * 64, "no_face", "0", "", ""],
    ]


@pytest.mark.parametrize("sign", ["=", "+", "-", "@", "\t=", "\r\n=", " +", "＝", "＠"])  # noqa: RUF001
def test_no_file_name_is_a_formula_in_a_spreadsheet(sign: str) -> None:
    name = sign + 'HYPERLINK("http://evil.example","a,b")'
    told = rows([answered(name, "real", face(0.1, "real"))])[1][0]
    assert told.lstrip()[0] == "'"
    assert told.replace("'", "", 1) == name
    for end in ";\t":  # of a cell, in some spreadsheets
        told = rows([answered(f"a{end}{name}", "real", face(0.1, "real"))])[1][0]
        assert {cell.lstrip()[:1] for cell in told.split(end)} - {""} == {"a", "'"}


def test_a_name_no_encoding_can_print_gets_into_the_csv() -> None:
    assert rows([answered("caf\udce9.jpg", "real", face(0.1, "real"))])[1][0] == r"caf\udce9.jpg"


def test_a_name_cannot_turn_the_direction_of_writing() -> None:
    verdict = answered("a\u202egnp.exe", "real", face(0.1, "real"))
    assert r"a\u202egnp.exe" in summary.table([verdict])
    assert r"a\u202egnp.exe" in card(verdict)


def test_the_table_shows_every_file_and_why_it_failed() -> None:
    table = summary.table([TWO, FAILED, NO_FACE])
    assert '<th scope="row">two.png</th><td>FAKE</td><td>3</td><td>93.0 %</td>' in table
    assert '<th scope="row">b.txt</th><td colspan="3">NO ANSWER: the file is &lt;empty&gt;, really</td>' in table
    assert '<th scope="row">wall.png</th><td>NO FACE</td><td>0</td><td>-</td>' in table


def card(verdict: Verdict, stability: bool = False) -> str:
    known = markup.Answer(verdict, "data:,picture", (100, 200), (50, 100), ("data:,crop",) * len(verdict.faces))
    return markup.card(known, False, stability)


def test_several_faces_are_numbered_on_the_picture_and_have_their_own_answers() -> None:
    shown = card(TWO)
    place = "left: 10.00%; top: 20.00%; width: 20.00%; height: 10.00%"
    assert [f'style="{place}"><b>{number}</b></i>' in shown for number in (1, 2, 3, 4)] == [True, True, True, False]
    assert 'alt="The picture, with 3 numbered faces"' in shown
    assert "<h3>Face 2</h3>" in shown
    assert "Probability of real <b>7.0 %</b></span><span>of fake <b>93.0 %</b>" in shown.split("<h3>Face 2</h3>")[1]
    assert shown.count("made by a machine") == 2, "of the picture and of the second face"


def test_a_face_that_cannot_be_judged_has_a_reason_and_no_number() -> None:
    trial = Trial("JPEG 70", "fake", Probability(0.1, 0.9))
    for found in ([face(0.99, "inconclusive", "cut_off", trial)], list(TWO.faces[2:])):
        shown = card(answered("x", "inconclusive", *found), stability=True)
        assert REASONS[found[0].reason] in shown  # type: ignore[index]
        assert words.UNJUDGED in shown
        assert "99.0" not in shown
        assert "<table" not in shown


def test_the_stability_check_says_what_turns_the_verdict() -> None:
    trials = (Trial("JPEG 70", "fake", Probability(0.05, 0.95)), Trial("slight blur", "real", Probability(0.9, 0.1)))
    shown = card(answered("x", "fake", face(0.93, "fake", None, *trials)), stability=True)
    assert "<caption>Stability: the verdict does not hold</caption>" in shown
    assert '<th scope="row">JPEG 70</th><td>holds</td><td>95.0 %</td>' in shown
    assert '<th scope="row">slight blur</th><td><b>changes to REAL</b></td><td>10.0 %</td>' in shown
    held = card(answered("x", "fake", face(0.93, "fake", None, trials[0])), stability=True)
    assert "<caption>Stability: the verdict holds</caption>" in held
    assert "<table" not in card(answered("x", "fake", face(0.93, "fake", None, trials[0])))


def test_a_face_judged_without_a_heatmap_has_none_to_draw() -> None:
    with pytest.raises(ValueError, match="without a heatmap"):
        draw.heatmap_png(face(0.1, "real"))


def test_a_picture_without_a_face_says_what_that_means() -> None:
    assert "This does not mean that the picture is real." in card(NO_FACE)


def test_the_examples_show_what_they_promise() -> None:
    found = {
        name: [candidate.reason for candidate in faces.candidates(images.decode(make().data))]
        for name, make in EXAMPLES.items()
    }
    assert found == {
        "A real portrait": [None],
        "A sharp and a blurred face": [None, "too_blurred"],
        "A drawing": [None],
    }
    assert all(make().note for make in EXAMPLES.values())


def test_the_bundled_detector_calls_the_real_portrait_real() -> None:
    assert Detector.load().check(PORTRAIT).verdict == "real"


def test_the_example_pictures_are_small_and_come_with_their_terms() -> None:
    shipped = list(PORTRAIT.parent.iterdir())
    assert sum(path.stat().st_size for path in shipped) < 150_000
    terms = PORTRAIT.with_name("LICENCE.txt").read_text(encoding="utf-8")
    assert all(path.name in terms for path in shipped if path.suffix != ".txt")


@pytest.mark.parametrize("place", ["realface/weights", "."])
def test_the_model_card_is_found_where_a_wheel_or_the_repository_has_it(tmp_path: Path, place: str) -> None:
    package = tmp_path / ("site-packages/realface" if place != "." else "src/realface")
    folder = package / "weights" if place != "." else tmp_path
    folder.mkdir(parents=True, exist_ok=True)
    text = (
        "# Card\n<!-- table:\n x -->see [the docs](docs/x.md), [CLIP](https://a.example) ![plot](https://b.example) $5$"
    )
    (folder / "MODEL_CARD.md").write_text(text, encoding="utf-8")
    assert model_card(package) == "# Card\nsee the docs, [CLIP](https://a.example)  \\$5\\$"


def test_without_a_model_card_the_page_says_so(tmp_path: Path) -> None:
    assert model_card(tmp_path / "site-packages" / "realface") == "There is no model card beside this program."


def test_the_model_card_of_this_installation_is_there() -> None:
    assert model_card(PACKAGE).startswith("# Model card")
