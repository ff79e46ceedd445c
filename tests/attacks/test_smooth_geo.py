"""smooth-geo: nearest smooth points of planes and spheres, nothing outside the band, nothing on the padding."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeguard.attacks.smooth_geo import SmoothGeo, _Band
from edgeguard.attacks.walk import Request, Task

T, RATE = 1500, 300.0
Answer = Callable[[np.ndarray], np.ndarray]


def burst(hertz: float, seconds: float, *, width: float = 0.3) -> np.ndarray:
    """float64 [1, T] of length 1: a sine under a bell."""
    time = np.arange(T) / RATE
    wave = np.sin(2 * np.pi * hertz * time) * np.exp(-(((time - seconds) / width) ** 2))
    return (wave / np.linalg.norm(wave))[None]


def task(
    *, left: int = 40, right: int = 90, seed: int = 0, step: float = 1.0, toward: np.ndarray | None = None
) -> Task:
    """A padded record of noise, with three starts that are noise too, and `toward` besides."""
    rng = np.random.default_rng(seed)
    mask = np.ones((1, T), bool)
    mask[:, :left] = mask[:, T - right :] = False
    original = np.rint(rng.normal(0, 100, (1, T)) * mask).astype(np.float32)
    offset = rng.normal(0, 300, (3, 1, T)) + (0 if toward is None else toward)
    starts = original + np.rint(offset * mask).astype(np.float32)
    return Task(original, mask, starts, RATE, step, np.random.default_rng([seed, 1]))


def drive(attack: SmoothGeo, task: Task, answer: Answer, queries: int) -> tuple[np.ndarray, str, list[Request]]:
    """The smallest adversarial perturbation [1, T] that is no probe, why the walk ended, copies of its requests."""
    best, ended, asked, spent = np.full((1, T), np.inf), "budget", [], 0
    walk = attack.walk(task)
    try:
        request = next(walk)
        while spent < queries:
            points = request.points.copy()
            asked.append(Request(points, None if request.centre is None else request.centre.copy()))
            spent += len(points)
            hits = answer(points)
            for point in points[hits] if request.centre is None else ():
                if np.linalg.norm(point - task.original) < np.linalg.norm(best):
                    best = point - task.original
            request = walk.send(hits)
    except StopIteration as stop:
        ended = stop.value
    return best, ended, asked


def along(task: Task, normal: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Component of each perturbation along the normal."""
    return (points - task.original).reshape(len(points), -1) @ normal.ravel()


def outside(task: Task, delta: np.ndarray, low: float, high: float) -> float:
    """Share of the amplitude over the valid samples at frequencies outside low .. high."""
    inside = delta[task.mask].astype(np.float64)
    spectrum = np.abs(np.fft.rfft(inside))
    frequency = np.fft.rfftfreq(len(inside), 1 / RATE)
    beyond = (frequency < low) | (frequency > high)
    return float(np.linalg.norm(spectrum[beyond]) / max(np.linalg.norm(spectrum), 1e-9))


def test_reaches_the_nearest_point_of_a_plane() -> None:
    normal = burst(8, 2.5)
    record = task(toward=4000 * normal)
    best, _, _ = drive(SmoothGeo(), record, lambda points: along(record, normal, points) >= 800, 2000)
    assert 800 <= np.linalg.norm(best) < 1.1 * 800


def test_reaches_the_nearest_smooth_point_where_the_nearest_is_rough() -> None:
    """Half of the normal's energy lies above the band: the smooth distance is root 2 times the distance."""
    normal = (burst(8, 2.5) + burst(40, 2.5)) / np.sqrt(2)
    record = task(toward=4000 * normal)
    best, _, _ = drive(SmoothGeo(), record, lambda points: along(record, normal, points) >= 500, 2000)
    assert 1.38 * 500 < np.linalg.norm(best) < 1.1 * 1.4143 * 500


