"""Files that hold an ONNX file's weights are found wherever a graph may keep a tensor."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgeguard.runtime.external_data import external_files


def outside(name: str, location: str) -> TensorProto:
    tensor = numpy_helper.from_array(np.zeros(1, np.float32), name)
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=location)
    return tensor


def branch(constant: TensorProto) -> onnx.GraphProto:
    value = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1])
    return helper.make_graph([helper.make_node("Constant", [], ["y"], value=constant)], "branch", [], [value])


def save(path: Path, *, weights: str = "", constant: str = "", inner: str = "", function: str = "") -> Path:
    """A model with a tensor in each place, outside where a file is named."""

    def tensor(name: str, location: str) -> TensorProto:
        return outside(name, location) if location else numpy_helper.from_array(np.zeros(1, np.float32), name)

    nodes = [
        helper.make_node("Constant", [], ["c"], value=tensor("c", constant)),
        helper.make_node(
            "If", ["yes"], ["x"], then_branch=branch(tensor("t", inner)), else_branch=branch(tensor("e", ""))
        ),
        helper.make_node("Local", [], ["l"], domain="own"),
    ]
    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])
    yes = numpy_helper.from_array(np.array(True), "yes")
    graph = helper.make_graph(nodes, "g", [], [value], [yes, tensor("w", weights)])
    opset = helper.make_opsetid("", 21)
    body = [helper.make_node("Constant", [], ["l"], value=tensor("f", function))]
    local = helper.make_function("own", "Local", [], ["l"], body, [opset])
    path.write_bytes(helper.make_model(graph, functions=[local], opset_imports=[opset]).SerializeToString())
    return path


def saved(*args: Path, **places: str) -> onnx.ModelProto:
    return onnx.load(save(*args, **places), load_external_data=False)


@pytest.mark.parametrize("place", ["weights", "constant", "inner", "function"])
def test_every_place_is_looked_at(tmp_path: Path, place: str) -> None:
    assert external_files(saved(tmp_path / "m.onnx", **{place: "w.bin"})) == ["w.bin"]


def test_each_file_once_and_in_order(tmp_path: Path) -> None:
    assert external_files(saved(tmp_path / "m.onnx", weights="b", constant="a", inner="b")) == ["a", "b"]
    assert external_files(saved(tmp_path / "m.onnx")) == []
