import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeguard.firmware_sim.ring import Ring


@given(st.integers(1, 20), st.lists(st.integers(0, 50), max_size=20))
def test_holds_the_last_window_of_everything_pushed(window: int, sizes: list[int]) -> None:
    ring = Ring(window)
    pushed = np.zeros(0, np.float32)
    for size in sizes:
        chunk = np.arange(len(pushed), len(pushed) + size, dtype=np.float32)
        pushed = np.concatenate([pushed, chunk])
        ring.push(chunk)
        assert ring.filled == min(len(pushed), window)
        if ring.full:
            np.testing.assert_array_equal(ring.latest(), pushed[-window:])


def test_never_hands_out_padding() -> None:
    ring = Ring(4)
    ring.push(np.ones(3))
    with pytest.raises(RuntimeError, match="3 of 4"):
        ring.latest()
    ring.push(np.ones(1))
    assert ring.latest().tolist() == [1, 1, 1, 1]
    ring.clear()
    with pytest.raises(RuntimeError, match="0 of 4"):
        ring.latest()


def test_refilled_after_clear_it_holds_new_samples_only() -> None:
    ring = Ring(4)
    ring.push(np.arange(7))
    ring.clear()
    ring.push(np.arange(10, 14))
    assert ring.latest().tolist() == [10, 11, 12, 13]


def test_allocates_nothing_after_its_start() -> None:
    """Every window is a contiguous view of the one buffer."""
    ring = Ring(8)
    owners = set()
    for start in range(0, 100, 3):
        ring.push(np.arange(start, start + 3))
        if ring.full:
            assert ring.latest().flags.c_contiguous and not ring.latest().flags.owndata
            owners.add(id(ring.latest().base))
    assert len(owners) == 1
