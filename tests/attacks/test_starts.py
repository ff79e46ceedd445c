"""Start points: the nearest records that serve, then noise, and padding is left alone."""

import numpy as np
import pytest

from edgeguard.attacks.starts import nearest_starts, noise_starts

T = 300


@pytest.fixture
def records() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(5)
    mask = np.ones((12, 1, T), bool)
    mask[9, 0, :40] = mask[9, 0, -30:] = False
    return np.where(mask, np.rint(rng.normal(0, 100, (12, 1, T))), 0).astype(np.float32), mask


def test_starts_are_the_nearest_usable_records(records: tuple) -> None:
    ecg, mask = records
    usable = np.array([1, 2, 4, 5])
    starts = nearest_starts(ecg, mask[9], 9, usable, np.random.default_rng(0), 3)
    blended = [np.where(mask[9], ecg[j], ecg[9]) for j in usable]
    order = np.argsort([np.linalg.norm(b - ecg[9]) for b in blended])[:3]
    np.testing.assert_array_equal(starts, np.stack([blended[j] for j in order]))
    assert len(nearest_starts(ecg, mask[9], 9, np.array([], int), np.random.default_rng(0), 3)) == 0


def test_noise_starts_grow_and_leave_padding(records: tuple) -> None:
    ecg, mask = records
    starts = noise_starts(ecg[9], mask[9], np.random.default_rng(0))
    assert starts.shape == (3, 1, T) and starts.dtype == np.float32
    assert not (starts - ecg[9])[:, ~mask[9]].any()
    assert (np.diff(np.linalg.norm(starts - ecg[9], axis=(1, 2))) > 0).all()
