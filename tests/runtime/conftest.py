"""Small ONNX classifiers, made with onnx.helper: no network library is needed to test the runtime."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

WINDOW = 600
CLASSES = ("N", "A", "O", "~")


def linear_model(
    shape: list,
    *,
    dtype: int = TensorProto.FLOAT,
    batch_in_reshape: int = 0,
    props: dict | None = None,
    **reshape: int,
) -> onnx.ModelProto:
    """logits[c] = sum of the samples of quarter c; `shape` is the input's, with WINDOW samples.

    Args:
        reshape: attributes of the Reshape.
    """
    weight = np.kron(np.eye(4), np.ones((1, WINDOW // 4))).T.astype(np.float32)
    nodes = [
        helper.make_node("Cast", ["ecg"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("Reshape", ["float", "flat"], ["rows"], **reshape),
        helper.make_node("MatMul", ["rows", "weight"], ["logits"]),
    ]
    constants = [
        numpy_helper.from_array(np.array([batch_in_reshape, WINDOW], np.int64), "flat"),
        numpy_helper.from_array(weight, "weight"),
    ]
    graph = helper.make_graph(
        nodes,
        "linear",
        [helper.make_tensor_value_info("ecg", dtype, shape)],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [shape[0], 4])],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    helper.set_model_props(model, props or {})
    return model


def residual_model(seed: int = 0) -> onnx.ModelProto:
    """Conv, MaxPool, a residual block with Add, GlobalAveragePool and a float Gemm, with random weights."""
    rng = np.random.default_rng(seed)

    def weight(name: str, *shape: int) -> onnx.TensorProto:
        scale = 1 / np.sqrt(np.prod(shape[1:]))
        return numpy_helper.from_array(rng.normal(0, scale, shape).astype(np.float32), name)

    constants = [
        weight("w1", 8, 1, 7),
        weight("b1", 8),
        weight("w2", 8, 8, 5),
        weight("b2", 8),
        weight("w3", 16, 8, 5),
        weight("b3", 16),
        weight("w4", 16, 4),
        weight("b4", 4),
    ]
    nodes = [
        helper.make_node("Conv", ["ecg", "w1", "b1"], ["c1"], strides=[3]),
        helper.make_node("Relu", ["c1"], ["r1"]),
        helper.make_node("MaxPool", ["r1"], ["p1"], kernel_shape=[2], strides=[2]),
        helper.make_node("Conv", ["p1", "w2", "b2"], ["c2"], pads=[2, 2]),
        helper.make_node("Add", ["p1", "c2"], ["a2"]),
        helper.make_node("Relu", ["a2"], ["r2"]),
        helper.make_node("Conv", ["r2", "w3", "b3"], ["c3"], strides=[2]),
        helper.make_node("Relu", ["c3"], ["r3"]),
        helper.make_node("GlobalAveragePool", ["r3"], ["g3"]),
        helper.make_node("Flatten", ["g3"], ["f3"]),
        helper.make_node("Gemm", ["f3", "w4", "b4"], ["logits"]),
    ]
    graph = helper.make_graph(
        nodes,
        "residual",
        [helper.make_tensor_value_info("ecg", TensorProto.FLOAT, ["batch", 1, WINDOW])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 4])],
        constants,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


class _Noise(CalibrationDataReader):
    def __init__(self) -> None:
        rng = np.random.default_rng(1)
        self._rows = iter([{"ecg": rng.normal(0, 300, (1, 1, WINDOW)).astype(np.float32)} for _ in range(4)])

    def get_next(self) -> dict | None:
        return next(self._rows, None)


@pytest.fixture(scope="session")
def residual_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The float residual model as a file, without metadata."""
    path = tmp_path_factory.mktemp("onnx") / "residual.onnx"
    onnx.save(residual_model(), path)
    return path


@pytest.fixture(scope="session")
def quantized(residual_path: Path) -> Callable[[QuantType], Path]:
    """The residual model after ONNX Runtime's static QDQ quantiser, by type of the activations."""
    made: dict[QuantType, Path] = {}

    def make(activations: QuantType) -> Path:
        if activations not in made:
            made[activations] = residual_path.with_name(f"residual-{activations}.onnx")
            quantize_static(
                residual_path,
                made[activations],
                _Noise(),
                quant_format=QuantFormat.QDQ,
                per_channel=True,
                activation_type=activations,
                weight_type=QuantType.QInt8,
                op_types_to_quantize=["Conv", "Relu", "Add", "MaxPool", "GlobalAveragePool"],
            )
        return made[activations]

    return make


@pytest.fixture
def noise() -> np.ndarray:
    """float32 [40, 1, WINDOW] microvolts."""
    return np.random.default_rng(2).normal(0, 300, (40, 1, WINDOW)).astype(np.float32)


@pytest.fixture
def save_linear(tmp_path: Path) -> Callable[..., Path]:
    """Writes a linear model (see `linear_model`) and gives its path."""

    def save(shape: list, **kwargs) -> Path:
        path = tmp_path / "linear.onnx"
        onnx.save(linear_model(shape, **kwargs), path)
        return path

    return save
