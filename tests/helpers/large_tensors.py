"""ONNX graphs that make a tensor of any number of elements, each by other operators."""

from collections.abc import Callable, Sequence

import numpy as np
import onnx
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper

OPSETS = (helper.make_opsetid("", 19), helper.make_opsetid("own", 1), helper.make_opsetid("com.microsoft", 1))
Nodes = list[NodeProto]


def tensor(name: str, values: object, dtype: type = np.int64) -> NodeProto:
    return helper.make_node("Constant", [], [name], value=numpy_helper.from_array(np.asarray(values, dtype), name))


def sparse(length: int) -> onnx.SparseTensorProto:
    values, indices = np.ones(1, np.float32), np.zeros(1, np.int64)
    return helper.make_sparse_tensor(
        numpy_helper.from_array(values, "y"), numpy_helper.from_array(indices, "y_at"), [length]
    )


def graph(name: str, nodes: Nodes, inputs: Sequence[str] = (), outputs: Sequence[str] = ("z",)) -> GraphProto:
    """A subgraph of scalars `trip`, `going` and `on`, and of float tensors of any shape."""

    def value(name: str) -> ValueInfoProto:
        kind = {"trip": TensorProto.INT64, "going": TensorProto.BOOL, "on": TensorProto.BOOL}.get(name)
        return helper.make_tensor_value_info(name, kind or TensorProto.FLOAT, [] if kind else None)

    return helper.make_graph(nodes, name, list(map(value, inputs)), list(map(value, outputs)))


