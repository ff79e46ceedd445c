"""The streaming compiler: other people's networks hop by hop, what it refuses, and what a proof is worth."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import foreign_graphs
import numpy as np
import onnx
import pytest
from foreign_graphs import Foreign, Residual, SqueezeExcite
from onnx import TensorProto, numpy_helper
from onnx.reference import ReferenceEvaluator
from torch import Tensor, nn

from edgeguard.ecg.sources import iter_records
from edgeguard.errors import InputError
from edgeguard.export.streaming import compiler
from edgeguard.export.streaming.compiler import Compiled, compile_stream
from edgeguard.export.streaming.layers import Timeline
from edgeguard.export.streaming.plan import choose_hop
from edgeguard.export.streaming.proof import run_proof
from edgeguard.models.cost import cost
from edgeguard.models.edge import edge_m
from edgeguard.runtime.session import open_model
from edgeguard.runtime.streaming import open_stream

pytestmark = pytest.mark.filterwarnings("ignore:.*:UserWarning", "ignore::torch.jit.TracerWarning")

ZOO = Path(__file__).parents[2] / "models" / "zoo" / "adt-edge-m" / "adt-edge-m-int8.onnx"
RATE, WINDOW = 100.0, foreign_graphs.WINDOW
FACTS: dict[str, Any] = {"sampling_rate": RATE, "window": WINDOW, "classes": ("a", "b", "c", "d")}
S8S8 = foreign_graphs._S8S8 | foreign_graphs._PER_CHANNEL
QOPERATOR = foreign_graphs._U8S8 | foreign_graphs._OPERATORS


def body(kernel: int, dilation: int = 1) -> nn.Module:
    return nn.Sequential(nn.Conv1d(12, 12, kernel), nn.ReLU(), nn.Conv1d(12, 12, kernel, dilation=dilation))


def head(channels: int) -> list[nn.Module]:
    return [nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(channels, 4)]


def plain() -> nn.Module:
    """Strides 4, 2, 2; the last convolution leaves a sample over."""
    layers = [nn.Conv1d(1, 8, 9, 4), nn.ReLU(), nn.Conv1d(8, 16, 5, 2), nn.ReLU(), nn.Conv1d(16, 16, 4, 2), nn.ReLU()]
    return nn.Sequential(*layers, *head(16))


def residual() -> nn.Module:
    """Skips cropped by constants, one of them off centre by its stride."""
    blocks = [Residual(body(5), crop=4), nn.ReLU(), Residual(body(3, dilation=3), crop=4, relu=False), nn.ReLU()]
    return nn.Sequential(nn.Conv1d(1, 12, 8, 4), nn.ReLU(), *blocks, nn.Conv1d(12, 12, 3, 2), nn.ReLU(), *head(12))


def depthwise() -> nn.Module:
    first = [nn.Conv1d(1, 16, 7, 3), nn.ReLU(), nn.Conv1d(16, 16, 5, 2, groups=16), nn.Conv1d(16, 24, 1), nn.ReLU()]
    second = [
        nn.Conv1d(24, 24, 3, 2, groups=24),
        nn.ReLU(),
        nn.Conv1d(24, 32, 1),
        nn.ReLU(),
        nn.Conv1d(32, 32, 3, groups=4),
    ]
    return nn.Sequential(*first, *second, nn.ReLU(), *head(32))


def pools() -> nn.Module:
    """Layers side by side, which need different pasts of one input."""
    branches = foreign_graphs.Branches(nn.MaxPool1d(3, 2), nn.AvgPool1d(3, 2), nn.Conv1d(8, 8, 3, 2))
    return nn.Sequential(
        nn.Conv1d(1, 8, 7, 2), nn.ReLU(), branches, nn.Conv1d(24, 16, 3), nn.ReLU(), nn.MaxPool1d(2), *head(16)
    )


Make = Callable[..., Path]


@pytest.fixture(scope="module")
def make(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Make]:
    """The file of a recipe, made once."""
    folder, made = tmp_path_factory.mktemp("window"), {}

    def build(network: Callable[[], nn.Module], quantiser: dict | None = S8S8, **options: Any) -> Path:
        key = f"{network.__name__}-{len(quantiser or {})}-{options}"
        if key not in made:
            with pytest.MonkeyPatch.context() as patch:
                patch.setitem(foreign_graphs.FOREIGN, str(len(made)), Foreign(network, quantiser, **options))
                made[key] = foreign_graphs.make(str(len(made)), folder)
        return made[key]

    yield build


def signal(samples: int, seed: int = 0) -> np.ndarray:
    """float32 [samples] microvolts: beats in noise, with loud and with silent spells."""
    rng = np.random.default_rng(seed)
    beats = 900 * np.exp(-(((np.arange(samples) % 83) - 40) ** 2) / 9) + rng.normal(0, 40, samples)
    gain = np.repeat(rng.choice([0, 1, 1, 1, 8], samples // 50 + 1), 50)[:samples]
    return (beats * gain).astype(np.float32)


def differences(path: Path, compiled: Compiled, *, hops: int, **facts: Any) -> list[float]:
    """Largest difference of logits at each hop: the stream against a session on windows that are cut out afresh."""
    model, stream = open_model(path, **facts), open_stream(compiled.path)
    ecg = signal(model.window + hops * stream.hop)
    found = [stream.step(part) for part in ecg[: len(ecg) // stream.hop * stream.hop].reshape(-1, stream.hop)]
    first = -(-model.window // stream.hop) - 1
    assert all(logits is None for logits in found[:first])
    ends = [(number + 1) * stream.hop for number in range(first, len(found))]
    expected = [model.logits(ecg[None, None, end - model.window : end])[0] for end in ends]
    return [float(np.abs(a - b).max()) for a, b in zip(found[first:], expected, strict=True)]


@pytest.mark.parametrize("network", [plain, residual, depthwise, pools])
@pytest.mark.parametrize("form", ["s8s8", "qoperator"])
def test_a_foreign_stream_is_its_window_model(make: Make, tmp_path: Path, network: Callable, form: str):
    path = make(network, S8S8 if form == "s8s8" else QOPERATOR)
    compiled = compile_stream(path, tmp_path / "stream.onnx", hop=0.48, proof_hops=20, unit="uV", **FACTS)
    assert compiled.equality == "equal" and compiled.proof.equal == compiled.proof.hops == 20
    assert set(differences(path, compiled, hops=40, unit="uV", **FACTS)) == {0.0}
    assert compiled.hop_macs < compiled.window_macs / 8


@pytest.mark.parametrize("hop", [16, 32, 80, 112, 208, 592])
def test_any_multiple_of_the_stride_is_a_hop(make: Make, tmp_path: Path, hop: int):
    """Whether or not the window's features are a multiple of the hop's, and whether or not the hops fill the window."""
    path = make(plain)
    compiled = compile_stream(path, tmp_path / "stream.onnx", hop=hop / RATE, proof_hops=20, unit="uV", **FACTS)
    assert set(differences(path, compiled, hops=30, unit="uV", **FACTS)) == {0.0}


@pytest.mark.parametrize(
    "options",
    [{"layout": "BCHT"}, {"layout": "BTC"}, {"layout": "BT", "unit": "mV"}, {"integer": True}, {"fixed": True}],
    ids=str,
)
def test_every_layout_streams(make: Make, tmp_path: Path, options: dict):
    path = make(residual, S8S8, **options)
    facts = {**FACTS, "unit": options.get("unit", "uV")}
    compiled = compile_stream(path, tmp_path / "stream.onnx", hop=0.24, proof_hops=10, **facts)
    assert set(differences(path, compiled, hops=20, **facts)) == {0.0}


@pytest.mark.parametrize("network", [residual, pools])
def test_a_float_stream_is_close(make: Make, tmp_path: Path, network: Callable):
    path = make(network, None)
    compiled = compile_stream(path, tmp_path / "stream.onnx", hop=0.48, proof_hops=20, unit="uV", **FACTS)
    assert compiled.equality == open_stream(compiled.path).metadata.equality == "close"
    logits = open_model(path, unit="uV", **FACTS).logits(foreign_graphs.rows(4))
    assert max(differences(path, compiled, hops=40, unit="uV", **FACTS)) <= 1e-4 * max(1, np.abs(logits).max())


def test_another_implementation_of_onnx_computes_the_same_stream(make: Make, tmp_path: Path):
    """onnx's own reference evaluator runs the file on disk, states and all."""
    path = make(plain, S8S8, opset=21)
    compiled = compile_stream(path, tmp_path / "stream.onnx", hop=0.48, proof_hops=5, unit="uV", **FACTS)
    model, stream = onnx.load(compiled.path), open_stream(compiled.path)
    evaluator, ecg = ReferenceEvaluator(model), signal(20 * 48)
    states = {
        value.name: np.full(
            [dim.dim_value for dim in value.type.tensor_type.shape.dim],
            stream.metadata.initial_state[value.name],
            onnx.helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type),
        )
        for value in model.graph.input[1:]
    }
    for part in ecg.reshape(-1, 48):
        logits, *presents = evaluator.run(None, {"signal": part[None, None], **states})
        states = dict(zip(states, presents, strict=True))
        found = stream.step(part)
        if found is not None:
            np.testing.assert_allclose(found, logits[0], rtol=0, atol=1e-5)
    saved = stream.state()
    for name, state in states.items():
        assert np.array_equal(saved[name], state) and saved[name].dtype == state.dtype


