"""A detector file is a program from a stranger: it is built as ours are or refused, and what it takes has bounds."""

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from conftest import brightness_detector, edited
from onnx import TensorProto, helper

import realface
from realface import Detector, DetectorError, graph
from realface.card import KEY

CROP = np.zeros((32, 32, 3), np.uint8)


def ends_with(*nodes: onnx.NodeProto, **constants: list[int]) -> bytes:
    """The brightness detector with nodes between the mean of a picture, (N,), and the number `more` added to it."""

    def change(model: onnx.ModelProto) -> None:
        model.graph.node[-1].output[0] = "before"
        model.graph.node.extend([*nodes, helper.make_node("Add", ["before", "more"], ["logit"])])
        for name, values in constants.items():
            model.graph.initializer.append(helper.make_tensor(name, TensorProto.INT64, [len(values)], values))

    return edited(change)


def body(output: str) -> onnx.GraphProto:
    value = helper.make_tensor_value_info(output, TensorProto.FLOAT, [])
    constant = helper.make_tensor("value", TensorProto.FLOAT, [], [0.0])
    return helper.make_graph([helper.make_node("Constant", [], [output], value=constant)], "body", [], [value])


def function(model: onnx.ModelProto) -> None:
    nodes = [helper.make_node("Add", ["x", "x"], ["y"])]
    model.functions.append(helper.make_function("ours", "Twice", ["x"], ["y"], nodes, [helper.make_opsetid("", 18)]))
    model.opset_import.append(helper.make_opsetid("ours", 1))


def named(operator: str, domain: str = "", **attributes: object) -> bytes:
    return ends_with(helper.make_node(operator, ["mean"], ["more"], domain=domain, **attributes))


def sparse(model: onnx.ModelProto) -> None:
    values = helper.make_tensor("s", TensorProto.FLOAT, [1], [1.0])
    places = helper.make_tensor("s_indices", TensorProto.INT64, [1], [0])
    model.graph.sparse_initializer.append(helper.make_sparse_tensor(values, places, [2**40]))


REFUSED = {
    "a loop": (named("Loop", body=body("x")), "field 6|'Loop'"),
    "a branch": (named("If", then_branch=body("x"), else_branch=body("y")), "field 6|'If'"),
    "a graph in an operator of ours": (named("Relu", body=body("x")), "field 6"),
    "a custom operator": (named("Relu", "my.domain"), r"'my\.domain\.Relu'"),
    "another of Microsoft's": (named("Inverse", "com.microsoft"), "Inverse"),
    "an operator of ours of Microsoft's": (named("MatMulNBits"), "'MatMulNBits'"),
    "machine learning of old": (named("TreeEnsembleRegressor", "ai.onnx.ml"), "TreeEnsemble"),
    "an operator that trains": (named("Adam", "ai.onnx.preview.training"), "Adam"),
    "chance": (named("RandomNormalLike"), "RandomNormalLike"),
    "memory of a number": (named("ConstantOfShape"), "ConstantOfShape"),
    "no text": (named("Re\0lu\x1b[2J"), r"'Re\\x00lu\\x1b\[2J'"),
    "a function": (edited(function), "field 25"),
    "a training graph": (edited(lambda model: model.training_info.add()), "field 20"),
    "a sparse tensor": (edited(sparse), "field 15"),
    "a group": (brightness_detector() + b"\x3b\x3c", "detector file"),
    "a field behind all others": (brightness_detector() + b"\xf8\xff\xff\xff\x0f\0", "field"),
    "a key of six bytes": (brightness_detector() + b"\x88\x80\x80\x80\x80\x01\x0a", "detector file"),
    "a number without an end": (brightness_detector() + b"\x08" + b"\xff" * 11, "detector file"),
    "a part that is too long": (brightness_detector() + b"\x3a\xff\xff\xff\xff\x0f", "detector file"),
    "a graph that is a number": (brightness_detector() + b"\x38\x01", "detector file"),
    "too many parts": (brightness_detector() + b"\x08\x0a" * graph.MAX_PARTS, "more parts"),
}


