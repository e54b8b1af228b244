"""Three layouts become one list of samples, whatever is wrapped around them, or a sentence says what is wrong."""

import collections
import hashlib
import os
import shutil
from pathlib import Path

import pytest

from realface.data import SPLITS, Sample, read_data
from realface.data.layouts import content_hash, fingerprints
from realface.errors import DataError


def touch(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(name.encode())
    return root


def manifest(root: Path, text: str, name: str = "manifest.csv", encoding: str = "utf-8") -> Path:
    root.mkdir(parents=True, exist_ok=True)
    (root / name).write_bytes(text.encode(encoding))
    return root / name


def listed(samples: list[Sample], root: Path) -> list[tuple[str, int, str]]:
    return [(s.path.relative_to(root).as_posix(), s.label, s.split) for s in samples]


def splits_by_name(samples: list[Sample], root: Path) -> dict[str, str]:
    return {s.path.relative_to(root).as_posix(): s.split for s in samples}


MANY = tuple(f"{label}/{n:04}.jpg" for label in ("real", "fake") for n in range(500))


class TestManifest:
    TEXT = "path,label,source,split\nb.jpg,fake,gan,test\na.jpg,real,camera,train\nsub/c.png,FAKE,, Valid \n"

    def test_file_and_folder(self, tmp_path: Path) -> None:
        path = manifest(tmp_path, self.TEXT)
        wanted = [
            Sample(tmp_path / "a.jpg", 0, "camera", "train"),
            Sample(tmp_path / "b.jpg", 1, "gan", "test"),
            Sample(tmp_path / "sub/c.png", 1, "", "valid"),
        ]
        assert read_data(path) == read_data(tmp_path) == read_data(str(tmp_path)) == wanted

    def test_any_file_name(self, tmp_path: Path) -> None:
        assert len(read_data(manifest(tmp_path, self.TEXT, "faces.txt"))) == 3

    def test_wins_over_folders(self, tmp_path: Path) -> None:
        touch(tmp_path, "real/x.jpg", "fake/y.jpg")
        manifest(tmp_path, self.TEXT)
        assert len(read_data(tmp_path)) == 3

    @pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
    @pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
    def test_byte_order_mark_and_line_ends(self, tmp_path: Path, encoding: str, end: str) -> None:
        path = manifest(tmp_path, self.TEXT.replace("a.jpg", "ä.jpg").replace("\n", end), encoding=encoding)
        assert [s.path.name for s in read_data(path)] == ["b.jpg", "c.png", "ä.jpg"]

    def test_other_columns_in_any_order(self, tmp_path: Path) -> None:
        path = manifest(tmp_path, 'sha256,label,path\n0,fake,"b, c.jpg"\n0,real,a.jpg\n')
        assert [(s.path.name, s.label, s.source) for s in read_data(path)] == [("a.jpg", 0, ""), ("b, c.jpg", 1, "")]

    @pytest.mark.parametrize(
        ("name", "split"), [("training", "train"), ("VAL", "valid"), ("validation", "valid"), ("testing", "test")]
    )
    def test_names_of_splits(self, tmp_path: Path, name: str, split: str) -> None:
        path = manifest(tmp_path, f"path,label,split\na,real,valid\nb,real,{name}\n")
        assert read_data(path)[1].split == split

    def test_blank_rows_are_skipped(self, tmp_path: Path) -> None:
        assert len(read_data(manifest(tmp_path, "path,label\n\na.jpg,real\n\n\nb.jpg,fake\n\n"))) == 2

    def test_long_rows_are_fine(self, tmp_path: Path) -> None:
        assert len(read_data(manifest(tmp_path, "path,label\na.jpg,real,more,and more\n"))) == 1

    @pytest.mark.parametrize(
        ("rows", "message"),
        [
            ("a,real\nb,human\n", "line 3: label must be real or fake, not 'human'"),
            ("a,real\n\n\nb,human\n", "line 5: label"),
            ('a,real\n"two\nlines",real\nb,1\n', "line 5: label"),
            ("a,\n", "line 2: label"),
            ("a\n", "line 2: label"),
            ("a,real,x,dev\n", "line 2: split must be train, valid or test, not 'dev'"),
            (",real\n", "line 2: the path is missing"),
            ("a,real\nb,real\na,fake\n", "line 4: a is listed twice, differently"),
            ("a,real,x,train\na,real,x,test\n", "line 3: a is listed twice, differently"),
        ],
    )
    def test_wrong_rows(self, tmp_path: Path, rows: str, message: str) -> None:
        path = manifest(tmp_path, "path,label,source,split\n" + rows)
        with pytest.raises(DataError, match=message) as caught:
            read_data(tmp_path)
        assert str(path) in str(caught.value)

    def test_no_source_is_called_as_the_figures_of_all_pictures(self, tmp_path: Path) -> None:
        manifest(tmp_path, "path,label,source\na,real,allsorts\nb,fake,all\n")
        with pytest.raises(DataError, match="line 3: no source can be called all"):
            read_data(tmp_path)

    def test_generators(self, tmp_path: Path) -> None:
        path = manifest(tmp_path, "path,label,generator\na,fake,SDXL\nb,fake,\nc,real\n")
        assert [s.generator for s in read_data(path)] == ["SDXL", "", ""]

    def test_blanks_make_no_other_source_or_generator(self, tmp_path: Path) -> None:
        path = manifest(tmp_path, "path,label,source,generator\na,fake, web , SDXL\nb,fake,web,SDXL \n")
        assert {(s.source, s.generator) for s in read_data(path)} == {("web", "SDXL")}

    def test_the_same_row_twice_counts_once(self, tmp_path: Path) -> None:
        assert len(read_data(manifest(tmp_path, "path,label\na,real\nb,fake\na,real\n"))) == 2

    @pytest.mark.parametrize("spelled", ["./a.jpg", "x/../a.jpg", "../lists/a.jpg", "{folder}/a.jpg"])
    def test_one_picture_has_many_spellings(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spelled: str
    ) -> None:
        text = f"path,label,split\na.jpg,real,train\n{spelled.format(folder=tmp_path / 'lists')},real,"
        assert len(read_data(manifest(tmp_path / "lists", text + "train\n"))) == 1
        manifest(tmp_path / "lists", text + "test\n")
        monkeypatch.chdir(tmp_path)
        for data in (tmp_path / "lists", Path("lists")):
            with pytest.raises(DataError, match=r"line 3: .* is listed twice, differently"):
                read_data(data)

    @pytest.mark.parametrize(
        "text", ["", "\n", "a.jpg,real\n", "path,split\na,train\n", "label\nreal\n", "path;label\na;real\n"]
    )
    def test_missing_columns(self, tmp_path: Path, text: str) -> None:
        with pytest.raises(DataError, match=r"columns path and label .* in a CSV file commas separate them"):
            read_data(manifest(tmp_path, text))

    @pytest.mark.parametrize(("rows", "marked"), [("", 0), ("a,real,empty\nb,fake,truncated\n", 2)])
    def test_nothing_that_can_be_used(self, tmp_path: Path, rows: str, marked: int) -> None:
        with pytest.raises(DataError, match=f"lists no picture to use: .*; {marked} have one"):
            read_data(manifest(tmp_path, "path,label,error\n" + rows))

    @pytest.mark.parametrize(
        "data",
        ["path,label\nä.jpg,real\n".encode("latin-1"), b"path,label\n" + b"x" * 200_000 + b",real\n", b"\xff\xd8"],
    )
    def test_not_text(self, tmp_path: Path, data: bytes) -> None:
        (tmp_path / "manifest.csv").write_bytes(data)
        with pytest.raises(DataError, match="cannot be read"):
            read_data(tmp_path)

    def test_another_encoding(self, tmp_path: Path) -> None:
        with pytest.raises(DataError, match=r"cannot be read: .*; save it as UTF-8"):
            read_data(manifest(tmp_path, self.TEXT, encoding="utf-16"))

    def test_in_a_folder_around_it(self, tmp_path: Path) -> None:
        manifest(tmp_path / "faces", self.TEXT)
        touch(tmp_path, "faces/real/x.jpg")
        assert read_data(tmp_path) == read_data(tmp_path / "faces")
        assert len(read_data(tmp_path)) == 3

    def test_no_path_holds_nul(self, tmp_path: Path) -> None:
        with pytest.raises(DataError, match="line 2: the path has a NUL character in it"):
            read_data(manifest(tmp_path, "path,label\na\0.jpg,real\n"))

    def test_paths_may_lead_anywhere(self, tmp_path: Path) -> None:
        path = manifest(tmp_path / "lists", f"path,label,split\n../a.jpg,real,train\n{tmp_path}/b.jpg,fake,valid\n")
        touch(tmp_path, "a.jpg", "b.jpg")
        assert {s.path.read_bytes(): s.split for s in read_data(path)} == {b"a.jpg": "train", b"b.jpg": "valid"}


class TestFolders:
    @pytest.mark.parametrize("names", [("train", "valid", "test"), ("Train", "VAL", "Testing")])
    @pytest.mark.parametrize("labels", [("real", "fake"), ("REAL", "Fake")])
    def test_splits(self, tmp_path: Path, names: tuple[str, ...], labels: tuple[str, ...]) -> None:
        touch(tmp_path, *(f"{split}/{label}/x.jpg" for split in names for label in labels))
        got = collections.Counter((s.split, s.label) for s in read_data(tmp_path))
        assert got == {(split, label): 1 for split in SPLITS for label in (0, 1)}

    def test_classes(self, tmp_path: Path) -> None:
        touch(tmp_path, "Real/a.jpg", "Real/deep/er/b.PNG", "fake/c.jpeg", "other/d.jpg", "e.jpg")
        assert [(p, label) for p, label, _ in listed(read_data(tmp_path), tmp_path)] == [
            ("Real/a.jpg", 0),
            ("Real/deep/er/b.PNG", 0),
            ("fake/c.jpeg", 1),
        ]

    def test_wrapped_as_in_archives(self, tmp_path: Path) -> None:
        touch(tmp_path, "readme.csv", "__MACOSX/real_vs_fake/._x.jpg", ".cache/x.jpg")
        inner = tmp_path / "real_vs_fake/real-vs-fake"
        touch(inner, "train/real/a.jpg", "train/fake/b.jpg", "valid/real/c.jpg", "test/fake/d.jpg")
        assert listed(read_data(tmp_path), inner) == [
            ("test/fake/d.jpg", 1, "test"),
            ("train/fake/b.jpg", 1, "train"),
            ("train/real/a.jpg", 0, "train"),
            ("valid/real/c.jpg", 0, "valid"),
        ]

    @pytest.mark.parametrize("suffix", ["jpg", "JPG", "Jpeg", "png", "WebP", "bmp", "tif", "TIFF", "gif", "jfif"])
    def test_suffixes(self, tmp_path: Path, suffix: str) -> None:
        touch(tmp_path, f"real/a.{suffix}")
        assert len(read_data(tmp_path)) == 1

    def test_only_pictures_count(self, tmp_path: Path) -> None:
        touch(
            tmp_path,
            "real/a.jpg",
            "real/Thumbs.db",
            "real/b.txt",
            "real/._a.jpg",
            "real/.jpg",
            "real/jpg",
            "real/c.mp4",
        )
        touch(tmp_path, "real/folder.jpg/b.jpg")
        assert [p for p, *_ in listed(read_data(tmp_path), tmp_path)] == ["real/a.jpg", "real/folder.jpg/b.jpg"]

    def test_nothing_hidden_counts(self, tmp_path: Path) -> None:
        touch(tmp_path, "real/a.jpg", "real/.ipynb_checkpoints/a.jpg", "real/deep/.cache/er/b.jpg")
        assert [p for p, *_ in listed(read_data(tmp_path), tmp_path)] == ["real/a.jpg"]

    def test_names_that_differ_by_case_mean_one_split(self, tmp_path: Path) -> None:
        touch(tmp_path, "Train/real/a.jpg", "TRAIN/fake/b.jpg", "training/Real/c.jpg", "training/REAL/d.jpg")
        assert sorted(s.path.name for s in read_data(tmp_path)) == ["a.jpg", "b.jpg", "c.jpg", "d.jpg"]

    def test_classes_beside_splits(self, tmp_path: Path) -> None:
        touch(tmp_path, "Fake/b.jpg", "test/real/c.jpg")
        with pytest.raises(DataError, match="has Fake beside test; keep either classes or splits in it"):
            read_data(tmp_path)

    def test_classes_in_a_folder_beside_splits(self, tmp_path: Path) -> None:
        touch(tmp_path, "train/real/a.jpg", "test/fake/b.jpg", "notes/real.txt", "other/c.jpg")
        assert len(read_data(tmp_path)) == 2
        touch(tmp_path, "dev/Fake/d.jpg")
        with pytest.raises(DataError, match="has dev beside test, which is no split; call it train, valid or test"):
            read_data(tmp_path)

    def test_classes_in_a_folder_beside_classes(self, tmp_path: Path) -> None:
        touch(tmp_path, "real/a.jpg", "fake/b.jpg", "other/c.jpg", "real/fake/d.jpg")
        assert len(read_data(tmp_path)) == 3
        touch(tmp_path, "more/Real/e.jpg")
        with pytest.raises(DataError, match="has more beside fake, which is no class; move it elsewhere"):
            read_data(tmp_path)

    def test_links_to_folders_are_followed(self, tmp_path: Path) -> None:
        touch(tmp_path, "else/a.jpg", "set/fake/b.jpg", "set/real/c.jpg")
        try:
            (tmp_path / "set/real/linked").symlink_to(tmp_path / "else", target_is_directory=True)
        except OSError:
            pytest.skip("links need a right here")
        assert [p for p, *_ in listed(read_data(tmp_path / "set"), tmp_path)] == [
            "set/fake/b.jpg",
            "set/real/c.jpg",
            "set/real/linked/a.jpg",
        ]
        (tmp_path / "else/back").symlink_to(tmp_path / "set/real", target_is_directory=True)
        with pytest.raises(DataError, match="is a link to a folder that it lies in; take the link away"):
            read_data(tmp_path / "set")

    def test_a_link_to_nowhere_is_a_picture_that_is_missing(self, tmp_path: Path) -> None:
        touch(tmp_path, "fake/b.jpg", "real/c.jpg")
        try:
            (tmp_path / "real/a.jpg").symlink_to(tmp_path / "gone")
        except OSError:
            pytest.skip("links need a right here")
        assert [p for p, *_ in listed(read_data(tmp_path), tmp_path)] == ["fake/b.jpg", "real/a.jpg", "real/c.jpg"]

    def test_one_class_is_enough_to_measure(self, tmp_path: Path) -> None:
        assert [s.label for s in read_data(touch(tmp_path, "fake/a.jpg"))] == [1]

    def test_missing(self, tmp_path: Path) -> None:
        for name in ("missing", "a\0b"):
            with pytest.raises(DataError, match="no such folder or manifest"):
                read_data(tmp_path / name)

    @pytest.mark.parametrize(
        "names", [(), ("a.jpg",), ("real/a.txt",), ("people/a.jpg", "robots/b.jpg"), ("train/a.jpg",)]
    )
    def test_no_pictures(self, tmp_path: Path, names: tuple[str, ...]) -> None:
        with pytest.raises(DataError, match="no pictures found in folders called real and fake, and no manifest"):
            read_data(touch(tmp_path, *names))

    def test_unreadable_folder(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def refuse(self: Path) -> None:
            raise PermissionError(13, "Permission denied", str(self))

        monkeypatch.setattr(Path, "iterdir", refuse)
        with pytest.raises(DataError, match=r"cannot be read.*Permission denied"):
            read_data(tmp_path)

    def test_unreadable_manifest(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def refuse(*args: object, **kwargs: object) -> None:
            raise PermissionError(13, "Permission denied")

        manifest(tmp_path, "path,label\na,real\n")
        monkeypatch.setattr(Path, "open", refuse)
        with pytest.raises(DataError, match="Permission denied"):
            read_data(tmp_path)

    def test_folder_in_a_loop(self, tmp_path: Path) -> None:
        (tmp_path / "loop").symlink_to(tmp_path)
        with pytest.raises(DataError, match="no pictures found"):
            read_data(tmp_path)

    @pytest.mark.skipif(os.name == "nt", reason="names are text there")
    def test_names_that_are_no_text(self, tmp_path: Path) -> None:
        touch(tmp_path, "real/a.jpg")
        with open(os.fsencode(tmp_path) + b"/real/\xff.jpg", "wb"):
            pass
        assert [os.fsencode(s.path.name) for s in read_data(tmp_path)] == [b"a.jpg", b"\xff.jpg"]


class TestSplits:
    def test_shares(self, tmp_path: Path) -> None:
        samples = read_data(touch(tmp_path, *MANY))
        for label in (0, 1):
            count = collections.Counter(s.split for s in samples if s.label == label)
            assert 370 <= count["train"] <= 430
            assert 30 <= count["valid"] <= 70
            assert 30 <= count["test"] <= 70

    def test_same_wherever_the_data_lies(self, tmp_path: Path) -> None:
        first, second = touch(tmp_path / "a", *MANY), tmp_path / "quite/another/place"
        shutil.copytree(first, second)
        assert listed(read_data(first), first) == listed(read_data(second), second)

    def test_same_by_any_way_to_the_data(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        inner = touch(tmp_path / "wrapper/faces", *MANY)
        monkeypatch.chdir(tmp_path)
        wanted = splits_by_name(read_data(inner), inner)
        for way in (tmp_path, tmp_path / "wrapper", Path("wrapper"), Path("."), Path("wrapper/../wrapper/faces")):
            samples = read_data(way)
            assert {s.path.resolve().relative_to(inner).as_posix(): s.split for s in samples} == wanted

    def test_same_when_pictures_are_added(self, tmp_path: Path) -> None:
        before = splits_by_name(read_data(touch(tmp_path, *MANY[::2])), tmp_path)
        after = splits_by_name(read_data(touch(tmp_path, *MANY)), tmp_path)
        assert before.items() <= after.items()

    def test_same_through_a_manifest(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        by_folder = splits_by_name(read_data(touch(tmp_path, *MANY)), tmp_path)
        path = manifest(tmp_path, "path,label\n" + "".join(f"{name},{name[:4]}\n" for name in MANY))
        assert splits_by_name(read_data(path), tmp_path) == by_folder
        assert splits_by_name(read_data(tmp_path), tmp_path) == by_folder
        path.write_text("path,label\n" + "".join(f"{tmp_path / name},{name[:4]}\n" for name in MANY))
        monkeypatch.chdir(tmp_path)
        for spelled in (path, path.name):
            assert splits_by_name(read_data(spelled), tmp_path) == by_folder

    def test_a_missing_valid_is_taken_from_train(self, tmp_path: Path) -> None:
        touch(tmp_path, *(f"train/{name}" for name in MANY), "test/real/x.jpg", "test/fake/y.jpg")
        samples = read_data(tmp_path)
        count = collections.Counter(s.split for s in samples)
        assert 70 <= count["valid"] <= 130
        assert count["test"] == 2
        assert sum(count.values()) == 1002
        assert samples == read_data(tmp_path)

    def test_a_given_valid_is_not_touched(self, tmp_path: Path) -> None:
        touch(tmp_path, *(f"train/{name}" for name in MANY), "valid/real/x.jpg")
        assert [s.path.name for s in read_data(tmp_path) if s.split == "valid"] == ["x.jpg"]

    def test_a_test_set_alone_stays_one(self, tmp_path: Path) -> None:
        touch(tmp_path, *(f"test/{name}" for name in MANY[:50]))
        assert {s.split for s in read_data(tmp_path)} == {"test"}

    def test_order(self, tmp_path: Path) -> None:
        samples = read_data(touch(tmp_path, *MANY[::-1]))
        assert [str(s.path) for s in samples] == sorted(str(s.path) for s in samples)


class TestContentHash:
    def test_depends_on_content_labels_and_splits_only(self, tmp_path: Path) -> None:
        first = touch(tmp_path / "a", "train/real/1.jpg", "valid/fake/2.jpg")
        shutil.copytree(first, tmp_path / "b")
        shutil.move(tmp_path / "b/train/real/1.jpg", tmp_path / "b/train/real/renamed.jpg")
        one = content_hash(fingerprints(read_data(first)))
        assert (
            one
            == content_hash(fingerprints(read_data(tmp_path / "b")))
            == content_hash(fingerprints(reversed(read_data(first))))
        )
        assert len(one) == 64
        (first / "train/real/1.jpg").write_bytes(b"other")
        assert content_hash(fingerprints(read_data(first))) != one
        shutil.move(tmp_path / "b/valid/fake", tmp_path / "b/valid/real")
        assert content_hash(fingerprints(read_data(tmp_path / "b"))) != one

    def test_lines_stay_as_they_are(self, tmp_path: Path) -> None:
        samples = read_data(touch(tmp_path, "test/fake/2.jpg", "train/real/1.jpg"))
        assert fingerprints(samples) == [
            f"{hashlib.sha256(b'test/fake/2.jpg').hexdigest()} 1 test",
            f"{hashlib.sha256(b'train/real/1.jpg').hexdigest()} 0 train",
        ]

    @pytest.mark.skipif(os.name == "nt", reason="devices have no paths there")
    def test_only_files_are_read(self, tmp_path: Path) -> None:  # a pipe would hang
        samples = read_data(manifest(tmp_path, f"path,label,split\na.jpg,real,train\n{os.devnull},real,train\n"))
        assert fingerprints(samples) == ["unreadable 0 train"] * 2
