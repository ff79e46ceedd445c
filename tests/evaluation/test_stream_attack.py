"""Crafting for an unknown window phase, and the judgement on a stream."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from edgeguard.attacks.gradient import sap
from edgeguard.attacks.losses import cross_entropy
from edgeguard.attacks.playback import Playback, any_windows, known_windows, mean_over_windows, repeated
from edgeguard.ecg.dataset import Dataset, build
from edgeguard.ecg.front_end import FrontEnd, find_front_end
from edgeguard.ecg.record import Record
from edgeguard.errors import InputError
from edgeguard.evaluation.stream_attack import (
    CRAFTS,
    Settings,
    Streams,
    choose_streams,
    craft,
    craft_all,
    crafting_network,
    judge_all,
    save_perturbations,
)
from edgeguard.evaluation.stream_judge import (
    Heard,
    Outcome,
    Watch,
    by_streaming,
    by_window,
    clustered_rate,
    compare_outcomes,
    majority,
)
from edgeguard.evaluation.subject import Subject, open_subject
from edgeguard.firmware_sim.engine import Engine
from edgeguard.firmware_sim.sensor import SensorChain
from edgeguard.models.run import Run
from edgeguard.runtime.model_spec import ModelSpec

RATE = 300.0
WINDOW = 600
HOP = 60


class Comb(nn.Module):
    """Two classes by the sign of a sum of products with a fixed pattern: it depends on the window's phase."""

    window, sampling_rate, classes = WINDOW, RATE, ("N", "A")

    def __init__(self, *, wave: float) -> None:
        super().__init__()
        pattern = torch.sin(2 * torch.pi * torch.arange(WINDOW) / wave)
        self.register_buffer("pattern", pattern / WINDOW)

    def forward(self, ecg: Tensor) -> Tensor:
        z = ecg[:, 0] @ self.pattern.to(ecg.dtype)
        return torch.stack([z, -z], 1)

    @torch.no_grad()
    def logits(self, ecg: np.ndarray) -> np.ndarray:
        return self(torch.from_numpy(np.ascontiguousarray(ecg))).numpy()


class Level(Comb):
    """The same with the mean instead of a pattern: no phase matters."""

    def __init__(self) -> None:
        super().__init__(wave=1.0)
        self.pattern = torch.full((WINDOW,), 1 / WINDOW)


def bare(front_end: FrontEnd | None = None) -> FrontEnd:
    return front_end or find_front_end("ideal")


def level_streams(count: int = 4, samples: int = 1500, *, level: float = 5.0) -> Streams:
    """Class N by `level` microvolts, with a wave that averages out over every window."""
    wave = 100 * np.sin(2 * np.pi * np.arange(samples) / 60)
    ecg = np.tile((wave + level).astype(np.float32), (count, 1, 1))
    return Streams(tuple(f"R{i}" for i in range(count)), ecg, np.zeros(count, np.int64), RATE)


def test_one_known_window_and_nothing_between_is_sap_itself() -> None:
    network = Comb(wave=60)
    ecg = torch.randn(3, 1, WINDOW, generator=torch.Generator().manual_seed(0)) * 50
    labels = torch.tensor([0, 1, 0])
    streams = Streams(("a", "b", "c"), ecg.numpy(), labels.numpy(), RATE)
    watch = Watch(network, bare(), RATE, hop=HOP)
    ours = craft(network, watch, streams, CRAFTS["window"], Settings(eps=10))
    theirs = sap(network, ecg, labels, torch.ones_like(ecg, dtype=torch.bool), eps=10.0, alpha=1.0)
    np.testing.assert_allclose(ecg.numpy() + ours, theirs.numpy(), atol=1e-4)


