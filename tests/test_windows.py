"""Windows of native pixels: where they lie on a crop, and detectors whose graphs take them."""

from typing import Any

import numpy as np
import onnx
import pytest
from conftest import brightness_detector
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper
from skimage.data import astronaut

from realface import Detector, DetectorError, faces
from realface.card import KEY, Calibration, Card, Preprocessing, Thresholds
from realface.detector import CHANGES

GRID = [(top, left) for top in (0, 12, 24) for left in (0, 12, 24)]
"""Corners of the nine windows of 16 pixels on a crop of 40."""


def ramp(height: int, width: int | None = None) -> np.ndarray:
    """A picture whose every pixel says where it is."""
    y, x = np.mgrid[:height, : width or height]
    return np.stack([y, x, y ^ x], -1).astype(np.uint8)


def views_detector(size: int, window: int, *, card: Preprocessing | None = None, **more: Any) -> bytes:
    """A detector file whose logit is what its views say, by their brightness: (mean of all samples - 127.5) / 16 each.

    With windows it also gives `evidence`, 3 x 3: what each of them adds.

    Args:
        size, window: of the graph's inputs; 0 leaves one away.
        card: the preprocessing that is promised, where it is another.
        more: entries of the card.
    """
    inputs, nodes, views = [], [], []
    outputs = [helper.make_tensor_value_info("logit", TensorProto.FLOAT, ["n"])]
    if size:
        inputs.append(helper.make_tensor_value_info("pixels", TensorProto.UINT8, ["n", size, size, 3]))
        nodes += brightness("pixels", "whole_axes", "of_whole")
        views.append("of_whole")
    if window:
        inputs.append(helper.make_tensor_value_info("windows", TensorProto.UINT8, ["n", 9, window, window, 3]))
        outputs.append(helper.make_tensor_value_info("evidence", TensorProto.FLOAT, ["n", 3, 3]))
        nodes += [
            *brightness("windows", "window_axes", "each"),
            helper.make_node("ReduceMean", ["each", "one"], ["of_windows"], keepdims=0),
            helper.make_node("Div", ["each", "nine"], ["shares"]),
            helper.make_node("Reshape", ["shares", "grid"], ["evidence"]),
        ]
        views.append("of_windows")
    nodes.append(helper.make_node("Sum", views, ["logit"]))
    constants = [
        helper.make_tensor("whole_axes", TensorProto.INT64, [3], [1, 2, 3]),
        helper.make_tensor("window_axes", TensorProto.INT64, [3], [2, 3, 4]),
        helper.make_tensor("one", TensorProto.INT64, [1], [1]),
        helper.make_tensor("grid", TensorProto.INT64, [3], [-1, 3, 3]),
        helper.make_tensor("middle", TensorProto.FLOAT, [], [127.5]),
        helper.make_tensor("unit", TensorProto.FLOAT, [], [16.0]),
        helper.make_tensor("nine", TensorProto.FLOAT, [], [9.0]),
    ]
    graph = helper.make_graph(nodes, "views", inputs, outputs, constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    promised = card or Preprocessing(size, window=window)
    text = Card("views", "1", "none", promised, **{"thresholds": Thresholds(0.2, 0.8)} | more).to_json()
    helper.set_model_props(model, {KEY: text})
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


def brightness(name: str, axes: str, out: str) -> list[onnx.NodeProto]:
    return [
        helper.make_node("Cast", [name], [f"{name}_float"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", [f"{name}_float", axes], [f"{name}_mean"], keepdims=0),
        helper.make_node("Sub", [f"{name}_mean", "middle"], [f"{name}_centred"]),
        helper.make_node("Div", [f"{name}_centred", "unit"], [out]),
    ]


def said(crop: np.ndarray, size: int, window: int) -> tuple[float, np.ndarray]:
    """The logit of `views_detector` and its evidence, (3, 3), by hand."""
    each = (faces.windows(crop, window).mean((1, 2, 3)) - 127.5) / 16
    whole = (faces.resample(crop, size).mean() - 127.5) / 16 if size else 0.0
    return whole + each.mean(), each.reshape(3, 3) / 9


@pytest.fixture(scope="module", params=[0, 32], ids=["windows", "both"])
def views(request: pytest.FixtureRequest) -> Detector:
    return Detector(views_detector(request.param, 16))


class TestWindow:
    @pytest.mark.parametrize(
        ("across", "down", "left", "top"),
        [(0, 0, 0, 0), (1, 0, 24, 0), (0, 1, 0, 24), (1, 1, 24, 24), (0.5, 0.5, 12, 12), (0.25, 0.75, 6, 18)],
    )
    def test_lies_where_it_is_asked_for_in_native_pixels(self, across: float, down: float, left: int, top: int) -> None:
        got = faces.window(ramp(40), 16, across, down)
        assert np.array_equal(got, ramp(40)[top : top + 16, left : left + 16])

    def test_of_a_crop_of_its_size_is_the_crop(self) -> None:
        assert np.array_equal(faces.window(ramp(16), 16, 0.3, 0.8), ramp(16))

    @pytest.mark.parametrize("side", [1, 15, 20, 23])
    def test_of_a_smaller_crop_is_the_crop_enlarged(self, side: int) -> None:
        crop = astronaut()[100 : 100 + side, 200 : 200 + side]
        for place in (0.0, 1.0):
            assert np.array_equal(faces.window(crop, 24, place, place), faces.resample(crop, 24))

    @settings(max_examples=60, deadline=None, derandomize=True, database=None)
    @given(st.integers(1, 60), st.integers(1, 60), st.floats(0, 1), st.floats(0, 1))
    def test_has_its_size_wherever_it_lies(self, height: int, width: int, across: float, down: float) -> None:
        got = faces.window(ramp(height, width), 24, across, down)
        assert (got.shape, got.dtype) == ((24, 24, 3), np.uint8)

    def test_nine_lie_evenly_row_by_row(self) -> None:
        got = faces.windows(ramp(40), 16)
        assert (got.shape, got.dtype) == ((9, 16, 16, 3), np.uint8)
        assert [tuple(window[0, 0, :2].tolist()) for window in got] == GRID

    def test_nine_of_a_large_crop_reach_its_edges_and_of_a_small_one_are_the_same(self) -> None:
        got = faces.windows(ramp(200), 16)
        assert np.array_equal(got[0], ramp(200)[:16, :16])
        assert np.array_equal(got[8], ramp(200)[-16:, -16:])
        small = faces.windows(ramp(10), 16)
        assert all(np.array_equal(window, faces.resample(ramp(10), 16)) for window in small)


class TestCard:
    @pytest.mark.parametrize("preprocessing", [Preprocessing(0, window=128), Preprocessing(224, "face", window=128)])
    def test_a_window_is_read_back(self, preprocessing: Preprocessing) -> None:
        card = Card("x", "1", "none", preprocessing)
        assert Card.from_json(card.to_json()).preprocessing == preprocessing

    def test_a_graph_must_be_given_something(self) -> None:
        with pytest.raises(DetectorError, match="input sizes"):
            Card.from_json(Card("x", "1", "none", Preprocessing(0)).to_json())


class TestDetector:
    def test_crops_of_different_sizes_are_judged_in_one_batch(self, views: Detector) -> None:
        crops = [astronaut()[:side, 90 : 90 + side] for side in (300, 16, 10, 97)]
        size = views.card.preprocessing.size
        wanted = [said(crop, size, 16) for crop in crops]
        assert views.logits(crops) == pytest.approx([logit for logit, _ in wanted], abs=1e-4)
        logits, evidence = views.explain(crops)
        assert logits == pytest.approx([logit for logit, _ in wanted], abs=1e-4)
        assert evidence == pytest.approx(np.stack([cells for _, cells in wanted]), abs=1e-5)
        alone = [float(views.logits([crop])[0]) for crop in crops]
        assert alone == pytest.approx(logits.tolist(), abs=1e-5)

    def test_an_array_of_crops_is_taken_too(self, views: Detector) -> None:
        crops = np.stack([astronaut()[:40, :40], astronaut()[100:140, 200:240]])
        assert np.array_equal(views.logits(crops), views.logits(list(crops)))

    def test_a_check_looks_at_native_pixels(self, views: Detector) -> None:
        size = views.card.preprocessing.size
        pictures = [astronaut()[:height, 50 : 50 + width] for height, width in ((300, 200), (64, 90), (150, 150))]
        verdicts = list(views.check_many(pictures, batch_size=3, heatmap=True, stability=True))
        for picture, verdict in zip(pictures, verdicts, strict=True):
            crop = faces.cut(picture, faces.centre_square(picture))
            logit, cells = said(crop, size, 16)
            (face,) = verdict.faces
            assert face.probability.fake == pytest.approx(1 / (1 + np.exp(-logit)), abs=1e-5)
            assert np.array(face.heatmap) == pytest.approx(cells, abs=1e-4)
            (alone,) = views.check(picture, stability=True).faces
            trials = [[trial.probability.fake for trial in of.stability or ()] for of in (face, alone)]
            assert len(trials[0]) == 3
            assert trials[0] == pytest.approx(trials[1], abs=1e-6)

    def test_a_stability_check_cuts_windows_of_the_changed_crop(self) -> None:
        """Bright in the middle of each side: at half the size the nine windows see less of what lies between them."""
        detector = Detector(views_detector(0, 16))
        crop = np.zeros((200, 200, 3), np.uint8)
        crop[92:108] = crop[:, 92:108] = 255
        (face,) = detector.check(crop, stability=True).faces
        found = {trial.change: trial.probability.fake for trial in face.stability or ()}
        for change, do in CHANGES.items():
            assert found[change] == pytest.approx(1 / (1 + np.exp(-said(do(crop), 0, 16)[0])), abs=1e-5)
        assert len({round(fake, 3) for fake in (face.probability.fake, found["half size"])}) == 2

    def test_a_heatmap_is_in_the_log_odds_of_the_verdict(self) -> None:
        detector = Detector(views_detector(0, 16, calibration=Calibration(2.0, -0.9)))
        crop = astronaut()[:100, 100:200]
        _, cells = said(crop, 0, 16)
        (face,) = detector.check(crop, heatmap=True).faces
        assert np.array(face.heatmap) == pytest.approx(2 * cells - 0.1, abs=1e-4)

    def test_a_face_that_was_searched_for_is_cut_in_native_pixels(self) -> None:
        detector = Detector(views_detector(32, 16, card=Preprocessing(32, "face", window=16)))
        (candidate,) = faces.candidates(astronaut())
        (face,) = detector.check(astronaut()).faces
        logit, _ = said(candidate.pixels, 32, 16)
        assert face.crop == candidate.crop
        assert face.probability.fake == pytest.approx(1 / (1 + np.exp(-logit)), abs=1e-4)

    @pytest.mark.parametrize(
        ("size", "window", "promised"),
        [
            (0, 32, Preprocessing(0, window=16)),
            (32, 16, Preprocessing(32, window=32)),
            (32, 16, Preprocessing(16, window=16)),
            (0, 16, Preprocessing(32, window=16)),
            (0, 16, Preprocessing(16)),
            (32, 16, Preprocessing(32)),
            (32, 16, Preprocessing(0, window=16)),
            (32, 0, Preprocessing(0, window=32)),
            (32, 0, Preprocessing(32, window=16)),
        ],
    )
    def test_inputs_that_are_not_those_of_the_card_are_refused(
        self, size: int, window: int, promised: Preprocessing
    ) -> None:
        with pytest.raises(DetectorError, match="not those its description promises"):
            Detector(views_detector(size, window, card=promised))

    def test_other_inputs_are_refused(self) -> None:
        def edited(change: Any) -> bytes:
            model = onnx.load_from_string(views_detector(32, 16))
            change(model.graph)
            return bytes(model.SerializeToString())

        def four_windows(graph: onnx.GraphProto) -> None:
            graph.input[1].type.tensor_type.shape.dim[1].dim_value = 4

        def floats(graph: onnx.GraphProto) -> None:
            graph.input[1].type.tensor_type.elem_type = TensorProto.FLOAT

        def one_more(graph: onnx.GraphProto) -> None:
            graph.input.append(helper.make_tensor_value_info("side", TensorProto.FLOAT, ["n"]))

        def other_order(graph: onnx.GraphProto) -> None:
            inputs = [graph.input[i] for i in (1, 0)]
            del graph.input[:]
            graph.input.extend(inputs)

        Detector(edited(lambda graph: None))

        def one_at_a_time(graph: onnx.GraphProto) -> None:
            graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1

        for change in (four_windows, floats, one_more, other_order, one_at_a_time):
            with pytest.raises(DetectorError):
                Detector(edited(change))

    def test_a_detector_of_whole_faces_is_given_no_windows(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(faces, "windows", lambda *_: pytest.fail("nobody asked for windows"))
        assert Detector(brightness_detector()).logits([ramp(40)]).shape == (1,)
