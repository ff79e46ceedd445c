"""Ranges of every activation over calibration windows, in memory that does not grow with their number."""

from collections.abc import Callable, Iterable, Sequence
from functools import partial

import numpy as np
import onnx
import onnxruntime
from onnx import ModelProto, helper

from edgeguard.errors import InputError, did_you_mean
from edgeguard.export.graph_passes import INPUT
from edgeguard.runtime.flags import session_options

Range = tuple[float, float]

_HALF_BITS = 14
_HALF = 2**_HALF_BITS
_SMALLEST_EXPONENT = -60
"""Of the bin layout of a tensor that is zero throughout."""
_ENTROPY_BINS = 2048


class Histogram:
    """How often one tensor takes which value: 32,768 bins around zero, and the exact ends.

    The bin width is the smallest power of two at which every value so far has a bin; a larger value doubles it and
    merges pairs of bins, which loses nothing but resolution. The result depends neither on the order of the values
    nor on how they were batched.

    Attributes:
        counts: int64 [32768]; bin i holds the values in [(i - 16384) * width, (i - 16383) * width).
        low, high: least and largest value.
    """

    def __init__(self) -> None:
        self.counts = np.zeros(2 * _HALF, np.int64)
        self.low, self.high = np.inf, -np.inf
        self._exponent = _SMALLEST_EXPONENT

    @property
    def width(self) -> float:
        """Of one bin, in the tensor's unit; a power of two."""
        return float(2.0 ** (self._exponent - _HALF_BITS))

    def add(self, values: np.ndarray) -> None:
        """Count finite values of any shape."""
        low, high = float(values.min()), float(values.max())
        self.low, self.high = min(self.low, low), max(self.high, high)
        self._widen_to(max(-low, high))
        codes = np.floor(values.ravel() * np.float64(1 / self.width)).astype(np.int64) + _HALF
        self.counts += np.bincount(codes, minlength=2 * _HALF)

    def _widen_to(self, magnitude: float) -> None:
        """Bins for values up to this magnitude."""
        needed = int(np.frexp(magnitude)[1]) if magnitude > 0 else _SMALLEST_EXPONENT
        while self._exponent < needed and self.counts.any():
            quarter = _HALF // 2
            merged = self.counts.reshape(-1, 2).sum(axis=1)
            self.counts[:] = 0
            self.counts[quarter:-quarter] = merged
            self._exponent += 1
        self._exponent = max(self._exponent, needed)


Method = Callable[[Histogram], Range]
"""How a histogram becomes the (lowest, highest) value that codes reach; the range holds zero."""


Feed = Callable[[np.ndarray], dict[str, np.ndarray]]
"""ecg float32 [B, 1, T] microvolts to what a graph takes: input name -> samples."""


def feed_microvolts(ecg: np.ndarray) -> dict[str, np.ndarray]:
    """What a graph that EdgeGuard exported itself takes."""
    return {INPUT: ecg}


def observe(
    model: ModelProto,
    batches: Iterable[np.ndarray],
    *,
    feed: Feed = feed_microvolts,
    names: Sequence[str] | None = None,
) -> dict[str, Histogram]:
    """A histogram of float tensors that the nodes of a graph compute.

    Args:
        batches: float32 [B, 1, T] microvolts, one after another; none is kept.
        feed: makes the graph's input of them.
        names: of the tensors; None: all of them, and the input.

    Raises InputError where a tensor has a value that is not finite.
    """
    observed = onnx.ModelProto()
    observed.CopyFrom(model)
    computed = [name for node in model.graph.node for name in node.output] if names is None else list(names)
    del observed.graph.output[:]
    observed.graph.output.extend(helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in computed)
    session = onnxruntime.InferenceSession(
        observed.SerializeToString(), session_options(), providers=["CPUExecutionProvider"]
    )
    histograms = {name: Histogram() for name in ([INPUT] if names is None else []) + computed}
    for ecg in batches:
        samples = feed(ecg)
        found = dict(zip(computed, session.run(computed, samples), strict=True)) | samples
        for name in histograms:
            values = found[name]
            if not np.isfinite(values).all():
                raise InputError(f"calibration: tensor {name} is not finite on a calibration window; train anew")
            histograms[name].add(values)
    return histograms


def minmax(histogram: Histogram) -> Range:
    """The exact ends."""
    return _with_zero(histogram.low, histogram.high)


