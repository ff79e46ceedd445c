"""The noise bank: Gaussian, of unit variance, of the spectrum it is named for, and the caller's own stream."""

import numpy as np
import scipy.stats

from edgeguard.attacks.noise import SPAN, NoiseBank, hanning_bank, white_bank


def power(bank: NoiseBank, bins: int = 64) -> np.ndarray:
    """Mean periodogram of 2,000 slices, without 0 Hz."""
    drawn = bank.draw(np.random.default_rng(3), 2000)
    return np.mean(np.abs(np.fft.rfft(drawn[:, : 2 * bins])) ** 2, axis=0)[1:] / (2 * bins)


def test_white_noise_is_standard_normal_and_flat() -> None:
    bank = white_bank(500)
    assert abs(bank.samples.mean()) < 0.01
    assert abs(bank.samples.std() - 1) < 0.01
    assert abs(scipy.stats.kurtosis(bank.samples)) < 0.05
    np.testing.assert_allclose(power(bank), 1, atol=0.2)


def test_hanning_noise_has_the_spectrum_of_filtered_white_noise() -> None:
    taps = np.hanning(21)
    white = np.random.default_rng(0).standard_normal((3000, 148))
    filtered = np.stack([np.convolve(row, taps, mode="valid") for row in white])
    expected = np.mean(np.abs(np.fft.rfft(filtered)) ** 2, axis=0)[1:] / 128 / (taps**2).sum()
    found = power(hanning_bank(500, window=21))
    np.testing.assert_allclose(found[:12], expected[:12], rtol=0.2)
    # the leakage of a finite window is all there is at high frequencies
    assert found[30:].max() < 1e-3 * found[:4].max()


def test_a_window_of_three_leaves_the_noise_white() -> None:
    np.testing.assert_allclose(hanning_bank(50, window=3).samples, white_bank(50).samples, atol=1e-5)


def test_slices_are_the_callers_to_change_and_the_bank_is_not() -> None:
    bank = white_bank(100)
    before = bank.samples.copy()
    bank.draw(np.random.default_rng(0), 5)[:] = 7
    np.testing.assert_array_equal(bank.samples, before)
    assert not bank.samples.flags.writeable


def test_draws_depend_on_the_stream_alone_and_differ() -> None:
    bank = white_bank(200)
    drawn = bank.draw(np.random.default_rng(1), 40)
    assert drawn.shape == (40, 200) and drawn.dtype == np.float32
    np.testing.assert_array_equal(bank.draw(np.random.default_rng(1), 40), drawn)
    cosines = np.corrcoef(drawn) - np.eye(40)
    assert np.abs(cosines).max() < 0.4  # six standard deviations of independent rows
    assert not np.array_equal(bank.draw(np.random.default_rng(2), 40), drawn)


def test_a_slice_may_be_longer_than_the_stretch() -> None:
    bank = white_bank(SPAN + 10)
    drawn = bank.draw(np.random.default_rng(0), 1)[0]
    np.testing.assert_array_equal(drawn[:10], drawn[SPAN:])
