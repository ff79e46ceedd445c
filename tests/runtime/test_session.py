"""Any single-lead classifier file opens, and anything else is refused in one line."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import QuantType

from edgeguard.errors import InputError
from edgeguard.runtime.files import sha256_file
from edgeguard.runtime.metadata import ModelMetadata
from edgeguard.runtime.session import BATCHES, _chunks, open_model

WINDOW = 600
FACTS = {"sampling_rate": 300.0, "unit": "uV", "classes": ("N", "A", "O", "~")}


def quarter_sums(ecg: np.ndarray) -> np.ndarray:
    """What the linear model computes: the sum of each quarter of the window."""
    return ecg.reshape(len(ecg), 4, -1).sum(axis=2)


@pytest.mark.parametrize("batch", ["batch", 1, 5])
@pytest.mark.parametrize("layout", [[WINDOW], [1, WINDOW], [WINDOW, 1], [1, 1, WINDOW]])
def test_every_layout_and_batch_axis(save_linear: Callable, noise: np.ndarray, layout: list, batch: int | str) -> None:
    model = open_model(save_linear([batch, *layout]), **FACTS)
    np.testing.assert_allclose(model.logits(noise), quarter_sums(noise), rtol=1e-4, atol=0.1)
    np.testing.assert_array_equal(model.labels(noise), quarter_sums(noise).argmax(axis=1))
    assert model.labels(noise).dtype == np.int64
    assert model.logits(noise[:0]).shape == (0, 4)


@pytest.mark.parametrize("allowzero", [0, 1])
def test_a_batch_of_one_is_opened_where_the_graph_allows_it(
    save_linear: Callable, noise: np.ndarray, allowzero: int
) -> None:
    """torch's exporter sets `allowzero`, with which a zero in a Reshape is a length and not "as in the input"."""
    model = open_model(save_linear([1, 1, WINDOW], batch_in_reshape=1, allowzero=allowzero), **FACTS)
    assert model.batches == BATCHES and model.fixed_batch is None
    np.testing.assert_allclose(model.logits(noise), quarter_sums(noise), rtol=1e-4, atol=0.1)


def test_a_batch_of_one_that_the_graph_insists_on_is_looped(tmp_path: Path, noise: np.ndarray) -> None:
    """logits = sums of quarters, made with a Reshape to [4, 150] that leaves no room for a batch."""
    graph = helper.make_graph(
        [
            helper.make_node("Reshape", ["ecg", "shape"], ["quarters"]),
            helper.make_node("ReduceSum", ["quarters", "axis"], ["sums"]),
            helper.make_node("Transpose", ["sums"], ["logits"]),
        ],
        "insists",
        [helper.make_tensor_value_info("ecg", TensorProto.FLOAT, [1, 1, WINDOW])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, 4])],
        [
            numpy_helper.from_array(np.array([4, WINDOW // 4], np.int64), "shape"),
            numpy_helper.from_array(np.array([1], np.int64), "axis"),
        ],
    )
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10),
        tmp_path / "m.onnx",
    )
    model = open_model(tmp_path / "m.onnx", **FACTS)
    assert model.batches == (1,) and model.fixed_batch == 1
    np.testing.assert_allclose(model.logits(noise), quarter_sums(noise), rtol=1e-4, atol=0.1)


@pytest.mark.parametrize("dtype", [TensorProto.INT16, TensorProto.INT32, TensorProto.INT64])
def test_integer_inputs_are_rounded_and_clipped(save_linear: Callable, dtype: int) -> None:
    ecg = np.zeros((1, 1, WINDOW), np.float32)
    ecg[0, 0, :4] = [0.6, -0.6, 2.5, 1e5]
    expected = 1 - 1 + 2 + (32767 if dtype == TensorProto.INT16 else 1e5)
    model = open_model(save_linear(["b", 1, WINDOW], dtype=dtype), **FACTS)
    np.testing.assert_array_equal(model.logits(ecg)[0], [expected, 0, 0, 0])


@pytest.mark.parametrize(("unit", "per_microvolt"), [("uV", 1.0), ("mV", 1e-3), ("V", 1e-6)])
def test_units_are_scaled(save_linear: Callable, noise: np.ndarray, unit: str, per_microvolt: float) -> None:
    model = open_model(save_linear(["b", 1, WINDOW]), **{**FACTS, "unit": unit})
    np.testing.assert_allclose(model.logits(noise), quarter_sums(noise) * per_microvolt, rtol=1e-3, atol=1e-3)


