"""Two detectors in a row."""

import pytest
from conftest import brightness_detector, encoded, grey

from realface import Detector
from realface.card import Thresholds
from realface.cascade import Cascade
from realface.images import Limits
from realface.scan.worker import load

FIRST = Detector(brightness_detector(name="small"))
SECOND = Detector(brightness_detector(name="large", thresholds=Thresholds(0.5, 0.5)))


def test_what_the_first_is_unsure_of_is_judged_by_the_second_in_order() -> None:
    levels = [0, 128, 255, 126, 0, 129]
    pictures = [encoded(grey(level)) for level in levels]
    verdicts = list(Cascade(FIRST, SECOND).check_many(pictures))
    assert [v.detector.name for v in verdicts] == ["small", "large", "small", "large", "small", "large"]
    assert [v.verdict for v in verdicts] == ["real", "fake", "fake", "real", "real", "fake"]
    alone = list(SECOND.check_many(pictures[1:2]))
    assert verdicts[1] == alone[0]


def test_a_file_that_cannot_be_read_is_not_sent_on() -> None:
    (verdict,) = Cascade(FIRST, SECOND).check_many([b"no picture"])
    assert (verdict.status, verdict.detector.name) == ("error", "small")


def test_a_face_with_a_reason_is_not_sent_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Detector, "unfamiliar", lambda _, novelty: [True] * len(novelty))
    (verdict,) = Cascade(FIRST, SECOND).check_many([encoded(grey(128))])
    assert (verdict.faces[0].reason, verdict.detector.name) == ("unfamiliar", "small")


def test_its_hash_is_of_both_files() -> None:
    one, other = Cascade(FIRST, SECOND).id, Cascade(SECOND, FIRST).id
    assert one.name == "auto"
    assert one.sha256 != other.sha256
    assert one == Cascade(FIRST, SECOND).id


def test_a_scan_can_use_the_bundled_ones() -> None:
    cascade = load("auto", Limits())
    assert isinstance(cascade, Cascade)
    assert cascade.id.sha256 not in (Detector.load("best").id.sha256, Detector.load("fast").id.sha256)
