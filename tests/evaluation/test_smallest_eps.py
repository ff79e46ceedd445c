"""The white box's smallest eps, against a linear model's in closed form; and the alarm, on hand-made ratios."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from edgeguard.attacks.smoothing import smoothing_taps
from edgeguard.evaluation.smallest_eps import compare_with_black_box, nearer_black_box, smallest_eps

T = 200


class Linear(nn.Module):
    """Two classes by the sign of a weighted sum; counts its rows."""

    def __init__(self, weight: np.ndarray) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.from_numpy(weight.astype(np.float32)))

    def forward(self, ecg: Tensor) -> Tensor:
        score = (ecg[:, 0] * self.weight).sum(1)
        return torch.stack([-score, score], 1)


def judge_with(model: nn.Module):
    """As an ONNX file would judge; refuses samples that are no whole codes."""

    def judge(ecg: np.ndarray, labels: np.ndarray) -> np.ndarray:
        assert ecg.dtype == np.float32 and (ecg == np.rint(ecg)).all()
        with torch.no_grad():
            return model(torch.from_numpy(ecg)).argmax(1).numpy()

    return judge


@pytest.fixture
def linear() -> tuple[Linear, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """(model, ecg, labels, mask, smallest eps): five records, some padded, the smallest eps by definition."""
    rng = np.random.default_rng(0)
    weight = np.convolve(rng.normal(size=T), np.hanning(21), "same")
    mask = np.ones((5, 1, T), bool)
    mask[3:, :, :30] = False
    ecg = np.rint(rng.normal(0, 300, (5, 1, T)) * mask).astype(np.float32)
    model = Linear(weight)
    labels = (ecg[:, 0] @ model.weight.detach().numpy() > 0).astype(np.int64)
    filtered = [np.convolve(weight * row[0], smoothing_taps(), "same") * row[0] for row in mask]
    return model, ecg, labels, mask, np.abs(ecg[:, 0] @ weight) / np.abs(filtered).sum(1)


def test_the_smallest_eps_of_a_linear_model_is_found(linear):
    model, ecg, labels, mask, expected = linear
    done: list[int] = []
    found = smallest_eps(model, judge_with(model), ecg, labels, mask, steps=20, progress=done.append)
    assert (found.eps >= 0.97 * expected).all() and (found.eps <= 1.04 * expected + 0.5).all()
    assert (np.abs(found.linf - found.eps) <= np.maximum(1, 0.1 * found.eps)).all()
    assert (found.linf == np.rint(found.linf)).all()
    assert sum(done) == 5


def test_records_that_are_wrong_anyway_need_nothing_and_robust_ones_have_no_eps(linear):
    model, ecg, labels, mask, expected = linear
    labels[0] = 1 - labels[0]
    found = smallest_eps(model, judge_with(model), ecg, labels, mask, steps=10, largest=float(expected[1:].min()) / 2)
    assert found.eps[0] == found.linf[0] == 0
    assert np.isinf(found.eps[1:]).all() and np.isinf(found.linf[1:]).all()


def test_the_model_is_left_as_it_was(linear):
    model, ecg, labels, mask, _ = linear
    model.train()
    smallest_eps(model, judge_with(model), ecg, labels, mask, steps=2, tolerance=0.5)
    assert model.training and model.weight.requires_grad and model.weight.grad is None


def test_the_file_judges_not_the_network(linear):
    model, ecg, labels, mask, expected = linear

    def judge(asked: np.ndarray, right: np.ndarray) -> np.ndarray:
        # Feels half of every change.
        rows = [int(np.abs(ecg - row).mean((1, 2)).argmin()) for row in asked]
        half = ecg[rows] + (asked - ecg[rows]) / 2
        with torch.no_grad():
            return model(torch.from_numpy(half)).argmax(1).numpy()

    found = smallest_eps(model, judge, ecg, labels, mask, steps=20)
    assert (found.eps >= 1.94 * expected).all() and (found.eps <= 2.08 * expected + 1).all()


def test_ratios_by_hand():
    white = np.array([10.0, 20, 40, 100, 0, np.inf, np.inf])
    black = np.array([12.0, 20, 30, np.inf, 5, 50, np.inf])
    told = compare_with_black_box(white, black)
    # 1.2, 1, 0.75, inf, (wrong anyway), 0, (neither)
    assert told["n"] == 5
    assert told["ratio"] == {"median": 1.0, "low_quartile": 0.75, "high_quartile": 1.2}
    assert told["below_one"] == pytest.approx(2 / 5)


def test_no_records_have_no_ratio():
    told = compare_with_black_box(np.zeros(3), np.ones(3))
    assert told["n"] == 0 and np.isnan(told["ratio"]["median"]) and told["check"].holds is None


@pytest.mark.parametrize(
    ("nearer", "n", "holds"),
    [(0, 32, True), (1, 32, True), (3, 32, None), (8, 32, False), (1, 4, None), (32, 32, False)],
)
def test_the_alarm_needs_more_than_chance(nearer: int, n: int, holds: bool | None):
    white = np.full(n, 100.0)
    black = np.where(np.arange(n) < nearer, 80.0, 110.0)
    check = nearer_black_box(white, black)
    assert check.holds is holds and check.figure == nearer / n
    assert f"{nearer} of {n}" in check.message


def test_rounding_raises_no_alarm():
    # 4 % nearer is within the white box's own tolerance; half a code is within rounding.
    assert nearer_black_box(np.full(40, 100.0), np.full(40, 96.0)).holds
    assert nearer_black_box(np.full(40, 2.0), np.full(40, 1.5)).holds
    assert nearer_black_box(np.full(40, np.inf), np.full(40, 50.0)).holds is False
    assert nearer_black_box(np.full(40, np.inf), np.full(40, np.inf)).holds
