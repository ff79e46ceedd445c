"""A training within a budget: what is considered, picked and forecast, by made-up paces, and when it stops."""

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeguard.defenses import budgeted as module
from edgeguard.defenses import train as training
from edgeguard.defenses.budget import (
    CLOSING,
    Pace,
    Plan,
    Sizes,
    Stage,
    candidates,
    duration,
    forecast,
    make_plan,
    seconds_of,
)
from edgeguard.defenses.budgeted import within_budget
from edgeguard.defenses.config import TrainConfig, make_config
from edgeguard.defenses.recipes import DEFENSES
from edgeguard.defenses.runs import is_whole
from edgeguard.defenses.train import Job, default_folder, train
from edgeguard.defenses.trainer import Fitted
from edgeguard.ecg.split import oversample
from edgeguard.errors import InputError
from edgeguard.models.registry import build
from edgeguard.models.run import CONFIG, METRICS, WEIGHTS, is_finished, load_run

MakeJob = Callable[..., Job]
SIZES = Sizes(drawn=100, judged=10, all=50)


def stage(seconds: float, *, closing: float = 0.0, step: float = 0.0, **options: Any) -> Stage:
    """A stage of one epoch that takes so many seconds."""
    return Stage(make_config(**options), 1, 0.0, step, seconds - closing, closing)


def metrics(folder: Path) -> dict[str, Any]:
    return json.loads((folder / METRICS).read_text())


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("30m", 1800), ("2h", 7200), ("1h30m", 5400), ("1h5s", 3605), ("0.5m", 30), (" 1h1m1s ", 3661)],
)
def test_a_time_is_read(text: str, seconds: float):
    assert seconds_of(text) == seconds


@given(st.integers(0, 99), st.integers(0, 99), st.integers(1, 99))
def test_hours_minutes_and_seconds_add_up(hours: int, minutes: int, seconds: int):
    assert seconds_of(f"{hours}h{minutes}m{seconds}s") == 3600 * hours + 60 * minutes + seconds


@pytest.mark.parametrize(
    "text", ["0", "0s", "-5m", "soon", "", "90", "m", "1m1h", "1.2.3s", "nan", "infs", "9" * 400 + "h"]
)
def test_what_is_no_time_is_refused(text: str):
    with pytest.raises(InputError, match="a time above zero such as 90s, 30m or 1h30m needed") as caught:
        seconds_of(text)
    assert str(caught.value).startswith(f"--budget {text}:") and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.5, "0.5s"), (45.4, "45s"), (59.6, "1m00s"), (200, "3m20s"), (3900, "1h05m")]
)
def test_a_time_is_told_briefly(seconds: float, text: str):
    assert duration(seconds) == text


def test_every_preset_is_considered_then_ever_fewer_epochs_of_the_cheapest():
    found = [(config.preset, config.epochs) for config in candidates({"defense": "adt", "preset": None})]
    assert found == [("paper", 100), ("lite", 10), ("fast", 10)] + [("fast", epochs) for epochs in range(9, 0, -1)]


def test_a_given_preset_stays():
    found = candidates({"preset": "lite"})
    assert {config.preset for config in found} == {"lite"}
    assert (found[0].epochs, found[0].start_epochs) == (10, 100) and (found[-1].epochs, found[-1].start_epochs) == (
        1,
        1,
    )
    assert [config.start_epochs for config in found] == list(range(100, 0, -1))
    for config in found:
        assert abs(config.epochs - config.start_epochs / 10) <= 0.5 or config.epochs == 1


def test_given_epochs_stay():
    assert [(c.preset, c.epochs) for c in candidates({"epochs": 7})] == [("paper", 7), ("lite", 7), ("fast", 7)]
    assert [(c.preset, c.epochs) for c in candidates({"preset": "paper", "epochs": 7})] == [("paper", 7)]
    starts = {config.start_epochs for config in candidates({"preset": "lite", "start_epochs": 20})}
    assert starts == {20}


def test_other_options_reach_every_candidate():
    assert {config.seed for config in candidates({"seed": 5, "temperature": 2.0})} == {5}


