from itertools import pairwise
from math import prod
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from edgeguard.errors import InputError
from edgeguard.models.cost import cost
from edgeguard.models.registry import build
from edgeguard.runtime.cost import FileCost, State, file_cost

ZOO = Path(__file__).parents[2] / "models" / "zoo"
HERE = Path("file.onnx")


def graph_model(nodes: list, inputs: dict, constants: dict, *, outputs: dict | None = None) -> onnx.ModelProto:
    """A model of nodes (operator, inputs, outputs, attributes); inputs and outputs as name -> (type, shape)."""
    made = [helper.make_node(kind, ins, outs, **attributes) for kind, ins, outs, attributes in nodes]
    outputs = outputs or {"logits": (TensorProto.FLOAT, [1, 4])}
    graph = helper.make_graph(
        made,
        "g",
        [helper.make_tensor_value_info(name, *about) for name, about in inputs.items()],
        [helper.make_tensor_value_info(name, *about) for name, about in outputs.items()],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)


def price(model: onnx.ModelProto, **options) -> FileCost:
    return file_cost(model, HERE, **options)


class Quantized:
    """A QDQ network in the making; every activation has scale 1 and zero point 0."""

    def __init__(self) -> None:
        self.nodes: list = []
        self.constants: dict = {"one": np.float32(1), "zero": np.int8(0)}

    def codes(self, tensor: str) -> str:
        """Quantise and dequantise a tensor: the name of what the next layer reads."""
        self.nodes += [
            ("QuantizeLinear", [tensor, "one", "zero"], [f"{tensor}_q"], {}),
            ("DequantizeLinear", [f"{tensor}_q", "one", "zero"], [f"{tensor}_dq"], {}),
        ]
        return f"{tensor}_dq"

    def weight(self, name: str, shape: tuple[int, ...], dtype: type = np.int8) -> str:
        """A dequantised weight, or bias with an int32 type."""
        scales = np.ones(shape[0], np.float32)
        self.constants |= {name: np.ones(shape, dtype), f"{name}_s": scales, f"{name}_z": np.zeros(shape[0], dtype)}
        self.nodes.append(("DequantizeLinear", [name, f"{name}_s", f"{name}_z"], [f"{name}_dq"], {"axis": 0}))
        return f"{name}_dq"

    def conv(self, source: str, out: str, shape: tuple[int, ...], **attributes) -> str:
        """A convolution with int32 bias and Relu; the name of what the next layer reads."""
        weight, bias = self.weight(f"{out}_w", shape), self.weight(f"{out}_b", shape[:1], np.int32)
        self.nodes += [("Conv", [source, weight, bias], [f"{out}_c"], attributes), ("Relu", [f"{out}_c"], [out], {})]
        return self.codes(out)

    def head(self, source: str, channels: int) -> None:
        """Global mean and a float linear layer to four logits."""
        self.constants |= {"hw": np.ones((4, channels), np.float32), "hb": np.ones(4, np.float32)}
        self.nodes += [
            ("GlobalAveragePool", [source], ["mean"], {}),
            ("Flatten", [self.codes("mean")], ["flat"], {}),
            ("Gemm", ["flat", "hw", "hb"], ["logits"], {"transB": 1}),
        ]
        # The pool's codes are made after it.
        at = next(i for i, node in enumerate(self.nodes) if node[2] == ["mean"])
        pool = self.nodes.pop(at)
        self.nodes.insert(next(i for i, node in enumerate(self.nodes) if node[1][0] == "mean"), pool)

    def model(self, samples: int) -> onnx.ModelProto:
        """The network on windows of `samples`."""
        return graph_model(self.nodes, {"ecg": (TensorProto.FLOAT, ["batch", 1, samples])}, self.constants)


