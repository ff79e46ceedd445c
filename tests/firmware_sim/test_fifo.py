import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeguard.errors import InputError
from edgeguard.firmware_sim.fifo import Fifo


@given(st.integers(1, 40), st.lists(st.one_of(st.integers(0, 50), st.none()), max_size=40))
def test_delivers_in_order_or_loses_everything_since_the_last_read(depth: int, steps: list[int | None]) -> None:
    """None reads, a number writes that many samples; a list is the oracle."""
    fifo = Fifo(depth, threshold=1)
    held: list[float] = []
    clock = lost = overflows = 0
    for step in [*steps, None]:
        if step is not None:
            chunk = np.arange(clock, clock + step, dtype=np.float32)
            clock += step
            held.extend(chunk.tolist())
            fifo.write(chunk)
            assert fifo.ready == bool(held)
            continue
        samples, missing = fifo.read()
        if len(held) > depth:
            lost += len(held)
            overflows += 1
            assert len(samples) == 0 and missing == len(held)
        else:
            assert samples.tolist() == held and missing == 0
        held.clear()
    assert (fifo.lost, fifo.overflows) == (lost, overflows)


def test_interrupts_at_the_threshold() -> None:
    fifo = Fifo(32, threshold=16)
    fifo.write(np.zeros(15))
    assert not fifo.ready
    fifo.write(np.zeros(1))
    assert fifo.ready
    fifo.read()
    assert not fifo.ready


@pytest.mark.parametrize(("depth", "threshold"), [(32, 33), (32, 0), (0, 0)])
def test_refuses_a_threshold_that_the_depth_cannot_hold(depth: int, threshold: int) -> None:
    with pytest.raises(InputError, match="chunk"):
        Fifo(depth, threshold=threshold)
