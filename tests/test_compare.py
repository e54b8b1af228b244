"""Detectors side by side: paired differences, and what they say."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import brightness_detector, encoded, grey, in_turns

from realface.card import Thresholds
from realface.degrade import AS_IT_IS, GRID
from realface.errors import DataError
from realface.evaluation.compare import FIGURES, comparison_table, differences, load, row_text
from realface.evaluation.evaluate import summary
from realface.evaluation.metrics import METRICS, Metric, table
from realface.evaluation.page import page
from realface.evaluation.rows import FILE, Row, write


def rows_of(labels: np.ndarray, fake: np.ndarray, detector: str) -> list[Row]:
    return [
        Row(
            f"{i}", f"{i}", int(label), "", "", detector, "c", "ok", 100,
            {AS_IT_IS: float(f)}, {AS_IT_IS: "fake" if f >= 0.5 else "real"},
        )
        for i, (label, f) in enumerate(zip(labels, fake, strict=True))
    ]  # fmt: skip


@pytest.fixture
def scores(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels, and what two detectors say that find the same pictures hard, of which the second is a little better."""
    labels = np.repeat([0, 1], 300)
    hard = rng.normal(0, 1.2, 600)
    first = hard + rng.normal(0, 0.3, 600) + 2 * labels - 1
    second = hard + rng.normal(0, 0.3, 600) + 3 * labels - 1.5
    return labels, 1 / (1 + np.exp(-first)), 1 / (1 + np.exp(-second))


def test_a_better_detector_is_said_to_be_better(scores: tuple[np.ndarray, ...]) -> None:
    labels, first, second = scores
    got = differences(rows_of(labels, first, "a"), rows_of(labels, second, "b"))
    assert (got["pictures"], got["left_out"], list(got["figures"])) == (600, 0, list(FIGURES))
    back = differences(rows_of(labels, second, "b"), rows_of(labels, first, "a"))
    for name in ("auc", "ap", "eer", "accuracy", "brier"):
        row, reverse = got["figures"][name], back["figures"][name]
        assert row["says"] == "better", name
        assert reverse["says"] == "worse", name
        assert row["difference"] == row["other"] - row["first"] == -reverse["difference"]
        assert reverse["interval"] == pytest.approx([-row["interval"][1], -row["interval"][0]])
    assert got["figures"]["inconclusive"]["says"] is None


def test_the_interval_of_a_difference_is_paired(scores: tuple[np.ndarray, ...]) -> None:
    """Of two shares on the same pictures the variance follows from where they differ (McNemar 1947)."""
    labels, first, second = scores
    got = differences(rows_of(labels, first, "a"), rows_of(labels, second, "b"))["figures"]["accuracy"]
    right = [(fake >= 0.5) == labels for fake in (first, second)]
    gain = right[1].astype(int) - right[0].astype(int)
    assert got["difference"] == pytest.approx(gain.mean())
    width = got["interval"][1] - got["interval"][0]
    assert width == pytest.approx(2 * 1.96 * gain.std() / np.sqrt(600), rel=0.15)
    apart = np.sqrt(sum(one.var() for one in right) / 600)
    assert width < 0.8 * 2 * 1.96 * apart


def test_equal_detectors_cannot_be_told_apart(scores: tuple[np.ndarray, ...]) -> None:
    labels, first, _ = scores
    got = differences(rows_of(labels, first, "a"), rows_of(labels, first, "b"))
    assert {row["says"] for row in got["figures"].values()} == {None}
    assert {row["interval"] is None for row in got["figures"].values()} == {True}
    told = comparison_table({"first": "a", "other": "b"} | got)
    assert told.count("too few samples to say") == len(FIGURES)


def test_of_two_calibrated_detectors_none_is_better_calibrated(rng: np.random.Generator) -> None:
    """Chance adds more to the calibration error of who is cautious."""
    p = rng.uniform(0, 1, 400)
    sure = rng.random(400) < p
    labels = np.where(rng.random(400) < 0.02, ~sure, sure).astype(int)
    cautious, sharp = p * 0.96 + 0.02, np.where(sure, 0.98, 0.02)
    row = differences(rows_of(labels, sharp, "a"), rows_of(labels, cautious, "b"))["figures"]["ece"]
    assert row["difference"] > 0.03
    assert row["interval"][0] <= 0 <= row["interval"][1]
    assert row["says"] is None


def test_what_is_rounded_to_nothing_has_no_sign() -> None:
    row = {"first": 0.5, "other": 0.5, "difference": 0.0, "interval": (-1e-5, 4e-3), "says": None}
    assert row_text("accuracy", row)[3:5] == ["0.0 points", "0.0 to +0.4"]


