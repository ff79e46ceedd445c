"""Streams of networks that pad: the window file's own frames but for its edges, at a cost that is measured."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import foreign_graphs
import numpy as np
import onnx
import pytest
from foreign_graphs import WINDOW, Foreign, rows
from onnx import ModelProto
from torch import nn

from edgeguard.errors import InputError
from edgeguard.export.codes import with_output
from edgeguard.export.streaming.compiler import compile_stream
from edgeguard.export.streaming.layers import read_timeline
from edgeguard.export.streaming.padding import without_padding
from edgeguard.export.streaming.proof import Records, measure_cost
from edgeguard.export.streaming.window_graph import read_window_graph
from edgeguard.runtime.flags import create_session, session_options
from edgeguard.runtime.session import OnnxModel, open_model
from edgeguard.runtime.streaming import open_stream

pytestmark = pytest.mark.filterwarnings("ignore:.*:UserWarning", "ignore::torch.jit.TracerWarning")

FACTS: dict[str, Any] = {"sampling_rate": 100.0, "classes": ("a", "b", "c", "d")}
S8S8 = foreign_graphs._S8S8 | foreign_graphs._PER_CHANNEL


def deep() -> nn.Module:
    """Sees more than half of the window."""
    layers = [nn.Conv1d(1, 4, 9, 4, padding=4), *(nn.Conv1d(4, 4, 31, padding=15) for _ in range(3))]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(4, 4))


def strided() -> nn.Module:
    """Shortcuts across strides, whose phases differ from layer to layer."""
    first = nn.Sequential(*foreign_graphs._block(8, 8, 5, padding=2), nn.Conv1d(8, 8, 3, padding=1))
    second = nn.Sequential(nn.Conv1d(8, 12, 5, 2, padding=2), nn.ReLU(), nn.Conv1d(12, 12, 7, padding=3))
    down = Sum(second, nn.Conv1d(8, 12, 1, 2))
    stem = [*foreign_graphs._block(1, 8, 9, 3, padding=3), nn.MaxPool1d(3, 2, padding=1)]
    return nn.Sequential(
        *stem, foreign_graphs.Residual(first), down, nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(12, 4)
    )


class Sum(nn.Module):
    """Two ways, added."""

    def __init__(self, *ways: nn.Module) -> None:
        super().__init__()
        self.ways = nn.ModuleList(ways)

    def forward(self, x: Any) -> Any:
        return sum(way(x) for way in self.ways)


@pytest.fixture(scope="module")
def make(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., OnnxModel]:
    """The opened file of a recipe."""
    folder = tmp_path_factory.mktemp("padded")

    def build(network: Callable[[], nn.Module], quantiser: dict | None = S8S8, **options: Any) -> OnnxModel:
        key = f"{network.__name__}-{len(quantiser or {})}-{len(options)}"
        with pytest.MonkeyPatch.context() as patch:
            patch.setitem(foreign_graphs.FOREIGN, key, Foreign(network, quantiser, **options))
            path = folder / f"{key}.onnx"
            if not path.exists():
                foreign_graphs.make(key, folder)
        return open_model(path, unit=options.get("unit", "uV"), **FACTS)

    return build


def run(model: ModelProto, tensor: str, feed: dict[str, np.ndarray]) -> np.ndarray:
    cut = with_output(model, tensor)
    return create_session(cut.SerializeToString(), session_options()).run(None, feed)[0]


@pytest.mark.parametrize(
    ("network", "options"),
    [
        (strided, {}),
        (foreign_graphs.residual, {"layout": "BTC", "unit": "mV"}),
        (foreign_graphs.depthwise, {"layout": "BCHT"}),
        (foreign_graphs.dilated, {"layout": "BT"}),
        (foreign_graphs.pools, {}),
    ],
)
def test_the_frames_that_are_left_are_the_window_files_own(
    make: Callable[..., OnnxModel], network: Callable, options: dict[str, Any]
) -> None:
    file = make(network, **options)
    graph = read_window_graph(file.proto, file.signature, file.window)
    timeline = read_timeline(graph, padded=True)
    cropped = without_padding(graph, timeline)
    (pool,) = timeline.pools
    feed = file.feed(rows(4, seed=2))
    whole, left = (run(model, pool.features, feed) for model in (file.proto, cropped))
    axis, frames = timeline.axis[pool.features], pool.frames
    assert whole.shape[axis] == frames > left.shape[axis] >= frames / 2
    starts = [
        start
        for start in range(frames - left.shape[axis] + 1)
        if np.array_equal(np.take(whole, range(start, start + left.shape[axis]), axis), left)
    ]
    assert len(starts) == 1 and starts[0] > 0
    assert read_timeline(read_window_graph(cropped, file.signature, file.window)).pools[0].frames == left.shape[axis]


@pytest.mark.parametrize("quantiser", [S8S8, None], ids=["int8", "float"])
def test_the_stream_is_proven_and_its_cost_stated(
    make: Callable[..., OnnxModel], tmp_path: Path, quantiser: dict | None
) -> None:
    file = make(strided, quantiser)
    with pytest.raises(InputError, match=r"pads the window with zeros.*--close"):
        compile_stream(file, tmp_path / "refused.onnx", proof_hops=10)
    unmeasured = compile_stream(file, tmp_path / "alone.onnx", hop=0.48, proof_hops=10, close=True)
    assert unmeasured.cost is not None and unmeasured.cost.source.startswith("synthetic ECG")
    signal = rows(40, seed=4).reshape(-1)
    # The stream's first decision comes with hop 13, of 24 samples more than a window.
    records = Records("beats", [signal[24:]])
    compiled = compile_stream(file, tmp_path / "stream.onnx", hop=0.48, proof_hops=20, close=True, records=records)
    assert compiled.equality == "close" and compiled.proof.decisions == compiled.proof.hops == 20
    assert quantiser is None or compiled.proof.equal == 20
    stream, pairs = open_stream(compiled.path), []
    for end in range(48, len(signal) + 1, 48):
        found = stream.step(signal[end - 48 : end])
        if found is not None:
            pairs.append((file.logits(signal[None, None, end - WINDOW : end])[0], found))
    cost = compiled.cost
    assert cost is not None and (cost.hops, cost.source) == (len(pairs), "beats")
    assert 0 < cost.changed == sum(int(a.argmax() != b.argmax()) for a, b in pairs) < len(pairs) / 4
    apart = max(float(np.abs(a - b).max() / max(1.0, np.abs(a).max())) for a, b in pairs)
    assert cost.difference == pytest.approx(apart, rel=1e-4)
    about = stream.metadata
    assert about.proof == {"hops": cost.hops, "changed": cost.changed, "difference": cost.difference, "source": "beats"}
    assert about.equality == "close" and compiled.rung().figure == cost.changed / cost.hops


def test_a_file_costs_nothing_against_itself(make: Callable[..., OnnxModel]) -> None:
    file, signal = make(strided), rows(12, seed=4).reshape(-1)
    cost = measure_cost(file, file, Records("beats", [signal, signal[:WINDOW]]), hop=150)
    assert (cost.hops, cost.changed, cost.difference) == ((len(signal) - WINDOW) // 150 + 2, 0, 0.0)
    with pytest.raises(InputError, match="shorter than a window"):
        measure_cost(file, file, Records("short", [signal[:100]]), hop=150)


def test_a_network_that_does_not_pad_is_equal_all_the_same(make: Callable[..., OnnxModel], tmp_path: Path) -> None:
    compiled = compile_stream(make(foreign_graphs.plain), tmp_path / "stream.onnx", proof_hops=10, close=True)
    assert compiled.equality == "equal" and compiled.cost is None


@pytest.mark.parametrize(
    ("network", "reason"),
    [
        (deep, "no padding reaches only [0-9]+ of 150 frames of the mean over time; take a longer window"),
        (foreign_graphs.squeeze_excite, "brings a mean of the whole window back into its features"),
    ],
)
def test_what_cannot_be_close_either_is_refused_with_that_reason(
    make: Callable[..., OnnxModel], tmp_path: Path, network: Callable, reason: str
) -> None:
    with pytest.raises(InputError, match=reason):
        compile_stream(make(network), tmp_path / "stream.onnx", proof_hops=10, close=True)
    assert not list(tmp_path.iterdir())


def test_the_window_file_is_not_changed(make: Callable[..., OnnxModel]) -> None:
    file = make(strided)
    before = file.proto.SerializeToString(deterministic=True)
    graph = read_window_graph(file.proto, file.signature, file.window)
    cropped = without_padding(graph, read_timeline(graph, padded=True))
    assert file.proto.SerializeToString(deterministic=True) == before
    onnx.checker.check_model(cropped, full_check=True)


def test_a_float_mean_of_a_quantised_file_is_close_on_request(make: Callable[..., OnnxModel], tmp_path: Path) -> None:
    """Its sum over time is added in another order; nothing else differs."""
    file = make(foreign_graphs.plain, S8S8 | {"op_types_to_quantize": ["Conv", "Relu"]})
    with pytest.raises(InputError, match=r"its stream is not equal.*--close"):
        compile_stream(file, tmp_path / "refused.onnx", proof_hops=20)
    compiled = compile_stream(file, tmp_path / "stream.onnx", proof_hops=20, close=True)
    assert compiled.equality == open_stream(compiled.path).metadata.equality == "close" and compiled.cost is None
    assert 0 < compiled.proof.difference <= 1e-4 and compiled.proof.decisions == 20
