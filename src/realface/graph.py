"""What a detector file may hold, checked before ONNX Runtime sees it: a short, bounded walk over its protobuf.

An ONNX file is a program from a stranger. Only what realface's own networks are made of gets through: no operator but
theirs, so none with a graph of its own (loops) and none that ONNX Runtime would look for elsewhere; no functions, which
could unfold without bound; no tensor that lies in another file.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from .errors import DetectorError

MAX_PARTS = 200_000
"""Most fields that are walked; `best` has some 11,000."""

OPERATORS = frozenset(
    """
    Abs Add AveragePool BatchNormalization Cast Clip Concat Constant Conv Div Erf Exp Expand Flatten
    Gather GatherND Gemm GlobalAveragePool Greater HardSigmoid HardSwish Identity LayerNormalization LeakyRelu
    Log MatMul Max MaxPool Min Mul Neg Pad Pow Range Reciprocal ReduceMax ReduceMean ReduceSum Relu
    Reshape Shape Sigmoid Slice Softmax Split Sqrt Squeeze Sub Sum Tanh Transpose Unsqueeze Where
    """.split()  # noqa: SIM905
)
"""The operators of ONNX that a detector may use."""
_DOMAINS = {"": OPERATORS, "ai.onnx": OPERATORS, "com.microsoft": frozenset({"MatMulNBits"})}

# By the field numbers of onnx.proto: None for what is not looked into, or the table of the message in that field.
Fields = Mapping[int, Any]
_TENSOR: Fields = dict.fromkeys((1, 2, 4, 5, 7, 8, 9, 10, 11, 12, 13, 14, 16))
_ATTRIBUTE: Fields = dict.fromkeys((1, 2, 3, 4, 7, 8, 9, 13, 20)) | {5: _TENSOR}
_NODE: Fields = dict.fromkeys((1, 2, 3, 4, 6, 7, 9)) | {5: _ATTRIBUTE}
_GRAPH: Fields = dict.fromkeys((2, 10, 11, 12, 13, 16)) | {1: _NODE, 5: _TENSOR}
_MODEL: Fields = dict.fromkeys((1, 2, 3, 4, 5, 6, 8, 14)) | {7: _GRAPH}

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


def check(data: bytes) -> None:
    """Refuse a file that is not built as realface's detectors are.

    Raises:
        DetectorError: says what it holds that none of ours does, or that it is damaged.
    """
    try:
        _Walk(data).message(0, len(data), _MODEL)
    except IndexError:  # something goes on behind the end of the file
        raise _damaged() from None


def _damaged() -> DetectorError:
    return DetectorError("this is not a detector file that ONNX Runtime can load")


class _Walk:
    """Over the bytes of one file; a part is given by where it begins and ends, nothing is copied."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._parts = 0

    def message(self, start: int, end: int, known: Fields) -> None:
        names = {4: "", 7: ""}  # of a node: its operator and domain; of several the last counts
        for number, kind, value, after in self._fields(start, end):
            if number not in known:
                raise DetectorError(f"this is not a detector file of realface: none has field {number} there")
            if known is _TENSOR and (number == 13 or (number == 14 and value)):
                raise DetectorError("this ONNX file keeps tensors in other files; a detector is one file")
            inner, named = known[number], known is _NODE and number in names
            if (inner or named) and kind != _BYTES:
                raise _damaged()
            if inner:
                self.message(value, after, inner)
            if named:
                names[number] = self._data[value:after].decode("ascii", "replace")
        if known is _NODE and names[4] not in _DOMAINS.get(names[7], ()):
            name = ".".join(filter(None, (names[7], names[4])))[:80]
            raise DetectorError(f"this ONNX file uses {name!a}, an operator that no detector of realface does")

    def _fields(self, at: int, end: int) -> Iterator[tuple[int, int, int, int]]:
        """Number and wire type of each field, the value of a number or else where the bytes begin, where it ends."""
        while at < end:
            self._parts += 1
            if self._parts > MAX_PARTS:
                raise DetectorError("this ONNX file has more parts than any detector of realface")
            key, at = self._number(at)
            number, kind, value = key >> 3, key & 7, at
            if kind == _VARINT:
                value, at = self._number(at)
            elif kind == _BYTES:
                size, value = self._number(at)
                at = value + size
            elif kind in (_FIXED32, _FIXED64):
                at += 4 if kind == _FIXED32 else 8
            else:
                raise _damaged()
            if at > end or key >= 2**32:  # protobuf would drop what is over 32 bits
                raise _damaged()
            yield number, kind, value, at

    def _number(self, at: int) -> tuple[int, int]:
        """A protobuf number of up to ten bytes, seven bits each, and where it ends."""
        value = 0
        for shift in range(0, 70, 7):
            byte = self._data[at]
            at += 1
            value |= (byte & 127) << shift
            if byte < 128:
                return value, at
        raise _damaged()
