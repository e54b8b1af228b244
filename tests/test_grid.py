"""The laundering grid on generated pictures, whose answers under every change are known."""

import json
from pathlib import Path

import numpy as np
import pytest
from conftest import encoded, grey, in_turns
from PIL import Image

from realface import Detector, degrade
from realface.data import read_data
from realface.errors import DataError
from realface.evaluation import scores as scores_module
from realface.evaluation.evaluate import evaluate
from realface.evaluation.grid import LAUNDERING, grid_figures, grid_table
from realface.evaluation.metrics import METRICS
from realface.evaluation.plots import heatmap
from realface.evaluation.rows import Row
from realface.evaluation.scores import score, score_each


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Twelve pictures of two sources, the fakes brighter than the real ones; one file is broken."""
    rows = ["path,label,source,split"]
    for i in range(12):
        label, level = ("real", 60 + i) if i % 2 == 0 else ("fake", 190 + i)
        (tmp_path / f"{i}.png").write_bytes(encoded(grey(level, 64 + i, 80)))
        rows.append(f"{i}.png,{label},{'ab'[i < 4]},test")
    (tmp_path / "broken.png").write_bytes(b"")
    (tmp_path / "manifest.csv").write_text("\n".join([*rows, "broken.png,real,a,test"]))
    return tmp_path


def test_every_cell_has_its_figures(data: Path, detector: Detector) -> None:
    got = evaluate([detector], data, "test", grid=True).result["detectors"][0]
    grid = got["grid"]
    assert list(grid["cells"]) == list(degrade.GRID)
    plain = evaluate([detector], data, "test").result["detectors"][0]
    assert grid["cells"][degrade.AS_IT_IS] == got["figures"]["all"] == plain["figures"]["all"]
    assert grid["mean"].keys() - {"real", "fake"} == grid["worst"].keys() - {"real", "fake"} == METRICS.keys()
    for row in grid["cells"].values():
        assert (row["real"], row["fake"]) == (6, 6)
        assert row["auc"] == 1  # none of this changes which of two greys is the brighter
    assert set(LAUNDERING) == set(grid["cells"]) - {degrade.AS_IT_IS, *degrade.EDITS}
    assert (grid["mean"]["auc"], grid["worst"]["auc"], grid["worst_cell"]["auc"]) == (1, 1, None)
    assert json.loads(json.dumps(got)) == got
    lines = grid_table(grid).partition("\n\n")[0].splitlines()
    assert [line.split("|")[1].strip() for line in lines[2:]] == [
        *degrade.GRID,
        "mean of laundering",
        "worst of laundering",
    ]
    assert len({line.count("|") for line in lines}) == 1


def test_a_face_is_looked_for_once(data: Path, detector: Detector, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Path] = []
    read_face = scores_module.read_face
    monkeypatch.setattr(scores_module, "read_face", lambda path, framing: seen.append(path) or read_face(path, framing))
    evaluate([detector], data, "test", grid=True)
    assert sorted(seen) == sorted(sample.path for sample in read_data(data))


def save_noise(folder: Path, count: int) -> None:
    """A test split of pictures of noise, real and fake in turns."""
    rng = np.random.default_rng(7)
    noise = (Image.fromarray(rng.integers(0, 256, (80, 70, 3), dtype=np.uint8)) for _ in range(count))
    in_turns(folder / "test", noise)


def test_each_cell_is_what_scoring_with_its_change_gives(tmp_path: Path, detector: Detector) -> None:
    save_noise(tmp_path, 3)
    samples = read_data(tmp_path)
    scored = dict(zip(degrade.GRID, score_each(detector, samples, "x", list(degrade.GRID.values())), strict=True))
    for name, change in degrade.GRID.items():
        alone = score(detector, samples, "x", change=change)
        assert np.array_equal(scored[name].logits, alone.logits), name
        assert scored[name].logits.dtype == np.float32
        assert (scored[name].sides == 70).all()
    assert len({scored[name].logits.tobytes() for name in degrade.GRID}) == len(degrade.GRID)
    with pytest.raises(DataError, match="none of the pictures"):
        score_each(detector, [], "x", list(degrade.GRID.values()))


def test_a_picture_gets_the_same_noise_whatever_else_is_measured(tmp_path: Path, detector: Detector) -> None:
    save_noise(tmp_path, 4)
    both = [evaluate([detector], tmp_path, "test", grid=True, every=every).rows[0] for every in (1, 2)]
    assert both[0][::2] == both[1]
    (tmp_path / "test" / "real" / "2.png").rename(tmp_path / "test" / "fake" / "a.png")
    moved = evaluate([detector], tmp_path, "test", grid=True).rows[0]
    assert {row.sha256: row.fake for row in moved} == {row.sha256: row.fake for row in both[0]}


def rows_of(count: int, *, only: int | None = None) -> list[Row]:
    """Rows of a detector that is right of every other picture, real and fake, in every cell."""
    return [
        Row(
            f"{i}", f"{i}", i % 2, "", "", "d", "c", "ok", 100,
            dict.fromkeys(degrade.GRID, 0.1 + 0.8 * (i % 2)), dict.fromkeys(degrade.GRID, ("real", "fake")[i % 2]),
        )
        for i in range(count) if only in (None, i % 2)
    ]  # fmt: skip


def test_mean_and_worst_by_hand() -> None:
    rows = rows_of(12)
    for row in rows:
        row.called["JPEG 50"] = "inconclusive"
        for cell in ("blur 1", degrade.COVERED):  # all is the other way round; the latter is no laundering
            row.fake[cell] = 1 - row.fake[cell]
            row.called[cell] = {"real": "fake", "fake": "real"}[row.called[cell]]
    got = grid_figures(rows)
    assert got["cells"]["blur 1"]["auc"] == 0
    assert got["worst"]["auc"] == got["worst"]["accuracy"] == 0
    assert got["worst"]["bpcer"] == got["worst"]["apcer"] == 1
    assert {got["worst_cell"][figure] for figure in ("auc", "accuracy", "bpcer", "apcer")} == {"blur 1"}
    assert got["worst_cell"]["inconclusive"] == "JPEG 50"
    assert got["mean"]["auc"] == pytest.approx(1 - 1 / len(LAUNDERING))
    assert got["mean"]["bpcer"] == pytest.approx(1 / len(LAUNDERING))
    assert got["worst"]["inconclusive"] == pytest.approx(len(LAUNDERING) * got["mean"]["inconclusive"])


def test_what_no_cell_can_show_stands_out_from_the_page() -> None:
    drawn = heatmap({"as it is": dict.fromkeys(("auc", "accuracy", "bpcer", "apcer", "inconclusive"))})
    assert drawn.count(">-<") == 5
    assert "fill: #ffffff" not in drawn.partition(">-<")[2]


def test_one_class_has_a_grid_too() -> None:
    got = grid_figures(rows_of(12, only=1))
    for key in ("auc", "bpcer", "ece"):
        assert got["mean"][key] is got["worst"][key] is got["worst_cell"][key] is None
    assert got["worst"]["apcer"] == 0
    assert "| worst of laundering | 0 | 6 |" in grid_table(got)


def test_the_grid_from_the_command_line(run, data: Path, detector_file: Path) -> None:
    folder = data / "report"
    status, out, _ = run("evaluate", data, "--detector", detector_file, "--grid", "--out", folder)
    assert status == 0
    assert "| lower face covered | 6 | 6 |" in out
    assert "| worst of laundering | 6 | 6 |" in out
    assert "Real faces called fake: 0.0 % of 6 (95 % interval 0.0 to 39.0 %)" in out
    stored = json.loads((folder / "evaluation.json").read_text())
    assert list(stored["detectors"][0]["grid"]["cells"]) == list(degrade.GRID)
    html = (folder / "report.html").read_text()
    assert "Heatmap of the laundering grid" in html
    assert all(f">{cell}</text>" in html for cell in degrade.GRID)


def test_some_sources_from_the_command_line(run, data: Path, detector_file: Path) -> None:
    status, out, _ = run("evaluate", data, "--detector", detector_file, "--source", "a")
    assert (status, "| all | 4 | 4 |" in out, "| b |" in out, "laundering" in out) == (0, True, False, False)
    status, out, _ = run("evaluate", data, "--detector", detector_file, "--source", "a", "--source", "b")
    assert (status, "| all | 6 | 6 |" in out, "| b | 2 | 2 |" in out) == (0, True, True)
    status, _, err = run("evaluate", data, "--detector", detector_file, "--source", "c")
    assert (status, err) == (2, "realface: there is no source 'c' in the test split; there are: a, b\n")
