"""The results of a scan on the disk: what is judged again, what the disk refuses, and that no part is lost."""

import os
from collections.abc import Container
from itertools import count, islice
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import parquet

from realface.errors import NotAnImage, ScanError, Unreachable
from realface.results import DetectorId, failed
from realface.scan import parts
from realface.scan.parts import Parts, folder_of
from realface.scan.rows import table
from realface.scan.run import _rest, scan
from realface.scan.source import Entry

PICTURES = [f"{number:02}.jpg" for number in range(20)]
OUTAGE = ("00.jpg", "04.jpg", "05.jpg", "06.jpg", "19.jpg")


def go_on(out: Path, down: Container[str] = (), *, until: int = 99, record: str = "ours") -> list[str]:
    """A scan in parts of six rows, stopped after `until` pictures; which it judged."""
    judged: list[str] = []
    with Parts(out, {"record": record}, resume=True, rows=6) as growing:
        if growing.finished:
            return judged
        rest = _rest((Entry(path, path) for path in PICTURES), growing.rows())
        while batch := [entry.path for entry in islice(rest, 3)]:
            errors = [Unreachable("silence") if path in down else NotAnImage("text") for path in batch]
            ours = DetectorId("d", "1", "0")
            rows = [failed(path, None, error, ours) for path, error in zip(batch, errors, strict=True)]
            growing.add(pa.Table.from_batches([table(rows)]))
            judged += batch
            if len(judged) >= until:
                raise KeyboardInterrupt
        growing.join()
    return judged


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> pa.Table:
    out = tmp_path_factory.mktemp("undisturbed") / "out.parquet"
    assert go_on(out) == PICTURES
    return parquet.read_table(out)


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out.parquet"


def codes(out: Path) -> dict[str, str]:
    rows = parquet.read_table(out)
    return dict(zip(rows["path"].to_pylist(), rows["error_code"].to_pylist(), strict=True))