def test_a_metric_is_a_line_in_one_table(monkeypatch: pytest.MonkeyPatch, scores: tuple[np.ndarray, ...]) -> None:
    """It has an interval, and is told of in tables, in the report, in comparisons and in the grid."""
    metric = Metric("Mean error", "error", lambda labels, fake: np.abs(fake - labels).mean(), share=False)
    for place in (METRICS, FIGURES):  # the second is made from the first when it is imported
        monkeypatch.setitem(place, "error", metric)
    labels, *told = (some[::10] for some in scores)
    rows = [rows_of(labels, fake, "d") for fake in told]
    rows[0] = [
        replace(row, fake=dict.fromkeys(GRID, row.fake[AS_IT_IS]), called=dict.fromkeys(GRID, row.called[AS_IT_IS]))
        for row in rows[0]
    ]
    known = {"detector": {"name": "a", "version": "", "sha256": "d"}}
    known |= dict.fromkeys(("thresholds", "policy", "seconds"))
    done = summary([known, known], rows, {})
    first = done.result["detectors"][0]
    got, wanted = first["figures"]["all"], np.abs(told[0] - labels).mean()
    assert (got["error"], first["grid"]["worst"]["error"]) == pytest.approx((wanted, wanted))
    low, high = got["intervals"]["error"]
    assert low < wanted < high
    head, _, row, *_ = table({"all": got}).splitlines()
    assert (head.split(" | ")[-1], row.split(" | ")[-1]) == ("error |", f"{wanted:.4f} |")
    assert page(done, {}).count(f"<b>{wanted:.4f}</b>") > len(GRID)
    assert done.result["comparison"][0]["figures"]["error"]["says"] == "better"


def test_only_what_both_answered_counts(scores: tuple[np.ndarray, ...]) -> None:
    labels, first, second = scores
    one, some = rows_of(labels, first, "a"), rows_of(labels, second, "b")
    for rows, lost in ((some, [3]), (one, range(-5, 0))):
        for i in lost:
            rows[i] = replace(rows[i], status="missing", fake={}, called={})
    got = differences(one, some)
    assert (got["pictures"], got["left_out"]) == (594, 6)
    one_class = differences(rows_of(labels, first, "a")[:100], rows_of(labels, second, "b")[:100])
    assert {"accuracy", "bpcer", "inconclusive", "brier"} <= one_class["figures"].keys()
    assert not {"auc", "ap", "eer", "apcer", "apcer_at_0.01", "ece"} & one_class["figures"].keys()
    nothing = differences(one[-5:], some[-5:])
    assert (nothing["pictures"], nothing["figures"]) == (0, {})


def test_two_evaluations_from_the_command_line(run, tmp_path: Path) -> None:
    data = tmp_path / "data"
    in_turns(data / "test", (grey(60 + 10 * i + 50 * (i % 2), 64 + i) for i in range(12)))
    detectors = [tmp_path / f"{name}.onnx" for name in ("one", "two")]
    for path, low in zip(detectors, (0.2, 0.4), strict=True):
        path.write_bytes(brightness_detector(thresholds=Thresholds(low, 0.8)))
    a, b, both, out = (tmp_path / name for name in ("a", "b", "both", "out"))
    assert run("evaluate", data, "--detector", detectors[0], "--out", a)[0] == 0
    assert run("evaluate", data, "--detector", detectors[1], "--out", b, "--every", 2)[0] == 0
    status, told, _ = run("compare", a, b, "--out", out)
    assert (status, "| AUC |" in told, f"Written: {out / 'report.html'}" in told) == (0, True, True)
    stored = json.loads((out / "evaluation.json").read_text())
    assert (stored["pictures"], stored["left_out"]) == (6, 6)
    first, second = stored["detectors"]
    assert second["name"].startswith("brightness (")
    assert first["figures"]["all"]["real"] == second["figures"]["all"]["real"] == 3
    assert "Against each other" in (out / "report.html").read_text()
    assert [len(part) for part in load([a, b, a])[:2]] == [2, 2]
    with pytest.raises(DataError, match="two detectors or more"):
        load([a, a])
    wrong = tmp_path / "wrong"  # what fails leaves nothing that stands in the way
    assert run("compare", a, "--out", wrong)[0] == 2
    assert run("compare", a, b, "--out", wrong)[0] == 0
    status, _, err = run("compare", a, b, "--out", a)
    assert (status, "choose another --out" in err) == (2, True)
    status, _, err = run("evaluate", data, "--detector", detectors[0], "--detector", detectors[1], "--out", both)
    assert status == 0
    stored = [json.loads((folder / "evaluation.json").read_text()) for folder in (both, out)]
    assert stored[0]["comparison"][0]["pictures"] == 12
    described, rows, left_out = load([both])
    assert (len(described), [len(some) for some in rows], left_out) == (2, [12, 12], 0)
    status, _, err = run("evaluate", data, "--detector", detectors[0], "--detector", detectors[0])
    assert (status, "named twice" in err) == (2, True)


