"""A float graph as the quantiser takes it: which nodes it may quantise, and how records go in."""

from dataclasses import dataclass

from onnx import ModelProto

from edgeguard.export.calibrate import Feed, feed_microvolts
from edgeguard.export.graph_passes import INPUT
from edgeguard.export.selection import Selection


@dataclass(frozen=True)
class FloatForm:
    """A float graph to quantise; by default one that `export_float` made.

    Attributes:
        model: the graph.
        input: name of its input.
        feed: makes its input of ecg float32 [B, 1, T] microvolts.
        microvolts: in one unit of its input.
        selection: nodes to quantise; None: those of a graph that `export_float` made.
        batch: rows that it takes at a time; None where any number goes.
    """

    model: ModelProto
    input: str = INPUT
    feed: Feed = feed_microvolts
    microvolts: float = 1.0
    selection: Selection | None = None
    batch: int | None = None