@pytest.mark.skipif(os.name == "nt", reason="no such names there")
def test_a_colon_in_the_name_of_a_result_makes_no_url_of_it(
    tmp_path: Path, undisturbed: pa.Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    go_on(Path("ours:1.parquet"), OUTAGE)
    assert len(go_on(Path("ours:1.parquet"))) == len(OUTAGE)
    assert parquet.read_table(tmp_path / "ours:1.parquet").equals(undisturbed)


def test_only_pictures_that_were_unreachable_are_judged_again(out: Path, undisturbed: pa.Table) -> None:
    go_on(out, OUTAGE)
    assert list(codes(out)) == PICTURES
    assert [path for path, code in codes(out).items() if code == "unreachable"] == list(OUTAGE)
    assert go_on(out, OUTAGE[3:]) == list(OUTAGE)
    assert [path for path, code in codes(out).items() if code == "unreachable"] == list(OUTAGE[3:])
    assert go_on(out) == list(OUTAGE[3:])
    assert parquet.read_table(out).equals(undisturbed)
    assert not folder_of(out).exists()


def test_before_the_rest_of_a_scan_that_was_stopped(out: Path, undisturbed: pa.Table) -> None:
    with pytest.raises(KeyboardInterrupt):
        go_on(out, OUTAGE, until=12)
    with Parts(out, {"record": "ours"}, resume=True, rows=6) as growing:
        assert growing.done == 8
    assert go_on(out) == [*OUTAGE[:4], *PICTURES[12:]]
    assert parquet.read_table(out).equals(undisturbed)


def test_a_source_that_ends_early_has_changed() -> None:
    with pytest.raises(ScanError, match="picture 2 was nothing, now it is nothing"):
        list(_rest(iter([Entry("a", "a")]), [("a", False), ("nothing", False)]))


@pytest.mark.parametrize("until", [12, 99])
def test_killed_at_any_moment_it_loses_nothing(
    out: Path, until: int, undisturbed: pa.Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    settled = parts._settle

    class Killed(BaseException):
        pass

    for last in count():
        if until < len(PICTURES):
            with pytest.raises(KeyboardInterrupt):
                go_on(out, OUTAGE, until=until)
        else:
            go_on(out, OUTAGE)
        left = last

        def settle(half: Path, whole: Path) -> None:
            nonlocal left
            left -= 1
            if left < 0:
                raise Killed
            settled(half, whole)

        with monkeypatch.context() as patch:
            patch.setattr(parts, "_settle", settle)
            try:
                go_on(out)
            except Killed:
                patch.undo()
                go_on(out)
        assert parquet.read_table(out).equals(undisturbed)
        assert not folder_of(out).exists()
        out.unlink()
        if left >= 0:  # nobody was killed
            break
    assert last >= 4


def test_without_its_parts_a_result_is_left_as_it_is(out: Path) -> None:
    go_on(out, OUTAGE)
    for file in folder_of(out).iterdir():
        file.unlink()
    assert go_on(out) == []
    assert set(codes(out).values()) == {"unreachable", "not_an_image"}
    assert not folder_of(out).exists()


def test_parts_outlive_what_is_no_result_of_theirs(out: Path, undisturbed: pa.Table) -> None:
    with pytest.raises(KeyboardInterrupt):
        go_on(out, until=12)
    kept = sorted(folder_of(out).iterdir())
    out.write_text("a note")
    with pytest.raises(ScanError, match="not the result of a scan; name another"):
        go_on(out)
    go_on(out.with_name("other.parquet"), record="theirs")
    out.with_name("other.parquet").replace(out)
    for record in ("ours", "theirs"):  # of the parts, of the result
        with pytest.raises(ScanError, match="is of another scan"):
            go_on(out, record=record)
    assert sorted(folder_of(out).iterdir()) == kept
    out.unlink()
    assert go_on(out) == PICTURES[12:]
    assert parquet.read_table(out).equals(undisturbed)


@pytest.mark.parametrize("text", [b"", b"\xff", b"[1]", b"7"])
def test_a_damaged_record_is_told_and_no_part_lost(out: Path, text: bytes) -> None:
    with pytest.raises(KeyboardInterrupt):
        go_on(out, until=12)
    kept = sorted(folder_of(out).iterdir())
    (folder_of(out) / "scan.json").write_bytes(text)
    with pytest.raises(ScanError, match=r"the record of .* is damaged"):
        go_on(out)
    assert sorted(folder_of(out).iterdir()) == kept


def test_a_refusal_leaves_no_folder_behind(out: Path) -> None:
    out.write_text("a note")
    with pytest.raises(ScanError, match="not the result of a scan"):
        go_on(out)
    assert [path.name for path in out.parent.iterdir()] == [out.name]
    out.unlink()
    with pytest.raises(ScanError, match="nosuch"):  # nor does a source that cannot be opened
        scan(["nosuch://bucket"], out, detector="fast")
    assert list(out.parent.iterdir()) == []


def test_a_finished_scan_is_told_so_where_nothing_can_be_written(
    out: Path, undisturbed: pa.Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    parquet.write_table(undisturbed, out)

    def read_only(*_: object, **__: object) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(Path, "mkdir", read_only)
    assert go_on(out) == []
    with pytest.raises(ScanError, match="is of another scan"):
        go_on(out, record="theirs")


def test_the_folder_of_parts_is_removed_before_another_scan_may_take_it(
    out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    removed: list[Path] = []

    def remove(folder: Path, **_: object) -> None:
        with pytest.raises(ScanError, match="another scan is writing"):
            go_on(out)
        removed.append(folder)

    monkeypatch.setattr(parts.shutil, "rmtree", remove)
    assert go_on(out) == PICTURES
    assert removed == [folder_of(out)]


def test_a_result_that_could_not_be_made_leaves_no_half_of_it(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(half: Path, whole: Path) -> None:
        if whole == out:
            raise OSError(28, "No space left on device")
        half.replace(whole)

    monkeypatch.setattr(parts, "_settle", full)
    with pytest.raises(ScanError, match="make room"):
        go_on(out)
    assert "half" not in {path.name for path in folder_of(out).iterdir()}
    monkeypatch.undo()
    assert go_on(out) == []
    assert set(codes(out)) == set(PICTURES)


def test_a_disk_that_refuses_says_what_to_do(out: Path, undisturbed: pa.Table, monkeypatch: pytest.MonkeyPatch) -> None:
    folder_of(out).touch()
    with pytest.raises(ScanError, match=r"cannot be written or read: .*set the permissions"):
        go_on(out)
    folder_of(out).unlink()
    with pytest.raises(KeyboardInterrupt):
        go_on(out, until=12)

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    for what in ("write_table", "ParquetWriter"):
        with monkeypatch.context() as patch:
            patch.setattr(parts.parquet, what, full)
            with pytest.raises(ScanError, match=r"No space left.*make room.* --resume"):
                go_on(out)
    with monkeypatch.context() as patch:
        patch.setattr(parts.parquet, "read_metadata", full)
        with pytest.raises(ScanError, match="No space left"):
            go_on(out)
    assert go_on(out) == []
    assert parquet.read_table(out).equals(undisturbed)
