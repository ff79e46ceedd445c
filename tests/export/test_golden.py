"""Golden vectors hold what the file computes, in Python and in C."""

import shutil
import subprocess
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgeguard.errors import InputError
from edgeguard.export.codes import input_codes, last_codes, with_output
from edgeguard.export.golden import Golden, c_header, golden_paths, load_golden, make_golden, save_golden
from edgeguard.runtime.session import OnnxModel, open_model

WINDOW, STEP, ZERO = 40, 10.0, 3
WEIGHT = np.random.default_rng(0).normal(0, 1, (WINDOW, 3)).astype(np.float32)


def write_model(path: Path, *, quantised: bool, unit: str = "uV") -> OnnxModel:
    """logits = WEIGHT @ ecg in microvolts, behind int8 codes of 10 uV with zero at 3 or behind none."""
    gain = {"uV": 1.0, "mV": 1e3}[unit]
    codes = [
        helper.make_node("QuantizeLinear", ["rows", "step", "zero"], ["codes"]),
        helper.make_node("DequantizeLinear", ["codes", "step", "zero"], ["read"]),
    ]
    nodes = [
        helper.make_node("Flatten", ["ecg"], ["rows"]),
        *(codes if quantised else []),
        helper.make_node("MatMul", ["read" if quantised else "rows", "weight"], ["logits"]),
    ]
    graph = helper.make_graph(
        nodes,
        "linear",
        [helper.make_tensor_value_info("ecg", TensorProto.FLOAT, ["batch", 1, WINDOW])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 3])],
        [
            numpy_helper.from_array(np.float32(STEP / gain), "step"),
            numpy_helper.from_array(np.int8(ZERO), "zero"),
            numpy_helper.from_array(WEIGHT * np.float32(gain), "weight"),
        ],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10), path)
    return open_model(path, sampling_rate=250.0, unit=unit, classes=("N", "~", 'a "b"\\'))


@pytest.fixture
def ecg() -> np.ndarray:
    """Five windows; the first spans all codes and more, the second lies on ties."""
    rows = np.random.default_rng(1).normal(0, 300, (5, 1, WINDOW)).astype(np.float32)
    rows[0] = np.linspace(-2000, 2000, WINDOW)
    rows[1] = 10 * np.arange(WINDOW) + 5
    return rows


@pytest.mark.parametrize("unit", ["uV", "mV"])
def test_codes_are_those_of_the_input_quantiser(tmp_path: Path, ecg: np.ndarray, unit: str) -> None:
    """By hand: round to a multiple of 10 uV (halves to even), zero at 3, cut at -128 and 127."""
    golden = make_golden(write_model(tmp_path / "m.onnx", quantised=True, unit=unit), ecg)
    expected = np.clip(np.rint(ecg[:, 0].astype(float) / 10) + 3, -128, 127)
    assert golden.codes.dtype == np.int8 and golden.zero_point == 3
    assert golden.scale_uv == pytest.approx(10)
    if unit == "uV":
        np.testing.assert_array_equal(golden.codes, expected)
        assert golden.ecg[0, 0, -1] == 1240 and golden.ecg[0, 0, 0] == -1310
        np.testing.assert_allclose(golden.logits, golden.ecg[:, 0] @ WEIGHT, rtol=1e-5, atol=1e-2)


@pytest.mark.parametrize("unit", ["uV", "mV"])
def test_codes_say_all_that_the_file_hears(tmp_path: Path, ecg: np.ndarray, unit: str) -> None:
    """Logits of the decoded codes are those of the windows themselves, off ties."""
    file = write_model(tmp_path / "m.onnx", quantised=True, unit=unit)
    golden = make_golden(file, ecg)
    off_ties = [0, 2, 3, 4]
    np.testing.assert_array_equal(golden.logits[off_ties], file.logits(ecg)[off_ties])
    np.testing.assert_array_equal(golden.labels, golden.logits.argmax(axis=1))


def test_a_float_file_takes_whole_microvolts(tmp_path: Path, ecg: np.ndarray) -> None:
    golden = make_golden(write_model(tmp_path / "m.onnx", quantised=False), ecg + np.float32(0.2))
    assert (golden.codes.dtype, golden.scale_uv, golden.zero_point) == (np.int16, 1.0, 0)
    np.testing.assert_array_equal(golden.ecg, np.rint(ecg + np.float32(0.2)))


def test_written_and_read_back(tmp_path: Path, ecg: np.ndarray) -> None:
    file = write_model(tmp_path / "m.onnx", quantised=True)
    golden = make_golden(file, ecg)
    npz, header = golden_paths(file.path, tmp_path / "deep" / "folder")
    save_golden(golden, npz, header)
    assert (npz.name, header.name) == ("m.golden.npz", "m.golden.h")
    read = load_golden(npz)
    for name, value in vars(golden).items():
        np.testing.assert_array_equal(getattr(read, name), value)
    assert read.codes.dtype == np.int8 and read.logits.dtype == np.float32 and read.sha256 == file.sha256


