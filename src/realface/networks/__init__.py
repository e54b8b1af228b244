"""The architectures, one file each, and the one table of their names."""

import difflib
from dataclasses import dataclass

import torch
from torch.utils.flop_counter import FlopCounterMode

from ..errors import ConfigError
from .base import Network
from .clip import ClipB16
from .efficientnet import EfficientNetLite0
from .native import NativeView
from .notebook import NotebookSmall, NotebookWide
from .texture import GramTexture
from .trace import TraceResNet
from .two_stream import TwoStream

NETWORKS: dict[str, type[Network]] = {
    "notebook-small": NotebookSmall,
    "notebook-wide": NotebookWide,
    "efficientnet-lite0": EfficientNetLite0,
    "clip-b16": ClipB16,
    "trace-resnet": TraceResNet,
    "two-stream": TwoStream,
    "texture-gram": GramTexture,
    "native": NativeView,
}


def build(
    name: str,
    *,
    pretrained: bool = False,
    seed: int = 0,
    dropout: float | None = None,
    input_size: int | None = None,
) -> Network:
    """A new network, its first weights fixed by `seed` and, if asked, its trunk by published weights.

    Args:
        name: in the registry.
        pretrained: load the published weights.
        seed: fixes all other weights.
        dropout: chance in each of its dropout layers, instead of their own.
        input_size: side in pixels of the picture it takes, instead of its own.

    Raises:
        ConfigError: there is no network of that name, none of its weights are published, or it takes no other size.
        WeightsError: the published weights were not fetched yet.
    """
    network_class = find(name)
    if pretrained and not network_class.pretrained:
        those = ", ".join(key for key, value in NETWORKS.items() if value.pretrained)
        raise ConfigError(f"{name} has no published weights to start from; those with some: {those}")
    if input_size not in (None, network_class.input_size) and (network_class.window or not network_class.any_size):
        raise ConfigError(f"{name} takes no other input_size than {network_class.input_size}: its layers fit no other")
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        network = network_class()
    if pretrained:
        network.load_pretrained()
    if input_size is not None:
        network.input_size = input_size  # pyrefly: ignore[read-only]  # of this one only; the class keeps its own
    if dropout is not None:
        set_dropout(network, dropout)
    return network


def set_dropout(network: Network, dropout: float) -> None:
    """Give every dropout layer of a network the same chance."""
    for module in network.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = dropout


def find(name: str) -> type[Network]:
    """The class of a network.

    Raises:
        ConfigError: there is none of that name; the nearest is named.
    """
    if str(name) not in NETWORKS:  # of a TOML file, it may be anything
        near = difflib.get_close_matches(str(name).lower(), NETWORKS, 1, 0.0)
        raise ConfigError(f"there is no network {name!r}; did you mean {near[0]!r}?")
    return NETWORKS[name]


@dataclass(frozen=True)
class NetworkFacts:
    """What a network is and what one picture costs it.

    Attributes:
        parameters: as Keras counts them, with the running statistics of batch normalisation.
        multiply_adds: of convolutions and matrix products, for one picture.
    """

    name: str
    summary: str
    parameters: int
    multiply_adds: int
    input_size: int
    pretrained: bool


def describe() -> list[NetworkFacts]:
    """The facts of every network; nothing is computed for it, nor any weight allocated."""
    return [_describe(name, network_class) for name, network_class in NETWORKS.items()]


def _describe(name: str, network_class: type[Network]) -> NetworkFacts:
    with torch.device("meta"):
        network = network_class().eval()
        pixels = torch.empty(1, 3, network.input_size, network.input_size)
    return NetworkFacts(
        name=name,
        summary=(network_class.__doc__ or "").partition("\n")[0],
        parameters=sum(t.numel() for key, t in network.state_dict().items() if "num_batches_tracked" not in key),
        multiply_adds=multiply_adds(network, pixels),
        input_size=network.input_size,
        pretrained=network.pretrained,
    )


def multiply_adds(module: torch.nn.Module, inputs: torch.Tensor) -> int:
    """Multiplications with an addition that convolutions and matrix products of one forward pass take."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        module(inputs)
    return int(counter.get_total_flops()) // 2
