"""Float ONNX to int8 QDQ: S8S8, weights per channel, the input step designed rather than calibrated."""

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from onnx import ModelProto, checker, helper, numpy_helper
from onnxruntime.quantization import QuantType
from onnxruntime.quantization.calibrate import TensorData
from onnxruntime.quantization.qdq_quantizer import QDQQuantizer

from edgeguard.errors import unknown
from edgeguard.export.calibrate import Range
from edgeguard.export.graph_passes import INPUT, initializers
from edgeguard.export.selection import Selection

INPUT_STEPS_UV = {8: 31.25, 16: 1.0}
"""Step of the input by the width of its codes. 8 bits: codes -128 to 127 cover -4 to 3.97 mV, four times the height of
a usual R wave. 16 bits: one code a microvolt, the resolution of a 12- to 16-bit converter's record, over 32.8 mV."""

_QUANTISED = (
    "Conv",
    "Relu",
    "Add",
    "MaxPool",
    "AveragePool",
    "GlobalAveragePool",
    "Slice",
    "Concat",
    "Pad",
    "Reshape",
    "Flatten",
)
"""Of the graphs that EdgeGuard exports itself, whose last layer is a Gemm."""


@dataclass(frozen=True)
class InputCodes:
    """The input quantiser: signed codes with zero microvolts at code zero; it is stated, never calibrated.

    Attributes:
        bits: 8, or 16. No integer kernel of ONNX Runtime takes 16-bit codes: what reads the input, the stem, then
            computes in float, on weights of 8 bits.
        step: microvolts from code to code.
    """

    bits: int = 8
    step: float = INPUT_STEPS_UV[8]

    @property
    def range(self) -> Range:
        """Microvolts that the codes reach."""
        half = 2 ** (self.bits - 1)
        return -half * self.step, (half - 1) * self.step

    def clipped(self, batches: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """The windows as the quantiser cuts them off: calibration must not see what no code holds."""
        low, high = self.range
        return (np.clip(ecg, low, high) for ecg in batches)


def quantize(
    model: ModelProto,
    ranges: Mapping[str, Range],
    *,
    codes: InputCodes | None = None,
    exclude: Sequence[str] = (),
    portable: bool = False,
    selection: Selection | None = None,
    microvolts: float = 1.0,
) -> ModelProto:
    """The int8 form of a float graph.

    The last Gemm stays in float: int8 logits would tie, and ONNX Runtime has no S8S8 kernel with float output.

    Args:
        model: a graph that `export_float` or `prepare` made.
        ranges: (lowest, highest) of every tensor that a quantised node reads or makes; of the input it is not used.
        codes: of the input; 8 bits by default.
        exclude: names of nodes to leave in float.
        portable: weights of 7 bits (-64 to 64), for processors whose 8-bit dot products saturate at 16 bits.
        selection: nodes to quantise; None: those of a graph that `export_float` made.
        microvolts: in one unit of the graph's input.

    Raises InputError for an excluded node that the graph lacks.
    """
    codes = codes or InputCodes()
    names = {node.name for node in model.graph.node}
    if missing := [name for name in exclude if name not in names]:
        raise unknown("--exclude", missing[0], sorted(names), problem="no such node")
    copied = ModelProto()
    copied.CopyFrom(model)
    source = {INPUT: 1.0} if selection is None else selection.source
    units = {name: factor / microvolts for name, factor in source.items()}
    stated = {name: (codes.range[0] * unit, codes.range[1] * unit) for name, unit in units.items()}
    operators = _QUANTISED if selection is None else {node.op_type for node in model.graph.node}
    left = [*exclude, *(() if selection is None else selection.convolutions)]
    with _quiet():
        quantizer = QDQQuantizer(
            copied,
            per_channel=True,
            reduce_range=portable,
            weight_qType=QuantType.QInt8,
            activation_qType=QuantType.QInt8,
            tensors_range={name: _tensor_data(bounds) for name, bounds in {**ranges, **stated}.items()},
            nodes_to_quantize=[] if selection is None else list(selection.nodes),
            nodes_to_exclude=left,
            op_types_to_quantize=list(operators),
            extra_options={"ForceQuantizeNoInputCheck": True, "TensorQuantOverrides": _overrides(codes, units)},
        )
        quantizer.quantize_model()
        _guard(quantizer.model.model, left)
        quantizer.model.topological_sort()
    result: ModelProto = quantizer.model.model
    del result.metadata_props[:]
    result.producer_name = "edgeguard"
    checker.check_model(result, full_check=True)
    return result


def float_convolutions(
    model: ModelProto, *, codes: InputCodes, exclude: Sequence[str] = (), selection: Selection | None = None
) -> int:
    """How many convolutions of a float graph compute in float on purpose: excluded ones, and a stem of 16-bit codes."""
    source = {INPUT} if selection is None else set(selection.source)
    left = {*exclude, *(() if selection is None else selection.convolutions)}
    return sum(
        node.name in left or (codes.bits == 16 and not source.isdisjoint(node.input))
        for node in model.graph.node
        if node.op_type in ("Conv", "ConvTranspose")
    )


def _overrides(codes: InputCodes, units: Mapping[str, float]) -> dict[str, list[dict[str, Any]]]:
    """Codes of the input as the quantiser takes them, where they are not those of every activation.

    Args:
        units: tensors that are the input in another shape or unit -> their value for one microvolt.
    """
    if codes.bits == 8:
        return {}
    zero = np.array(0, np.int16)
    return {
        name: [{"quant_type": QuantType.QInt16, "scale": np.array(codes.step * unit, np.float32), "zero_point": zero}]
        for name, unit in units.items()
    }


def _guard(model: ModelProto, exclude: Sequence[str]) -> None:
    """Keep the excluded nodes in float also when the file is loaded, in place.

    ONNX Runtime fuses any float node between a DequantizeLinear and a QuantizeLinear to its integer kernel, and would
    quantise a float weight itself, per tensor. A Clip to what the codes hold changes no value and ends the pattern.
    """
    constants = initializers(model)
    dequantized = {node.output[0]: node for node in model.graph.node if node.op_type == "DequantizeLinear"}
    for node in [each for each in model.graph.node if each.name in exclude]:
        for place, name in enumerate(node.input):
            if name not in dequantized:
                continue
            scale, zero = (constants[each] for each in dequantized[name].input[1:3])
            codes = np.array([np.iinfo(zero.dtype).min, np.iinfo(zero.dtype).max], np.float64)
            bounds = ((codes - zero) * scale).astype(np.float32)
            guarded = f"{name}_for_{node.name}"
            for bound, end in zip(bounds, ("low", "high"), strict=True):
                model.graph.initializer.append(numpy_helper.from_array(bound, f"{guarded}_{end}"))
            clip = helper.make_node("Clip", [name, f"{guarded}_low", f"{guarded}_high"], [guarded], f"Clip_{guarded}")
            model.graph.node.append(clip)
            node.input[place] = guarded


@contextmanager
def _quiet() -> Iterator[None]:
    """The quantiser reports each node on the root logger."""
    logger = logging.getLogger()
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


def _tensor_data(bounds: Range) -> TensorData:
    low, high = bounds
    return TensorData(lowest=np.float32(low), highest=np.float32(high))