@pytest.mark.parametrize("content", [b"", b"no zip", b"PK\x03\x04 cut short"])
def test_other_files_are_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "m.golden.npz"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"m\.golden\.npz: no golden vectors") as caught:
        load_golden(path)
    assert "\n" not in str(caught.value)
    np.savez(path.open("wb"), schema=np.array("other/1"))
    with pytest.raises(InputError, match="schema other/1"):
        load_golden(path)


def test_logits_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    file = write_model(tmp_path / "m.onnx", quantised=False)
    file.outputs = lambda ecg: np.full((len(ecg), 3), np.nan, np.float32)  # type: ignore[method-assign]
    with pytest.raises(InputError, match="not finite"):
        make_golden(file, np.zeros((1, 1, WINDOW), np.float32))


PROGRAM = r"""
#include <stdio.h>
#include "m.golden.h"
int main(void) {
    printf("%d %d %d %.9g %d\n", EDGEGUARD_GOLDEN_ROWS, EDGEGUARD_GOLDEN_SAMPLES, EDGEGUARD_GOLDEN_CLASSES,
           (double)EDGEGUARD_GOLDEN_INPUT_SCALE_UV, -EDGEGUARD_GOLDEN_INPUT_ZERO_POINT);
    for (int c = 0; c < EDGEGUARD_GOLDEN_CLASSES; c++) printf("%s\n", edgeguard_golden_class_names[c]);
    for (int r = 0; r < EDGEGUARD_GOLDEN_ROWS; r++) {
        for (int t = 0; t < EDGEGUARD_GOLDEN_SAMPLES; t++) printf("%d ", edgeguard_golden_input[r][t]);
        for (int c = 0; c < EDGEGUARD_GOLDEN_CLASSES; c++) printf("%a ", (double)edgeguard_golden_logits[r][c]);
        printf("%d\n", edgeguard_golden_class[r]);
    }
    return 0;
}
"""


@pytest.mark.skipif(shutil.which("gcc") is None, reason="needs gcc")
@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int16])
def test_a_compiler_reads_the_header_bit_for_bit(tmp_path: Path, dtype: type) -> None:
    rng = np.random.default_rng(3)
    bounds = np.iinfo(dtype)
    codes = rng.integers(bounds.min, bounds.max, (4, 70), dtype, endpoint=True)
    codes[0, :2] = bounds.min, bounds.max
    logits = (rng.normal(0, 1, (4, 3)) * [[1e-30, 1, 1e9]]).astype(np.float32)
    logits[0] = 1, 0, -0.1
    classes = ("N", 'a "b"\\??/', "ø~")
    name = "evil */ name\nwith lines"
    golden = Golden(codes, 31.25, -7, logits, logits.argmax(axis=1), classes, 300.0, name, "ab" * 32)
    (tmp_path / "m.golden.h").write_text(c_header(golden))
    (tmp_path / "main.c").write_text(PROGRAM)
    flags = ["-std=c99", "-Wall", "-Wextra", "-Werror", "-pedantic"]
    subprocess.run(["gcc", *flags, "main.c", "-o", "main"], cwd=tmp_path, check=True, capture_output=True)
    lines = subprocess.run([tmp_path / "main"], check=True, capture_output=True, text=True).stdout.splitlines()
    assert lines[0] == "4 70 3 31.25 7"
    assert tuple(lines[1:4]) == classes
    for line, row, expected, label in zip(lines[4:], codes, logits, golden.labels, strict=True):
        values = line.split()
        assert [int(v) for v in values[:70]] == row.tolist()
        assert [float.fromhex(v) for v in values[70:73]] == expected.tolist()
        assert int(values[73]) == label


def test_the_codes_of_a_graph(tmp_path: Path) -> None:
    model = onnx.load(write_model(tmp_path / "m.onnx", quantised=True).path)
    first, last = input_codes(model, "ecg"), last_codes(model)
    assert first is not None and (first.tensor, first.scale, first.zero_point) == ("codes", 10, 3)
    assert last is not None and (last.tensor, last.scale, last.dtype) == ("read", 10, np.int8)
    assert [value.name for value in with_output(model, "read").graph.output] == ["read"]
    assert [value.name for value in model.graph.output] == ["logits"]
    floating = onnx.load(write_model(tmp_path / "f.onnx", quantised=False).path)
    assert input_codes(floating, "ecg") is None and last_codes(floating) is None


def test_codes_behind_a_layer_are_not_the_inputs(tmp_path: Path) -> None:
    model = onnx.load(write_model(tmp_path / "m.onnx", quantised=True).path)
    model.graph.node[0].op_type = "Relu"
    assert input_codes(model, "ecg") is None
