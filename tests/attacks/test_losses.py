import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import log_softmax
from torch import Tensor

from edgeguard.attacks.losses import LOSSES, Loss, cross_entropy, dlr, margin, rescaled, stretched, targeted_dlr

LOGITS = torch.tensor([[2.0, -1.0, 0.5, 0.0], [0.0, 3.0, 3.5, -2.0], [1.0, 1.0, 1.0, 1.0]], dtype=torch.float64)
LABELS = torch.tensor([0, 1, 3])


@pytest.mark.parametrize("temperature", [1.0, 4.0, 0.25])
def test_cross_entropy_is_minus_the_log_softmax_at_that_temperature(temperature: float):
    expected = -log_softmax(LOGITS.numpy() / temperature, axis=1)
    rows = np.arange(3)
    np.testing.assert_allclose(cross_entropy(LOGITS, LABELS, temperature), expected[rows, LABELS], rtol=1e-12)
    soft = torch.tensor([[0.7, 0.1, 0.1, 0.1], [0.0, 0.5, 0.5, 0.0], [0.25, 0.25, 0.25, 0.25]]).double()
    np.testing.assert_allclose(cross_entropy(LOGITS, soft, temperature), (soft.numpy() * expected).sum(1), rtol=1e-12)


def test_hard_labels_are_certain_soft_ones():
    certain = torch.nn.functional.one_hot(LABELS, 4).double()
    torch.testing.assert_close(cross_entropy(LOGITS, LABELS), cross_entropy(LOGITS, certain))


def test_the_margin_is_above_zero_where_the_network_is_fooled():
    assert margin(LOGITS, LABELS).tolist() == [-1.5, 0.5, 0.0]
    assert LOGITS[0, 0] == 2  # the logits themselves stay as they were


def test_soft_labels_count_as_their_likeliest_class():
    soft = torch.tensor([[0.4, 0.3, 0.2, 0.1], [0.3, 0.4, 0.2, 0.1], [0.1, 0.2, 0.3, 0.4]])
    assert torch.equal(margin(LOGITS, soft), margin(LOGITS, LABELS))


@pytest.mark.parametrize("name", sorted(LOSSES))
def test_a_record_has_a_value_of_its_own(name: str):
    together = LOSSES[name](LOGITS, LABELS)
    alone = torch.cat([LOSSES[name](LOGITS[i : i + 1], LABELS[i : i + 1]) for i in range(3)])
    assert torch.equal(together, alone) and together.shape == (3,)


def gradient(loss: Loss, logits: Tensor, labels: Tensor) -> Tensor:
    logits = logits.detach().requires_grad_()
    return torch.autograd.grad(loss(logits, labels).sum(), logits)[0]


@pytest.mark.parametrize("gap", [110.0, 1e3, 1e6])
@pytest.mark.parametrize("name", sorted(LOSSES))
def test_margin_and_rescaled_move_where_cross_entropy_is_flat(name: str, gap: float):
    """Beyond a gap of 104, exp(-gap) is below float32's least number: the softmax is exactly 0 and 1."""
    found = gradient(LOSSES[name], torch.tensor([[gap, 0.0, gap / 4, -gap / 8]]), torch.tensor([0]))
    if name == "ce":
        assert gap / 4 * 3 < 104 or not found.any()
        found = gradient(LOSSES[name], torch.tensor([[gap, 0.0, 0.0, -gap / 8]]), torch.tensor([0]))
        assert not found.any()
    else:
        assert found[0, 0] < 0 and found[0, 2] > 0


def test_cross_entropy_still_moves_at_a_gap_of_80():
    assert gradient(cross_entropy, torch.tensor([[80.0, 0.0, 0.0, 0.0]]), torch.tensor([0])).any()


def test_rescaled_is_cross_entropy_of_logits_ten_apart():
    ranges = np.array([3.0, 5.5, 1e-6])
    expected = -log_softmax(LOGITS.numpy() * 10 / ranges[:, None], axis=1)
    np.testing.assert_allclose(rescaled(LOGITS, LABELS), expected[np.arange(3), LABELS], rtol=1e-12)
    soft = torch.tensor([[0.7, 0.1, 0.1, 0.1], [0.0, 0.5, 0.5, 0.0], [0.25, 0.25, 0.25, 0.25]]).double()
    np.testing.assert_allclose(rescaled(LOGITS, soft), (soft.numpy() * expected).sum(1), rtol=1e-12)


def test_the_scale_itself_is_not_differentiated():
    """The gradient is (softmax - label) of the rescaled logits times the scale."""
    scaled = LOGITS[:2].numpy() * 10 / np.array([[3.0], [5.5]])
    expected = (np.exp(log_softmax(scaled, axis=1)) - np.eye(4)[LABELS[:2]]) * 10 / np.array([[3.0], [5.5]])
    np.testing.assert_allclose(gradient(rescaled, LOGITS[:2], LABELS[:2]), expected, rtol=1e-12)