def test_a_detector_may_have_judged_in_several_evaluations(tmp_path: Path) -> None:
    """In whatever order they are named; files that nobody could read are no picture in common."""
    labels, fake = np.array([0, 1, 0, 1, 1]), np.array([0.1, 0.9, 0.2, 0.8, 0.7])
    rows = {who: rows_of(labels, fake, who) for who in "de"}
    folders = [tmp_path / name for name in "pqr"]
    for folder, kept in zip(folders, (rows["d"][:2], rows["d"][2:], rows["e"]), strict=True):
        folder.mkdir()
        lost = Row(f"{folder.name}.jpg", "unreadable", 1, "", "", kept[0].detector, "c", "error")
        write(folder / FILE, [*kept, kept[0], lost])
        told = json.loads(described())
        told["detectors"] = [known for known in told["detectors"] if known["detector"]["sha256"] == kept[0].detector]
        (folder / "evaluation.json").write_text(json.dumps(told))
    for order in (folders, folders[::-1], [folders[1], folders[2], folders[0]]):
        who, told_rows, left_out = load(order)
        assert sorted(known["detector"]["sha256"] for known in who) == ["d", "e"]
        assert [[row.path for row in of_one] for of_one in told_rows] == [[f"{i}" for i in range(5)]] * 2
        assert left_out == 3


def test_few_real_pictures_say_nothing_about_rare_accusations() -> None:
    labels = np.repeat([0, 1], [12, 200])
    rng = np.random.default_rng(3)
    good, bad = (np.where(labels == 1, rng.uniform(low, 1, 212), rng.uniform(0, 0.3, 212)) for low in (0.5, 0.0))
    figures = differences(rows_of(labels, good, "a"), rows_of(labels, bad, "b"))["figures"]
    assert figures["apcer"]["says"] == "worse"
    assert (figures["apcer_at_0.01"]["says"], figures["apcer_at_0.01"]["difference"] > 0.2) == (None, True)


def test_a_page_shows_no_picture_that_was_not_judged(tmp_path: Path) -> None:
    """What lies at the path now may be somebody else's, and the page may be sent away."""
    (tmp_path / "a.png").write_bytes(encoded(grey(9, 64)))
    sha256 = hashlib.sha256((tmp_path / "a.png").read_bytes()).hexdigest()
    for known, there in ((sha256, True), ("0" * 64, False)):
        rows = rows_of(np.array([0, 1]), np.array([0.9, 0.8]), "d")
        rows[0] = replace(rows[0], path=str(tmp_path / "a.png"), sha256=known)
        shown = page(summary([json.loads(described())["detectors"][0]], [rows], {"split": "test", "sources": []}), {})
        assert ("A face with a wrong verdict" in shown, "not there any more" in shown) == (there, not there)


WHO = {"name": "a", "version": "1", "sha256": "d"}


def described(real_below: object = 0.2, name: str = "a") -> str:
    thresholds = {"real_below": real_below, "fake_from": 0.8, "novel_from": None}
    known = {"detector": WHO | {"name": name}, "thresholds": thresholds, "policy": None, "seconds": None}
    return json.dumps({"detectors": [known, known | {"detector": WHO | {"sha256": "e"}}]})


@pytest.mark.parametrize(
    "stored",
    [
        *("[]", "{}", '{"detectors": [{"detector": {}}]}', "{", '{"detectors": 3}'),
        *(described("x"), described(None), described(10**400)),
    ],
)
def test_a_folder_that_holds_something_else(tmp_path: Path, stored: str) -> None:
    with pytest.raises(DataError, match="holds no finished evaluation"):
        load([tmp_path])
    (tmp_path / FILE).write_text("")
    with pytest.raises(DataError, match="holds no finished evaluation"):
        load([tmp_path])
    (tmp_path / "evaluation.json").write_text(stored)
    with pytest.raises(DataError, match="is damaged, or of another version"):
        load([tmp_path])


def test_a_folder_of_others_cannot_drive_the_terminal(tmp_path: Path) -> None:
    write(tmp_path / FILE, [row for who in "de" for row in rows_of(np.array([0, 1]), np.array([0.1, 0.9]), who)])
    (tmp_path / "evaluation.json").write_text(described(name="evil\x1b[2J\n"))
    (first, _), *_ = load([tmp_path])
    assert first["detector"]["name"] == r"evil\x1b[2J\n"