def test_a_forecast_by_hand():
    """100 records of 2 s, a fixed 3 s an epoch, 10 judged at 0.5 s, and 50 soft labels at 0.5 s."""
    pace = Pace(train=2.0, epoch=3.0, judge=0.5)
    plain = forecast(make_config(defense="none"), 4, pace, SIZES)
    assert (plain.opening, plain.step, plain.training, plain.closing) == (0.0, 64.0, 200.0, 8.0)
    assert plain.seconds == 4 * 208 and plain.least == 72
    student = forecast(make_config(defense="dd"), 4, pace, SIZES)
    assert student.seconds == plain.seconds + 25
    # A single step is watched: clean, one step and five of PGD, with their judgement, are 15 forward passes.
    watched = forecast(make_config(defense="at"), 4, pace, SIZES)
    assert watched.closing == 8 + 15 * 10 * 0.5
    assert forecast(make_config(defense="at", preset="paper"), 4, pace, SIZES).closing == 8
    assert forecast(make_config(defense="at"), 1, pace, Sizes(100, 1000, 50)).closing == 3 + 500 + 15 * 128 * 0.5


def test_no_step_is_larger_than_the_data():
    assert forecast(make_config(batch=32), 1, Pace(1.0, 0.0, 0.0), Sizes(5, 1, 5)).step == 5


def linear(seconds_an_epoch: dict[str, float]) -> Callable[[TrainConfig], tuple[Stage, ...]]:
    """Two equal stages whose epochs take what their preset says."""

    def stages_of(config: TrainConfig) -> tuple[Stage, ...]:
        one = Stage(config, config.epochs, 0.0, 0.01, seconds_an_epoch[config.preset], 0.0)
        return (one, one)

    return stages_of


@pytest.mark.parametrize(
    ("budget", "preset", "epochs"),
    [
        (3000.0, "paper", 100),  # 2 x 100 x 10 = 2,000
        (2000.0, "lite", 10),  # the reserve is missing; 2 x 10 x 5 = 100
        (112.0, "lite", 10),
        (111.0, "fast", 10),  # 100 > 0.9 x 111; 2 x 10 x 1 = 20
        (22.3, "fast", 10),
        (22.0, "fast", 9),
        (9.0, "fast", 4),  # 8 <= 8.1 < 10
        (2.3, "fast", 1),
        (1.0, "fast", 1),  # half an epoch a stage
    ],
)
def test_the_dearest_that_fits_is_picked(budget: float, preset: str, epochs: int):
    stages_of = linear({"paper": 10.0, "lite": 5.0, "fast": 1.0})
    plan = make_plan(candidates({}), stages_of, budget=budget, began=50.0, now=lambda: 50.0)
    assert (plan.config.preset, plan.config.epochs) == (preset, epochs)
    assert plan.fits == (budget > 2.2)
    assert (
        plan.left == pytest.approx(budget) and plan.forecast == 2 * epochs * {"paper": 10, "lite": 5, "fast": 1}[preset]
    )


@given(st.floats(1.0, 1e5), st.floats(0.01, 20), st.floats(0.01, 20), st.floats(0.01, 20))
def test_nothing_dearer_would_have_fitted(budget: float, paper: float, lite: float, fast: float):
    stages_of = linear({"paper": paper, "lite": lite, "fast": fast})
    considered = candidates({})
    plan = make_plan(considered, stages_of, budget=budget, began=0.0, now=lambda: 0.0)
    for config in considered[: considered.index(plan.config)]:
        assert sum(one.seconds for one in stages_of(config)) > 0.9 * budget
    assert plan.fits or plan.config == considered[-1]


def test_the_time_that_measuring_takes_is_gone():
    clock = iter([100.0, 130.0, 170.0])
    stages_of = linear({"paper": 10.0, "lite": 5.0, "fast": 1.0})
    plan = make_plan(candidates({})[:3], stages_of, budget=100.0, began=90.0, now=lambda: next(clock))
    assert plan.left == 20 and plan.config.preset == "fast" and not plan.fits
    assert plan.report(175.0) == {
        "seconds": 100.0,
        "forecast": 100.0,
        "picked": {"preset": "fast", "epochs": 10, "start_epochs": 0},
        "spent": 85.0,
    }


def test_what_is_passed_over_is_said_once_a_preset():
    stages_of = linear({"paper": 10.0, "lite": 5.0, "fast": 1.0})
    plan = make_plan(candidates({"defense": "at"}), stages_of, budget=10.0, began=0.0, now=lambda: 0.0)
    first, second = plan.lines()
    assert first == (
        "budget 10s: picked fast, 4 epochs a stage: forecast 8s (paper, 100 epochs a stage: 33m20s; "
        "lite, 10 epochs a stage after a start of 100: 1m40s; fast, 10 epochs a stage: 20s)"
    )
    assert second == "measured: 10 ms a step of at"