@given(
    logits=st.lists(st.floats(-50, 50, width=32), min_size=4, max_size=4).filter(lambda z: max(z) - min(z) > 1e-3),
    label=st.integers(0, 3),
    power=st.integers(0, 20),
)
@settings(max_examples=100, deadline=None)
def test_rescaled_does_not_see_a_factor_on_the_logits(logits: list[float], label: int, power: int):
    given, labels = torch.tensor([logits]), torch.tensor([label])
    torch.testing.assert_close(rescaled(100 * given, labels), rescaled(given, labels), rtol=1e-4, atol=1e-4)
    # A power of two only moves the exponent, so that nothing is rounded.
    factor = 2.0**power
    assert torch.equal(rescaled(factor * given, labels), rescaled(given, labels))
    assert torch.equal(gradient(rescaled, factor * given, labels) * factor, gradient(rescaled, given, labels))


@pytest.mark.parametrize("value", [0.0, 7.0, -1e6])
def test_equal_logits_have_a_finite_rescaled_gradient(value: float):
    logits, labels = torch.full((1, 4), value), torch.tensor([2])
    assert rescaled(logits, labels).item() == pytest.approx(np.log(4))
    assert torch.isfinite(gradient(rescaled, logits, labels)).all()


def test_dlr_is_the_papers_by_hand():
    """-(z_y - max of the others) / (z_1 - z_3), logits by size (Croce & Hein 2020, eq. 6)."""
    assert dlr(LOGITS[:2], LABELS[:2]).tolist() == [-1.5 / 2.0, 0.5 / 3.5]
    soft = torch.tensor([[0.4, 0.3, 0.2, 0.1], [0.3, 0.4, 0.2, 0.1]])
    assert torch.equal(dlr(LOGITS[:2], soft), dlr(LOGITS[:2], LABELS[:2]))


@given(
    logits=st.lists(st.integers(-30, 30), min_size=3, max_size=5, unique=True),
    label=st.integers(0, 2),
    power=st.integers(-3, 12),
    shift=st.integers(-100, 100),
)
@settings(max_examples=80, deadline=None)
def test_dlr_sees_neither_a_factor_nor_a_shift(logits: list[int], label: int, power: int, shift: int):
    given, labels = torch.tensor([logits], dtype=torch.float64), torch.tensor([label])
    first, second, third = sorted(logits, reverse=True)[:3]
    best_other = second if logits[label] == first else first
    assert dlr(given, labels).item() == pytest.approx((best_other - logits[label]) / (first - third))
    torch.testing.assert_close(dlr(given * 2.0**power + shift, labels), dlr(given, labels))


@pytest.mark.parametrize("row", [[1.0, 1, 1, 1], [3.0, 3, 3, -9], [0, 0, 0, 1e6], [5, 5, 5, 4.999]])
@pytest.mark.parametrize("label", range(4))
def test_tied_logits_have_a_finite_dlr(row: list[float], label: int):
    logits, labels = torch.tensor([row]), torch.tensor([label])
    assert torch.isfinite(dlr(logits, labels)).all()
    assert torch.isfinite(gradient(dlr, logits, labels)).all()


def test_stretched_logits_end_at_zero_and_ten_below():
    found = stretched(LOGITS[:2])
    assert found.amax(1).tolist() == [0, 0] and found.amin(1).tolist() == pytest.approx([-10, -10])
    assert torch.equal(found.argsort(1), LOGITS[:2].argsort(1))
    assert torch.isfinite(stretched(LOGITS)).all()


def test_targeted_dlr_by_hand():
    """(z_t - z_y) / (z_1 - (z_3 + z_4) / 2); of three classes z_3 alone; shift and factor change nothing."""
    logits = torch.tensor([[5.0, 1.0, 3.0, 2.0, 0.0], [1.0, 4.0, 2.0, 6.0, 3.0]])
    labels, targets = torch.tensor([0, 3]), torch.tensor([2, 0])
    expected = torch.tensor([(3 - 5) / (5 - 1.5), (1 - 6) / (6 - 2.5)])
    torch.testing.assert_close(targeted_dlr(targets)(logits, labels), expected)
    torch.testing.assert_close(targeted_dlr(targets)(7 * logits - 20, labels), expected)
    torch.testing.assert_close(
        targeted_dlr(torch.tensor([1]))(torch.tensor([[4.0, 3.0, 1.0]]), torch.tensor([0])), torch.tensor([-1 / 3])
    )
    equal = torch.zeros(1, 4, requires_grad=True)
    value = targeted_dlr(torch.tensor([1]))(equal, torch.tensor([0]))
    value.sum().backward()
    assert value.item() == 0 and equal.grad is not None and equal.grad.isfinite().all()
