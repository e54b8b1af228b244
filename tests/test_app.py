"""The web app without a browser: what it shows for each kind of file, and how it is started."""

import hashlib
import importlib.util
import re
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import brightness_detector, encoded, grey

from realface import Detector, DetectorError, Limits
from realface.card import Policy, Thresholds
from realface.errors import MissingExtra
from realface.web import launch

pytest.importorskip("streamlit")
from streamlit.testing.v1 import AppTest

REAL, FAKE, UNCLEAR = encoded(grey(0)), encoded(grey(255)), encoded(grey(128))


@pytest.fixture
def app(detector_file: Path, monkeypatch: pytest.MonkeyPatch) -> AppTest:
    monkeypatch.setenv("REALFACE_DETECTOR", str(detector_file))
    return AppTest.from_file(launch.APP, default_timeout=300).run()


def predict(app: AppTest, *files: tuple[str, bytes]) -> AppTest:
    app.file_uploader[0].set_value([(name, data, "image/png") for name, data in files])
    app.run()
    app.button[0].click().run()
    assert not app.exception
    return app


def page(app: AppTest) -> str:
    return "\n".join(element.value for element in app.get("html"))


def cards(app: AppTest) -> list[str]:
    return [
        element.value for element in app.get("html") if "rf-verdict" in element.value and "<style" not in element.value
    ]


def text(body: str) -> str:
    """What is read of some HTML."""
    return " ".join(re.sub(r"<[^>]+>", " ", body).split())


@pytest.mark.parametrize(
    ("level", "verdict", "numbers"),
    [
        (0, "REAL a photograph of a person", "Probability of real &gt;99.9 % of fake &lt;0.1 %"),
        (90, "REAL a photograph of a person", "Probability of real 91.2 % of fake 8.8 %"),
        (128, "INCONCLUSIVE the detector cannot tell", "Probability of real 49.2 % of fake 50.8 %"),
        (255, "FAKE made by a machine", "Probability of real &lt;0.1 % of fake &gt;99.9 %"),
    ],
)
def test_a_picture_gets_its_verdict_and_both_probabilities(
    app: AppTest, level: int, verdict: str, numbers: str
) -> None:
    (card,) = cards(predict(app, ("face.png", encoded(grey(level)))))
    assert text(card).startswith(
        f"face.png {verdict} What was judged {numbers} No note of origin was found in the file, which means nothing"
    )
    assert text(card).endswith("The probability does not rest on this.")
    assert 'src="data:image/jpeg;base64,' in card


def test_a_broken_file_gets_a_sentence_and_does_not_stop_the_others(app: AppTest) -> None:
    shown = cards(
        predict(app, ("fake.png", FAKE), ("notes.jpg", b"some notes"), ("empty.png", b""), ("real.png", REAL))
    )
    assert [text(card).split()[1] for card in shown] == ["FAKE", "NO", "NO", "REAL"]
    assert "notes.jpg NO ANSWER the picture could not be judged This is not a picture" in text(shown[1])
    assert "The file is empty; copy or download it again." in text(shown[2])
    assert "4 pictures: 1 fake, 2 no answer, 1 real." in page(app)


def test_without_a_file_predict_is_off_and_the_page_says_what_to_do(app: AppTest) -> None:
    assert app.button[0].label == "Predict"
    assert app.button[0].disabled
    assert "Choose one or more pictures above, then press <b>Predict</b>." in page(app)
    assert {".jpeg", ".png", ".webp", ".heic", ".heif"} <= set(app.file_uploader[0].proto.type)
    assert "The picture never leaves this computer." in page(app)
    assert cards(app) == []


def test_nothing_is_judged_before_predict_is_pressed(app: AppTest) -> None:
    app.file_uploader[0].set_value([("fake.png", FAKE, "image/png")])
    app.run()
    assert not app.button[0].disabled
    assert cards(app) == []


def test_answers_stay_on_a_rerun_and_go_when_the_files_change(app: AppTest) -> None:
    first = cards(predict(app, ("fake.png", FAKE)))
    assert cards(app.run()) == first
    app.file_uploader[0].set_value([("fake.png", REAL, "image/png")])  # the same name, other bytes
    assert cards(app.run()) == []
    app.file_uploader[0].set_value([("fake.png", FAKE, "image/png")])
    assert cards(app.run()) == []


def test_html_in_a_file_name_is_shown_as_text(app: AppTest) -> None:
    (card,) = cards(predict(app, ("<img src=x onerror=alert(1)>.png", FAKE)))
    assert "<img src=x" not in card
    assert "&lt;img src=x onerror=alert(1)&gt;.png" in card


def test_what_the_file_says_is_shown_as_text(app: AppTest) -> None:
    notes = grey(0).getexif()
    notes[0x0131] = "NovelAI <img src=x>"
    (card,) = cards(predict(app, ("face.jpg", encoded(grey(0), "JPEG", exif=notes))))
    assert (
        '<p class="rf-quiet">The file says: generator NovelAI &lt;img src=x&gt;; such notes can be forged or copied. '
        "The probability does not rest on this.</p>" in card
    )


def test_a_picture_that_is_not_square_shows_which_part_was_judged(app: AppTest) -> None:
    square, wide = cards(predict(app, ("square.png", FAKE), ("wide.png", encoded(grey(255, 128, 64)))))
    assert 'alt="The picture"' in square
    assert 'alt="The picture, with its face outlined"' in wide
    assert "left: 25.00%; top: 0.00%; width: 50.00%; height: 100.00%" in wide


