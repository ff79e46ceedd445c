"""The boundary attack: every accepted step comes nearer, padding is sacred, and company does not matter."""

from collections.abc import Callable

import numpy as np
import pytest

from edgeguard.attacks.black_box import BlackBoxResult, attack_records
from edgeguard.attacks.boundary import Boundary
from edgeguard.attacks.walk import Task
from edgeguard.errors import InputError

T = 400


class Bumps:
    """Three classes by the projection on two slow waves; counts its rows, remembers its largest batch."""

    def __init__(self) -> None:
        time = np.arange(T) / T
        self.waves = np.stack([np.sin(2 * np.pi * time), np.cos(4 * np.pi * time)]).astype(np.float32)
        self.calls, self.largest = 0, 0

    def logits(self, ecg: np.ndarray) -> np.ndarray:
        self.calls += len(ecg)
        self.largest = max(self.largest, len(ecg))
        # one row at a time, so that the bits of an answer cannot depend on the batch
        scores = np.stack([self.waves @ row[0] for row in ecg])
        return np.concatenate([scores, np.full((len(ecg), 1), 2000, np.float32)], axis=1)

    def input_codes(self, ecg: np.ndarray) -> np.ndarray:
        return ecg.astype(np.int32)


class Constant(Bumps):
    """Says class 0 to everything."""

    def logits(self, ecg: np.ndarray) -> np.ndarray:
        return np.tile(np.array([[1, 0, 0]], np.float32), (len(ecg), 1))


@pytest.fixture
def model() -> Bumps:
    return Bumps()


@pytest.fixture
def records(model: Bumps) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[str]]:
    """12 records, four a class, whole microvolts, with padding of 0 to 22 samples a side."""
    rng = np.random.default_rng(5)
    labels = np.arange(12) % 3
    level = np.where(np.arange(3)[None] == labels[:, None], rng.uniform(60, 200, (12, 1)), 0)[:, :2]
    ecg = level @ model.waves + rng.normal(0, 8, (12, T))
    mask = np.ones((12, 1, T), bool)
    for i in range(12):
        mask[i, 0, : 2 * i] = mask[i, 0, T - 2 * i :] = False
    ecg = np.where(mask, np.rint(ecg)[:, None, :], 0).astype(np.float32)
    return ecg, mask, labels, [f"r{i}" for i in range(12)]


@pytest.fixture
def attack(model: Bumps, records: tuple) -> Callable[..., BlackBoxResult]:
    def go(budget: int = 120, labels: np.ndarray | None = None, options: Boundary | None = None, **kwargs):
        ecg, mask, truth, names = records
        labels = truth if labels is None else labels
        return attack_records(model, ecg, mask, labels, names, attack=options or Boundary(), queries=budget, **kwargs)

    return go


def walk_of(options: Boundary):
    """A walk from 100 microvolts everywhere to silence."""
    original, start = np.zeros((1, T), np.float32), np.full((1, 1, T), 100, np.float32)
    return options.walk(Task(original, np.ones((1, T), bool), start, 300.0, 1.0, np.random.default_rng(0)))


def drive(walk, judge: Callable[[np.ndarray], bool], limit: int) -> list[tuple[np.ndarray, bool]]:
    """All points that a walk asks about, with the answers, up to `limit`."""
    asked = []
    try:
        (point,) = next(walk).points
        while len(asked) < limit:
            asked.append((point, judge(point)))
            (point,) = walk.send(np.array([asked[-1][1]])).points
    except StopIteration:
        pass
    return asked


def test_accepted_steps_shrink_the_distance_by_one_minus_q() -> None:
    """With an ever yielding model each whole step is accepted: distances form a geometric series."""
    options = Boundary(bisections=0, source_step=0.1, check_every=1, spherical_step=0.2)
    walk = walk_of(options)
    points = [point for point, _ in drive(walk, lambda point: True, 15)]
    distances = [np.linalg.norm(point.astype(np.float64)) for point in points]
    spheres, nearer = distances[1::2], distances[2::2]
    np.testing.assert_allclose(spheres, [distances[0] * 0.9**k for k in range(7)], rtol=1e-5)
    np.testing.assert_allclose(nearer, [distances[0] * 0.9 ** (k + 1) for k in range(7)], rtol=1e-5)


