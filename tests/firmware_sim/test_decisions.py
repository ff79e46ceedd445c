from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeguard.errors import InputError
from edgeguard.firmware_sim.decisions import (
    EPISODE_END,
    EPISODE_START,
    INCONCLUSIVE,
    Decider,
    DecisionRules,
    EpisodeEvent,
    Reason,
)

CLASSES = ("N", "A", "~")
SMALL = DecisionRules(votes=2, of=3, min_duration=3.0, refractory=5.0, min_quality=0.5, look_back=1.0)

Hop = tuple[float | None, float]
"""Probability of A, or None for a hop without a score; quality."""


def logits(a: float | None, noise: float = 0.0) -> np.ndarray | None:
    """Of the given probabilities of A and ~; N has the rest."""
    return None if a is None else np.log(np.maximum([1 - a - noise, a, noise], 1e-30)) + 7.0


def play(decider: Decider, hops: list[Hop], *, begin: int = 1) -> list[EpisodeEvent]:
    """One hop a second, the first at `begin`."""
    events = []
    for t, (a, quality) in enumerate(hops, begin):
        events += decider.push(logits(a), float(t), quality)
    return events


def good(*a: float | None) -> list[Hop]:
    return [(p, 1.0) for p in a]


def brief(events: list[EpisodeEvent]) -> list[tuple]:
    return [(e.event, e.label, e.t, e.start, e.end, e.reason) for e in events]


def test_a_hand_computed_time_line():
    """The votes of t 2, 4 and 5 announce at 5, three seconds after the first; those of 7 and 9 end it."""
    events = play(Decider(CLASSES, SMALL), good(0.1, 0.7, 0.1, 0.8, 0.9, 0.5, 0.3, 0.5, 0.2, 0.9, 0.9, 0.9, 0.9, 0.9))
    assert brief(events) == [
        (EPISODE_START, "A", 5.0, 1.0, None, None),
        (EPISODE_END, "A", 9.0, 1.0, 7.0, Reason.OVER),
        (EPISODE_START, "A", 14.0, 9.0, None, None),  # open from t 11 on, lasting at 13, refractory until 14
    ]
    assert events[0].confidence == pytest.approx(np.mean([0.7, 0.8, 0.9]))
    assert events[1].confidence == pytest.approx(np.mean([0.7, 0.8, 0.9, 0.5, 0.5]))
    assert [e.announced for e in events] == [5.0, 5.0, 14.0]


def test_a_short_episode_is_never_heard_of():
    assert play(Decider(CLASSES, SMALL), good(0.1, 0.9, 0.9, 0.9, 0.1, 0.1, 0.1)) == []


def test_between_the_thresholds_nothing_begins_and_nothing_ends():
    assert play(Decider(CLASSES, SMALL), good(*[0.59] * 50)) == []
    running = Decider(CLASSES, SMALL)
    assert len(play(running, good(*[0.9] * 5))) == 1
    assert play(running, good(*[0.41] * 50), begin=6) == []
    assert running.announced == ("A",)


def test_votes_need_no_unbroken_run():
    """Two of three, the third for or against."""
    events = play(Decider(CLASSES, SMALL), good(0.9, 0.9, 0.1) * 4)
    assert brief(events) == [(EPISODE_START, "A", 4.0, 0.0, None, None)]


def test_too_many_hops_without_a_score_are_inconclusive():
    decider = Decider(CLASSES, SMALL)
    events = play(decider, [(None, 0.0), (None, 0.2), (None, 0.4), (None, 0.6), (0.1, 0.8), (0.1, 1.0)])
    assert brief(events) == [
        (EPISODE_START, INCONCLUSIVE, 4.0, 0.0, None, None),
        (EPISODE_END, INCONCLUSIVE, 6.0, 0.0, 3.0, Reason.OVER),
    ]
    assert events[0].confidence == 1.0 and events[0].quality == pytest.approx(0.3)
    assert decider.announced == ()


@pytest.mark.parametrize("unusable", [(0.9, 0.49), (0.9, float("nan")), (None, 1.0)])
def test_unusable_hops_abstain_and_at_length_end_the_alarm(unusable):
    decider = Decider(CLASSES, SMALL)
    play(decider, good(*[0.9] * 5))
    assert play(decider, [unusable] * 3, begin=6) == []
    events = play(decider, [unusable], begin=9)
    assert brief(events) == [
        (EPISODE_END, "A", 9.0, 0.0, 4.0, Reason.INCONCLUSIVE),
        (EPISODE_START, INCONCLUSIVE, 9.0, 5.0, None, None),
    ]


def test_a_short_loss_of_signal_does_not_split_an_episode():
    decider = Decider(CLASSES, SMALL)
    events = play(decider, good(*[0.9] * 5, None, None, None, *[0.9] * 20))
    assert brief(events) == [(EPISODE_START, "A", 4.0, 0.0, None, None)]


@pytest.mark.parametrize(
    ("scores", "abstains"),
    [
        (logits(0.45, 0.15), True),  # the most probable, N or A, stays below one half
        (logits(0.3, 0.6), True),  # noise
        (logits(0.2, 0.3), False),
        (np.array([np.nan, 0.0, 0.0]), True),
    ],
)
def test_unsure_and_noisy_scores_abstain(scores, abstains):
    decider = Decider(CLASSES, SMALL)
    events = [event for t in range(1, 10) for event in decider.push(scores, float(t), 1.0)]
    assert [e.label for e in events] == ([INCONCLUSIVE] if abstains else [])


