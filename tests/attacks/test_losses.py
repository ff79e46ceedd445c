import numpy as np
import pytest
import torch
from scipy.special import log_softmax

from edgeguard.attacks.losses import LOSSES, cross_entropy, margin

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


def test_the_margin_moves_where_cross_entropy_is_flat():
    """At a gap of 120 the softmax is saturated in float32; the margin still has a gradient."""
    for loss, moves in ((cross_entropy, False), (margin, True)):
        logits = torch.tensor([[120.0, 0.0, 0.0, 0.0]], requires_grad=True)
        (gradient,) = torch.autograd.grad(loss(logits, torch.tensor([0])).sum(), logits)
        assert bool(gradient.abs().max() > 0) is moves
