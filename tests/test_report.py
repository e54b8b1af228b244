"""The case report: closed HTML that loads nothing, with the facts of the verdict, whoever wrote names and figures."""

import itertools
import json
import re
import tracemalloc
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from conftest import brightness_detector, encoded, full_disk, grey
from PIL import Image

from realface import Detector
from realface.card import Preprocessing, Thresholds
from realface.errors import DataError
from realface.rates import MAX_ROWS, Rates
from realface.report import Report, check_target
from realface.results import Claim, Crop, Face, Probability, Problem, Trial, Verdict

HOSTILE = "\"><script>alert(1)</script><img src=http://x.example/ onerror='alert(2)'>\u202e\n&amp;"
PRINTABLE = HOSTILE.replace("\u202e\n", "")
SHOWN = HOSTILE.replace("\u202e", "\\u202e").replace("\n", "\\n")
FIGURES = {"real": 812, "fake": 600, "auc": 0.99, "accuracy": 0.97, "bpcer": 0.009, "apcer": 0.02, "inconclusive": 0.03}
VOID = {"meta", "img"}
TAGS = re.compile(
    r"html|head|meta|title|style|body|header|main|section|h[123]|p|b|i|u|span|a|ul|li|dl|div|dt|dd|figure|figcaption|img|"
    r"svg|path|circle|rect|text|table|caption|thead|tbody|tr|th|td"
)
ATTRIBUTES = re.compile(
    r"lang|charset|http-equiv|content|name|class|id|href|src|alt|width|height|style|scope|colspan|aria-hidden|viewbox|x|y|d|"
    r"cx|cy|r|transform"
)


