"""Two views and their fusion: what each is worth is learned from sources it has not seen, and the sum is exact."""

import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from skimage.data import astronaut
from test_export import given, shrink, trained
from torch import Tensor

from realface import Detector
from realface.card import Card, Preprocessing
from realface.data import Sample
from realface.data.crops import FIRST, degraded, read_face
from realface.data.layouts import fingerprints, read_splits
from realface.errors import DataError
from realface.networks import build
from realface.networks.clip import ClipB16
from realface.networks.native import NativeView
from realface.networks.two_views import TwoViews
from realface.training import fuse as fuse_module
from realface.training import held_out
from realface.training.checkpoint import SafeCheckpoints
from realface.training.config import make_config, read_toml, to_toml
from realface.training.export import export, preprocessing
from realface.training.fuse import Native, Views, fit_fusion, known_to, native_view
from realface.training.taught import Taught

CROPS = [astronaut()[:side, 90 : 90 + side] for side in (100, 300)]


@pytest.fixture(scope="module")
def two_views() -> Iterator[TwoViews]:
    """With weights of chance, and few layers."""
    with pytest.MonkeyPatch.context() as patched:
        shrink(patched)
        whole, native = build("clip-b16", seed=0), build("native", seed=0)
        assert isinstance(whole, ClipB16)
        assert isinstance(native, NativeView)
        network = TwoViews(whole, native)
        generator = torch.Generator().manual_seed(2)
        with torch.no_grad():
            whole.positions.normal_(0, 0.1, generator=generator)
            whole.class_token.normal_(0, 0.1, generator=generator)
            network.fusion.weight.copy_(torch.tensor([[0.7, 3.0]]))
            network.fusion.bias.fill_(-1.5)
        trained(network)
        yield network


@pytest.fixture(scope="module")
def judged(two_views: TwoViews) -> tuple[Tensor, ...]:
    """What it says of `CROPS`: logits, evidence, novelty."""
    with torch.inference_mode():
        return tuple(two_views.judge(*given(two_views, CROPS)))


class TestTwoViews:
    def test_the_evidence_adds_up_to_the_logit(self, judged: tuple[Tensor, ...]) -> None:
        logits, evidence, novelty = judged
        assert logits.shape == novelty.shape == (2,)
        assert evidence.shape == (2, 14, 14)
        assert evidence.sum((1, 2)).tolist() == pytest.approx(logits.tolist(), abs=1e-4)
        assert (evidence.std((1, 2)) > 1e-4).all()

    def test_the_logit_is_the_weighed_sum_of_its_parts(self, two_views: TwoViews, judged: tuple[Tensor, ...]) -> None:
        pixels, windows = given(two_views, CROPS)
        assert pixels is not None
        assert windows is not None
        with torch.inference_mode():
            whole, native = two_views.whole(pixels), two_views.native.each(windows).mean(1)
        assert judged[0].tolist() == pytest.approx((0.7 * whole + 3 * native - 1.5).tolist(), abs=1e-4)

    def test_a_window_adds_where_it_lies(self, two_views: TwoViews, monkeypatch: pytest.MonkeyPatch) -> None:
        windows = torch.zeros(2, 9, 3, 1, 1)
        windows[1, 5] = 1.0  # in the middle row, on the right
        monkeypatch.setattr(two_views.native, "each", lambda windows: windows.mean((2, 3, 4)))
        nothing = (torch.zeros(2), torch.zeros(2, 14, 14), torch.zeros(2))
        monkeypatch.setattr(two_views.whole, "judge", lambda *_: nothing)
        with torch.inference_mode():
            logits, evidence, _ = two_views.judge(torch.zeros(2, 3, 1, 1), windows)
        more = (evidence[1] - evidence[0]).numpy()
        assert float(logits[1] - logits[0]) == pytest.approx(3 / 9, abs=1e-5)
        assert more[5:9, 9:] == pytest.approx(3 / 9 / 20, abs=1e-6)
        more[5:9, 9:] = 0
        assert more == pytest.approx(0, abs=1e-6)

    def test_pytorch_and_onnx_runtime_agree(self, two_views: TwoViews, judged: tuple[Tensor, ...]) -> None:
        card = Card("x", "1", "two-views", preprocessing(two_views, "face"))
        assert card.preprocessing == Preprocessing(224, "face", window=192)
        data = export(two_views, card)
        assert b"MatMulNBits" in data, "the trunk is stored in 4 bits"
        detector = Detector(data)
        logits, novelty, evidence = detector.judge(CROPS, heatmap=True)
        for got, wanted in zip((logits, evidence, novelty), judged, strict=True):
            assert got == pytest.approx(wanted.numpy(), abs=2e-4)
        alone = [float(detector.logits([crop])[0]) for crop in CROPS]
        assert alone == pytest.approx(logits.tolist(), abs=1e-4)


