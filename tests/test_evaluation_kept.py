"""What an evaluation keeps: going on after it was killed, generators, hostile files, the report for people."""

import json
from argparse import ArgumentTypeError
from collections.abc import Iterator
from html import escape
from pathlib import Path

import numpy as np
import pytest
from conftest import brightness_detector, encoded, grey
from filelock import FileLock

from realface import Detector
from realface.cli.evaluate import _tell
from realface.degrade import AS_IT_IS
from realface.errors import DataError
from realface.evaluation import evaluate as evaluating
from realface.evaluation import rows
from realface.evaluation.evaluate import Evaluation, evaluate
from realface.evaluation.origin import origin, parser_of, result_file, tell
from realface.evaluation.page import mistakes, page
from realface.evaluation.plots import curves
from realface.evaluation.rows import answers
from realface.evaluation.scores import Seen

HOSTILE = '<script>alert("$x$")</script>&\u202e'


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Ten pictures of one source, the fakes brighter, by two generators and an unknown one; two have a wrong label."""
    lines = ["path,label,source,split,generator"]
    for i in range(10):
        label, level = ("real", 40 + i) if i % 2 == 0 else ("fake", 200 + i)
        level = {8: 250, 9: 10}.get(i, level)
        name = f"{i}.png" if i != 9 else "<b>9&.png"
        (tmp_path / name).write_bytes(encoded(grey(level, 64 + i, 80)))
        made = {1: "gan", 3: "gan", 5: HOSTILE, 7: HOSTILE}.get(i, "")
        lines.append(f'"{name}",{label},s,test,"{made.replace(chr(34), chr(34) * 2)}"')
    (tmp_path / "broken.png").write_bytes(b"")
    (tmp_path / "manifest.csv").write_text("\n".join([*lines, "broken.png,real,s,test,"]))
    return tmp_path


def figures(evaluation: Evaluation) -> dict:
    """The result without what is timed."""
    (known,) = evaluation.result["detectors"]
    return evaluation.result | {"detectors": [{key: value for key, value in known.items() if key != "seconds"}]}


def test_a_killed_run_goes_on_where_it_stopped(data: Path, detector: Detector, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = evaluate([detector], data, "test")
    out, look = data / "out", evaluating.look
    asked: list[int] = []

    def killed(detector: Detector, paths: list, *rest: object) -> Iterator[Seen | str]:
        asked.append(len(paths))
        for number, seen in enumerate(look(detector, paths, *rest)):  # type: ignore[arg-type]
            if number == 4 and len(asked) == 1:
                raise KeyboardInterrupt
            yield seen

    monkeypatch.setattr(evaluating, "look", killed)
    with pytest.raises(KeyboardInterrupt):
        evaluate([detector], data, "test", out=out)
    store = out / rows.FILE
    assert len(store.read_text().splitlines()) == 4
    store.write_text(store.read_text() + '{"path": "half a li')
    with pytest.raises(DataError, match="add --resume to go on with it"):
        evaluate([detector], data, "test", out=out)
    resumed = evaluate([detector], data, "test", out=out, resume=True)
    assert asked == [11, 7]
    assert figures(resumed) == figures(whole)
    assert rows.read(store) == resumed.rows[0] == whole.rows[0]
    evaluate([detector], data, "test", out=out, resume=True)
    assert asked == [11, 7, 0]
    with pytest.raises(DataError, match="holds no evaluation to go on with"):
        evaluate([detector], data, "test", out=data / "none", resume=True)


def test_two_do_not_write_one_folder(data: Path, detector: Detector) -> None:
    out = data / "out"
    evaluate([detector], data, "test", out=out)
    left = sorted(path.name for path in out.iterdir())
    with FileLock(out / "lock"), pytest.raises(DataError, match="another run is at work"):
        evaluate([detector], data, "test", out=out, resume=True)
    evaluate([detector], data, "test", out=out, resume=True)
    assert sorted(path.name for path in out.iterdir()) == left == [rows.FILE]


def test_the_scores_are_not_written_again_once_the_folder_is_free(
    data: Path, detector: Detector, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = evaluate([detector], data, "test", out=data / "out")
    monkeypatch.setattr(rows, "write", lambda *_: pytest.fail("another run may be at work there by now"))
    _tell(done, data / "out", {})
    assert (data / "out" / "report.html").exists()


def test_generators_are_of_fakes_whatever_a_row_says() -> None:
    rest = {"sha256": "", "source": "", "detector": "", "code": "", "status": "ok"}
    judged = {"fake": {AS_IT_IS: 0.5}, "called": {AS_IT_IS: "fake"}}
    made = [rows.Row(path=name, label=label, generator=name, **rest, **judged) for label, name in enumerate("ab")]
    assert list(evaluating.measured(made)["by_generator"]) == ["b"]


def test_what_has_changed_is_judged_again(data: Path, detector: Detector, monkeypatch: pytest.MonkeyPatch) -> None:
    out = data / "out"
    before = evaluate([detector], data, "test", out=out).rows[0]
    (data / "0.png").write_bytes(encoded(grey(255)))
    manifest = data / "manifest.csv"
    manifest.write_text(manifest.read_text().replace('2.png",real', '2.png",fake'))
    after = evaluate([detector], data, "test", out=out, resume=True).rows[0]
    changed = [new for old, new in zip(before, after, strict=True) if old != new]
    assert [Path(row.path).name for row in changed] == ["0.png", "2.png"]
    assert (changed[0].called[AS_IT_IS], changed[1].label) == ("fake", 1)
    assert not after[0].answers(after[0], "another detector", [AS_IT_IS])
    assert not after[0].answers(after[0], after[0].detector, ["JPEG 50"])
    monkeypatch.setattr(rows, "program", lambda: "another program")
    assert not after[0].answers(after[0], after[0].detector, [AS_IT_IS])


def test_scores_are_kept_from_a_command_that_would_lose_them(data: Path, detector: Detector) -> None:
    out = data / "out"
    with pytest.raises(DataError, match="named twice"):
        evaluate([detector, detector], data, "test", out=out)
    evaluate([detector], data, "test", out=out)
    before = (out / rows.FILE).read_text()
    other = Detector(brightness_detector(name="other"))
    for judges, every in (([detector], 2), ([other], 1)):
        with pytest.raises(DataError, match="not asked for now; ask for all of them again, or choose another --out"):
            evaluate(judges, data, "test", every=every, out=out, resume=True)
    assert (out / rows.FILE).read_text() == before
    assert len(evaluate([detector, other], data, "test", out=out, resume=True).rows) == 2


def test_generators_are_those_of_the_manifest_and_else_the_source(data: Path, detector: Detector) -> None:
    (known,) = evaluate([detector], data, "test").result["detectors"]
    assert {name: row["fake"] for name, row in known["by_generator"].items()} == {"gan": 2, HOSTILE: 2, "s": 1}
    assert all(row["real"] == 0 for row in known["by_generator"].values())
    assert (known["worst_generator"], known["by_generator"]["s"]["apcer"]) == ("s", 1)
    assert known["unreadable"] == [str(data / "broken.png")]
    assert known["unanswered"] == {"real": [1, 6], "fake": [0, 5]}


def test_the_report_is_one_file_that_runs_nothing(data: Path, detector: Detector) -> None:
    done = evaluate([detector], data, "test", grid=True)
    done.result["detectors"][0]["name"] = HOSTILE
    html = page(done, {"Command": HOSTILE})
    assert "<script" not in html.lower()
    assert "\u202e" not in html
    assert "<b>9&" not in html
    assert "&lt;b&gt;9&amp;.png" in html
    assert "default-src 'none'" in html
    assert "caption, thead, .case > .rf-verdict { break-after: avoid }" in html  # no head of a table stays behind
    for loads in ("url(http", 'src="http', 'href="http', "@import"):
        assert loads not in html
    assert html.count("<svg role=") == 5
    assert html.count('src="data:image/jpeg;base64') == 2
    assert "real, called fake" in html
    assert "this is no conformance test" in html
    assert "decides: fake at 80 % and above, real under 20 %, in between inconclusive." in html
    assert f"onnxruntime {done.result['versions']['onnxruntime']}" in html
    assert escape(done.result["machine"]) in html
    assert "too few samples to say" in html
    assert "APCER at BPCER 0.1 %" in html
    assert "APNRR" in html


def test_a_detector_without_points_leaves_its_column_empty(data: Path, detector: Detector) -> None:
    """One that answers a single class has none; what the next one has does not slip into its place."""
    done = evaluate([detector], data, "test")
    (known,) = done.result["detectors"]
    done.result["detectors"] = [known | {"name": "a", "operating_points": []}, known | {"name": "b"}]
    row = page(Evaluation(done.result, done.rows * 2), {}).partition("APCER at BPCER 1 %</th>")[2].partition("</tr>")[0]
    assert row.startswith("<td>-</td><td><b>")


def test_curves_of_one_class_are_drawn_without_a_warning(data: Path, detector: Detector) -> None:
    done = evaluate([detector], data, "test")
    reals = [row for row in done.rows[0] if row.label == 0]
    assert all("<svg" in drawn for drawn in curves({"a": answers(reals)}))


def test_one_in_so_many_is_taken_of_each_class(tmp_path: Path, detector: Detector) -> None:
    lines = [f"{i:03}_{label}.png,{label},s,test" for i in range(5) for label in ("fake", "real")]
    (tmp_path / "manifest.csv").write_text("\n".join(["path,label,source,split", *lines]))
    for i, line in enumerate(lines):
        (tmp_path / line.partition(",")[0]).write_bytes(encoded(grey(9 * i)))
    row = evaluate([detector], tmp_path, "test", every=2).result["detectors"][0]["figures"]["all"]
    assert (row["real"], row["fake"]) == (3, 3)


@pytest.mark.parametrize("git", [None, "exit 128"])
def test_figures_are_told_where_git_is_not_willing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, git: str) -> None:
    """It refuses folders of other users, as in a container."""
    if git:
        (tmp_path / "git").write_text(f"#!/bin/sh\n{git}\n")
        (tmp_path / "git").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "commit" not in origin()
    assert "realface" in origin()["versions"]


def test_a_place_that_takes_no_figures_is_refused_before_they_are_measured(tmp_path: Path) -> None:
    assert result_file(str(tmp_path / "new" / "a.json")).parent.is_dir()
    (tmp_path / "file").touch()
    for wrong in (tmp_path, tmp_path / "file" / "a.json"):
        with pytest.raises(ArgumentTypeError, match=f"^{wrong} (is a folder|cannot be written)"):
            result_file(str(wrong))


def test_figures_are_kept_under_the_name_of_their_script(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "results").mkdir()
    tell({"a": 1}, parser_of(f"{tmp_path}/benchmarks/speed.py", "Speed.").parse_args([]).out)
    assert (tmp_path / "results" / "speed.json").read_text() == capsys.readouterr().out == '{\n "a": 1\n}\n'


def test_the_most_confident_mistakes_come_first(rng: np.random.Generator) -> None:
    some = [
        rows.Row(f"{i}", f"{i}", 0, "", "", "d", "c", "ok", 9, {AS_IT_IS: fake}, {AS_IT_IS: called})
        for i, (fake, called) in enumerate([(0.9, "fake"), (0.1, "real"), (0.99, "fake"), (0.6, "inconclusive")])
    ]
    assert mistakes(rows.answers(some)) == [2, 0]
    assert len(mistakes(rows.answers(some[:1] * 50))) == 12


def test_a_full_disk_is_one_sentence(data: Path, detector: Detector, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(row: rows.Row) -> str:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(rows, "line", full)
    with pytest.raises(DataError, match="cannot be written to: No space left"):
        evaluate([detector], data, "test", out=data / "out")


GOOD = {"path": "a", "sha256": "b", "label": 1, "source": "", "generator": "", "detector": "d", "code": "c"}
GOOD |= {"status": "ok", "side": 64, "fake": {AS_IT_IS: 0.5}, "called": {AS_IT_IS: "fake"}}


@pytest.mark.parametrize(
    "change",
    [
        {"label": 2},
        {"label": "fake"},
        {"path": 3},
        {"status": "fine"},
        {"side": -1},
        {"side": "64"},
        {"side": 2**70},
        {"fake": {AS_IT_IS: 1.5}},
        {"fake": {AS_IT_IS: float("nan")}},
        {"fake": {AS_IT_IS: None}},
        {"fake": [0.5]},
        {"called": {AS_IT_IS: "maybe"}},
        {"called": {}},
        {"fake": {}, "called": {}},
        {"extra": 1},
    ],
)
def test_scores_that_are_none_are_refused(tmp_path: Path, change: dict) -> None:
    path = tmp_path / rows.FILE
    for end in ("\n", "", "\n" + json.dumps(GOOD)[:-9]):  # of an editor, of a run that was killed
        path.write_text(json.dumps(GOOD) + end)
        assert len(rows.read(path)) == 1
    path.write_text(json.dumps(GOOD | change) + "\n")
    with pytest.raises(DataError, match="damaged, or holds no scores"):
        rows.read(path)


@pytest.mark.parametrize("content", [b"[]\n", b"{}\n", b"\xff\n", b"[" * 99999 + b"\n", b"PK\x03\x04\n"])
def test_files_that_are_something_else_are_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / rows.FILE).write_bytes(content)
    with pytest.raises(DataError):
        rows.read(tmp_path / rows.FILE)
    with pytest.raises(DataError, match="cannot be read"):
        rows.read(tmp_path / "missing")