def test_reaches_the_nearest_point_of_a_ball() -> None:
    """Adversarial inside a ball of radius 900 around a point 2,500 off, in the plane of two bursts."""
    axes = np.stack([burst(6, 1.5), burst(10, 3.5)])
    record = task(left=0, right=0)
    centre = 2500 * axes[0]
    record.starts[:] = np.rint(record.original + centre + 500 * axes[1])

    def answer(points: np.ndarray) -> np.ndarray:
        seen = np.stack([along(record, axis, points) for axis in axes], axis=1)
        return np.linalg.norm(seen - [2500, 0], axis=1) <= 900

    best, _, _ = drive(SmoothGeo(), record, answer, 2000)
    assert 1590 < np.linalg.norm(best) < 1.1 * 1600


@given(
    left=st.integers(0, 500),
    right=st.integers(0, 500),
    seed=st.integers(0, 99),
    band=st.sampled_from([(0.5, 15), (2, 9)]),
)
@settings(max_examples=15, deadline=None)
def test_smooth_by_construction_and_zero_on_padding(
    left: int, right: int, seed: int, band: tuple[float, float]
) -> None:
    normal = burst(6, 2.5)
    record = task(left=left, right=right, seed=seed, toward=4000 * normal)
    _, ended, asked = drive(
        SmoothGeo(low_hz=band[0], high_hz=band[1]), record, lambda points: along(record, normal, points) >= 400, 300
    )
    assert ended == "budget"
    for request in asked:
        assert request.points.dtype == np.float32
        assert (request.points[:, ~record.mask] == record.original[~record.mask]).all()
        if request.centre is None:
            # float32 sums of samples of some thousand microvolts carry 1e-4 of rounding
            assert outside(record, request.points[0] - record.original, *band) < 1e-3


def test_probes_come_in_blocks_about_the_boundary_point_and_reach_past_the_input_step() -> None:
    normal = burst(8, 2.5)
    step = 2000.0
    record = task(toward=4000 * normal, step=step)
    _, _, asked = drive(SmoothGeo(), record, lambda points: along(record, normal, points) >= 300, 1500)
    probes = [request for request in asked if request.centre is not None]
    assert len(probes) > 20
    for request in probes:
        assert 1 <= len(request.points) <= 16
        assert along(record, normal, request.centre[None])[0] >= 299
        moved = request.points - request.centre
        # a quarter of a step by root mean square where the envelope is strongest: peaks are no smaller, or barely
        assert np.abs(moved).max(axis=(1, 2)).min() > 0.2 * step


def test_probes_of_a_free_estimate_are_orthogonal() -> None:
    normal = burst(8, 2.5)
    record = task(left=0, right=0, toward=2000 * normal)
    _, _, asked = drive(
        SmoothGeo(modulations=1, envelope_share=1e6), record, lambda points: along(record, normal, points) >= 100, 400
    )
    requests = [request for request in asked if request.centre is not None]
    # the first estimate takes 30 probes, the second root 2 times as many
    assert [len(request.points) for request in requests[:5]] == [16, 14, 16, 16, 10]
    moved = np.concatenate([request.points - request.centre for request in requests[2:5]]).reshape(-1, T)
    cosines = np.corrcoef(moved) - np.eye(len(moved))
    # but for the lowest modes, which the band lacks, and the ends of the smoothed envelope
    assert np.abs(cosines).max() < 0.1
    random = np.corrcoef(np.random.default_rng(0).normal(size=(42, 150))) - np.eye(42)
    assert np.sqrt((cosines**2).mean()) < 0.5 * np.sqrt((random**2).mean())


