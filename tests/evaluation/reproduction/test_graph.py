"""Keys, order and plans of jobs."""

import hashlib
import random
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeguard.evaluation.reproduction.graph import Job, ordered, plan


def job(value: int = 0, *needs: Job, **rest: Any) -> Job:
    return Job("graph_jobs:total", {"value": value}, needs, **rest)


class Done:
    """A store that says of some jobs that they are done, and counts how often it is asked."""

    def __init__(self, jobs: Iterable[Job]) -> None:
        self.keys = {job.key for job in jobs}
        self.asked: list[str] = []

    def is_done(self, job: Job) -> bool:
        self.asked.append(job.key)
        return job.key in self.keys


def test_the_key_is_the_hash_of_what_the_documentation_says() -> None:
    need = Job("a.b:c")
    assert need.key == hashlib.sha256(b'{"arguments":{},"function":"a.b:c","needs":[],"version":1}').hexdigest()
    whole = Job("a.b:d", {"z": (1, 2.5), "a": "\u00b5V"}, (need,), version=3)
    arguments, rest = '{"a":"\\u00b5V","z":[1,2.5]}', '"function":"a.b:d","needs":'
    canonical = f'{{"arguments":{arguments},{rest}["{need.key}"],"version":3}}'
    assert whole.key == hashlib.sha256(canonical.encode()).hexdigest()


def test_a_key_written_down_earlier_still_holds() -> None:
    """Stores live longer than versions: who changes how keys are made loses every result."""
    assert job(1, job(0)).key == "002c8c8b93f0c1c906ec94cb640954d60726896e621db9889b05d2bfe90a51dc"


def test_the_order_of_a_dict_does_not_enter_the_key() -> None:
    one, other = {"a": 1, "b": {"c": 2, "d": 3}}, {"b": {"d": 3, "c": 2}, "a": 1}
    assert Job("m:f", one).key == Job("m:f", other).key


def test_what_cannot_change_the_result_does_not_enter_the_key() -> None:
    rest = {"title": "t", "cost": 3.0, "resources": {"GPU": 1}, "hints": {"device": "cuda"}}
    assert job(1, **rest).key == job(1).key
    assert job(1, **rest) == job(1) and len({job(1, **rest), job(1)}) == 1


@pytest.mark.parametrize(
    "other",
    [
        job(2),
        job(1, version=2),
        job(1, job(3)),
        Job("graph_jobs:steps", {"value": 1}),
        Job("graph_jobs:total", {"value": "1"}),
        Job("graph_jobs:total", {"value": 1.0}),
        Job("graph_jobs:total", {"value": [1]}),
    ],
)
def test_what_can_change_the_result_enters_the_key(other: Job) -> None:
    assert job(1, title="same").key != Job(**{**vars_of(other), "title": "same"}).key


def vars_of(job: Job) -> dict[str, Any]:
    return {name: getattr(job, name) for name in ("function", "arguments", "needs", "version")}


def test_needs_enter_the_key_by_key_and_in_order() -> None:
    a, b = job(1), job(2)
    assert job(0, a, b).key != job(0, b, a).key
    assert job(0, job(1, title="other", hints={"device": "cpu"})).key == job(0, a).key
    assert job(0, job(1, version=2)).key != job(0, a).key


def test_arguments_are_what_json_returns_and_no_longer_the_callers() -> None:
    given = {"eps": (10, 20), "by": {5: "five"}}
    made = Job("m:f", given)
    key = made.key
    given["eps"] = (0,)
    assert made.arguments == {"eps": [10, 20], "by": {"5": "five"}}
    assert made.key == key == Job("m:f", {"eps": [10, 20], "by": {"5": "five"}}).key


@pytest.mark.parametrize("value", [float("nan"), float("inf"), {1, 2}, b"x", object()])
def test_arguments_that_are_not_json_are_refused_with_the_jobs_name(value: object) -> None:
    with pytest.raises(TypeError, match="table 3: its arguments are not JSON"):
        Job("m:f", {"value": value}, title="table 3")


@pytest.mark.parametrize("name", ["f", "m.f", "m:", ":f", "m:f g", "m:f:g", ""])
def test_a_function_without_its_module_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=r"package\.module:function"):
        Job(name)


def test_order_is_needs_first_then_as_given() -> None:
    a, b = job(1), job(2)
    both = job(3, b, a)
    last = job(4, both, a)
    assert ordered([last, b]) == [b, a, both, last]
    assert ordered([a, last, a]) == [a, b, both, last]
    assert ordered([]) == []


def test_of_one_key_the_first_title_stays() -> None:
    assert [found.title for found in ordered([job(1, title="one"), job(1, title="other")])] == ["one"]


def test_one_title_for_different_work_is_fine() -> None:
    assert len(ordered([job(1, title="same"), job(2, title="same")])) == 2


@given(st.integers(0, 2**32), st.integers(1, 30))
def test_order_against_its_definition(seed: int, size: int) -> None:
    rng = random.Random(seed)
    jobs: list[Job] = []
    for number in range(size):
        jobs.append(job(number, *rng.sample(jobs, rng.randint(0, min(3, len(jobs))))))
    wanted = rng.sample(jobs, rng.randint(1, size))
    found = ordered(wanted)
    place = {job.key: number for number, job in enumerate(found)}
    assert len(place) == len(found)
    assert set(place) == {job.key for job in closure(wanted)}
    assert all(place[need.key] < place[job.key] for job in found for need in job.needs)
    assert ordered(wanted) == found


def closure(jobs: Iterable[Job]) -> list[Job]:
    return [found for job in jobs for found in (job, *closure(job.needs))]


def test_what_only_a_finished_job_needs_is_not_run() -> None:
    deep, shared = job(1), job(2)
    finished = job(3, deep, shared)
    wanted = job(4, finished, cost=5.0)
    found = plan([wanted], Done([finished]))
    assert (found.done, found.to_run, found.cost_left) == ((finished,), (wanted,), 5.0)
    other = job(5, shared, cost=2.0)
    found = plan([wanted, other], Done([finished]))
    assert (found.done, found.to_run, found.cost_left) == ((finished,), (wanted, shared, other), 7.0)


def test_a_plan_for_finished_jobs_is_empty() -> None:
    wanted = job(1, job(2))
    found = plan([wanted, wanted], Done([wanted]))
    assert (found.done, found.to_run, found.cost_left) == ((wanted,), (), 0)


def test_long_chains_and_wide_graphs_are_walked_once() -> None:
    """Without recursion, and asking the store once a job, though 2^500 ways lead from the last job to the first."""
    chain = [job(0), job(1)]
    for number in range(2, 1000):
        chain.append(job(number, chain[-1], chain[-2]))
    store = Done([chain[500], chain[499]])
    found = plan([chain[-1]], store)
    assert found.to_run == tuple(chain[501:])
    assert found.done == (chain[499], chain[500]) or found.done == (chain[500], chain[499])
    assert len(store.asked) == len(set(store.asked)) == 501
    assert len(ordered([chain[-1]])) == 1000
    assert "needs" not in repr(chain[-1])
