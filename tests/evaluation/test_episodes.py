import json
from dataclasses import asdict, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeguard.ecg.rhythm_annotations import Span, join_spans
from edgeguard.evaluation.episodes import (
    Detection,
    EpisodeScore,
    detections_of,
    events_per_day,
    pool,
    score_episodes,
)

DAY = [Span(0, 100, "N"), Span(100, 200, "A"), Span(200, 500, "N"), Span(500, 560, "A"), Span(560, 1000, "O")]


def found(start: float, end: float, alarm: float, label: str = "A") -> Detection:
    return Detection(Span(start, end, label), alarm)


def test_a_hand_computed_day():
    """One of two episodes found, late by 70 s and short by 30; one false alarm; noise unscored."""
    score = score_episodes(
        [*DAY, Span(1100, 1200, "~")],
        [found(130, 210, 170), found(300, 340, 350), found(1010, 1090, 1080), found(0, 40, 60, "inconclusive")],
    )
    assert asdict(score) == {
        "label": "A",
        "episodes": 2,
        "found": 1,
        "detections": 2,  # the third lies where nothing is labelled
        "false_alarms": 1,
        "delays": (70.0,),
        "scored": 1100.0,
        "reference": 160.0,
        "detected": 120.0,
        "agreed": 70.0,
        "inconclusive": 40.0,
    }
    figures = score.to_json()
    wilson = {"value": 0.5, "low": 0.0945, "high": 0.9055, "n": 2}
    assert figures["sensitivity"] == pytest.approx(wilson, abs=1e-4)
    assert figures["false_alarms_per_day"]["value"] == pytest.approx(86_400 / 1100)
    assert figures["delay_s"] == {"median": 70.0, "q1": 70.0, "q3": 70.0, "n": 1}
    assert figures["burden"] == pytest.approx(
        {"reference": 160 / 1100, "detected": 120 / 1100, "error": -40 / 1100, "misplaced": (50 + 90) / 1100}
    )
    assert figures["inconclusive"] == pytest.approx(40 / 1100)
    json.dumps(figures, allow_nan=False)


def test_touching_is_no_overlap_and_one_second_is():
    assert score_episodes(DAY, [found(20, 100, 90), found(200, 210, 220)]).found == 0
    assert score_episodes(DAY, [found(20, 101, 90)]).found == 1


def test_one_detection_over_two_episodes_finds_both_and_is_never_early():
    score = score_episodes(DAY, [found(110, 550, 150)])
    assert (score.found, score.detections, score.false_alarms) == (2, 1, 0)
    assert score.delays == (50.0, 0.0)


def test_two_detections_of_one_episode_count_once_and_the_first_alarm_counts():
    score = score_episodes(DAY, [found(160, 190, 180), found(110, 140, 150)])
    assert (score.episodes, score.found, score.detections, score.false_alarms) == (2, 1, 2, 0)
    assert score.delays == (50.0,)


def test_alarms_of_another_class_do_not_count():
    score = score_episodes(DAY, [found(100, 200, 150, "O")])
    assert (score.found, score.detections, score.detected) == (0, 0, 0.0)
    assert score_episodes(DAY, [found(560, 1000, 700, "O")], label="O").found == 1


def test_a_short_episode_is_neither_missed_nor_a_trap():
    detections = [found(510, 550, 540)]
    assert score_episodes(DAY, detections, shortest=60).episodes == 2
    score = score_episodes(DAY, detections, shortest=61)
    assert (score.episodes, score.found, score.detections, score.false_alarms) == (1, 0, 1, 0)


def test_nothing_to_score():
    figures = score_episodes([], [found(0, 10, 5)]).to_json()
    assert figures["detections"] == 0 and figures["scored_s"] == 0
    assert figures["sensitivity"]["n"] == 0 and figures["delay_s"] == {"median": None, "q1": None, "q3": None, "n": 0}
    assert set(figures["burden"].values()) == {None}


@pytest.mark.parametrize(
    ("count", "low", "high"), [(0, 0.0, 3.6889), (1, 0.0253, 5.5716), (10, 4.7954, 18.3904), (100, 81.3639, 121.6275)]
)
def test_poisson_intervals_against_the_published_table(count, low, high):
    """Garwood's table, as in Johnson, Kotz and Kemp."""
    rate = events_per_day(count, 86_400)
    assert (rate["value"], rate["n"]) == (count, count)
    assert (rate["low"], rate["high"]) == pytest.approx((low, high), abs=1e-3)
    half = events_per_day(count, 2 * 86_400)
    assert (half["low"], half["high"]) == pytest.approx((low / 2, high / 2), abs=1e-3)


