"""Distorted records are still records: as long, in microvolts, their padding silent, and drawn from seed and epoch."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from edgeguard.defenses.distortions import INVERTED, LEVELS_UV, NOISY, PACE, Distorter, Distortions

WINDOW, RATE = 3000, 300.0
KINDS = len(LEVELS_UV)
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def distorter() -> Distorter:
    return Distorter(WINDOW, RATE, CPU)


def chosen(
    count: int, *, pace: float = 1.0, sign: float = 1.0, level: tuple[float, ...] = (0.0,) * KINDS
) -> Distortions:
    """The same distortion for every record, each noise from another place of its bank."""
    begin = torch.arange(count * KINDS).view(count, KINDS) * 500
    return Distortions(torch.full((count,), pace), torch.full((count,), sign), torch.tensor([level] * count), begin)


def whole(count: int) -> Tensor:
    return torch.ones(count, 1, WINDOW, dtype=torch.bool)


def some_ecg(count: int) -> Tensor:
    return torch.from_numpy(np.random.default_rng(0).normal(0, 300, (count, 1, WINDOW)).astype(np.float32))


def test_no_distortion_changes_nothing(distorter: Distorter):
    ecg, mask = some_ecg(3), whole(3)
    out, valid = distorter(ecg, mask, chosen(3))
    assert torch.equal(out, ecg) and torch.equal(valid, mask)


@given(pace=st.floats(1 - PACE, 1 + PACE), beat=st.floats(0.7, 9))
@settings(max_examples=30, deadline=None)
def test_a_wave_keeps_its_height_and_changes_its_pace(pace: float, beat: float):
    """Against the wave itself at the other frequency; away from the ends, where a record goes on round."""
    distorter = Distorter(WINDOW, RATE, CPU)
    time = (np.arange(WINDOW) - (WINDOW - 1) / 2) / RATE
    ecg = torch.from_numpy(500 * np.cos(2 * np.pi * beat * time)).float()[None, None]
    out, valid = distorter(ecg, whole(1), chosen(1, pace=pace))
    expected = 500 * np.cos(2 * np.pi * beat * pace * time)
    inside = slice(int(PACE * WINDOW), -int(PACE * WINDOW))
    assert np.abs(out[0, 0].numpy() - expected)[inside].max() < 3
    assert out.shape == ecg.shape and valid.all()


@pytest.mark.parametrize("pace", [1 - PACE, 0.99, 1.01, 1 + PACE])
def test_padding_stays_silent_padding(distorter: Distorter, pace: float):
    mask = whole(2)
    mask[0, :, :700], mask[0, :, 2100:] = False, False
    ecg = (some_ecg(2) + 5000) * mask
    out, valid = distorter(ecg, mask, chosen(2, pace=pace, sign=-1.0, level=(60.0, 15.0, 60.0)))
    assert (out[~valid] == 0).all() and valid[1].all()
    assert out[0][valid[0]].max() < -3000, "no sample is half padding"
    assert int(valid[0].sum()) == pytest.approx(1400 / pace, abs=2)


def test_polarity_is_a_sign_and_noise_comes_after_it(distorter: Distorter):
    ecg, levels = some_ecg(2), (50.0, 10.0, 40.0)
    upright, _ = distorter(ecg, whole(2), chosen(2, level=levels))
    turned, _ = distorter(ecg, whole(2), chosen(2, sign=-1.0, level=levels))
    noise, _ = distorter(torch.zeros_like(ecg), whole(2), chosen(2, level=levels))
    torch.testing.assert_close(upright, ecg + noise)
    torch.testing.assert_close(turned, noise - ecg)
    assert not torch.equal(noise[0], noise[1])


def test_levels_are_microvolts(distorter: Distorter):
    """Root mean squares over 60 records; muscle swells, log-normally with 0.6. Bumps are as high as they say."""
    silence = torch.zeros(60, 1, WINDOW)
    for kind, swell in ((0, 1.0), (1, np.exp(0.6**2))):
        level = tuple(20.0 if k == kind else 0.0 for k in range(KINDS))
        noise, _ = distorter(silence, whole(60), chosen(60, level=level))
        assert noise.square().mean().sqrt().item() == pytest.approx(20 * swell, rel=0.25)
    bumps, _ = distorter(silence, whole(60), chosen(60, level=(0.0, 0.0, 20.0)))
    assert 20 < bumps.abs().amax(-1).median().item() < 100


def test_wander_is_slow_and_muscle_is_not(distorter: Distorter):
    """Share of the power below 1 Hz, by a periodogram."""
    frequency = np.fft.rfftfreq(WINDOW, 1 / RATE)
    for kind, low, high in ((0, 0.9, 1.0), (1, 0.0, 0.05)):
        level = tuple(1.0 if k == kind else 0.0 for k in range(KINDS))
        noise, _ = distorter(torch.zeros(20, 1, WINDOW), whole(20), chosen(20, level=level))
        power = np.abs(np.fft.rfft(noise.numpy() * np.hanning(WINDOW))) ** 2
        assert low <= power[..., frequency < 1].sum() / power.sum() <= high


def test_draws_fill_their_ranges_and_follow_seed_and_epoch(distorter: Distorter):
    drawn = distorter.draw(4000, seed=3, epoch=5)
    assert 1 - PACE <= drawn.pace.min() < 1 - 0.98 * PACE and 1 + 0.98 * PACE < drawn.pace.max() <= 1 + PACE
    assert (drawn.sign < 0).float().mean().item() == pytest.approx(INVERTED, abs=0.03)
    assert (drawn.level > 0).float().mean(0).tolist() == pytest.approx([NOISY] * KINDS, abs=0.04)
    largest = torch.tensor(list(LEVELS_UV.values()))
    assert (drawn.level <= largest).all() and (drawn.level.amax(0) > 0.98 * largest).all()
    again, other = distorter.draw(4000, seed=3, epoch=5), distorter.draw(4000, seed=3, epoch=6)
    assert torch.equal(drawn.pace, again.pace) and torch.equal(drawn.begin, again.begin)
    assert not torch.equal(drawn.pace, other.pace)
    assert not torch.equal(drawn.pace, distorter.draw(4000, seed=4, epoch=5).pace)


@given(cut=st.integers(0, 8))
@settings(max_examples=9, deadline=None)
def test_a_record_does_not_depend_on_what_it_is_batched_with(cut: int):
    """So that processes may share a batch in any way."""
    distorter = Distorter(WINDOW, RATE, CPU)
    drawn, ecg, mask = distorter.draw(8, seed=0, epoch=0), some_ecg(8), whole(8)
    mask[3, :, :900] = False
    together = distorter(ecg, mask, drawn)
    parts = [
        distorter(ecg[rows], mask[rows], drawn.part(rows)) for rows in (slice(0, cut), slice(cut, 8)) if len(ecg[rows])
    ]
    for one, apart in zip(together, (torch.cat(part) for part in zip(*parts, strict=True)), strict=True):
        assert torch.equal(one, apart)


def test_what_it_is_given_stays_as_it_was(distorter: Distorter):
    ecg, mask = some_ecg(2), whole(2)
    before = ecg.clone(), mask.clone()
    distorter(ecg, mask, distorter.draw(2, seed=0, epoch=0))
    assert torch.equal(ecg, before[0]) and torch.equal(mask, before[1])
