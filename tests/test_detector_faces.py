"""A detector that searches for faces: one answer for each, with heatmap and stability where they are asked for."""

import json

import numpy as np
import onnx
import pytest
from conftest import brightness_detector, encoded, grey
from onnx import helper, numpy_helper
from PIL import Image, ImageFilter
from skimage.data import astronaut

from realface import Detector, DetectorError, degrade, finder
from realface.card import Calibration, Preprocessing
from realface.detector import CHANGES
from realface.errors import TooManyFaces

PORTRAIT = astronaut()[:300, 90:390]


@pytest.fixture(scope="module")
def finding() -> Detector:
    return Detector(brightness_detector(explains=True, preprocessing=Preprocessing(32, "face")))


def pair() -> np.ndarray:
    """Two heads side by side: the larger dark, the smaller bright."""
    picture = np.full((300, 520, 3), 128, np.uint8)
    picture[:, :300] = PORTRAIT // 2
    smaller = np.asarray(Image.fromarray(PORTRAIT).resize((200, 200)))
    picture[50:250, 310:510] = 127 + smaller // 2
    return picture


def test_every_face_gets_an_answer_of_its_own(finding: Detector) -> None:
    verdict = finding.check(pair())
    assert verdict.status == "ok"
    large, small = verdict.faces
    assert large.box[2] > small.box[2]
    assert large.box[0] < 300 < small.box[0]
    assert (large.verdict, small.verdict) == ("real", "fake")
    assert verdict.verdict == "fake"
    for face in verdict.faces:
        left, top, side, _ = face.crop.box
        x, y, width, height = face.box
        assert left <= x + width / 2 <= left + side
        assert top <= y + height / 2 <= top + side


def test_the_probability_is_of_the_crop(finding: Detector) -> None:
    picture = pair()
    for face in finding.check(picture).faces:
        left, top, side, _ = face.crop.box
        crop = Image.fromarray(picture[top : top + side, left : left + side]).resize((32, 32), Image.Resampling.BICUBIC)
        logits = finding.logits(np.asarray(crop)[None])
        assert face.probability.fake == pytest.approx(float(finding.probabilities(logits)[0]))