def test_metadata_of_the_file_are_enough(save_linear: Callable) -> None:
    props = ModelMetadata(classes=("a", "b", "c", "d"), sampling_rate=300.0, window=WINDOW, seed=7).to_props()
    path = save_linear(["b", 1, "time"], props=props)
    model = open_model(path)
    assert (model.classes, model.window, model.sampling_rate) == (("a", "b", "c", "d"), WINDOW, 300.0)
    assert model.metadata.seed == 7
    assert model.sha256 == sha256_file(path)
    assert model.path == path


@pytest.mark.parametrize("field", ["sampling_rate", "unit", "classes", "window"])
def test_a_missing_fact_names_its_option(save_linear: Callable, field: str) -> None:
    facts = {**FACTS, "window": WINDOW}
    del facts[field]
    with pytest.raises(InputError, match="--" + field.replace("_", "-")):
        open_model(save_linear(["b", 1, "time"]), **facts)


@given(st.integers(0, 300), st.sampled_from([BATCHES, (8,), (5,), (32, 1), (1,)]))
def test_chunks_cover_every_row_once(count: int, batches: tuple[int, ...]) -> None:
    chunks = list(_chunks(count, batches))
    covered = [row for start, size in chunks for row in range(start, min(start + size, count))]
    assert covered == list(range(count))
    assert all(size in batches for _, size in chunks)
    assert all(start + size <= count for start, size in chunks[:-1])


def test_labels_do_not_depend_on_company(quantized: Callable, noise: np.ndarray) -> None:
    model = open_model(quantized(QuantType.QInt8), **FACTS)
    model.keep_invariant_batches(noise)
    together = model.logits(noise)
    alone = np.concatenate([model.logits(row[None]) for row in noise])
    np.testing.assert_array_equal(together, alone)


def test_batch_sizes_that_change_a_row_are_given_up(save_linear: Callable, noise: np.ndarray) -> None:
    model = open_model(save_linear(["b", 1, WINDOW]), **FACTS)
    exact = model._run
    model._run = lambda ecg: exact(ecg) + np.float32(len(ecg) == 8)
    model.keep_invariant_batches(noise)
    assert 8 not in model.batches
    assert 1 in model.batches


def test_step_of_the_input_quantizer_in_microvolts(quantized: Callable, residual_path: Path) -> None:
    path = quantized(QuantType.QInt8)
    graph = onnx.load(path).graph
    first = next(node for node in graph.node if node.op_type == "QuantizeLinear" and node.input[0] == "ecg")
    scale = next(numpy_helper.to_array(t).item() for t in graph.initializer if t.name == first.input[1])
    assert open_model(path, **FACTS).input_step_uv == pytest.approx(scale)
    assert open_model(path, **{**FACTS, "unit": "mV"}).input_step_uv == pytest.approx(1000 * scale)
    assert open_model(residual_path, **FACTS).input_step_uv is None


def test_wrong_shapes_are_refused(save_linear: Callable, noise: np.ndarray) -> None:
    model = open_model(save_linear(["b", 1, WINDOW]), **FACTS)
    for ecg in (noise[0], noise[:, :, 1:], np.concatenate([noise, noise], axis=1)):
        with pytest.raises(InputError, match=r"\[B, 1, 600\]"):
            model.logits(ecg)


def refused(path: Path, **facts: object) -> str:
    """The one line with which a file is refused."""
    with pytest.raises(InputError) as caught:
        open_model(path, **{**FACTS, **facts})
    line = str(caught.value)
    assert str(path) in line
    assert "\n" not in line
    return line


@pytest.mark.parametrize("content", [b"just some text, no model\n" * 9, b"", b"\x00" * 64, b"PK\x03\x04 a zip"])
def test_other_files_are_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "text.onnx"
    path.write_bytes(content)
    assert "not an ONNX file" in refused(path)


def test_missing_files_and_folders_are_refused(tmp_path: Path) -> None:
    assert "not found" in refused(tmp_path / "none.onnx")
    assert "folder" in refused(tmp_path)


def test_a_truncated_file_is_refused(residual_path: Path, tmp_path: Path) -> None:
    path = tmp_path / "cut.onnx"
    path.write_bytes(residual_path.read_bytes()[:-400])
    refused(path)


