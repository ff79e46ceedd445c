import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeguard.firmware_sim.faults import Fate, LinkFault
from edgeguard.firmware_sim.link import PATIENCE, Link
from edgeguard.firmware_sim.samples import Flag, Samples, join

PACKET = 16


class Script(LinkFault):
    """Fates by packet number."""

    name = "script"
    may_be_permanent = True

    def __init__(self, fates: dict[int, Fate]) -> None:
        super().__init__()
        object.__setattr__(self, "script", fates)

    def fates(self, first: int, last: int, packet: int, rate: float) -> dict[int, Fate]:
        return {number: fate for number, fate in self.script.items() if first <= number < last}  # type: ignore[attr-defined]


def carry(fates: dict[int, Fate], count: int, cuts: list[int] | None = None) -> tuple[Link, Samples]:
    link = Link([Script(fates)], 512.0, packet=PACKET)
    values = np.arange(1.0, count + 1)
    parts = [Samples(part, np.zeros(len(part), np.uint8)) for part in np.split(values, sorted(cuts or []))]
    return link, join([*(link.push(part) for part in parts), link.finish()])


def test_a_lost_packet_is_held_and_flagged() -> None:
    link, out = carry({2: Fate(lost=True)}, 100)
    expected = np.arange(1.0, 101)
    expected[32:48] = 32
    assert out.microvolts.tolist() == expected.tolist()
    assert np.flatnonzero(out.flags == Flag.LOST).tolist() == list(range(32, 48))
    assert np.flatnonzero(~out.valid).tolist() == list(range(32, 48))
    assert (link.lost, link.duplicated, link.late) == (1, 0, 0)


def test_duplicates_and_packets_that_are_waited_for_change_nothing() -> None:
    patience = PATIENCE // PACKET
    link, out = carry({1: Fate(copies=2), 3: Fate(late=patience), 9: Fate(late=1, copies=1), 12: Fate(copies=1)}, 320)
    assert out.microvolts.tolist() == list(range(1, 321)) and not out.flags.any()
    assert (link.lost, link.duplicated, link.late) == (0, 4, 2)


def test_a_packet_that_comes_too_late_is_lost() -> None:
    _, out = carry({3: Fate(late=PATIENCE // PACKET + 1)}, 320)
    assert np.flatnonzero(out.flags).tolist() == list(range(48, 64))
    assert set(out.microvolts[48:64]) == {48.0}


def test_the_first_and_the_last_packet_can_be_lost() -> None:
    _, out = carry({0: Fate(lost=True), 3: Fate(lost=True)}, 64)
    assert out.microvolts.tolist() == [0] * 16 + list(range(17, 49))
    assert np.flatnonzero(out.flags).tolist() == list(range(16))


fates = st.dictionaries(
    st.integers(0, 24), st.builds(Fate, st.booleans(), st.integers(0, 2), st.integers(0, 7)), max_size=8
)


@settings(max_examples=80, deadline=None)
@given(fates=fates, cuts=st.lists(st.integers(0, 400), max_size=10))
def test_every_sample_is_its_own_or_held_and_flagged(fates: dict[int, Fate], cuts: list[int]) -> None:
    _, out = carry(fates, 400, cuts)
    values = np.arange(1.0, len(out.flags) + 1)
    arrived = out.flags == 0
    assert np.array_equal(out.microvolts[arrived], values[arrived])
    held = np.maximum.accumulate(np.where(arrived, values, 0))
    assert np.array_equal(out.microvolts, held)
    for number in range(25):
        fate = fates.get(number, Fate())
        own = arrived[number * PACKET : (number + 1) * PACKET]
        if fate.lost:
            assert not own.any()
        elif not fate.late or (len(own) and sum(f.lost or f.late > 0 for f in fates.values()) == 1 and fate.late <= 4):
            assert own.all()
    _, whole = carry(fates, 400)
    assert np.array_equal(out.microvolts, whole.microvolts) and np.array_equal(out.flags, whole.flags)


@pytest.mark.parametrize("at", [10, 70, 100, 133, 200])
def test_a_restart_changes_nothing(at: int) -> None:
    script = {2: Fate(late=3), 4: Fate(lost=True), 7: Fate(late=2, copies=1), 11: Fate(late=6)}
    values = np.arange(1.0, 301)
    link = Link([Script(script)], 512.0, packet=PACKET)
    first = link.push(Samples(values[:at], np.zeros(at, np.uint8)))
    state, link = link.state(), Link([Script(script)], 512.0, packet=PACKET)
    link.restore(state)
    rest = link.push(Samples(values[at:], np.zeros(300 - at, np.uint8)))
    out, (_, whole) = join([first, rest, link.finish()]), carry(script, 300)
    assert np.array_equal(out.microvolts, whole.microvolts) and np.array_equal(out.flags, whole.flags)
