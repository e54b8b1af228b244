"""The command line as its user meets it: output, order, exit status, one sentence for every failure."""

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
from conftest import brightness_detector, encoded, grey
from PIL import Image

from realface import Detector, cli, progress, table
from realface.card import Preprocessing
from realface.results import Crop, DetectorId, Face, Probability, Trial, Verdict

COMMAND = [sys.executable, "-c", "from realface.cli import run; run()"]  # what `realface` starts


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    (folder / "inner").mkdir(parents=True)
    (folder / "b.png").write_bytes(encoded(grey(255)))
    (folder / "a.jpg").write_bytes(encoded(grey(0), "JPEG"))
    (folder / "inner" / "C.PNG").write_bytes(encoded(grey(128)))
    (folder / "notes.txt").write_text("not a picture")
    return folder


@pytest.fixture
def explaining_file(tmp_path: Path) -> Path:
    path = tmp_path / "explains.onnx"
    path.write_bytes(brightness_detector(explains=True))
    return path


def test_json_has_the_promised_form_in_the_order_given(run, pictures: Path, detector_file: Path) -> None:
    text = pictures / "notes.txt"
    status, out, err = run("check", pictures / "b.png", text, pictures / "a.jpg", "--json", "--detector", detector_file)
    rows = [json.loads(line) for line in out.splitlines()]
    assert status == 1
    assert err == ""
    assert [row["path"] for row in rows] == [str(pictures / name) for name in ("b.png", "notes.txt", "a.jpg")]
    assert [row["verdict"] for row in rows] == ["fake", None, "real"]
    assert [row["status"] for row in rows] == ["ok", "error", "ok"]
    for row in rows:
        assert list(row) == ["path", "sha256", "status", "verdict", "faces", "error", "detector", "provenance"]
    assert rows[0]["faces"][0]["box"] == [0, 0, 64, 64]
    assert sum(rows[0]["faces"][0]["probability"].values()) == pytest.approx(1)
    assert rows[1]["faces"] == []
    assert rows[1]["error"]["code"] == "not_an_image"
    assert rows[0]["detector"]["name"] == "brightness"


def test_the_table_for_a_person(run, pictures: Path, detector_file: Path) -> None:
    status, out, _ = run("check", pictures, "--detector", detector_file)
    lines = out.splitlines()
    assert status == 0
    assert lines[0].split() == ["verdict", "real", "fake", "picture"]
    assert [line.split()[0] for line in lines[1:4]] == ["REAL", "FAKE", "INCONCLUSIVE"]
    assert "99.9 %" in lines[1]
    assert "100.0 %" not in out
    assert "fake at 80 % and above, real under 20 %, in between inconclusive" in out
    assert "not proof" in out


def test_the_table_tells_faces_apart_and_says_what_was_not_judged() -> None:
    crop, probability, trials = Crop((0, 0, 64, 64)), Probability(0.0625, 0.9375), []
    for change, answer in (("JPEG 70", "fake"), ("half size", "real"), ("slight blur", "inconclusive")):
        trials.append(Trial(change, answer, probability))  # type: ignore[arg-type]
    faces = (
        Face((0, 0, 9, 9), "fake", probability, crop, stability=tuple(trials)),
        Face((0, 0, 8, 8), "fake", probability, crop, stability=(trials[0],)),
        Face((0, 0, 7, 7), "inconclusive", probability, crop, "cut_off", stability=tuple(trials)),
    )
    verdict = Verdict("a.jpg", None, "ok", "fake", faces, None, DetectorId("d", "1", ""))
    assert table.rows(verdict).splitlines() == [
        "FAKE            6.2 %  93.8 %  a.jpg, face 1: real after half size, inconclusive after slight blur",
        "FAKE            6.2 %  93.8 %  a.jpg, face 2: holds",
        "INCONCLUSIVE        -       -  a.jpg, face 3: too much of the face is outside the picture to judge it",
    ]


