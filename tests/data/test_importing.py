"""A data set as it was downloaded becomes one manifest, or a sentence says what is missing, wrong or hostile."""

import csv
import os
import shutil
import tracemalloc
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow
import pytest
from conftest import encoded, full_disk
from PIL import Image
from pyarrow import parquet
from rich.progress import Progress

from realface import progress
from realface.data import Sample, read_data
from realface.data import importing as module
from realface.data.importing import COLUMNS, CONFLICT, Imported, import_data
from realface.data.importing_sets import CIPLAB, KAGGLE_140K, PUBLISHED
from realface.errors import DataError

SPLITS = {"train": 3, "valid": 1, "test": 2}
SMALL = {
    "140k": replace(
        KAGGLE_140K, counts={(split, name): n for split, n in SPLITS.items() for name in ("real", "fake")}, side=40
    ),
    "ciplab": replace(CIPLAB, counts={("", "real"): 3, ("", "fake"): 2}),
}
Run = Callable[..., Imported]


def picture(seed: object, side: int = 40) -> bytes:
    noise = np.random.default_rng(zlib.crc32(str(seed).encode())).integers(0, 255, (5, 5, 3), np.uint8)
    return encoded(Image.fromarray(noise).resize((side, side)), "JPEG")


def name_of(label: str, number: int) -> str:
    return f"{number:05}.jpg" if label == "real" else f"0AZ{number:07}.jpg"


