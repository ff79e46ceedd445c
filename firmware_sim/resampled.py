"""A recording at a model's sampling rate, a piece at a time, where no front end is simulated that would sample it."""

from collections.abc import Iterator

import numpy as np

from edgeguard.ecg.front_end import Resampling, design_resampling
from edgeguard.ecg.stream import Stream
from edgeguard.firmware_sim.resampler import FlagResampler, Resampler


def resampled_stream(stream: Stream, sampling_rate: float) -> Stream:
    """The stream at another rate, without delay; what the filter reaches of a gap is a gap, NaN.

    Args:
        sampling_rate: hertz.

    Raises InputError for a ratio of rates beyond 1:100.
    """
    if stream.sampling_rate == sampling_rate:
        return stream
    design = design_resampling(stream.sampling_rate, sampling_rate)
    return Stream(stream.name, sampling_rate, _chunks(stream, design), stream.label, stream.seconds)


def _chunks(stream: Stream, design: Resampling) -> Iterator[np.ndarray]:
    """float32 [n] whole microvolts."""
    signal, flags = Resampler(design, aligned=True), FlagResampler(design)
    late, taken, made = design.delay, 0, 0
    lost = np.zeros(0, np.uint8)
    silence = np.zeros(-(-design.delay * design.down // design.up) + design.down, np.float32)
    for chunk, real in _followed(stream, silence):
        missing = ~np.isfinite(chunk)
        samples = signal.push(np.where(missing, 0.0, chunk).astype(np.float64))
        flagged = flags.push(missing.astype(np.uint8))
        skipped = min(late, len(flagged))
        late -= skipped
        lost = np.concatenate([lost, flagged[skipped:]])
        taken += len(chunk) if real else 0
        count = len(samples) if real else min(len(samples), -(-taken * design.up // design.down) - made)
        made += count
        if count:
            yield np.where(lost[:count] != 0, np.nan, np.rint(samples[:count])).astype(np.float32)
        lost = lost[count:]


def _followed(stream: Stream, silence: np.ndarray) -> Iterator[tuple[np.ndarray, bool]]:
    """The stream's chunks, and silence after them for the filter's last samples, with whether each is real."""
    for chunk in stream:
        yield chunk, True
    yield silence, False