def test_playback_cuts_the_windows_that_it_is_told() -> None:
    ecg = torch.arange(2 * 50.0).view(2, 1, 50)
    starts = torch.tensor([[0, 7, 40], [3, 3, 39]])
    playback = Playback(nn.Flatten(), ecg, lambda: starts, window=10)
    perturbation = torch.zeros(2, 1, 20)
    perturbation[:, :, 5] = 0.5
    windows = playback(perturbation)
    for b, row in enumerate(starts.tolist()):
        for k, start in enumerate(row):
            expected = ecg[b, 0, start : start + 10] + 0.5 * (torch.arange(start, start + 10) % 20 == 5)
            assert torch.equal(windows[b, k], expected)


@given(st.integers(1, 30), st.integers(1, 100))
def test_a_perturbation_repeats_with_its_own_length(length: int, count: int) -> None:
    pattern = torch.arange(float(length)).view(1, 1, -1)
    assert repeated(pattern, count)[0, 0].tolist() == [i % length for i in range(count)]


def test_the_loss_of_windows_is_their_mean() -> None:
    logits = torch.randn(3, 5, 4, generator=torch.Generator().manual_seed(1))
    labels = torch.tensor([0, 2, 3])
    expected = torch.stack([cross_entropy(logits[:, k], labels) for k in range(5)]).mean(0)
    torch.testing.assert_close(mean_over_windows(cross_entropy)(logits, labels), expected)


@pytest.mark.parametrize(
    ("samples", "lag", "expected"),
    [(600, 0, [0]), (1800, 0, [0, 600, 1200]), (1800, 10, [10, 610, 1200]), (900, 0, [0, 300]), (601, 5, [1, 1])],
)
def test_known_windows_follow_one_another(samples: int, lag: int, expected: list[int]) -> None:
    starts = known_windows(2, samples, 600, lag=lag)()
    assert starts.tolist() == [expected, expected]


@given(draws=st.integers(1, 6), spare=st.integers(0, 50), seed=st.integers(0, 5))
@settings(max_examples=50, deadline=None)
def test_any_windows_reach_every_place_evenly_and_each_stream_draws_for_itself(
    draws: int, spare: int, seed: int
) -> None:
    together, alone = (
        any_windows([(0, seed), (1, seed)], 600 + spare, 600, draws),
        any_windows([(1, seed)], 600 + spare, 600, draws),
    )
    for _ in range(3):
        starts = together()
        assert starts.shape == (2, draws)
        shares = (starts.numpy() + 1) / (spare + 1) * draws
        assert ((starts >= 0) & (starts <= spare)).all()
        assert (shares > np.arange(draws)).all()
        assert (starts[:, 1:] >= starts[:, :-1]).all()
        assert torch.equal(starts[1:], alone())


@pytest.mark.parametrize("way", CRAFTS)
@pytest.mark.parametrize("name", ["ideal", "max30003"])
def test_a_perturbation_stays_within_eps_and_is_smooth(way: str, name: str) -> None:
    network = Comb(wave=50)
    watch = Watch(network, find_front_end(name), RATE, hop=HOP)
    found = craft(network, watch, level_streams(2), CRAFTS[way], Settings(eps=8, alpha=0.8, steps=4, smooth_steps=6))
    assert found.shape == (2, 1, 1500)
    assert 0 < np.abs(found).max() <= 8
    # The largest of SAP's 19 taps is below a quarter, so a step of a sign change cannot be larger than that twice.
    assert np.abs(np.diff(found)).max() <= 8 * 2 * 0.25


def test_a_repeated_perturbation_repeats() -> None:
    network = Comb(wave=50)
    watch = Watch(network, bare(), RATE, hop=HOP)
    found = craft(network, watch, level_streams(1), CRAFTS["electrode"], Settings(steps=3, smooth_steps=3, period=1.0))
    np.testing.assert_array_equal(found[..., :300], found[..., 600:900])


def test_what_is_crafted_does_not_depend_on_the_company() -> None:
    network = Comb(wave=50)
    watch = Watch(network, bare(), RATE, hop=HOP)
    streams = level_streams(10)
    first = replace(streams, names=streams.names[:3], ecg=streams.ecg[:3], labels=streams.labels[:3])
    quick = Settings(steps=3, smooth_steps=3)
    both = [craft(network, watch, some, CRAFTS["electrode"], quick) for some in (streams, first)]
    np.testing.assert_allclose(both[0][:3], both[1], atol=1e-6)


