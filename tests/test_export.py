"""A detector file says the same as the network it was made from."""

from collections.abc import Sequence

import numpy as np
import onnx
import pytest
import torch
from torch import Tensor, nn

from realface import Detector, faces
from realface.card import Card, Preprocessing
from realface.networks import NETWORKS, build, clip, efficientnet, texture, trace
from realface.networks.base import Network
from realface.networks.native import NativeView
from realface.networks.notebook import NotebookWide
from realface.training.export import export, preprocessing, with_card


def given(network: Network, crops: Sequence[np.ndarray]) -> tuple[Tensor | None, Tensor | None]:
    """What `Network.judge` takes, of native crops."""

    def unit(pixels: list[np.ndarray]) -> Tensor:
        return torch.from_numpy(np.stack(pixels)).movedim(-1, -3).float() / 255

    whole = unit([faces.resample(crop, network.input_size) for crop in crops]) if network.sees_face else None
    return whole, unit([faces.windows(crop, network.window) for crop in crops]) if network.window else None


def trained(network: Network) -> Network:
    """A network with the statistics of a trained one, not of a new one."""
    generator = torch.Generator().manual_seed(1)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d) and module.running_mean is not None:
            module.running_mean.normal_(0, 0.1, generator=generator)
            if isinstance(network, NativeView) and module.running_var is not None:
                module.running_var.fill_(0.1)  # else weights of chance let nothing of the windows through
    return network.eval()


def shrink(patched: pytest.MonkeyPatch) -> None:
    """One of each kind of layer of the large networks, and narrow ones: all of them take minutes and show no more."""
    for of, sizes in {
        clip: {"WIDTH": 192, "BLOCKS": 1, "TAPPED": (0,)},
        efficientnet: {"STAGES": ((1, 3, 1, 1, 8), (2, 5, 2, 6, 8)), "STEM": 8, "WIDTH": 16},
        texture: {"CHANNELS": (8, 16)},
        trace: {"CHANNELS": (8, 16)},
        NotebookWide: {"dense": (32, 16)},
    }.items():
        for name, size in sizes.items():
            patched.setattr(of, name, size)


@pytest.mark.parametrize("name", sorted(NETWORKS))
def test_pytorch_and_onnx_runtime_agree(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    shrink(monkeypatch)
    network = trained(build(name, seed=0))
    sides = (100, 200, 150) if network.window else [network.input_size] * 3
    rng = np.random.default_rng(1)
    crops = [rng.integers(0, 256, (side, side, 3), dtype=np.uint8) for side in sides]
    pixels, windows = given(network, crops)
    with torch.inference_mode():
        judged = network.judge(pixels, windows)
        expected, *others = judged if isinstance(judged, tuple) else (judged,)
        if pixels is not None:
            assert (network(pixels) - expected).abs().max() < 1e-4
    data = export(network, Card("x", "1", name, preprocessing(network, "face")))
    detector = Detector(data)
    got = torch.from_numpy(detector.logits(crops))
    torch.testing.assert_close(got, expected, atol=1e-4, rtol=1e-4)
    if network.fits_int4():  # its weights were rounded to 4 bits before training, so nothing is lost by storing 4
        fours = sum(layer.weight.numel() for layer in network.blocks.modules() if isinstance(layer, nn.Linear))
        assert len(data) < 4 * sum(parameter.numel() for parameter in network.parameters()) - 3 * fours
        assert (got - expected).abs().max() < 1e-4
    assert network.fits_int4() == (name == "clip-b16")
    one = torch.from_numpy(detector.logits(crops[:1]))
    assert (one.sigmoid() - got.sigmoid()[:1]).abs().max() < 1e-5
    assert detector.card.network == name
    assert detector.explains == network.explains
    assert len(others) == network.explains + network.measures_novelty
    if network.explains:
        again, evidence = map(torch.from_numpy, detector.explain(crops))
        assert torch.equal(again, got)
        assert (others[0] - evidence).abs().max() < 1e-4
        assert others[0].std() > 1e-4
        assert (evidence.sum((1, 2)) - expected).abs().max() < 1e-3, "the cells add up to the logit"
    _, novelty, maps = detector.judge(crops)
    assert maps is None
    assert np.isnan(novelty).all() != network.measures_novelty
    if network.measures_novelty:
        assert novelty == pytest.approx(others[-1].numpy(), rel=1e-3)


@pytest.fixture(scope="module")
def small() -> bytes:
    return export(build("notebook-small", seed=0), Card("x", "1", "notebook-small", Preprocessing(128)))


def test_a_file_tells_nothing_of_the_machine_it_was_made_on(small: bytes) -> None:
    model = onnx.load_from_string(small)
    for weights in model.graph.initializer:
        weights.ClearField("raw_data")  # millions of bytes, in which the clues may be by chance
    told = model.SerializeToString()
    assert len(told) < 100_000
    for clue in (b"site-packages", b".py", b"/home", b"/tmp"):
        assert clue not in told


def test_a_new_card_leaves_the_graph_as_it_is(small: bytes) -> None:
    second = with_card(small, Card("y", "2", "notebook-small", Preprocessing(128)))
    assert Detector(second).card.name == "y"
    graphs = [onnx.load_from_string(data).graph.SerializeToString() for data in (small, second)]
    assert graphs[0] == graphs[1]


def test_a_tuned_trunk_is_kept_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """That frozen blocks are stored in 4 bits is seen above."""
    shrink(monkeypatch)
    network = build("clip-b16", seed=0).eval()
    generator = torch.Generator().manual_seed(1)
    pixels = torch.randint(0, 256, (1, 224, 224, 3), dtype=torch.uint8, generator=generator)
    with torch.inference_mode():
        frozen = float(network(pixels.permute(0, 3, 1, 2).float() / 255))
        for parameter in network.blocks.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.03)
        tuned = float(network(pixels.permute(0, 3, 1, 2).float() / 255))
    assert not network.fits_int4()
    assert abs(tuned - frozen) > 1e-3
    data = export(network, Card("x", "1", "clip-b16", Preprocessing(224)))
    assert len(data) > 4 * sum(parameter.numel() for parameter in network.parameters())
    assert abs(tuned - float(Detector(data).logits(pixels.numpy())[0])) < 1e-4