class Page(HTMLParser):
    """A report taken apart; refuses everything that could run, load or stay open."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.text = ""
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert TAGS.fullmatch(tag)
        given = {name: value or "" for name, value in attrs}
        assert all(map(ATTRIBUTES.fullmatch, given))
        assert given.get("src", "data:image/").startswith("data:image/")
        assert given.get("href", "#").startswith("#")
        assert "url" not in given.get("style", "")
        self.tags.append((tag, given))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open[-1:] == ["style"]:
            assert "url(" not in data
            assert "@import" not in data
        else:
            self.text += data

    def all(self, tag: str, kind: str = "") -> list[dict[str, str]]:
        return [given for name, given in self.tags if name == tag and kind in given.get("class", "")]


@pytest.fixture(scope="module")
def judge() -> Detector:
    return Detector(brightness_detector(explains=True, metrics={"test_by_size": {"under 128 px": FIGURES}}))


def face(**changes: object) -> Face:
    heatmap = ((-1.0, 2.0), (0.0, 0.5))
    trials = (
        Trial("JPEG 70", "fake", Probability(0.1, 0.9)),
        Trial("slight blur", "inconclusive", Probability(0.4, 0.6)),
    )
    given = {"box": (70, 80, 40, 50), "verdict": "fake", "probability": Probability(0.0625, 0.9375)}
    given |= {"crop": Crop((60, 70, 64, 64), 12.5), "heatmap": heatmap, "stability": trials}
    return Face(**given | changes)  # type: ignore[arg-type]


def verdict(judge: Detector, *faces: Face, **changes: object) -> Verdict:
    given = {"path": "a.png", "sha256": None, "status": "ok" if faces else "no_face", "faces": faces, "error": None}
    given |= {"verdict": faces[0].verdict if faces else None, "detector": judge.id}
    return Verdict(**given | changes)  # type: ignore[arg-type]


def reported(judge: Detector, *cases: tuple[Verdict, bytes | None]) -> Page:
    report = Report(judge)
    for case in cases:
        report.add(*case)
    return Page(report.html())


def test_nothing_that_others_wrote_can_run_or_load(tmp_path: Path) -> None:
    path = tmp_path / "out.html"
    judge = Detector(
        brightness_detector(
            name=PRINTABLE,  # a detector's own names are refused if they do not print
            version=PRINTABLE,
            network=PRINTABLE,
            policy={"max_bpcer": 0.01, "max_apcer": 0.05, "split": PRINTABLE},
            metrics={"test": {HOSTILE: FIGURES}},
        )
    )
    given = {"path": f"folder/{HOSTILE}\udcff", "provenance": (Claim("software", HOSTILE, HOSTILE),)}
    error = Problem("unreadable", HOSTILE)
    report = Report(judge)
    report.add(verdict(judge, face(), **given), encoded(grey(255, 256, 256)))
    report.add(verdict(judge, status="error", error=error, **given))
    report.write(path)
    page = Page(path.read_text("utf-8"))
    # name, version, network, split
    assert page.text.count(PRINTABLE) == 4
    # row of a table; two paths; what it says and where; an error, also in the table of all
    assert page.text.count(SHOWN) == 1 + 2 + 2 + 2
    # and two headings, each with its link, of which the last part of the path is the name
    assert page.text.count(SHOWN.rpartition("/")[2]) == 7 + 4
    assert f"folder/{SHOWN}\\udcff" in page.text
    assert page.tags[0] == ("html", {"lang": "en"})
    policy = next(given["content"] for given in page.all("meta") if "http-equiv" in given)
    assert {"default-src 'none'", "img-src data:"} <= set(policy.split("; "))


def test_the_facts_of_the_json_are_told(judge: Detector, tmp_path: Path) -> None:
    notes = Image.Exif()
    notes[0x010F], notes[0x0110], notes[0x0131] = "Canon", "Canon EOS 5D", "Adobe Photoshop"
    path = tmp_path / "a.jpg"
    data = encoded(grey(150, 96, 64), "JPEG", exif=notes)
    path.write_bytes(data)
    answer = judge.check(path, heatmap=True, stability=True)
    facts = json.loads(answer.to_json())
    page = reported(judge, (answer, data))
    texts = [facts["path"], facts["sha256"], *facts["detector"].values()]
    texts += [claim[key] for claim in facts["provenance"] for key in ("kind", "says", "where")]
    assert len(texts) == 2 + 3 + 2 * 3
    for text in texts:
        assert text in page.text
    assert facts["verdict"].upper() in page.text
    assert "Probability of real 19.7 %of fake 80.3 %" in page.text
    assert "Face: 64 x 64 pixels at 16, 0 from the top left. Judged: the square of 64 x 64 at 16, 0;" in page.text
    assert f"{len(data):,} bytes, 96 x 64 pixels" in page.text
    assert [trial["change"] in page.text for trial in facts["faces"][0]["stability"]] == [True] * 3
    assert "Stability: the verdict holds" in page.text
    assert judge.card.rule() in page.text
    assert (
        "Of 812 real and 600 fake test faces of under 128 px, 0.9 % of the real were called fake (95 % interval 0.4 to "
        "1.8 %), 2.0 % of the fake" in page.text
    )
    assert "0.9 %0.4 to 1.8" in page.text
    assert len(page.all("figure", "heat")) == 1


@pytest.mark.parametrize(
    ("size", "window", "seen"),
    [
        (32, 0, "at 32 pixels a side."),
        (0, 48, "in nine windows of 48 pixels a side."),
        (32, 48, "at 32 pixels a side and in nine windows of 48 pixels a side."),
    ],
)
def test_what_the_detector_sees_of_a_face_is_told(judge: Detector, size: int, window: int, seen: str) -> None:
    report = Report(judge)
    report._card = replace(judge.card, preprocessing=Preprocessing(size, window=window))
    report.add(verdict(judge, face()))
    assert f"the detector sees it {seen}" in Page(report.html()).text


def test_each_of_several_faces_has_its_number_and_its_answer(judge: Detector) -> None:
    unclear = face(
        box=(5, 2, 20, 20), verdict="inconclusive", reason="too_blurred", probability=Probability(0.77, 0.23)
    )
    page = reported(judge, (verdict(judge, face(), unclear), encoded(grey(255, 256, 256))))
    assert "2 faces were found." in page.text
    assert page.text.count("Face 1") == page.text.count("Face 2") == 1
    assert len(page.all("rect", "found")) == len(page.all("rect", "dashed")) == 2
    assert page.all("rect", "dashed")[0]["transform"] == "rotate(12.5 92.0 102.0)"
    assert "turned upright by 12.5° anticlockwise" in page.text
    assert "the face is too blurred to judge" in page.text
    assert "Stability: the verdict does not hold" in page.text
    assert "changes to INCONCLUSIVE" in page.text
    # what cannot be judged has no figures that could be taken for an answer
    assert "23.0 %" not in page.text
    assert len(page.all("figure", "heat")) == 1


def test_pictures_without_an_answer_say_why(judge: Detector, tmp_path: Path) -> None:
    broken, missing = judge.check_many([b"not a picture", tmp_path / "missing.png"])
    page = reported(
        judge,
        (broken, b"not a picture"),
        (missing, None),
        (verdict(judge, path="-"), encoded(grey(9))),
        (broken, None),
        (replace(broken, path="folder/"), None),
    )
    assert "5 pictures: 4 no answer, 1 no face." in page.text
    assert "This is not a picture realface can read (JPEG" in page.text
    assert "2. missing.pngNO ANSWER: there is no such file; check the path" in page.text
    assert "(Error not_an_image.)" in page.text
    assert "There is no such file; check the path. (Error not_found.)" in page.text
    assert page.text.count("SHA-256not known") == 1
    assert "No face was found, so nothing was judged." in page.text
    assert "3. -" in page.text
    assert page.text.count("4. Picture 4") == page.text.count("5. Picture 5") == 2
    assert len(page.all("img")) == 1


def test_a_picture_that_is_not_at_hand_is_left_out(judge: Detector) -> None:
    page = reported(judge, (judge.check(np.full((64, 64, 3), 255, np.uint8)), None))
    assert "FAKE" in page.text
    assert page.all("img") == []


def test_bytes_of_another_file_are_refused(judge: Detector) -> None:
    answer = judge.check(encoded(grey(0)))
    with pytest.raises(ValueError, match="another file"):
        Report(judge).add(answer, encoded(grey(1)))


def test_what_was_not_asked_is_not_shown(detector: Detector) -> None:
    data = encoded(grey(0))
    page = reported(detector, (detector.check(data), data))
    assert page.all("figure", "heat") == []
    assert page.all("table") == []


def test_a_detector_without_figures_says_so(detector: Detector) -> None:
    data = encoded(grey(0))
    page = reported(detector, (detector.check(data), data))
    assert "How often this detector is wrong on such faces was not measured." in page.text
    assert "The detector's file gives no error rates" in page.text


@pytest.mark.parametrize(
    "table",
    [
        3,
        [1, 2],
        {"all": None},
        {"all": {"real": "many", "fake": 2}},
        {"all": {"real": float("nan"), "fake": float("inf")}},
        {"all": {"real": -1, "fake": 2}},
        {"all": {"real": 10**400, "fake": 2}},
    ],
)
def test_figures_that_are_none_are_not_told(table: object) -> None:
    judge = Detector(brightness_detector(metrics={"test": table, "test_by_size": table}))
    page = reported(judge, (verdict(judge, face()), None))
    assert "The detector's file gives no error rates" in page.text
    assert "was not measured" in page.text


def test_odd_figures_are_left_out_one_by_one() -> None:
    row = FIGURES | {"bpcer": float("nan"), "apcer": [1], "auc": 7, "accuracy": None}
    table = {"under 128 px": row, "512 px and more": FIGURES, "no such size": FIGURES, "all": row}
    judge = Detector(brightness_detector(metrics={"test": {f"{i}": row for i in range(999)}, "test_by_size": table}))
    rates = Rates(judge.card)
    assert rates.sentence(127) == (
        "Of 812 real and 600 fake test faces of under 128 px, 3.0 % got no answer (95 % interval 2.2 to 4.0 %)."
    )
    assert rates.sentence(128).endswith("was not measured.")
    assert list(rates.by_size) == ["under 128 px", "512 px and more"]
    assert len(rates.by_source) == MAX_ROWS
    crowded = {f"{i}": row for i in range(999)} | {"all": FIGURES}
    assert list(Rates(replace(judge.card, metrics={"test": crowded})).by_source)[-1] == "all"
    assert "nan" not in reported(judge, (verdict(judge, face()), None)).text


def test_rates_of_a_few_faces_say_so() -> None:
    row = FIGURES | {"real": 2, "fake": 0, "bpcer": 0.0, "apcer": 0.0, "inconclusive": 0.5}
    judge = Detector(brightness_detector(metrics={"test_by_size": {"under 128 px": row}}))
    assert Rates(judge.card).sentence(64) == (
        "Of 2 real and 0 fake test faces of under 128 px, 0.0 % of the real were called fake (95 % interval 0.0 to "
        "65.8 %): too few samples to say, 0.0 % of the fake called real: too few samples to say, 50.0 % got no answer "
        "(95 % interval 9.5 to 90.5 %): too few samples to say."
    )
    assert "0.0 %†0.0 to 65.8" in reported(judge, (verdict(judge, face()), None)).text


def test_without_figures_for_a_size_those_of_all_are_told() -> None:
    judge = Detector(brightness_detector(metrics={"test": {"all": FIGURES, "news": FIGURES}}))
    rates = Rates(judge.card)
    assert "of all sizes (of this size alone nothing was measured), 0.9 %" in rates.sentence(300)
    assert list(rates.by_source) == ["news", "all"]


def test_many_files_are_one_report_of_small_pictures(judge: Detector, rng: np.random.Generator) -> None:
    noise = Image.fromarray(rng.integers(0, 256, (1500, 1500, 3), np.uint8))
    files = [encoded(noise, "JPEG", quality=95), *(encoded(grey(level)) for level in (0, 255) * 12)]
    report = Report(judge)
    for number, (answer, data) in enumerate(zip(judge.check_many(files), files, strict=True)):
        report.add(answer, data)
        assert number or len(report.html()) < len(data) / 2
    page = Page(report.html())
    assert "25 pictures: 1 inconclusive, 12 real, 12 fake." in page.text
    targets = [given["href"][1:] for given in page.all("a")]
    assert len(targets) == 25
    assert targets == [given["id"] for given in page.all("section") if "id" in given]


def test_writing_takes_little_more_memory_than_the_report(judge: Detector, tmp_path: Path) -> None:
    report = Report(judge)
    report.add(judge.check(encoded(grey(0))), encoded(grey(0)))
    report.cases += ["†" * 100_000] * 50
    tracemalloc.start()
    report.write(tmp_path / "case.html")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (tmp_path / "case.html").stat().st_size > 15_000_000
    assert peak < 5_000_000


def test_an_interrupted_report_holds_what_was_judged(
    run, tmp_path: Path, detector_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, pictures = Detector._find, [tmp_path / f"{level}.png" for level in (0, 255)]
    for picture in pictures:
        picture.write_bytes(encoded(grey(int(picture.stem))))

    def interrupted(self: Detector, picture: np.ndarray) -> object:
        if picture.mean() > 200:
            raise KeyboardInterrupt
        return whole(self, picture)

    monkeypatch.setattr(Detector, "_find", interrupted)
    case = tmp_path / "case.html"
    status, out, _ = run("check", *pictures, "--json", "--report", case, "--detector", detector_file)
    assert (status, len(out.splitlines())) == (130, 1)
    assert "1 picture: 1 real. It was stopped before all pictures were judged." in case.read_text("utf-8")


def test_it_can_be_read_without_seeing(judge: Detector) -> None:
    data = encoded(grey(255))
    answer = judge.check(data, heatmap=True)
    page = reported(judge, (answer, data), (answer, data))
    levels = [int(tag[1]) for tag, _ in page.tags if tag in ("h1", "h2", "h3")]
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise([0, *levels]))
    assert all(given["alt"] for given in page.all("img"))
    assert all(given["scope"] in ("col", "row") for given in page.all("th"))


def test_a_failed_write_leaves_what_was_there(judge: Detector, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "case.html"
    path.write_text("the last report")

    with monkeypatch.context() as broken:
        broken.setattr(Path, "replace", full_disk)
        with pytest.raises(DataError, match="No space left"):
            Report(judge).write(path)
    assert path.read_text() == "the last report"
    Report(judge).write(path)
    assert "0 pictures" in Page(path.read_text("utf-8")).text


@pytest.mark.parametrize(
    ("limits", "said"),
    [
        (Thresholds(0.125, 0.9), "fake at 90 % and above, real under 12.5 %, in between inconclusive."),
        (Thresholds(0.5, 0.5), "fake at 50 % and above, real under 50 %."),
        (Thresholds(0, 1.0001), "never fake, never real, in between inconclusive."),
    ],
)
def test_the_rule_is_told_in_words(limits: Thresholds, said: str) -> None:
    rule = Detector(brightness_detector(thresholds=limits)).card.rule()
    assert f"The probability of fake decides: {said} These limits" in rule
    assert "at most 1 % of real validation faces are called fake and at most 5 % of fake ones" in rule


@pytest.mark.parametrize("name", ["missing/case.html", "photo.jpg", "case", "folder.html"])
def test_a_place_that_cannot_hold_a_report_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "folder.html").mkdir()
    with pytest.raises(DataError):
        check_target(tmp_path / name)
    check_target(tmp_path / "Case.HTML")
