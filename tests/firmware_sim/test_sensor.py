from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import butter, lfilter

from edgeguard.ecg.front_end import PRESETS, Electrode, FrontEnd
from edgeguard.ecg.synthetic import synthesise
from edgeguard.errors import InputError
from edgeguard.firmware_sim.amplifier import Amplifier
from edgeguard.firmware_sim.electrode import LeadOffDetector
from edgeguard.firmware_sim.faults import parse_fault
from edgeguard.firmware_sim.samples import Flag
from edgeguard.firmware_sim.sensor import SensorChain

HARDWARE = ("max30003", "ads1292", "ad8233-12bit")
ALL_FAULTS = [
    parse_fault(text)
    for text in (
        "lead-off:at=1,for=0.5",
        "motion:every=2,for=0.5",
        "mains:level=200",
        "clock-drift:ppm=300,wander=50,period=5",
        "lost-packets:at=2+2.6,for=0.05",
        "lost-packets:share=0.02",
        "late:every=1,by=3",
        "duplicated:every=1,for=0.1",
        "fifo-overflow:at=3",
        "saturation:at=2.2,for=0.2",
        "brown-out:at=3.5,for=0.4,save=0.7",
    )
]


@pytest.fixture(scope="module")
def ecg() -> np.ndarray:
    """5 s at 300 Hz."""
    return synthesise("N", np.random.default_rng(1), duration=5.0)


def quiet(name: str, **changes: object) -> FrontEnd:
    """A preset without noise, drift, steps and clock error."""
    return replace(PRESETS[name], noise=0.0, clock_error=0.0, electrode=Electrode(), **changes)  # type: ignore[arg-type]