@pytest.fixture(scope="module")
def edge(tmp_path_factory: pytest.TempPathFactory) -> Compiled:
    """The zoo's int8 `edge-m`, at a hop of one second."""
    return compile_stream(ZOO, tmp_path_factory.mktemp("edge") / "stream.onnx", proof_hops=60)


def test_edge_m_costs_a_twentieth_and_keeps_codes(edge: Compiled):
    assert edge.proof.equal == edge.proof.hops == 60 and edge.hop == 300
    network = edge_m()
    assert edge.window_macs == cost(network).macs - network.head.weight.numel()
    assert edge.hop_macs <= edge.window_macs / 20
    model = onnx.load(edge.path)
    kinds = {value.name: value.type.tensor_type.elem_type for value in model.graph.input}
    layers = {name for name in edge.states if "sums" not in name}
    assert {kinds[name] for name in layers} == {TensorProto.INT8}
    assert [(edge.states[name], kinds[name]) for name in edge.states if "sums" in name] == [
        ((1, 23, 64), TensorProto.INT32)
    ]
    assert sum(np.prod(edge.states[name]) for name in layers) < 3_000


def test_the_file_says_what_it_is(edge: Compiled):
    stream, window, figures = open_stream(edge.path), open_model(ZOO), cost(edge_m())
    about = stream.metadata
    assert (about.hop, about.window, about.receptive_field) == (300, 9000, figures.receptive_field)
    assert (about.equality, about.window_sha256, about.lag) == ("equal", window.sha256, 0)
    assert about.proof == {"hops": 60, "difference": 0.0}
    assert (stream.classes, stream.sampling_rate) == (window.classes, window.sampling_rate)