def test_a_budget_without_a_step_a_stage_is_refused():
    """Two stages, each of at least 1 s before, 2 s for a step and 3 s after it."""
    one = Stage(make_config(), 1, 1.0, 2.0, 50.0, 3.0)
    with pytest.raises(InputError, match=r"^--budget 10s: over before the first step .* at least 14s needed here$"):
        make_plan([one.config], lambda _: (one, one), budget=10.0, began=0.0, now=lambda: 0.0)
    plan = make_plan([one.config], lambda _: (one, one), budget=12.0, began=0.0, now=lambda: 0.0)
    assert not plan.fits


@pytest.mark.parametrize(
    ("left", "said"),
    [
        (200, "measured: 0 ms a step of adt"),
        (105, "no reserve, so that the time may end a stage early"),
        (50, "the time ends every stage at about 50 % of its epochs"),
        (9, "less than one pass over the data a stage: expect little"),
    ],
)
def test_a_shortfall_is_said(left: float, said: str):
    """Ten epochs that take 100 s."""
    plan = Plan(left, 0.0, left, make_config(epochs=10), (stage(100.0),))
    assert plan.lines()[1].endswith(said)


def test_deadlines_by_hand():
    """Forecasts 10, 30 and 20 s in 120 s; a stage stops a step and 1.5 closings before its share is over."""
    stages = (
        stage(10.0, defense="none", closing=2.0, step=0.5),
        stage(30.0, defense="at"),
        stage(20.0, defense="adt"),
    )
    plan = Plan(120.0, 1000.0, 120.0, stages[2].config, stages)
    assert plan.deadline(stages[0].config, 1000.0) == pytest.approx(1000 + 20 - 3 - 0.5)
    # The first took 5 s only: the others have all that is left.
    assert plan.deadline(stages[1].config, 1005.0) == pytest.approx(1005 + 115 * 30 / 50)
    # The second took 30 s too long: the third has what is left, and no more.
    assert plan.deadline(stages[2].config, 1104.0) == 1120
    assert plan.deadline(make_config(defense="jr"), 1104.0) == 1120


@given(st.lists(st.floats(0.1, 100), min_size=1, max_size=4), st.floats(1, 500))
def test_stages_that_use_up_their_time_end_in_time(seconds: list[float], budget: float):
    names = list(DEFENSES)
    stages = tuple(stage(s, defense=name, closing=s / 10, step=s / 50) for s, name in zip(seconds, names, strict=False))
    plan = Plan(budget, 0.0, budget, stages[-1].config, stages)
    now = 0.0
    for one in stages:
        end = plan.deadline(one.config, now) + one.step + CLOSING * one.closing
        assert end - now == pytest.approx(budget * one.seconds / sum(seconds))
        now = end
    assert now == pytest.approx(budget)


class MadeUp:
    """A stopwatch for which every record takes `train` seconds of a plain stage and ten times that of a crafted one."""

    train = 1.0

    def __init__(self, *_: Any, **__: Any) -> None:
        self.sizes = SIZES

    def pace(self, config: TrainConfig) -> Pace:
        return Pace(self.train * (10 if config.crafts else 1), 0.0, 0.0)

    def guess(self, config: TrainConfig, like: TrainConfig) -> Pace:
        return self.pace(config)


@pytest.fixture
def made_up(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[MadeUp]]:
    monkeypatch.setattr(module, "Stopwatch", MadeUp)
    yield MadeUp
    MadeUp.train = 1.0


@pytest.fixture
def budgeted(job: MakeJob, tmp_path: Path, made_up: type[MadeUp]) -> MakeJob:
    """`within_budget` for the tiny network; `seconds`, and options as they are given."""

    def make(seconds: float, name: str = "", **options: Any) -> Job:
        own = {key: options.pop(key) for key in list(options) if key.startswith("job_")}
        short = {"arch": "tiny_networks:plain", "crafting": "sap", "steps": 1, "smooth_steps": 1, **options}
        return within_budget(
            job(**own),
            seconds,
            began=time.monotonic(),
            options=short,
            place=lambda config: tmp_path / "runs" / name if name else default_folder(config, tmp_path / "runs"),
        )

    return make


def picked(job: Job) -> tuple[str, int, int]:
    return job.config.preset, job.config.epochs, len(job.plan.stages if job.plan else ())