def play(chain: SensorChain, ecg: np.ndarray, chunk: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    chunk = chunk or len(ecg)
    parts = [chain.push(ecg[start : start + chunk]) for start in range(0, len(ecg), chunk)] + [chain.finish()]
    return np.concatenate([p.microvolts for p in parts]), np.concatenate([p.flags for p in parts])


def test_ideal_at_the_models_rate_is_the_identity(ecg: np.ndarray) -> None:
    microvolts, flags = play(SensorChain("ideal", 300, 300), ecg)
    assert microvolts.dtype == np.float32 and np.array_equal(microvolts, ecg)
    assert flags.dtype == np.uint8 and not flags.any()


@pytest.mark.parametrize(
    ("name", "full_scale", "step"),
    [("max30003", 50_000, 0.381470), ("ads1292", 403_333.3, 0.0480811), ("ad8233-12bit", 16_500, 8.05664)],
)
def test_presets_have_the_data_sheets_full_scale_and_step(name: str, full_scale: float, step: float) -> None:
    assert PRESETS[name].full_scale == pytest.approx(full_scale, rel=1e-6)
    assert PRESETS[name].step == pytest.approx(step, rel=1e-5)


@pytest.mark.parametrize("name", HARDWARE)
def test_codes_are_the_high_passed_signal_in_whole_steps(name: str, ecg: np.ndarray) -> None:
    part = quiet(name)
    samples = Amplifier(part, 512.0).push(ecg.astype(float), 0)
    if part.high_pass:
        expected = lfilter(*butter(1, part.high_pass, "highpass", fs=512.0), ecg.astype(float))
    else:
        expected = ecg.astype(float)
    codes = samples.microvolts / part.step
    np.testing.assert_allclose(codes, np.rint(codes), atol=1e-6)
    assert np.abs(samples.microvolts - expected).max() <= part.step / 2 * (1 + 1e-6)
    assert not samples.flags.any()


def test_end_codes_are_those_of_twos_complement_and_flagged() -> None:
    part = quiet("ads1292", bits=12, reference=1.65e6, gain=100.0)
    volts = np.array([-1e6, -16_500.0, 0.0, 16_491.0, 16_600.0])
    samples = Amplifier(part, 512.0).push(volts, 0)
    assert (samples.microvolts / part.step).tolist() == [-2048, -2048, 0, 2047, 2047]
    assert (samples.flags == Flag.SATURATED).tolist() == [True, True, False, True, True]


def test_after_the_rail_the_high_pass_decays_with_its_time_constant() -> None:
    """From +-650 mV of input range to the rail of 50 mV: tau ln 13, tau = 1 / (2 pi 0.5 Hz)."""
    samples = Amplifier(quiet("max30003"), 512.0).push(np.full(2048, 2e6), 0)
    railed = np.flatnonzero(samples.microvolts >= 49_999)
    assert railed[0] == 0 and railed[-1] == pytest.approx(512 * np.log(13) / np.pi, abs=3)


def test_noise_has_the_stated_level_and_follows_the_seed() -> None:
    def converted(seed: int) -> np.ndarray:
        part = replace(PRESETS["max30003"], electrode=Electrode())
        return Amplifier(part, 512.0, seed=seed).push(np.zeros(40_000), 0).microvolts

    expected = np.hypot(PRESETS["max30003"].noise, PRESETS["max30003"].step / np.sqrt(12))
    assert converted(0).std() == pytest.approx(expected, rel=0.02)
    assert np.array_equal(converted(0), converted(0)) and not np.array_equal(converted(0), converted(1))


@pytest.mark.parametrize("name", HARDWARE)
def test_a_heartbeat_comes_through_with_its_offset_removed(name: str, ecg: np.ndarray) -> None:
    """Band-limited to 0.5 to 40 Hz at the source, the signal changes little but for the lag."""
    microvolts, flags = play(SensorChain(name, 300, 300), ecg)
    assert len(microvolts) == len(ecg) and not flags.any()
    lag = int(np.argmax(np.correlate(microvolts, ecg, "full"))) - len(ecg) + 1
    assert 0 < lag < 40
    assert np.corrcoef(microvolts[lag:], ecg[: len(ecg) - lag])[0, 1] > 0.95


def test_the_stated_delay_is_the_resampling_filters() -> None:
    """Without filters but the resampling to 512 Hz and back, the output is the input, `delay` samples later."""
    part = replace(PRESETS["ideal"], sampling_rate=512.0)
    tone = 100 * np.sin(2 * np.pi * 9 * np.arange(1500) / 300)
    chain = SensorChain(part, 300, 300)
    microvolts, _ = play(chain, tone)
    inner = slice(60, 1400)
    np.testing.assert_allclose(microvolts[chain.delay :][inner], tone[: len(tone) - chain.delay][inner], atol=0.5)


@pytest.mark.parametrize(("source", "model"), [(300, 300), (512, 300), (511.562, 300), (128, 250)])
def test_the_stream_is_as_long_as_the_signal(source: float, model: float) -> None:
    microvolts, _ = play(SensorChain(quiet("max30003"), source, model), np.zeros(round(20 * source)))
    assert len(microvolts) == pytest.approx(20 * model, abs=1.5)


@pytest.mark.parametrize("chunk", [1, 7, 16, 32, 300])
@pytest.mark.parametrize("faults", [[], ALL_FAULTS], ids=["well", "all faults"])
@pytest.mark.parametrize("name", ["max30003", "ad8233-12bit"])
def test_chunks_change_no_bit(name: str, faults: list, chunk: int, ecg: np.ndarray) -> None:
    ecg = ecg if chunk > 1 else ecg[:600]
    whole = play(SensorChain(name, 300, 300, faults=faults, seed=5), ecg)
    cut = play(SensorChain(name, 300, 300, faults=faults, seed=5), ecg, chunk)
    assert np.array_equal(whole[0], cut[0]) and np.array_equal(whole[1], cut[1])


@settings(max_examples=15, deadline=None)
@given(
    name=st.sampled_from(sorted(PRESETS)),
    faults=st.lists(st.sampled_from(ALL_FAULTS), max_size=4, unique=True),
    cuts=st.lists(st.integers(0, 1500), min_size=1, max_size=8),
    restart=st.integers(0, 8),
)
def test_any_chunks_and_a_restart_change_no_bit(name: str, faults: list, cuts: list[int], restart: int) -> None:
    ecg = 300 * np.sin(np.arange(1500) / 9)
    whole = play(SensorChain(name, 512, 300, faults=faults), ecg)
    chain, parts = SensorChain(name, 512, 300, faults=faults), []
    for number, part in enumerate(np.split(ecg, sorted(cuts))):
        if number == restart:
            state, chain = chain.state(), SensorChain(name, 512, 300, faults=faults)
            chain.restore(state)
        parts.append(chain.push(part))
    parts.append(chain.finish())
    assert np.array_equal(whole[0], np.concatenate([p.microvolts for p in parts]))
    assert np.array_equal(whole[1], np.concatenate([p.flags for p in parts]))


@settings(deadline=None)
@given(
    contact=st.lists(st.tuples(st.booleans(), st.integers(1, 9)), min_size=1, max_size=12),
    latency=st.integers(0, 6),
    cut=st.integers(0, 100),
)
def test_the_lead_off_flag_follows_after_its_latency(contact, latency: int, cut: int) -> None:
    is_open = np.concatenate([np.full(length, value) for value, length in contact])
    flag, run, expected = False, 0, []
    for value in is_open:
        run = run + 1 if value != flag else 0
        if run > latency:
            flag, run = value, 0
        expected.append(Flag.LEAD_OFF if flag else 0)
    detector = LeadOffDetector(latency)
    ours = np.concatenate([detector.push(is_open[:cut]), detector.push(is_open[cut:])])
    assert ours.tolist() == expected


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SensorChain("ad8232", 300, 300), "--front-end ad8232: no such front end; did you mean ad"),
        (lambda: SensorChain("max30003", 0, 300), "sampling rate: 0 Hz"),
        (lambda: SensorChain(quiet("max30003", sampling_rate=64.0), 300, 300), "a filter at 40 Hz needs more than 64"),
    ],
)
def test_bad_settings_are_refused_in_a_line(make, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        make()
    assert "\n" not in str(caught.value)


def test_a_sample_that_is_no_number_is_named() -> None:
    chain = SensorChain("max30003", 300, 300)
    chain.push(np.zeros(100))
    with pytest.raises(InputError, match="sample 103 is not a number"):
        chain.push(np.array([0, 0, 0, np.nan]))


def test_the_state_of_another_front_end_is_refused() -> None:
    with pytest.raises(InputError, match="state: memory is missing or of another front end"):
        SensorChain("ads1292", 300, 300).restore(SensorChain("max30003", 300, 300).state())
