"""Float operators: torch's against ONNX Runtime's to the last few bits, and ONNX Runtime's own where a graph rounds."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from edgeguard.errors import InputError

rng = np.random.default_rng(0)


def values(*shape: int) -> np.ndarray:
    return rng.normal(0, 2, shape).astype(np.float32)


X = values(3, 6, 40)
VECTOR = [np.abs(values(6)) + 0.1 for _ in range(4)]

CASES: dict[str, tuple[list[Any], dict[str, Any]]] = {
    "Conv": ([X, values(8, 6, 5), values(8)], {"strides": [2]}),
    "Conv pads": ([X, values(8, 6, 4)], {"pads": [3, 0], "dilations": [3]}),
    "Conv groups": ([X, values(12, 1, 5), values(12)], {"group": 6, "pads": [2, 1], "strides": [3]}),
    "Conv stem": ([values(3, 1, 90), values(8, 1, 9), values(8)], {"strides": [4], "pads": [1, 2]}),
    "Conv same": ([X, values(8, 6, 4)], {"auto_pad": "SAME_UPPER", "strides": [3]}),
    "Conv same lower": ([X, values(8, 6, 4)], {"auto_pad": "SAME_LOWER", "strides": [2]}),
    "Conv valid": ([X, values(8, 6, 4)], {"auto_pad": "VALID"}),
    "Conv 2d": ([values(2, 3, 1, 40), values(4, 3, 1, 5)], {"pads": [0, 2, 0, 1], "strides": [1, 2]}),
    "Gemm": ([values(5, 70), values(4, 70), values(4)], {"transB": 1}),
    "Gemm scaled": ([values(5, 7), values(7, 4), values(4)], {"alpha": 0.5, "beta": 1.5}),
    "Gemm alone": ([values(7, 5), values(7, 4)], {"transA": 1}),
    "MatMul": ([X, values(40, 5)], {}),
    "Add": ([X, values(6, 1)], {}),
    "Sub": ([X, values(6, 1)], {}),
    "Mul": ([X, values(1, 6, 1)], {}),
    "Div": ([X, np.float32([[3.0]])], {}),
    "Pow": ([np.abs(X), np.float32(2)], {}),
    "Identity": ([X], {}),
    "Relu": ([X], {}),
    "LeakyRelu": ([X], {"alpha": 0.3}),
    "LeakyRelu default": ([X], {}),
    "PRelu": ([X, values(6, 1)], {}),
    "Clip": ([X, np.float32(-1), np.float32(1.5)], {}),
    "Clip above": ([X, None, np.float32(0.5)], {}),
    "Tanh": ([X], {}),
    "Sigmoid": ([X], {}),
    "HardSigmoid": ([X], {"alpha": 0.15, "beta": 0.4}),
    "HardSwish": ([X], {}),
    "Exp": ([X], {}),
    "Erf": ([X], {}),
    "Sqrt": ([np.abs(X)], {}),
    "Abs": ([X], {}),
    "Neg": ([X], {}),
    "Softmax": ([X], {"axis": 1}),
    "Softmax default": ([X], {}),
    "LogSoftmax": ([X], {"axis": -1}),
    "MaxPool": ([X], {"kernel_shape": [3], "strides": [2], "pads": [1, 1]}),
    "MaxPool ceil": ([X], {"kernel_shape": [4], "strides": [3], "ceil_mode": 1}),
    "MaxPool dilated": ([X], {"kernel_shape": [3], "dilations": [4], "pads": [2, 1]}),
    "AveragePool": ([X], {"kernel_shape": [4], "strides": [3], "pads": [1, 2]}),
    "AveragePool counted": ([X], {"kernel_shape": [4], "strides": [3], "pads": [1, 2], "count_include_pad": 1}),
    "AveragePool ceil": ([X], {"kernel_shape": [5], "strides": [3], "pads": [1, 0], "ceil_mode": 1}),
    "AveragePool ceil counted": (
        [X],
        {"kernel_shape": [5], "strides": [3], "pads": [1, 1], "ceil_mode": 1, "count_include_pad": 1},
    ),
    "GlobalAveragePool": ([X], {}),
    "GlobalMaxPool": ([X], {}),
    "ReduceMean": ([X, np.int64([2])], {"keepdims": 0}),
    "ReduceMean all": ([X], {}),
    "ReduceMean no axes": ([X], {"noop_with_empty_axes": 1}),
    "ReduceSum": ([X, np.int64([1, 2])], {"keepdims": 1}),
    "ReduceMax": ([X, np.int64([-1])], {"keepdims": 0}),
    "BatchNormalization": ([X, VECTOR[0], VECTOR[1], VECTOR[2], VECTOR[3]], {"epsilon": 1e-3}),
}


@pytest.mark.parametrize("exact", [False, True])
@pytest.mark.parametrize("case", CASES)
def test_values_are_those_of_onnx_runtime(case: str, exact: bool, both: Callable):
    inputs, attributes = CASES[case]
    want, got = both(case.split()[0], inputs, exact=exact, **attributes)
    assert got.dtype == torch.float32 and got.shape == want.shape
    np.testing.assert_allclose(got.numpy(), want, rtol=1e-5, atol=1e-5)


SUMS = ["Conv", "Conv groups", "Gemm", "Gemm scaled", "MatMul", "Tanh", "Sigmoid", "HardSwish", "Softmax"]
SUMS += ["AveragePool", "GlobalAveragePool", "ReduceMean", "BatchNormalization", "HardSigmoid", "Exp", "Erf"]


@pytest.mark.parametrize("case", SUMS)
def test_where_a_graph_rounds_every_bit_is_that_of_onnx_runtime(case: str, both: Callable):
    inputs, attributes = CASES[case]
    want, got = both(case.split()[0], inputs, exact=True, **attributes)
    np.testing.assert_array_equal(got.numpy(), want)


@pytest.mark.parametrize("case", [case for case, (inputs, _) in CASES.items() if inputs[0] is X])
def test_gradients_do_not_depend_on_whose_values_they_are(case: str, both: Callable):
    inputs, attributes = CASES[case]
    gradients = []
    for exact in (False, True):
        x = torch.from_numpy(X if case != "Sqrt" and case != "Pow" else np.abs(X) + 1).requires_grad_(True)
        _, got = both(case.split()[0], [x, *inputs[1:]], exact=exact, **attributes)
        weights = torch.arange(got.numel(), dtype=torch.float32).view(got.shape).cos()
        gradients.append(torch.autograd.grad((got * weights).sum(), x)[0])
    assert gradients[0].abs().sum() > 0
    torch.testing.assert_close(*gradients)


def test_either_side_of_an_operation_may_be_stored(both: Callable):
    left, right = np.abs(values(3, 6, 4)) + 1, np.abs(values(3, 6, 4)) + 1
    for operator in ("Add", "Sub", "Mul", "Div"):
        for computed in ((0,), (1,), (0, 1)):
            want, got = both(operator, [left, right], computed=computed)
            np.testing.assert_array_equal(got.numpy(), want)
    for computed in ((1,), (0, 1)):
        want, got = both("MatMul", [values(3, 5, 6), right], computed=computed)
        np.testing.assert_allclose(got.numpy(), want, rtol=1e-5, atol=1e-5)


def test_integers_are_divided_towards_zero(both: Callable):
    want, got = both("Div", [np.int64([7, -7, 9]), np.int64([2])])
    assert got.tolist() == want.tolist() == [3, -3, 4]


@pytest.mark.parametrize("kind", [1, 6, 7, 11])
def test_casts_go_towards_zero(kind: int, both: Callable):
    want, got = both("Cast", [np.float32([1.5, -1.5, 2.99, -3])], to=kind)
    np.testing.assert_array_equal(got.numpy(), want)
    assert got.numpy().dtype == want.dtype


def test_softmax_before_opset_13_runs_over_all_later_axes(both: Callable):
    want, got = both("Softmax", [X], version=11, axis=1)
    np.testing.assert_allclose(got.numpy(), want, rtol=1e-5, atol=1e-8)


def test_clip_before_opset_11_has_attributes(both: Callable):
    want, got = both("Clip", [X], version=6, min=-0.5, max=0.25)
    np.testing.assert_array_equal(got.numpy(), want)


def test_reductions_before_opset_18_have_attributes(both: Callable):
    want, got = both("ReduceMean", [X], version=13, axes=[1, 2], keepdims=0)
    np.testing.assert_allclose(got.numpy(), want, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("operator", "inputs", "attributes", "why"),
    [
        ("Cast", [X], {"to": 10}, "casts to ONNX's type 10"),
        ("Conv", [values(1, 2, 3, 4, 5), values(2, 2, 1, 1, 1)], {}, "has 3 axes, one needed"),
    ],
)
def test_what_cannot_be_reproduced_is_refused_in_one_line(
    operator: str, inputs: list[Any], attributes: dict[str, Any], why: str, both: Callable
):
    with pytest.raises(InputError, match=rf"operator {operator} \(node one, opset 21\): it {why}.*; export") as error:
        both(operator, inputs, **attributes)
    assert "\n" not in str(error.value)
