"""What keeps tests that export and attack short: one thread, a short strict profile, every network traced once."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
from onnx import ModelProto
from torch import nn

from edgeguard.evaluation.portfolio import Depth
from edgeguard.export.float_graph import export_float

STRICT = "edgeguard.evaluation.portfolio.STRICT"
SHORT = Depth(signed=4, adaptive=2, targeted=2, pressed=2, aimed=6, restarts=1, queries=20)
"""The strict profile's cascade, shortened."""

TRACED: dict[bytes, ModelProto] = {}


def traced_once(model: nn.Module, *, window: int) -> ModelProto:
    """`export_float`; tracing a network takes seconds, and equal weights are traced once."""
    weights = b"".join(tensor.numpy().tobytes() for tensor in model.state_dict().values())
    if weights not in TRACED:
        TRACED[weights] = export_float(model, window=window)
    copy = ModelProto()
    copy.CopyFrom(TRACED[weights])
    return copy


@contextmanager
def short_work() -> Iterator[pytest.MonkeyPatch]:
    """All of that for as long as it lasts; what else is patched through what it gives is put back with it."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(STRICT, SHORT)
        for where in ("export.float_graph", "export.exporter"):
            patch.setattr(f"edgeguard.{where}.export_float", traced_once)
        yield patch
    torch.set_num_threads(threads)