class TestStructure:
    @pytest.mark.parametrize("case", REFUSED)
    def test_refused_before_onnx_runtime_sees_it(
        self, case: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
    ) -> None:
        data, said = REFUSED[case]
        monkeypatch.setattr(ort, "InferenceSession", lambda *_, **__: pytest.fail("it was loaded"))
        with pytest.raises(DetectorError, match=said) as error:
            Detector(data)
        assert len(str(error.value)) < 200
        assert str(error.value).isprintable()
        assert capfd.readouterr() == ("", "")

    def test_a_domain_that_only_we_would_read_as_ours(self) -> None:
        """A field of the wrong kind is passed over by protobuf: the domain before it would hold."""
        node = helper.make_node("Relu", ["mean"], ["more"], domain="evil").SerializeToString() + b"\x38\x00"
        part = b"\x0a" + bytes([len(node)]) + node
        with pytest.raises(DetectorError):
            Detector(brightness_detector() + b"\x3a" + bytes([len(part)]) + part)

    @pytest.mark.parametrize("name", realface.bundled())
    def test_ours_pass_with_room_to_spare(self, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(graph, "MAX_PARTS", graph.MAX_PARTS // 10)
        graph.check(realface.bundled()[name].read_bytes())

    def test_every_cut_and_every_changed_byte_is_answered(self, rng: np.random.Generator) -> None:
        whole = brightness_detector()
        graph.check(whole)
        for _ in range(3000):
            data = bytearray(whole[: rng.integers(1, len(whole) + 1)])
            for place in rng.integers(0, len(data), 3):
                data[place] = rng.integers(256)
            try:
                graph.check(bytes(data))
            except DetectorError:
                continue


class TestWhatAGraphMayTake:
    def test_memory(self, tmp_path: Path) -> None:
        """Each node doubles what it is given. In a process of its own, on a machine of 256 MB as it is told."""
        doubled = [helper.make_node("Concat", [f"x{i}", f"x{i}"], [f"x{i + 1}"], axis=0) for i in range(40)]
        first = helper.make_node("Reshape", ["float", "flat"], ["x0"])
        last = helper.make_node("ReduceMean", ["x40"], ["more"], keepdims=0)
        (tmp_path / "hostile.onnx").write_bytes(ends_with(first, *doubled, last, flat=[-1]))
        code = (
            "import os; os.sysconf = {'SC_PAGE_SIZE': 4096, 'SC_PHYS_PAGES': 2**16}.get;"
            "import numpy, resource, realface; detector = realface.Detector.load('hostile.onnx');"
            "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
            "try: detector.logits([numpy.zeros((32, 32, 3), numpy.uint8)])\n"
            "except realface.DetectorError as error: print(error)\n"
            "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)"
        )
        done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
        said, kilobytes = done.stdout.splitlines()
        assert said == "the detector brightness fails on these pictures"
        assert int(kilobytes) < 160_000
        assert done.stderr == ""

    def test_memory_of_a_number(self) -> None:
        grown = helper.make_node("Expand", ["mean", "shape"], ["grown"])
        last = helper.make_node("ReduceMean", ["grown"], ["more"], keepdims=0)
        detector = Detector(ends_with(grown, last, shape=[2**40, 1]))
        with pytest.raises(DetectorError, match="fails on these pictures"):
            detector.logits([CROP])
        with pytest.raises(DetectorError, match="fails on these pictures; give 16 or fewer at a time"):
            detector.logits([CROP] * 17)

    def test_time(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("realface.detector.MAX_SECONDS", 0.05)
        nodes = [helper.make_node("Expand", ["mean", "shape"], ["x0"])]
        nodes += [helper.make_node("MatMul", [f"x{i}", f"x{i}"], [f"x{i + 1}"]) for i in range(1000)]
        nodes.append(helper.make_node("ReduceMean", ["x1000"], ["more"], keepdims=0))
        detector = Detector(ends_with(*nodes, shape=[500, 500]), threads=1)
        with pytest.raises(DetectorError, match="takes too long on these pictures"):
            detector.logits([CROP])

    def test_constants_are_not_worked_out_while_it_is_loaded(self) -> None:
        nodes = [helper.make_node("Expand", ["middle", "shape"], ["x0"])]
        nodes += [helper.make_node("MatMul", [f"x{i}", f"x{i}"], [f"x{i + 1}"]) for i in range(1000)]
        nodes.append(helper.make_node("ReduceMean", ["x1000"], ["more"], keepdims=0))
        Detector(ends_with(*nodes, shape=[4000, 4000]))  # a thousand products of 64 billion multiplications each

    def test_a_tensor_that_says_it_is_larger_than_it_is(self) -> None:
        def change(model: onnx.ModelProto) -> None:
            model.graph.initializer[1].dims[:] = [2**40]

        with pytest.raises(DetectorError, match="not a detector file"):
            Detector(edited(change))


class TestFile:
    def test_more_bytes_than_any_detector(self, tmp_path: Path) -> None:
        with (tmp_path / "huge.onnx").open("wb") as file:
            file.truncate(2**40)  # takes no room on the disk
        with pytest.raises(DetectorError, match=r"1,099,511,627,776 bytes, more than any detector"):
            Detector.load(tmp_path / "huge.onnx")

    @pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes here")
    def test_a_pipe_or_a_device_does_not_hang(self, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "pipe.onnx")
        for path in (tmp_path / "pipe.onnx", Path("/dev/zero")):
            with pytest.raises(DetectorError, match=re.escape(f"no detector {str(path)!r}")):
                Detector.load(path)

    @pytest.mark.parametrize(
        "text", ["[" * 100_000, '{"a":' * 100_000, f'{{"format": {"1" * 5000}}}', " " * 2**20 + "{}", '"' + "x" * 2**24]
    )
    def test_a_description_that_is_a_bomb(self, text: str) -> None:
        with pytest.raises(DetectorError, match="description is damaged"):
            Detector(edited(lambda model: helper.set_model_props(model, {KEY: text})))