def test_a_picture_without_a_face_is_a_row_and_not_an_answer(run, pictures: Path, tmp_path: Path) -> None:
    detector = tmp_path / "face.onnx"
    detector.write_bytes(brightness_detector(preprocessing=Preprocessing(32, "face")))
    status, out, _ = run("check", pictures / "b.png", "--detector", detector)
    assert status == 1
    assert out.splitlines()[1] == f"no face             -       -  {pictures / 'b.png'}: no face was found"


def test_stability_is_told_where_asked(run, pictures: Path, detector_file: Path) -> None:
    _, out, _ = run("check", pictures / "a.jpg", "--stability", "--detector", detector_file)
    assert out.splitlines()[1].endswith("a.jpg: holds")
    _, out, _ = run("check", pictures / "a.jpg", "--stability", "--json", "--detector", detector_file)
    assert [trial["verdict"] for trial in json.loads(out)["faces"][0]["stability"]] == ["real"] * 3


def test_heatmaps_are_in_the_json_where_asked(run, pictures: Path, explaining_file: Path) -> None:
    _, out, _ = run("check", pictures / "b.png", "--json", "--heatmap", "--detector", explaining_file)
    assert np.array(json.loads(out)["faces"][0]["heatmap"]) == pytest.approx(np.full((4, 4), 127.5 / 256), abs=1e-4)
    _, out, _ = run("check", pictures / "b.png", "--json", "--detector", explaining_file)
    assert json.loads(out)["faces"][0]["heatmap"] is None


def test_heatmaps_of_a_detector_that_gives_none_are_refused_first(run, pictures: Path, detector_file: Path) -> None:
    status, _, err = run("check", pictures, "--heatmap", "--detector", detector_file)
    assert (status, "add --json or --report" in err) == (2, True)
    answer = run("check", pictures, "--json", "--heatmap", "--detector", detector_file)
    assert answer == (2, "", "realface: the detector brightness gives no heatmaps; leave --heatmap away\n")


@pytest.mark.parametrize("batch", [1, 3])
def test_a_report_holds_every_picture(run, pictures: Path, tmp_path: Path, explaining_file: Path, batch: int) -> None:
    case = tmp_path / "case.html"
    options = ("--report", case, "--json", "--batch-size", batch, "--detector", explaining_file)
    status, out, _ = run("check", pictures, pictures / "notes.txt", "-", *options, stdin=encoded(grey(3)))
    rows = [json.loads(line) for line in out.splitlines()]
    html = case.read_text("utf-8")
    assert status == 1
    assert "5 pictures: 2 real, 1 fake, 1 inconclusive, 1 no answer." in html
    assert "Standard input" in html
    for row in rows:
        assert row["sha256"] in html
        assert row["detector"]["sha256"] in html
        for face in row["faces"]:
            assert (len(face["heatmap"]), len(face["stability"])) == (4, 3)
    assert html.count('class="heat"') == 4


def test_a_report_by_a_detector_without_heatmaps(run, pictures: Path, tmp_path: Path, detector_file: Path) -> None:
    status, out, _ = run("check", pictures, "--report", tmp_path / "case.htm", "--detector", detector_file)
    assert status == 0
    assert out.splitlines()[1].endswith(": holds")
    assert "Stability: the verdict holds" in (tmp_path / "case.htm").read_text("utf-8")


def test_a_report_that_cannot_be_written_is_refused_before_anything_is_judged(
    run, pictures: Path, tmp_path: Path, detector_file: Path
) -> None:
    photo = pictures / "a.jpg"
    before = photo.read_bytes()
    for target in (tmp_path / "missing" / "case.html", tmp_path / ("x" * 300) / "case.html", photo):
        status, out, err = run("check", pictures, "--report", target, "--detector", detector_file)
        assert (status, out, "Traceback" in err, err.count("\n")) == (2, "", False, 1)
    assert photo.read_bytes() == before


