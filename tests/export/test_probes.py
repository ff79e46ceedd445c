"""Built-in windows: deterministic, whole microvolts, and not all alike."""

import numpy as np
import pytest

from edgeguard.export.probes import probe_windows


@pytest.mark.parametrize(("window", "rate"), [(9000, 300.0), (600, 300.0), (187, 125.0), (250, 50.0), (1, 300.0)])
def test_windows_of_any_model(window: int, rate: float) -> None:
    ecg = probe_windows(12, window=window, sampling_rate=rate)
    assert ecg.shape == (12, 1, window) and ecg.dtype == np.float32
    np.testing.assert_array_equal(ecg, np.rint(ecg))
    assert not ecg[0].any() and (ecg[1] == 5000).all() and (ecg[2] == -5000).all()
    if window > 1:
        assert len(np.unique(ecg.reshape(12, -1), axis=0)) == 12


def test_they_depend_on_the_seed_only() -> None:
    few, many = (probe_windows(n, window=600, sampling_rate=300.0) for n in (7, 20))
    np.testing.assert_array_equal(few, many[:7])
    assert (probe_windows(7, window=600, sampling_rate=300.0, seed=1)[6] != few[6]).any()
