"""From a trained network to a detector file."""

import logging
import tempfile
import warnings
from pathlib import Path
from typing import Any

import onnx
import torch
from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer
from torch import Tensor, nn

from ..card import KEY, Card, Preprocessing
from ..faces import Framing
from ..networks.base import Network

OPSET = 20


class _Graph(nn.Module):
    """A network behind the inputs of a detector file: uint8, colours last."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    def forward(self, pixels: Tensor | None = None, windows: Tensor | None = None) -> Any:
        return self.network.judge(*(None if x is None else x.movedim(-1, -3).float() / 255 for x in (pixels, windows)))


def preprocessing(network: Network, framing: Framing) -> Preprocessing:
    """What a network is to be given."""
    return Preprocessing(network.input_size if network.sees_face else 0, framing, window=network.window)


def export(network: Network, card: Card) -> bytes:
    """The network and its card as the bytes of one `.onnx` file.

    The graph takes what `card.Preprocessing` says and gives `logit`, (N,) float32, and, of networks that say where
    their evidence lies, `evidence`, (N, G, G) float32, and how unlike the training pictures a face is, `novelty`, (N,)
    float32. Linear layers whose weights fit (`Network.fits_int4`) are stored in 4 bits, in runs of 32 inputs with a
    scale each.
    """
    network = network.cpu().eval()
    size, window = network.input_size, network.window
    inputs: dict[str, Tensor] = {}
    if network.sees_face:
        inputs["pixels"] = torch.zeros(2, size, size, 3, dtype=torch.uint8)
    if window:
        inputs["windows"] = torch.zeros(2, 9, window, window, 3, dtype=torch.uint8)
    outputs = ["logit"] + ["evidence"] * network.explains + ["novelty"] * network.measures_novelty
    for chatty in ("torch.onnx", "onnxscript", "onnx_ir", "onnxruntime"):
        logging.getLogger(chatty).setLevel(logging.ERROR)
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter warns of its own internals
        path = Path(folder) / "graph.onnx"
        batch = torch.export.Dim("n", min=1, max=4096)
        torch.onnx.export(
            _Graph(network),
            f=path,
            kwargs=inputs,
            input_names=list(inputs),
            output_names=outputs,
            dynamic_shapes={name: {0: batch} for name in inputs},
            opset_version=OPSET,
            external_data=False,
            verbose=False,
        )
        model = onnx.load(path)
    if network.fits_int4():
        quantizer = MatMulNBitsQuantizer(model, block_size=32, is_symmetric=True)
        quantizer.process()
        model = quantizer.model.model
    for node in model.graph.node:  # stack traces of the exporter: they hold paths of the machine it ran on
        del node.metadata_props[:]
        node.doc_string = ""
    for value in (*model.graph.value_info, *model.graph.input, *model.graph.output, *model.graph.initializer):
        del value.metadata_props[:]
    del model.graph.metadata_props[:]
    model.producer_name, model.doc_string = "realface", ""
    return with_card(model.SerializeToString(), card)


def with_card(data: bytes, card: Card) -> bytes:
    """The same detector file with another card."""
    model = onnx.load_from_string(data)
    onnx.helper.set_model_props(model, {KEY: card.to_json()})
    return bytes(model.SerializeToString(deterministic=True))
