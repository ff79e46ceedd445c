"""Perturbations against values worked out by hand, and against Parseval."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeguard.evaluation.perturbation import band_power, perturbation, summarise


def test_a_record_worked_out_by_hand():
    original = np.array([[7.0, 100.0, 200.0, 300.0, 400.0, 7.0]], np.float32)
    delta = np.array([[0.0, 3.0, -4.0, 0.0, 5.0, 0.0]], np.float32)
    mask = np.array([[False, True, True, True, True, False]])
    found = perturbation(original + delta, original, mask, sampling_rate=300)
    assert found.l2_uv == pytest.approx(50**0.5)
    assert found.linf_uv == 5
    assert found.rms_uv == pytest.approx((50 / 4) ** 0.5)
    assert found.smoothness_uv2 == pytest.approx(np.mean([(-7 - 2 / 3) ** 2, (4 - 2 / 3) ** 2, (5 - 2 / 3) ** 2]))
    assert sum(found.bands_uv2.values()) == pytest.approx(50 / 4)


@pytest.mark.parametrize(
    ("hertz", "band"),
    [
        (0.3, "0-0.5"),
        (0.5, "0.5-5"),
        (3, "0.5-5"),
        (5, "5-15"),
        (10, "5-15"),
        (15, "15-40"),
        (40, "40-150"),
        (99, "40-150"),
    ],
)
def test_a_sine_lies_in_its_band_with_half_its_square(hertz: float, band: str):
    time = np.arange(9000) / 300
    power = band_power(20 * np.sin(2 * np.pi * hertz * time + 0.3), sampling_rate=300)
    assert power.pop(band) == pytest.approx(200)
    assert list(power.values()) == pytest.approx([0] * 4, abs=1e-12)


def test_a_constant_is_baseline_and_an_alternation_is_the_top():
    assert band_power(np.full(10, 3.0), sampling_rate=300)["0-0.5"] == pytest.approx(9)
    assert band_power(np.tile([3.0, -3.0], 5), sampling_rate=300)["40-150"] == pytest.approx(9)


@pytest.mark.parametrize(("rate", "last"), [(500, "40-250"), (80, "15-40"), (60, "15-30")])
def test_the_last_band_ends_at_half_the_sampling_rate(rate: float, last: str):
    signal = np.random.default_rng(0).normal(size=101)
    power = band_power(signal, sampling_rate=rate)
    assert list(power)[-1] == last
    assert sum(power.values()) == pytest.approx(np.mean(signal**2))


@given(
    st.lists(st.integers(-5000, 5000), min_size=1, max_size=60),
    st.integers(0, 9),
    st.integers(0, 9),
    st.sampled_from([128, 250, 300]),
)
def test_bands_add_up_to_the_mean_square_of_the_valid_part(delta: list[int], left: int, right: int, rate: int):
    original = np.arange(left + len(delta) + right, dtype=np.float32)[None]
    mask = np.pad(np.ones(len(delta), bool), (left, right))[None]
    adversarial = original + np.pad(delta, (left, right)).astype(np.float32)
    found = perturbation(adversarial, original, mask, sampling_rate=rate)
    mean_square = sum(value**2 for value in delta) / len(delta)
    assert sum(found.bands_uv2.values()) == pytest.approx(mean_square)
    assert min(found.bands_uv2.values()) >= 0
    assert found.rms_uv**2 == pytest.approx(mean_square)
    assert found.l2_uv == pytest.approx(np.linalg.norm(delta))
    assert found.linf_uv == max(abs(value) for value in delta)


def test_a_smoothed_perturbation_is_smoother():
    noise = np.random.default_rng(0).normal(size=(1, 3000))
    window = np.hanning(43)[1:-1]
    smooth = np.convolve(noise[0], window / np.linalg.norm(window), "same")[None]
    zero, mask = np.zeros((1, 3000)), np.ones((1, 3000), bool)
    rough, even = (perturbation(delta, zero, mask, sampling_rate=300) for delta in (noise, smooth))
    assert even.rms_uv == pytest.approx(rough.rms_uv, rel=0.2)
    assert even.smoothness_uv2 < rough.smoothness_uv2 / 50
    assert even.bands_uv2["40-150"] < 1e-3 * rough.bands_uv2["40-150"]


def test_the_summary_is_medians_and_quartiles():
    zero, mask = np.zeros((1, 4)), np.ones((1, 4), bool)
    some = [
        perturbation(np.full((1, 4), height), zero, mask, sampling_rate=300) for height in (1.0, 2.0, 3.0, 4.0, 9.0)
    ]
    summary = summarise(some)
    assert summary["n"] == 5
    assert summary["linf_uv"] == {"median": 3, "quartiles": [2, 4]}
    assert summary["l2_uv"]["median"] == pytest.approx(6)
    assert summary["bands_uv2"]["0-0.5"] == {"median": pytest.approx(9), "quartiles": pytest.approx([4, 16])}
    assert json.loads(json.dumps(summary, allow_nan=False)) is not None


def test_between_two_records_the_upper_is_the_median():
    zero, mask = np.zeros((1, 4)), np.ones((1, 4), bool)
    some = [perturbation(np.full((1, 4), height), zero, mask, sampling_rate=300) for height in (1.0, 5.0)]
    assert summarise(some)["linf_uv"]["median"] == 5


def test_no_records_give_a_summary_of_nothing():
    assert summarise([]) == {
        "n": 0,
        **{
            name: {"median": None, "quartiles": [None, None]}
            for name in ("l2_uv", "linf_uv", "rms_uv", "smoothness_uv2")
        },
        "bands_uv2": {},
    }
