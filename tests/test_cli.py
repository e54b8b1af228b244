"""The command line as its user meets it: output, order, exit status, one sentence for every failure."""

import io
import json
import os
import sys
from pathlib import Path

import pytest
from conftest import encoded, grey
from PIL import Image

from realface import cli, paths


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    def call(*arguments: object, stdin: bytes = b"") -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["realface", *map(str, arguments)])
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        with pytest.raises(SystemExit) as ended:
            cli.main()
        out, err = capsys.readouterr()
        return int(ended.value.code or 0), out, err

    return call


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    (folder / "inner").mkdir(parents=True)
    (folder / "b.png").write_bytes(encoded(grey(255)))
    (folder / "a.jpg").write_bytes(encoded(grey(0), "JPEG"))
    (folder / "inner" / "C.PNG").write_bytes(encoded(grey(128)))
    (folder / "notes.txt").write_text("not a picture")
    return folder


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
    assert "Fake at 80.0 % and above, real under 20.0 %" in out


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
    assert "a?[31m?b.png" in out


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
    def broken(*_: object) -> None:
        raise ZeroDivisionError("oh")

    monkeypatch.setattr(cli.Detector, "load", broken)
    status, _, err = run("check", "x.jpg", "--detector", detector_file)
    assert status == 70
    assert err == "realface: this is a defect in realface, please report it: ZeroDivisionError: oh\n"


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


def test_training_and_evaluating_from_the_command_line(run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from test_training import Tiny

    from realface.networks import NETWORKS

    monkeypatch.setitem(NETWORKS, "tiny", Tiny)
    data = tmp_path / "data"
    for split in ("train", "valid", "test"):
        for label, level in {"Real": 60, "FAKE": 190}.items():
            (data / split / label).mkdir(parents=True)
            for i in range(6):
                (data / split / label / f"{i}.png").write_bytes(encoded(grey(level + i)))
    status, out, _ = run("train", data, "--network", "tiny", "--out", tmp_path / "r", "--set", "degradations=0")
    assert status == 0
    assert str(tmp_path / "r" / "detector.onnx") in out
    figures = tmp_path / "figures.json"
    status, out, _ = run("evaluate", data, "--detector", tmp_path / "r" / "detector.onnx", "--out", figures)
    assert status == 0
    assert "| all | 6 | 6 | 1.0000 | 100.0%" in out
    assert json.loads(figures.read_text())["figures"]["all"]["accuracy"] == 1
    status, _, err = run("evaluate", data, "--detector", tmp_path / "r" / "detector.onnx", "--split", "tset")
    assert (status, "train, valid, test or all" in err) == (2, True)
    status, _, err = run("train", data, "--out", tmp_path / "s", "--set", "epoch=3")
    assert (status, "did you mean 'epochs'" in err) == (2, True)


def test_resuming_nothing_says_so(run, tmp_path: Path) -> None:
    status, _, err = run("train", tmp_path, "--out", tmp_path / "r", "--resume")
    assert (status, "holds no run to go on with" in err) == (2, True)


def test_a_missing_file_of_a_manifest_does_not_stop_evaluation(run, tmp_path: Path, detector_file: Path) -> None:
    (tmp_path / "a.png").write_bytes(encoded(grey(0)))
    (tmp_path / "m.csv").write_text("path,label,split\na.png,real,test\nmissing.png,fake,test\n")
    status, out, _ = run("evaluate", tmp_path / "m.csv", "--detector", detector_file)
    assert (status, "| all | 1 | 0 |" in out) == (0, True)


def test_training_without_its_extra_says_what_to_install(run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pytorch_lightning", None)
    status, _, err = run("train", tmp_path, "--out", tmp_path / "r")
    assert (status, 'pip install "realface[train]"' in err) == (2, True)


def test_an_unreadable_folder_within_a_folder_is_not_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "locked").mkdir()
    (tmp_path / "a.png").write_bytes(b"x")
    scandir = os.scandir

    def denied(path: str):
        if os.path.basename(path) == "locked":
            raise PermissionError(13, "denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", denied)
    assert list(paths.expand([str(tmp_path)])) == [str(tmp_path / "a.png"), str(tmp_path / "locked")]
