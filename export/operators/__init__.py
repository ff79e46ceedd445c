"""The twin's operators: one small function each, registered by name.

A registered function is given a node and returns what computes it. Tensors hold the same numbers as in ONNX Runtime;
integer codes lie in floating-point carriers, where they are exact.
"""

from edgeguard.export.operators import (
    attention,
    dynamic,
    elementwise,
    layers,
    normalization,
    quantized,
    recurrent,
    shapes,
)
from edgeguard.export.operators.registry import Gradient, Node, operator_for, supported

__all__ = [
    "Gradient",
    "Node",
    "attention",
    "dynamic",
    "elementwise",
    "layers",
    "normalization",
    "operator_for",
    "quantized",
    "recurrent",
    "shapes",
    "supported",
]