def write(path: Path, data: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def table(root: Path, split: str, rows: list[tuple[str, str, str]]) -> None:
    """A table as Kaggle's: label, label_str and path of each row, of which label is 1 for real."""
    with (root / f"{split}.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["", "original_path", "id", "label", "label_str", "path"])
        for number, (label, text, path) in enumerate(rows):
            writer.writerow([number, f"/kaggle/input/{Path(path).name}", Path(path).stem, label, text, path])


def kaggle_set(root: Path) -> Path:
    """A set as Kaggle's, whole by SMALL."""
    for split, number in SPLITS.items():
        names = [(label, name_of(label, n)) for label in ("real", "fake") for n in range(number)]
        for label, name in names:
            write(root / "real_vs_fake/real-vs-fake" / split / label / name, picture((split, label, name)))
        table(root, split, [(str(int(label == "real")), label, f"{split}/{label}/{name}") for label, name in names])
    return root


def imports(out: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """`import_data` to a manifest, by the counts of SMALL."""
    monkeypatch.setattr(module, "PUBLISHED", SMALL)
    return lambda source, **options: import_data(str(source), out, **options)


@pytest.fixture
def kaggle(tmp_path: Path) -> Path:
    return kaggle_set(tmp_path / "archive")


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    return imports(tmp_path / "manifest.parquet", monkeypatch)


def rows(found: Imported) -> list[dict[str, object]]:
    assert parquet.read_schema(found.out).names == list(COLUMNS)
    return parquet.read_table(found.out).to_pylist()


class TestKaggle:
    INNER = "real_vs_fake/real-vs-fake"

    def test_a_whole_set(self, run: Run, kaggle: Path, tmp_path: Path) -> None:
        found = run(kaggle)
        assert found.verdict == "complete"
        assert found.problems == found.notes == []
        assert found.usable == dict(SMALL["140k"].counts)
        row = next(r for r in rows(found) if r["path"] == f"archive/{self.INNER}/test/fake/0AZ0000001.jpg")
        assert (row["label"], row["source"], row["split"], row["generator"]) == ("fake", "140k", "test", "StyleGAN")
        assert (row["width"], row["height"], row["format"], row["error"]) == (40, 40, "JPEG", "")
        assert len(str(row["sha256"])) == len(str(row["dhash"])) == 64
        assert {r["generator"] for r in rows(found) if r["label"] == "real"} == {""}
        assert list(tmp_path.glob("*.part")) == []

    def test_known_by_its_names_alone(self, run: Run, kaggle: Path) -> None:
        found = run(kaggle / self.INNER)
        assert found.verdict == "complete"
        assert "train.csv, valid.csv, test.csv not found" in found.notes[0]

    def test_paths_elsewhere_are_absolute(self, kaggle: Path, tmp_path: Path) -> None:
        (tmp_path / "lists").mkdir()
        found = import_data(str(kaggle), tmp_path / "lists/m.parquet")
        assert all(Path(str(row["path"])).is_absolute() for row in rows(found))
        assert len(read_data(found.out)) == 12

    def test_missing_pictures(self, run: Run, kaggle: Path) -> None:
        (kaggle / self.INNER / "test/real/00001.jpg").unlink()
        shutil.rmtree(kaggle / self.INNER / "valid/fake")
        found = run(kaggle)
        assert found.verdict == "partial"
        assert "partial: 1 of 2 real test pictures are missing" in found.problems
        assert "partial: 1 of 1 fake valid pictures are missing" in found.problems
        assert "partial: test.csv lists what is not there, such as test/real/00001.jpg (1)" in found.problems

    def test_a_missing_split_is_not_made_up(self, run: Run, kaggle: Path) -> None:
        shutil.rmtree(kaggle / self.INNER / "valid")
        assert {row["split"] for row in rows(run(kaggle))} == {"train", "test"}

    def test_too_many(self, run: Run, kaggle: Path) -> None:
        write(kaggle / self.INNER / "valid/real/99999.jpg", picture("more"))
        found = run(kaggle)
        assert found.verdict == "wrong"
        assert "wrong: 2 real valid pictures are there, 1 more than were published" in found.problems
        assert "wrong: valid.csv does not list all that is there, such as valid/real/99999.jpg (1)" in found.problems

    def test_another_size(self, run: Run, kaggle: Path) -> None:
        write(kaggle / self.INNER / "valid/real/00000.jpg", picture("large", 64))
        assert run(kaggle).problems == ["wrong: 1 pictures are not 40 x 40 pixels"]

    def test_labels_that_are_turned_over(self, run: Run, kaggle: Path) -> None:
        table(kaggle, "valid", [("0", "real", "valid/real/00000.jpg"), ("1", "fake", "valid/fake/0AZ0000000.jpg")])
        found = run(kaggle)
        assert found.problems == ["wrong: valid.csv has rows whose label does not go with label_str (1 is real) (2)"]
        assert {r["label"] for r in rows(found) if "valid/fake" in str(r["path"])} == {"fake"}

    def test_a_picture_of_both_labels_is_not_used(self, run: Run, kaggle: Path) -> None:
        table(kaggle, "valid", [("0", "fake", "valid/real/00000.jpg"), ("0", "fake", "valid/fake/0AZ0000000.jpg")])
        found = run(kaggle)
        assert found.problems == ["wrong: pictures are in the folder of one class and listed as the other (1)"]
        assert [r["path"] for r in rows(found) if r["error"] == CONFLICT] == [
            f"archive/{self.INNER}/valid/real/00000.jpg"
        ]
        assert len(read_data(found.out)) == 11

    def test_a_picture_in_the_folder_of_the_other_class_is_not_used(self, run: Run, kaggle: Path) -> None:
        inner = kaggle / self.INNER / "train"
        (inner / "fake/0AZ0000001.jpg").rename(inner / "real/0AZ0000001.jpg")
        found = run(kaggle)
        assert "wrong: pictures are in the folder of one class and listed as the other (1)" in found.problems
        assert [r["path"] for r in rows(found) if r["error"]] == [f"archive/{self.INNER}/train/real/0AZ0000001.jpg"]

    def test_listed_twice_and_there_twice(self, run: Run, kaggle: Path) -> None:
        table(
            kaggle, "valid", [("1", "real", "valid/real/00000.jpg")] * 2 + [("0", "fake", "valid/fake/0AZ0000000.jpg")]
        )
        inner = kaggle / self.INNER
        shutil.copy(inner / "train/real/00000.jpg", inner / "test/real/00000.jpg")
        found = run(kaggle)
        assert found.problems == ["wrong: valid.csv lists pictures more than once (1)"]
        assert found.notes == ["1 pictures are copies of others, byte for byte; realface data audit lists them"]

    @pytest.mark.parametrize(
        ("data", "code"), [(b"", "empty"), (picture(1)[:300], "truncated"), (b"GIF", "not_an_image")]
    )
    def test_unreadable_pictures_are_rows_with_an_error(self, run: Run, kaggle: Path, data: bytes, code: str) -> None:
        path = write(kaggle / self.INNER / "train/fake/0AZ0000000.jpg", data)
        found = run(kaggle)
        assert found.verdict == "partial"
        assert found.unusable == {("train", "fake"): 1}
        assert "partial: 1 pictures cannot be read:\n  archive/" in found.summary()
        assert len(found.problems) == 2
        (row,) = (r for r in rows(found) if r["error"])
        assert (row["error"], row["width"], row["sha256"]) == (code, None, None)
        assert path not in {s.path for s in read_data(found.out)}

    def test_a_table_alone_is_explained(self, run: Run, kaggle: Path) -> None:
        with pytest.raises(DataError, match="import the folder it is in"):
            run(kaggle / "train.csv")

    def test_a_damaged_table(self, run: Run, kaggle: Path) -> None:
        whole = (kaggle / "test.csv").read_bytes()
        write(kaggle / "test.csv", whole + b"x" * 200_000)
        (problem,) = run(kaggle).problems
        assert problem.startswith("wrong: test.csv is damaged, or not the table of the set: field larger than")
        write(kaggle / "test.csv", b"\xff" + whole)
        (problem,) = run(kaggle).problems
        assert problem.startswith("wrong: test.csv is damaged, or not the table of the set: 'utf-8' codec")
        write(kaggle / "test.csv", whole[:-40])  # cut off in a row
        assert run(kaggle).verdict == "wrong"

    def test_it_can_be_said_what_it_is(self, run: Run, kaggle: Path) -> None:
        assert run(kaggle, expect="ciplab").problems[0].startswith("wrong: 6 real pictures are there, 3 more")
        found = run(kaggle, expect="other")
        assert "no published counts" in found.verdict
        assert {row["source"] for row in rows(found)} == {""}
        with pytest.raises(DataError, match="there is no set 150k; known are 140k, ciplab, and other"):
            run(kaggle, expect="150k")

    def test_the_counts_that_were_published(self) -> None:
        assert sum(PUBLISHED["140k"].counts.values()) == 140_000
        assert PUBLISHED["140k"].counts["test", "fake"] == 10_000
        assert dict(PUBLISHED["ciplab"].counts) == {("", "real"): 1_081, ("", "fake"): 960}


class TestCiplab:
    def whole(self, root: Path) -> Path:
        for n in range(3):
            write(root / f"training_real/real_{n:05}.jpg", picture(("r", n)))
        for name in ("easy_1_1110", "hard_2_0010"):
            write(root / f"training_fake/{name}.jpg", picture(name))
        return root

    def test_a_whole_set_and_a_warning(self, run: Run, tmp_path: Path) -> None:
        root = self.whole(tmp_path / "x/real_and_fake_face").parent
        self.whole(root / "real_and_fake_face_detection/real_and_fake_face")  # as in Kaggle's archive
        found = run(root)
        assert found.verdict == "complete"
        assert "the set is there 2 times" in found.notes[0]
        assert "no machine made them" in found.notes[1]
        assert {(r["label"], r["generator"]) for r in rows(found)} == {("real", ""), ("fake", "Photoshop, by hand")}
        assert all(row["split"] for row in rows(found))

    def test_half_of_it(self, run: Run, tmp_path: Path) -> None:
        shutil.rmtree(self.whole(tmp_path / "x") / "training_fake")
        assert run(tmp_path / "x").problems == ["partial: 2 of 2 fake pictures are missing"]

    def test_a_manifest_or_a_layout_beside_it_comes_first(self, run: Run, tmp_path: Path) -> None:
        self.whole(tmp_path / "x/ciplab")
        write(tmp_path / "x/cam/0.jpg", picture("cam"))
        write(tmp_path / "x/manifest.csv", b"path,label,source,split\ncam/0.jpg,real,cam,test\n")
        assert [(r["path"], r["source"]) for r in rows(run(tmp_path / "x"))] == [("x/cam/0.jpg", "cam")]
        (tmp_path / "x/manifest.csv").unlink()
        with pytest.raises(DataError, match="no pictures found"):
            run(tmp_path / "x", expect="other")
        for label in ("fake", "real"):
            write(tmp_path / "x" / label / "a.jpg", picture(label))
        assert [r["path"] for r in rows(run(tmp_path / "x"))] == ["x/fake/a.jpg", "x/real/a.jpg"]


class TestOwnPictures:
    def test_a_folder(self, run: Run, tmp_path: Path) -> None:
        for label in ("real", "fake"):
            write(tmp_path / "own" / label / "a.jpg", picture(label))
        found = run(tmp_path / "own")
        assert found.problems == []
        want = [replace(s, path=s.path.relative_to(tmp_path)) for s in read_data(tmp_path / "own")]
        assert [
            Sample(Path(str(r["path"])), int(r["label"] == "fake"), "", str(r["split"])) for r in rows(found)
        ] == want
        with pytest.raises(DataError, match="stay where they are; leave --copy-to away"):
            run(tmp_path / "own", copy_to=tmp_path / "copy")
        assert not (tmp_path / "copy").exists()

    def test_manifests_of_both_kinds(self, run: Run, tmp_path: Path) -> None:
        write(tmp_path / "own/a.jpg", picture("a"))
        text = "path,label,source,split,generator\na.jpg,fake,web,test,SDXL\nb.jpg,real,camera,train,\n"
        write(tmp_path / "own/faces.csv", text.encode())
        found = run(tmp_path / "own/faces.csv")
        assert [(r["source"], r["split"], r["generator"], r["error"]) for r in rows(found)] == [
            ("web", "test", "SDXL", ""),
            ("camera", "train", "", "not_found"),
        ]
        shutil.move(found.out, tmp_path / "first.parquet")
        again = run(tmp_path / "first.parquet")
        assert rows(again)[0] == parquet.read_table(tmp_path / "first.parquet").to_pylist()[0]
        assert len(rows(again)) == 1
        with pytest.raises(DataError, match="another name"):
            run(again.out)

    @pytest.mark.parametrize(
        ("columns", "message"),
        [
            ({"path": ["a"]}, "columns path and label"),
            ({"path": ["a", "b"], "label": ["real", "human"]}, "row 2: label must be real or fake, not 'human'"),
            ({"path": ["a"], "label": [1]}, "row 1: label must be real or fake, not '1'"),
            ({"path": [["a"]], "label": ["real"]}, "columns path and label"),
            ({"path": [None], "label": ["real"]}, "row 1: the path is missing"),
            ({"path": ["a"], "label": ["real"], "split": ["dev"]}, "row 1: split must be"),
            ({"path": ["a", "a"], "label": ["real", "fake"]}, "row 2: a is listed twice, differently"),
            ({"path": ["a"], "label": ["real"], "error": ["empty"]}, "no picture to use: .* 1 have one"),
        ],
    )
    def test_wrong_parquet_manifests(self, tmp_path: Path, columns: dict[str, list[object]], message: str) -> None:
        parquet.write_table(pyarrow.table(columns), tmp_path / "m")
        with pytest.raises(DataError, match=message):
            read_data(tmp_path / "m")

    def test_a_text_that_many_rows_share(self, tmp_path: Path) -> None:
        rows, source = 512, "x" * 2**18
        columns = {"path": [f"{n}.jpg" for n in range(rows)], "label": ["real"] * rows, "source": [source] * rows}
        parquet.write_table(pyarrow.table(columns), tmp_path / "m", dictionary_pagesize_limit=2**30)
        tracemalloc.start()
        samples = read_data(tmp_path / "m")
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert [s.source for s in samples] == columns["source"]
        assert most < 16 * len(source)

    def test_cut_off_and_marked_manifests(self, run: Run, tmp_path: Path) -> None:
        parquet.write_table(pyarrow.table({"path": ["a"], "label": ["real"]}), tmp_path / "m")
        data = (tmp_path / "m").read_bytes()
        write(tmp_path / "m", data[:-9])
        with pytest.raises(DataError, match="cannot be read"):
            read_data(tmp_path / "m")
        with pytest.raises(DataError, match="is cut off or damaged"):
            run(tmp_path / "m")
        write(tmp_path / "m", b"path,label,error\na,real,\nb,fake,truncated\n")
        assert [s.path.name for s in read_data(tmp_path / "m")] == ["a"]

    @pytest.mark.parametrize("name", ["own", "own/manifest.csv", "own/inner/manifest.csv"])
    def test_the_manifest_that_is_read_stays(self, run: Run, tmp_path: Path, name: str) -> None:
        text = b"path,label,photographer\n../a.jpg,real,Ann\n"
        inner = "inner/" if "inner" in name else ""
        path = write(tmp_path / f"own/{inner}manifest.csv", text)
        with pytest.raises(DataError, match="another name"):
            import_data(str(tmp_path / name.removesuffix("inner/manifest.csv")), path)
        assert path.read_bytes() == text

    def test_a_manifest_in_a_folder_around_it(self, run: Run, tmp_path: Path) -> None:
        write(tmp_path / "own/faces/real/a.jpg", picture("a"))
        write(tmp_path / "own/faces/manifest.csv", b"path,label,split\nreal/a.jpg,real,test\n")
        assert [(r["path"], r["split"]) for r in rows(run(tmp_path / "own"))] == [("own/faces/real/a.jpg", "test")]

    def test_links_in_a_circle(self, run: Run, tmp_path: Path) -> None:
        (tmp_path / "circle").symlink_to(tmp_path / "circle")
        write(tmp_path / "a.jpg", picture("a"))
        write(tmp_path / "m.csv", b"path,label\na.jpg,real\ncircle/b.jpg,real\n")
        assert [(r["path"], r["error"]) for r in rows(run(tmp_path / "m.csv"))] == [
            ("a.jpg", ""),
            ("circle/b.jpg", "unreadable"),
        ]

    def test_paths_are_from_where_the_manifest_is(self, tmp_path: Path) -> None:
        write(tmp_path / "own/real/a.jpg", picture("a"))
        before = write(tmp_path / "lists/m.parquet", b"")
        (tmp_path / "m.parquet").symlink_to(before)
        found = import_data(str(tmp_path / "own"), tmp_path / "m.parquet")
        assert [r["path"] for r in rows(found)] == ["own/real/a.jpg"]

    def test_names_write_no_lines_of_their_own(self, run: Run, tmp_path: Path) -> None:
        write(tmp_path / "m.csv", b'path,label\n"x\nyour pictures: all can be used\n",real\n')
        lines = run(tmp_path / "m.csv").summary().splitlines()
        assert [line for line in lines if line.startswith("your pictures")] == ["your pictures: partial"]
        assert "  x\\nyour pictures: all can be used\\n: there is no such file; check the path" in lines

    def test_bars_end_full(self, run: Run, kaggle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        bars = []

        def kept() -> Progress:
            bars.append(bar())
            return bars[-1]

        bar = progress.bar
        monkeypatch.setattr(progress, "bar", kept)
        run(kaggle)
        assert [(task.completed, task.total) for own in bars for task in own.tasks] == [(12, 12)]

    @pytest.mark.skipif(os.name == "nt", reason="names are text there")
    def test_names_that_are_no_text(self, run: Run, tmp_path: Path) -> None:
        write(tmp_path / "own/real/a.jpg", picture("a"))
        with open(os.fsencode(tmp_path) + b"/own/real/\xff.jpg", "wb") as file:
            file.write(picture("b"))
        found = run(tmp_path / "own")
        assert [(r["path"], r["error"]) for r in rows(found)][1] == ("own/real/\\udcff.jpg", "unreadable")
        assert len(read_data(found.out)) == 1

    def test_nothing_to_import(self, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / "empty").mkdir()
        for name, message in (
            ("empty", "no pictures found"),
            ("missing", "no such folder"),
            ("a\0b", "no such folder"),
        ):
            with pytest.raises(DataError, match=message):
                run(tmp_path / name)
        for out in (tmp_path, tmp_path / "nowhere/m.parquet"):
            with pytest.raises(DataError, match="name a file in a folder that is there"):
                import_data(str(tmp_path), out)
        write(tmp_path / "real/a.jpg", picture("a"))
        monkeypatch.setattr(Path, "replace", full_disk)
        with pytest.raises(DataError, match=r"\.parquet: cannot be written"):
            import_data(str(tmp_path), tmp_path / "m.parquet")
