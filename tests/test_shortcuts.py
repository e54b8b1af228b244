"""Planted shortcuts are found, and nothing is found where nothing is."""

import csv
from collections import Counter
from pathlib import Path

import pytest
from conftest import encoded
from helpers import FACES
from PIL import ImageFilter
from planted import Data, cloud

from realface.data.audit import Audit, audit
from realface.data.shortcuts import FINE, GIVES_AWAY, LEANS, LEAST, TOO_FEW, Shortcut
from realface.data.summary import summary


@pytest.fixture
def data(tmp_path: Path) -> Data:
    return Data(tmp_path / "data")


def found(audit: Audit, source: str = "") -> dict[str, Shortcut]:
    return {s.fact: s for s in audit.shortcuts if s.source == source}


def filled(data: Data, each: int, save) -> Path:
    """`each` pictures a class, five splits deep; `save` encodes (seed, label)."""
    splits = ["train", "train", "train", "valid", "test"]
    for n in range(2 * each):
        label = ("real", "fake")[n % 2]
        data.add(f"{n:04}", save(n, label), label, splits[n // 2 % 5])
    return data.done()


class TestShortcuts:
    def test_a_clean_set_is_called_clean(self, data: Data) -> None:
        clean = audit(filled(data, 60, lambda n, label: encoded(cloud(n), "JPEG")))
        assert {s.verdict for s in clean.shortcuts} == {FINE}
        assert all(0.3 < s.auc < 0.7 for s in clean.shortcuts)
        assert clean.problems == clean.notes == []
        assert "No problems found" in summary(clean)

    @pytest.mark.parametrize(
        ("fact", "value", "save"),
        [
            ("format", "real JPEG (100%), fake PNG", lambda n, fake: encoded(cloud(n), "PNG" if fake else "JPEG")),
            (
                "dimensions",
                "real 96x96 (100%), fake 112x112",
                lambda n, fake: encoded(cloud(n, (112, 112) if fake else (96, 96)), "JPEG"),
            ),
            (
                "aspect",
                "real 1.00 (100%), fake 0.75",
                lambda n, fake: encoded(cloud(n, (72, 96) if fake else (96, 96)), "JPEG"),
            ),
            (
                "quantisation",
                "real 1858/2780 (100%), fake 369/558",
                lambda n, fake: encoded(cloud(n), "JPEG", quality=95 if fake else 75),
            ),
            (
                "chroma",
                "real 4:2:0 (100%), fake 4:4:4",
                lambda n, fake: encoded(cloud(n), "JPEG", subsampling=0 if fake else 2),
            ),
            (
                "progressive",
                "real not (100%), fake progressive",
                lambda n, fake: encoded(cloud(n), "JPEG", progressive=bool(fake)),
            ),
            (
                "metadata",
                "real exif (100%), fake none",
                lambda n, fake: encoded(cloud(n), "JPEG", exif=b"" if fake else b"Exif\0\0MM\0*\0\0\0\x08\0\0\0\0\0\0"),
            ),
            (
                "mean colour",
                "",
                lambda n, fake: encoded(cloud(n) if fake else cloud(n).convert("L").convert("RGB"), "JPEG"),
            ),
            (
                "spectrum",
                "",
                lambda n, fake: encoded(cloud(n).filter(ImageFilter.GaussianBlur(1.5)) if fake else cloud(n), "PNG"),
            ),
        ],
    )
    def test_planted(self, data: Data, fact: str, value: str, save) -> None:
        planted = audit(filled(data, 36, lambda n, label: save(n, label == "fake")))
        told = found(planted)
        assert told[fact].auc > 0.95
        assert told[fact].verdict == GIVES_AWAY
        assert told[fact].values.startswith(value)
        assert told["all facts together"].verdict == GIVES_AWAY
        assert f"{fact} (" in planted.problems[0]
        assert f"{fact}: {GIVES_AWAY} (AUC {told[fact].auc:.2f})" in summary(planted)

    def test_an_untold_half_leans(self, data: Data) -> None:
        leaning = audit(
            filled(data, 100, lambda n, label: encoded(cloud(n), "PNG" if label == "fake" and n % 4 == 1 else "JPEG"))
        )
        assert found(leaning)["format"].auc == pytest.approx(0.75, abs=0.04)
        assert found(leaning)["format"].verdict == LEANS
        assert leaning.problems == []
        assert "the label leans on" in leaning.notes[0]

    def test_within_a_source_although_all_in_all_there_is_nothing(self, data: Data) -> None:
        """Two sources with the same shortcut the other way round cancel out, until each is looked at."""
        for n in range(160):
            label, source = ("real", "fake")[n % 2], ("one", "two")[n // 2 % 2]
            large = (label == "fake") == (source == "one")
            data.add(f"{n}.jpg", encoded(cloud(n, (112, 112) if large else (96, 96)), "JPEG"), label, source=source)
        both = audit(data.done())
        assert found(both)["dimensions"].verdict == FINE
        assert found(both, "one")["dimensions"].auc == found(both, "two")["dimensions"].auc == 1
        assert [problem.split(",")[0] for problem in both.problems] == ["in one", "in two"]

    def test_copies_do_not_tell_the_label_of_their_copies(self, data: Data) -> None:
        """Every picture is there four times: without grouped folds its colour would name it."""
        crowd = audit(
            filled(data, 120, lambda n, label: encoded(cloud(n // 8 * 2 + n % 2), "JPEG", quality=70 + n // 2 % 4))
        )
        assert len(crowd.near) == 60
        assert found(crowd)["mean colour"].auc < 0.7

    def test_a_source_of_too_few_is_left_alone_among_others(self, data: Data) -> None:
        for n in range(140):
            label, source = ("real", "fake")[n % 2], "small" if n < 40 else "large"
            data.add(f"{n}.jpg", encoded(cloud(n), "JPEG"), label, source=source)
        told = audit(data.done())
        assert [s.verdict for s in told.shortcuts if s.source == "small"] == [TOO_FEW]
        assert {s.verdict for s in told.shortcuts if s.source == "large"} == {FINE}
        assert told.notes == ["too few pictures of a class to look for shortcuts: small"]

    def test_too_few_to_say(self, data: Data) -> None:
        few = audit(filled(data, LEAST - 1, lambda n, label: encoded(cloud(n), "PNG" if label == "fake" else "JPEG")))
        assert [(s.auc, s.verdict) for s in few.shortcuts] == [(None, TOO_FEW)]
        assert few.problems == []
        assert TOO_FEW in summary(few)

    def test_copies_of_few_pictures_are_few(self, data: Data) -> None:
        few = audit(filled(data, 32, lambda n, label: encoded(cloud(n % 4), "JPEG", quality=60 + n // 4)))
        assert len(few.near) == 4
        assert [(s.auc, s.verdict) for s in few.shortcuts] == [(None, TOO_FEW)]

    def test_sources_of_one_class_and_uneven_splits_are_noted(self, data: Data) -> None:
        for n in range(12):
            data.add(
                f"{n}.png",
                encoded(cloud(n)),
                "real" if n < 10 else "fake",
                split="train",
                source="cam" if n < 6 else "web",
            )
        data.add("x.png", encoded(cloud(20)), split="valid", source="web")
        data.add("y.png", encoded(cloud(21)), "fake", split="valid", source="web")
        noted = audit(data.done())
        assert noted.one_class == {"cam": "real"}
        assert any("learning the source is learning the label" in note and "43%" in note for note in noted.notes)
        assert "train is uneven: 10 real, 2 fake" in noted.notes
        assert "real: cam" in summary(noted)


@pytest.mark.skipif(not FACES.is_dir(), reason="../shared/faces is not here")
def test_the_trap_in_the_project_s_own_faces(tmp_path: Path) -> None:
    with (FACES / "manifest.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["source"] in ("humanfaces", "140k-b")]
    chosen = [row for n, row in enumerate(rows) if row["source"] == "humanfaces" or n % 3 == 0]
    lines = [f"{FACES / row['path']},{row['label']},{row['source']},{row['split']}" for row in chosen]
    (tmp_path / "manifest.csv").write_text("\n".join(["path,label,source,split", *lines]))
    trap = audit(tmp_path)
    assert Counter(s.source for s in trap.samples)["humanfaces"] == 360
    human, clean = found(trap, "humanfaces"), found(trap, "140k-b")
    for fact in ("dimensions", "aspect", "chroma", "quantisation"):
        assert human[fact].auc == 1
        assert clean[fact].auc == 0.5
    assert human["dimensions"].values == "real 178x218 (100%), fake 256x256 (100%)"
    assert {s.verdict for s in clean.values()} == {FINE}
    assert all("140k-b" not in problem for problem in trap.problems)
    assert trap.exact == ()
