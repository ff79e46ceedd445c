"""The twin as a module: values and gradients by hand, invariants of an attack, and what it makes of bad files."""

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper
from onnx.external_data_helper import convert_model_to_external_data

from edgeguard.attacks.gradient import crafting, loss_and_gradient, pgd, sap
from edgeguard.attacks.losses import cross_entropy
from edgeguard.errors import InputError
from edgeguard.export.executed_graph import executed_graph
from edgeguard.export.twin import build_twin
from edgeguard.runtime.flags import create_session, session_options
from edgeguard.runtime.session import open_model

ECG = np.float32([[[10, -4, 300]], [[0, 3, -1]], [[-900, 900, 2]]])


def tiny(
    *,
    opset: int = 21,
    middle: tuple[NodeProto, ...] = (),
    after: str = "v",
    samples: int | str = 3,
    batch: int | str = "b",
) -> ModelProto:
    """Three samples, one convolution of two taps (1 and -0.5), and a float head of two classes; all steps are whole.

    Input codes in steps of 2, features in steps of 4; weights 2 and -1 in steps of 0.5; logits [f0 + f1, 2 f1].
    """
    constants: dict[str, np.ndarray] = {
        "two": np.float32(2), "four": np.float32(4), "half": np.float32([0.5]), "zero": np.int8(0),
        "zeros": np.int8([0]), "w": np.int8([[[2, -1]]]), "head": np.float32([[1, 0], [1, 2]]),
    }  # fmt: skip
    nodes = [
        helper.make_node("QuantizeLinear", ["ecg", "two", "zero"], ["xq"]),
        helper.make_node("DequantizeLinear", ["xq", "two", "zero"], ["x"]),
        helper.make_node("DequantizeLinear", ["w", "half", "zeros"], ["weight"], axis=0),
        helper.make_node("Conv", ["x", "weight"], ["v"], name="conv"),
        *middle,
        helper.make_node("QuantizeLinear", [after, "four", "zero"], ["fq"]),
        helper.make_node("DequantizeLinear", ["fq", "four", "zero"], ["f"]),
        helper.make_node("Flatten", ["f"], ["flat"]),
        helper.make_node("Gemm", ["flat", "head"], ["logits"]),
    ]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("ecg", TensorProto.FLOAT, [batch, 1, samples])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [batch, 2])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def by_onnx_runtime(model: ModelProto, ecg: np.ndarray) -> np.ndarray:
    return create_session(model.SerializeToString(), session_options()).run(None, {"ecg": ecg})[0]


def saved(model: ModelProto, folder: Path) -> Path:
    path = folder / "tiny.onnx"
    path.write_bytes(model.SerializeToString())
    return path


def changed(model: ModelProto, name: str, value: np.ndarray) -> ModelProto:
    copy = ModelProto()
    copy.CopyFrom(model)
    (tensor,) = [tensor for tensor in copy.graph.initializer if tensor.name == name]
    tensor.CopyFrom(numpy_helper.from_array(value, name))
    return copy


def test_logits_worked_out_by_hand():
    """Codes 5, -2, 127 (300 / 2 saturates); sums 12, -131; features 3, -33 in steps of 4: 12 and -132."""
    logits = build_twin(tiny())(torch.from_numpy(ECG[:1]))
    assert logits.tolist() == [[-120.0, -264.0]] == by_onnx_runtime(tiny(), ECG[:1]).tolist()


@pytest.mark.parametrize(
    ("estimator", "want"),
    [("clipped", [1.0, 0.5, 0.0]), ("pure", [1.0, 0.5, -0.5]), ("none", [0.0, 0.0, 0.0])],
)
def test_gradients_worked_out_by_hand(estimator: str, want: list[float]):
    """f0 = x0 - x1 / 2 and f1 = x1 - x2 / 2, so that f0 + f1 has slopes 1, 1 / 2, -1 / 2; the last sample saturates."""
    twin = build_twin(tiny())
    twin.gradient = estimator
    ecg = torch.from_numpy(ECG[:1]).requires_grad_(True)
    (gradient,) = torch.autograd.grad(twin(ecg)[0, 0], ecg)
    assert gradient.flatten().tolist() == want
    assert build_twin(tiny(), gradient=estimator).gradient == estimator


def test_a_relu_in_the_quantiser_stops_every_gradient_below_it():
    relu = (helper.make_node("Relu", ["v"], ["r"]),)
    model = tiny(middle=relu, after="r")
    for estimator in ("clipped", "pure"):
        twin = build_twin(model, gradient=estimator)
        ecg = torch.from_numpy(ECG[:1]).requires_grad_(True)
        logits = twin(ecg)
        assert logits.tolist() == by_onnx_runtime(model, ECG[:1]).tolist() == [[12.0, 0.0]]
        (gradient,) = torch.autograd.grad(logits[0].sum(), ecg)
        assert gradient.flatten().tolist() == [1.0, -0.5, 0.0]


