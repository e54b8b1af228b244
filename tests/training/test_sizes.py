"""Dropout and input size as settings: where they go, and what cannot have them."""

from pathlib import Path

import pytest
import torch
from torch import nn

from realface.errors import ConfigError
from realface.networks import NETWORKS, build
from realface.training import features
from realface.training.config import make_config, read_toml, to_toml
from realface.training.features import _key

every_network = pytest.mark.parametrize("name", NETWORKS)


@every_network
def test_networks_take_the_sizes_they_say(name: str) -> None:
    with torch.device("meta"):
        network = NETWORKS[name]().eval()
        for size in (96, 160, 256):
            pixels = torch.empty(1, 3, size, size)
            if network.any_size:
                assert network(pixels).shape == (1,)
            elif size != network.input_size:
                with pytest.raises(RuntimeError):
                    network(pixels)


def test_dropout_and_input_size_are_set_where_they_are_asked_for() -> None:
    network = build("trace-resnet", dropout=0.4, input_size=96)
    assert network.input_size == 96
    assert [m.p for m in network.modules() if isinstance(m, nn.Dropout)] == [0.4]
    assert build("trace-resnet").input_size == 128
    assert {m.p for m in build("notebook-small").modules() if isinstance(m, nn.Dropout)} == {0.1, 0.2}
    for name, size in {"notebook-small": 128, "native": 192}.items():
        assert build(name, input_size=size).input_size == size
        with pytest.raises(ConfigError, match=f"{name} takes no other input_size than {size}"):
            build(name, input_size=160)


def test_settings_left_to_the_network_are_left_out_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "c.toml"
    for settings in ({}, {"dropout": 0, "input_size": 96}):
        config = make_config({"network": "two-stream", **settings})
        path.write_text(to_toml(config))
        assert make_config(read_toml(path)) == config
        assert ("dropout" in path.read_text()) is bool(settings)


def test_features_of_one_size_are_not_taken_for_those_of_another() -> None:
    keys = {
        size: _key(build("trace-resnet", seed=0, input_size=size), ["x"], "face", 1.0, 0)  # type: ignore[arg-type]
        for size in (None, 128, 64, 96)
    }
    assert keys[None] == keys[128]
    assert len(set(keys.values())) == 3


def test_features_of_crops_made_otherwise_are_not_taken_again(monkeypatch: pytest.MonkeyPatch) -> None:
    network = build("trace-resnet", seed=0)
    before = _key(network, ["x"], "face", 1.0, 0)
    assert _key(network, ["x"], "face", 1.0, 0) == before
    monkeypatch.setattr(features, "program", lambda *_: "another program")
    assert _key(network, ["x"], "face", 1.0, 0) != before