def test_limits_can_be_set(run, pictures: Path, tmp_path: Path, detector_file: Path) -> None:
    (tmp_path / "wide.png").write_bytes(encoded(grey(0, 1100, 1000)))
    arguments = ("check", tmp_path / "wide.png", "-", "--json", "--detector", detector_file)
    large = encoded(grey(0), "BMP") + bytes(2**20)
    _, out, _ = run(*arguments, "--max-megabytes", 1, "--max-megapixels", 1, stdin=large)
    wide, long = map(json.loads, out.splitlines())
    assert wide["error"]["code"] == "too_many_pixels"
    assert long["error"]["code"] == "too_many_bytes"
    assert len(wide["sha256"]) == 64
    assert long["sha256"] is None  # for only its beginning was read
    status, out, _ = run(*arguments, stdin=large)
    assert [json.loads(line)["verdict"] for line in out.splitlines()] == ["real", "real"]
    assert status == 0


def test_what_a_file_says_is_a_line_of_its_own(run, tmp_path: Path, detector_file: Path) -> None:
    notes = Image.Exif()
    notes[0x010F], notes[0x0110], notes[0x0131] = "Canon", "Canon EOS 5D", "Adobe\x1b[31m\nPhotoshop"
    (tmp_path / "a.jpg").write_bytes(encoded(grey(0), "JPEG", exif=notes))
    (tmp_path / "b.jpg").write_bytes(encoded(grey(0), "JPEG"))
    _, out, _ = run("check", tmp_path, "--detector", detector_file)
    _, first, says, second, *_ = out.splitlines()
    assert first.endswith("a.jpg")
    assert says == "              the file says: camera Canon EOS 5D; software Adobe [31m Photoshop"
    assert second.endswith("b.jpg")


def test_globs_folders_and_standard_input(run, pictures: Path, detector_file: Path) -> None:
    glob = pictures / "**" / "*.[pP][nN][gG]"
    status, out, _ = run("check", glob, "-", "--json", "--detector", detector_file, stdin=encoded(grey(0)))
    rows = [json.loads(line) for line in out.splitlines()]
    assert status == 0
    assert [os.path.basename(row["path"]) for row in rows] == ["b.png", "C.PNG", "-"]
    assert rows[-1]["verdict"] == "real"
    assert len(rows[-1]["sha256"]) == 64


@pytest.mark.parametrize(("name", "code"), [("missing.jpg", "not_found"), ("*.gif", "not_found"), ("", "unreadable")])
def test_what_cannot_be_found_is_a_row_of_its_own(
    run, tmp_path: Path, detector_file: Path, name: str, code: str
) -> None:
    (tmp_path / "empty").mkdir()
    status, out, _ = run("check", tmp_path / "empty" / name, "--json", "--detector", detector_file)
    assert status == 1
    assert json.loads(out)["error"]["code"] == code


def test_batches_answer_the_same(run, pictures: Path, detector_file: Path) -> None:
    _, one, _ = run("check", pictures, "--json", "--detector", detector_file)
    _, many, _ = run("check", pictures, "--json", "--detector", detector_file, "--batch-size", 2)
    assert one == many


def test_a_name_cannot_drive_the_terminal(run, tmp_path: Path, detector_file: Path) -> None:
    path = tmp_path / "a\x1b[31m\nb.png"
    path.write_bytes(encoded(grey(0)))
    _, out, _ = run("check", path, "--detector", detector_file)
    assert "\x1b" not in out
    assert r"a\x1b[31m\nb.png" in out


@pytest.mark.parametrize(
    "arguments",
    [("check",), ("check", "x.jpg", "--detector", "nothing"), ("chekc",), ("check", "x.jpg", "--batch-size", "0")],
)
def test_wrong_usage_is_status_2_and_no_trace(run, arguments: tuple[str, ...]) -> None:
    status, _, err = run(*arguments)
    assert status == 2
    assert err
    assert "Traceback" not in err


def test_a_defect_is_one_sentence(run, monkeypatch: pytest.MonkeyPatch, detector_file: Path) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("oh")

    monkeypatch.setattr(Detector, "load", broken)
    status, _, err = run("check", "x.jpg", "--detector", detector_file)
    assert status == 70
    assert err == "realface: this is a defect in realface, please report it: ZeroDivisionError: oh\n"