# --- What the views are worth ---------------------------------------------------------------------------------------


def views(
    labels: np.ndarray,
    unseen: np.ndarray,
    native: np.ndarray,
    *,
    whole: np.ndarray | None = None,
    sources: tuple[str, str] = ("camera", "generator"),
) -> Views:
    """Both versions the same: what heads say that have not seen the sources, and the same of every window."""
    samples = [Sample(Path(f"{i}.png"), int(y), sources[y], "valid") for i, y in enumerate(labels)]
    each = np.repeat(native[:, None], 9, 1).astype(np.float32)
    of_native = Native(each, np.where(np.isnan(native), np.nan, 100.0), np.ones(len(labels), bool))
    seen = (unseen if whole is None else whole).astype(np.float32)
    return Views(samples, [seen] * 2, [unseen.astype(np.float32)] * 2, [of_native] * 2, [np.ones_like(seen)] * 2)


def some_views(
    seed: int, whole: float = 1.0, native: float = 0.5, count: int = 800, sources: tuple[str, str] = ("a", "b")
) -> Views:
    """A whole-face and a native view that are right by so much, with a noise of 1: the odds are twice that."""
    labels, noise = np.arange(count) % 2, np.random.default_rng(seed).normal(0, 1, (2, count))
    sign = 2 * labels - 1
    return views(labels, whole * sign + noise[0], native * sign + noise[1], sources=sources)


class TestFitFusion:
    def test_each_view_counts_as_much_as_it_is_right(self) -> None:
        weight, bias = fit_fusion(some_views(0, count=4000))
        assert weight.tolist() == pytest.approx([2.0, 1.0], abs=0.25)
        assert bias == pytest.approx(0, abs=0.15)
        assert weight.dtype == np.float32

    def test_a_view_that_is_worth_nothing_has_no_weight(self) -> None:
        weight, _ = fit_fusion(some_views(0, native=0.0))
        assert weight[0] > 1.5
        assert 0 <= weight[1] < 0.15

    def test_what_speaks_for_fake_in_a_view_never_speaks_for_real_in_both(self) -> None:
        weight, bias = fit_fusion(some_views(0, native=-1.0))
        assert weight[0] > 1.5
        assert weight[1] == 0
        assert np.isfinite(bias)

    def test_views_count_by_how_right_they_are_about_sources_they_have_seen_and_have_not(self) -> None:
        rng = np.random.default_rng(1)
        labels = np.arange(2000) % 2
        noise, native = rng.normal(0, 1, (2, 2000))
        native, seen = native + 2 * labels - 1, noise + 2 * labels - 1
        worth = []
        for whole, unseen in ((noise, noise), (seen, noise), (noise, seen), (seen, seen)):
            slopes, _ = fit_fusion(views(labels, unseen, native, whole=whole))
            worth.append(slopes[0] / slopes[1])
        assert worth[1] == pytest.approx(worth[2], rel=1e-3)
        assert worth[0] < 0.1 < 2 * worth[1] < 1.6 < 2 * worth[3]

    def test_sources_that_the_native_view_knows_do_not_count_as_unseen(self) -> None:
        new, known = some_views(0), some_views(1, native=2.0, sources=("known", "known"))
        whole, native = (np.r_[of(new), of(known)] for of in (lambda v: v.unseen[0], lambda v: v.native[0].each[:, 0]))
        both = views(np.r_[new.labels, known.labels], whole, native)
        both = replace(both, samples=[*new.samples, *known.samples])
        others = replace(both, unseen=[np.r_[new.unseen[0], -known.unseen[0]]] * 2)
        assert fit_fusion(both, {"known"})[0].tolist() == fit_fusion(others, {"known"})[0].tolist()
        assert fit_fusion(both)[0][0] > 1.2 * fit_fusion(others)[0][0]
        assert fit_fusion(new, {"a"})[0].tolist() == fit_fusion(new)[0].tolist(), "where no others remain, they count"

    def test_pictures_without_a_face_do_not_count(self) -> None:
        valid = some_views(0, count=200)
        fine = np.arange(200) % 5 != 0
        parts = (np.where(fine, part, np.nan) for part in (valid.unseen[0], valid.native[0].each[:, 0]))
        got = fit_fusion(views(valid.labels, *parts, sources=("a", "b")))
        wanted = fit_fusion(valid.rows(np.flatnonzero(fine).tolist()))
        assert got[0] == pytest.approx(wanted[0], rel=1e-4)
        assert got[1] == pytest.approx(wanted[1], abs=1e-4)

    def test_classes_weigh_the_same(self) -> None:
        valid = some_views(0, count=4000)
        few = valid.rows([*np.flatnonzero(valid.labels == 0), *np.flatnonzero(valid.labels == 1)[::8]])
        assert fit_fusion(few)[1] == pytest.approx(0, abs=0.3)  # else -2


