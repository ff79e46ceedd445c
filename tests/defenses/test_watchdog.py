"""Catastrophic overfitting: planted, judged by hand, and taken back in a training as if it had been gentler at once."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

from edgeguard.defenses import trainer
from edgeguard.defenses.batches import Records
from edgeguard.defenses.config import TrainConfig
from edgeguard.defenses.crafting import backed_off
from edgeguard.defenses.trainer import Fitted, fit
from edgeguard.defenses.watchdog import LARGEST_GAP, RECORDS, Watchdog, alarm, watchdog
from edgeguard.ecg.dataset import Dataset, build
from edgeguard.ecg.record import Record
from edgeguard.ecg.split import Split, split
from edgeguard.evaluation.metrics import scores

CPU = torch.device("cpu")


class Planted(nn.Module):
    """Reads a record's class off its first sample; the right logit is `surface` of the second one, the others 0."""

    def __init__(self, surface: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.surface = surface
        self.dropout = nn.Dropout(0.5)

    def forward(self, ecg: Tensor) -> Tensor:
        label = (ecg[:, 0, 0].detach() / 1000).round().long()
        return self.dropout(F.one_hot(label, 4) * self.surface(ecg[:, 0, 1])[:, None])


def kinked(sample: Tensor) -> Tensor:
    """1 on the record itself, 2 at -10 where the gradient's sign points, yet -1 at -4 on the way there."""
    return (sample + 4).abs() / 2 - 1


@pytest.fixture(scope="module")
def planted() -> Records:
    """130 records whose samples are zero but for the first, a thousand microvolts a class."""
    ecg = np.zeros((130, 12), np.float32)
    ecg[:, 0] = 1000 * (np.arange(130) % 4)
    records = [Record(f"P{n:03d}", row, label="NAO~"[n % 4]) for n, row in enumerate(ecg)]
    return Records(build("planted", records, window=12), CPU)


@pytest.mark.parametrize(
    ("surface", "clean", "one_step", "multi_step"),
    [
        # One step of 10 arrives at -10, logit 2; steps of 5 go to -5, logit -0.5, back to 0, to -5, to 0, to -5.
        (kinked, 1.0, 1.0, 0.0),
        (lambda sample: 5 + sample, 1.0, 0.0, 0.0),
        (lambda sample: 50 + sample, 1.0, 1.0, 1.0),
        (lambda sample: sample - 50, 0.0, 0.0, 0.0),
    ],
)
def test_it_sees_what_one_step_hides(
    planted: Records, surface: Callable[[Tensor], Tensor], clean: float, one_step: float, multi_step: float
):
    model = Planted(surface).train()
    seen = Watchdog(planted, np.arange(128), 10.0).look(model)
    assert seen == {"clean": clean, "one_step": one_step, "multi_step": multi_step}
    assert (alarm(None, seen) is not None) is (one_step - multi_step > LARGEST_GAP)
    assert model.training and model.dropout.training


def test_an_alarm_says_what_it_saw(planted: Records):
    reason = alarm(None, Watchdog(planted, np.arange(8), 10.0).look(Planted(kinked)))
    assert reason == "one step leaves 1.00 right, 5 steps 0.00"


def seen(clean: float, one_step: float, multi_step: float) -> dict[str, float]:
    return {"clean": clean, "one_step": one_step, "multi_step": multi_step}


@pytest.mark.parametrize(
    ("before", "now", "reason"),
    [
        (None, seen(0.8, 0.5, 0.36), None),
        (None, seen(0.8, 0.5, 0.34), "one step leaves 0.50 right, 5 steps 0.34"),
        (None, seen(0.8, 0.3, 0.5), None),
        (seen(0.8, 0.5, 0.5), seen(0.8, 0.4, 0.41), None),
        (seen(0.8, 0.5, 0.5), seen(0.8, 0.4, 0.39), "accuracy under 5 steps fell from 0.50 to 0.39"),
        # A drop of 20 points: of the clean accuracy's, half is 10.
        (seen(0.8, 0.5, 0.5), seen(0.71, 0.3, 0.3), "accuracy under 5 steps fell from 0.50 to 0.30"),
        (seen(0.8, 0.5, 0.5), seen(0.69, 0.3, 0.3), None),
        (seen(0.8, 0.2, 0.2), seen(0.5, 0.9, 0.9), None),
        (seen(0.8, 0.5, 0.5), seen(0.3, 0.4, 0.1), "one step leaves 0.40 right, 5 steps 0.10"),
    ],
)
def test_the_rules_by_hand(before: dict[str, float] | None, now: dict[str, float], reason: str | None):
    assert alarm(before, now) == reason


@pytest.mark.parametrize(
    ("records", "gap", "barks"),
    [(3, 1, False), (3, 3, False), (5, 4, True), (12, 3, False), (12, 4, True), (20, 4, True)],
)
def test_a_few_records_are_no_evidence(records: int, gap: int, barks: bool):
    """One record in three is a gap of 33 points, and says nothing."""
    now = seen(1.0, gap / records, 0.0)
    assert (alarm(None, now, records) is not None) is barks
    before = seen(1.0, gap / records, gap / records)
    assert (alarm(before, seen(1.0, 0.0, 0.0), records) is not None) is barks


share = st.integers(0, 128).map(lambda count: count / 128)


@given(before=st.tuples(share, share, share), now=st.tuples(share, share, share))
def test_a_network_that_lost_nothing_and_hides_nothing_is_never_suspected(
    before: tuple[float, float, float], now: tuple[float, float, float]
):
    first, second = seen(*before), seen(*now)
    if second["multi_step"] >= max(first["multi_step"], second["one_step"]):
        assert alarm(first, second) is None
    if second["one_step"] - second["multi_step"] > LARGEST_GAP:
        assert alarm(first, second) and alarm(None, second)


@given(eps=st.floats(0.1, 100), noise=st.floats(0, 4))
def test_each_trip_shortens_the_step_and_lengthens_the_noise(eps: float, noise: float):
    config = TrainConfig(eps=eps, noise=noise)
    assert backed_off(config, 0) is config
    for trips in (1, 2, 3):
        gentler = backed_off(config, trips)
        assert gentler.crafting == "single-step"
        assert gentler.eps == pytest.approx(eps * 0.75**trips)
        assert gentler.eps * gentler.noise == pytest.approx(eps * noise * 1.5**trips)
        assert {**gentler.to_dict(), "eps": eps, "noise": noise} == config.to_dict()


def test_the_trips_by_hand():
    config = TrainConfig(eps=20, noise=2)
    gentler = [backed_off(config, trips) for trips in (1, 2, 3)]
    assert [c.eps for c in gentler] == [15, 11.25, 8.4375]
    assert [c.eps * c.noise for c in gentler] == [60, 90, 135]
    for trips in (4, 7):
        last = backed_off(config, trips)
        assert (last.crafting, last.eps, last.alpha, last.steps, last.smooth_steps) == ("sap", 20, 10, 1, 1)


def test_several_steps_are_never_made_gentler():
    config = TrainConfig(crafting="sap")
    assert backed_off(config, 3) is config


def test_only_a_training_by_single_steps_is_watched(config: Callable[..., TrainConfig], dataset: Dataset):
    records, part = Records(dataset, CPU), np.arange(20, 40)

    def watched(**options: Any) -> Watchdog | None:
        return watchdog(config(**options), records, dataset.labels, part)

    guard = watched(defense="at", crafting="single-step", eps=7.0)
    assert guard is not None and guard.eps == 7.0
    assert guard.index.tolist() == part.tolist()
    for spared in (
        {"defense": "none", "crafting": "single-step"},
        {"defense": "at", "crafting": "sap"},
        {"defense": "at", "crafting": "single-step", "mix": 0.0},
    ):
        assert watched(**spared) is None
    assert watched(defense="trades", crafting="single-step", mix=0.0) is not None


def test_it_watches_128_records_of_the_part_in_the_proportion_of_their_classes(config: Callable[..., TrainConfig]):
    labels = np.repeat([0, 1, 2, 3], [600, 100, 200, 100])
    part = np.arange(0, 1000, 2)
    guards = [
        watchdog(config(defense="at", crafting="single-step", seed=seed), None, labels, part)  # type: ignore[arg-type]
        for seed in (0, 5)
    ]
    index = guards[0].index
    assert len(index) == len(set(index)) == RECORDS == 128 and set(index) <= set(part)
    np.testing.assert_allclose(np.bincount(labels[index]), [76.8, 12.8, 25.6, 12.8], atol=1)
    np.testing.assert_array_equal(index, guards[1].index)


@pytest.fixture(scope="module")
def parts(dataset: Dataset) -> Split:
    return split(dataset, seed=0)


Fit = Callable[..., Fitted]


@pytest.fixture
def fit_in(dataset: Dataset, parts: Split, tmp_path: Path, config: Callable[..., TrainConfig]) -> Fit:
    """Trains `at` by single steps at a constant rate, in a folder named; options win."""

    def run(folder: str, judge: Any = lambda labels, predicted: scores(labels, predicted, 4), **options: Any) -> Fitted:
        settings = config(**{"defense": "at", "crafting": "single-step", "schedule": "constant", **options})
        (tmp_path / folder).mkdir(exist_ok=True)
        return fit(settings, dataset, parts, tmp_path / folder, device=CPU, judge=judge)

    return run


def same(first: Fitted, second: Fitted) -> bool:
    other = second.model.state_dict()
    return all(torch.equal(value, other[name]) for name, value in first.model.state_dict().items())


def tripping_at(monkeypatch: pytest.MonkeyPatch, *looks: int) -> None:
    """From now on, the watchdog barks at those looks and no others, counted from 1."""
    count = [0]

    def planted(before: object, now: object, records: int) -> str | None:
        count[0] += 1
        return f"look {count[0]}" if count[0] in looks else None

    monkeypatch.setattr(trainer, "alarm", planted)


@pytest.mark.parametrize("trips", [1, 3, 4])
def test_an_epoch_taken_back_is_as_if_trained_gently_at_once(fit_in: Fit, monkeypatch: pytest.MonkeyPatch, trips: int):
    """Epoch 2 of 3 trips so many times; the plain training takes the gentler settings over from epoch 2 on."""
    tripping_at(monkeypatch, *range(2, 2 + trips))
    tripped = fit_in("tripped", epochs=3)
    tripping_at(monkeypatch)
    fit_in("plain", epochs=1)
    gentle = backed_off(TrainConfig(eps=10.0), trips)
    names = ("crafting", "eps", "noise", "alpha", "steps", "smooth_steps")
    settings = {name: getattr(gentle, name) for name in names}
    assert same(tripped, fit_in("plain", epochs=3, **settings))
    assert not same(tripped, fit_in("untripped", epochs=3))
    assert [entry["epoch"] for entry in tripped.log] == [1, 2, 3]
    assert [entry["backed_off"] for entry in tripped.log] == [0, trips, trips]
    assert [entry["alarms"] for entry in tripped.log] == [[], [f"look {n}" for n in range(2, 2 + trips)], []]


def test_trips_of_several_epochs_add_up(fit_in: Fit, monkeypatch: pytest.MonkeyPatch):
    tripping_at(monkeypatch, 1, 3, 5)
    log = fit_in("run", epochs=3).log
    assert [entry["backed_off"] for entry in log] == [1, 2, 3]
    assert [entry["alarms"] for entry in log] == [["look 1"], ["look 3"], ["look 5"]]


def test_a_watchdog_that_keeps_barking_ends_in_several_steps_and_the_training_ends(
    fit_in: Fit, monkeypatch: pytest.MonkeyPatch
):
    tripping_at(monkeypatch, *range(1, 100))
    log = fit_in("run", epochs=2).log
    assert [entry["backed_off"] for entry in log] == [4, 4]
    assert len(log[0]["alarms"]) == 4


@pytest.mark.parametrize(("call", "looks_after"), [(2, [1]), (3, [])], ids=["in the epoch that tripped", "after it"])
def test_a_training_killed_around_a_trip_goes_on_bit_for_bit(
    fit_in: Fit, monkeypatch: pytest.MonkeyPatch, call: int, looks_after: list[int]
):
    tripping_at(monkeypatch, 2)
    whole = fit_in("whole", epochs=3, schedule="one-cycle")
    tripping_at(monkeypatch, 2)
    left = [call]

    def killed(labels: np.ndarray, predicted: np.ndarray) -> dict[str, float]:
        left[0] -= 1
        if left[0] == 0:
            raise KeyboardInterrupt
        return scores(labels, predicted, 4)

    with pytest.raises(KeyboardInterrupt):
        fit_in("killed", killed, epochs=3, schedule="one-cycle")
    # What was not saved is trained again, and trips again.
    tripping_at(monkeypatch, *looks_after)
    resumed = fit_in("killed", epochs=3, schedule="one-cycle")
    assert same(whole, resumed)
    assert [entry["backed_off"] for entry in resumed.log] == [0, 1, 1]


def test_the_dogs_own_look_leaves_the_training_alone(fit_in: Fit, monkeypatch: pytest.MonkeyPatch):
    tripping_at(monkeypatch)
    watched = fit_in("watched")
    monkeypatch.setattr(trainer, "watchdog", lambda *_: None)
    unwatched = fit_in("unwatched")
    assert same(watched, unwatched)
    assert set(watched.log[0]["watchdog"]) == {"clean", "one_step", "multi_step"}
    assert "watchdog" not in unwatched.log[0]