def test_unknown_estimators_are_refused():
    with pytest.raises(InputError, match="gradient soft: unknown"):
        build_twin(tiny(), gradient="soft")
    twin = build_twin(tiny())
    with pytest.raises(InputError, match="gradient soft: unknown"):
        twin.gradient = "soft"
    assert twin.gradient == "clipped"


@pytest.mark.parametrize(("name", "wrong"), [("four", 5.0), ("two", 2.1), ("half", 0.51), ("head", None)])
def test_one_wrong_number_shows(name: str, wrong: float | None):
    value = np.float32([[1, 0], [1, 2.5]]) if wrong is None else np.float32([wrong] if name == "half" else wrong)
    wrong_twin = build_twin(changed(tiny(), name, np.asarray(value)))
    assert not np.array_equal(wrong_twin(torch.from_numpy(ECG)).numpy(), by_onnx_runtime(tiny(), ECG))


@pytest.mark.parametrize("opset", range(13, 26))
def test_opsets(opset: int):
    model = tiny(opset=opset)
    twin = build_twin(model)
    np.testing.assert_array_equal(twin(torch.from_numpy(ECG)).numpy(), by_onnx_runtime(model, ECG))


def test_an_opset_of_the_future_is_refused_in_one_line():
    with pytest.raises(InputError, match="ONNX Runtime cannot load it") as error:
        build_twin(tiny(opset=99))
    assert "\n" not in str(error.value)


def test_a_batch_of_one_is_opened():
    model = tiny(batch=1)
    np.testing.assert_array_equal(build_twin(model)(torch.from_numpy(ECG)).numpy(), by_onnx_runtime(tiny(), ECG))


def test_a_file_and_an_opened_model_and_a_graph_have_one_twin(tmp_path: Path):
    path = saved(tiny(), tmp_path)
    opened = open_model(path, sampling_rate=300, unit="mV", classes="NA")
    ecg = torch.from_numpy(ECG)
    np.testing.assert_array_equal(build_twin(tiny())(ecg).numpy(), by_onnx_runtime(tiny(), ECG))
    np.testing.assert_array_equal(build_twin(opened)(ecg).numpy(), opened.logits(ECG))
    assert not np.array_equal(opened.logits(ECG), by_onnx_runtime(tiny(), ECG))
    with pytest.raises(InputError, match="does not say its"):
        build_twin(path)


def test_a_dynamic_length_goes_where_the_graph_lets_it(tmp_path: Path):
    model = tiny(samples="time")
    np.testing.assert_array_equal(build_twin(model)(torch.from_numpy(ECG)).numpy(), by_onnx_runtime(model, ECG))
    options = {"sampling_rate": 300, "unit": "uV", "classes": "NA"}
    with pytest.raises(InputError, match=r"time axis is dynamic\); add --window SAMPLES") as error:
        open_model(saved(model, tmp_path), **options)
    assert "\n" not in str(error.value)
    assert build_twin(open_model(saved(model, tmp_path), window=3, **options))(torch.from_numpy(ECG)).shape == (3, 2)


def test_what_an_attack_takes_for_granted():
    """No budget, no change; rows do not depend on each other; the true gradient is zero; nothing is left behind."""
    rng = np.random.default_rng(0)
    ecg = torch.from_numpy(rng.integers(-300, 300, (9, 1, 3)).astype(np.float32))
    labels, mask = torch.arange(9) % 2, torch.ones(9, 1, 3, dtype=torch.bool)
    twin = build_twin(tiny())
    together = twin(ecg)
    assert torch.equal(together, torch.cat([twin(row[None]) for row in ecg]))
    assert torch.equal(pgd(twin, ecg, labels, mask, eps=0, steps=2), ecg)
    assert torch.equal(sap(twin, ecg, labels, mask, eps=0, steps=1, smooth_steps=1), ecg)
    assert not list(twin.parameters()) and torch.equal(twin(ecg), together)
    with crafting(twin) as forward:
        assert loss_and_gradient(forward, ecg, labels, cross_entropy)[1].abs().max() > 0
        twin.gradient = "none"
        assert loss_and_gradient(forward, ecg, labels, cross_entropy)[1].abs().max() == 0


def test_autocast_changes_nothing():
    ecg = torch.from_numpy(ECG)
    twin = build_twin(tiny())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = twin(ecg)
    assert torch.equal(inside, twin(ecg)) and inside.dtype == torch.float32


