"""RayS-SAP against linear models, whose smallest eps is known in closed form, and against one turn done plainly."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import toeplitz

from edgeguard.attacks.kernels import smoothing_taps
from edgeguard.attacks.rays_sap import LARGEST, Blocks, Ray, RaysSap, _Search, divide, find_beats
from edgeguard.attacks.walk import Task

T = 600
RATE = 300.0
FILTER = toeplitz(np.append(smoothing_taps()[9:], np.zeros(T - 10)))
"""float64 [T, T], SAP's filter as a matrix."""
Fooled = Callable[[np.ndarray], np.ndarray]
"""Points [K, 1, T] to bool [K]."""


def task(seed: int = 0, *, padding: int = 0, height: float = 300.0) -> Task:
    """Three beats of triangles over a little noise; zeros for `padding` samples at either end."""
    rng = np.random.default_rng(seed)
    ecg = rng.normal(0, 5, T)
    for peak in (100, 310, 500):
        ecg += height * np.clip(1 - np.abs(np.arange(T) - peak) / 10, 0, None)
    mask = np.ones((1, T), bool)
    mask[0, :padding] = mask[0, T - padding :] = False
    original = np.rint(ecg * mask).astype(np.float32)
    return Task(original, mask, np.zeros((0, 1, T), np.float32), RATE, 1.0, np.random.default_rng(seed))


def drive(attack: RaysSap, what: Task, fooled: Fooled, budget: int) -> tuple[list[np.ndarray], float, str]:
    """All points asked, as whole codes; the smallest L-inf distance of one that fooled; why the attack ended."""
    walk, told, points, best, spent = attack.walk(what), None, [], np.inf, 0
    while True:
        try:
            request = next(walk) if told is None else walk.send(told)
        except StopIteration as end:
            return points, best, end.value
        codes = np.rint(request.points)
        assert codes.dtype == np.float32 and codes.shape[1:] == (1, T)
        if spent + len(codes) > budget:
            return points, best, "budget spent"
        spent += len(codes)
        points.append(codes)
        told = fooled(codes)
        distance = np.abs(codes - what.original).max((1, 2))
        best = min([best, *distance[told].tolist()])


def linear(what: Task, seed: int, eps: float) -> tuple[Fooled, float]:
    """A linear model whose smallest SAP eps is `eps`, and that eps found once more, from the definition."""
    taps = smoothing_taps()
    rng = np.random.default_rng(seed)
    weight = np.convolve(rng.normal(size=T), np.hanning(31), "same")
    # max over p in [-1, 1]^T of weight . M K M p is the sum of |M K^T M weight|: K is symmetric.
    reach = np.abs(what.mask[0] * np.convolve(weight * what.mask[0], taps, "same")).sum()
    threshold = eps * reach

    def fooled(points: np.ndarray) -> np.ndarray:
        return np.asarray((points - what.original)[:, 0] @ weight > threshold)

    return fooled, threshold / reach


@pytest.mark.parametrize("seed", range(4))
def test_the_smallest_eps_of_a_linear_model_is_found(seed: int):
    what = task(seed, padding=40)
    fooled, smallest = linear(what, seed, 200.0)
    points, best, why = drive(RaysSap(), what, fooled, 3000)
    assert smallest <= best + 1 and best <= 1.15 * smallest, why
    assert (np.concatenate(points)[:, ~what.mask] == what.original[~what.mask]).all()


def test_a_boundary_of_a_few_codes_is_not_a_jump_of_all_samples():
    what = task()
    search = _Search(what)
    params = np.ones(T, np.float32)
    ray = Ray(params, search.smooth(params), 0.0, 16.0)
    scores: dict[bool, list[float]] = {False: [0.0], True: []}
    bracket = search.bracket(ray, 1e-3)
    request = next(bracket)
    with pytest.raises(StopIteration):
        while True:
            score = float((np.rint(request.points) - what.original).mean())
            scores[score > 4.2].append(score)
            request = bracket.send(np.array([score > 4.2]))
    # Samples in the middle of the record have a waveform of one: without dither, 580 of 600 jump from 4 to 5 at once.
    assert min(scores[True]) - max(scores[False]) < 0.1


def test_the_dither_alone_rounds_to_no_code_and_leaves_padding():
    for height in (300.0, 32_000.0):
        what = task(2, padding=40, height=height)
        search = _Search(what)
        dither = search.dithered - what.original[0]
        assert np.array_equal(np.rint(search.dithered), what.original[0])
        assert not dither[~what.mask[0]].any()
        assert dither.std() > 0.25


def test_a_ray_settles_at_the_whole_codes_below_it_and_asks_once():
    what = task(1)
    search = _Search(what)
    params = np.ones(T, np.float32)
    ray = Ray(params, search.smooth(params), 6.9, 7.3)

    def settled(hit: bool) -> list[np.ndarray]:
        settling, asked = search.settle(ray), []
        try:
            request = next(settling)
            while True:
                asked.append(np.rint(request.points) - what.original)
                request = settling.send(np.array([hit]))
        except StopIteration:
            return asked

    for _ in range(2):
        (asked,) = settled(False)
        assert np.abs(asked).max() == 7
    assert len(settled(True)) == 1
    assert settled(True) == []


def test_more_queries_find_less():
    what = task()
    fooled, _ = linear(what, 7, 200.0)
    bests = [drive(RaysSap(), task(), fooled, budget)[1] for budget in (60, 300, 2000)]
    assert bests == sorted(bests, reverse=True) and bests[-1] < 0.8 * bests[0]


