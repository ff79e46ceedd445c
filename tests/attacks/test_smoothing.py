import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeguard.attacks.smoothing import gaussian, kernel_pairs, smooth, smoothing_taps, taps_like

FROM_CENTRE = {
    "nest25": ".185330 .151256 .106356 .058462 .031979 .026827 .013467 .011142 .004291 .003554",
    "zip5": ".165482 .131249 .086314 .065634 .040590 .036296 .021146 .019140 .008804 .008087",
}
"""Published reading of Han et al.'s kernels, taps 0 to 9 from the centre outwards."""


def kernel_by_hand(size: int, sigma: float) -> np.ndarray:
    """Eq. 9 of the ADT paper, term by term."""
    middle = (size - 1) // 2
    weights = [np.exp(-((m - middle - 1) ** 2) / (2 * sigma**2)) for m in range(1, size + 1)]
    return np.array([w / sum(weights) for w in weights])


def mean_of_convolutions(delta: np.ndarray, kernels: str) -> np.ndarray:
    """Every kernel convolved on its own (eq. 8), then the mean."""
    sizes, sigmas = (5, 7, 11, 15, 19), (1, 3, 5, 7, 10)
    if kernels == "nest25":
        pairs = [(s, sigma) for s in sizes for sigma in sigmas]
    else:
        pairs = list(zip(sizes, sigmas, strict=True))
    return np.mean([np.convolve(delta, kernel_by_hand(*pair), mode="same") for pair in pairs], axis=0)


@pytest.mark.parametrize("kernels", FROM_CENTRE)
def test_taps_are_the_published_ones(kernels: str):
    taps = smoothing_taps(kernels)
    expected = [float(text) for text in FROM_CENTRE[kernels].split()]
    np.testing.assert_allclose(taps[9:], expected, rtol=0, atol=1e-6)
    np.testing.assert_array_equal(taps, taps[::-1])
    assert taps.shape == (19,) and taps.min() > 0
    assert abs(taps.sum() - 1) < 1e-14


@pytest.mark.parametrize("kernels", FROM_CENTRE)
def test_one_filter_is_all_the_convolutions(kernels: str):
    delta = np.random.default_rng(0).uniform(-10, 10, (3, 200))
    expected = np.stack([mean_of_convolutions(row, kernels) for row in delta])
    rows = torch.from_numpy(delta)[:, None]
    smoothed = smooth(rows, taps_like(rows, kernels))[:, 0].numpy()
    np.testing.assert_allclose(smoothed, expected, rtol=0, atol=1e-12)
    np.testing.assert_allclose(smoothed[:, :9], expected[:, :9], rtol=0, atol=1e-12)
    np.testing.assert_allclose(smoothed[:, -9:], expected[:, -9:], rtol=0, atol=1e-12)


def test_the_border_gain_is_that_of_zero_extension():
    ones = torch.ones(1, 1, 100, dtype=torch.float64)
    gain = smooth(ones, taps_like(ones))[0, 0]
    assert abs(float(gain[0]) - 0.59) < 0.005
    np.testing.assert_allclose(gain[9:-9], 1, atol=1e-14)
    assert float(gain[8]) < 1 - 1e-3


@given(seed=st.integers(0, 2**31), samples=st.integers(1, 60), kernels=st.sampled_from(sorted(FROM_CENTRE)))
@settings(max_examples=30, deadline=None)
def test_smoothing_stays_in_the_ball_and_is_its_own_adjoint(seed: int, samples: int, kernels: str):
    rng = np.random.default_rng(seed)
    first, second = (torch.from_numpy(rng.uniform(-1, 1, (2, 1, samples))) for _ in range(2))
    taps = taps_like(first, kernels)
    assert smooth(first, taps).abs().max() <= first.abs().max() + 1e-15
    left, right = (smooth(first, taps) * second).sum(), (first * smooth(second, taps)).sum()
    torch.testing.assert_close(left, right, rtol=0, atol=1e-12)


@pytest.mark.parametrize(("size", "sigma"), [(5, 1.0), (19, 10.0), (1, 3.0)])
def test_a_kernel_is_the_sampled_gaussian(size: int, sigma: float):
    np.testing.assert_allclose(gaussian(size, sigma), kernel_by_hand(size, sigma), rtol=1e-14)


def test_the_sets_have_25_and_5_kernels():
    assert len(set(kernel_pairs("nest25"))) == 25
    assert kernel_pairs("zip5") == [(5, 1), (7, 3), (11, 5), (15, 7), (19, 10)]
    with pytest.raises(ValueError, match="kernels 'nest' is none of nest25, zip5"):
        kernel_pairs("nest")


def test_taps_take_dtype_and_device_of_the_signal():
    reference = torch.zeros(1, 1, 5, dtype=torch.float32)
    assert taps_like(reference).dtype == torch.float32
    assert taps_like(reference).device == reference.device
