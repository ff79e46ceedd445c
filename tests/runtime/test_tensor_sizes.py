"""Files that would make huge tensors are refused when they are loaded, before anything makes one."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from large_tensors import MAKERS, OPSETS, model_of, sparse, tensor
from onnx import ModelProto, TensorProto, helper, numpy_helper

from edgeguard.errors import InputError
from edgeguard.runtime import tensor_sizes
from edgeguard.runtime.loading import load_onnx
from edgeguard.runtime.tensor_sizes import MOST_CONSTANT, MOST_ELEMENTS, check_sizes

ROOT = Path(__file__).parents[2]


def refused(model: ModelProto, path: Path) -> str | None:
    onnx.save(model, path)
    try:
        load_onnx(path)
    except InputError as error:
        return str(error)
    return None


@pytest.mark.parametrize("maker", MAKERS)
def test_a_file_of_some_bytes_makes_no_gigabytes(tmp_path: Path, maker: str) -> None:
    path = tmp_path / "bomb.onnx"
    reason = refused(model_of(MAKERS[maker](2**31)), path)
    assert path.stat().st_size < 2_000
    assert reason is not None and reason.startswith(f"{path}: node ") and "\n" not in reason
    assert "elements" in reason and len(reason) < len(str(path)) + 250


@pytest.mark.parametrize("maker", MAKERS)
@pytest.mark.parametrize("n", [40, 90, 100, 110, 200])
def test_sizes_are_those_that_onnx_runtime_makes(monkeypatch: pytest.MonkeyPatch, maker: str, n: int) -> None:
    """With a bound of 100 elements, what is refused is what has more when it is run."""
    monkeypatch.setattr(tensor_sizes, "MOST_ELEMENTS", 100)
    model = model_of(MAKERS[maker](n))
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    made = session.run(None, {"ecg": np.zeros((1, 1, 6), np.float32)})[0]
    try:
        check_sizes(model, Path("m.onnx"))
    except InputError:
        assert made > 100
    else:
        assert made <= 100


def test_the_node_and_its_operator_are_named(tmp_path: Path) -> None:
    nodes = MAKERS["ConstantOfShape"](2**31)
    nodes[1].name = "blank\nlines"
    assert refused(model_of(nodes), tmp_path / "m.onnx") == (
        f"{tmp_path / 'm.onnx'}: node 'blank\\nlines' ('ConstantOfShape'): 2147483648 elements, at most "
        f"{MOST_ELEMENTS} at batch size one; export the model with smaller tensors"
    )


def test_axes_whose_product_no_integer_holds(tmp_path: Path) -> None:
    nodes = [tensor("shape", [2**62, 2**62]), helper.make_node("ConstantOfShape", ["shape"], ["y"])]
    assert "more than 2^63 elements" in str(refused(model_of(nodes), tmp_path / "m.onnx"))


def test_no_tensor_has_more_axes_than_numpy_takes(tmp_path: Path) -> None:
    nodes = [tensor("shape", [1] * 65), helper.make_node("Expand", ["ecg", "shape"], ["y"])]
    assert "node 'y' ('Expand'): 65 axes, at most 64" in str(refused(model_of(nodes), tmp_path / "m.onnx"))


def test_constants_count_together(tmp_path: Path) -> None:
    """ONNX Runtime keeps them all: five of 2^24 in a sum, in a file of a kilobyte."""

    def blanks(count: int) -> ModelProto:
        nodes = [tensor("shape", [MOST_CONSTANT // 4])]
        nodes += [helper.make_node("ConstantOfShape", ["shape"], [f"b{i}"]) for i in range(count)]
        nodes += [helper.make_node("ReduceMax", [f"b{i}"], [f"m{i}"]) for i in range(count)]
        return model_of([*nodes, helper.make_node("Max", ["ecg", *(f"m{i}" for i in range(count))], ["y"])])

    assert refused(blanks(4), tmp_path / "m.onnx") is None
    assert "and the constants before it: 16777216 elements, too many" in str(refused(blanks(5), tmp_path / "m.onnx"))


def test_weights_that_the_file_holds_may_be_computed_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file of int8 weights computes as many floats from them: in proportion to its bytes."""
    monkeypatch.setattr(tensor_sizes, "MOST_CONSTANT", 0)
    weights = numpy_helper.from_array(np.ones((1000, 6), np.int8), "codes")
    nodes = [
        tensor("scale", 0.5, np.float32),
        helper.make_node("DequantizeLinear", ["codes", "scale"], ["weight"]),
        helper.make_node("Transpose", ["weight"], ["turned"], perm=[1, 0]),
        helper.make_node("MatMul", ["ecg", "turned"], ["y"]),
    ]
    assert refused(model_of(nodes, initializer=[weights]), tmp_path / "m.onnx") is None