def test_the_whole_chain_has_to_fit(budgeted: MakeJob):
    """Hundred records an epoch: 100 s of a plain stage, 1,000 s of a crafted one."""
    assert picked(budgeted(1e6, defense="adt")) == ("paper", 100, 2)
    # lite: a start of 100 plain epochs and twice ten crafted ones: 30,000 s
    assert picked(budgeted(33_500.0, defense="adt")) == ("lite", 10, 3)
    assert picked(budgeted(33_000.0, defense="adt")) == ("fast", 10, 2)
    assert picked(budgeted(4_500.0, defense="adt")) == ("fast", 2, 2)
    assert picked(budgeted(4_500.0, defense="at")) == ("fast", 4, 1)
    assert picked(budgeted(4_500.0, defense="dd")) == ("fast", 10, 2)
    assert budgeted(4_500.0, defense="at").out.name == "at-tiny_networks-plain-fast-s0"


def test_a_preset_that_is_far_too_dear_is_not_measured(budgeted: MakeJob, monkeypatch: pytest.MonkeyPatch):
    """By its forward units paper takes 200,000 s, lite 30,000 s and fast 20,000 s."""
    measured: list[str] = []
    pace = MadeUp.pace
    monkeypatch.setattr(MadeUp, "guess", lambda self, config, like: pace(self, config))
    monkeypatch.setattr(MadeUp, "pace", lambda self, config: (measured.append(config.preset), pace(self, config))[1])
    assert picked(budgeted(21_000.0, defense="adt"))[0] == "fast"
    assert set(measured) == {"lite", "fast"}


def test_a_finished_teacher_is_not_paid_again(budgeted: MakeJob, made_up: type[MadeUp]):
    train(budgeted(1e6, defense="at", preset="fast", epochs=2))
    assert picked(budgeted(2_300.0, defense="adt", preset="fast", epochs=2)) == ("fast", 2, 1)
    again = budgeted(2_300.0, defense="adt", preset="fast", epochs=2)
    assert again.plan and again.plan.fits
    other = budgeted(2_300.0, defense="adt", preset="fast", epochs=2, seed=1)
    assert other.plan and not other.plan.fits


def test_an_end_that_never_comes_changes_no_bit(budgeted: MakeJob, tmp_path: Path):
    within = budgeted(1e6, defense="adt", preset="fast", epochs=2)
    assert within.plan is not None
    began = replace(within.plan, began=within.plan.began - 60)  # a minute ago: more than the training takes
    within = replace(within, plan=began)
    train(within)
    alone = train(replace(within, plan=None, out=tmp_path / "alone" / "adt"))
    assert (within.out / WEIGHTS).read_bytes() == (alone / WEIGHTS).read_bytes()
    assert (within.out / CONFIG).read_text().replace(" ", "") == (alone / CONFIG).read_text().replace(" ", "")
    for name in ("epochs", "forward_units", "gradient_evaluations"):
        assert metrics(within.out)[name] == metrics(alone)[name]
    budget = metrics(within.out)["budget"]
    assert budget["seconds"] == 1e6 and budget["picked"] == {"preset": "fast", "epochs": 2, "start_epochs": 0}
    assert budget["forecast"] >= 4000 and 60 <= budget["spent"] < 4000
    assert "budget" not in metrics(alone)


def test_a_stage_that_is_cut_short_is_usable_and_says_so(budgeted: MakeJob, made_up: type[MadeUp]):
    made_up.train = 1e-6
    made = budgeted(1.0, defense="adt", preset="fast", epochs=10**6)
    folder = train(made)
    run, report = load_run(folder), metrics(folder)
    done = report["epochs"]
    assert len(done) == 2 and all(0 < epochs < 10**6 for epochs in done)
    assert not is_whole(folder) and run.config["options"]["epochs"] == 10**6
    lines = (folder / "log.jsonl").read_text().splitlines()
    assert 0 < done[1] <= len(lines)
    # Two crafting steps of two units and both halves' training passes of three.
    assert report["forward_units"] == pytest.approx(sum(done) * 10, abs=0.02)
    assert report["validation"] == json.loads(lines[-1])["validation"]


