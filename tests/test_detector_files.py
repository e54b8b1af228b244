"""Detector files: which are loaded, which refused, and what the package shows of itself."""

import hashlib
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import onnx
import pytest
from conftest import brightness_detector, edited, encoded, grey
from onnx import TensorProto, helper
from skimage.data import astronaut

import realface
from realface import Detector, DetectorError, DetectorId, errors
from realface.card import Preprocessing


class TestLoad:
    def test_identity(self, detector: Detector, detector_file: Path) -> None:
        sha256 = hashlib.sha256(detector_file.read_bytes()).hexdigest()
        assert detector.id == DetectorId("brightness", "1", sha256)
        assert detector.check(astronaut()).detector == detector.id
        assert detector.card.preprocessing == Preprocessing(32)

    def test_path_text_bytes_and_threads(self, detector_file: Path) -> None:
        loaded = [Detector.load(detector_file), Detector.load(str(detector_file)), Detector(detector_file.read_bytes())]
        loaded.append(Detector.load(detector_file, threads=1))
        assert len({d.id for d in loaded}) == 1
        assert len({d.check(astronaut()).faces for d in loaded}) == 1
        with pytest.raises(TypeError, match=r"Detector\.load takes a name"):
            Detector(str(detector_file))  # type: ignore[arg-type]
        for wrong in (-1, 0, 10**6):
            with pytest.raises(ValueError, match="threads must be 1 to 512"):
                Detector.load(detector_file, threads=wrong)

    def test_bundled(self, detector_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("realface.detector.bundled", lambda: {"best": detector_file})
        assert Detector.load().id.name == "brightness"
        assert Detector.load("best").id == Detector.load().id
        with pytest.raises(DetectorError, match=r"no detector 'other'.*one of: best"):
            Detector.load("other")

    def test_bundled_names_are_files(self) -> None:
        assert all(path.is_file() and path.name == f"{name}.onnx" for name, path in realface.bundled().items())

    @pytest.mark.parametrize("name", ["missing", "missing.onnx", "no/folder/x.onnx", "a\0b", "", "folder"])
    def test_missing(self, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        Path("folder").mkdir()
        with pytest.raises(DetectorError, match=r"no detector .*give a \.onnx file that is there or one of"):
            Detector.load(name)

    def test_something_else_is_named(self, tmp_path: Path) -> None:
        (tmp_path / "photo.jpg").write_bytes(b"\xff\xd8\xff")
        with pytest.raises(DetectorError, match=r"photo\.jpg: this is not a detector file"):
            Detector.load(tmp_path / "photo.jpg")


def renamed(old: str, new: str) -> Callable[[onnx.ModelProto], None]:
    """A change to a graph: another name for its input or output."""

    def change(model: onnx.ModelProto) -> None:
        for value in (*model.graph.input, *model.graph.output):
            value.name = value.name.replace(old, new)
        for node in model.graph.node:
            for names in (node.input, node.output):
                names[:] = [new if name == old else name for name in names]

    return change


def float_pixels(model: onnx.ModelProto) -> None:
    model.graph.input[0].type.tensor_type.elem_type = TensorProto.FLOAT


def second_output(model: onnx.ModelProto) -> None:
    model.graph.output.append(helper.make_tensor_value_info("mean", TensorProto.FLOAT, ["n"]))


def square_output(model: onnx.ModelProto) -> None:
    model.graph.node[1].attribute[0].i = 1  # keep the dimensions of the mean
    model.graph.output[0].CopyFrom(helper.make_tensor_value_info("logit", TensorProto.FLOAT, ["n", 1, 1, 1]))


class TestNotADetector:
    @pytest.mark.parametrize("data", [b"", b"text", b"\0" * 1000, encoded(grey(0)), brightness_detector()[:200]])
    def test_not_onnx(self, data: bytes, capfd: pytest.CaptureFixture[str]) -> None:
        with pytest.raises(DetectorError, match=r"not a detector file|not a realface detector"):
            Detector(data)
        assert capfd.readouterr() == ("", "")

    def test_no_description(self) -> None:
        with pytest.raises(DetectorError, match="not a realface detector"):
            Detector(edited(lambda model: model.ClearField("metadata_props")))

    @pytest.mark.parametrize(
        "data",
        [
            brightness_detector(preprocessing=Preprocessing(64)),
            edited(renamed("pixels", "image")),
            edited(renamed("logit", "score")),
            edited(float_pixels),
            edited(second_output),
            edited(square_output),
        ],
        ids=["size", "input", "output", "type", "two outputs", "shape"],
    )
    def test_graph_other_than_the_description_says(self, data: bytes) -> None:
        with pytest.raises(DetectorError, match="inputs and outputs"):
            Detector(data)


def outside(where: str, reverse: bool = False) -> bytes:
    """A detector file one of whose tensors lies in another file."""

    def change(model: onnx.ModelProto) -> None:
        tensor = next(t for t in model.graph.initializer if t.name == "middle")
        tensor.ClearField("float_data")
        tensor.data_location = TensorProto.EXTERNAL
        entries = [("location", where), ("offset", "0"), ("length", "4")]
        for key, value in entries[::-1] if reverse else entries:
            tensor.external_data.add(key=key, value=value)

    return edited(change)


class TestOneFile:
    @pytest.mark.parametrize(
        "where", ["secret.bin", "./secret.bin", "../{}/secret.bin", "{}/secret.bin", "/etc/passwd"]
    )
    @pytest.mark.parametrize("reverse", [False, True])
    def test_tensors_in_other_files(
        self, where: str, reverse: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "secret.bin").write_bytes(bytes(4))
        monkeypatch.chdir(tmp_path)
        data = outside(where.format(tmp_path.name if where.startswith("..") else tmp_path), reverse)
        (tmp_path / "detector.onnx").write_bytes(data)
        for load in (lambda: Detector(data), lambda: Detector.load("detector.onnx")):
            with pytest.raises(DetectorError, match="in other files"):
                load()

    def test_memory_addresses(self) -> None:
        with pytest.raises(DetectorError, match="in other files"):
            Detector(outside("*/_ORT_MEM_ADDR_/*"))

    @pytest.mark.parametrize("key", [b"\x0a\x08", b"\x0a\x88\x00", b"\x8a\x00\x08", b"\x8a\x80\x00\x88\x80\x00"])
    def test_unusual_ways_to_write_the_same(self, key: bytes) -> None:
        """A number in protobuf may take more bytes than it needs."""
        entry = key + b"location\x12\x02ab"
        tensor = onnx.TensorProto(data_location=TensorProto.EXTERNAL, name="other", data_type=1).SerializeToString()
        tensor += bytes([0x6A, len(entry)]) + entry
        graph = bytes([0x2A, len(tensor)]) + tensor
        data = brightness_detector() + bytes([0x3A, len(graph)]) + graph  # merged into the graph before it
        assert onnx.load_from_string(data).graph.initializer[-1].external_data[0].key == "location"
        with pytest.raises(DetectorError, match="in other files"):
            Detector(data)

    def test_the_word_itself_is_harmless(self) -> None:
        detector = Detector(brightness_detector(data={"location": "location"}, licence="location"))
        assert detector.card.data == {"location": "location"}

    def test_other_formats_of_onnx_runtime(self, tmp_path: Path) -> None:
        import onnxruntime as ort

        options = ort.SessionOptions()
        options.optimized_model_filepath = str(tmp_path / "detector.ort")
        options.add_session_config_entry("session.save_model_format", "ORT")
        options.log_severity_level = 4
        ort.InferenceSession(brightness_detector(), options, providers=["CPUExecutionProvider"])
        with pytest.raises(DetectorError, match="not a detector file"):
            Detector.load(tmp_path / "detector.ort")


class TestPackage:
    def test_public_names(self) -> None:
        assert realface.__all__ == [
            "Claim",
            "Crop",
            "Detector",
            "DetectorError",
            "DetectorId",
            "Face",
            "ImageError",
            "Limits",
            "Probability",
            "Problem",
            "RealfaceError",
            "Trial",
            "Verdict",
            "__version__",
            "bundled",
        ]
        assert all(hasattr(realface, name) for name in realface.__all__)
        assert re.fullmatch(r"\d+\.\d+\.\d+", realface.__version__)

    def test_import_is_light(self, detector_file: Path) -> None:
        """Judging pictures needs none of the optional parts."""
        code = (
            "import sys, realface, numpy;"
            "realface.Detector.load(sys.argv[1]).check(numpy.zeros((64, 64, 3), numpy.uint8));"
            "heavy = {'torch', 'streamlit', 'onnx', 'matplotlib', 'sklearn', 'skimage', 'scipy', 'pytorch_lightning'};"
            "print(sorted(heavy & sys.modules.keys()))"
        )
        run = subprocess.run(
            [sys.executable, "-W", "error", "-c", code, str(detector_file)], capture_output=True, text=True, check=False
        )
        assert (run.returncode, run.stdout, run.stderr) == (0, "[]\n", "")

    def test_every_error_has_its_own_code(self) -> None:
        kinds = [*errors.RealfaceError.__subclasses__(), *errors.ImageError.__subclasses__()]
        codes = [kind.code for kind in kinds]
        assert len(set(codes)) == len(codes)
        assert all(code in (errors.__doc__ or "") for code in codes if code != "image")
