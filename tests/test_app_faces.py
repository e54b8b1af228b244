"""The web app with a detector that searches for faces: cards of faces, heatmap, stability, examples, report."""

from pathlib import Path

import numpy as np
import pytest
from conftest import brightness_detector, encoded, grey
from PIL import Image

from realface import Detector, words
from realface.card import Preprocessing
from realface.results import REASONS
from realface.web import launch

pytest.importorskip("streamlit")
from streamlit.testing.v1 import AppTest
from test_app import cards, page, predict, text
from test_detector_faces import PORTRAIT, pair

HEATMAP, STABILITY, REPORT = "Show where the evidence lies", "Check stability", "Prepare a case report"
FACE, PAIR = encoded(Image.fromarray(PORTRAIT)), encoded(Image.fromarray(pair()))


@pytest.fixture(scope="session")
def finding(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("finding") / "finding.onnx"
    path.write_bytes(brightness_detector(explains=True, preprocessing=Preprocessing(32, "face")))
    return path


@pytest.fixture
def app(finding: Path, monkeypatch: pytest.MonkeyPatch) -> AppTest:
    monkeypatch.setenv("REALFACE_DETECTOR", str(finding))
    return AppTest.from_file(launch.APP, default_timeout=300).run()


@pytest.fixture
def judged(monkeypatch: pytest.MonkeyPatch) -> list[tuple[bool, bool]]:
    """Heatmap and stability of each picture the detector is asked for."""
    asked: list[tuple[bool, bool]] = []
    judge = Detector._judge

    def noted(self: Detector, pictures: list[np.ndarray], heatmap: bool, stability: bool) -> object:
        asked.extend((heatmap, stability) for _ in pictures)
        return judge(self, pictures, heatmap, stability)

    monkeypatch.setattr(Detector, "_judge", noted)
    return asked


def switch(app: AppTest, label: str) -> AppTest:
    toggle = next(toggle for toggle in app.toggle if toggle.label == label)
    toggle.set_value(not toggle.value).run()
    assert not app.exception
    return app


def press(app: AppTest, label: str) -> AppTest:
    next(button for button in app.button if button.label == label).click().run()
    assert not app.exception
    return app


def test_every_face_has_a_card_of_its_own(app: AppTest) -> None:
    (card,) = cards(predict(app, ("pair.png", PAIR)))
    assert text(card).startswith("pair.png FAKE made by a machine 1 2 2 faces.")
    one, two = text(card).split("Face 1 ")[1].split("Face 2 ")
    assert one.startswith("REAL")
    assert two.startswith("FAKE")
    assert card.count('alt="What was judged of Face') == 2


def test_a_picture_without_a_face_gets_no_bar(app: AppTest) -> None:
    (card,) = cards(predict(app, ("wall.png", encoded(grey(255)))))
    assert text(card).startswith(f"wall.png NO FACE there is no face here to judge {words.NO_FACE}")
    assert "rf-track" not in card


def test_the_heatmap_is_laid_over_each_crop_without_judging_again(
    app: AppTest, judged: list[tuple[bool, bool]]
) -> None:
    (before,) = cards(predict(app, ("pair.png", PAIR)))
    assert "image/png" not in before
    assert "Red speaks for fake" not in page(app)
    (card,) = cards(switch(app, HEATMAP))
    assert card.count('<img src="data:image/png;base64,') == 2
    assert "Red speaks for fake" in page(app)
    assert cards(switch(app, HEATMAP)) == [before]
    assert judged == [(True, False)]


def test_a_detector_without_heatmaps_offers_none(detector_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REALFACE_DETECTOR", str(detector_file))
    app = predict(AppTest.from_file(launch.APP, default_timeout=300).run(), ("face.png", encoded(grey(0))))
    assert [toggle.label for toggle in app.toggle] == [STABILITY]


def test_stability_is_checked_on_request_and_once(app: AppTest, judged: list[tuple[bool, bool]]) -> None:
    predict(app, ("face.png", FACE), ("notes.jpg", b"notes"), ("wall.png", encoded(grey(0))))
    assert not any("<caption>" in card for card in cards(app))
    face, notes, wall = cards(switch(app, STABILITY))
    assert "<caption>Stability: the verdict holds</caption>" in face
    assert "<caption>" not in notes + wall
    switch(switch(app, STABILITY), STABILITY)
    assert judged == [(True, False), (True, False), (True, True)]


def test_several_files_have_a_table_to_download(app: AppTest) -> None:
    predict(app, ("one.png", encoded(grey(0))))
    assert "<table>" not in page(app)
    assert app.get("download_button") == []
    files = ("=1+1.png", PAIR), ("notes.jpg", b"notes")
    predict(app, *files)
    assert '<th scope="row">=1+1.png</th><td>FAKE</td><td>2</td>' in page(app)
    assert [button.proto.label for button in app.get("download_button")] == ["Download the table as CSV"]


def test_an_example_is_judged_when_it_is_pressed_and_goes_when_a_file_is_chosen(app: AppTest) -> None:
    (card,) = cards(press(app, "A sharp and a blurred face"))
    assert REASONS["too_blurred"] in card
    assert "the blurred one cannot be judged" in page(app)
    (card,) = cards(press(app, "A drawing"))
    assert text(card).startswith("drawing.jpg")
    assert "the blurred one cannot be judged" not in page(app)
    app.file_uploader[0].set_value([("wall.png", encoded(grey(0)), "image/png")])
    assert cards(app.run()) == []
    assert [button.label for button in app.button] == ["Predict"]


def test_a_case_report_is_made_on_request(app: AppTest, judged: list[tuple[bool, bool]]) -> None:
    predict(app, ("pair.png", PAIR), ("<b>.jpg", b"notes"))
    assert "report" not in app.session_state
    press(app, REPORT)
    assert "The case report is ready." in page(app)
    assert app.get("download_button")[-1].proto.label == "Download the case report"
    report = app.session_state["report"].decode()
    assert "pair.png" in report
    assert "&lt;b&gt;.jpg" in report
    assert report.count("Where the evidence lies") == 2
    assert "JPEG 70" in report
    switch(app, STABILITY)
    assert judged == [(True, False), (True, True)], "what the report needed is not judged again"
    app.file_uploader[0].set_value([("wall.png", encoded(grey(0)), "image/png")])
    assert "report" not in app.run().session_state


def test_a_report_is_of_the_pictures_shown(app: AppTest) -> None:
    press(press(app, "A drawing"), REPORT)
    press(app, "A real portrait")
    assert app.get("download_button") == []