def test_only_through_the_front_end_is_its_delay_seen() -> None:
    """A second-order Butterworth turns a wave at its corner by 90 degrees: what fits at the model misses its mark."""
    network = Comb(wave=60)
    front_end = replace(bare(), firmware_low_pass=5.0)
    streams = level_streams(1)
    quiet = replace(streams, ecg=np.zeros_like(streams.ecg))
    watch = Watch(network, front_end, RATE, hop=HOP)

    def moved(way: str) -> float:
        found = craft(network, watch, quiet, CRAFTS[way], Settings(eps=8, alpha=0.8))
        arrived = SensorChain(front_end, RATE, RATE).push(found[0, 0]).microvolts
        return float(network.logits(arrived[None, None, 600:1200].astype(np.float32))[0, 0])

    at_model = craft(network, watch, quiet, CRAFTS["window"], Settings(eps=8, alpha=0.8))
    largest = -float(network.logits(at_model[..., 600:1200])[0, 0])
    assert largest > 3
    assert abs(moved("window")) < 0.1 * largest
    assert moved("electrode-aligned") == pytest.approx(-largest / np.sqrt(2), rel=0.05)


def test_a_network_that_sees_the_phase_is_fooled_at_every_phase_only_by_the_expectation() -> None:
    """Products with a wave of 50 samples: what lowers them at one phase raises them half a wave later.

    Known windows begin at 0, 600 and 900: whole waves apart. So their attack does as much good as harm on a stream.
    """
    network = Comb(wave=50)
    watch = Watch(network, bare(), RATE, hop=7)
    streams = level_streams(3)
    quiet = replace(streams, ecg=np.zeros_like(streams.ecg))
    found = craft_all(network, watch, quiet, ["window", "electrode"], Settings(eps=10))
    aligned = network.logits((quiet.ecg + found["window"])[..., :WINDOW])
    assert (aligned.argmax(1) == 1).all()
    heard = watch.hear(quiet.ecg + found["window"])
    assert (heard.aligned == 1).all()
    assert 0.3 < heard.hops.mean() < 0.7


def test_the_watch_decides_as_the_engine_does_behind_the_same_front_end() -> None:
    network = Comb(wave=50)
    front_end = find_front_end("ad8233-12bit")
    ecg = np.random.default_rng(0).normal(0, 200, (2, 1, 1500)).astype(np.float32)
    heard = Watch(network, front_end, RATE, hop=HOP, seed=3).hear(ecg)
    phases = np.random.default_rng(3).integers(HOP, size=2)
    for i, phase in enumerate(phases.tolist()):
        chain = SensorChain(front_end, RATE, RATE, seed=3 + i)
        stream = np.concatenate([chain.push(ecg[i, 0]).microvolts, chain.finish().microvolts])
        engine = Engine(network, hop=HOP / RATE)
        labels = [d.label for d in engine.push(stream[phase:]) if d.label]
        assert [network.classes[c] for c in heard.hops[i]] == labels[: heard.hops.shape[1]]
    assert heard.hops.shape[1] >= (1500 - HOP - WINDOW) // HOP


class Steps:
    """A streaming model that is the window model, asked by hop."""

    hop = HOP

    def __init__(self, model: Comb) -> None:
        self._model = model
        self.reset()

    def reset(self) -> None:
        self._seen = np.zeros(0, np.float32)

    def step(self, samples: np.ndarray) -> np.ndarray | None:
        self._seen = np.concatenate([self._seen, samples])[-WINDOW:]
        return self._model.logits(self._seen[None, None])[0] if len(self._seen) == WINDOW else None


def test_a_streaming_model_is_judged_on_the_hops_of_the_window_model() -> None:
    model = Comb(wave=50)
    decide = by_streaming(Steps(model))
    for samples in (1500, 1549):
        stream = np.random.default_rng(samples).normal(size=samples).astype(np.float32)
        np.testing.assert_allclose(decide(stream), by_window(model, HOP)(stream), atol=1e-6)


