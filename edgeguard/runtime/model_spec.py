"""What a classifier takes and gives: the facts that every command needs of a model, as one value."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite, log
from typing import TypedDict

import numpy as np
import onnx

from edgeguard.errors import InputError

MICROVOLTS = {"uV": 1.0, "mV": 1e3, "V": 1e6}
"""Units that a model's input may have, in microvolts."""

_UNITS = {"uv": "uV", "\N{MICRO SIGN}v": "uV", "\N{GREEK SMALL LETTER MU}v": "uV", "mv": "mV", "v": "V"}

LOGITS, PROBABILITIES = "logits", "probabilities"
SIGMOID, SINGLE_LOGIT = "sigmoid", "single logit"
HEADS = (LOGITS, PROBABILITIES, SIGMOID, SINGLE_LOGIT)
"""What the output is: a logit a class, a softmax, or one number for two classes, after a sigmoid or before one."""

_PASS_THROUGH = {
    *("Cast", "Flatten", "Identity", "Reshape", "Squeeze", "Unsqueeze"),
    *("QuantizeLinear", "DequantizeLinear"),
}
"""Operators between the last layer and the output that change no value, or only round it."""
_TINY = float(np.finfo(np.float32).tiny)


class StatedFacts(TypedDict, total=False):
    """What a caller says of a model, for a file that does not say it; None or absent where nothing is said.

    Keys:
        classes: names in the order of the logits.
        sampling_rate: hertz.
        window: samples.
        unit: of the input, one of MICROVOLTS.
        threshold: probability from which a single output means the second class.
    """

    classes: Sequence[str] | None
    sampling_rate: float | None
    window: int | None
    unit: str | None
    threshold: float | None


@dataclass(frozen=True)
class ModelSpec:
    """What a model takes and gives.

    Attributes:
        classes: names in the order of the logits, at least two.
        sampling_rate: hertz.
        window: samples of one input.
        unit: of the input, one of MICROVOLTS.
        head: what the output is, one of HEADS.
        threshold: probability from which a single output means the second class; None for other heads.
    """

    classes: tuple[str, ...]
    sampling_rate: float
    window: int
    unit: str = "uV"
    head: str = LOGITS
    threshold: float | None = None

    @property
    def outputs(self) -> int:
        """Numbers that the model gives for one record."""
        return 1 if self.head in (SIGMOID, SINGLE_LOGIT) else len(self.classes)

    @property
    def threshold_logit(self) -> float:
        """The logit of the threshold; 0 for heads that have none."""
        return 0.0 if self.threshold is None else log(self.threshold) - log(1 - self.threshold)

    def logits(self, outputs: np.ndarray) -> np.ndarray:
        """float32 [B, C] logits of what the model gives, float32 [B, outputs]; the largest one is its class.

        Probabilities become their logarithms. A single output becomes (0, its logit less that of the threshold).
        """
        if self.head == LOGITS:
            return outputs
        values = outputs.astype(np.float64)
        if self.head == PROBABILITIES:
            return np.log(np.maximum(values, _TINY)).astype(np.float32)
        if self.head == SIGMOID:
            values = np.log(np.maximum(values, _TINY)) - np.log(np.maximum(1 - values, _TINY))
        return np.concatenate([np.zeros_like(values), values - self.threshold_logit], axis=1).astype(np.float32)


def stated_facts(spec: ModelSpec) -> StatedFacts:
    """A model's facts, for another file of the same network that does not say them."""
    return StatedFacts(
        classes=spec.classes,
        sampling_rate=spec.sampling_rate,
        window=spec.window,
        unit=spec.unit,
        threshold=spec.threshold,
    )


def unit_name(text: str) -> str:
    """A unit as MICROVOLTS has it, whatever its case and its mu; InputError for no such unit."""
    if text.strip().lower() not in _UNITS:
        raise InputError(f"unit {text!r} is none of {', '.join(MICROVOLTS)}; give it with --unit")
    return _UNITS[text.strip().lower()]


def read_head(graph: onnx.GraphProto, output: str, *, single: bool) -> str:
    """What the output named is, by the operator that makes it.

    Args:
        single: whether it is one number a record.
    """
    node = last_layer(graph, output)
    made_by = None if node is None else node.op_type
    if single:
        return SIGMOID if made_by == "Sigmoid" else SINGLE_LOGIT
    return PROBABILITIES if made_by == "Softmax" else LOGITS


def last_layer(graph: onnx.GraphProto, output: str) -> onnx.NodeProto | None:
    """The node whose values the output named has; None where nothing makes it."""
    makers = {name: node for node in graph.node for name in node.output}
    node = makers.get(output)
    while node is not None and node.op_type in _PASS_THROUGH:
        node = makers.get(node.input[0])
    return node


def check_threshold(threshold: float | None, *, head: str) -> None:
    """Raises InputError for a single output without a threshold, a threshold without one, and one out of range."""
    if head in (LOGITS, PROBABILITIES):
        if threshold is not None:
            raise InputError(f"--threshold {threshold:g}: is for a model with a single output; leave it out")
        return
    if threshold is None:
        raise InputError("gives a single output; say from where on it means the second class: --threshold .5")
    if not (isfinite(threshold) and 0 < threshold < 1):
        raise InputError(f"--threshold {threshold:g}: a probability above 0 and below 1 needed")