def test_random_step_is_orthogonal_and_of_relative_length_p() -> None:
    options = Boundary(bisections=0, spherical_step=0.25)
    walk = walk_of(options)
    (first, _), (sphere, _) = drive(walk, lambda point: True, 2)
    eta = sphere.astype(np.float64) * np.sqrt(1 + 0.25**2) - first
    assert np.linalg.norm(eta) == pytest.approx(0.25 * np.linalg.norm(first), rel=1e-5)
    assert np.vdot(eta, first) == pytest.approx(0, abs=1e-4 * np.linalg.norm(eta) * np.linalg.norm(first))


def test_rejected_proposals_leave_the_state_where_it_was() -> None:
    """Without one accepted step, no point leaves the first sphere, and patience ends the walk."""
    options = Boundary(bisections=0, proposals=3, patience=4)
    walk = walk_of(options)
    answers = iter([True])
    asked = drive(walk, lambda point: next(answers, False), 1000)
    assert len(asked) == 1 + 4 * 3
    assert all(np.linalg.norm(p) <= 100 * np.sqrt(T) * (1 + 1e-5) for p, _ in asked)


def test_the_random_step_keeps_its_lower_bound() -> None:
    """A model that rejects everything drives the step down to the bound and no further."""
    options = Boundary(bisections=0, check_every=1, smallest_spherical_step=0.15)
    walk = walk_of(options)
    answers = iter([True])
    points = [point for point, _ in drive(walk, lambda point: next(answers, False), 200)][1:]
    start = np.full((1, T), 100.0)
    cosines = np.array([np.vdot(p, start) / np.linalg.norm(p) / np.linalg.norm(start) for p in points])
    steps = np.sqrt(1 / cosines**2 - 1)
    assert steps[0] == pytest.approx(0.5, rel=1e-4)
    assert steps[-1] == pytest.approx(0.15, rel=1e-3)
    assert steps.min() > 0.149


def test_bisection_finds_a_flat_boundary() -> None:
    """The model is fooled beyond 30 of 100: ten halvings locate that within 100 / 1024."""
    walk = walk_of(Boundary(bisections=10))
    asked = drive(walk, lambda point: point[0, 0] >= 30, 11)
    assert 30 <= min(p[0, 0] for p, hit in asked if hit) <= 30 + 100 / 1024


def test_found_records_fool_the_model_when_judged_anew(attack: Callable, model: Bumps, records: tuple) -> None:
    ecg, _, labels, _ = records
    result = attack()
    assert len(result.traces) == 12
    for i, trace in result.traces.items():
        for point in (trace.nearest_l2, trace.nearest_linf):
            np.testing.assert_array_equal(point, np.rint(point))
            assert model.logits(point[None]).argmax() != labels[i]
        difference = trace.nearest_l2.astype(np.float64) - ecg[i]
        assert trace.l2[-1] == pytest.approx(np.linalg.norm(difference))
        assert trace.linf[-1] == np.abs(trace.nearest_linf.astype(np.float64) - ecg[i]).max()


def test_the_attack_approaches_the_known_distance_to_the_boundary(
    attack: Callable, model: Bumps, records: tuple
) -> None:
    """Two classes meet in a plane: the distance of a record to the class it was turned into is known."""
    ecg, mask, labels, _ = records
    result = attack(budget=1500)
    for i in np.flatnonzero(labels < 2)[:4]:
        reached = model.logits(result.traces[i].nearest_l2[None]).argmax()
        ours, theirs = labels[i], reached
        gap = model.logits(ecg[i][None])[0]
        normal = model.waves[ours] - (model.waves[theirs] if theirs < 2 else 0)
        exact = (gap[ours] - gap[theirs]) / np.linalg.norm(normal * mask[i, 0])
        assert 0.999 * exact <= result.traces[i].l2[-1] <= 1.1 * exact


