"""`edgeguard describe`: what a stranger's file is, what it lacks, and a copy that says it."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from click.testing import Result
from onnx import TensorProto, helper, numpy_helper

from edgeguard.runtime.session import open_model

Call = Callable[..., Result]
Refused = Callable[[Result], str]

WINDOW = 40


def write_linear(path: Path, *, outputs: int = 3, end: str | None = None, external: bool = False) -> Path:
    """Logits that are a linear map of the window, and what comes after them."""
    rng = np.random.default_rng(0)
    weights = numpy_helper.from_array(rng.normal(size=(WINDOW, outputs)).astype(np.float32), "weights")
    nodes = [
        helper.make_node("Flatten", ["x"], ["flat"]),
        helper.make_node("MatMul", ["flat", "weights"], ["logits" if end is None else "inner"]),
        *([] if end is None else [helper.make_node(end, ["inner"], ["logits"])]),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["b", 1, WINDOW])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["b", outputs])],
        [weights],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9, producer_name="hand")
    helper.set_model_props(model, {"theirs": "kept"})
    place = {"save_as_external_data": True, "location": "w.bin", "size_threshold": 0} if external else {}
    onnx.save(model, path, **place)
    return path


def test_a_file_that_says_nothing_lacks_three_facts(edgeguard: Call, tmp_path: Path) -> None:
    found = edgeguard("describe", write_linear(tmp_path / "m.onnx"), "--json")
    assert found.exit_code == 0, found.output
    report = json.loads(found.stdout)
    assert report["missing"] == ["classes", "sampling_rate", "unit"]
    assert (report["window"], report["head"], report["form"], report["opset"]) == (WINDOW, "logits", "float", 18)
    assert report["parameters"] == 3 * WINDOW == report["macs"]
    assert report["operators"] == {"Flatten": 1, "MatMul": 1}
    able = {one["command"]: one["able"] for one in report["commands"]}
    assert able["evaluate"] and able["attack-onnx"] and able["simulate"]
    # Its only layer is the last one, which stays in float.
    reasons = {one["command"]: one["reason"] for one in report["commands"]}
    assert not able["export --int8"] and "nothing of it can be quantised" in reasons["export --int8"]
    assert "--set classes=" in report["next"] and "--set threshold" not in report["next"]


@pytest.mark.parametrize("external", [False, True])
def test_stamped_facts_are_the_copys_own(edgeguard: Call, tmp_path: Path, external: bool) -> None:
    """The copy needs no options, holds its weights itself, keeps other metadata and computes the same."""
    path, out = write_linear(tmp_path / "m.onnx", external=external), tmp_path / "elsewhere" / "out.onnx"
    facts = ("--set", "sampling_rate=250", "--set", "unit=MV", "--set", "classes=N,A,O")
    found = edgeguard("describe", path, *facts, "-o", out, "--json")
    assert found.exit_code == 0, found.output
    report = json.loads(found.stdout)
    assert report["missing"] == [] and report["written"] == str(out) and report["external"] == []
    made = open_model(out)
    assert (made.classes, made.sampling_rate, made.spec.unit) == (("N", "A", "O"), 250.0, "mV")
    assert {"theirs": "kept"}.items() <= {entry.key: entry.value for entry in made.proto.metadata_props}.items()
    ecg = np.random.default_rng(1).normal(0, 300, (5, 1, WINDOW)).astype(np.float32)
    before = open_model(path, classes="NAO", unit="mV", sampling_rate=250)
    assert np.array_equal(made.logits(ecg), before.logits(ecg))


@pytest.mark.parametrize(
    ("outputs", "end", "head"),
    [(3, None, "logits"), (3, "Softmax", "probabilities"), (1, "Sigmoid", "sigmoid"), (1, None, "single logit")],
)
def test_the_head_is_read_from_the_graph(
    edgeguard: Call, tmp_path: Path, outputs: int, end: str | None, head: str
) -> None:
    report = json.loads(
        edgeguard("describe", write_linear(tmp_path / "m.onnx", outputs=outputs, end=end), "--json").stdout
    )
    assert report["head"] == head
    assert ("threshold" in report["missing"]) == (outputs == 1)


@pytest.mark.parametrize(
    "arguments",
    [
        ["--set", "sampling_rate=250"],
        ["--set", "sampling_rate=fast", "-o", "o.onnx"],
        ["--set", "sampling_rate=-1", "-o", "o.onnx"],
        ["--set", "unit=volt", "-o", "o.onnx"],
        ["--set", "classes=N,A", "-o", "o.onnx"],
        ["--set", "window=41", "-o", "o.onnx"],
        ["--set", "threshold=.5", "-o", "o.onnx"],
        ["--set", "colour=red", "-o", "o.onnx"],
        ["--set", "colour", "-o", "o.onnx"],
        ["--set", "sampling_rate=250", "-o", "m.onnx"],
        ["-o", "o.onnx"],
    ],
)
def test_what_cannot_be_stamped_is_refused_and_nothing_written(
    edgeguard: Call, refused: Refused, tmp_path: Path, arguments: list[str]
) -> None:
    path = write_linear(tmp_path / "m.onnx")
    before = path.read_bytes()
    placed = [str(tmp_path / one) if one.endswith(".onnx") else one for one in arguments]
    assert refused(edgeguard("describe", path, *placed))
    assert path.read_bytes() == before and [one.name for one in tmp_path.iterdir()] == ["m.onnx"]


def test_what_no_command_takes_is_described_all_the_same(edgeguard: Call, tmp_path: Path) -> None:
    node = helper.make_node("Add", ["ecg", "age"], ["logits"])
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 4]) for name in ("ecg", "age", "logits")]
    graph = helper.make_graph([node], "two", values[:2], values[2:])
    onnx.save(helper.make_model(graph, ir_version=10, opset_imports=[helper.make_opsetid("", 21)]), tmp_path / "m.onnx")
    found = edgeguard("describe", tmp_path / "m.onnx", "--json")
    assert found.exit_code == 0
    report = json.loads(found.stdout)
    assert not any(one["able"] for one in report["commands"]) and report["head"] is None
    assert all("inputs ecg, age" in one["reason"] for one in report["commands"])