class TestScores:
    def test_both_versions_are_joined_without_pictures_that_show_no_face(self) -> None:
        valid = views(np.array([0, 1, 1]), np.zeros(3), np.array([1.0, np.nan, 2.0]))
        valid = replace(valid, novelty=[np.array([1, np.nan, 3], np.float32)] * 2)
        got = fuse_module._scores(valid, [np.array([0.1, np.nan, 0.3]), np.array([0.4, np.nan, 0.6])])
        assert got.labels.tolist() == [0, 1, 0, 1]
        assert got.logits.tolist() == [0.1, 0.3, 0.4, 0.6]
        assert got.sources.tolist() == ["camera", "generator"] * 2
        assert got.sides.tolist() == [100] * 4
        assert got.sides.dtype.kind == "i"
        assert got.novelty.tolist() == [1, 3, 1, 3]
        assert got.judged.all()

    @pytest.mark.parametrize(("sources", "known"), [("", {"a", "b", "c"}), ("a, c", {"a", "c"}), ("new", {"new"})])
    def test_a_native_view_knows_the_sources_it_was_trained_on(
        self, sources: str, known: set[str], tmp_path: Path
    ) -> None:
        samples = [Sample(Path("x"), 0, source, "train") for source in "abca"]
        (tmp_path / "config.toml").write_text(to_toml(make_config({"network": "native", "sources": sources})))
        assert known_to(tmp_path, samples) == known


# --- The command ----------------------------------------------------------------------------------------------------

Run = Callable[..., tuple[int, str, str]]
WHOLE = {"network": "clip-b16", "epochs": 6, "learning_rate": 3e-3}


def write_run(folder: Path, settings: dict[str, object], state: dict[str, Tensor]) -> Path:
    """A run folder as `realface train` leaves it, as far as `fuse` reads it."""
    (folder / "checkpoints").mkdir(parents=True)
    (folder / "config.toml").write_text(to_toml(make_config({"framing": "centre-square", "workers": 0} | settings)))
    state = {f"network.{name}": value for name, value in state.items()}
    SafeCheckpoints().save_checkpoint({"state_dict": state}, folder / "checkpoints" / "best.safetensors")
    return folder


@pytest.fixture(scope="module")
def exported() -> dict[bytes, bytes]:
    """Files of native views, by their weights."""
    return {}


