"""Which operators ONNX Runtime really executes: a census of the graph after its own optimisation.

A quantised file may run partly in float when the runtime finds no fused int8 kernel for a pattern; its
latency and its bits are then those of another program. The census shows it.
"""

import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import onnx
import onnxruntime

from edgeguard.runtime.flags import create_session, session_options

_FLOAT_CONVOLUTIONS = ("Conv", "ConvTranspose", "FusedConv", "NhwcFusedConv")


def fused_operators(model: onnx.ModelProto | Path | str) -> dict[str, int]:
    """Operator type -> count in the graph that ONNX Runtime executes with EdgeGuard's session flags.

    Args:
        model: a model in memory, or a file, counted as given (pass `host_form(model)` to count that form).
    """
    if not isinstance(model, onnx.ModelProto):
        model = onnx.load(model)
    return dict(sorted(Counter(node.op_type for node in optimized_model(model).graph.node).items()))


def optimized_model(
    model: onnx.ModelProto,
    *,
    level: onnxruntime.GraphOptimizationLevel = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL,
    without: Sequence[str] = (),
) -> onnx.ModelProto:
    """The model as ONNX Runtime executes it with EdgeGuard's session flags: folded, fused, laid out anew.

    Args:
        level: of optimisation; below the last one nothing is laid out anew.
        without: names of optimisers to leave out.

    Raises one of RUNTIME_ERRORS for a model that ONNX Runtime cannot load.
    """
    with tempfile.TemporaryDirectory() as folder:
        optimized = Path(folder) / "optimized.onnx"
        options = session_options()
        options.graph_optimization_level = level
        options.optimized_model_filepath = str(optimized)
        create_session(model.SerializeToString(), options, without=without)
        return onnx.load(optimized, load_external_data=False)


def float_convolutions(census: Mapping[str, int]) -> int:
    """Convolutions of a census that run in float."""
    return sum(census.get(name, 0) for name in _FLOAT_CONVOLUTIONS)