@pytest.mark.parametrize("place", ["input", "output", "initializer", "sparse initializer"])
def test_declared_sizes_are_bounded(tmp_path: Path, place: str) -> None:
    nodes = [helper.make_node("Identity", ["ecg"], ["y"])]
    more: dict[str, object] = {}
    if place == "initializer":
        more["initializer"] = [TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[2**20, 2**20], raw_data=b"")]
    if place == "sparse initializer":
        more["sparse_initializer"] = [sparse(2**31)]
        nodes = []
    model = model_of(nodes, dims=(1, 1, 2**40 if place == "input" else 6), **more)
    if place == "output":
        model.graph.output[0].CopyFrom(helper.make_tensor_value_info("size", TensorProto.INT64, [1, 2**40]))
        model.graph.node[-1].op_type, model.graph.node[-1].domain = "Unknown", "own"
    with pytest.raises(InputError, match=place.split()[-1]):
        check_sizes(model, tmp_path / "m.onnx")


def test_functions_that_double_and_doubles_that_never_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Twenty functions that each call the next one twice are a million nodes; one that calls itself has no end."""

    monkeypatch.setattr(tensor_sizes, "_MOST_NODES", 5_000)

    def twice(name: str, inner: str) -> onnx.FunctionProto:
        calls = [helper.make_node(inner, [a], [b], domain="own") for a, b in (("x", "m"), ("m", "out"))]
        return helper.make_function("own", name, ["x"], ["out"], calls, OPSETS[:2])

    last = helper.make_function("own", "F20", ["x"], ["out"], [helper.make_node("Relu", ["x"], ["out"])], OPSETS[:2])
    model = model_of([helper.make_node("F0", ["ecg"], ["y"], domain="own")])
    del model.functions[:]
    model.functions.extend([*(twice(f"F{i}", f"F{i + 1}") for i in range(20)), last])
    with pytest.raises(InputError, match="more than 5000 nodes, functions written out"):
        check_sizes(model, tmp_path / "m.onnx")
    del model.functions[:]
    model.functions.append(twice("F0", "F0"))
    with pytest.raises(InputError, match="more than 32 deep"):
        check_sizes(model, tmp_path / "m.onnx")


def test_shapes_that_take_longer_than_any_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tensor_sizes, "_MOST_EVALUATED", 10)
    names = [f"s{i}" for i in range(12)]
    sums = [helper.make_node("Add", [a, "s0"], [b]) for a, b in pairwise(names)]
    nodes = [tensor("s0", [1]), *sums, helper.make_node("ConstantOfShape", ["s11"], ["y"])]
    assert "more than 10 computed constants" in str(refused(model_of(nodes), tmp_path / "m.onnx"))


@pytest.mark.parametrize("dims", [(1, 1, 9000), ("batch", 1, "time"), ("batch", 1, None)])
def test_shapes_of_the_input_are_followed(tmp_path: Path, dims: tuple[object, ...]) -> None:
    """What exporters write to flatten: no constant, and nothing to refuse."""
    nodes = [
        helper.make_node("Shape", ["ecg"], ["all"]),
        tensor("zero", [0]),
        helper.make_node("Gather", ["all", "zero"], ["batch"]),
        tensor("rest", [-1]),
        helper.make_node("Concat", ["batch", "rest"], ["flat"], axis=0),
        helper.make_node("Reshape", ["ecg", "flat"], ["y"]),
    ]
    assert refused(model_of(nodes, dims=dims), tmp_path / "m.onnx") is None


@pytest.mark.parametrize("path", sorted(ROOT.glob("models/zoo/*/*.onnx"))[::9], ids=lambda path: path.name)
def test_the_files_of_the_zoo_are_far_below(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tensor_sizes, "MOST_ELEMENTS", 2**20)
    monkeypatch.setattr(tensor_sizes, "MOST_CONSTANT", 2**20)
    assert load_onnx(path).graph.node
