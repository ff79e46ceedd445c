"""The quantiser that a file's input feeds: what differences between two records the file can see at all."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import onnx
from onnx import numpy_helper

from edgeguard.runtime.loading import constants

_SHAPE_ONLY = {"Flatten", "Identity", "Reshape", "Squeeze", "Transpose", "Unsqueeze"}
_ARITHMETIC = {"Mul": np.multiply, "Div": np.divide}


@dataclass(frozen=True)
class InputQuantizer:
    """A QuantizeLinear with one scale, and the arithmetic between it and the input.

    Attributes:
        scaling: ("Mul" or "Div", constant) applied to the input first, in order.
        scale: of the QuantizeLinear.
        low, high: the least and the largest code, less the zero point.
        sole: nothing but this path reads the input, so that rows of equal codes have equal logits.
    """

    scaling: tuple[tuple[str, np.float32], ...]
    scale: np.float32
    low: int
    high: int
    sole: bool

    @property
    def step(self) -> float:
        """Of one code, in the input's own unit."""
        step = float(self.scale)
        for operation, factor in self.scaling:
            step = step / float(factor) if operation == "Mul" else step * float(factor)
        return step

    def codes(self, samples: np.ndarray) -> np.ndarray:
        """Codes less the zero point, int8, int16 or int32 in the shape of float32 `samples` in the input's own unit.

        In float32, as ONNX Runtime computes: another precision would round near-ties to another code.
        """
        for operation, factor in self.scaling:
            samples = _ARITHMETIC[operation](samples, factor, dtype=np.float32)
        codes = np.divide(samples, self.scale, dtype=np.float32)
        np.rint(codes, out=codes)
        np.clip(codes, np.float32(self.low), np.float32(self.high), out=codes)
        return codes.astype(self._dtype)

    @cached_property
    def _dtype(self) -> np.dtype:
        return np.min_scalar_type(min(self.low, -self.high - 1))


def read_input_quantizer(model: onnx.ModelProto, name: str) -> InputQuantizer | None:
    """The quantiser of the input `name`; None where it feeds none.

    Reshaping in between, and multiplication or division by a constant, are followed.
    """
    known = constants(model.graph)
    tensor: str | None = name
    scaling: list[tuple[str, np.float32]] = []
    sole = True
    while tensor is not None:
        readers = [node for node in model.graph.node if tensor in node.input]
        sole &= len(readers) == 1
        source, tensor = tensor, None
        for node in readers:
            if node.op_type in _SHAPE_ONLY:
                tensor = node.output[0]
                break
            factor = _scalar(known, node.input[1]) if len(node.input) > 1 and node.input[0] == source else None
            if factor is not None and node.op_type == "QuantizeLinear":
                return InputQuantizer(tuple(scaling), factor, *_range(known, node), sole)
            if factor is not None and node.op_type in _ARITHMETIC:
                scaling.append((node.op_type, factor))
                tensor = node.output[0]
                break
    return None


def _range(known: dict[str, onnx.TensorProto], node: onnx.NodeProto) -> tuple[int, int]:
    """(least, largest) code of a QuantizeLinear, less its zero point."""
    zero = numpy_helper.to_array(known[node.input[2]]) if len(node.input) > 2 else np.zeros((), np.uint8)
    limits = np.iinfo(zero.dtype)
    return limits.min - int(zero.item()), limits.max - int(zero.item())


def _scalar(known: dict[str, onnx.TensorProto], name: str) -> np.float32 | None:
    value = numpy_helper.to_array(known[name]) if name in known else None
    return np.float32(value.item()) if value is not None and value.size == 1 and value.item() != 0 else None