@pytest.mark.parametrize(
    ("shape", "facts", "says"),
    [
        (["b", 12, WINDOW], {}, "[?,12,600]"),
        (["b", 1, 1, 1, WINDOW], {}, "single lead"),
        (["b", 1, WINDOW], {"window": 9000}, "takes 600 samples"),
        (["b", 1, WINDOW], {"classes": ("N", "A")}, "--classes"),
        (["b", 1, WINDOW], {"unit": "volt"}, "--unit"),
        (["b", 1, WINDOW], {"sampling_rate": -1.0}, "--sampling-rate"),
        (["b", 1, "time"], {"window": 601}, "--window"),
    ],
)
def test_unfit_models_and_options_are_refused(save_linear: Callable, shape: list, facts: dict, says: str) -> None:
    assert says in refused(save_linear(shape), **facts)


def graph_of(inputs: list, outputs: list, nodes: list, path: Path) -> Path:
    graph = helper.make_graph(nodes, "g", inputs, outputs)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    onnx.save(model, path)
    return path


def tensor(name: str, shape: list, dtype: int = TensorProto.FLOAT) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, dtype, shape)


def test_two_inputs_or_outputs_are_refused(tmp_path: Path) -> None:
    add = helper.make_node("Add", ["ecg", "age"], ["logits"])
    two_in = [tensor("ecg", [1, 4]), tensor("age", [1, 4])]
    path = graph_of(two_in, [tensor("logits", [1, 4])], [add], tmp_path / "two.onnx")
    assert "inputs ecg, age" in refused(path)
    split = helper.make_node("Split", ["ecg"], ["a", "b"], axis=1, num_outputs=2)
    outputs = [tensor("a", [1, 4]), tensor("b", [1, 4])]
    path = graph_of([tensor("ecg", [1, 8])], outputs, [split], tmp_path / "out.onnx")
    assert "outputs a, b" in refused(path)


def test_streaming_files_are_named_as_such(tmp_path: Path) -> None:
    add = helper.make_node("Add", ["ecg", "past_conv1"], ["logits"])
    inputs = [tensor("ecg", [1, 4]), tensor("past_conv1", [1, 4])]
    path = graph_of(inputs, [tensor("logits", [1, 4])], [add], tmp_path / "stream.onnx")
    assert "streaming" in refused(path)


def test_labels_sequences_and_odd_types_are_refused(tmp_path: Path) -> None:
    arg = helper.make_node("ArgMax", ["ecg"], ["label"], axis=1)
    labels = tensor("label", [1, 1], TensorProto.INT64)
    path = graph_of([tensor("ecg", [1, 4])], [labels], [arg], tmp_path / "labels.onnx")
    assert "int64" in refused(path)
    sequence = helper.make_tensor_sequence_value_info("s", TensorProto.FLOAT, None)
    make = helper.make_node("SequenceConstruct", ["ecg"], ["s"])
    assert "not a tensor" in refused(graph_of([tensor("ecg", [1, 4])], [sequence], [make], tmp_path / "s.onnx"))
    cast = helper.make_node("Cast", ["ecg"], ["logits"], to=TensorProto.FLOAT)
    codes = tensor("ecg", [1, 4], TensorProto.UINT8)
    assert "uint8" in refused(graph_of([codes], [tensor("logits", [1, 4])], [cast], tmp_path / "u8.onnx"))


@pytest.mark.parametrize("where", ["../weights.bin", "/etc/hostname", "sub/../../weights.bin", "missing.bin"])
def test_external_data_stay_in_the_folder_of_the_file(tmp_path: Path, residual_path: Path, where: str) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    (tmp_path / "weights.bin").write_bytes(bytes(4096))
    model = onnx.load(residual_path)
    weight = model.graph.initializer[0]
    weight.ClearField("raw_data")
    weight.data_location = TensorProto.EXTERNAL
    weight.external_data.add(key="location", value=where)
    (folder / "m.onnx").write_bytes(model.SerializeToString())
    assert "external data" in refused(folder / "m.onnx")


def test_external_data_beside_the_file_are_read(tmp_path: Path, residual_path: Path, noise: np.ndarray) -> None:
    path = tmp_path / "m.onnx"
    onnx.save(onnx.load(residual_path), path, save_as_external_data=True, location="m.bin", size_threshold=0)
    assert (tmp_path / "m.bin").stat().st_size > 0
    np.testing.assert_array_equal(
        open_model(path, **FACTS).logits(noise), open_model(residual_path, **FACTS).logits(noise)
    )
