"""What the processor is asked, and what a file that needs VNNI gets on one without."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import numpy_helper
from onnxruntime.quantization import QuantType

from edgeguard.errors import InputError
from edgeguard.runtime import flags, session
from edgeguard.runtime.metadata import ModelMetadata
from edgeguard.runtime.session import open_model

FACTS = {"sampling_rate": 300.0, "unit": "uV", "classes": ("N", "A", "O", "~")}
PRECISE = "session.x64quantprecision"


@pytest.mark.parametrize(
    ("machine", "cpuinfo", "lacks"),
    [
        ("x86_64", "flags : avx2 avx512_vnni", False),
        ("AMD64", "flags : avx2 avx_vnni", False),
        ("x86_64", "flags : avx2 avx512bw", True),
        ("x86_64", None, True),
        ("aarch64", "Features : asimddp", False),
    ],
)
def test_processors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, machine: str, cpuinfo: str | None, lacks: bool
) -> None:
    path = tmp_path / "cpuinfo"
    if cpuinfo is not None:
        path.write_text(cpuinfo)
    monkeypatch.setattr(flags, "_CPUINFO", path)
    monkeypatch.setattr("platform.machine", lambda: machine)
    assert flags.lacks_vnni() is lacks


@pytest.fixture
def opened_with(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """For every session made, on a processor said to lack VNNI: whether it adds products in 32 bits."""
    seen: list[bool] = []
    create = session.create_session

    def spy(model: bytes, options: onnxruntime.SessionOptions) -> onnxruntime.InferenceSession:
        seen.append(_is_precise(options))
        return create(model, options)

    monkeypatch.setattr(session, "create_session", spy)
    monkeypatch.setattr(session, "lacks_vnni", lambda: True)
    return seen


def _is_precise(options: onnxruntime.SessionOptions) -> bool:
    try:
        return options.get_session_config_entry(PRECISE) == "1"
    except RuntimeError:  # no such entry
        return False


def portable(path: Path, target: Path, **metadata: bool) -> Path:
    """A copy of an int8 file with its weights halved to 7 bits."""
    model = onnx.load(path)
    for tensor in model.graph.initializer:
        if tensor.name in ("w1_quantized", "w2_quantized", "w3_quantized"):
            halved = (numpy_helper.to_array(tensor) // 2).astype(np.int8)
            tensor.CopyFrom(numpy_helper.from_array(halved, tensor.name))
    onnx.helper.set_model_props(model, ModelMetadata(**metadata).to_props())
    onnx.save(model, target)
    return target


def test_a_file_that_may_overflow_is_run_with_care(opened_with: list[bool], quantized: Callable) -> None:
    open_model(quantized(QuantType.QInt8), **FACTS)
    assert opened_with[-1]


def test_a_file_that_is_proven_safe_is_run_as_anywhere(
    opened_with: list[bool], quantized: Callable, tmp_path: Path
) -> None:
    open_model(portable(quantized(QuantType.QInt8), tmp_path / "p.onnx"), **FACTS)
    assert opened_with and not any(opened_with)


def test_a_file_that_asks_for_vnni_is_believed(opened_with: list[bool], quantized: Callable, tmp_path: Path) -> None:
    open_model(portable(quantized(QuantType.QInt8), tmp_path / "p.onnx", requires_vnni=True), **FACTS)
    assert opened_with[-1]


def test_a_file_that_denies_it_is_not_believed(opened_with: list[bool], quantized: Callable, tmp_path: Path) -> None:
    model = onnx.load(quantized(QuantType.QInt8))
    onnx.helper.set_model_props(model, ModelMetadata(requires_vnni=False).to_props())
    onnx.save(model, tmp_path / "liar.onnx")
    open_model(tmp_path / "liar.onnx", **FACTS)
    assert opened_with[-1]


def test_with_vnni_no_file_is_slowed_down(
    opened_with: list[bool], monkeypatch: pytest.MonkeyPatch, quantized: Callable
) -> None:
    monkeypatch.setattr(session, "lacks_vnni", lambda: False)
    open_model(quantized(QuantType.QInt8), **FACTS)
    assert opened_with and not any(opened_with)


def test_a_file_that_cannot_be_run_with_care_is_refused(monkeypatch: pytest.MonkeyPatch, quantized: Callable) -> None:
    create = session.create_session

    def only_plain(model: bytes, options: onnxruntime.SessionOptions) -> onnxruntime.InferenceSession:
        if _is_precise(options):
            raise session.RUNTIME_ERRORS[0]("no kernel")
        return create(model, options)

    monkeypatch.setattr(session, "create_session", only_plain)
    monkeypatch.setattr(session, "lacks_vnni", lambda: True)
    with pytest.raises(InputError, match=r"lacks VNNI.*--portable") as caught:
        open_model(quantized(QuantType.QInt8), **FACTS)
    assert "\n" not in str(caught.value)
