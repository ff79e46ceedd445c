"""Float graphs of any exporter, rewritten for the quantiser: the same numbers, and operators that it takes."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import ModelProto, numpy_helper, parser

from edgeguard.errors import InputError
from edgeguard.export.graph_passes import batch_norm_as_conv, fold_batch_norm_forwards
from edgeguard.export.prepare import prepare
from edgeguard.runtime.loading import Signature

WHERE = Path("theirs.onnx")
SIGNATURE = Signature("x", "y", np.float32, (2,), (), 40, 1)
"""Two channels, so that convolutions have something to mix."""
FRAME = """
<ir_version: 8, opset_import: ["" : 17]>
agraph (float[{batch},2,40] x) => (float[{batch},3] y) {{
    {body}
}}
"""
HEAD = "pooled = GlobalAveragePool (z) flat = Flatten (pooled) y = Gemm <transB = 1> (flat, head, offset)"
NORM = "z = BatchNormalization (x, gamma, beta, mean, variance)"


def model(body: str, batch: str = "n", **weights: np.ndarray) -> ModelProto:
    made = parser.parse_model(FRAME.format(body=body, batch=batch))
    made.graph.initializer.extend(numpy_helper.from_array(np.asarray(v), n) for n, v in weights.items())
    onnx.checker.check_model(made, full_check=True)
    return made


def weights(rng: np.random.Generator, channels: int = 2) -> dict[str, np.ndarray]:
    shapes = {"gamma": channels, "beta": channels, "mean": channels, "offset": 3, "head": (3, channels)}
    found = {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
    return found | {"variance": rng.uniform(0.3, 2, channels).astype(np.float32)}


def run(made: ModelProto, x: np.ndarray) -> np.ndarray:
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(made.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(None, {"x": x})[0]


def operators(made: ModelProto) -> list[str]:
    return [node.op_type for node in made.graph.node]


def prepared(made: ModelProto, *, open_batch: bool = False, opset: int | None = None) -> ModelProto:
    return prepare(made, SIGNATURE, WHERE, window=40, open_batch=open_batch, opset=opset)


@pytest.fixture
def x() -> np.ndarray:
    return np.random.default_rng(1).normal(size=(4, 2, 40)).astype(np.float32)


@pytest.mark.parametrize("groups", [1, 2])
def test_a_normalisation_folds_into_the_convolution_behind_it(x: np.ndarray, groups: int) -> None:
    rng = np.random.default_rng(0)
    body = NORM.replace("z =", "n =") + f" z = Conv <group = {groups}> (n, kernel) {HEAD}"
    kernel = rng.normal(size=(4, 2 // groups, 5)).astype(np.float32)
    made = model(body, **weights(rng) | {"kernel": kernel, "head": rng.normal(size=(3, 4)).astype(np.float32)})
    expected = run(made, x)
    fold_batch_norm_forwards(made)
    assert operators(made) == ["Conv", "GlobalAveragePool", "Flatten", "Gemm"]
    np.testing.assert_allclose(run(made, x), expected, rtol=1e-4, atol=1e-5)


def test_no_normalisation_folds_into_a_convolution_that_pads(x: np.ndarray) -> None:
    rng = np.random.default_rng(0)
    body = NORM.replace("z =", "n =") + f" z = Conv <pads = [2, 2]> (n, kernel) {HEAD}"
    made = model(body, **weights(rng) | {"kernel": rng.normal(size=(2, 2, 5)).astype(np.float32)})
    expected = run(made, x)
    fold_batch_norm_forwards(made)
    assert operators(made)[0] == "BatchNormalization"
    batch_norm_as_conv(made)
    assert operators(made) == ["Conv", "Conv", "GlobalAveragePool", "Flatten", "Gemm"]
    np.testing.assert_allclose(run(made, x), expected, rtol=1e-4, atol=1e-5)


def test_what_torch_writes_becomes_plain(x: np.ndarray) -> None:
    """A mean by way of two axes, a Dropout, an Identity, a batch of one in every shape: one pool, and any batch."""
    rng = np.random.default_rng(0)
    body = """
        kernel = Constant <value = float[2,2,1] {1.0, 0.5, -0.5, 2.0}> ()
        c = Conv (x, kernel) i = Identity (c) d = Dropout (i)
        axis = Constant <value = int64[1] {2}> () u = Unsqueeze (d, axis)
        m = ReduceMean <axes = [-1, -2]> (u) s = Squeeze (m, axis)
        shape = Constant <value = int64[2] {1, 2}> () flat = Reshape (s, shape)
        y = Gemm <transB = 1> (flat, head, offset)
    """
    made = model(body, batch="1", **{k: v for k, v in weights(rng).items() if k in ("head", "offset")})
    plain = prepared(made, open_batch=True)
    assert operators(plain) == ["Conv", "GlobalAveragePool", "Reshape", "Gemm"]
    assert len({node.name for node in plain.graph.node}) == 4 and not plain.metadata_props
    alone = np.concatenate([run(made, row[None]) for row in x])
    np.testing.assert_allclose(run(plain, x), alone, rtol=1e-5, atol=1e-6)
    assert [entry.domain for entry in plain.opset_import] == [""]


def test_the_opset_is_kept_unless_a_newer_one_is_asked_for(x: np.ndarray) -> None:
    made = model(f"{NORM} {HEAD}", **weights(np.random.default_rng(0)))
    kept, raised = prepared(made), prepared(made, opset=21)
    assert [each.opset_import[0].version for each in (kept, raised)] == [17, 21]
    np.testing.assert_allclose(run(raised, x), run(made, x), rtol=1e-4, atol=1e-5)


def test_half_precision_is_refused_in_one_line() -> None:
    made = model(f"{NORM} {HEAD}", **weights(np.random.default_rng(0)))
    made.graph.initializer.append(numpy_helper.from_array(np.ones(4, np.float16), "unused"))
    with pytest.raises(InputError, match=r"float16.*export the network in float32"):
        prepared(made)


def test_the_file_is_not_changed() -> None:
    made = model(f"{NORM} {HEAD}", **weights(np.random.default_rng(0)))
    before = made.SerializeToString(deterministic=True)
    prepared(made)
    assert made.SerializeToString(deterministic=True) == before
