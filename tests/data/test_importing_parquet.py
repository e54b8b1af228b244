"""Hugging Face Parquet is unpacked as what its files say of their labels, or not at all."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import parquet
from test_importing import SMALL, Run, imports, name_of, picture, rows

from realface.data import importing_parquet
from realface.data.importing import import_data
from realface.errors import DataError


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    return imports(tmp_path / "manifest.parquet", monkeypatch)


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

    def test_a_generator_that_calls_none_real_is_no_label(self, run: Run, tmp_path: Path) -> None:
        made = ["FFHQ", "SDXL", "none", "StyleGAN"]
        pictures = [{"image": cell(n), "label": n % 2, "generator": word} for n, word in enumerate(made)]
        for number, names in enumerate(({}, {"label": ["human", "ai"]})):
            path = shard(tmp_path / f"{number}.parquet", pictures, **names)
            with pytest.raises(DataError, match="nothing says which label is real and which is fake"):
                run(path, copy_to=tmp_path / "to")
        assert list(tmp_path.rglob("*.jpg")) == []

    def test_what_is_called_real_may_be_in_another_file(self, run: Run, tmp_path: Path) -> None:
        for number, word in enumerate(("SDXL", "real")):
            pictures = [{"image": cell((word, n)), "label": number, "generator": word} for n in range(2)]
            shard(tmp_path / f"hub/train-{number:05}-of-00002.parquet", pictures)
        found = run(tmp_path / "hub", copy_to=tmp_path / "to")
        assert found.problems == []
        assert [(r["label"], r["generator"]) for r in rows(found)] == [("fake", "SDXL")] * 2 + [("real", "")] * 2

    def test_one_fake_like_those_of_the_kaggle_set_makes_no_kaggle_set(self, run: Run, tmp_path: Path) -> None:
        made = ["real", "SDXL", "StyleGAN"]
        path = shard(tmp_path / "a.parquet", [{"image": cell(word), "generator": word} for word in made])
        found = run(path, copy_to=tmp_path / "to")
        assert found.problems == []
        assert {row["source"] for row in rows(found)} == {""}

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
        reader = importing_parquet._rows(path, False)
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