def test_a_defect_can_be_looked_into(monkeypatch: pytest.MonkeyPatch, detector_file: Path) -> None:
    monkeypatch.setenv("REALFACE_DEBUG", "1")
    monkeypatch.setattr(sys, "argv", ["realface", "check", "x.jpg", "--detector", str(detector_file)])
    monkeypatch.setattr(Detector, "load", lambda *_, **__: {}["oh"])
    with pytest.raises(KeyError, match="oh"):
        cli.main()


@pytest.mark.skipif(sys.platform == "win32", reason="pipes end otherwise there")
def test_whoever_has_read_enough_may_go(pictures: Path, detector_file: Path) -> None:
    """As in `realface check folder/ | head -1`."""
    end, start = os.pipe()
    os.close(end)
    with os.fdopen(start, "w") as pipe:
        for form in ("--json",), ():
            command = [*COMMAND, "check", str(pictures), "--detector", str(detector_file), *form]
            done = subprocess.run(command, stdout=pipe, stderr=subprocess.PIPE)
            assert (done.returncode, done.stderr) == (1, b"")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
@pytest.mark.parametrize(
    ("streams", "status", "said"),
    [(">/dev/full", 2, "the disk is full"), (">&-", 1, ""), ("<&- >&- 2>&-", 1, "")],
)
def test_streams_that_take_or_give_nothing(
    pictures: Path, detector_file: Path, streams: str, status: int, said: str
) -> None:
    command = shlex.join([*COMMAND, "check", str(pictures / "notes.txt"), "-", "--detector", str(detector_file)])
    done = subprocess.run(
        f"{command} {streams}", shell=True, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    assert (done.returncode, said in done.stderr, "defect" in done.stderr) == (status, True, False)


@pytest.mark.parametrize(("name", "status"), [("a.jpg", 0), ("notes.txt", 1)])
def test_a_check_that_ends_at_once_loses_no_word(run, pictures: Path, detector_file: Path, name, status) -> None:
    arguments = ["check", str(pictures / name), "--detector", str(detector_file)]
    done = subprocess.run([*COMMAND, *arguments], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == run(*arguments)
    assert done.returncode == status


def test_the_app_is_started_as_asked_and_its_status_passed_on(run, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[tuple[object, ...]] = []

    def launch(*arguments: object, open_browser: bool) -> int:
        started.append((*arguments, open_browser))
        return 3

    monkeypatch.setattr("realface.web.launch.launch", launch)
    assert run("app")[0] == run("app", "--detector", "fast", "--port", 8600, "--no-browser")[0] == 3
    assert run("app", "--port", 70000)[0] == 2
    assert started == [("best", 8501, True), ("fast", 8600, False)]


def test_a_file_is_not_called_what_it_will_not_be(run, tmp_path: Path, pictures: Path) -> None:
    for arguments, form in (
        (("scan", pictures, "--out", tmp_path / "r.csv"), "a Parquet file"),
        (("data", "import", pictures, "--out", tmp_path / "m.CSV"), "a Parquet file"),
        (("data", "audit", pictures, "--out", tmp_path / "a.csv"), "JSON"),
        (("data", "audit", pictures, "--fix", tmp_path / "m.parquet"), "a CSV file"),
        (("data", "audit", pictures, "--fix", tmp_path / "a picture.JPG"), "a CSV file"),
        (("data", "import", pictures, "--out", tmp_path / "a picture.png"), "a Parquet file"),
    ):
        status, _, err = run(*arguments)
        assert (status, f"would be {form}, whatever its name says; give it another name" in err) == (2, True)


@pytest.mark.parametrize(("items", "total"), [((3, 1, 2), None), (iter((3, 1, 2)), 3)])
def test_progress_goes_to_standard_error_and_passes_everything_on(
    items: Iterable[int], total: int | None, capsys: pytest.CaptureFixture[str]
) -> None:
    assert list(progress.track(items, "Reading", total)) == [3, 1, 2]
    out, err = capsys.readouterr()
    assert out == ""
    assert "Reading" in err
    assert "3/3" in err


def test_version(run) -> None:
    status, out, _ = run("--version")
    assert status == 0
    assert out.startswith("realface 0.")


def test_networks_are_listed(run) -> None:
    status, out, _ = run("networks")
    assert status == 0
    row = next(line for line in out.splitlines() if line.startswith("notebook-small"))
    assert row.split()[1] == "952,065"
    assert "clip-b16" in out


def test_training_and_evaluating_from_the_command_line(run, tiny: None, tmp_path: Path) -> None:
    data = tmp_path / "data"
    for split in ("train", "valid", "test"):
        for label, level in {"Real": 60, "FAKE": 190}.items():
            (data / split / label).mkdir(parents=True)
            for i in range(6):
                (data / split / label / f"{i}.png").write_bytes(encoded(grey(level + i)))
    status, out, _ = run("train", data, "--network", "tiny", "--out", tmp_path / "r", "--set", "degradations=0")
    assert status == 0
    assert str(tmp_path / "r" / "detector.onnx") in out
    folder = tmp_path / "report"
    status, out, _ = run("evaluate", data, "--detector", tmp_path / "r" / "detector.onnx", "--out", folder)
    assert status == 0
    assert "| all | 6 | 6 | 1.0000 | 100.0 %" in out
    stored = json.loads((folder / "evaluation.json").read_text())["detectors"][0]
    assert stored["figures"]["all"]["accuracy"] == 1
    status, _, err = run("evaluate", data, "--detector", tmp_path / "r" / "detector.onnx", "--split", "tset")
    assert (status, "train, valid, test or all" in err) == (2, True)
    status, _, err = run("train", data, "--out", tmp_path / "s", "--set", "epoch=3")
    assert (status, "did you mean 'epochs'" in err) == (2, True)
    status, out, _ = run("train", data, "--network", "tiny", "--out", tmp_path / "v", "--no-detector")
    assert (status, out) == (0, f"{tmp_path / 'v'}\n")
    assert sorted(path.name for path in (tmp_path / "v").iterdir()) == [
        "checkpoints",
        "config.toml",
        "curves.png",
        "metrics.csv",
    ]


def test_resuming_nothing_says_so(run, tmp_path: Path) -> None:
    status, _, err = run("train", tmp_path, "--out", tmp_path / "r", "--resume")
    assert (status, "holds no run to go on with" in err) == (2, True)


@pytest.mark.parametrize(("words", "record"), [(("train",), "config.toml"), (("tune", "--trials", 1), "study.db")])
def test_ctrl_c_says_how_to_go_on(
    run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[object, ...], record: str
) -> None:
    from realface.training import train, tune

    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(train, "train", interrupted)
    monkeypatch.setattr(tune, "tune", interrupted)
    said = run(*words, tmp_path, "--out", tmp_path)
    assert said == (130, "", "realface: stopped; the same command goes on\n")
    (tmp_path / record).write_text("")
    said = run(*words, tmp_path, "--out", tmp_path)
    assert said == (130, "", "realface: stopped; the same command with --resume goes on\n")


def test_a_missing_file_of_a_manifest_does_not_stop_evaluation(run, tmp_path: Path, detector_file: Path) -> None:
    (tmp_path / "a.png").write_bytes(encoded(grey(0)))
    (tmp_path / "m.csv").write_text("path,label,split\na.png,real,test\nmissing.png,fake,test\n")
    status, out, _ = run("evaluate", tmp_path / "m.csv", "--detector", detector_file)
    assert (status, "| all | 1 | 0 |" in out) == (0, True)


def test_training_without_its_extra_says_what_to_install(run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pytorch_lightning", None)
    status, _, err = run("train", tmp_path, "--out", tmp_path / "r")
    assert (status, 'pip install "realface[train]"' in err) == (2, True)