def test_the_graph_is_the_one_that_onnx_runtime_executes():
    twin = build_twin(tiny())
    assert twin.operators == ["QuantizeLinear", "QLinearConv", "DequantizeLinear", "Flatten", "Gemm"]
    assert [node.op_type for node in executed_graph(tiny()).graph.node] == twin.operators


def test_an_operator_that_it_lacks_is_named():
    lacked = tiny(middle=(helper.make_node("Atan", ["v"], ["m"], name="odd"),), after="m", opset=22)
    with pytest.raises(InputError, match=r"operator Atan \(node odd, opset 22\): the twin lacks it; export") as error:
        build_twin(lacked)
    assert "\n" not in str(error.value)


def test_what_depends_on_stored_numbers_only_is_worked_out_once():
    stored = (
        helper.make_node("DequantizeLinear", ["w", "two", "zero"], ["c"]),
        helper.make_node("Relu", ["c"], ["r"]),
        helper.make_node("Add", ["v", "r"], ["s"]),
    )
    model = tiny(middle=stored, after="s")
    np.testing.assert_array_equal(build_twin(model)(torch.from_numpy(ECG)).numpy(), by_onnx_runtime(model, ECG))


def test_several_outputs_are_each_computed():
    split = helper.make_node("Split", ["v"], ["m", "n"], name="split", axis=2, num_outputs=2)
    joined = helper.make_node("Concat", ["m", "n"], ["j"], axis=2)
    plain, parted = build_twin(tiny(after="v")), build_twin(tiny(middle=(split, joined), after="j"))
    ecg = torch.from_numpy(np.random.default_rng(0).normal(0, 30, (3, 1, 3)).astype(np.float32))
    assert torch.equal(plain(ecg), parted(ecg))


@pytest.mark.parametrize("where", ["../weights.bin", "/etc/hostname", "link.bin"])
def test_external_data_outside_the_folder_is_not_read(where: str, tmp_path: Path):
    inside = tmp_path / "model"
    inside.mkdir()
    (tmp_path / "weights.bin").write_bytes(bytes(100))
    (inside / "link.bin").symlink_to(tmp_path / "weights.bin")
    model = tiny()
    convert_model_to_external_data(model, location="here.bin", size_threshold=0)
    for tensor in model.graph.initializer:
        for entry in tensor.external_data:
            if entry.key == "location":
                entry.value = where
    with pytest.raises(InputError, match="external data missing, or outside the file's folder") as error:
        build_twin(saved(model, inside))
    assert "\n" not in str(error.value)


def test_a_tensor_larger_than_its_file_is_refused(tmp_path: Path):
    model = tiny()
    (head,) = [tensor for tensor in model.graph.initializer if tensor.name == "head"]
    head.dims[:] = [2, 2**28]
    path = saved(model, tmp_path)
    assert path.stat().st_size < 1024
    with pytest.raises(InputError) as error:
        build_twin(path)
    assert str(path) in str(error.value) and "\n" not in str(error.value)
    with pytest.raises(InputError) as error:
        build_twin(model)
    assert "\n" not in str(error.value)


def test_garbage_is_refused(tmp_path: Path):
    path = tmp_path / "garbage.onnx"
    path.write_bytes(np.random.default_rng(0).bytes(2000))
    with pytest.raises(InputError, match="is not an ONNX file"):
        build_twin(path)
    with pytest.raises(InputError, match="not found"):
        build_twin(tmp_path / "absent.onnx")


def test_a_float_file_has_a_twin_too():
    weights = [
        numpy_helper.from_array(np.float32([[[1, -0.5]]]), "w"),
        numpy_helper.from_array(np.float32([[1, 0], [1, 2]]), "h"),
    ]
    nodes = [
        helper.make_node("Conv", ["ecg", "w"], ["v"]),
        helper.make_node("Flatten", ["v"], ["f"]),
        helper.make_node("Gemm", ["f", "h"], ["logits"]),
    ]
    graph = helper.make_graph(
        nodes,
        "float",
        [helper.make_tensor_value_info("ecg", TensorProto.FLOAT, ["b", 1, 3])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["b", 2])],
        weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=8)
    onnx.checker.check_model(model)
    ecg = torch.from_numpy(ECG).requires_grad_(True)
    for estimator in ("clipped", "none"):
        logits = build_twin(model, gradient=estimator)(ecg)
        np.testing.assert_allclose(logits.detach().numpy(), by_onnx_runtime(model, ECG), rtol=1e-6)
        (gradient,) = torch.autograd.grad(logits[:, 0].sum(), ecg)
        assert gradient[0].flatten().tolist() == [1.0, 0.5, -0.5]