def test_the_log_of_a_stream_gives_its_episodes():
    events = [
        {"event": "header"},
        {"event": "episode_start", "t": 9.0, "class": "A", "start": 1.0, "end": None, "announced": 9.0},
        {"event": "episode_end", "t": 30.0, "class": "A", "start": 1.0, "end": 22.0, "announced": 9.0},
    ]
    assert detections_of(events) == [found(1.0, 22.0, 9.0)]


lengths = st.lists(st.tuples(st.integers(1, 12), st.sampled_from(["A", "A", "N", "O", None])), max_size=12)
alarms = st.lists(st.tuples(st.integers(0, 80), st.integers(1, 20), st.integers(0, 20)), max_size=8)


def time_line(parts) -> list[Span]:
    ends = np.cumsum([seconds for seconds, _ in parts], dtype=int).tolist()
    return [Span(end - s, end, label) for (s, label), end in zip(parts, ends, strict=True) if label]


def detected(parts) -> list[Detection]:
    return [found(start, start + seconds, start + after) for start, seconds, after in parts]


def seconds_of(spans) -> set[int]:
    return {second for span in spans for second in range(int(span.start), int(span.end))}


def halves(span: Span) -> tuple[Span, Span]:
    middle = (span.start + span.end) / 2
    return Span(span.start, middle, span.label), Span(middle, span.end, span.label)


def runs(seconds: set[int]) -> list[set[int]]:
    """Runs of successive seconds, in order."""
    out: list[set[int]] = []
    for second in sorted(seconds):
        if second - 1 in seconds:
            out[-1].add(second)
        else:
            out.append({second})
    return out


@settings(max_examples=200, deadline=None)
@given(lengths, alarms, st.randoms())
def test_equals_a_count_second_by_second(parts, alarm_parts, random):
    """Whole seconds, as sets; neither order nor cutting a span in two changes anything."""
    reference, detections = time_line(parts), detected(alarm_parts)
    scored = seconds_of(reference)
    episodes = runs(seconds_of(s for s in reference if s.label == "A"))
    own = [run for run in runs(seconds_of(d.span for d in detections)) if run & scored]
    delays = []
    for episode in episodes:
        over = [run for run in own if run & episode]
        ringing = [d.alarm for run in over for d in detections if seconds_of([d.span]) & run]
        delays += [max(min(ringing) - min(episode), 0)] if ringing else []
    truth, claim = set().union(*episodes), set().union(*own) & scored
    expected = EpisodeScore(
        label="A",
        episodes=len(episodes),
        found=sum(any(run & episode for run in own) for episode in episodes),
        detections=len(own),
        false_alarms=sum(not run & truth for run in own),
        delays=tuple(map(float, delays)),
        scored=float(len(scored)),
        reference=float(len(truth)),
        detected=float(len(claim)),
        agreed=float(len(claim & truth)),
        inconclusive=0.0,
    )
    assert score_episodes(reference, detections) == expected
    cut = [half for span in reference for half in halves(span)]
    random.shuffle(cut)
    random.shuffle(detections)
    assert score_episodes(cut, detections) == expected


@given(lengths)
def test_a_perfect_decider_has_no_fault(parts):
    reference = time_line(parts)
    perfect = [Detection(span, span.start) for span in join_spans(reference) if span.label == "A"]
    score = score_episodes(reference, perfect)
    assert score.found == score.episodes == score.detections and score.false_alarms == 0
    assert set(score.delays) <= {0.0}
    assert score.detected == score.reference == score.agreed


@given(lengths, alarms, st.randoms())
def test_scores_of_streams_add_up_in_any_order(parts, alarm_parts, random):
    scores = [score_episodes(time_line(parts[i:]), detected(alarm_parts[i:])) for i in range(3)]
    whole = pool(scores)
    assert whole.found == sum(s.found for s in scores) and whole.scored == sum(s.scored for s in scores)
    assert pool(scores[:1]) == scores[0]
    random.shuffle(scores)
    shuffled = pool(scores)
    assert sorted(shuffled.delays) == sorted(whole.delays)
    assert replace(shuffled, delays=()) == replace(whole, delays=())


def test_scores_of_different_classes_are_not_pooled():
    with pytest.raises(ValueError, match="one class"):
        pool([score_episodes(DAY, []), score_episodes(DAY, [], label="O")])
