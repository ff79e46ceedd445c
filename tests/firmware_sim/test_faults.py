from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeguard.ecg.front_end import PRESETS
from edgeguard.errors import InputError
from edgeguard.firmware_sim.conditioner import Conditioner
from edgeguard.firmware_sim.faults import (
    FAULTS,
    BrownOut,
    Fault,
    FifoOverflow,
    LeadOff,
    Mains,
    Motion,
    bind,
    clock,
    parse_fault,
)
from edgeguard.firmware_sim.filters import SectionFilter
from edgeguard.firmware_sim.samples import GAP, Flag, Samples
from edgeguard.firmware_sim.sensor import SensorChain

RATE = 512.0
PART = replace(PRESETS["max30003"], clock_error=0.0)


def play(*faults: str, seconds: float = 12.0) -> tuple[np.ndarray, np.ndarray]:
    """Microvolts and flags at 300 Hz of a slow wave; sample 300 s is second s, `delay` later."""
    chain = SensorChain(PART, 300, 300, faults=[parse_fault(fault) for fault in faults])
    ecg = 400 * np.sin(2 * np.pi * 1.3 * np.arange(round(seconds * 300)) / 300)
    parts = [chain.push(ecg), chain.finish()]
    return np.concatenate([p.microvolts for p in parts]), np.concatenate([p.flags for p in parts])


def seconds_with(flags: np.ndarray, flag: int) -> tuple[float, float]:
    marked = np.flatnonzero(flags & flag)
    return marked[0] / 300, (marked[-1] + 1) / 300


@pytest.fixture(scope="module")
def undisturbed() -> np.ndarray:
    microvolts, flags = play()
    assert not flags.any()
    return microvolts


@pytest.mark.parametrize("name", sorted(FAULTS))
def test_every_fault_is_parsed_by_its_name(name: str) -> None:
    text = f"{name}:seed=4" if name == "clock-drift" else f"{name}:at=1.5+20,for=0.25,seed=4"
    fault = parse_fault(text)
    assert type(fault) is FAULTS[name] and fault.seed == 4
    assert name == "clock-drift" or (fault.at, fault.for_) == ((1.5, 20.0), 0.25)