def residual(samples: int = 100) -> onnx.ModelProto:
    """Stem of 8 channels, a block of two convolutions around a cropped skip, a float head."""
    net = Quantized()
    x = net.conv(net.codes("ecg"), "stem", (8, 1, 5), strides=[2])
    y = net.conv(x, "first", (8, 8, 3))
    weight, bias = net.weight("second_w", (8, 8, 3)), net.weight("second_b", (8,), np.int32)
    net.nodes.append(("Conv", [y, weight, bias], ["second"], {}))
    net.constants |= {"two": np.array([2]), "end": np.array([-2]), "time": np.array([2])}
    net.nodes.append(("Slice", [x, "two", "end", "time"], ["crop"], {}))
    crop, second = net.codes("crop"), net.codes("second")
    net.nodes += [("Add", [second, crop], ["sum"], {}), ("Relu", ["sum"], ["block"], {})]
    net.head(net.codes("block"), 8)
    return net.model(samples)


def test_a_quantized_residual_network_by_hand():
    figures = price(residual())
    stem, first, second = (100 - 5) // 2 + 1, 48 - 2, 48 - 4
    assert [layer.macs for layer in figures.layers] == [8 * 5 * stem, 8 * 8 * 3 * first, 8 * 8 * 3 * second, 8 * 4]
    assert [layer.integer for layer in figures.layers] == [True, True, True, False]
    assert figures.single_channel_macs == 8 * 5 * stem
    assert figures.integer_macs == figures.macs - 32
    assert figures.weight_bytes == 8 * 5 + 2 * 8 * 8 * 3
    assert figures.bias_bytes == 3 * 8 * 4
    assert figures.requantization_bytes == 3 * 8 * 8
    assert figures.float_bytes == (4 * 8 + 4) * 4
    assert figures.flash_bytes == 424 + 96 + 192 + 144
    assert figures.samples == figures.input_bytes == 100
    # The stem's codes wait for the sum, uncopied, while the second convolution reads the first's and writes its own.
    assert figures.activation_bytes == 8 * (stem + first + second)
    assert figures.scratch_bytes == 2 * 2 * 8 * 3
    assert not figures.streaming


def test_a_float_network_by_hand():
    constants = {"w": np.ones((6, 1, 5), np.float32), "hw": np.ones((6, 4), np.float32)}
    nodes = [
        ("Conv", ["ecg", "w"], ["c"], {}),
        ("Relu", ["c"], ["r"], {}),
        ("GlobalAveragePool", ["r"], ["g"], {}),
        ("Flatten", ["g"], ["f"], {}),
        ("MatMul", ["f", "hw"], ["logits"], {}),
    ]
    figures = price(graph_model(nodes, {"ecg": (TensorProto.FLOAT, [1, 1, 50])}, constants))
    assert (figures.macs, figures.integer_macs) == (6 * 5 * 46 + 24, 0)
    assert (figures.weight_bytes, figures.float_bytes) == (0, 4 * (30 + 24))
    assert (figures.input_bytes, figures.activation_bytes) == (200, 4 * 6 * (46 + 1))


def hop_model() -> onnx.ModelProto:
    """Hop 8, one strided int8 convolution of 4 channels with cached inputs, ring of the sums of 5 earlier hops."""
    net = Quantized()
    net.nodes += [
        ("QuantizeLinear", ["ecg", "one", "zero"], ["ecg_q"], {}),
        ("Concat", ["past_stem", "ecg_q"], ["joined"], {"axis": 2}),
        ("DequantizeLinear", ["joined", "one", "zero"], ["joined_dq"], {}),
    ]
    features = net.conv("joined_dq", "stem", (4, 1, 5), strides=[2])
    net.constants |= {
        "three": np.array([-3]),
        "all": np.array([2**31]),
        "time": np.array([2]),
        "one_i": np.array([1]),
        "hw": np.ones((4, 4), np.float32),
    }
    net.nodes += [
        ("Cast", [features.replace("_dq", "_q")], ["wide"], {"to": TensorProto.INT32}),
        ("ReduceSum", ["wide", "time"], ["new"], {"keepdims": 1}),
        ("Concat", ["past_sums", "new"], ["sums"], {"axis": 2}),
        ("ReduceSum", ["sums", "time"], ["total"], {"keepdims": 0}),
        ("Cast", ["total"], ["mean"], {"to": TensorProto.FLOAT}),
        ("MatMul", ["mean", "hw"], ["logits"], {}),
        ("Slice", ["joined", "three", "all", "time"], ["present_stem"], {}),
        ("Slice", ["sums", "one_i", "all", "time"], ["present_sums"], {}),
    ]
    inputs = {
        "ecg": (TensorProto.FLOAT, [1, 1, 8]),
        "past_stem": (TensorProto.INT8, [1, 1, 3]),
        "past_sums": (TensorProto.INT32, [1, 4, 5]),
    }
    outputs = {
        "logits": (TensorProto.FLOAT, [1, 4]),
        "present_stem": (TensorProto.INT8, [1, 1, 3]),
        "present_sums": (TensorProto.INT32, [1, 4, 5]),
    }
    return graph_model(net.nodes, inputs, net.constants, outputs=outputs)