@pytest.mark.parametrize("hits", ["some", "all", "none"])
@pytest.mark.parametrize(("high_hz", "left", "right"), [(15, 40, 90), (15, 0, 1), (150, 0, 0), (1, 300, 7)])
def test_the_estimate_is_the_sum_of_the_probes_by_label(high_hz: float, left: int, right: int, hits: str) -> None:
    """Against the sum taken over the points asked; at 1 Hz the shifts are fewer than the probes, and come again."""
    record = task(left=left, right=right)
    rng = np.random.default_rng(1)
    envelope = (rng.random((1, T)) * record.mask).astype(np.float32)
    centre = (record.original + 50 * envelope).astype(np.float32)
    points = np.repeat(record.original[None], 16, axis=0)
    walk = _Band.of(record, 0, high_hz).probes(rng, envelope, 700, 45).sum_by_label(centre, points)
    moved, told = [], []
    request = next(walk)
    with pytest.raises(StopIteration) as stop:
        while True:
            moved.append(request.points.astype(np.float64) - centre)
            told.append({"some": rng.random(len(moved[-1])) < 0.3, "all": True, "none": False}[hits])
            told[-1] = np.broadcast_to(told[-1], len(moved[-1]))
            request = walk.send(told[-1])
    probes, labels = np.concatenate(moved), 2.0 * np.concatenate(told) - 1
    assert len(probes) == 45
    np.testing.assert_allclose(np.linalg.norm(probes, axis=(1, 2)), 700, rtol=1e-4)
    weights = labels - labels.mean() if hits == "some" else labels
    expected = np.tensordot(weights / 2, probes, axes=1)
    np.testing.assert_allclose(stop.value.value, expected, atol=1e-4 * np.abs(expected).max())
    assert not stop.value.value[~record.mask].any()


def test_widens_the_band_where_no_smooth_start_works() -> None:
    normal = burst(40, 2.5)
    record = task(toward=4000 * normal)
    best, _, asked = drive(SmoothGeo(), record, lambda points: along(record, normal, points) >= 1000, 1500)
    assert 1000 <= np.linalg.norm(best) < 1.2 * 1000
    assert outside(record, best, 0.5, 60) < 1e-3
    tried = [outside(record, request.points[0] - record.original, 0.5, 15) < 1e-3 for request in asked[:6]]
    assert all(tried)


def test_bounded_without_an_adversarial_point() -> None:
    record = task()
    _, ended, asked = drive(SmoothGeo(), record, lambda points: np.zeros(len(points), bool), 10_000)
    assert ended == "no start"
    # three starts, plain and twice as loud, in bands up to 15, 30, 60, 120 and 240 Hz
    assert sum(len(request.points) for request in asked) == 3 * 2 * 5


def test_ends_where_everything_is_adversarial() -> None:
    best, ended, _ = drive(SmoothGeo(), task(), lambda points: np.ones(len(points), bool), 10_000)
    assert ended == "at the original"
    assert np.linalg.norm(best) < 2


@pytest.mark.parametrize("starts", [0, 2])
@pytest.mark.parametrize("valid", [0, 1, 2, T])
def test_silent_and_short_records_stay_finite(valid: int, starts: int) -> None:
    mask = (np.arange(T) < valid)[None]
    zeros = np.zeros((1, T), np.float32)
    points = np.where(mask, 500 * np.sin(np.arange(T) / 6), 0).astype(np.float32)
    record = Task(zeros, mask, np.repeat(points[None, None], starts, 0).reshape(starts, 1, T), RATE, 31.25, task().rng)

    def answer(points: np.ndarray) -> np.ndarray:
        assert np.isfinite(points).all()
        return np.abs(points).sum(axis=(1, 2)) > 5000

    best, ended, _ = drive(SmoothGeo(), record, answer, 600)
    if valid == T and starts:
        assert ended == "budget" and np.isfinite(best).all()
    else:
        assert ended == "no start"


@pytest.mark.parametrize("size", [1, 5])
def test_answers_alone_decide(size: int) -> None:
    """The same points are asked whether a block is answered at once or row by row, and with another's in between."""
    normal = burst(8, 2.5)

    def answer(points: np.ndarray, record: Task) -> np.ndarray:
        parts = [along(record, normal, points[i : i + size]) >= 300 for i in range(0, len(points), size)]
        return np.concatenate(parts)

    one, other, company = task(toward=4000 * normal), task(toward=4000 * normal), task(seed=5, toward=4000 * normal)
    _, _, alone = drive(SmoothGeo(), one, lambda points: along(one, normal, points) >= 300, 500)
    walks = [SmoothGeo().walk(other), SmoothGeo().walk(company)]
    requests = [next(walk) for walk in walks]
    for expected in alone:
        np.testing.assert_array_equal(requests[0].points, expected.points)
        requests = [
            walk.send(answer(request.points, record))
            for walk, request, record in zip(walks, requests, (other, company), strict=True)
        ]
