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

from ..card import KEY, Card
from ..networks.base import Network

OPSET = 20


class _Graph(nn.Module):
    """The network behind the input every detector file has: (N, S, S, 3) uint8 pixels."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    def forward(self, pixels: Tensor) -> Any:
        pixels = pixels.permute(0, 3, 1, 2).float() / 255
        return self.network.explain(pixels) if self.network.explains else self.network(pixels)


def export(network: Network, card: Card) -> bytes:
    """The network and its card as the bytes of one `.onnx` file.

    The graph takes `pixels`, (N, size, size, 3) uint8 RGB, and gives `logit`, (N,) float32, and, of
    networks that say where their evidence lies, `evidence`, (N, G, G) float32. Linear layers whose
    weights fit (`Network.fits_int4`) are stored in 4 bits, in runs of 32 inputs with a scale each.
    """
    network = network.cpu().eval()
    pixels = torch.zeros(2, network.input_size, network.input_size, 3, dtype=torch.uint8)
    for chatty in ("torch.onnx", "onnxscript", "onnx_ir", "onnxruntime"):
        logging.getLogger(chatty).setLevel(logging.ERROR)
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter warns of its own internals
        path = Path(folder) / "graph.onnx"
        batch = torch.export.Dim("n", min=1, max=4096)
        torch.onnx.export(
            _Graph(network),
            (pixels,),
            path,
            input_names=["pixels"],
            output_names=["logit", "evidence"] if network.explains else ["logit"],
            dynamic_shapes={"pixels": {0: batch}},
            opset_version=OPSET,
            external_data=False,
            verbose=False,
        )
        model = onnx.load(path)
    if network.fits_int4():
        quantizer = MatMulNBitsQuantizer(model, block_size=32, is_symmetric=True)
        quantizer.process()
        model = quantizer.model.model
    return with_card(model.SerializeToString(), card)


def with_card(data: bytes, card: Card) -> bytes:
    """The same detector file with another card."""
    model = onnx.load_from_string(data)
    model.producer_name, model.doc_string = "realface", ""
    for node in model.graph.node:  # stack traces of the exporter: they hold paths of the machine it ran on
        del node.metadata_props[:]
        node.doc_string = ""
    for value in (*model.graph.value_info, *model.graph.input, *model.graph.output, *model.graph.initializer):
        del value.metadata_props[:]
    del model.graph.metadata_props[:], model.metadata_props[:]
    onnx.helper.set_model_props(model, {KEY: card.to_json()})
    return bytes(model.SerializeToString(deterministic=True))