def test_a_streaming_file_by_hand():
    model = hop_model()
    onnx.checker.check_model(model, full_check=True)
    figures = price(model)
    assert figures.streaming
    assert figures.samples == figures.input_bytes == 8
    assert figures.states == (State("past_stem", 3, False), State("past_sums", 4 * 4 * 5, True))
    assert [layer.macs for layer in figures.layers] == [4 * 5 * 4, 16]
    assert figures.layers[0].integer
    # The past inputs and the hop, joined, and the features; the sums are added up where they lie.
    joined, features, sums = 3 + 8, 4 * 4, 4 * 4
    assert figures.activation_bytes == max(joined + features, features + 4 * features, 4 * features + sums)


def test_a_state_kept_channels_last_costs_no_copy_but_the_join():
    """Transposing between the layouts of a graph and of memory moves nothing."""
    net = Quantized()
    x = net.conv(net.codes("ecg"), "stem", (4, 1, 5))
    codes = x.replace("_dq", "_q")
    net.constants |= {"new": np.array([36]), "end": np.array([99]), "time": np.array([1])}
    net.nodes += [
        ("Transpose", [codes], ["fresh"], {"perm": [0, 2, 1]}),
        ("Concat", ["past_0", "fresh"], ["whole"], {"axis": 1}),
        ("Slice", ["whole", "new", "end", "time"], ["present_0"], {}),
        ("Transpose", ["whole"], ["back"], {"perm": [0, 2, 1]}),
        ("DequantizeLinear", ["back", "one", "zero"], ["back_dq"], {}),
    ]
    net.head(net.conv("back_dq", "second", (2, 4, 3)), 2)
    inputs = {"ecg": (TensorProto.FLOAT, [1, 1, 40]), "past_0": (TensorProto.INT8, [1, 2, 4])}
    outputs = {"logits": (TensorProto.FLOAT, [1, 4]), "present_0": (TensorProto.INT8, [1, 2, 4])}
    figures = price(graph_model(net.nodes, inputs, net.constants, outputs=outputs))
    assert figures.states == (State("past_0", 8, False),)
    fresh, joined, second = 4 * 36, 4 * 38, 2 * 36
    assert figures.activation_bytes == max(fresh + joined, joined + second)


def test_a_crop_of_channels_is_a_copy():
    def peak(axis: int) -> int:
        net = Quantized()
        x = net.conv(net.codes("ecg"), "stem", (4, 1, 5)).replace("_dq", "_q")
        net.constants |= {"first": np.array([0]), "end": np.array([2]), "axis": np.array([axis])}
        net.nodes.append(("Slice", [x, "first", "end", "axis"], ["crop"], {}))
        net.nodes.append(("DequantizeLinear", ["crop", "one", "zero"], ["crop_dq"], {}))
        net.head("crop_dq", 2 if axis == 1 else 4)
        return price(net.model(40)).activation_bytes

    assert peak(1) == 4 * 36 + 2 * 36
    assert peak(2) == 4 * 36 + 4


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_of_a_chain_the_peak_is_its_largest_pair(data: st.DataObject):
    net, samples, channels = Quantized(), 200, 1
    source, sizes = net.codes("ecg"), []
    for number in range(data.draw(st.integers(1, 4))):
        out, kernel, stride = (data.draw(st.integers(1, limit)) for limit in (9, 5, 3))
        source = net.conv(source, f"layer{number}", (out, channels, kernel), strides=[stride])
        channels, samples = out, (samples - kernel) // stride + 1
        sizes.append(channels * samples)
    net.head(source, channels)
    sizes.append(channels)
    pairs = [one + other for one, other in pairwise(sizes)]
    assert price(net.model(200)).activation_bytes == max(pairs)


