"""Archives are unpacked only when asked, whole or with a word on what is not; hostile ones are not."""

import json
import shutil
import stat
import sys
import tracemalloc
import zipfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import parquet
from test_importing import SMALL, Run, imports, kaggle_set, name_of, picture, rows, write

from realface import cli
from realface.data import importing_archives, importing_parquet, read_data
from realface.data.importing import import_data
from realface.errors import DataError, MissingExtra


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    return imports(tmp_path / "manifest.parquet", monkeypatch)


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    return Path(shutil.make_archive(str(tmp_path / "archive"), "zip", kaggle_set(tmp_path / "whole")))


def zip_of(path: Path, *members: tuple[str | zipfile.ZipInfo, bytes], **options: int) -> Path:
    with zipfile.ZipFile(path, "w", **options) as file:
        for name, data in members:
            file.writestr(name, data)
    return path


class TestZip:
    def test_nothing_is_copied_unasked(self, run: Run, archive: Path, tmp_path: Path) -> None:
        before = sorted(tmp_path.rglob("*"))
        with pytest.raises(DataError, match="nothing is copied unasked; name a folder for it with --copy-to"):
            run(archive)
        assert sorted(tmp_path.rglob("*")) == before

    def test_unpacked_and_gone_on_with(self, run: Run, archive: Path, tmp_path: Path) -> None:
        to = tmp_path / "new/folder"
        found = run(archive, copy_to=to)
        assert found.verdict == "complete"
        assert found.problems == found.notes == []
        assert {s.path.read_bytes() for s in read_data(found.out)} == {
            p.read_bytes() for p in (tmp_path / "whole").rglob("*.jpg")
        }
        kept, gone, cut = sorted(to.rglob("*.jpg"))[:3]
        times = kept.stat().st_mtime_ns
        gone.unlink()
        cut.write_bytes(cut.read_bytes()[:9])
        assert run(archive, copy_to=to).verdict == "complete"
        assert kept.stat().st_mtime_ns == times
        assert list(to.rglob("*.part")) == []

    def test_only_pictures_and_tables_are_taken(self, run: Run, tmp_path: Path) -> None:
        names = (
            "real/a.jpg",
            "real/run.sh",
            "real/.b.jpg",
            "real/.ipynb_checkpoints/b.jpg",
            "__MACOSX/real/a.jpg",
            "manifest.csv",
            "fake\\c.JPG",
            "fake/",
        )
        found = run(zip_of(tmp_path / "a.zip", *((name, picture(name)) for name in names)), copy_to=tmp_path / "to")
        assert sorted(p.name for p in (tmp_path / "to").rglob("*.*")) == ["a.jpg", "c.JPG"]
        assert [row["label"] for row in rows(found)] == ["fake", "real"]

    @pytest.mark.parametrize("length", [100, 2_000, -30])
    def test_cut_off(self, run: Run, archive: Path, length: int) -> None:
        archive.write_bytes(archive.read_bytes()[:length])
        with pytest.raises(DataError, match=r"archive.zip is cut off or damaged: .*download it again"):
            run(archive)

    def test_damaged_within(self, run: Run, tmp_path: Path) -> None:
        data = picture("a")
        path = zip_of(tmp_path / "a.zip", ("real/a.jpg", data), ("fake/b.jpg", picture("b")))
        path.write_bytes(path.read_bytes().replace(data, data[:-9] + b"_" * 9))
        found = run(path, copy_to=tmp_path / "to")
        assert found.problems == ["partial: 1 files in a.zip are damaged, such as real/a.jpg"]
        assert len(rows(found)) == 1

    @pytest.mark.parametrize(
        "name",
        [
            *("../real/a.jpg", "real/../../a.jpg", "/real/a.jpg", "C:/real/a.jpg"),
            *("real\\..\\..\\a.jpg", "\\\\h\\s\\a.jpg", "real/C:x.jpg", "real/C:/x.jpg", "real/.. /.. /a.jpg"),
        ],
    )
    def test_ways_out_of_the_folder(self, run: Run, tmp_path: Path, name: str) -> None:
        path = zip_of(tmp_path / "a.zip", ("real/b.jpg", picture("b")), (name, picture("a")))
        with pytest.raises(DataError, match=r"would write outside the folder|takes for a drive"):
            run(path, copy_to=tmp_path / "deep/to")
        assert list(tmp_path.rglob("*.jpg")) == []

    @pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFBLK])
    def test_links_and_devices(self, run: Run, tmp_path: Path, kind: int) -> None:
        link = zipfile.ZipInfo("real/a.jpg")
        link.external_attr = (kind | 0o777) << 16
        with pytest.raises(DataError, match="holds a link or a device"):
            run(zip_of(tmp_path / "a.zip", (link, b"/etc/passwd")), copy_to=tmp_path / "to")
        assert not (tmp_path / "to").exists()

    @pytest.mark.parametrize(
        ("bound", "value", "message"),
        [
            ("LARGEST", 99_999, "would be 100,000 bytes large"),
            ("TOTAL", 299_999, "would be larger than 299,999 bytes"),
            ("FILES", 2, "holds 3 files, more than is unpacked"),
        ],
    )
    def test_bombs(
        self, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bound: str, value: int, message: str
    ) -> None:
        monkeypatch.setattr(importing_archives, bound, value)
        members = ((f"real/{n}.jpg", bytes(100_000)) for n in range(3))
        path = zip_of(tmp_path / "a.zip", *members, compression=zipfile.ZIP_DEFLATED)
        assert path.stat().st_size < 2_000
        with pytest.raises(DataError, match=message):
            run(path, copy_to=tmp_path / "to")
        assert not (tmp_path / "to").exists()

    def test_sizes_that_are_understated(self, tmp_path: Path) -> None:
        size = 20_000_000
        members = (("real/a.jpg", bytes(size)), ("real/b.jpg", picture("b")))
        path = zip_of(tmp_path / "a.zip", *members, compression=zipfile.ZIP_DEFLATED)
        path.write_bytes(path.read_bytes().replace(size.to_bytes(4, "little"), (100).to_bytes(4, "little")))
        importing_archives.unpack_zip(path, tmp_path / "before")  # what is made once, such as the bar, is not measured
        tracemalloc.start()
        found = importing_archives.unpack_zip(path, tmp_path / "to")
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert most < size / 4
        assert [p.name for p in (tmp_path / "to").rglob("*.jpg")] == ["b.jpg"]
        assert found.problems == ["partial: 1 files in a.zip are damaged, such as real/a.jpg"]

    @pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
    def test_packed_in_another_way(self, run: Run, tmp_path: Path, method: int) -> None:
        path = zip_of(tmp_path / "a.zip", ("real/a.jpg", picture("a")), compression=method)
        with pytest.raises(DataError, match="packed in a way that is not read; pack it again"):
            run(path, copy_to=tmp_path / "to")
        assert not (tmp_path / "to").exists()

    def test_two_in_one_folder(self, run: Run, tmp_path: Path) -> None:
        to, about = tmp_path / "to", ("real/a.jpg", picture("a"))
        write(to / "notes/train/fake/c.jpg", picture("c"))
        write(to / "manifest.csv", b"path,label\nnotes/train/fake/c.jpg,fake\n")
        one = zip_of(tmp_path / "one.zip", about, ("fake/only.jpg", picture("only")))
        two = zip_of(tmp_path / "two.zip", ("real/a.jpg", picture("b")), ("valid.csv", b"x"))
        assert [r["path"] for r in rows(run(one, copy_to=to))] == ["to/one/fake/only.jpg", "to/one/real/a.jpg"]
        assert [r["path"] for r in rows(run(two, copy_to=to))] == ["to/two/real/a.jpg"]
        assert [(to / name / "real/a.jpg").read_bytes() for name in ("one", "two")] == [picture("a"), picture("b")]

    def test_another_of_the_same_name(self, run: Run, tmp_path: Path) -> None:
        to, path = tmp_path / "to", tmp_path / "a.zip"
        data = picture("a")
        run(zip_of(path, ("real/a.jpg", data), ("Fake/only.jpg", picture("only"))), copy_to=to)
        with pytest.raises(DataError, match=r"to/a holds something else \(only\.jpg\); name another folder"):
            run(zip_of(path, ("real/a.jpg", data)), copy_to=to)
        other = bytes([*data[:-1], data[-1] ^ 1])
        with pytest.raises(DataError, match=r"a\.jpg is there already, with other content; name another folder"):
            run(zip_of(path, ("real/a.jpg", other), ("Fake/only.jpg", picture("only"))), copy_to=to)
        assert (to / "a/real/a.jpg").read_bytes() == data

    def test_locked_doubled_and_empty(self, run: Run, tmp_path: Path) -> None:
        path = zip_of(tmp_path / "a.zip", ("real/a.jpg", b"x"))
        data = bytearray(path.read_bytes())
        data[data.index(b"PK\1\2") + 8] |= 1
        path.write_bytes(data)
        with pytest.raises(DataError, match="locked with a password"):
            run(path, copy_to=tmp_path / "to")
        with pytest.warns(UserWarning, match="Duplicate"):
            zip_of(path, ("real/a.jpg", b"x"), ("real/a.jpg", b"y"))
        with pytest.raises(DataError, match=r"'real/a\.jpg' twice"):
            run(path, copy_to=tmp_path / "to")
        with pytest.raises(DataError, match=r"'real/a\.jpg' twice"):
            run(zip_of(path, ("real/A.jpg", b"x"), ("real/a.jpg", b"y")), copy_to=tmp_path / "to")
        for name in ("train.csv", "notes.txt"):
            with pytest.raises(DataError, match="no pictures found"):
                run(zip_of(path, (name, b"x")), copy_to=tmp_path / "to")

    def test_where_nothing_can_be_written(
        self, run: Run, archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with pytest.raises(DataError, match="cannot be written to"):
            run(archive, copy_to=write(tmp_path / "file", b""))
        monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=10))
        with pytest.raises(DataError, match=r"GB are needed and 0\.0 GB are free"):
            run(archive, copy_to=tmp_path / "to")


