import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from edgeguard.ecg.windows import to_window, validity_mask


def test_an_odd_rest_puts_the_smaller_half_on_the_left():
    window, left, length = to_window(np.array([1, 2, 3, 4]), 9)
    assert (left, length) == (2, 4)
    assert window.tolist() == [0, 0, 1, 2, 3, 4, 0, 0, 0]


@given(st.integers(0, 60), st.integers(1, 40))
def test_window_keeps_the_first_samples_in_the_middle_of_zeros(samples: int, window: int):
    ecg = np.arange(1, samples + 1, dtype=np.int16)
    out, left, length = to_window(ecg, window)
    right = window - left - length
    assert out.shape == (window,) and out.dtype == ecg.dtype
    assert length == min(samples, window)
    assert right - left in (0, 1)
    assert np.array_equal(out, np.pad(ecg[:window], (left, right)))


@given(st.lists(st.integers(1, 40), min_size=1, max_size=5), st.integers(1, 30))
def test_mask_is_true_exactly_where_samples_lie(lengths: list[int], window: int):
    placed = [to_window(np.ones(n), window) for n in lengths]
    mask = validity_mask(np.array([p[1] for p in placed]), np.array([p[2] for p in placed]), window)
    assert mask.shape == (len(lengths), 1, window) and mask.dtype == bool
    assert np.array_equal(mask[:, 0], np.stack([p[0] for p in placed]) == 1)
