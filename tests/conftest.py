"""Shared fixtures: generated pictures, and a detector small enough to reason about."""

import errno
import io
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from PIL import Image

from realface import Detector, cli
from realface.card import KEY, Card, Preprocessing, Thresholds

LONGEST = ("export", "fuse", "scan", "notebook", "readme", "ddp", "scan_cluster", "shortcuts", "quality", "app_browser")
MAKING = ("torch", "realface.data", "realface.evaluation", "realface.networks", "realface.training")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The files that take longest come first, so that none is begun when all others are done."""
    items.sort(key=lambda item: item.path.stem.removeprefix("test_") not in LONGEST)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Coverage is of the using half: measured while the making half trains and exports, it doubles the time of that.

    (The mark `no_cover` does not help: in processes of pytest-xdist a second measurement goes on.)
    """
    things = vars(item.module).values()  # type: ignore[attr-defined]
    making = any(str(getattr(t, "__module__", None) or getattr(t, "__name__", "")).startswith(MAKING) for t in things)
    tracer = sys.gettrace()
    if not making or not type(tracer).__module__.startswith("coverage"):  # a debugger's stays
        return (yield)
    sys.settrace(None)
    try:
        return (yield)
    finally:
        sys.settrace(tracer)


def brightness_detector(size: int = 32, *, explains: bool = False, **card: object) -> bytes:
    """A detector file whose logit is (mean of all samples - 127.5) / 16: the brighter, the more fake.

    With `explains` it also gives a 4 x 4 heatmap: what the mean of each cell adds to the logit.
    """
    nodes = [
        helper.make_node("Cast", ["pixels"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["float", "axes"], ["mean"], keepdims=0),
        helper.make_node("Sub", ["mean", "middle"], ["centred"]),
        helper.make_node("Div", ["centred", "unit"], ["logit"]),
    ]
    outputs = [helper.make_tensor_value_info("logit", TensorProto.FLOAT, ["n"])]
    constants = [
        helper.make_tensor("axes", TensorProto.INT64, [3], [1, 2, 3]),
        helper.make_tensor("middle", TensorProto.FLOAT, [], [127.5]),
        helper.make_tensor("unit", TensorProto.FLOAT, [], [16.0]),
    ]
    if explains:
        nodes += [
            helper.make_node("Reshape", ["float", "cells"], ["split"]),
            helper.make_node("ReduceMean", ["split", "within"], ["means"], keepdims=0),
            helper.make_node("Sub", ["means", "middle"], ["centred_means"]),
            helper.make_node("Div", ["centred_means", "share"], ["evidence"]),
        ]
        outputs.append(helper.make_tensor_value_info("evidence", TensorProto.FLOAT, ["n", 4, 4]))
        constants += [
            helper.make_tensor("cells", TensorProto.INT64, [6], [-1, 4, size // 4, 4, size // 4, 3]),
            helper.make_tensor("within", TensorProto.INT64, [3], [2, 4, 5]),
            helper.make_tensor("share", TensorProto.FLOAT, [], [256.0]),
        ]
    graph = helper.make_graph(
        nodes,
        "brightness",
        [helper.make_tensor_value_info("pixels", TensorProto.UINT8, ["n", size, size, 3])],
        outputs,
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    defaults: dict[str, object] = {"thresholds": Thresholds(0.2, 0.8), "preprocessing": Preprocessing(size)}
    text = Card(**{"name": "brightness", "version": "1", "network": "none", **defaults, **card}).to_json()  # type: ignore[arg-type]
    helper.set_model_props(model, {KEY: text})
    onnx.checker.check_model(model)
    return model.SerializeToString()


def edited(change: Callable[[onnx.ModelProto], object]) -> bytes:
    """The brightness detector's file after a change to its graph."""
    model = onnx.load_from_string(brightness_detector())
    change(model)
    return bytes(model.SerializeToString())


@pytest.fixture(scope="session")
def detector_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("detector") / "brightness.onnx"
    path.write_bytes(brightness_detector())
    return path


@pytest.fixture(scope="session")
def detector(detector_file: Path) -> Detector:
    return Detector.load(detector_file)


def grey(level: int, width: int = 64, height: int = 64) -> Image.Image:
    """A picture of one grey, which the brightness detector answers for sure: 0 is real, 255 fake, 128 unclear."""
    return Image.new("RGB", (width, height), (level, level, level))


def encoded(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    """The bytes of `image` as a file of the given kind."""
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def full_disk(*_: object, **__: object) -> None:
    """In the place of what writes to a disk that is full."""
    raise OSError(errno.ENOSPC, "No space left on device")


def in_turns(folder: Path, images: Iterable[Image.Image]) -> None:
    """Save pictures as real and fake ones in turns: real/0.png, fake/1.png, …"""
    for i, image in enumerate(images):
        path = folder / ("real", "fake")[i % 2] / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        image.save(path)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.fixture
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """What is remembered from run to run, of this test alone."""
    monkeypatch.setenv("REALFACE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    """`Tiny` can be trained by its name."""
    from tiny import Tiny

    from realface.networks import NETWORKS

    monkeypatch.setitem(NETWORKS, "tiny", Tiny)


@pytest.fixture
def small_trunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """CLIP and EfficientNet of a few narrow layers that start from chance: quick to train and to export."""
    from realface.networks import clip, efficientnet

    for module, sizes in {
        clip: {"WIDTH": 96, "BLOCKS": 3, "TAPPED": (0, 1, 2)},
        efficientnet: {"STAGES": ((1, 3, 2, 1, 8),), "STEM": 8, "WIDTH": 16},
    }.items():
        for name, value in sizes.items():
            monkeypatch.setattr(module, name, value)
    for network in (clip.ClipB16, efficientnet.EfficientNetLite0):
        monkeypatch.setattr(network, "load_pretrained", lambda self: None)


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """The command line: arguments and standard input to exit status, standard output and standard error."""

    def call(*arguments: object, stdin: bytes = b"") -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["realface", *map(str, arguments)])
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        with pytest.raises(SystemExit) as ended:
            cli.main()
        out, err = capsys.readouterr()
        return int(ended.value.code or 0), out, err

    return call
