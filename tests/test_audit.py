"""The audit finds copies and leaks that were planted, reports bad files, and its fix leaves splits as they were."""

import csv
import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import encoded, full_disk
from PIL import Image
from planted import Data, cloud, portrait

from realface.data import read_data
from realface.data.audit import Audit, Group, audit
from realface.data.facts import read
from realface.data.fix import fix
from realface.data.shortcuts import GIVES_AWAY, Shortcut
from realface.data.summary import summary
from realface.errors import DataError


@pytest.fixture
def data(tmp_path: Path) -> Data:
    return Data(tmp_path / "data")


def names(audit: Audit, groups: tuple[Group, ...]) -> list[list[str]]:
    return [[audit.samples[row].path.name for row in group.rows] for group in groups]


class TestCopies:
    @pytest.fixture
    def planted(self, data: Data) -> Audit:
        picture = portrait(0)
        small = picture.resize((90, 90), Image.Resampling.BICUBIC)
        data.add("a.png", encoded(picture))
        data.add("a-again.png", encoded(picture), split="test")
        data.add("a-small.jpg", encoded(small, "JPEG", quality=40), split="valid")
        data.add("b.png", encoded(portrait(1)))
        data.add("b-again.png", encoded(portrait(1)))
        data.add("c.png", encoded(portrait(2)), "real")
        data.add("c-fake.png", encoded(portrait(2)), "fake")
        data.add("d.png", encoded(portrait(3)), "real")
        data.add("d-fake.webp", encoded(portrait(3), "WEBP", quality=60), "fake")
        data.add("e.png", encoded(portrait(4)))
        data.add("e-jpeg.jpg", encoded(portrait(4), "JPEG", quality=30))
        for n in range(5, 12):
            data.add(f"alone-{n}.png", encoded(portrait(n)), "fake", "test")
        data.add("cut.png", encoded(portrait(12))[:800])
        data.add("text.jpg", b"this is no picture")
        data.rows.append("missing.jpg,fake,,train")
        return audit(data.done())

    def test_groups(self, planted: Audit) -> None:
        assert names(planted, planted.exact) == [
            ["a-again.png", "a.png"],
            ["b-again.png", "b.png"],
            ["c-fake.png", "c.png"],
        ]
        assert names(planted, planted.near) == [
            ["a-again.png", "a-small.jpg", "a.png"],
            ["d-fake.webp", "d.png"],
            ["e-jpeg.jpg", "e.png"],
        ]
        assert planted.near[0].splits == {"train", "valid", "test"}
        assert [group.labels for group in planted.near] == [{0}, {0, 1}, {0}]

    def test_unreadable_files_are_reported_and_stop_nothing(self, planted: Audit) -> None:
        assert {Path(path).name for path in planted.unreadable} == {"cut.png", "text.jpg", "missing.jpg"}
        assert "this is not a picture" in next(r for p, r in planted.unreadable.items() if p.endswith("text.jpg"))
        assert len(planted.samples) == 18

    def test_problems_are_counted(self, planted: Audit) -> None:
        assert [int(problem.rsplit(": ", 1)[1]) for problem in planted.problems] == [3, 3, 1, 1, 1, 1]
        assert "unreadable" in planted.problems[0]
        text = summary(planted)
        assert all(problem in text for problem in planted.problems)
        assert str(planted.samples[0].path) in text

    def test_fix_keeps_the_most_held_out_and_moves_nothing(self, planted: Audit, tmp_path: Path) -> None:
        (tmp_path / "lists").mkdir()
        out = tmp_path / "lists" / "fixed.csv"
        assert fix(planted, out) == 13
        with out.open(newline="") as file:
            rows = {Path(row["path"]).name: row for row in csv.DictReader(file)}
        kept = {"a-again.png", "b-again.png", "d.png", "d-fake.webp", "e.png", "e-jpeg.jpg"}
        assert rows.keys() == kept | {f"alone-{n}.png" for n in range(5, 12)}
        assert rows["d.png"]["path"] == "../data/d.png"
        assert rows["d.png"]["sha256"] == read(planted.samples[0].path.parent / "d.png").sha256
        before = {s.path.name: (s.label, s.split) for s in planted.samples}
        assert {s.path.name: (s.label, s.split) for s in read_data(out)} == {name: before[name] for name in rows}
        again = audit(out)
        assert again.exact == ()
        assert again.unreadable == {}
        assert [len(group.splits) for group in again.near] == [1, 1]

    def test_a_fixed_manifest_goes_with_its_pictures(self, planted: Audit, tmp_path: Path) -> None:
        folder = planted.samples[0].path.parent
        fix(planted, folder / "fixed.csv")
        shutil.move(folder, tmp_path / "moved")
        assert all(s.path.is_file() for s in read_data(tmp_path / "moved" / "fixed.csv"))

    def test_a_fixed_manifest_says_what_made_a_fake(self, data: Data, tmp_path: Path) -> None:
        data.add("a.png", encoded(portrait(0)), "fake")
        data.rows = [f"{data.rows[0]},generator", f"{data.rows[1]},SDXL"]
        fix(audit(data.done()), tmp_path / "fixed.csv")
        assert [s.generator for s in read_data(tmp_path / "fixed.csv")] == ["SDXL"]

    def test_fix_does_not_replace_what_was_audited(self, planted: Audit, tmp_path: Path) -> None:
        manifest = tmp_path / "data" / "manifest.csv"
        before = manifest.read_bytes()
        with pytest.raises(DataError, match="another name"):
            fix(planted, manifest)
        with pytest.raises(DataError, match="cannot be written"):
            fix(planted, tmp_path / "nowhere" / "fixed.csv")
        assert manifest.read_bytes() == before

    def test_a_name_that_is_not_text_is_left_out_and_its_copy_stays(
        self, data: Data, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        data.add("a.png", encoded(portrait(0)), split="test")
        data.add("copy.png", encoded(portrait(0)))
        data.add("odd.png", encoded(portrait(1)))
        found = audit(data.done())
        names = {"a.png": "a\udcff.png", "copy.png": "copy.png", "odd.png": "b\r,real.png"}
        found = replace(
            found, samples=tuple(replace(s, path=s.path.with_name(names[s.path.name])) for s in found.samples)
        )
        assert fix(found, tmp_path / "fixed.csv") == 2
        assert {s.path.name for s in read_data(tmp_path / "fixed.csv")} == {"copy.png", "b\r,real.png"}
        assert r"a\udcff.png (its name is not text" in caplog.text

    def test_a_train_copy_of_a_test_picture_goes_although_only_the_bytes_of_another_copy_are_in_test(
        self, data: Data, tmp_path: Path
    ) -> None:
        data.add("first.png", encoded(portrait(0)), split="train")
        data.add("second.png", encoded(portrait(0)), split="test")
        data.add("alike.jpg", encoded(portrait(0), "JPEG"), split="train")
        fix(audit(data.done()), tmp_path / "fixed.csv")
        assert [s.path.name for s in read_data(tmp_path / "fixed.csv")] == ["second.png"]


def test_many_sources_are_cut_short(data: Data) -> None:
    for n in range(60):
        data.add(f"{n}.png", encoded(cloud(n)), ("real", "fake")[n % 2], source=f"person {n:02}")
    text = summary(audit(data.done()))
    assert "and 10 smaller sources" in text
    assert "sources of one class only: 60, with 100% of the pictures" in text
    assert len(text.splitlines()) < 90


def test_a_name_breaks_no_line_of_the_report(data: Data) -> None:
    data.add("a.png", encoded(cloud(0)), split="valid")
    data.add("b.png", encoded(cloud(0)))
    found = audit(data.done())

    def lines(mark: str) -> int:
        name = f"x{mark}No problems found."
        samples = tuple(replace(s, path=s.path.with_name(name), source=name) for s in found.samples)
        told = (Shortcut(name, "format", 0.99, GIVES_AWAY),)
        return len(summary(replace(found, samples=samples, unreadable={name: name}, shortcuts=told)).splitlines())

    assert lines("\n") == lines("\r") == lines("\u2028") == lines("-")


class TestCommand:
    def test_report_json_and_fix(self, run, data: Data, tmp_path: Path) -> None:
        data.add("a.png", encoded(cloud(0)), source="cam")
        data.add("b\x1b[31m.png", encoded(cloud(0)), source="cam", split="test")
        out, fixed = tmp_path / "audit.json", tmp_path / "fixed.csv"
        status, text, _ = run("data", "audit", data.done(), "--out", out, "--fix", fixed)
        assert status == 1
        assert "\x1b" not in text
        assert r"b\x1b[31m.png" in text
        assert f"1 of 2 pictures are in {fixed}" in text
        told = json.loads(out.read_text())
        assert told["pictures"] == 2
        assert told["balance"]["cam"]["test"] == {"real": 1, "fake": 0}
        assert [row["split"] for row in told["exact"][0]] == ["train", "test"]
        assert len(told["problems"]) == 2
        assert run("data", "audit", fixed)[0] == 0

    def test_wrong_usage(self, run, tmp_path: Path, data: Data) -> None:
        assert run("data", "audit", tmp_path / "nothing")[0] == 2
        data.add("a.png", encoded(cloud(0)))
        status, _, err = run("data", "audit", data.done(), "--out", tmp_path / "no" / "audit.json")
        assert (status, "there is no folder" in err) == (2, True)
        (tmp_path / "a").symlink_to(tmp_path / "a")
        status, _, err = run("data", "audit", data.root, "--out", tmp_path / "a" / "audit.json")
        assert (status, "there is no folder" in err) == (2, True)
        status, _, err = run("data", "audit", data.root, "--out", tmp_path / ("x" * 300) / "audit.json")
        assert (status, "there is no folder" in err) == (2, True)
        status, _, err = run("data", "audit", data.root, "--out", tmp_path)
        assert (status, "is a folder; name a file in it" in err) == (2, True)
        (data.root / "a.png").write_bytes(b"nothing")
        status, _, err = run("data", "audit", data.root, "--out", tmp_path / "x", "--fix", tmp_path / "x")
        assert status == 2
        assert "name two files" in err
        status, _, err = run("data", "audit", data.root, "--fix", data.root / "manifest.csv")
        assert (status, "give the new file another name" in err) == (2, True)
        before = (data.root / "manifest.csv").read_bytes()
        status, _, err = run("data", "audit", data.root, "--out", data.root / "manifest.csv")
        assert (status, "give the new file another name" in err) == (2, True)
        assert (data.root / "manifest.csv").read_bytes() == before
        status, _, err = run("data", "audit", data.root)
        assert (status, "none of the pictures can be read" in err) == (2, True)

    def test_a_full_disk(self, run, tmp_path: Path, data: Data, monkeypatch: pytest.MonkeyPatch) -> None:
        data.add("a.png", encoded(cloud(0)))
        data.done()
        monkeypatch.setattr(Path, "write_text", full_disk)
        monkeypatch.setattr(Path, "replace", full_disk)
        for option in ("--out", "--fix"):
            status, _, err = run("data", "audit", data.root, option, tmp_path / "new")
            assert (status, "No space left on device; make room or name another file" in err) == (2, True)
