"""From pictures to verdicts: what is answered, in which order, and in which form."""

import hashlib
import io
import json
import math
import os
from collections.abc import Iterator
from dataclasses import FrozenInstanceError
from pathlib import Path

import numpy as np
import pytest
from conftest import brightness_detector, encoded, grey
from PIL import Image
from skimage.data import astronaut

from realface import Claim, Crop, Detector, Face, ImageError, Limits, Probability, Problem, Verdict, errors
from realface.card import Calibration, Thresholds
from realface.results import overall

ANSWERS = [(0, "real"), (128, "inconclusive"), (255, "fake")]


def levels(picture: int) -> np.ndarray:
    return np.asarray(grey(picture))


class TestCheck:
    @pytest.mark.parametrize(("level", "answer"), ANSWERS)
    def test_verdict(self, detector: Detector, level: int, answer: str) -> None:
        verdict = detector.check(encoded(grey(level)))
        logit = (level - 127.5) / 16
        assert verdict.status == "ok"
        assert verdict.error is None
        assert verdict.verdict == answer
        assert verdict.faces[0].verdict == answer
        assert verdict.faces[0].probability.fake == pytest.approx(1 / (1 + math.exp(-logit)), rel=1e-5)

    def test_path_bytes_and_array_agree(self, detector: Detector, tmp_path: Path) -> None:
        image = astronaut()[:300, 100:350]
        data = encoded(Image.fromarray(image))
        path = tmp_path / "a.png"
        path.write_bytes(data)
        verdicts = [detector.check(picture) for picture in (path, str(path), data, image)]
        assert {verdict.faces for verdict in verdicts} == {verdicts[0].faces}
        assert [verdict.path for verdict in verdicts] == [str(path), str(path), None, None]
        sha256 = hashlib.sha256(data).hexdigest()
        assert [verdict.sha256 for verdict in verdicts] == [sha256, sha256, sha256, None]

    def test_the_path_is_repeated_as_given(
        self, detector: Detector, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "ä b.png").write_bytes(encoded(grey(0)))
        monkeypatch.chdir(tmp_path)
        assert detector.check("./ä b.png").path == "./ä b.png"
        assert detector.check(Path("ä b.png")).path == "ä b.png"

    def test_brighter_is_more_fake(self, detector: Detector) -> None:
        probabilities = [detector.check(levels(level)).faces[0].probability for level in range(256)]
        fake = [probability.fake for probability in probabilities]
        assert fake == sorted(fake)
        assert len(set(fake)) == 256
        for probability in probabilities:
            assert probability.real + probability.fake == pytest.approx(1, abs=1e-12)
            assert 0 <= probability.fake <= 1
            assert type(probability.fake) is type(probability.real) is float

    @pytest.mark.parametrize("shape", [(512, 512), (32, 32), (33, 200), (200, 33)])
    def test_astronaut(self, detector: Detector, shape: tuple[int, int]) -> None:
        image = astronaut()[: shape[0], : shape[1]]
        face = detector.check(image).faces[0]
        side = min(shape)
        assert face.box == ((shape[1] - side) // 2, (shape[0] - side) // 2, side, side)
        left, top = face.box[:2]
        logit = (image[top : top + side, left : left + side].mean() - 127.5) / 16
        assert face.probability.fake == pytest.approx(1 / (1 + math.exp(-logit)), abs=0.01)

    def test_box_is_of_the_upright_picture(self, detector: Detector) -> None:
        exif = Image.Exif()
        exif[0x0112] = 6
        assert detector.check(encoded(grey(0, 100, 60), exif=exif)).faces[0].box == (0, 20, 60, 60)

    def test_calibration_is_applied(self) -> None:
        detector = Detector(brightness_detector(calibration=Calibration(2.0, -1.0)))
        logit = 2 * (140 - 127.5) / 16 - 1
        assert detector.check(levels(140)).faces[0].probability.fake == pytest.approx(1 / (1 + math.exp(-logit)))

    def test_extreme_scores_stay_finite(self) -> None:
        detector = Detector(brightness_detector(calibration=Calibration(9e5, 0.0)))
        assert [detector.check(levels(level)).faces[0].probability.fake for level in (0, 255)] == pytest.approx([0, 1])

    def test_thresholds_of_the_file_decide(self) -> None:
        detector = Detector(brightness_detector(thresholds=Thresholds(0.0, 1.0001)))
        assert {detector.check(levels(level)).verdict for level in (0, 128, 255)} == {"inconclusive"}

    @pytest.mark.parametrize(
        ("picture", "kind"),
        [
            ("missing.jpg", errors.NotFound),
            (".", errors.Unreadable),
            ("a\0b", errors.Unreadable),
            (b"", errors.EmptyFile),
            (b"text", errors.NotAnImage),
            (encoded(grey(0))[:-40], errors.Truncated),
            (encoded(grey(0, 31, 64)), errors.TooSmall),
            (np.zeros((64, 64), np.uint8), errors.NotAnImage),
            (np.zeros((64, 31, 3), np.uint8), errors.TooSmall),
        ],
    )
    def test_unreadable_pictures(self, detector: Detector, picture: object, kind: type[ImageError]) -> None:
        with pytest.raises(kind) as caught:
            detector.check(picture)  # type: ignore[arg-type]
        (verdict,) = detector.check_many([picture])  # type: ignore[list-item]
        assert verdict.error == Problem(kind.code, str(caught.value))
        assert (verdict.status, verdict.verdict, verdict.faces) == ("error", None, ())
        assert verdict.path == (picture if isinstance(picture, str) else None)
        assert verdict.detector == detector.id

    @pytest.mark.parametrize("picture", [None, 3, [1, 2], bytearray(b"a"), io.BytesIO(), grey(0)])
    def test_no_picture_at_all_is_a_mistake_of_the_caller(self, detector: Detector, picture: object) -> None:
        with pytest.raises(TypeError, match=rf"a path, the bytes of .*, not {type(picture).__name__}$"):
            detector.check(picture)  # type: ignore[arg-type]

    def test_limits(self, detector_file: Path) -> None:
        detector = Detector.load(detector_file, limits=Limits(max_pixels=64 * 63))
        with pytest.raises(errors.TooManyPixels):
            detector.check(encoded(grey(0)))
        small = Detector.load(detector_file, limits=Limits(max_bytes=10))
        with pytest.raises(errors.TooManyBytes):
            small.check(encoded(grey(0)))


class TestCheckMany:
    def pictures(self, folder: Path) -> list[object]:
        (folder / "text.jpg").write_text("text")
        (folder / "fine.png").write_bytes(encoded(grey(255)))
        return [
            levels(0),
            folder / "missing.jpg",
            encoded(grey(255)),
            b"",
            str(folder / "text.jpg"),
            levels(128),
            folder / "fine.png",
            astronaut(),
        ]

    def test_keeps_order_and_goes_on(self, detector: Detector, tmp_path: Path) -> None:
        got = list(detector.check_many(self.pictures(tmp_path)))  # type: ignore[arg-type]
        assert [verdict.verdict or verdict.error.code for verdict in got] == [  # type: ignore[union-attr]
            *("real", "not_found", "fake", "empty", "not_an_image", "inconclusive", "fake"),
            detector.check(astronaut()).verdict,
        ]
        assert got[1].path == str(tmp_path / "missing.jpg")
        assert got[1].sha256 is None
        assert got[4].sha256 == hashlib.sha256(b"text").hexdigest()

    @pytest.mark.parametrize("batch_size", [1, 2, 3, 8, 100])
    def test_batches_do_not_change_answers(self, detector: Detector, tmp_path: Path, batch_size: int) -> None:
        pictures = self.pictures(tmp_path)
        one = list(detector.check_many(pictures))  # type: ignore[arg-type]
        many = list(detector.check_many(iter(pictures), batch_size=batch_size))  # type: ignore[arg-type]
        assert [verdict.to_dict() for verdict in many] == [verdict.to_dict() for verdict in one]

    def test_only_errors_in_a_batch(self, detector: Detector) -> None:
        assert [v.status for v in detector.check_many([b"", b"x", b""], batch_size=2)] == ["error"] * 3
        for single in ("photo.jpg", Path("photo.jpg"), b"bytes", levels(0)):
            with pytest.raises(TypeError, match="check takes one"):
                next(detector.check_many(single))  # type: ignore[arg-type]

    def test_nothing(self, detector: Detector) -> None:
        assert list(detector.check_many([])) == []

    def test_takes_pictures_only_as_they_are_needed(self, detector: Detector) -> None:
        taken = 0

        def endless() -> Iterator[np.ndarray]:
            nonlocal taken
            while True:
                taken += 1
                yield levels(0)

        verdicts = detector.check_many(endless(), batch_size=4)
        for _ in range(3):
            next(verdicts)
        assert taken == 4

    @pytest.mark.parametrize("batch_size", [0, -1])
    def test_impossible_batch_size(self, detector: Detector, batch_size: int) -> None:
        with pytest.raises(ValueError, match="batch_size"):
            list(detector.check_many([levels(0)], batch_size=batch_size))


class TestScores:
    def test_logits(self, detector: Detector) -> None:
        logits = detector.logits(np.stack([levels(level)[:32, :32] for level in (0, 100, 255)]))
        assert logits.dtype == np.float32
        assert logits == pytest.approx([(level - 127.5) / 16 for level in (0, 100, 255)])

    def test_probabilities(self, detector: Detector) -> None:
        got = detector.probabilities(np.array([-1e30, -1, 0, 1, 1e30], np.float32))
        assert got.dtype == np.float64
        assert got == pytest.approx([0, 1 / (1 + math.e), 0.5, math.e / (1 + math.e), 1])


class TestResults:
    def verdict(self, detector: Detector, tmp_path: Path) -> Verdict:
        (tmp_path / "a.png").write_bytes(encoded(grey(255, 80, 64)))
        return detector.check(tmp_path / "a.png")

    def test_json(self, detector: Detector, tmp_path: Path) -> None:
        verdict = self.verdict(detector, tmp_path)
        text = verdict.to_json()
        assert "\n" not in text
        assert json.loads(text) == verdict.to_dict()
        fake = verdict.faces[0].probability.fake
        wanted = {
            "path": str(tmp_path / "a.png"),
            "sha256": verdict.sha256,
            "status": "ok",
            "verdict": "fake",
            "faces": [
                {
                    "box": [8, 0, 64, 64],
                    "verdict": "fake",
                    "probability": {"real": 1 - fake, "fake": fake},
                    "crop": {"box": [8, 0, 64, 64], "roll": 0.0},
                    "reason": None,
                    "heatmap": None,
                    "stability": None,
                }
            ],
            "error": None,
            "detector": {"name": "brightness", "version": "1", "sha256": detector.id.sha256},
            "provenance": [],
        }
        assert json.dumps(json.loads(text)) == json.dumps(wanted)  # the order of the keys counts

    def test_json_of_an_error(self, detector: Detector) -> None:
        (verdict,) = detector.check_many([b""])
        raw = json.loads(verdict.to_json())
        assert list(raw) == ["path", "sha256", "status", "verdict", "faces", "error", "detector", "provenance"]
        assert raw["error"] == {"code": "empty", "message": "the file is empty; copy or download it again"}
        assert (raw["status"], raw["verdict"], raw["faces"], raw["provenance"]) == ("error", None, [], [])

    def test_what_the_file_says_stands_beside_the_verdict(self, detector: Detector, tmp_path: Path) -> None:
        notes = Image.Exif()
        notes[0x0131] = "Midjourney"
        data = encoded(grey(0), "JPEG", exif=notes)
        (tmp_path / "a.jpg").write_bytes(data)
        claim = Claim("generator", "Midjourney", "EXIF Software")
        for verdict in (detector.check(data), *detector.check_many([tmp_path / "a.jpg"])):
            assert verdict.provenance == (claim,)
            assert verdict.faces == detector.check(encoded(grey(0), "JPEG")).faces
            told = {"kind": "generator", "says": "Midjourney", "where": "EXIF Software"}
            assert json.loads(verdict.to_json())["provenance"] == [told]
        assert [verdict.provenance for verdict in detector.check_many([levels(0), data[:-200]])] == [(), ()]

    @pytest.mark.skipif(os.name == "nt", reason="names are text there")
    def test_names_that_are_no_text(self, detector: Detector, tmp_path: Path) -> None:
        path = os.fsdecode(os.fsencode(tmp_path) + b"/\xff\xc3.png")
        Path(path).write_bytes(encoded(grey(0)))
        text = detector.check(path).to_json()
        assert json.loads(text.encode("utf-8"))["path"] == path

    def test_frozen(self, detector: Detector, tmp_path: Path) -> None:
        verdict = self.verdict(detector, tmp_path)
        parts = (verdict, verdict.faces[0], verdict.faces[0].probability, verdict.detector, Problem("a", "b"), Limits())
        for part in parts:
            name = next(iter(part.__dataclass_fields__))
            with pytest.raises(FrozenInstanceError):
                setattr(part, name, None)
        assert hash(verdict) == hash(self.verdict(detector, tmp_path))

    @pytest.mark.parametrize(
        ("answers", "wanted"),
        [
            ([], None),
            (["real"], "real"),
            (["real", "inconclusive"], "inconclusive"),
            (["inconclusive", "real", "fake"], "fake"),
        ],
    )
    def test_overall(self, answers: list[str], wanted: str | None) -> None:
        faces = tuple(Face((0, 0, 1, 1), answer, Probability(0.5, 0.5), Crop((0, 0, 1, 1))) for answer in answers)  # type: ignore[arg-type]
        assert overall(faces) == wanted
