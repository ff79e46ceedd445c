"""Operators that move elements: equal to ONNX Runtime's in every bit."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from edgeguard.errors import InputError

X = np.arange(2 * 3 * 20, dtype=np.float32).reshape(2, 3, 20)

CASES: dict[str, tuple[list[Any], dict[str, Any]]] = {
    "Concat": ([X, X[:, :1] + 0.5], {"axis": 1}),
    "Concat back": ([X, X + 0.5], {"axis": -1}),
    "Slice": ([X, np.int64([3]), np.int64([-2]), np.int64([2])], {}),
    "Slice steps": ([X, np.int64([1, 0]), np.int64([3, 99]), np.int64([1, -1]), np.int64([1, 3])], {}),
    "Slice first axes": ([X, np.int64([1, 1]), np.int64([2, 3])], {}),
    "Slice backward": ([X, np.int64([-1]), np.int64([-(2**63)]), np.int64([2]), np.int64([-2])], {}),
    "Slice backward part": ([X, np.int64([9]), np.int64([2]), np.int64([2]), np.int64([-3])], {}),
    "Pad": ([X, np.int64([0, 0, 3, 0, 1, 2]), np.float32(7)], {}),
    "Pad zeros": ([X, np.int64([0, 0, 0, 0, 0, 4])], {}),
    "Pad crop": ([X, np.int64([0, 0, -3, 0, 0, 4])], {}),
    "Pad reflect": ([X, np.int64([0, 0, 3, 0, 0, 2])], {"mode": "reflect"}),
    "Pad edge": ([X, np.int64([0, 0, 3, 0, 0, 2])], {"mode": "edge"}),
    "Pad wrap": ([X, np.int64([0, 0, 3, 0, 0, 2])], {"mode": "wrap"}),
    "Reshape": ([X, np.int64([0, -1, 10])], {}),
    "Reshape flat": ([X, np.int64([-1])], {}),
    "Flatten": ([X], {}),
    "Flatten all": ([X], {"axis": 0}),
    "Flatten last": ([X], {"axis": -1}),
    "Transpose": ([X], {"perm": [0, 2, 1]}),
    "Transpose reversed": ([X], {}),
    "Squeeze": ([X[:, :1], np.int64([1])], {}),
    "Squeeze all": ([X[:1, :, :1]], {}),
    "Unsqueeze": ([X, np.int64([1, -1])], {}),
    "Shape": ([X], {}),
    "Shape part": ([X], {"start": 1, "end": -1}),
    "Gather": ([X, np.int64([2, 0, -1])], {"axis": 1}),
    "Gather one": ([X, np.int64(-1)], {"axis": 2}),
    "Gather table": ([X, np.int64([[1, 0], [2, 2]])], {"axis": 1}),
    "MaxPool": ([X], {"kernel_shape": [2], "strides": [2]}),
    "Dropout": ([X], {}),
}


@pytest.mark.parametrize("case", CASES)
def test_elements_are_those_of_onnx_runtime(case: str, both: Callable):
    inputs, attributes = CASES[case]
    want, got = both(case.split()[0], inputs, **attributes)
    assert got.shape == want.shape
    np.testing.assert_array_equal(got.numpy(), want)


@pytest.mark.parametrize("case", [case for case in CASES if not case.startswith("Shape")])
def test_gradients_go_back_to_where_the_elements_came_from(case: str, both: Callable):
    """Selecting is linear: the gradient by the input, times a change of it, is the change of the output."""
    (x, *others), attributes = CASES[case]
    change = 0.25 * np.sin(x)
    given = torch.from_numpy(x.copy()).requires_grad_(True)
    before, got = both(case.split()[0], [given, *others], **attributes)
    after, _ = both(case.split()[0], [x + change, *others], **attributes)
    weights = np.cos(np.arange(before.size, dtype=np.float32)).reshape(before.shape)
    (gradient,) = torch.autograd.grad((got * torch.from_numpy(weights)).sum(), given)
    assert float((gradient.numpy() * change).sum()) == pytest.approx(
        float((weights * (after - before)).sum()), rel=1e-3, abs=1e-3
    )


def test_both_sides_of_a_concat_may_be_computed(both: Callable):
    want, got = both("Concat", [X, X + 1, X], computed=(0, 2), axis=2)
    np.testing.assert_array_equal(got.numpy(), want)


def test_a_shape_may_be_computed(both: Callable):
    want, got = both("Reshape", [X, np.int64([2, -1])], computed=(0, 1))
    np.testing.assert_array_equal(got.numpy(), want)


def test_squeeze_and_pad_before_their_inputs_were_inputs(both: Callable):
    for operator, inputs, attributes in (
        ("Squeeze", [X[:, :1]], {"axes": [1]}),
        ("Unsqueeze", [X], {"axes": [1]}),
        ("Pad", [X], {"pads": [0, 0, 1, 0, 0, 2], "value": 3.0}),
    ):
        want, got = both(operator, inputs, version=10, **attributes)
        np.testing.assert_array_equal(got.numpy(), want)


@pytest.mark.parametrize(
    ("operator", "inputs", "computed", "attributes", "why"),
    [
        ("Slice", [X, np.int64([0]), np.int64([1])], (0, 1), {}, "its starts is computed"),
        ("Pad", [X, np.int64([0, 1, 1, 0, 1, 1])], (0,), {"mode": "edge"}, "pads several axes in mode edge"),
        ("Gather", [X, np.int64([0])], (1,), {}, "selects from a stored table"),
    ],
)
def test_what_cannot_be_reproduced_is_refused_in_one_line(
    operator: str, inputs: list[Any], computed: tuple[int, ...], attributes: dict[str, Any], why: str, both: Callable
):
    with pytest.raises(InputError, match=why) as error:
        both(operator, inputs, computed=computed, **attributes)
    assert f"operator {operator} (node one, opset 21)" in str(error.value) and "\n" not in str(error.value)