def test_padding_is_untouched(attack: Callable, model: Bumps, records: tuple) -> None:
    ecg, mask, _, _ = records
    asked: list[np.ndarray] = []
    exact = model.logits
    model.logits = lambda rows: (asked.extend(rows), exact(rows))[1]
    for spectral in (False, True):
        result = attack(budget=60, attacked=np.array([9]), options=Boundary(spectral_starts=spectral))
        assert not (result.traces[9].nearest_l2 - ecg[9])[~mask[9]].any()
    queries = [row for row in asked if row.shape == (1, T)][12:]
    assert sum(not row[~mask[9]].any() for row in queries) >= 2 * 59


@pytest.mark.parametrize("spectral", [False, True])
def test_results_depend_neither_on_company_nor_on_batch_size(attack: Callable, spectral: bool) -> None:
    options = Boundary(spectral_starts=spectral)
    everyone = attack(options=options)
    in_fives = attack(options=options, lanes=5, batch=3, workers=2)
    alone = attack(options=options, attacked=np.array([7]))
    assert list(alone.traces) == [7]
    for other, members in ((in_fives, range(12)), (alone, [7])):
        for i in members:
            ours, theirs = everyone.traces[i], other.traces[i]
            assert (ours.queries, ours.l2, ours.linf) == (theirs.queries, theirs.l2, theirs.linf)
            np.testing.assert_array_equal(ours.nearest_l2, theirs.nearest_l2)


def test_seeds_repeat_and_differ(attack: Callable) -> None:
    first, again, other = (attack(seed=seed).traces[0].l2 for seed in (1, 1, 2))
    assert first == again != other


@pytest.mark.parametrize("budget", [0, 1, 2, 5, 40])
def test_the_budget_holds_and_the_ledger_counts_every_call(attack: Callable, model: Bumps, budget: int) -> None:
    spent: list[int] = []
    result = attack(budget=budget, progress=spent.append)
    assert result.ledger.max() <= budget
    assert result.ledger.sum() == model.calls
    assert sum(spent) == 12 * budget
    assert bool(result.traces) == (budget > 0)
    assert all(trace.nearest_l2 is None for trace in result.traces.values()) == (budget < 2)


def test_targeted_attack_reaches_its_class(attack: Callable, model: Bumps, records: tuple) -> None:
    labels = records[2]
    result = attack(targets=np.full(12, 2))
    assert sorted(result.traces) == np.flatnonzero(labels != 2).tolist()
    for trace in result.traces.values():
        assert model.logits(trace.nearest_l2[None]).argmax() == 2
    assert result.ledger[labels == 2].tolist() == [1] * 4


def test_records_that_are_wrong_anyway_are_skipped(attack: Callable, records: tuple) -> None:
    labels = records[2].copy()
    labels[[2, 3]] = (labels[[2, 3]] + 1) % 3
    result = attack(labels=labels)
    assert sorted(result.traces) == [0, 1, *range(4, 12)]
    assert result.ledger[[2, 3]].tolist() == [1, 1]
    np.testing.assert_array_equal(result.predicted, records[2])


def test_a_constant_model_costs_its_starts_and_no_more(records: tuple) -> None:
    ecg, mask, _, names = records
    result = attack_records(Constant(), ecg, mask, np.zeros(12), names, attack=Boundary(), queries=1000)
    assert all(trace.ended == "no start" for trace in result.traces.values())
    assert result.ledger.tolist() == [1 + 3] * 12, "the record, and three of noise"


def test_even_windows_are_refused(attack: Callable) -> None:
    with pytest.raises(InputError, match="odd"):
        attack(options=Boundary(smoothing=40))