def test_a_teacher_that_was_cut_short_teaches_nobody_else(budgeted: MakeJob, made_up: type[MadeUp]):
    made_up.train = 1e-6
    said: list[str] = []
    options = {"defense": "adt", "preset": "fast", "epochs": 10**6}
    train(budgeted(0.6, **options))
    again = budgeted(0.6, "again", **options, job_say=said.append)
    assert picked(again) == ("fast", 10**6, 2)
    train(again)
    assert any("teacher: training at first" in line and line.endswith("-s0-2") for line in said)


def test_the_cost_is_of_what_was_done(job: MakeJob, monkeypatch: pytest.MonkeyPatch):
    """A quarter of the second of eight epochs, in a trainer that says so."""
    scores = {"accuracy": 0.5, "f1": 0.5}
    log = [
        {"epoch": 1, "loss": 1.0, "validation": scores, "seconds": 2.0},
        {"epoch": 2, "loss": 1.0, "share": 0.25, "validation": scores, "seconds": 0.5},
    ]
    network = build("tiny_networks:dropout", window=240, seed=0)
    monkeypatch.setattr(training, "fit", lambda *_, **__: Fitted(network, log))
    at = job("at", defense="at", epochs=8, steps=2, smooth_steps=2)
    report = metrics(train(at))
    items = len(oversample(at.dataset, at.split.train))
    assert report["epochs"] == [1.25] and report["seconds"] == 2.5
    assert report["gradient_evaluations"] == round(1.25 * 4 * items)
    assert report["forward_units"] == 1.25 * (2 * 3 + 4 * 2)
    assert not is_whole(at.out)
    # A plain epoch, then a regularised one: for each logit and the network itself three more units.
    jr = metrics(train(job("jr", defense="jr", epochs=8, warm_up=1)))
    assert jr["forward_units"] == 3 + 0.25 * (3 + 3 * 5)
    none = metrics(train(job("none", defense="none", epochs=1)))
    assert none["forward_units"] == 1.25 * 3 and is_whole(at.out.with_name("none"))


def test_a_training_without_a_step_is_no_run(job: MakeJob, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(training, "fit", lambda *_, **__: Fitted(build("tiny_networks:plain", window=240), []))
    made = job()
    with pytest.raises(InputError, match="over before the first step; add --resume and a larger --budget"):
        train(made)
    assert not is_finished(made.out)


class InterruptError(Exception):
    """Ctrl-C."""


@pytest.mark.parametrize("call", [1, 2, 3, 4])
def test_a_resumed_run_goes_on_with_what_it_had_picked(budgeted: MakeJob, call: int):
    """Killed in its teacher or after it; a larger budget does not change the mind, and is for what is left."""
    calls: list[int] = []

    def judge(*_: Any) -> dict[str, float]:
        calls.append(1)
        if len(calls) == call:
            raise InterruptError
        return {"accuracy": 0.0, "f1": 0.0}

    with pytest.raises(InterruptError):
        train(budgeted(4_500.0, defense="adt", job_judge=judge))
    resumed = budgeted(1e6, defense="adt", job_resume=True)
    assert resumed.config.preset == "fast" and resumed.config.epochs == 2
    assert resumed.plan
    left = {1: [2, 2], 2: [1, 2], 3: [2], 4: [1]}[call]
    assert [one.epochs for one in resumed.plan.stages] == left
    assert metrics(train(resumed))["epochs"] == [2, 2]


def test_a_run_killed_after_its_last_epoch_is_only_finished(budgeted: MakeJob, monkeypatch: pytest.MonkeyPatch):
    def killed(*_: Any) -> None:
        raise InterruptError

    with monkeypatch.context() as patch, pytest.raises(InterruptError):
        patch.setattr(training, "_finish", killed)
        train(budgeted(4_500.0, defense="none", preset="fast", epochs=2))
    resumed = budgeted(10.0, defense="none", preset="fast", epochs=2, job_resume=True)
    assert resumed.plan and [one.epochs for one in resumed.plan.stages] == [0]
    assert metrics(train(resumed))["epochs"] == [2]


def test_resuming_what_is_finished_trains_nothing(budgeted: MakeJob):
    made = budgeted(4_500.0, defense="none", preset="fast", epochs=1)
    folder = train(made)
    before = (folder / METRICS).read_bytes()
    resumed = budgeted(10.0, defense="none", preset="fast", epochs=1, job_resume=True)
    assert resumed.plan and resumed.plan.stages == ()
    assert train(resumed) == folder and (folder / METRICS).read_bytes() == before


def test_several_processes_are_refused(budgeted: MakeJob, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(InputError, match="--budget: one process only"):
        budgeted(10.0)
