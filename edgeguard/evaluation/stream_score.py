"""The announced episodes of a simulation against what is known of its signal."""

from collections.abc import Sequence
from typing import Any

from edgeguard.ecg.rhythm_annotations import Span, labelled_spans
from edgeguard.evaluation.episodes import detections_of, score_episodes
from edgeguard.firmware_sim.result import SimulationResult
from edgeguard.firmware_sim.simulator import WatchOptions


def score_stream(
    result: SimulationResult, watch: WatchOptions, reference: Sequence[Span] | None = None
) -> list[dict[str, Any]]:
    """`EpisodeScore.to_json` of every class that the watch announces; none where no time line is known.

    Args:
        reference: the time line of the one stream; None: that of its labelled recordings, where they were joined.
    """
    if watch.rules is None or (reference is None and not watch.join):
        return []
    spans = labelled_spans((r.label, r.seconds) for r in result.records) if reference is None else reference
    if not spans:
        return []
    detections = detections_of(episode.to_json() for episode in result.episodes)
    return [score_episodes(spans, detections, label=label).to_json() for label in watch.rules.watch]