def test_nothing_adversarial_is_bounded_and_said():
    points, best, why = drive(RaysSap(), task(), lambda codes: np.zeros(len(codes), bool), 10**6)
    asked = np.concatenate(points)
    assert why == "nothing adversarial within 4096 uV" and best == np.inf
    assert len(asked) < 500
    assert np.abs(asked - task().original).max() <= LARGEST


def test_where_everything_is_adversarial_it_ends():
    _, best, why = drive(RaysSap(), task(), lambda codes: np.ones(len(codes), bool), 10**5)
    assert best == 0 and why == "the perturbation rounds to nothing"


def test_points_stay_on_the_rails():
    what = task(height=32_000.0)
    points, _, _ = drive(RaysSap(), what, lambda codes: np.zeros(len(codes), bool), 10**6)
    assert np.abs(np.concatenate(points)).max() <= 32_768


def test_a_start_that_only_another_record_offers_is_used():
    what = task(3)
    other = np.rint(what.original + 60 * np.sin(np.arange(T) / 9)).astype(np.float32)
    offered = Task(what.original, what.mask, other[None], RATE, 1.0, np.random.default_rng(0))
    way = (other - what.original)[0] / 60

    def fooled(points: np.ndarray) -> np.ndarray:
        change = (points - what.original)[:, 0]
        along = change @ way / (way @ way)
        beside = np.sqrt(((change - along[:, None] * way) ** 2).mean(1))
        return np.asarray((along > 20) & (beside < 0.6 * along))

    assert drive(RaysSap(), what, fooled, 3000)[1] == np.inf
    assert drive(RaysSap(), offered, fooled, 3000)[1] < 60


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([0, 1, 2, 4]), st.integers(1, 40), st.sampled_from([0, 5, 40]))
def test_one_turn_is_what_smoothing_it_all_anew_gives(seed: int, groups: int, width: int, padding: int):
    what = task(seed, padding=padding)
    search, rng = _Search(what), np.random.default_rng(seed)
    blocks = divide(search.beats, groups, width, int(rng.integers(width)))
    params = rng.choice([-1.0, 1.0], T).astype(np.float32)
    block = int(rng.choice(np.unique(blocks.index[what.mask[0]])))

    where, change = search.turned(params, blocks, block)
    got = search.smooth(params)
    got[where] += change

    inside = (blocks.index == block) & what.mask[0]
    params[inside] = -1.0 if params[inside].sum() >= 0 else 1.0
    valid = np.diag(what.mask[0].astype(float))
    filtered = valid @ FILTER @ valid @ params
    np.testing.assert_allclose(got, filtered, atol=2e-6)
    assert np.abs(got).max() <= 1 + 1e-5


def test_blocks_know_their_samples():
    blocks = Blocks(np.array([7, 7, 3, 7, 3, 9]))
    assert blocks.count == 3
    for block in range(blocks.count):
        members = np.flatnonzero(blocks.index == block)
        assert (blocks.spans[block].start, blocks.spans[block].stop) == (members[0], members[-1] + 1)


def test_a_division_of_the_record_has_one_width_and_one_of_the_beats_repeats():
    beats = find_beats(task().original[0], task().mask[0], RATE)
    plain = np.bincount(divide(beats, 0, 10, 3).index)
    assert plain.tolist() == [7, *[10] * 59, 3]
    tied = divide(beats, 1, 8, 0).index
    around = np.arange(-40, 40)
    peaks = np.flatnonzero(beats.offset == 0)
    assert all((tied[around + peak] == tied[around + peaks[0]]).all() for peak in peaks)
    apart = divide(beats, 3, 8, 0).index
    assert len({int(apart[peak]) for peak in peaks}) == 3


def test_the_beats_of_triangles_are_their_peaks():
    beats = find_beats(task().original[0], task().mask[0], RATE)
    assert beats.number == 3
    assert np.abs(np.flatnonzero(beats.offset == 0) - [100, 310, 500]).max() <= 15
    assert (np.diff(beats.beat) >= 0).all()


def test_silence_is_one_beat():
    beats = find_beats(np.zeros(T, np.float32), np.ones(T, bool), RATE)
    assert beats.number == 1 and beats.offset[T // 2] == 0


def test_a_sweep_turns_what_helps_and_never_needs_more():
    what = task(5)
    fooled, _ = linear(what, 5, 200.0)
    search, attack = _Search(what), RaysSap()
    params = np.ones(T, np.float32)
    waveform = search.smooth(params)
    ray = Ray(params, waveform, 0.0, 4096.0)
    if not fooled((what.original + 4096 * waveform)[None])[0]:
        ray = Ray(-params, -waveform, 0.0, 4096.0)
    highs = []
    for _ in range(3):
        sweep, told = search.sweep(ray, attack.fine), None
        while True:
            try:
                request = next(sweep) if told is None else sweep.send(told)
            except StopIteration as end:
                ray = end.value
                break
            told = fooled(np.rint(request.points))
        highs.append(ray.high)
        assert fooled(np.rint(what.original + np.float32(ray.high) * ray.waveform)[None])[0]
    assert highs == sorted(highs, reverse=True)
    assert highs[0] < 4096


def test_the_same_stream_gives_the_same_points():
    fooled, _ = linear(task(), 1, 200.0)
    first, second = (np.concatenate(drive(RaysSap(), task(), fooled, 500)[0]) for _ in range(2))
    assert np.array_equal(first, second)
