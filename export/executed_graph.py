"""The graph that ONNX Runtime executes: a file after the runtime's own fusion.

What an int8 file computes is decided there: which convolutions run on integers, where a quantiser takes in a ReLU,
which additions are fused. Float operators are left as they are, so that their names stay those of the ONNX standard.
"""

import onnxruntime
from onnx import ModelProto

from edgeguard.errors import InputError
from edgeguard.runtime.census import optimized_model
from edgeguard.runtime.flags import RUNTIME_ERRORS

_FLOAT_FUSIONS = (
    "BiasGeluFusion",
    "ConvActivationFusion",
    "DynamicQuantizeMatMulFusion",
    "ConvAddActivationFusion",
    "FastGeluFusion",
    "GeluFusionL2",
    "GemmActivationFusion",
    "LayerNormFusionL2",
    "MatMulActivationFusion",
    "MatMulScaleFusion",
    "MatmulTransposeFusion",
    "QuickGeluFusion",
    "SimplifiedLayerNormFusion",
    "SkipLayerNormFusion",
)
"""Fusions that replace operators of the standard by ONNX Runtime's own without changing an integer."""


def executed_graph(model: ModelProto) -> ModelProto:
    """A model as ONNX Runtime fuses it, in the layout of the file.

    The last level of optimisation, which only reorders memory, is left out: it changes no integer result.

    Raises InputError for a model that ONNX Runtime cannot load.
    """
    level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    try:
        return optimized_model(model, level=level, without=_FLOAT_FUSIONS)
    except RUNTIME_ERRORS as error:
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"ONNX Runtime cannot load it ({reason}); export the model anew") from error
