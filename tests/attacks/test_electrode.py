"""The front end in torch against the simulator that runs it sample by sample."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import resample_poly, sosfilt

from edgeguard.attacks.electrode import CausalFilter, ElectrodePath, Resample
from edgeguard.ecg.front_end import PRESETS, Electrode, FrontEnd, design_resampling, find_front_end
from edgeguard.firmware_sim.sensor import SensorChain


def quiet(front_end: FrontEnd) -> FrontEnd:
    """The same without what nobody can know: noise, contact and clock error. The half-cell potential stays."""
    return replace(front_end, noise=0.0, clock_error=0.0, electrode=Electrode(offset=front_end.electrode.offset))


def played(front_end: FrontEnd, ecg: np.ndarray, source_rate: float, model_rate: float) -> np.ndarray:
    """float32 [m]: what the simulator makes of ecg [n]."""
    chain = SensorChain(front_end, source_rate, model_rate)
    return np.concatenate([chain.push(ecg).microvolts, chain.finish().microvolts])


def beats(count: int, rate: float, seed: int = 0) -> np.ndarray:
    """[count] microvolts: narrow peaks, slow waves and a little of everything."""
    rng = np.random.default_rng(seed)
    t = np.arange(count) / rate
    return (
        900 * np.exp(-(((t % 0.83) - 0.3) ** 2) / 2e-4)
        + 150 * np.sin(2 * np.pi * 0.3 * t)
        + rng.normal(0, 20, count)
        + rng.uniform(-300, 300)
    )


@pytest.mark.parametrize("name", PRESETS)
@pytest.mark.parametrize(("source_rate", "model_rate"), [(300.0, 300.0), (512.0, 300.0), (250.0, 200.0)])
def test_the_module_computes_what_the_simulator_does(name: str, source_rate: float, model_rate: float) -> None:
    front_end = quiet(find_front_end(name))
    ecg = np.stack([beats(int(7.3 * source_rate), source_rate, seed) for seed in range(2)])
    with torch.no_grad():
        ours = ElectrodePath(front_end, source_rate, model_rate)(torch.from_numpy(ecg)[:, None])[:, 0].numpy()
    theirs = np.stack([played(front_end, one, source_rate, model_rate) for one in ecg])
    assert ours.shape == theirs.shape
    assert ours.dtype == theirs.dtype == np.float32
    apart = np.abs(ours - theirs)
    assert apart.max() <= 1.2 * front_end.step + 1e-4
    assert (apart > 1e-4).mean() < 1e-3


@pytest.mark.parametrize("name", ["max30003", "ad8233-12bit"])
def test_a_signal_at_the_rails_is_cut_as_the_converter_cuts_it(name: str) -> None:
    front_end = replace(quiet(find_front_end(name)), restore=0.0)
    ecg = 60 * beats(2100, 300.0)
    assert np.abs(ecg).max() > front_end.full_scale
    with torch.no_grad():
        ours = ElectrodePath(front_end, 300.0, 300.0)(torch.from_numpy(ecg)[None, None])[0, 0].numpy()
    theirs = played(front_end, ecg, 300.0, 300.0)
    assert np.abs(ours - theirs).max() <= 1.2 * front_end.step + 1e-2


def test_an_ideal_front_end_at_the_models_rate_is_no_front_end() -> None:
    ecg = torch.from_numpy(beats(900, 300.0)).float()[None, None]
    assert torch.equal(ElectrodePath(find_front_end("ideal"), 300.0, 300.0)(ecg), ecg)


@given(up=st.integers(1, 40), down=st.integers(1, 40), count=st.integers(1, 200), aligned=st.booleans())
@settings(max_examples=40, deadline=None)
def test_resampling_is_the_sum_that_its_design_names(up: int, down: int, count: int, aligned: bool) -> None:
    design = design_resampling(float(down), float(up))
    samples = np.random.default_rng(up * down + count).normal(size=count)
    out = Resample(design, aligned=aligned)(torch.from_numpy(samples)[None, None])[0, 0].numpy()
    first = design.delay if aligned else 0
    expected = [
        sum(
            design.taps[m * design.down - i * design.up] * samples[i]
            for i in range(count)
            if 0 <= m * design.down - i * design.up < len(design.taps)
        )
        for m in range(first, -(-count * design.up // design.down))
    ]
    np.testing.assert_allclose(out, np.array(expected), atol=1e-12)


def test_aligned_resampling_puts_a_slow_wave_where_it_was() -> None:
    """An independent implementation: scipy's polyphase resampler, away from the ends."""
    wave = np.sin(2 * np.pi * 3 * np.arange(900) / 300)
    ours = Resample(design_resampling(300.0, 512.0), aligned=True)(torch.from_numpy(wave)[None, None])[0, 0].numpy()
    theirs = resample_poly(wave, 128, 75)
    np.testing.assert_allclose(ours[100:1400], theirs[100:1400], atol=2e-3)


def test_a_filter_is_the_recursion_and_starts_settled() -> None:
    sections = find_front_end("max30003").firmware_sections(512.0)
    samples = np.random.default_rng(0).normal(size=(2, 1, 700))
    module = CausalFilter(sections)
    at_rest = module(torch.from_numpy(samples), settled=torch.tensor(0.0)).numpy()
    np.testing.assert_allclose(at_rest, sosfilt(sections, samples), atol=1e-10)
    level = torch.full((1, 1, 700), 250.0, dtype=torch.float64)
    np.testing.assert_allclose(module(level, settled=level[..., :1]).numpy(), 250.0, atol=1e-9)


def test_the_gradient_is_that_of_the_linear_chain() -> None:
    """Straight through the codes: finite differences of the chain without them."""
    front_end = quiet(find_front_end("ad8233-12bit"))
    rng = np.random.default_rng(1)
    ecg = torch.from_numpy(beats(600, 300.0))[None, None].requires_grad_(True)
    weights = torch.from_numpy(rng.normal(size=600))
    (ElectrodePath(front_end, 300.0, 300.0)(ecg)[0, 0].double() @ weights).backward()
    linear = ElectrodePath(replace(front_end, bits=0), 300.0, 300.0)
    direction = torch.from_numpy(rng.normal(size=(1, 1, 600)))
    with torch.no_grad():
        moved = (linear(ecg + 1000 * direction) - linear(ecg)).double()[0, 0] @ weights / 1000
    assert ecg.grad is not None
    assert float((ecg.grad * direction).sum()) == pytest.approx(float(moved), rel=1e-4)


def test_no_gradient_comes_back_from_a_rail() -> None:
    front_end = replace(
        quiet(find_front_end("max30003")), high_pass=0.0, firmware_low_pass=0.0, notch=0.0, sampling_rate=None
    )
    front_end = replace(front_end, electrode=Electrode())
    ecg = torch.tensor([[[0.0, 2 * front_end.full_scale, -2 * front_end.full_scale, 10.0]]], requires_grad=True)
    ElectrodePath(front_end, 300.0, 300.0)(ecg).sum().backward()
    assert ecg.grad is not None
    assert ecg.grad.flatten().tolist() == [1.0, 0.0, 0.0, 1.0]
