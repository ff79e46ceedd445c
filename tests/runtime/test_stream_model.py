"""A streaming file at run time: warming up, starting anew, going on from a saved state, forgetting a disturbance."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from edgeguard.errors import InputError
from edgeguard.runtime.metadata import ModelMetadata
from edgeguard.runtime.streaming import StreamModel, open_stream

HOP, WINDOW = 4, 12
STEP = 8.0
ABOUT = ModelMetadata(
    classes=("sum", "newest"),
    sampling_rate=100,
    window=WINDOW,
    hop=HOP,
    lag=0,
    receptive_field=1,
    equality="equal",
    initial_state={"past_codes": -5, "past_sums": 0},
)


def stream_file(path: Path, about: ModelMetadata = ABOUT, *, gain: float = 1.0) -> Path:
    """A stream small enough to know: [sum of the window's codes, newest code of the hop before], times a gain.

    Codes are of STEP microvolts, with zero point -5: states of either kind, one of them longer than what is new.
    """
    constants = {
        "step": np.array(STEP, np.float32),
        "zero": np.array(-5, np.int8),
        "ones": np.ones((HOP, 1), np.uint8),
        "gain": np.array(gain, np.float32),
        "axis": np.array([2], np.int64),
        "flat": np.array([1, 1], np.int64),
        **{f"i{n}": np.array([n], np.int64) for n in (0, 1, 2, 3, 4, HOP + 3)},
    }
    node = helper.make_node
    nodes = [
        node("QuantizeLinear", ["ecg", "step", "zero"], ["codes"]),
        node("Concat", ["past_codes", "codes"], ["whole"], axis=2),
        node("Slice", ["whole", "i4", f"i{HOP + 3}", "i2", "i1"], ["present_codes"]),
        node("MatMulInteger", ["ones_row", "column", "", "zero"], ["new"]),
        node("Concat", ["past_sums", "new"], ["ring"], axis=1),
        node("Slice", ["ring", "i1", "i3", "i1", "i1"], ["present_sums"]),
        node("ReduceSum", ["ring", "i1"], ["total"], keepdims=0),
        node("Cast", ["total"], ["total_float"], to=TensorProto.FLOAT),
        node("Slice", ["whole", "i2", "i3", "i2", "i1"], ["before"]),
        node("DequantizeLinear", ["before", "one", "zero"], ["before_float"]),
        node("Reshape", ["before_float", "flat"], ["before_flat"]),
        node("Concat", ["total_float", "before_flat"], ["both"], axis=1),
        node("Mul", ["both", "gain"], ["logits"]),
    ]
    nodes.insert(3, node("Transpose", ["codes"], ["column"], perm=[0, 2, 1]))
    constants["ones_row"] = np.ones((1, HOP), np.uint8)
    constants["one"] = np.array(1, np.float32)
    info = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "stream",
        [
            info("ecg", TensorProto.FLOAT, [1, 1, HOP]),
            info("past_codes", TensorProto.INT8, [1, 1, 3]),
            info("past_sums", TensorProto.INT32, [1, 2, 1]),
        ],
        [
            info("logits", TensorProto.FLOAT, [1, 2]),
            info("present_codes", TensorProto.INT8, [1, 1, 3]),
            info("present_sums", TensorProto.INT32, [1, 2, 1]),
        ],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
        value_info=[info("whole", TensorProto.INT8, [1, 1, HOP + 3]), info("ring", TensorProto.INT32, [1, 3, 1])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    helper.set_model_props(model, about.to_props())
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, path)
    return path


def expected(ecg: np.ndarray, hops: int) -> list[float] | None:
    """By hand: what the stream says after `hops` hops."""
    codes = np.clip(np.rint(ecg / STEP), -123, 132)
    end = hops * HOP
    return None if end < WINDOW else [codes[end - WINDOW : end].sum(), codes[end - HOP - 1]]


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return stream_file(tmp_path_factory.mktemp("stream") / "stream.onnx")


def play(stream: StreamModel, ecg: np.ndarray) -> list[list[float] | None]:
    found = [stream.step(hop) for hop in ecg.reshape(-1, HOP)]
    return [None if logits is None else logits.tolist() for logits in found]


microvolts = st.lists(st.integers(-3000, 3000), min_size=0, max_size=40).map(
    lambda values: np.array(values[: len(values) // HOP * HOP], np.float32)
)


@settings(deadline=None, max_examples=50)
@given(ecg=microvolts)
def test_every_hop_is_what_one_computes_by_hand(path: Path, ecg: np.ndarray):
    stream = open_stream(path)
    assert play(stream, ecg) == [expected(ecg, hops + 1) for hops in range(len(ecg) // HOP)]
    assert stream.hops == len(ecg) // HOP


@settings(deadline=None, max_examples=50)
@given(ecg=microvolts, cut=st.integers(0, 10))
def test_a_restored_stream_goes_on_as_if_nothing_had_been(path: Path, ecg: np.ndarray, cut: int):
    whole, first, second = open_stream(path), open_stream(path), open_stream(path)
    cut *= HOP
    expected_logits = play(whole, ecg)
    before = play(first, ecg[:cut])
    saved = first.state()
    first.step(np.full(HOP, 99, np.float32))
    second.step(np.full(HOP, -99, np.float32))
    second.restore(saved)
    assert before + play(second, ecg[cut:]) == expected_logits


def test_reset_begins_a_new_stream(path: Path):
    ecg = np.arange(0, 40 * STEP, STEP, dtype=np.float32)
    stream = open_stream(path)
    once = play(stream, ecg)
    stream.reset()
    assert stream.hops == 0 and play(stream, ecg) == once and once[:2] == [None, None] and None not in once[2:]


def test_a_disturbance_is_forgotten_after_exactly_one_window(path: Path):
    rng = np.random.default_rng(0)
    ecg = rng.normal(0, 300, 20 * HOP).astype(np.float32)
    disturbed = ecg.copy()
    disturbed[7 * HOP : 8 * HOP] += 1000
    pair = zip(play(open_stream(path), ecg), play(open_stream(path), disturbed), strict=True)
    apart = [number for number, (one, other) in enumerate(pair) if one != other]
    assert apart == list(range(7, 7 + WINDOW // HOP))


def test_a_saved_state_holds_the_codes_of_the_file(path: Path):
    stream = open_stream(path)
    saved = stream.state()
    assert saved["past_codes"].dtype == np.int8 and saved["past_codes"].tolist() == [[[-5] * 3]]
    assert saved["past_sums"].dtype == np.int32 and saved["past_sums"].tolist() == [[[0], [0]]]
    stream.step(np.array([0, 8, 16, 80], np.float32))
    later = stream.state()
    assert later["past_codes"].tolist() == [[[-4, -3, 5]]] and later["past_sums"].tolist() == [[[0], [13]]]
    assert saved["past_codes"].tolist() == [[[-5] * 3]]


def test_the_state_of_another_model_is_refused(path: Path, tmp_path: Path):
    other = open_stream(stream_file(tmp_path / "other.onnx", gain=2.0))
    stream = open_stream(path)
    state = stream.state()
    for spoilt in (
        other.state(),
        {},
        {name: value for name, value in state.items() if name != "past_sums"},
        state | {"past_codes": state["past_codes"].astype(np.int16)},
        state | {"past_sums": state["past_sums"][:, :1]},
    ):
        with pytest.raises(InputError, match=r"stream\.onnx: the saved state is another model's; restore one of this"):
            stream.restore(spoilt)


def test_hops_of_another_length_are_refused(path: Path):
    with pytest.raises(InputError, match=r"stream\.onnx: takes hops of 4 samples, got \[5\]"):
        open_stream(path).step(np.zeros(5, np.float32))


def test_it_says_what_its_file_says(path: Path):
    stream = open_stream(path)
    assert (stream.hop, stream.window, stream.sampling_rate, stream.lag) == (HOP, WINDOW, 100, 0)
    assert stream.classes == ("sum", "newest") and stream.metadata == ABOUT


def test_millivolts_are_served_as_the_file_wants_them(tmp_path: Path):
    about = ModelMetadata.from_props(ABOUT.to_props(), unit="mV")
    stream = open_stream(stream_file(tmp_path / "stream.onnx", about))
    ecg = np.full(WINDOW, 16_000, np.float32)
    assert play(stream, ecg)[-1] == [2 * WINDOW, 2]


@pytest.mark.parametrize(
    ("about", "message"),
    [
        (ModelMetadata(classes=("a", "b"), sampling_rate=100, window=12), "is no streaming file; make one with"),
        (ModelMetadata(classes=("a", "b"), sampling_rate=100, hop=4), "its metadata lack edgeguard.window; compile"),
        (ModelMetadata(sampling_rate=100, window=12, hop=4), "its metadata lack edgeguard.classes; compile it anew"),
    ],
)
def test_files_that_are_no_streams_are_refused(tmp_path: Path, about: ModelMetadata, message: str):
    with pytest.raises(InputError, match=message):
        open_stream(stream_file(tmp_path / "stream.onnx", about))