def shard(path: Path, pictures: list[dict[str, object]], **names: list[str]) -> Path:
    """A file as `datasets` writes it; `names` are those of the numbers in a column."""
    path.parent.mkdir(parents=True, exist_ok=True)
    made = pa.Table.from_pylist(pictures)
    features = {"image": {"_type": "Image"}} | {name: {"names": n, "_type": "ClassLabel"} for name, n in names.items()}
    about = {"huggingface": json.dumps({"info": {"features": features}})}
    parquet.write_table(made.replace_schema_metadata(about), path, row_group_size=2)
    return path


def cell(seed: object, path: str | None = None) -> dict[str, object]:
    return {"bytes": picture(seed), "path": path}


class TestHuggingFace:
    def whole(self, root: Path, real: int = 1) -> Path:
        for split, name in (("train", "train"), ("valid", "validation"), ("test", "test")):
            pictures = [
                {"image": cell((split, label, n), name_of(label, n)), "label": real if label == "real" else 1 - real}
                for (own, label), number in SMALL["140k"].counts.items()
                if own == split
                for n in range(number)
            ]
            names = ["fake", "REAL"] if real else ["REAL", "fake"]
            shard(root / f"data/{name}-00000-of-00001.parquet", pictures, label=names)
        return root

    @pytest.mark.parametrize("real", [0, 1])
    def test_a_whole_set_whichever_number_is_real(self, run: Run, tmp_path: Path, real: int) -> None:
        source = self.whole(tmp_path / "hub", real)
        with pytest.raises(DataError, match="nothing is copied unasked"):
            run(source)
        found = run(source, copy_to=tmp_path / "to")
        assert found.verdict == "complete"
        assert found.usable == dict(SMALL["140k"].counts)
        row = next(r for r in rows(found) if r["split"] == "valid" and r["label"] == "real")
        assert row["path"] == "to/valid/real/data/validation-00000-of-00001/000000.jpg"
        assert (tmp_path / str(row["path"])).read_bytes() == picture(("valid", "real", 0))

    def test_one_file_of_several_and_a_generator(self, run: Run, tmp_path: Path) -> None:
        pictures = [{"image": cell(n), "label": n % 2, "generator": n % 2} for n in range(6)]
        path = shard(tmp_path / "train-00001-of-00004.parquet", pictures, generator=["Real", "StyleGAN"])
        found = run(path, copy_to=tmp_path / "to")
        assert found.problems[0] == "partial: 3 of the 4 files train-… are missing"
        assert "partial: 1 of 1 real valid pictures are missing" in found.problems
        assert {(r["label"], r["generator"], r["source"]) for r in rows(found)} == {
            ("real", "", "140k"),
            ("fake", "StyleGAN", "140k"),
        }

    def test_another_set(self, run: Run, tmp_path: Path) -> None:
        pictures = [{"image": cell(n), "label": ("real", "fake")[n % 2], "generator": "SDXL"} for n in range(4)]
        found = run(shard(tmp_path / "default/test/0000.parquet", pictures).parent, copy_to=tmp_path / "to")
        assert found.problems == []
        assert "no published counts" in found.verdict
        assert {(r["label"], r["generator"], r["split"]) for r in rows(found)} == {
            ("real", "", "test"),
            ("fake", "SDXL", "test"),
        }

    def test_labels_that_nothing_explains(self, run: Run, tmp_path: Path) -> None:
        path = shard(tmp_path / "train.parquet", [{"image": cell(n), "label": n} for n in (0, 1)])
        with pytest.raises(DataError, match="nothing says which label is real and which is fake"):
            run(path, copy_to=tmp_path / "to")
        path = shard(path, [{"image": cell(n, f"x/{('real', 'fake')[n]}/a"), "label": n} for n in (0, 1)])
        assert [r["label"] for r in rows(run(path, copy_to=tmp_path / "to"))] == ["fake", "real"]

    def test_rows_without_a_picture(self, run: Run, tmp_path: Path) -> None:
        lost = {"image": {"bytes": None, "path": "a.jpg"}, "label": "real"}
        path = shard(
            tmp_path / "x.parquet", [{"image": cell(1), "label": "fake"}, lost, {"image": cell(1), "label": "?"}]
        )
        found = run(path, copy_to=tmp_path / "to")
        assert found.problems == ["wrong: 1 rows are without a picture", "wrong: 1 rows are without a label"]

    def test_cut_off(self, run: Run, tmp_path: Path) -> None:
        source = self.whole(tmp_path / "hub")
        path = source / "data/test-00000-of-00001.parquet"
        path.write_bytes(path.read_bytes()[:-20])
        with pytest.raises(DataError, match="is cut off or damaged"):
            run(path, copy_to=tmp_path / "to")
        found = run(source, copy_to=tmp_path / "to")
        assert found.problems[0].startswith(f"partial: {path.name} is cut off or damaged; download it again")
        assert "partial: 2 of 2 fake test pictures are missing" in found.problems

    @pytest.mark.parametrize("bound", ["LARGEST", "TOTAL", "GROUP"])
    def test_more_than_is_unpacked(self, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bound: str) -> None:
        monkeypatch.setattr(importing_parquet, bound, 100)
        with pytest.raises(DataError, match="holds more than is unpacked"):
            run(self.whole(tmp_path / "hub"), copy_to=tmp_path / "to")

    def test_a_value_that_many_rows_share(self, tmp_path: Path) -> None:
        value = bytes(2**20)
        images = pa.StructArray.from_arrays([pa.array([value] * 64), pa.array(["a.jpg"] * 64)], ["bytes", "path"])
        path = tmp_path / "a.parquet"
        table = pa.table({"image": images, "label": ["real"] * 64})
        parquet.write_table(table, path, compression="zstd", dictionary_pagesize_limit=2**30)
        del images, table
        assert path.stat().st_size < 5_000
        before = pa.total_allocated_bytes()
        reader = importing_parquet._rows(path)
        assert next(reader)[0] == value
        assert pa.total_allocated_bytes() - before < 16 * len(value)

    @pytest.mark.parametrize("names", [5, {"0": "real"}, "rf"])
    def test_names_that_are_no_list(self, run: Run, tmp_path: Path, names: Any) -> None:
        path = shard(tmp_path / "a.parquet", [{"image": cell(1), "label": 0}], label=names)
        with pytest.raises(DataError, match="nothing says which label is real"):
            run(path, copy_to=tmp_path / "to")

    def test_folders_of_like_names(self, run: Run, tmp_path: Path) -> None:
        for name in ("a/b-0", "a-b/0"):
            shard(tmp_path / f"hub/{name}.parquet", [{"image": cell(name), "label": "real"}])
        found = run(tmp_path / "hub", copy_to=tmp_path / "to")
        assert {(tmp_path / str(r["path"])).read_bytes() for r in rows(found)} == {picture("a/b-0"), picture("a-b/0")}

    def test_none_of_the_files_is_written_over(self, tmp_path: Path) -> None:
        path = shard(tmp_path / "hub/a.parquet", [{"image": cell(1), "label": "real"}])
        before = path.read_bytes()
        with pytest.raises(DataError, match="is what is read; give the new file another name"):
            import_data(str(path.parent), path, copy_to=tmp_path / "to")
        assert (path.read_bytes(), (tmp_path / "to").exists()) == (before, False)

    def test_another_of_the_same_name_and_size(self, run: Run, tmp_path: Path) -> None:
        data = picture("a")
        one, other = ({"bytes": bytes([*data[:-1], data[-1] ^ bit]), "path": None} for bit in (0, 1))
        path, to = tmp_path / "a.parquet", tmp_path / "to"
        (row,) = rows(run(shard(path, [{"image": one, "label": "real"}]), copy_to=to))
        with pytest.raises(DataError, match="is there already, with other content; name another folder"):
            run(shard(path, [{"image": other, "label": "real"}]), copy_to=to)
        assert (tmp_path / str(row["path"])).read_bytes() == data

    def test_paths_in_it_lead_nowhere(self, run: Run, tmp_path: Path) -> None:
        path = shard(tmp_path / "x.parquet", [{"image": cell(1, "../../../real/a.jpg"), "label": "fake"}])
        run(path, copy_to=tmp_path / "deep/to")
        assert [p.relative_to(tmp_path).parts[:2] for p in tmp_path.rglob("*.jpg")] == [("deep", "to")]


