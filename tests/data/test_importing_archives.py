"""Archives are unpacked only when asked, whole or with a word on what is not; hostile ones are not."""

import shutil
import stat
import sys
import tracemalloc
import zipfile
from pathlib import Path
from types import SimpleNamespace

import pytest
from test_importing import Run, imports, kaggle_set, picture, rows, write

from realface import cli
from realface.data import importing_archives, read_data
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
            "fake\\c.JPG",
            "fake/",
        )
        found = run(zip_of(tmp_path / "a.zip", *((name, picture(name)) for name in names)), copy_to=tmp_path / "to")
        assert sorted(p.name for p in (tmp_path / "to").rglob("*.*")) == ["a.jpg", "c.JPG"]
        assert [row["label"] for row in rows(found)] == ["fake", "real"]

    def test_a_manifest_is_taken(self, run: Run, tmp_path: Path) -> None:
        text = b"path,label,source,split\nreal/a.jpg,real,camera,test\nfake/b.jpg,fake,gan,train\n"
        files = [(f"set/{name}", picture(name)) for name in ("real/a.jpg", "fake/b.jpg", "fake/c.jpg")]
        found = run(zip_of(tmp_path / "a.zip", ("set/manifest.csv", text), *files), copy_to=tmp_path / "to")
        assert [(row["source"], row["split"]) for row in rows(found)] == [("gan", "train"), ("camera", "test")]

    @pytest.mark.parametrize("name", ["../../out.jpg", "/etc/out.jpg"])
    def test_a_manifest_that_names_other_files_is_refused(self, run: Run, tmp_path: Path, name: str) -> None:
        text = f"path,label\nreal/a.jpg,real\n{name},fake\n".encode()
        files = [(name, picture(name)) for name in ("real/a.jpg", "fake/b.jpg")]
        with pytest.raises(DataError, match=r"its manifest.csv names files that are not in it"):
            run(zip_of(tmp_path / "a.zip", ("manifest.csv", text), *files), copy_to=tmp_path / "to")

    @pytest.mark.parametrize("length", [0, 100, 2_000, -30])
    def test_cut_off(self, run: Run, archive: Path, length: int) -> None:
        archive.write_bytes(archive.read_bytes()[:length])
        with pytest.raises(DataError, match=r"archive.zip is cut off or damaged: .*download it again"):
            run(archive)

    @pytest.mark.parametrize("name", ["a.zip", "a.parquet"])
    def test_a_page_that_was_saved_in_its_place(self, run: Run, tmp_path: Path, name: str) -> None:
        (tmp_path / name).write_text("<html>Sign in</html>")
        with pytest.raises(DataError, match=f"{name} is cut off or damaged: .*download it again"):
            run(tmp_path / name)

    def test_an_archive_where_a_folder_is_wanted(self, archive: Path) -> None:
        with pytest.raises(DataError, match="or unpack it if it is an archive"):
            read_data(archive)

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