def test_a_picture_is_shown_upright(app: AppTest) -> None:
    exif = grey(0).getexif()
    exif[0x0112] = 6  # to be turned by a quarter
    (card,) = cards(predict(app, ("phone.jpg", encoded(grey(0, 128, 64), "JPEG", exif=exif))))
    assert 'width="64" height="128"' in card


def test_the_page_says_how_the_detector_decides(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file, limits = tmp_path / "own.onnx", Thresholds(0.2, 0.9347)
    file.write_bytes(brightness_detector(thresholds=limits, policy=Policy(0.01, 0.025), name="<own>"))
    monkeypatch.setenv("REALFACE_DETECTOR", str(file))
    shown = text(page(AppTest.from_file(launch.APP, default_timeout=300).run()))
    assert "fake at 93.47 % and above, real under 20 %, in between inconclusive." in shown
    assert (
        "at most 1 % of real validation faces are called fake and at most 2.5 % of fake ones are called real" in shown
    )
    assert "The answer is not proof." in shown
    digest = hashlib.sha256(file.read_bytes()).hexdigest()[:12]
    assert f"Detector &lt;own&gt; 1, SHA-256 {digest}…; realface " in shown


def test_a_detector_that_cannot_be_used_is_told_in_the_terminal(capfd: pytest.CaptureFixture[str]) -> None:
    assert launch.launch("no such.onnx", open_browser=False) == 2
    out, err = capfd.readouterr()
    assert out == ""
    assert re.fullmatch(r"realface: no detector 'no such.onnx': give a .onnx file .*\n", err)


def test_a_detector_that_fails_on_a_picture_gets_a_sentence(app: AppTest, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise DetectorError("the detector <b> fails on these pictures")

    monkeypatch.setattr(Detector, "judge", fail)
    shown = page(predict(app, ("face.png", REAL)))
    assert "The detector &lt;b&gt; fails on these pictures." in shown
    assert "Looking at picture" not in shown


def test_starting_without_streamlit_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match=r'pip install "realface\[app\]"'):
        launch.launch()


def test_the_exit_code_of_the_server_is_returned(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    failing = tmp_path / "streamlit_that_fails.sh"
    failing.write_text("#!/bin/sh\nexit 3\n")
    failing.chmod(0o755)
    monkeypatch.setattr(launch.sys, "executable", str(failing))
    assert launch.launch() == 3


@pytest.fixture
def deaf() -> Iterator[object]:
    """What SIGTERM does in these tests where the app does not listen for it: nothing."""

    def ignore(*_: object) -> None:
        pass

    before = signal.signal(signal.SIGTERM, ignore)
    yield ignore
    signal.signal(signal.SIGTERM, before)


@pytest.mark.parametrize("how", ["Ctrl-C", "SIGTERM"])
def test_who_ends_the_app_ends_the_server(monkeypatch: pytest.MonkeyPatch, deaf: object, how: str) -> None:
    calls: list[str] = []

    class Server:
        def wait(self, timeout: float | None = None) -> int:
            calls.append("wait")
            if calls == ["wait"] and how == "SIGTERM":
                signal.raise_signal(signal.SIGTERM)
            elif calls == ["wait"]:
                raise KeyboardInterrupt
            if timeout:
                raise subprocess.TimeoutExpired("streamlit", timeout)
            return -9

        def terminate(self) -> None:
            calls.append("terminate")

        def kill(self) -> None:
            calls.append("kill")

    monkeypatch.setattr(launch.subprocess, "Popen", lambda *_, **__: Server())
    assert launch.launch() == 0
    assert calls == ["wait", "terminate", "wait", "kill", "wait"]
    assert signal.getsignal(signal.SIGTERM) is deaf


def test_the_server_is_told_to_keep_to_itself() -> None:
    options = launch.settings("best", 8600, open_browser=False)
    assert options["STREAMLIT_BROWSER_GATHER_USAGE_STATS"] == "false"
    assert options["STREAMLIT_SERVER_ADDRESS"] == options["STREAMLIT_BROWSER_SERVER_ADDRESS"] == "localhost"
    assert options["STREAMLIT_CLIENT_SHOW_ERROR_DETAILS"] == "none"
    assert options["STREAMLIT_SERVER_HEADLESS"] == "true"
    assert options["STREAMLIT_LOGGER_HIDE_WELCOME_MESSAGE"] == "true"
    assert int(options["STREAMLIT_SERVER_MAX_UPLOAD_SIZE"]) * 2**20 == Limits().max_bytes
    assert options["STREAMLIT_SERVER_PORT"] == "8600"
    assert options["REALFACE_DETECTOR"] == "best"


def test_the_terminal_says_where_the_app_is(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.create_server(("localhost", 0)) as other:
        port = other.getsockname()[1]
        for name, value in launch.settings("best", port, open_browser=False).items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(launch, "load", lambda detector: None)
        started: list[list[str]] = []
        monkeypatch.setattr("streamlit.web.cli.main", lambda arguments, **_: started.append(arguments))
        with pytest.raises(SystemExit, match="2"):
            launch.serve()
    said = capsys.readouterr()
    assert (said.out, started) == ("", []), "what answers there is not the app"
    assert f"port {port} cannot be listened on" in said.err
    launch.serve()
    assert started == [["run", str(launch.APP)]]
    assert f"http://localhost:{port};" in capsys.readouterr().out


def test_streamlit_knows_every_setting() -> None:
    from streamlit import config

    known = {option.env_var for option in config.get_config_options().values()}
    set_here = {name for name in launch.settings("best", 1, True) if name.startswith("STREAMLIT_")}
    assert set_here <= known
