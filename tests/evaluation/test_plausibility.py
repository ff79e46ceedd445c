"""What is implausible is told in one line, and nothing else is."""

import numpy as np
import pytest

from edgeguard.ecg.arrays import dataset_of
from edgeguard.ecg.dataset import Dataset
from edgeguard.evaluation.plausibility import amplitude_warnings, decision_warnings, implausible

CLASSES = ("N", "A")
WINDOW = 300


def beats(count: int, *, unit: float = 1.0) -> Dataset:
    """Records of class N with waves upwards, of class A with waves downwards, some hundred microvolts high."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, count)
    wave = np.zeros(WINDOW, np.float32)
    wave[50::100] = 900
    ecg = np.where(labels[:, None] == 0, wave, -wave) + rng.normal(0, 20, (count, WINDOW))
    return dataset_of(ecg.astype(np.float32) * unit, labels.tolist(), window=WINDOW, classes=CLASSES)


def by_sign(ecg: np.ndarray, *, per_microvolt: float = 1.0) -> np.ndarray:
    """Logits that see the sign of the waves where they are some hundred units high, and call the rest A."""
    extreme = ecg.reshape(len(ecg), -1) * per_microvolt
    up = (extreme.max(1) > 100) & (extreme.max(1) < 5_000) & (extreme.max(1) > -extreme.min(1))
    return np.stack([np.where(up, 1.0, -1.0), np.zeros(len(ecg))], axis=1).astype(np.float32)


def test_a_plausible_model_is_left_alone() -> None:
    data = beats(60)
    index = np.arange(60)
    predicted = by_sign(data.batch(index)[0]).argmax(1)
    assert implausible(by_sign, data, index, predicted, unit="uV") == ()


def test_a_wrong_unit_of_the_model_is_named() -> None:
    """The network takes millivolts a thousandfold, and is told that they are microvolts."""
    data, index = beats(60), np.arange(60)

    def logits(ecg: np.ndarray) -> np.ndarray:
        return by_sign(ecg, per_microvolt=1e3)

    predicted = logits(data.batch(index)[0]).argmax(1)
    found = implausible(logits, data, index, predicted, unit="uV")
    assert any("in mV the model has 1.00 of 60 records right" in line and "--unit" in line for line in found)
    assert any("60 of 60 records are called A" in line for line in found)


@pytest.mark.parametrize(("unit", "told"), [(1e-3, True), (1.0, False), (1e3, True)])
def test_records_in_another_unit_are_noticed(unit: float, told: bool) -> None:
    found = amplitude_warnings(beats(20, unit=unit), np.arange(20))
    assert bool(found) == told and all("\n" not in line for line in found)


def test_guessing_is_noticed_and_skill_is_not() -> None:
    rng = np.random.default_rng(1)
    labels = rng.integers(0, 2, 400)
    guessed, known = rng.integers(0, 2, 400), np.where(rng.random(400) < 0.8, labels, 1 - labels)
    assert any("not above chance" in line for line in decision_warnings(guessed, labels, CLASSES))
    assert decision_warnings(known, labels, CLASSES) == []
    assert decision_warnings(guessed[:8], labels[:8], CLASSES) == []


def test_one_class_throughout_is_noticed_unless_the_records_are_so() -> None:
    ones = np.zeros(40, np.int64)
    assert any(
        "40 of 40 records are called N, 20 are" in line for line in decision_warnings(ones, np.arange(40) % 2, CLASSES)
    )
    assert not any("are called" in line for line in decision_warnings(ones, ones, CLASSES))
