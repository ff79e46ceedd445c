"""The float file says what the network says, and holds nothing else."""

import copy

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import ModelProto
from torch import Tensor, nn

from edgeguard.ecg.dataset import Dataset
from edgeguard.errors import InputError
from edgeguard.export.float_graph import export_float
from edgeguard.export.graph_passes import (
    consumers,
    fold_batch_norm,
    fold_input_scale,
    initializers,
    remove_unused,
    use_global_average_pool,
)
from edgeguard.models.cnn13 import StridedMaxPool
from edgeguard.models.edge import INPUT_SCALE_UV, EdgeNet


def run_onnx(model: ModelProto, ecg: np.ndarray) -> np.ndarray:
    """The first output, by ONNX Runtime without any of its optimisations."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: ecg})[0]


def operators(model: ModelProto) -> list[str]:
    return [node.op_type for node in model.graph.node]


@pytest.mark.parametrize("batch", [1, 2, 5])
def test_the_file_says_what_the_network_says_in_any_batch(
    graph: ModelProto, model: EdgeNet, dataset: Dataset, batch: int
):
    ecg = dataset.batch(np.arange(batch))[0]
    with torch.no_grad():
        expected = model(torch.from_numpy(ecg)).numpy()
    np.testing.assert_allclose(run_onnx(graph, ecg), expected, rtol=1e-4, atol=1e-3)
    assert np.abs(expected).max() > 1


def test_the_file_holds_the_bare_graph(graph: ModelProto):
    assert [(entry.domain, entry.version) for entry in graph.opset_import] == [("", 21)]
    assert graph.producer_name == "edgeguard" and not graph.producer_version
    assert not graph.metadata_props and not graph.doc_string and not graph.graph.doc_string
    assert not graph.graph.metadata_props and not graph.functions
    assert all(not node.doc_string and not node.metadata_props for node in graph.graph.node)
    content = graph.SerializeToString()
    for trace in (b"torch", b".py", b"/home", b"site-packages", b"pkg.", b"namespace"):
        assert trace not in content


def test_input_and_output_are_those_of_the_contract(graph: ModelProto):
    shapes = {
        value.name: [d.dim_param or d.dim_value for d in value.type.tensor_type.shape.dim]
        for value in (*graph.graph.input, *graph.graph.output)
    }
    assert shapes == {"ecg": ["batch", 1, 2400], "logits": ["batch", 4]}
    assert [value.name for value in graph.graph.input] == ["ecg"]
    assert all(v.type.tensor_type.elem_type == onnx.TensorProto.FLOAT for v in graph.graph.input)


def test_scale_and_batch_normalisation_are_folded(graph: ModelProto, model: EdgeNet):
    assert set(operators(graph)) == {"Conv", "Relu", "Add", "Slice", "GlobalAveragePool", "Reshape", "Gemm"}
    assert operators(graph).count("Conv") == sum(isinstance(m, nn.Conv1d) for m in model.modules())
    (stem,) = consumers(graph)["ecg"]
    assert stem.op_type == "Conv"
    weight, bias = (initializers(graph)[name] for name in stem.input[1:])
    norm = model.norm
    factor = (norm.weight / (norm.running_var + norm.eps).sqrt()).detach()
    expected = model.stem.weight.detach() * factor[:, None, None] / INPUT_SCALE_UV
    np.testing.assert_allclose(weight, expected.numpy(), rtol=1e-5, atol=1e-9)
    np.testing.assert_allclose(bias, (norm.bias - norm.running_mean * factor).detach(), rtol=1e-4, atol=1e-6)
    assert set(initializers(graph)) == {name for node in graph.graph.node for name in node.input} & set(
        initializers(graph)
    )


def test_exporting_leaves_the_network_alone(model: EdgeNet):
    twin = nn.Sequential(nn.Conv1d(1, 4, 9), nn.BatchNorm1d(4), nn.AdaptiveAvgPool1d(1), nn.Flatten()).train()
    before = {name: value.clone() for name, value in twin.state_dict().items()}
    export_float(twin, window=50)
    assert all(m.training for m in twin.modules()) and isinstance(twin[2], nn.AdaptiveAvgPool1d)
    assert all(torch.equal(value, before[name]) for name, value in twin.state_dict().items())


@pytest.mark.parametrize("window", [600, 601])
def test_a_network_with_the_odd_pooling_and_biases(window: int):
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv1d(1, 6, 24, padding=11),
        nn.BatchNorm1d(6),
        nn.ReLU(),
        StridedMaxPool(),
        nn.Dropout(0.3),
        nn.Conv1d(6, 4, 8, padding=14, dilation=4),
        nn.BatchNorm1d(4),
        nn.ReLU(),
        nn.AdaptiveAvgPool1d(1),
        nn.Flatten(),
        nn.Linear(4, 4),
    )
    network(200 * torch.randn(8, 1, window))
    ecg = 200 * torch.randn(3, 1, window)
    graph = export_float(network, window=window)
    with torch.no_grad():
        expected = network.eval()(ecg).numpy()
    np.testing.assert_allclose(run_onnx(graph, ecg.numpy()), expected, rtol=1e-4, atol=1e-5)
    assert "BatchNormalization" not in operators(graph)


def test_a_network_that_cannot_be_traced_is_refused_in_one_line():
    class Undecided(nn.Module):
        def forward(self, ecg: Tensor) -> Tensor:
            return ecg[:, 0, :4] * (2 if ecg.sum() > 0 else 3)

    with pytest.raises(InputError, match=r"the network cannot be traced to ONNX .*control flow") as caught:
        export_float(Undecided(), window=50)
    assert "\n" not in str(caught.value)


HEAD = '<ir_version: 10, opset_import: ["" : 21]>'
NORM = """
agraph (float[n,1,20] ecg) => (float[n,2,18] logits)
<float[2,1,3] w = {1, -2, 3, 0.5, 4, -1}, float[2] b = {0.25, -4}, float[2] gamma = {2, -0.5},
 float[2] beta = {1, -1}, float[2] mean = {0.5, 3}, float[2] variance = {4, 0.25}> {
"""
INPUT = np.random.default_rng(0).normal(0, 3, (2, 1, 20)).astype(np.float32)


@pytest.mark.parametrize("bias", ["", ", b"])
@pytest.mark.parametrize("epsilon", ["", " <epsilon = 0.5>"])
def test_batch_normalisation_folds_into_its_convolution(bias: str, epsilon: str):
    body = f"""
        c = Conv (ecg, w{bias})
        logits = BatchNormalization{epsilon} (c, gamma, beta, mean, variance)
    }}"""
    original = onnx.parser.parse_model(HEAD + NORM + body)
    folded = copy.deepcopy(original)
    fold_batch_norm(folded)
    remove_unused(folded)
    assert operators(folded) == ["Conv"] and len(folded.graph.initializer) == 2
    np.testing.assert_allclose(run_onnx(folded, INPUT), run_onnx(original, INPUT), rtol=1e-5, atol=1e-5)


def test_batch_normalisation_stays_where_its_convolution_is_read_twice():
    body = """
        c = Conv (ecg, w)
        y = BatchNormalization (c, gamma, beta, mean, variance)
        logits = Add (c, y)
    }"""
    original = onnx.parser.parse_model(HEAD + NORM + body)
    folded = copy.deepcopy(original)
    fold_batch_norm(folded)
    assert folded == original


@pytest.mark.parametrize(
    "scaling", ["x = Mul (ecg, k)", "x = Mul (k, ecg)", "x = Div (ecg, k)"], ids=["times", "times'", "by"]
)
@pytest.mark.parametrize("bias", ["", ", b"])
def test_an_input_scale_folds_into_the_convolutions_behind_it(scaling: str, bias: str):
    text = f"""
    agraph (float[n,1,20] ecg) => (float[n,2,20] logits)
    <float k = {{0.125}}, float[2,1,3] w = {{1, -2, 3, 0.5, 4, -1}}, float[2,1,1] v = {{2, 3}},
     float[2] b = {{5, 7}}> {{
        {scaling}
        first = Conv <pads = [1, 1]> (x, w{bias})
        second = Conv (x, v)
        logits = Add (first, second)
    }}"""
    original = onnx.parser.parse_model(HEAD + text)
    folded = copy.deepcopy(original)
    fold_input_scale(folded)
    assert operators(folded) == ["Conv", "Conv", "Add"]
    assert [node.op_type for node in consumers(folded)["ecg"]] == ["Conv", "Conv"]
    np.testing.assert_allclose(run_onnx(folded, INPUT), run_onnx(original, INPUT), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    "body",
    [
        "x = Div (k, ecg)\n logits = Conv (x, w)",
        "x = Mul (ecg, rows)\n logits = Conv (x, w)",
        "x = Mul (ecg, k)\n y = Relu (x)\n logits = Conv (y, w)",
        "x = Mul (ecg, k)\n y = Conv (x, w)\n logits = Add (y, ecg)",
        "x = Mul (ecg, ecg)\n logits = Conv (x, w)",
        "x = Add (ecg, k)\n logits = Conv (x, w)",
    ],
)
def test_what_is_no_plain_input_scale_stays(body: str):
    text = f"""
    agraph (float[n,1,20] ecg) => (float[n,1,20] logits)
    <float k = {{0.125}}, float[1,1,1] w = {{3}}, float[2,1,1] rows = {{1, 2}}> {{ {body} }}"""
    original = onnx.parser.parse_model(HEAD + text)
    folded = copy.deepcopy(original)
    fold_input_scale(folded)
    assert folded == original


def mean_model(axes: str, keepdims: int, shape: str) -> ModelProto:
    return onnx.parser.parse_model(
        HEAD
        + f"""
    agraph (float[n,1,20] ecg) => (float[{shape}] logits) <int64[1] axes = {{{axes}}}> {{
        logits = ReduceMean <keepdims = {keepdims}> (ecg, axes)
    }}"""
    )


@pytest.mark.parametrize("axis", ["2", "-1"])
def test_a_mean_over_time_becomes_a_global_pool(axis: str):
    original = mean_model(axis, 1, "n,1,1")
    pooled = copy.deepcopy(original)
    use_global_average_pool(pooled)
    assert operators(pooled) == ["GlobalAveragePool"]
    onnx.checker.check_model(pooled, full_check=True)
    np.testing.assert_allclose(run_onnx(pooled, INPUT), run_onnx(original, INPUT), rtol=1e-5, atol=1e-6)


def test_a_mean_that_drops_its_axis_is_a_pool_without_it():
    original = mean_model("2", 0, "n,1")
    pooled = copy.deepcopy(original)
    use_global_average_pool(pooled)
    assert operators(pooled) == ["GlobalAveragePool", "Squeeze"]
    onnx.checker.check_model(pooled, full_check=True)
    np.testing.assert_allclose(run_onnx(pooled, INPUT), run_onnx(original, INPUT), rtol=1e-5, atol=1e-6)


def test_another_mean_stays_a_mean():
    original, kept = mean_model("1", 1, "n,1,20"), mean_model("1", 1, "n,1,20")
    use_global_average_pool(kept)
    assert kept == original
