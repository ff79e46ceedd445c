"""Rounding as ONNX Runtime does it, and what goes back through it."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from edgeguard.errors import InputError
from edgeguard.export.straight_through import ESTIMATORS, check_estimator, quantized, replaced, rounded

VALUES = [-9.0, -4.0, -2.5, -1.5, -0.2, 0.0, 0.5, 1.5, 2.5, 4.0, 9.0]


@pytest.mark.parametrize(
    ("estimator", "low", "want"),
    [
        ("clipped", -4.0, [0, 0, 1, 1, 1, 1, 1, 1, 1, 0, 0]),
        ("clipped", 0.0, [0, 0, 0, 0, 0, 0, 1, 1, 1, 0, 0]),
        ("pure", -4.0, [1] * 11),
        ("pure", 0.0, [0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1]),
        ("none", -4.0, [0] * 11),
        ("none", 0.0, [0] * 11),
    ],
)
def test_the_gradient_within_and_beyond_the_bounds(estimator: str, low: float, want: list[int]):
    value = torch.tensor(VALUES, requires_grad=True)
    codes = quantized(value, low, 4.0, 0.0, estimator)
    (gradient,) = torch.autograd.grad((codes * 3).sum(), value)
    assert gradient.tolist() == [3.0 * slope for slope in want]


@given(
    st.lists(st.floats(-300, 300, width=32), min_size=1, max_size=20),
    st.integers(-128, 127),
    st.sampled_from(ESTIMATORS),
)
def test_codes_do_not_depend_on_the_estimator(values: list[float], zero_point: int, estimator: str):
    low, high = -128 - zero_point, 127 - zero_point
    codes = quantized(torch.tensor(values), low, high, zero_point, estimator)
    want = np.clip(np.rint(np.float32(values)), low, high) + zero_point
    np.testing.assert_array_equal(codes.numpy(), want)
    assert (codes >= -128).all() and (codes <= 127).all()


def test_ties_go_to_even():
    assert rounded(torch.tensor([-1.5, -0.5, 0.5, 1.5, 2.5]), "pure").tolist() == [-2, 0, 0, 2, 2]


@pytest.mark.parametrize(("estimator", "slope"), [("clipped", 2.0), ("pure", 2.0), ("none", 0.0)])
def test_one_tensor_s_value_has_another_s_gradient(estimator: str, slope: float):
    x = torch.tensor([1.0, 2.0], requires_grad=True)
    both = replaced(2 * x, torch.tensor([7.0, 8.0]), estimator)
    assert both.tolist() == [7, 8]
    (gradient,) = torch.autograd.grad(both.sum(), x)
    assert gradient.tolist() == [slope, slope]


def test_an_unknown_estimator_is_refused():
    assert check_estimator("pure") == "pure"
    with pytest.raises(InputError, match="gradient soft: unknown; choose clipped, pure or none"):
        check_estimator("soft")