MAKERS: dict[str, Callable[[int], Nodes]] = {
    "ConstantOfShape": lambda n: [tensor("shape", [n]), helper.make_node("ConstantOfShape", ["shape"], ["y"])],
    "product of axes": lambda n: [tensor("shape", [n, 1, 1]), helper.make_node("ConstantOfShape", ["shape"], ["y"])],
    "Mul, Concat, Cast": lambda n: [
        tensor("half", [n / 2], np.float32),
        tensor("two", [2], np.float32),
        helper.make_node("Mul", ["half", "two"], ["whole"]),
        helper.make_node("Cast", ["whole"], ["integer"], to=TensorProto.INT64),
        tensor("one", [1]),
        helper.make_node("Concat", ["one", "integer"], ["shape"], axis=0),
        helper.make_node("ConstantOfShape", ["shape"], ["y"]),
    ],
    "Sqrt of Pow, ReduceProd": lambda n: [
        tensor("n", [n], np.float64),
        tensor("two", 2, np.float64),
        helper.make_node("Pow", ["n", "two"], ["square"]),
        helper.make_node("Sqrt", ["square"], ["root"]),
        helper.make_node("ReduceProd", ["root"], ["product"], keepdims=1),
        helper.make_node("Cast", ["product"], ["shape"], to=TensorProto.INT64),
        helper.make_node("ConstantOfShape", ["shape"], ["y"]),
    ],
    "Shape of the input": lambda n: [
        helper.make_node("Shape", ["ecg"], ["dims"]),
        tensor("first", [0]),
        helper.make_node("Gather", ["dims", "first"], ["batch"]),
        tensor("n", [n]),
        helper.make_node("Mul", ["batch", "n"], ["shape"]),
        helper.make_node("ConstantOfShape", ["shape"], ["y"]),
    ],
    "Expand": lambda n: [tensor("shape", [n, 1, 6]), helper.make_node("Expand", ["ecg", "shape"], ["y"])],
    "Tile": lambda n: [tensor("repeats", [1, n, 1]), helper.make_node("Tile", ["ecg", "repeats"], ["y"])],
    "Range": lambda n: [
        *(tensor(name, value) for name, value in (("from", 0), ("to", n), ("by", 1))),
        helper.make_node("Range", ["from", "to", "by"], ["y"]),
    ],
    "Range of ONNX Runtime": lambda n: [
        *(tensor(name, value) for name, value in (("from", 0), ("to", n), ("by", 1))),
        helper.make_node("Range", ["from", "to", "by"], ["y"], domain="com.microsoft"),
    ],
    "RandomNormal": lambda n: [helper.make_node("RandomNormal", [], ["y"], shape=[n])],
    "RandomUniform": lambda n: [helper.make_node("RandomUniform", [], ["y"], shape=[1, n])],
    "Pad": lambda n: [
        tensor("pads", [0, 0, n, 0, 0, 0]),
        helper.make_node("Pad", ["ecg", "pads"], ["y"]),
    ],
    "Resize": lambda n: [
        tensor("sizes", [1, 1, n]),
        helper.make_node("Resize", ["ecg", "", "", "sizes"], ["y"]),
    ],
    "Upsample by Resize": lambda n: [
        tensor("scales", [1, 1, n], np.float32),
        helper.make_node("Resize", ["ecg", "", "scales"], ["y"]),
    ],
    "OneHot": lambda n: [
        tensor("at", [[0, 1, 2]]),
        tensor("depth", n),
        tensor("values", [0, 1], np.float32),
        helper.make_node("OneHot", ["at", "depth", "values"], ["y"]),
    ],
    "Gather": lambda n: [
        tensor("one", [1]),
        tensor("at", [n]),
        helper.make_node("ConstantOfShape", ["at"], ["indices"], value=numpy_helper.from_array(np.zeros(1, np.int64))),
        helper.make_node("Gather", ["ecg", "indices"], ["y"], axis=2),
    ],
    "broadcast": lambda n: [
        tensor("tall", np.zeros((10, 1)), np.float32),
        tensor("one", [1, n // 10]),
        helper.make_node("ConstantOfShape", ["one"], ["wide"]),
        helper.make_node("Add", ["tall", "wide"], ["y"]),
    ],
    "BlackmanWindow": lambda n: [tensor("length", n), helper.make_node("BlackmanWindow", ["length"], ["y"])],
    "sparse Constant": lambda n: [helper.make_node("Constant", [], ["y"], sparse_value=sparse(n))],
    "If": lambda n: [
        tensor("on", True, np.bool_),
        helper.make_node(
            "If",
            ["on"],
            ["y"],
            then_branch=graph("then", [tensor("s", [n]), helper.make_node("ConstantOfShape", ["s"], ["z"])]),
            else_branch=graph("else", [tensor("z", [0], np.float32)]),
        ),
    ],
    "Loop": lambda n: [
        tensor("trips", 1),
        tensor("s", [n]),
        tensor("start", [0], np.float32),
        helper.make_node(
            "Loop",
            ["trips", "", "start"],
            ["y"],
            body=graph(
                "body",
                [
                    helper.make_node("ConstantOfShape", ["s"], ["z"]),
                    helper.make_node("Identity", ["going"], ["on"]),
                ],
                ["trip", "going", "before"],
                ["on", "z"],
            ),
        ),
    ],
    "function": lambda n: [tensor("s", [n]), helper.make_node("Blank", ["s"], ["y"], domain="own")],
    "attribute of a function": lambda n: [helper.make_node("Noise", [], ["y"], domain="own", dims=[n])],
}


def functions() -> list[onnx.FunctionProto]:
    """own.Blank(shape): zeros, by a function in a function; own.Noise(dims): noise, by an attribute of its own."""
    opsets = OPSETS[:2]
    noise = helper.make_node("RandomNormal", [], ["out"])
    noise.attribute.add(name="shape", ref_attr_name="dims", type=onnx.AttributeProto.INTS)
    return [
        helper.make_function(
            "own", "Inner", ["sizes"], ["out"], [helper.make_node("ConstantOfShape", ["sizes"], ["out"])], opsets
        ),
        helper.make_function(
            "own", "Blank", ["shape"], ["out"], [helper.make_node("Inner", ["shape"], ["out"], domain="own")], opsets
        ),
        helper.make_function("own", "Noise", [], ["out"], [noise], opsets, ["dims"]),
    ]


def model_of(nodes: Nodes, *, dims: tuple[object, ...] = (1, 1, 6), **more: object) -> ModelProto:
    """ecg [dims] -> number of elements of y."""
    made = helper.make_graph(
        [*nodes, helper.make_node("Size", ["y"], ["size"])],
        "made",
        [helper.make_tensor_value_info("ecg", TensorProto.FLOAT, dims)],
        [helper.make_tensor_value_info("size", TensorProto.INT64, [])],
        **more,  # type: ignore[arg-type]
    )
    return helper.make_model(made, opset_imports=OPSETS, functions=functions(), ir_version=9)