class TestKaggleHub:
    def test_not_installed(self, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "kagglehub", None)
        with pytest.raises(MissingExtra, match="pip install kagglehub; or download the zip"):
            run("kaggle:140k")
        for name in ("150k", "../up", "a/b/c"):
            with pytest.raises(DataError, match="is no data set; name one as kaggle:owner/name, or 140k, ciplab"):
                run(f"kaggle:{name}")

    def test_a_download(self, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        asked: list[object] = []

        def dataset_download(handle: str, **options: object) -> str:
            asked.append((handle, options))
            return str(kaggle_set(tmp_path / "cache"))

        monkeypatch.setitem(sys.modules, "kagglehub", SimpleNamespace(dataset_download=dataset_download))
        assert run("kaggle:140k").verdict == "complete"
        assert run("kaggle:some/faces", copy_to=tmp_path / "to").verdict == "complete"
        assert asked == [("xhlulu/140k-real-and-fake-faces", {}), ("some/faces", {"output_dir": str(tmp_path / "to")})]

    def test_refused(self, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
        def dataset_download(handle: str) -> str:
            raise RuntimeError("403\nforbidden")

        monkeypatch.setitem(sys.modules, "kagglehub", SimpleNamespace(dataset_download=dataset_download))
        with pytest.raises(DataError, match=r"did not give ciplab/\S+ .*API token.*: 403 forbidden"):
            run("kaggle:ciplab")


class TestCommand:
    def call(self, monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
        monkeypatch.setattr(sys, "argv", ["realface", "data", "import", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        return int(ended.value.code or 0)

    def test_exit_status(
        self, archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        out = tmp_path / "m.parquet"
        own = tmp_path / "own"
        write(own / "real/a.jpg", picture("a"))
        assert self.call(monkeypatch, own, "--out", out) == 0
        assert "your pictures: all can be used" in capsys.readouterr().out
        assert self.call(monkeypatch, archive, "--out", out, "--copy-to", tmp_path / "to") == 1
        lines = capsys.readouterr().out.splitlines()
        assert "train  real          3         0     50,000" in lines
        assert "partial: 49,997 of 50,000 real train pictures are missing" in lines
        assert lines[-2:] == ["140k: wrong", f"manifest: {out}"]
        assert self.call(monkeypatch, own, "--out", out, "--set", "other") == 0
        write(own / "fake/b.jpg", b"")
        assert self.call(monkeypatch, own, "--out", out) == 1
        capsys.readouterr()
        assert self.call(monkeypatch, archive, "--out", out) == 2
        assert capsys.readouterr().err.startswith(f"realface: {archive} is an archive and nothing is copied unasked")