def test_of_too_many_faces_none_is_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    data = brightness_detector(preprocessing=Preprocessing(32, "face"))
    detector = Detector(data, max_faces=1)
    with pytest.raises(TooManyFaces, match="more than 1 faces"):
        detector.check(pair())
    crowd, portrait = detector.check_many([encoded(Image.fromarray(pair())), PORTRAIT // 2], batch_size=2)
    assert (crowd.status, crowd.verdict, crowd.faces) == ("error", None, ())
    assert crowd.error
    assert (crowd.error.code, portrait.verdict) == ("too_many_faces", "real")
    assert len(Detector(data, max_faces=2).check(pair()).faces) == 2
    monkeypatch.setattr(finder, "MAX_FACES", 2)  # there may be more than are found
    for wrong in (0, 2):
        with pytest.raises(ValueError, match="1 to 1"):
            Detector(data, max_faces=wrong)


def test_no_face_is_a_status_and_not_an_error(finding: Detector) -> None:
    verdict = finding.check(encoded(grey(255)))
    assert (verdict.status, verdict.verdict, verdict.faces, verdict.error) == ("no_face", None, (), None)
    assert json.loads(verdict.to_json())["status"] == "no_face"


def test_a_face_that_cannot_be_judged_is_inconclusive_with_its_reason(finding: Detector) -> None:
    bright = np.minimum(PORTRAIT, 175) + 80
    assert finding.check(bright).verdict == "fake"
    blurred = np.asarray(Image.fromarray(bright).filter(ImageFilter.GaussianBlur(5)))
    verdict = finding.check(blurred)
    assert verdict.faces[0].reason == "too_blurred"
    assert verdict.faces[0].probability.fake > finding.card.thresholds.fake_from
    assert verdict.faces[0].verdict == verdict.verdict == "inconclusive"


def test_a_face_that_cannot_be_judged_does_not_speak_for_the_picture(finding: Detector) -> None:
    picture = np.full((300, 460, 3), 60, np.uint8)
    picture[:, :300] = PORTRAIT // 2
    picture[80:180, 330:430] = np.asarray(Image.fromarray(PORTRAIT // 2).resize((100, 100)))
    verdict = finding.check(picture)
    assert [face.reason for face in verdict.faces] == [None, "too_small"]
    assert [face.verdict for face in verdict.faces] == ["real", "inconclusive"]
    assert verdict.verdict == "real"


def test_batches_keep_faces_with_their_pictures(finding: Detector) -> None:
    pictures = [pair(), np.asarray(grey(0)), PORTRAIT, b"", pair()[:, :300]]
    single = [next(finding.check_many([picture], heatmap=True)) for picture in pictures]
    together = list(finding.check_many(pictures, batch_size=5, heatmap=True))
    assert [len(verdict.faces) for verdict in together] == [2, 0, 1, 0, 1]
    assert [v.status for v in together] == ["ok", "no_face", "ok", "error", "ok"]
    assert together == single


def test_a_picture_on_which_the_detector_fails_stops_no_other(
    finding: Detector, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, bad = Detector.judge, PORTRAIT // 4

    def judge(self: Detector, crops: list[np.ndarray], **asked: bool) -> object:
        if any(crop.max() < 64 for crop in crops):
            raise DetectorError("the detector fails on these pictures")
        return whole(self, crops, **asked)

    monkeypatch.setattr(Detector, "judge", judge)
    verdicts = list(finding.check_many([PORTRAIT, bad, b"", PORTRAIT], batch_size=4))
    assert [v.status for v in verdicts] == ["ok", "error", "error", "ok"]
    assert [v.error.code for v in verdicts if v.error] == ["detector", "empty"]
    with pytest.raises(DetectorError, match="fails on these"):
        finding.check(bad)


def test_a_crowd_is_judged_in_parts(finding: Detector, monkeypatch: pytest.MonkeyPatch) -> None:
    alone = finding.check(pair(), heatmap=True, stability=True)
    monkeypatch.setattr("realface.detector.FACES_AT_ONCE", 1)
    assert finding.check(pair(), heatmap=True, stability=True) == alone


def test_the_heatmap_adds_up_to_the_logit(finding: Detector) -> None:
    [face] = finding.check(PORTRAIT, heatmap=True).faces
    assert face.heatmap is not None
    assert np.shape(face.heatmap) == (4, 4)
    logit = np.log(face.probability.fake / face.probability.real)
    assert np.sum(face.heatmap) == pytest.approx(logit, abs=0.01)
    assert finding.check(PORTRAIT).faces[0].heatmap is None


def test_a_detector_without_heatmaps_says_so(detector: Detector) -> None:
    assert not detector.explains
    for picture in (PORTRAIT, np.zeros((64, 64, 3), np.uint8)):  # of which the second shows no face
        with pytest.raises(DetectorError, match="no heatmaps"):
            detector.check(picture, heatmap=True)


def test_stability_judges_the_changed_crop(finding: Detector) -> None:
    [face] = finding.check(PORTRAIT, stability=True).faces
    assert face.stability is not None
    assert [trial.change for trial in face.stability] == list(CHANGES) == ["JPEG 70", "half size", "slight blur"]
    left, top, side, _ = face.crop.box
    crop = degrade.jpeg(PORTRAIT[top : top + side, left : left + side], 70)
    inputs = np.asarray(Image.fromarray(crop).resize((32, 32), Image.Resampling.BICUBIC))[None]
    fake = float(finding.probabilities(finding.logits(inputs))[0])
    assert face.stability[0].probability.fake == pytest.approx(fake)
    assert face.stable is all(trial.verdict == face.verdict for trial in face.stability)
    assert finding.check(PORTRAIT).faces[0].stable is None


def altered(name: str, values: np.ndarray) -> Detector:
    """The brightness detector with another constant in its graph."""
    model = onnx.load_from_string(brightness_detector(explains=True))
    [constant] = [t for t in model.graph.initializer if t.name == name]
    constant.CopyFrom(numpy_helper.from_array(values, name))
    model.graph.output[1].type.tensor_type.shape.dim[1].dim_param = "rows"
    return Detector(model.SerializeToString())


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("unit", np.array(0, np.float32)),  # the logit is infinite
        ("middle", np.array(np.nan, np.float32)),
        ("cells", np.array([-1, 2, 16, 4, 8, 3])),  # a heatmap that is not square
        ("cells", np.array([-1, 5, 8, 4, 8, 3])),  # the graph fails
    ],
)
def test_scores_that_make_no_sense_are_refused(name: str, values: np.ndarray) -> None:
    with pytest.raises(DetectorError, match=r"make no sense|fails on these"):
        altered(name, values).check(np.asarray(grey(200)), heatmap=True)


@pytest.mark.parametrize("rank", [0, 2])
def test_scores_of_another_rank_than_promised_are_refused(rank: int) -> None:
    """What ONNX Runtime cannot foresee, since the rank hangs on the picture's own shape."""
    model = onnx.load_from_string(brightness_detector())
    model.graph.node[-1].output[0] = "honest"
    for name, values in {"none": [0], "ranks": [rank], "sides": [1, 1]}.items():
        model.graph.initializer.append(numpy_helper.from_array(np.array(values), name))
    for operator, inputs, output in (
        ("Shape", ["honest"], "count"),
        ("Mul", ["count", "none"], "nothing"),
        ("Add", ["ranks", "nothing"], "end"),
        ("Slice", ["sides", "none", "end"], "shape"),
        ("Reshape", ["honest", "shape"], "logit"),
    ):
        model.graph.node.append(helper.make_node(operator, inputs, [output]))
    lying = Detector(model.SerializeToString())
    with pytest.raises(DetectorError, match="make no sense"):
        lying.check(np.asarray(grey(200)))


def test_the_heatmap_is_in_the_log_odds_of_the_verdict() -> None:
    card = {"preprocessing": Preprocessing(32, "face"), "calibration": Calibration(0.5, -1.0)}
    [face] = Detector(brightness_detector(explains=True, **card)).check(PORTRAIT, heatmap=True).faces
    assert np.sum(face.heatmap) == pytest.approx(np.log(face.probability.fake / face.probability.real), abs=0.01)


@pytest.mark.parametrize("text", ["two\nlines", "\x1b[2J", "a" * 201])
def test_a_detector_cannot_drive_the_terminal(text: str) -> None:
    with pytest.raises(DetectorError, match="short and printable"):
        Detector(brightness_detector(name=text))