def heard(*rows: Sequence[int], aligned: Sequence[int]) -> Heard:
    return Heard(np.array(rows), np.array(aligned))


def test_success_counts_only_what_was_right_before() -> None:
    labels = np.array([0, 1, 1])
    clean = heard([0, 0, 1, 0], [1, 1, 1, 1], [0, 0, 0, 1], aligned=[0, 1, 0])
    attacked = heard([1, 0, 1, 1], [1, 1, 0, 1], [0, 0, 0, 0], aligned=[1, 1, 1])
    success = Outcome(labels, clean, attacked).success()
    assert (success["hops"]["value"], success["hops"]["n"], success["hops"]["records"]) == (4 / 8, 8, 3)
    assert (success["records"]["value"], success["records"]["n"]) == (1 / 2, 2)
    assert (success["aligned"]["value"], success["aligned"]["n"]) == (1 / 2, 2)
    accuracy = Outcome(labels, clean, clean).accuracy()
    assert accuracy["hops"]["value"] == pytest.approx(8 / 12)
    assert accuracy["records"]["value"] == pytest.approx(2 / 3)


def test_majority_is_the_most_frequent_class_the_first_of_equals() -> None:
    assert majority(np.array([[2, 2, 0], [1, 0, 0], [3, 1, 1], [2, 1, 2], [1, 0, 3]])).tolist() == [2, 0, 1, 2, 0]


def test_an_attack_less_itself_is_nothing() -> None:
    clean = heard([0, 0], [0, 0], aligned=[0, 0])
    attacked = heard([1, 0], [1, 1], aligned=[0, 1])
    outcome = Outcome(np.array([0, 0]), clean, attacked)
    nothing = compare_outcomes(outcome, outcome)
    assert (nothing["hops"]["difference"], nothing["hops"]["low"], nothing["hops"]["high"]) == (0, 0, 0)
    assert nothing["records"]["difference"] == 0
    more = compare_outcomes(outcome, Outcome(np.array([0, 0]), clean, clean))
    assert more["hops"]["difference"] == 3 / 4
    assert more["records"]["only_first"] == 1


def test_hops_of_one_record_count_as_one_for_the_interval() -> None:
    """32 records that are fooled wholly or not at all, 30 hops each: about as sure as 32 draws, not as 960."""
    fooled = np.array([30, 0] * 16)
    wide = clustered_rate(fooled, np.full(32, 30))
    assert wide["value"] == 0.5
    assert wide["high"] - wide["low"] == pytest.approx(2 * 1.96 * np.sqrt(0.25 / 32), rel=0.15)
    even = clustered_rate(np.full(32, 15), np.full(32, 30))
    assert even["high"] == even["low"] == 0.5


@pytest.mark.parametrize(("each", "value", "low", "high"), [(0, 0.0, 0.0, 0.278), (30, 1.0, 0.722, 1.0)])
def test_where_all_records_agree_the_interval_is_wilsons(each: int, value: float, low: float, high: float) -> None:
    """Wilson 1927 for 0 and 10 of 10."""
    rate = clustered_rate(np.full(10, each), np.full(10, 30))
    assert rate["value"] == value
    assert (rate["low"], rate["high"]) == (pytest.approx(low, abs=1e-3), pytest.approx(high, abs=1e-3))


def test_the_report_is_what_the_watch_heard(tmp_path: Path) -> None:
    network = Level()
    streams = level_streams(4, level=5.0)
    watch = Watch(network, bare(), RATE, hop=HOP)
    found = craft_all(network, watch, streams, ["window", "electrode"], Settings(eps=10))
    report = judge_all(watch, streams, found)
    assert report["clean"]["hops"]["value"] == 1.0
    assert [row["success"]["hops"]["value"] for row in report["attacks"]] == [1.0, 1.0]
    assert all(row["linf_uv"] <= 10 for row in report["attacks"])
    assert report["differences"][0]["records"]["difference"] == 0
    harmless = judge_all(watch, streams, {"none": np.zeros_like(streams.ecg)})
    assert harmless["attacks"][0]["success"]["hops"]["value"] == 0.0
    save_perturbations(tmp_path / "found.npz", streams, found)
    with np.load(tmp_path / "found.npz") as kept:
        np.testing.assert_array_equal(kept["electrode"], found["electrode"])
        np.testing.assert_array_equal(kept["ecg"], streams.ecg)


