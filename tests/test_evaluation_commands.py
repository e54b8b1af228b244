"""Programs as detectors: what they print is not trusted."""

import json
import os
import re
import shlex
import signal
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from conftest import grey, in_turns
from onnx import TensorProto, helper

from realface import Detector
from realface.degrade import AS_IT_IS
from realface.errors import ConfigError, DetectorError
from realface.evaluation import commands
from realface.evaluation.commands import Command
from realface.evaluation.evaluate import evaluate

DOCUMENT = Path(__file__).resolve().parent.parent / "docs" / "evaluation.md"
START = "import json, os, sys, time\npaths = sys.argv[1:]\n"


@pytest.fixture
def program(tmp_path: Path):
    """Makes a command of a few lines of Python."""

    def make(body: str, seconds: float = 60) -> Command:
        path = tmp_path / "program.py"
        path.write_text(START + body)
        return Command(shlex.join([sys.executable, "-I", str(path), "{paths}"]), seconds)

    return make


@pytest.mark.parametrize("text", ["python x.py", "{paths}", "a {paths} {paths}", "a 'b", "", "a --in={paths}"])
def test_a_command_needs_one_place_for_paths(text: str) -> None:
    with pytest.raises(ConfigError):
        Command(text)


def test_lines_in_any_order_are_matched_by_path(program) -> None:
    command = program(
        "said = [\n"
        "  {'path': paths[0], 'fake': 0.25},\n"
        "  {'path': paths[1], 'faces': [{'probability': {'fake': 0.7, 'real': 0.3}, 'verdict': 'inconclusive',\n"
        "   'crop': {'box': [0, 0, 99, 99], 'roll': 0}}, {'probability': {'fake': 1}}]},\n"
        "  {'path': paths[2], 'status': 'no_face', 'faces': []},\n"
        "  {'path': paths[3], 'status': 'error', 'faces': []},\n"
        "  {'path': paths[4], 'fake': 0.5}]\n"
        "print('loading', flush=True)\n"
        "for row in reversed(said): print(json.dumps(row))\n"
        "sys.exit(1)"
    )
    got = list(command.ask(["a.png", "b.png", "-c.png", "d\n.png", "e.png", "f.png"]))
    assert [row["status"] for row in got] == ["ok", "ok", "no_face", "error", "ok", "missing"]
    assert got[0] == {"status": "ok", "side": 0, "fake": {AS_IT_IS: 0.25}, "called": {AS_IT_IS: "real"}}
    assert got[1] == {"status": "ok", "side": 99, "fake": {AS_IT_IS: 0.7}, "called": {AS_IT_IS: "inconclusive"}}
    assert got[4]["called"] == {AS_IT_IS: "fake"}


@pytest.mark.parametrize(
    "answer",
    [
        "{'path': p}",
        "{'path': p, 'fake': 1.01}",
        "{'path': p, 'fake': float('nan')}",
        "{'path': p, 'fake': True}",
        "{'path': p, 'fake': '0.5'}",
        "{'path': p, 'fake': 0.5, 'verdict': 'maybe'}",
        "{'path': p, 'fake': 0.5, 'verdict': ['fake']}",
        "{'path': p, 'faces': []}",
        "{'path': p, 'faces': {}}",
        "{'path': p, 'faces': [{'probability': 0.5}]}",
        "{'path': p, 'fake': 0.5, 'crop': {'box': [1]}}",
        "{'path': p, 'fake': 0.5, 'crop': {'box': [0, 0, -1, 0]}}",
        "{'path': [p], 'fake': 0.5}",
        "{'path': p + 'x', 'fake': 0.5}",
        "[p, 0.5]",
        "0.5",
    ],
)
def test_what_is_no_answer_counts_as_missing(program, answer: str) -> None:
    command = program(f"print(json.dumps({{'path': paths[0], 'fake': 0}}))\np = paths[1]\nprint(json.dumps({answer}))")
    assert [row["status"] for row in command.ask(["a.png", "b.png"])] == ["ok", "missing"]


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ("sys.exit(3)", "no usable answer to 2 pictures, and ended with status 3"),
        ("print('{' * 10000)", "no usable answer"),
        ("while True: print('x' * 9999)", "prints over 256 KB"),
    ],
)
def test_a_command_that_fails_is_one_sentence(program, body: str, told: str) -> None:
    with pytest.raises(DetectorError, match=told):
        list(program(body).ask(["a.png", "b.png"]))


def test_a_command_has_a_time_limit_that_its_children_share(program) -> None:
    command = program("if os.fork() == 0: time.sleep(600)\nos.wait()", seconds=0.5)
    with pytest.raises(DetectorError, match=r"over 0.5 seconds for 32 pictures; raise --command-seconds"):
        list(command.ask(["a.png"]))