def test_settings_are_read_with_their_types() -> None:
    assert parse_fault("motion: every=120, for=4, level=2000") == Motion(every=120, for_=4, level=2000)
    assert parse_fault("fifo-overflow:at=3,depth=64") == FifoOverflow(at=(3.0,), depth=64)
    assert parse_fault("mains") == Mains()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"--fault \(empty\): no such fault; choose lost-packets, fifo-overflow"),
        ("flood:at=1", "--fault flood: no such fault"),
        ("motion", "motion: it needs a time; add at=SECONDS or every=SECONDS"),
        ("motion:at", "setting at: no value; write at=VALUE"),
        ("motion:at=1,loud=3", "setting loud: unknown; choose at, every, for, seed or level"),
        ("motion:at=1,,", r"setting \(empty\): unknown"),
        ("motion:at=1,at=2", "at is given twice"),
        ("motion:at=soon", "at=soon is not a number; mend at"),
        ("motion:at=1,level=nan", "level=nan is not a number"),
        ("motion:at=-1", "at lists seconds from 0 on"),
        ("motion:at=1,for=0", "for=0 must be above 0"),
        ("motion:every=2,for=3", "every=2 must be at least for=3"),
        ("motion:at=1,seed=1.5", "seed=1.5 is not a whole number"),
        ("motion:at=1,seed=-1", "seed=-1 must not be negative"),
        ("late:at=1,by=0", "by=0 must be at least 1 packet"),
        ("lost-packets", "it needs share=0..1, or else at"),
        ("lost-packets:share=2", "it needs share=0..1"),
        ("lost-packets:share=0.1,at=3", "it needs share=0..1, or else at"),
        ("clock-drift:at=3", "it lasts for the whole stream"),
        ("clock-drift:ppm=1e6", "clock: 1e[+]06 ppm"),
        ("brown-out:at=1,save=0", "save=0 must be above 0 s"),
    ],
)
def test_bad_texts_are_refused_in_one_line(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        parse_fault(text)
    assert "\n" not in str(caught.value)


@settings(max_examples=60, deadline=None)
@given(
    at=st.lists(st.floats(0, 50), max_size=3),
    every=st.sampled_from([0.0, 1.0, 3.7]),
    length=st.floats(0.001, 1.0),
    seed=st.integers(0, 50),
    cuts=st.lists(st.integers(0, 20_000), max_size=6),
)
def test_events_do_not_depend_on_where_one_looks(at, every: float, length: float, seed: int, cuts) -> None:
    if not (at or every):
        at = [1.0]
    fault = LeadOff(at=tuple(at), every=every, for_=length, seed=seed)

    def struck(start: int, stop: int) -> np.ndarray:
        mask = np.zeros(stop - start, bool)
        for begin, end in fault.spans(start, stop, RATE):
            assert begin < stop and end > start
            mask[max(begin - start, 0) : end - start] = True
        return mask

    whole = struck(0, 20_000)
    parts = [struck(start, stop) for start, stop in pairwise([0, *sorted(cuts), 20_000])]
    assert np.array_equal(np.concatenate(parts), whole)


def test_every_puts_one_event_into_each_stretch_and_the_seed_moves_it() -> None:
    spans = LeadOff(every=2.0, for_=0.5).spans(0, 512 * 2 * 30, RATE)
    assert [begin // 1024 for begin, _ in spans] == list(range(30)) == [(end - 1) // 1024 for _, end in spans]
    assert spans != LeadOff(every=2.0, for_=0.5, seed=1).spans(0, 512 * 2 * 30, RATE)


def test_two_faults_of_a_kind_strike_apart() -> None:
    first, second = bind([LeadOff(every=9.0), LeadOff(every=9.0)], seed=0)
    assert first.spans(0, 50_000, RATE) != second.spans(0, 50_000, RATE)
    assert bind([first], seed=0) != bind([first], seed=1)


def test_lead_off_is_flagged_after_its_latency_and_rails(undisturbed: np.ndarray) -> None:
    microvolts, flags = play("lead-off:at=4,for=2")
    start, end = seconds_with(flags, Flag.LEAD_OFF)
    assert start == pytest.approx(4 + 0.14, abs=0.01) and end == pytest.approx(6 + 0.14, abs=0.1)
    assert seconds_with(flags, Flag.SATURATED)[0] == pytest.approx(4, abs=0.01)
    assert not (flags & GAP).any()
    assert np.array_equal(microvolts[:1200], undisturbed[:1200])
    assert np.abs(microvolts[1250:1300]).min() > 10_000


def test_an_open_electrode_hums_where_detection_does_not_pull() -> None:
    chain = SensorChain(
        replace(PART, lead_off_rails=False, notch=0.0), 300, 300, faults=[parse_fault("lead-off:at=2,for=4")]
    )
    samples = chain.push(np.zeros(1800))
    assert not (samples.flags & Flag.SATURATED).any()
    spectrum = np.abs(np.fft.rfft(samples.microvolts[900:1500]))
    assert np.argmax(spectrum[4:]) + 4 == 50 * 600 // 300


def test_saturation_is_flagged_and_recovers(undisturbed: np.ndarray) -> None:
    microvolts, flags = play("saturation:at=4,for=0.5")
    start, end = seconds_with(flags, Flag.SATURATED)
    assert start == pytest.approx(4, abs=0.01) and 4.5 < end < 6.5
    assert np.abs(microvolts[-300:] - undisturbed[-300:]).max() < 10


def test_motion_stays_within_its_bursts() -> None:
    fault = Motion(at=(2.0,), for_=1.5)
    moved = fault.disturb(np.zeros(4096), 0, RATE)
    inside = moved[1024 : 1024 + 768]
    assert not moved[:1024].any() and not moved[1024 + 768 :].any() and inside.std() > 100
    assert np.array_equal(fault.disturb(np.zeros(100), 1500, RATE), moved[1500:1600])


def test_mains_is_a_sine_of_its_level() -> None:
    hum = Mains(hz=60, level=300).disturb(np.zeros(1000), 5000, RATE)
    np.testing.assert_allclose(hum, 300 * np.sin(2 * np.pi * 60 * np.arange(5000, 6000) / RATE), atol=1e-6)


def test_clock_drift_adds_to_the_crystals_error() -> None:
    drifts = (parse_fault("clock-drift:ppm=100"), parse_fault("clock-drift:ppm=50,wander=5,period=60"))
    both = clock(drifts, 20.0)
    assert (both.error, both.wander, both.period) == (170.0, 5.0, 60.0)
    microvolts, _ = play("clock-drift:ppm=10000", seconds=30)
    assert len(microvolts) == pytest.approx(30 * 300 * 1.01, abs=2)
    with pytest.raises(InputError, match="two of them wander"):
        clock((drifts[1], drifts[1]), 0.0)


@pytest.mark.parametrize(
    ("fault", "first", "last"),
    [
        ("lost-packets:at=4,for=0.1", 4.0, 4.1),
        ("fifo-overflow:at=4,for=0.1", 4.0, 4.1),
        ("late:at=4,for=0.01,by=6", 4.0, 4.01),
        ("brown-out:at=4,for=1", 4.0, 5.0),
    ],
)
def test_gaps_are_flagged_keep_the_clock_and_heal(fault: str, first: float, last: float, undisturbed) -> None:
    """The flag reaches a packet (31 ms) and the filter's span (68 ms) further; the clock does not move."""
    microvolts, flags = play(fault)
    assert len(microvolts) == len(undisturbed)
    start, end = seconds_with(flags, GAP)
    assert first - 0.035 < start <= first + 0.005 and last <= end < last + 0.11
    assert np.array_equal(microvolts[:1180], undisturbed[:1180])
    assert np.array_equal(microvolts[-900:], undisturbed[-900:])


def test_a_stall_that_the_fifo_can_hold_loses_nothing(undisturbed: np.ndarray) -> None:
    microvolts, flags = play("fifo-overflow:every=1,for=0.03")
    assert np.array_equal(microvolts, undisturbed) and not flags.any()


def test_an_overflow_loses_all_since_the_last_read() -> None:
    """A read every 16 samples: a stall over samples 70 to 110 loses 64 to 112, the one to 90 fits into 32."""
    fault = FifoOverflow(at=(70 / RATE,), for_=40 / RATE)
    assert sorted(fault.fates(0, 100, 16, RATE)) == [4, 5, 6]
    assert FifoOverflow(at=(70 / RATE,), for_=20 / RATE).fates(0, 100, 16, RATE) == {}


@pytest.mark.parametrize("fault", ["duplicated:every=0.5,for=0.1", "late:every=1,by=4"])
def test_what_the_firmware_can_put_right_changes_nothing(fault: str, undisturbed: np.ndarray) -> None:
    microvolts, flags = play(fault)
    assert np.array_equal(microvolts, undisturbed) and not flags.any()


def test_lost_packets_come_at_their_share() -> None:
    chain = SensorChain(PART, 512, 300, faults=[parse_fault("lost-packets:share=0.05")])
    chain.push(np.zeros(512 * 120))
    assert chain.link.lost == pytest.approx(0.05 * 120 * 32, rel=0.25)


def test_a_brown_out_restarts_the_filters_from_what_was_saved() -> None:
    """Down from 4.6 to 5.5 s with states saved every 2 s: what follows is filtered from the state of second 4."""
    fault = BrownOut(at=(4.6,), for_=0.9, save=2)
    wave = 400 * np.sin(np.arange(512 * 8) / 50)
    down, up = round(4.6 * 512), round(4.6 * 512) + round(0.9 * 512)
    ours = Conditioner(PART, RATE, RATE, brown_outs=[fault]).push(Samples(wave, np.zeros(len(wave), np.uint8)))
    filters = SectionFilter(PART.firmware_sections(RATE))
    filters.settle(wave[0])
    parts = [filters.push(wave[:2048])]
    saved = filters.state()
    parts += [filters.push(wave[2048:down]), filters.push(np.full(up - down, wave[down - 1]))]
    filters.restore(saved)
    parts.append(filters.push(wave[up:]))
    np.testing.assert_array_equal(ours.microvolts, np.concatenate(parts).astype(np.float32))
    assert np.flatnonzero(ours.flags == Flag.BROWN_OUT).tolist() == list(range(down, up))


def test_every_fault_has_a_name_of_its_own() -> None:
    assert all(issubclass(kind, Fault) and kind.name == name for name, kind in FAULTS.items()) and len(FAULTS) == 10


@pytest.mark.parametrize("seed", range(20))
def test_a_short_burst_of_motion_is_finite(seed: int) -> None:
    """Half a second holds no frequency of some bands of friction: the nearest one stands for them."""
    fault = bind([parse_fault("motion:every=2,for=0.5")], seed)[0]
    disturbed = fault.disturb(np.zeros(1500), 0, 300.0)
    assert np.isfinite(disturbed).all() and disturbed.any()