def test_a_short_stream_is_refused() -> None:
    watch = Watch(Level(), bare(), RATE, hop=HOP)
    with pytest.raises(InputError, match=r"--seconds: .* 2\.2 s, needed"):
        watch.hear(np.zeros((1, 1, WINDOW + HOP - 1), np.float32))


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({"eps": -1.0}, "--eps -1"),
        ({"alpha": float("nan")}, "--alpha nan"),
        ({"steps": -1}, "--steps -1"),
        ({"draws": 0}, "--draws 0"),
        ({"seed": -1}, "--seed -1"),
        ({"loss": "huber"}, "--loss huber"),
        ({"period": 0.0}, "--period 0"),
    ],
)
def test_settings_out_of_range_are_refused(options: dict[str, float], line: str) -> None:
    with pytest.raises(InputError, match=line):
        Settings(**options)  # type: ignore[arg-type]


def test_an_unknown_way_is_refused() -> None:
    with pytest.raises(InputError, match="--craft skin"):
        craft_all(Level(), Watch(Level(), bare(), RATE, hop=HOP), level_streams(), ["skin"], Settings())


def records(*lengths: int) -> list[Record]:
    rng = np.random.default_rng(0)
    return [
        Record(f"R{i}", rng.integers(-99, 99, length).astype(np.float32), RATE, "NA"[i % 2])
        for i, length in enumerate(lengths)
    ]


def test_streams_are_records_that_last() -> None:
    some = records(700, 1500, 1600, 900, 2000, 1499)
    dataset = build("noise", some, window=WINDOW)
    subject = Subject("x", lambda ecg: ecg, ModelSpec(("N", "A", "O", "~"), 300.0, WINDOW), None, None, None, None, "x")
    streams, line = choose_streams(subject, dataset, some, seconds=5.0, count=9)
    assert streams.names == ("R1", "R2", "R4")
    assert streams.ecg.shape == (3, 1, 1500)
    assert "3 of 3 records" in line
    np.testing.assert_array_equal(streams.ecg[2, 0], some[4].ecg[:1500])
    assert streams.labels.tolist() == [1, 0, 0]
    with pytest.raises(InputError, match=r"no record of 9 s, the longest has 6\.66667 s; .* lower --seconds"):
        choose_streams(subject, dataset, some, seconds=9.0, count=9)
    with pytest.raises(InputError, match="--records 0"):
        choose_streams(subject, dataset, some, seconds=5.0, count=0)


def test_the_network_that_crafts_is_the_files_twin_or_one_that_is_named(
    make_run: Callable[..., Run], write_file: Callable[..., Path], dataset: Dataset
) -> None:
    run = make_run("own", seed=1)
    subject = open_subject(write_file("file.onnx"))
    ecg, _, _ = dataset.batch(np.arange(8))
    with torch.no_grad():
        own = crafting_network(subject, "twin", ecg)(torch.from_numpy(ecg)).numpy()
        other = crafting_network(subject, str(run.path), ecg)(torch.from_numpy(ecg)).numpy()
        expected = run.model(torch.from_numpy(ecg)).numpy()
    np.testing.assert_allclose(own, subject.logits(ecg), rtol=1e-5)
    np.testing.assert_array_equal(other, expected)
    alien = make_run("alien", classes=["A", "N", "O", "~"])
    with pytest.raises(InputError, match=r"--source .*alien: takes other windows or classes than"):
        crafting_network(subject, str(alien.path), ecg)