def test_what_left_its_command_is_not_waited_for(program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process in a session of its own, which is not killed and keeps the pipe open."""
    waits = iter([commands.wait, lambda *_: []])  # the second time the time is up
    monkeypatch.setattr(commands, "wait", lambda *given: next(waits)(*given))
    seen = tmp_path / "seen"
    command = program(
        "if os.fork() == 0:\n"
        "  os.setsid()\n"
        f"  open({str(seen)!r}, 'w').write(str(os.getpid()))\n"
        "  print('here', flush=True)\n"
        "  time.sleep(600)\n"
        "os.wait()"
    )
    with pytest.raises(DetectorError, match="over 60 seconds"):
        list(command.ask(["a.png"]))
    os.kill(int(seen.read_text()), signal.SIGKILL)  # it would be refused were it gone


def test_a_command_that_closes_its_output_has_the_same_limit(program) -> None:
    command = program("print(json.dumps({'path': paths[0], 'fake': 1}), flush=True)\nos.close(1)\ntime.sleep(600)", 0.5)
    with pytest.raises(DetectorError, match=r"over 0\.5 seconds"):
        list(command.ask(["a.png"]))


def test_a_command_may_have_as_long_as_it_likes(program) -> None:
    assert len(list(program("print(json.dumps({'path': paths[0], 'fake': 1}))", float("inf")).ask(["a.png"]))) == 1


def test_a_command_that_is_not_there() -> None:
    with pytest.raises(DetectorError, match="cannot be run"):
        list(Command("/no/such/program {paths}").ask(["a.png"]))


def test_a_command_beside_a_file(program, tmp_path: Path, detector: Detector, monkeypatch: pytest.MonkeyPatch) -> None:
    """A third of its answers are missing: they are counted, asked for again on resuming, and not in its figures."""
    monkeypatch.setattr(commands, "BATCH", 4)
    data, out = tmp_path / "data", tmp_path / "out"
    in_turns(data / "test", (grey(255 * (i % 2), 64 + i) for i in range(9)))
    command = program(
        "for path in paths:\n"
        "  if int(os.path.basename(path)[0]) % 3: print(json.dumps({'path': path, 'fake': float('fake/' in path)}))"
    )
    done = evaluate([detector, command], data, "test", out=out)
    ours, theirs = done.result["detectors"]
    assert [Path(path).name for path in theirs["missing"]] == ["3.png", "0.png", "6.png"]
    assert theirs["unanswered"] == {"real": [2, 5], "fake": [1, 4]}
    assert (theirs["figures"]["all"]["real"], theirs["figures"]["all"]["accuracy"]) == (3, 1)
    assert (theirs["policy"], theirs["by_size"], ours["missing"]) == (None, {}, [])
    (compared,) = done.result["comparison"]
    assert (compared["first"], compared["pictures"], compared["left_out"]) == ("brightness", 6, 3)
    assert done.rows[1][0].fake.keys() == {AS_IT_IS}
    seen = tmp_path / "seen.json"
    program(f"open({str(seen)!r}, 'w').write(json.dumps(paths))\nprint(json.dumps({{'path': paths[0], 'fake': 0}}))")
    resumed = evaluate([detector, command], data, "test", out=out, resume=True)
    assert [Path(path).name for path in json.loads(seen.read_text())] == ["3.png", "0.png", "6.png"]
    assert len(resumed.result["detectors"][1]["missing"]) == 2
    program("pass")  # it has answered before, so that nothing now is no more than two pictures missing still
    again = evaluate([detector, command], data, "test", out=out, resume=True)
    assert len(again.result["detectors"][1]["missing"]) == 2
    with pytest.raises(DetectorError, match="no usable answer to 9 pictures"):
        evaluate([command], data, "test", out=tmp_path / "begun")
    assert evaluate([detector], data, "test", out=tmp_path / "begun").rows, "what failed left nothing to resume"


def test_the_documented_program_measures_any_onnx_classifier(tmp_path: Path) -> None:
    """Of a network that calls bright pictures fake, by softmax over (real, fake)."""
    graph = helper.make_graph(
        [
            helper.make_node("ReduceMean", ["image"], ["mean"], axes=[1, 2, 3], keepdims=1),
            helper.make_node("Reshape", ["mean", "shape"], ["fake"]),
            helper.make_node("Neg", ["fake"], ["real"]),
            helper.make_node("Concat", ["real", "fake"], ["logits"], axis=1),
        ],
        "bright",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["n", 3, 224, 224])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", 2])],
        [helper.make_tensor("shape", TensorProto.INT64, [2], [-1, 1])],
    )
    model, program, data = tmp_path / "model.onnx", tmp_path / "other.py", tmp_path / "data"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10), model)
    (text,) = re.findall(r"```python\n(.*?)```", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL)
    program.write_text(text, encoding="utf-8")
    in_turns(data / "test", (grey(40 + 160 * (i % 2), 64 + i) for i in range(6)))
    (data / "test" / "fake" / "broken.png").write_bytes(b"nothing")
    command = Command(shlex.join([sys.executable, str(program), str(model), "{paths}"]))
    done = evaluate([command], data, "test")
    (told,) = done.result["detectors"]
    assert (told["figures"]["all"]["auc"], told["figures"]["all"]["accuracy"]) == (1, 1)
    assert (told["unreadable"], told["missing"]) == ([str(data / "test" / "fake" / "broken.png")], [])
    logit = np.mean((200 / 255 - np.array([0.485, 0.456, 0.406])) / (0.229, 0.224, 0.225))
    fakes = [row.fake[AS_IT_IS] for row in done.rows[0] if row.label and row.fake]
    assert fakes == pytest.approx([1 / (1 + np.exp(-2 * logit))] * 3, abs=1e-4)
