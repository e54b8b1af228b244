"""Data sets as other systems and people write them."""

import zipfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as parquet
import pytest
from conftest import encoded, grey

from realface.data import read_data
from realface.data.importing import import_data
from realface.errors import DataError


def pictures(folder: Path, *names: str) -> Path:
    for level, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(encoded(grey(level)))
    return folder


@pytest.mark.parametrize("folder", ["", "test/"])
def test_pictures_beside_one_class_are_not_passed_over(tmp_path: Path, folder: str) -> None:
    data = pictures(tmp_path, f"{folder}fake/a.png", f"{folder}genuine/b.png")
    with pytest.raises(DataError, match="has genuine beside fake, which is no class; call it real or fake"):
        read_data(data)
    pictures(data, f"{folder}real/c.png")  # with both classes the third is not missed
    assert sorted(sample.path.name for sample in read_data(data)) == ["a.png", "c.png"]


def test_paths_of_windows_are_found(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "data.zip", "w") as file:
        file.writestr("manifest.csv", "path,label\nreal\\a.png,real\nfake\\b.png,fake\n")
        for level, name in enumerate(("real/a.png", "fake/b.png")):
            file.writestr(name, encoded(grey(level)))
    import_data(str(tmp_path / "data.zip"), tmp_path / "m.parquet", copy_to=tmp_path / "faces")
    assert [sample.path.name for sample in read_data(tmp_path / "m.parquet")] == ["b.png", "a.png"]


def test_text_columns_may_be_bytes(tmp_path: Path) -> None:
    data = pictures(tmp_path, "a.png", "b.png")
    columns = {"path": [b"a.png", b"b.png"], "label": [b"real", b"fake"], "source": [b"x", b"x"]}
    parquet.write_table(pa.table({k: pa.array(v, pa.binary()) for k, v in columns.items()}), data / "m.parquet")
    got = read_data(data / "m.parquet")
    assert [(s.path, s.label, s.source) for s in got] == [(data / "a.png", 0, "x"), (data / "b.png", 1, "x")]