@settings(max_examples=40, deadline=None)
@given(
    groups=st.integers(1, 3),
    inside=st.integers(1, 3),
    outside=st.integers(1, 3),
    kernel=st.integers(1, 4),
    stride=st.integers(1, 3),
    dilation=st.integers(1, 3),
    transposed=st.booleans(),
)
def test_every_multiplication_of_a_convolution_of_ones_adds_one(
    groups: int, inside: int, outside: int, kernel: int, stride: int, dilation: int, transposed: bool
):
    """The sum of its outputs is the number of its multiplications: ONNX Runtime counts them."""
    kind = "ConvTranspose" if transposed else "Conv"
    shape = (groups * inside, outside, kernel) if transposed else (groups * outside, inside, kernel)
    lift = np.ones((groups * inside, 1, 1), np.float32)
    options = {"group": groups, "strides": [stride], "dilations": [dilation]}
    nodes = [
        ("Conv", ["ecg", "lift"], ["x"], {}),
        (kind, ["x", "w"], ["y"], options),
        ("ReduceSum", ["y", "axes"], ["s"], {"keepdims": 0}),
        ("MatMul", ["s", "hw"], ["logits"], {}),
    ]
    constants = {
        "lift": lift,
        "w": np.ones(shape, np.float32),
        "axes": np.array([2]),
        "hw": np.ones((groups * outside, 4), np.float32),
    }
    model = graph_model(nodes, {"ecg": (TensorProto.FLOAT, [1, 1, 20])}, constants)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    (logits,) = session.run(None, {"ecg": np.ones((1, 1, 20), np.float32)})
    assert price(model).layers[1].macs == logits[0, 0]


def published(layers: list[tuple[str, tuple[int, ...], dict]], shape: list[int], features: int, classes: int) -> int:
    """MACs of a two-dimensional network of (input or "", weight shape, attributes) convolutions and a linear layer."""
    nodes: list = [("Reshape", ["ecg", "image"], ["x0"], {})]
    constants: dict = {"image": np.array(shape)}
    for number, (source, weight, options) in enumerate(layers):
        constants[f"w{number}"] = np.ones(weight, np.float32)
        nodes.append(("Conv", [source or f"x{number}", f"w{number}"], [f"x{number + 1}"], options))
    constants["hw"] = np.ones((features, classes), np.float32)
    nodes += [
        ("GlobalAveragePool", [f"x{len(layers)}"], ["pool"], {}),
        ("Flatten", ["pool"], ["flat"], {}),
        ("MatMul", ["flat", "hw"], ["logits"], {}),
    ]
    inputs = {"ecg": (TensorProto.FLOAT, [1, 1, prod(shape)])}
    return price(graph_model(nodes, inputs, constants, outputs={"logits": (TensorProto.FLOAT, [1, classes])})).macs


def test_the_networks_of_mlperf_tiny():
    """DS-CNN and ResNet8 have as many MACs as the published measurements are divided by."""
    same = {"auto_pad": "SAME_UPPER"}
    pair = [("", (64, 1, 3, 3), {"group": 64, **same}), ("", (64, 64, 1, 1), {})]
    ds_cnn = [("", (64, 1, 10, 4), {"strides": [2, 2], **same}), *pair * 4]
    assert published(ds_cnn, [1, 1, 49, 10], 64, 12) == 2_656_768
    stack = [("", (16, 3, 3, 3), same), ("", (16, 16, 3, 3), same), ("", (16, 16, 3, 3), same)]
    half = {"strides": [2, 2], **same}
    for channels, wide, block in ((16, 32, 3), (32, 64, 6)):
        stack += [("", (wide, channels, 3, 3), half), ("", (wide, wide, 3, 3), same)]
        stack += [(f"x{block}", (wide, channels, 1, 1), half)]
    assert published(stack, [1, 3, 32, 32], 64, 10) == 12_501_632


