"""What keeps tests that export and attack short: one thread, a short strict profile, every network traced once."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
from onnx import ModelProto
from torch import nn

from edgeguard.export.float_graph import export_float

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
        patch.setattr("edgeguard.evaluation.portfolio._STRICT_STEPS", 4)
        for where in ("export.float_graph", "export.exporter"):
            patch.setattr(f"edgeguard.{where}.export_float", traced_once)
        yield patch
    torch.set_num_threads(threads)