def test_the_end_of_the_stream_ends_what_is_on_and_begins_anew():
    decider = Decider(CLASSES, SMALL)
    first = play(decider, good(*[0.9] * 6))
    assert brief(decider.finish(6.0)) == [(EPISODE_END, "A", 6.0, 0.0, 5.0, Reason.STREAM_ENDED)]
    assert decider.finish(6.0) == []
    assert play(decider, good(*[0.9] * 6)) == first


def test_two_classes_are_independent():
    """In a model where classes do not exclude each other in time, each is followed by itself."""
    rules = replace(SMALL, watch=("A", "N"))
    hops = good(*[0.9] * 8, *[0.1] * 8)
    both = play(Decider(CLASSES, rules), hops)
    for label in ("A", "N"):
        alone = play(Decider(CLASSES, replace(rules, watch=(label,))), hops)
        assert [e for e in both if e.label == label] == alone != []


hops_of_a_day = st.lists(
    st.tuples(st.one_of(st.none(), st.floats(0.0, 1.0), st.sampled_from([0.05, 0.95])), st.floats(0.3, 1.0)),
    max_size=80,
)
any_rules = st.builds(
    lambda of, share, **rest: DecisionRules(of=of, votes=of // 2 + 1 + round(share * (of - of // 2 - 1)), **rest),
    of=st.integers(1, 6),
    share=st.floats(0, 1),
    min_duration=st.integers(0, 6).map(float),
    refractory=st.integers(0, 6).map(float),
    min_quality=st.just(0.5),
    look_back=st.integers(0, 3).map(float),
)


@settings(max_examples=150, deadline=None)
@given(hops_of_a_day, any_rules)
def test_invariants_of_any_stream(hops, rules):
    decider = Decider(CLASSES, rules)
    events = play(decider, hops)
    events += decider.finish(len(hops) + 1.0)
    assert [e.t for e in events] == sorted(e.t for e in events)
    for label in ("A", INCONCLUSIVE):
        own = [e for e in events if e.label == label]
        assert [e.event for e in own] == [EPISODE_START, EPISODE_END] * (len(own) // 2)
        for start, end in zip(own[::2], own[1::2], strict=True):
            assert end.announced == start.announced == start.t
            assert start.start == end.start <= end.end <= end.t
            assert start.t - start.start >= rules.min_duration
            assert rules.leave <= end.confidence <= 1 and 0 <= end.quality <= 1
        for end, start in zip(own[1::2], own[2::2], strict=False):
            assert start.t - end.t >= rules.refractory
            assert start.start > end.end or start.start == end.end == 0  # cut off at the stream's start


@settings(max_examples=100, deadline=None)
@given(hops_of_a_day, any_rules, st.data())
def test_restored_from_any_hop_it_goes_on_as_if_nothing_had_been(hops, rules, data):
    cut = data.draw(st.integers(0, len(hops)))
    whole = Decider(CLASSES, rules)
    expected = play(whole, hops)
    before, after = Decider(CLASSES, rules), Decider(CLASSES, rules)
    events = play(before, hops[:cut])
    saved = before.state()
    play(before, good(*[0.9] * 20), begin=cut + 1)  # a saved state is no view of a living one
    after.restore(saved)
    events += play(after, hops[cut:], begin=cut + 1)
    assert events == expected
    assert after.announced == whole.announced
    for name, array in whole.state().items():
        np.testing.assert_array_equal(array, after.state()[name])


def test_a_state_of_other_rules_is_refused():
    state = Decider(CLASSES, SMALL).state()
    with pytest.raises(InputError, match="no 4 hops of class 'inconclusive'"):
        Decider(CLASSES, replace(SMALL, votes=3, of=4)).restore(state)
    with pytest.raises(InputError, match="class 'N'"):
        Decider(CLASSES, replace(SMALL, watch=("N",))).restore(state)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"enter": 0.3}, "enter 0.3, leave 0.4.*mend --enter"),
        ({"leave": 0.0}, "mend --enter or --leave"),
        ({"enter": float("nan")}, "mend --enter"),
        ({"votes": 15}, "15 of 30 votes.*mend --votes"),
        ({"votes": 31}, "31 of 30 votes"),
        ({"min_quality": 1.5}, "--min-quality"),
        ({"min_confidence": -0.1}, "--min-confidence"),
        ({"min_duration": -1.0}, "--min-duration"),
        ({"refractory": float("inf")}, "--refractory"),
        ({"look_back": float("nan")}, "--look-back"),
    ],
)
def test_settings_that_decide_nothing_are_refused(setting, message):
    with pytest.raises(InputError, match=message) as caught:
        DecisionRules(**setting)
    assert "\n" not in str(caught.value)


def test_a_class_that_the_model_lacks_is_refused():
    with pytest.raises(InputError, match=r"--watch A: no class of the model; .*choose N or AFIB"):
        Decider(("N", "AFIB"))


def test_an_event_is_a_line_of_the_log():
    (event,) = play(Decider(CLASSES, SMALL), good(*[0.9] * 4))
    assert event.to_json() == {
        "event": "episode_start",
        "t": 4.0,
        "class": "A",
        "start": 0.0,
        "end": None,
        "announced": 4.0,
        "confidence": pytest.approx(0.9),
        "quality": 1.0,
        "reason": None,
    }