def percentile(histogram: Histogram, *, share: float) -> Range:
    """The range without the outermost values, (100 - share) / 2 percent of them at either end.

    Never narrower than the exact percentiles, and wider by less than three bins. The lower end of a tensor without
    negative values, a ReLU's output, is zero.
    """
    seen = np.cumsum(histogram.counts)
    tail = (1 - share / 100) / 2 * seen[-1]
    first = int(np.searchsorted(seen, tail, side="right"))
    last = int(np.searchsorted(seen, seen[-1] - tail, side="left"))
    low, high = (first - _HALF) * histogram.width, (last + 1 - _HALF) * histogram.width
    return _within(histogram, low, high)


def entropy(histogram: Histogram) -> Range:
    """The range whose codes tell most about the values: least Kullback-Leibler divergence (`entropy_threshold`).

    Values are taken by magnitude: 128 codes for each sign, or all 256 for a tensor without negative values.
    """
    bins = histogram.counts[_HALF:] + histogram.counts[:_HALF][::-1]
    used = int(np.flatnonzero(bins).max()) + 1
    merged = -(-used // _ENTROPY_BINS)
    folded = np.pad(bins[:used], (0, -used % merged)).reshape(-1, merged).sum(axis=1)
    levels = 256 if histogram.low >= 0 else 128
    threshold = entropy_threshold(folded, levels) * merged * histogram.width
    return _within(histogram, -threshold, threshold)


def entropy_threshold(counts: np.ndarray, levels: int) -> int:
    """Of how many of the first bins the quantised distribution diverges least from the whole one.

    For n bins, from `levels` to all: P is the first n bins with everything beyond added to the last of them; Q is the
    first n bins in `levels` equal groups, each group's count spread evenly over its bins that are not empty. The n of
    least KL(P || Q) is returned, the smallest of equal ones.

    This is TensorRT's calibration (S. Migacz, "8-bit inference with TensorRT", GTC 2017) as NVIDIA's
    pytorch-quantization has it: the first bin, into which a ReLU puts half of all values, counts as the second.

    Args:
        counts: int64 [bins] of magnitudes.
    """
    counts = counts.astype(np.float64)
    if len(counts) <= levels:
        return len(counts)
    counts[0] = counts[1]
    total = counts.sum()
    if total == 0:
        return len(counts)
    beyond = total - np.cumsum(counts)
    best, threshold = np.inf, len(counts)
    for size in range(levels, len(counts) + 1):
        kept = counts[:size]
        filled = kept > 0
        group = np.arange(size) * levels // size
        sums, members = (np.bincount(group, weights, levels) for weights in (kept, filled.astype(np.float64)))
        spread = (sums / np.maximum(members, 1))[group]
        reference = kept.copy()
        reference[-1] += beyond[size - 1]
        if not filled[-1] and reference[-1] > 0:
            continue  # Q has nothing where P has all that lies beyond: they diverge without bound
        p, q = reference[filled] / total, spread[filled] / kept.sum()
        divergence = float(np.sum(p * np.log(p / q)))
        if divergence < best:
            best, threshold = divergence, size
    return threshold


def parse_method(text: str) -> Method:
    """The method that `minmax`, `percentile:SHARE` or `entropy` names.

    Raises InputError for anything else.
    """
    name, colon, share = text.partition(":")
    if name == "percentile" and colon:
        try:
            value = float(share)
        except ValueError:
            value = np.nan
        if 50 < value <= 100:
            return partial(percentile, share=value)
    elif text in ("minmax", "entropy"):
        return {"minmax": minmax, "entropy": entropy}[text]
    guess = did_you_mean(text, ("auto", "minmax", "percentile:99.99", "entropy"))
    raise InputError(
        f"--calibration {text}: unknown; {guess}choose auto, minmax, percentile:99.99 (above 50, at "
        "most 100) or entropy"
    )


def _within(histogram: Histogram, low: float, high: float) -> Range:
    """Bounds cut to the tensor's exact ends, each as a share of its end in 2^14ths, zero included.

    Bounds on the edges of bins are multiples of a power of two in every tensor. Ratios of their scales are then ratios
    of small integers, so that sums fall on ties, which engines round differently; the exact ends are any numbers.
    """
    return _with_zero(
        _share_of(histogram.low, max(low, histogram.low)), _share_of(histogram.high, min(high, histogram.high))
    )


def _share_of(end: float, bound: float) -> float:
    """The bound, moved outwards to a whole share of an end that is farther out on the same side of zero."""
    return bound if bound * end <= 0 else float(np.ceil(bound / end * _HALF) / _HALF * end)


def _with_zero(low: float, high: float) -> Range:
    return min(low, 0.0), max(high, 0.0)