class TestFuse:
    @pytest.fixture
    def data(self, tmp_path: Path, cache: Path) -> Path:
        """Dark "real" and bright "fake" pictures of two sources each, of many sizes, and one that cannot be read."""
        rng = np.random.default_rng(3)
        lines = ["path,label,source,split", "damaged.png,real,camera,train"]
        (tmp_path / "data").mkdir()
        (tmp_path / "data" / "damaged.png").write_bytes(b"no picture")
        for split, count in (("train", 4), ("valid", 4), ("test", 1)):
            for source, level in {"camera": 50, "phone": 70, "gan": 190, "diffusion": 210}.items():
                for i in range(count):
                    side = int(rng.integers(64, 200))
                    pixels = rng.normal(level, 20, (side, side, 3)).clip(0, 255).astype(np.uint8)
                    name = f"{split}-{source}{i}.png"
                    Image.fromarray(pixels).save(tmp_path / "data" / name)
                    lines.append(f"{name},{'real' if level < 128 else 'fake'},{source},{split}")
        (tmp_path / "data" / "manifest.csv").write_text("\n".join(lines))
        return tmp_path / "data"

    @pytest.fixture
    def runs(self, tmp_path: Path, small_trunks: None) -> tuple[Path, Path]:
        """Runs of a whole-face view with a frozen trunk and of a native view; neither has learned anything."""
        head = {key: value for key, value in build("clip-b16", seed=0).state_dict().items() if key.startswith("head.")}
        native = trained(build("native", seed=0)).state_dict()
        return (
            write_run(tmp_path / "whole", WHOLE, head),
            write_run(tmp_path / "native", {"network": "native"}, native),
        )

    @pytest.fixture
    def fitted(self, data: Path, runs: tuple[Path, Path]) -> tuple[Path, Path]:
        """The same runs, but the head has learned to tell bright from dark."""
        config, network = fuse_module.load_views(*runs)
        features = held_out.read(read_splits(data), network.whole, config)
        whole = held_out.fit(network.whole, features["train"], features["valid"], config)
        state = {name: value for name, value in whole.state_dict().items() if name.startswith("head.")}
        shutil.rmtree(runs[0])
        write_run(runs[0], WHOLE, state)
        return runs

    @pytest.fixture(autouse=True)
    def exports(self, exported: dict[bytes, bytes], monkeypatch: pytest.MonkeyPatch) -> None:
        """Each network is exported once: it takes long and gives the same every time."""

        def once(network: NativeView, card: Card) -> bytes:
            weights = b"".join(value.numpy().tobytes() for value in network.state_dict().values())
            if weights not in exported:
                exported[weights] = export(network, card)
            return exported[weights]

        monkeypatch.setattr(fuse_module, "export", once)

    def test_from_two_runs_to_one_detector(
        self, run: Run, data: Path, fitted: tuple[Path, Path], tmp_path: Path
    ) -> None:
        (whole, native), out = fitted, tmp_path / "fused"
        out.mkdir()  # an empty folder is as good as none
        status, said, err = run("fuse", data, "--whole", whole, "--native", native, "--out", out)
        assert (status, str(out / "detector.onnx") in said, "f1-score" in said) == (0, True, True), err
        detector = Detector.load(out / "detector.onnx")
        card = detector.card
        assert (card.network, card.name) == ("two-views", "fused")
        assert card.preprocessing == Preprocessing(224, "centre-square", window=192)
        assert card.metrics["test"]["all"]["auc"] == 1
        assert card.data["sources"] == ["camera", "diffusion", "gan", "phone"]
        assert read_toml(out / "config.toml")["network"] == "clip-b16"

        samples = read_splits(data)["train"]
        config = replace(make_config(read_toml(out / "config.toml")), teacher=str(out))
        taught = Taught(samples, fingerprints(samples), config, 32)
        said_of = 2 * taught.labels_of(torch.arange(85)) - torch.tensor([float(s.label) for s in samples * 5])
        readable = [i for i, s in enumerate(samples) if s.path.name != "damaged.png"]
        with pytest.raises(DataError, match="other seed;"):
            Taught(samples, fingerprints(samples), replace(config, seed=1), 32)
        assert taught.weights.reshape(5, 17).gt(0).sum(1).tolist() == [16] * 5
        for version in range(5):
            crops = [read_face(samples[i].path, "centre-square").pixels for i in readable]
            if version:
                crops = [
                    degraded(crop, config.degradations, (config.seed, version, i), FIRST.get(version))
                    for i, crop in zip(readable, crops, strict=True)
                ]
            logits = torch.from_numpy(detector.logits(crops))
            wanted = said_of.reshape(5, 17)[version, readable]
            assert (logits.sigmoid() - wanted).abs().max() < 0.05, "what a pupil learns is what the detector says"

        status, _, err = run("fuse", data, "--whole", whole, "--native", native, "--out", out)
        assert (status, "holds something already" in err) == (2, True)

    def test_what_the_native_view_says_is_kept(
        self, data: Path, runs: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        config, network = fuse_module.load_views(*runs)
        samples = read_splits(data)["train"][:5]
        assert [s.path.name for s in samples].index("damaged.png") == 0
        for version in (0, 1):
            got = native_view(network.native, samples, fingerprints(samples), config, version)
            assert np.isnan(got.each[0]).all()
            assert got.judged.tolist() == [False, True, True, True, True]
            crops = [read_face(sample.path, config.framing).pixels for sample in samples[1:]]
            if version:
                crops = [degraded(c, 1.0, (config.seed, version, i)) for i, c in enumerate(crops, 1)]
            _, windows = given(network.native, crops)
            assert windows is not None
            with torch.inference_mode():
                assert got.each[1:] == pytest.approx(network.native.each(windows).numpy(), abs=1e-4)
            assert got.sides[1:].tolist() == [crop.shape[0] for crop in crops]
        monkeypatch.setattr(fuse_module, "_native_table", lambda *_: pytest.fail("this was judged already"))
        again = native_view(network.native, samples, fingerprints(samples), config, 1)
        assert np.array_equal(again.each, got.each, equal_nan=True)
        monkeypatch.setattr(fuse_module, "program_of", lambda _: "another program")
        with pytest.raises(pytest.fail.Exception, match="judged already"):
            native_view(network.native, samples, fingerprints(samples), config, 1)

    def test_what_is_of_a_source_that_training_has_not_is_unseen_anyway(
        self, data: Path, runs: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        config, network = fuse_module.load_views(*runs)
        splits = held_out.read(read_splits(data), network.whole, config)
        for row, sample in enumerate(splits["valid"].samples):
            if sample.source == "phone":
                splits["valid"].samples[row] = replace(sample, source="new")
        nothing = Native(np.zeros((0, 9)), np.zeros(0), np.zeros(0, bool))
        monkeypatch.setattr(fuse_module, "native_view", lambda *_: nothing)
        heads = held_out.folds(splits, 4, network.whole, replace(config, epochs=1))
        valid = fuse_module.both_views(splits, heads, network, config)["valid"]
        for unseen, whole in zip(valid.unseen, valid.whole, strict=True):
            assert (unseen == whole).tolist() == [sample.source == "new" for sample in valid.samples]

    def test_wrong_runs_are_refused(self, run: Run, data: Path, tmp_path: Path) -> None:
        whole, native = (write_run(tmp_path / name, {"network": name}, {}) for name in ("clip-b16", "native"))
        for one, other, says in (
            (native, whole, "is a run of the network native, not clip-b16"),
            (tmp_path / "none", native, "none holds no run"),
            (data, native, "data holds no run"),
            (whole / "config.toml", native, "holds no run"),
        ):
            status, said, err = run("fuse", data, "--whole", one, "--native", other, "--out", tmp_path / "out")
            assert (status, said) == (2, "")
            assert says in err
            assert not (tmp_path / "out").exists()

    def test_wrong_views_are_refused(self, run: Run, data: Path, runs: tuple[Path, Path], tmp_path: Path) -> None:
        def refused(says: str, whole: Path, native: Path, out: Path = tmp_path / "out") -> None:
            status, _, err = run("fuse", data, "--whole", whole, "--native", native, "--out", out)
            assert (status, says in err) == (2, True)

        whole, native = runs
        refused("is a run of the network clip-b16, not native", whole, whole)
        refused("cannot be made: Not a directory", whole, native, data / "manifest.csv" / "out")
        tuned = shutil.copytree(whole, tmp_path / "tuned") / "config.toml"
        tuned.write_text(to_toml(make_config(WHOLE | {"freeze": False})))
        refused("train it anew with freeze=true", tuned.parent, native)
        (native / "checkpoints" / "best.safetensors").unlink()
        refused("not a checkpoint", whole, native)

    @pytest.mark.parametrize("full", [True, False], ids=["a folder", "a file"])
    def test_what_is_there_already_is_not_written_over(self, run: Run, data: Path, tmp_path: Path, full: bool) -> None:
        out = tmp_path / "out"
        there = out / "notes.txt" if full else out
        there.parent.mkdir(exist_ok=True)
        there.write_text("mine")
        status, _, err = run("fuse", data, "--whole", tmp_path, "--native", tmp_path, "--out", out)
        assert (status, "choose another --out" in err) == (2, True)
        assert there.read_text() == "mine"
