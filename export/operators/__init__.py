"""The twin's operators: one small function each, registered by name.

A registered function is given a node and returns what computes it. Tensors hold the same numbers as in ONNX Runtime;
integer codes lie in floating-point carriers, where they are exact.
"""

from edgeguard.export.operators import elementwise, layers, quantized, shapes
from edgeguard.export.operators.registry import Gradient, Node, operator_for, supported

__all__ = ["Gradient", "Node", "elementwise", "layers", "operator_for", "quantized", "shapes", "supported"]