def test_agrees_with_the_cost_of_the_torch_network():
    path = ZOO / "none-edge-m" / "none-edge-m-int8.onnx"
    figures = file_cost(onnx.load(path), path)
    network = build("edge-m")
    assert figures.macs == cost(network).macs == 29_221_792
    convolutions = [m for m in network.modules() if type(m).__name__ == "Conv1d"]
    assert figures.weight_bytes == sum(m.weight.numel() for m in convolutions)
    assert figures.bias_bytes == 4 * sum(m.out_channels for m in convolutions)
    assert figures.float_bytes == 4 * sum(p.numel() for p in network.head.parameters())
    assert figures.input_bytes == 9000


def test_recurrent_layers_are_counted_at_every_step():
    constants = {"w": np.ones((1, 12, 1), np.float32), "r": np.ones((1, 12, 3), np.float32), "axis": np.array([1])}
    nodes = [
        ("Transpose", ["ecg"], ["steps"], {"perm": [2, 0, 1]}),
        ("LSTM", ["steps", "w", "r"], ["", "last"], {"hidden_size": 3}),
        ("Squeeze", ["last", "zero"], ["logits"], {}),
    ]
    constants["zero"] = np.array([0])
    inputs = {"ecg": (TensorProto.FLOAT, [1, 1, 30])}
    model = graph_model(nodes, inputs, constants, outputs={"logits": (TensorProto.FLOAT, [1, 3])})
    assert price(model).macs == 30 * (12 * 1 + 12 * 3)


def test_four_bit_weights_lie_two_to_a_byte():
    weight = helper.make_tensor("w", TensorProto.INT4, [5, 1, 3], [1] * 15)
    net = Quantized()
    net.constants |= {"s": np.float32(1), "hw": np.ones((5, 4), np.float32)}
    net.nodes.append(("DequantizeLinear", ["w", "s"], ["w_dq"], {}))
    net.nodes.append(("Conv", [net.codes("ecg"), "w_dq"], ["c"], {}))
    net.nodes += [("GlobalAveragePool", ["c"], ["g"], {}), ("Flatten", ["g"], ["f"], {})]
    net.nodes.append(("MatMul", ["f", "hw"], ["logits"], {}))
    model = net.model(20)
    model.graph.initializer.append(weight)
    figures = price(model)
    assert figures.weight_bytes == 8
    assert not figures.layers[0].integer


def test_a_dynamic_window_is_asked_for_and_taken():
    constants = {"w": np.ones((4, 1, 5), np.float32)}
    nodes = [
        ("Conv", ["ecg", "w"], ["c"], {}),
        ("GlobalAveragePool", ["c"], ["g"], {}),
        ("Flatten", ["g"], ["logits"], {}),
    ]
    model = graph_model(nodes, {"ecg": (TensorProto.FLOAT, ["batch", 1, "time"])}, constants)
    assert price(model, window=44).macs == 4 * 5 * 40
    with pytest.raises(InputError, match=r"^file\.onnx: does not say the length of its window; add --window SAMPLES$"):
        price(model)


@pytest.mark.parametrize(
    ("nodes", "message"),
    [
        ([("Einsum", ["ecg"], ["logits"], {"equation": "abc->ab"})], "work of operator Einsum cannot be counted"),
        ([("Mean", ["ecg"], ["logits"], {"domain": "com.maker"})], "work of operator Mean cannot be counted"),
        (
            [
                ("NonZero", ["ecg"], ["places"], {}),
                ("Cast", ["places"], ["p"], {"to": 1}),
                ("MatMul", ["p", "w"], ["logits"], {}),
            ],
            "no fixed shape",
        ),
    ],
)
def test_what_cannot_be_counted_is_refused_in_one_line(nodes: list, message: str):
    model = graph_model(nodes, {"ecg": (TensorProto.FLOAT, [1, 1, 8])}, {"w": np.ones((3, 4), np.float32)})
    with pytest.raises(InputError, match=message) as error:
        price(model)
    assert str(error.value).startswith("file.onnx: ") and "\n" not in str(error.value)