def test_states_begin_at_the_code_of_zero(edge: Compiled):
    """Read off the quantiser that follows each state's Concat."""
    model = onnx.load(edge.path)
    stored = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    initial = open_stream(edge.path).metadata.initial_state
    assert initial is not None and set(initial) == set(edge.states)
    for name in edge.states:
        tensor = name
        while True:
            readers = [node for node in model.graph.node if tensor in node.input]
            node = next(node for node in readers if not node.output[0].startswith("present_"))
            if node.op_type == "DequantizeLinear":
                break
            tensor = node.output[0]
        zero = int(stored[node.input[2]]) if len(node.input) > 2 else 0
        assert initial[name] == zero, name


@pytest.mark.real
def test_edge_m_is_equal_on_consecutive_hops_of_real_records(edge: Compiled, cinc2017: Path):
    parts = [record.ecg for record, _ in zip(iter_records(str(cinc2017)), range(30), strict=False)]
    found = run_proof(open_model(ZOO), open_stream(edge.path), np.concatenate(parts))
    assert found.equal == found.hops > 500


class Function(nn.Module):
    """Features through a function of their own."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


class Recurrent(nn.Module):
    def __init__(self, kind: type[nn.RNNBase]) -> None:
        super().__init__()
        self.layer = kind(8, 8, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x.transpose(1, 2))[0].transpose(1, 2)


def between(*layers: nn.Module) -> Callable[[], nn.Module]:
    """A network with these layers between its stem and its mean."""
    return lambda: nn.Sequential(nn.Conv1d(1, 8, 9, 4), nn.ReLU(), *layers, nn.ReLU(), *head(8))


def normalise(x: Tensor) -> Tensor:
    return x - x.mean(2, keepdim=True)


REFUSED: dict[str, tuple[Callable[[], nn.Module], str, str]] = {
    "same": (between(nn.Conv1d(8, 8, 5, padding=2)), "Conv /1/1.2/Conv pads the window with zeros", "padding=0"),
    "causal": (between(nn.ConstantPad1d((4, 0), 0.0), nn.Conv1d(8, 8, 5)), "Pad /1/1.2/Pad pads", "padding=0"),
    "pool": (between(nn.MaxPool1d(3, 2, padding=1)), "MaxPool /1/1.2/MaxPool pads", "padding=0"),
    "ceil": (
        between(nn.MaxPool1d(5, 5, ceil_mode=True)),
        "MaxPool /1/1.2/MaxPool rounds its length up",
        "ceil_mode off",
    ),
    "instance": (between(nn.InstanceNorm1d(8)), "InstanceNormalization /1/1.2/InstanceNorm", "BatchNormalization"),
    "layer": (between(nn.LayerNorm(148)), "LayerNormalization /1/1.2/LayerNorm", "BatchNormalization"),
    "softmax": (between(nn.Softmax(2)), "Softmax /1/1.2/Softmax needs all of the window", "normalise by constants"),
    "gate": (between(SqueezeExcite(8, nn.Sigmoid())), "Mul /1/1.2/Mul brings a mean of the whole window", "that gate"),
    "mean": (between(Function(normalise)), "Sub /1/1.2/Sub brings a mean of the whole window", "normalisation"),
    "lstm": (between(Recurrent(nn.LSTM)), "LSTM /1/1.2/layer/LSTM carries a state", "use convolutions"),
    "gru": (between(Recurrent(nn.GRU)), "GRU /1/1.2/layer/GRU carries a state", "use convolutions"),
    "flat": (
        lambda: nn.Sequential(nn.Conv1d(1, 4, 9, 8), nn.Flatten(), nn.LazyLinear(4)),
        "Flatten /1/1.1/Flatten mixes time with channels",
        "AdaptiveAvgPool1d(1)",
    ),
    "maximum": (
        lambda: nn.Sequential(nn.Conv1d(1, 4, 9, 8), nn.AdaptiveMaxPool1d(1), nn.Flatten(), nn.Linear(4, 4)),
        "MaxPool /1/1.1/MaxPool sees the whole window at once",
        "AdaptiveAvgPool1d(1)",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_no_stream_can_repeat_is_refused_by_name(make: Make, tmp_path: Path, name: str):
    network, layer, mend = REFUSED[name]
    network.__name__ = name
    path = make(network, None, opset=17)
    with pytest.raises(InputError) as caught:
        compile_stream(path, tmp_path / "stream.onnx", hop=0.48, unit="uV", **FACTS)
    message = str(caught.value)
    assert message.startswith(f"{path}: ") and layer in message and mend in message and "\n" not in message
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("hop", [0.5, 0.0, -1.0, 0.1601, 6.4, float("nan"), float("inf")])
def test_a_hop_that_no_alignment_allows_is_refused(make: Make, tmp_path: Path, hop: float):
    with pytest.raises(
        InputError, match=r"hop: .* give a multiple of 16 samples \(0.16 s\), at most the window of 600"
    ):
        compile_stream(make(plain), tmp_path / "stream.onnx", hop=hop, unit="uV", **FACTS)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("rate", "hop", "nearest"),
    [
        (250.0, 1.0, (0.96, 1.2)),  # 240 and 300 samples of 60
        (360.0, 1.1, (1.0, 420 / 360)),
        (500.0, 2.0, (1.92, 2.04)),
        (250.0, 11.0, (9.6,)),  # the window holds 2,400 samples
        (250.0, 0.1, (0.24, 0.48)),
    ],
)
def test_a_refused_hop_names_the_nearest_that_work(rate: float, hop: float, nearest: tuple[float, ...]):
    timeline = Timeline((), (), {}, {"features": 60}, {})
    with pytest.raises(InputError) as caught:
        choose_hop(timeline, hop=hop, sampling_rate=rate, window=2400)
    named = str(caught.value).rpartition("nearest: ")[2].rstrip(")").split(" or ")
    assert [float(text) for text in named] == pytest.approx(nearest, abs=1e-6)
    for text in named:
        assert choose_hop(timeline, hop=float(text), sampling_rate=rate, window=2400) % 60 == 0


@pytest.mark.parametrize(
    ("rate", "window", "stride", "samples"),
    [(300, 9000, 60, 300), (250, 2500, 60, 240), (300, 2400, 7, 301), (20, 2400, 7, 21), (300, 20, 7, 14)],
)
def test_a_hop_that_is_not_given_is_the_one_nearest_to_a_second(rate: int, window: int, stride: int, samples: int):
    timeline = Timeline((), (), {}, {"features": stride}, {})
    assert choose_hop(timeline, hop=None, sampling_rate=rate, window=window) == samples


@pytest.mark.parametrize("quantiser", [S8S8, None], ids=["int8", "float"])
def test_without_proof_no_file_is_written(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quantiser: dict | None
):
    """One frame too few in the mean is found at once."""
    write = compiler.write_stream

    def spoilt(*arguments: Any) -> Any:
        model, initial = write(*arguments)
        ones = next(tensor for tensor in model.graph.initializer if tensor.name.endswith("_ones"))
        matrix = numpy_helper.to_array(ones).copy()
        matrix[0, 0] = 0
        ones.CopyFrom(numpy_helper.from_array(matrix, ones.name))
        return model, initial

    monkeypatch.setattr(compiler, "write_stream", spoilt)
    with pytest.raises(InputError, match=r"its stream is not (equal|close): \d+ of 20 hops equal.*nothing was written"):
        compile_stream(make(plain, quantiser), tmp_path / "s.onnx", hop=0.48, proof_hops=20, unit="uV", **FACTS)
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_no_window_model_is_refused(edge: Compiled, tmp_path: Path):
    with pytest.raises(InputError, match="streaming file with states; name the window model"):
        compile_stream(edge.path, tmp_path / "again.onnx")
    with pytest.raises(InputError, match="its sampling rate"):
        compile_stream(_unnamed(tmp_path), tmp_path / "stream.onnx")


def _unnamed(folder: Path) -> Path:
    model = onnx.load(ZOO)
    del model.metadata_props[:]
    onnx.save(model, folder / "unnamed.onnx")
    return folder / "unnamed.onnx"
