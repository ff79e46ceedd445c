"""HopSkipJump: the estimate is the paper's, the nearest point of a plane is found, and coarse codes blind it."""

from collections.abc import Callable, Iterator

import numpy as np
import pytest

from edgeguard.attacks.hop_skip_jump import HopSkipJump, estimate_normal
from edgeguard.attacks.smooth_geo import SmoothGeo
from edgeguard.attacks.walk import Attack, Request, Task

T = 80
Answer = Callable[[np.ndarray], np.ndarray]


def task(*, length: int = T, padding: int = 6, seed: int = 0, step: float = 1.0, level: float = 300) -> Task:
    """A record of noise, padded, with one start far off in a random direction."""
    rng = np.random.default_rng(seed)
    mask = np.ones((1, length), bool)
    mask[:, :padding] = mask[:, length - padding :] = False
    original = np.rint(rng.normal(0, 100, (1, length)) * mask).astype(np.float32)
    starts = original + np.rint(rng.normal(0, level, (3, 1, length)) + 200).astype(np.float32) * mask
    return Task(original, mask, starts, 300.0, step, np.random.default_rng([seed, 1]))


def drive(attack: Attack, task: Task, answer: Answer, queries: int) -> tuple[float, str, list[Request]]:
    """The smallest L2 of an adversarial point that is no probe, why the walk ended, and copies of its requests."""
    best, ended, asked, spent = np.inf, "budget", [], 0
    walk = attack.walk(task)
    try:
        request = next(walk)
        while spent < queries:
            points = request.points.copy()
            asked.append(Request(points, None if request.centre is None else request.centre.copy()))
            spent += len(points)
            hits = answer(points)
            if request.centre is None and hits.any():
                best = min(best, np.linalg.norm(points[hits] - task.original, axis=(1, 2)).min())
            request = walk.send(hits)
    except StopIteration as stop:
        ended = stop.value
    return float(best), ended, asked


def plane(task: Task, distance: float) -> Answer:
    """Adversarial beyond a plane at that distance; its normal lies on the valid samples and near no axis."""
    normal = (np.abs(np.random.default_rng(9).normal(1, 0.5, task.original.shape)) * task.mask).ravel()
    normal /= np.linalg.norm(normal)
    return lambda points: (points - task.original).reshape(len(points), -1) @ normal >= distance


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_estimate_is_equation_16(share: float) -> None:
    rng = np.random.default_rng(4)
    probes = rng.normal(size=(50, 1, T)).astype(np.float32)
    told = np.arange(50) < 50 * share
    walk = estimate_normal(np.zeros((1, T), np.float32), iter([probes[:20], probes[20:]]))
    request, given = next(walk), 0
    try:
        while True:
            block = told[given : given + len(request.points)]
            given += len(block)
            request = walk.send(block)
    except StopIteration as stop:
        found = stop.value
    labels = np.where(told, 1.0, -1.0)
    weights = labels - (labels.mean() if 0 < share < 1 else 0)
    expected = np.tensordot(weights, probes, axes=1)
    np.testing.assert_allclose(found, expected / np.linalg.norm(expected), atol=1e-5)


def test_reaches_the_nearest_point_of_a_plane() -> None:
    record = task()
    best, _, _ = drive(HopSkipJump(), record, plane(record, 400.0), 5000)
    assert 400 <= best < 1.1 * 400


def test_probes_have_the_published_sizes_and_spare_the_padding() -> None:
    record = task()
    _, _, asked = drive(HopSkipJump(), record, plane(record, 400.0), 1500)
    first = 0.1 * np.ptp(record.original[record.mask])
    sizes, centres = [], []
    for request in asked:
        assert (request.points[:, ~record.mask] == record.original[~record.mask]).all()
        if request.centre is not None:
            sizes.append(np.linalg.norm(request.points - request.centre, axis=(1, 2)))
            centres.append(np.linalg.norm(request.centre - record.original))
    # 100 probes at first, then 141
    np.testing.assert_allclose(np.concatenate(sizes)[:100], first, rtol=1e-3)
    distances = np.repeat(centres, [len(block) for block in sizes])
    np.testing.assert_allclose(np.concatenate(sizes)[100:], 0.01 * distances[100:], rtol=1e-3)
    assert (np.flatnonzero(np.diff(distances) != 0) + 1)[:2].tolist() == [100, 241]


def test_input_codes_blind_it_and_not_smooth_geo() -> None:
    """The same plane, 500 uV off, its normal a burst of 8 Hz, seen sample by sample and in steps of 128 uV."""
    time = np.arange(1500) / 300
    reached = {}
    for attack in (HopSkipJump(), SmoothGeo()):
        for step in (1.0, 128.0):
            record = task(length=1500, padding=50, seed=2, step=step, level=500)
            normal = (np.sin(2 * np.pi * 8 * time) * np.exp(-(((time - 2) / 0.3) ** 2)))[None] * record.mask
            normal /= np.linalg.norm(normal)
            record.starts[:] += (3000 * normal).astype(np.float32)

            def answer(
                points: np.ndarray, step: float = step, record: Task = record, normal: np.ndarray = normal
            ) -> np.ndarray:
                seen = step * (np.rint(points / step) - np.rint(record.original / step))
                return seen.reshape(len(points), -1) @ normal.ravel() >= 500

            reached[attack.name, step], _, _ = drive(attack, record, answer, 2000)
    assert reached["hopskipjump", 128.0] > 1.5 * reached["hopskipjump", 1.0]
    assert reached["smooth-geo", 128.0] < 1.1 * reached["smooth-geo", 1.0]


def test_bounded_without_an_adversarial_point() -> None:
    record = task()
    _, ended, asked = drive(HopSkipJump(), record, lambda points: np.zeros(len(points), bool), 10_000)
    assert ended == "no start"
    assert len(asked) == len(record.starts)


def test_ends_where_everything_is_adversarial() -> None:
    best, ended, _ = drive(HopSkipJump(), task(), lambda points: np.ones(len(points), bool), 10_000)
    assert ended == "at the original"
    assert best < 2


@pytest.mark.parametrize("masked", [True, False])
def test_zeros_stay_finite(masked: bool) -> None:
    mask = np.full((1, T), masked)
    zeros = np.zeros((1, T), np.float32)
    starts = np.where(mask, np.full((2, 1, T), 50, np.float32), 0).astype(np.float32)
    record = Task(zeros, mask, starts, 300.0, 1.0, np.random.default_rng(0))

    def answer(points: np.ndarray) -> np.ndarray:
        assert np.isfinite(points).all()
        return points.sum(axis=(1, 2)) > 1000

    best, ended, _ = drive(HopSkipJump(), record, answer, 800)
    assert (best < np.inf) == masked and ended == ("budget" if masked else "no start")


def blocks() -> Iterator[int]:
    """Sizes of the company in which answers are worked out."""
    yield from (1, 3, 16)


def test_answers_alone_decide() -> None:
    record_runs = []
    for size in blocks():
        record = task()
        whole = plane(record, 400.0)

        def answer(points: np.ndarray, size: int = size, whole: Answer = whole) -> np.ndarray:
            return np.concatenate([whole(points[i : i + size]) for i in range(0, len(points), size)])

        record_runs.append(drive(HopSkipJump(), record, answer, 700))
    for best, _, asked in record_runs[1:]:
        assert best == record_runs[0][0]
        for one, other in zip(asked, record_runs[0][2], strict=True):
            np.testing.assert_array_equal(one.points, other.points)
