"""Which forms of a network an audit finds, and what attacks them."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from wave_run import FACTS, float_file

from edgeguard.errors import InputError
from edgeguard.evaluation.audit.forms import Forms, open_forms, with_agreeing_twins
from edgeguard.runtime.session import open_model

Waves = tuple[Path, Path]


def opened(model: Path, out: Path, reference: Path | None = None, **facts: Any) -> Forms:
    return open_forms(model, reference, profile="strict", out=out, data=(None, None), say=lambda line: None, **facts)


def int8_of(run: Path) -> Path:
    (file,) = run.glob("*-int8.onnx")
    return file


def test_a_run_and_its_int8_file_are_the_same_audit(waves: Waves, tmp_path: Path) -> None:
    by_run, by_file = opened(waves[0], tmp_path / "a"), opened(int8_of(waves[0]), tmp_path / "b")
    for forms in (by_run, by_file):
        assert list(forms.judged) == ["int8", "fp32", "torch"] and forms.reference == "fp32"
        assert forms.lacking is None and forms.file.path == int8_of(waves[0])
        for one in forms.judged.values():
            assert [source.name for source in one.sources] == ["twin", "parent"]
    fp32 = by_run.judged["fp32"].subject
    assert fp32.name == str(tmp_path / "a" / "none-edge-s-fp32.onnx")
    ecg = np.random.default_rng(0).normal(0, 300, (3, 1, fp32.window)).astype(np.float32)
    np.testing.assert_allclose(fp32.logits(ecg), by_run.judged["torch"].subject.logits(ecg), rtol=1e-3, atol=1e-3)


def test_a_float_file_beside_the_file_is_taken_as_it_is(waves: Waves, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(waves[0], run)
    made = Path(opened(waves[0], tmp_path / "a").judged["fp32"].subject.name)
    shutil.copyfile(made, run / "mine.onnx")
    forms = opened(int8_of(run), tmp_path / "b")
    assert forms.judged["fp32"].subject.name == str(run / "mine.onnx") and not (tmp_path / "b").exists()
    for name in ("config.json", "weights.safetensors"):
        (run / name).unlink()
    without_run = opened(int8_of(run), tmp_path / "b")
    assert list(without_run.judged) == ["int8", "fp32"]
    assert [source.name for source in without_run.sources] == ["twin", "other twin"]


def test_a_file_alone_is_held_against_what_is_named(waves: Waves, tmp_path: Path) -> None:
    alone = tmp_path / "alone.onnx"
    shutil.copyfile(int8_of(waves[0]), alone)
    forms = opened(alone, tmp_path / "a")
    assert list(forms.judged) == ["int8"] and forms.reference is None
    assert forms.lacking is not None and "--reference" in forms.lacking
    held = opened(alone, tmp_path / "a", waves[0])
    assert list(held.judged) == ["int8", "fp32", "torch"] and held.lacking is None
    assert held.compared_with == f"fp32 {tmp_path / 'a' / 'alone-fp32.onnx'}"
    assert [source.name for source in held.sources] == ["twin", "parent"]


def test_a_foreign_file_is_its_own_float_form(tmp_path: Path) -> None:
    forms = opened(float_file(tmp_path), tmp_path, **FACTS)
    assert (forms.form, forms.reference, forms.lacking) == ("fp32", None, None)
    assert [source.name for source in forms.sources] == ["twin"]


def test_a_file_without_a_twin_has_nothing_that_attacks_it(tmp_path: Path) -> None:
    model = onnx.load(float_file(tmp_path))
    next(node for node in model.graph.node if node.op_type == "Mul").op_type = "Mod"
    model.graph.node[-1].attribute.append(onnx.helper.make_attribute("fmod", 1))
    onnx.save(model, tmp_path / "mod.onnx")
    forms = opened(tmp_path / "mod.onnx", tmp_path, **FACTS)
    assert forms.sources == () and forms.lacking is not None and "Mod" in forms.lacking


def test_a_twin_that_computes_something_else_attacks_nothing(waves: Waves, tmp_path: Path) -> None:
    forms = opened(waves[0], tmp_path)
    ecg = np.random.default_rng(0).normal(0, 300, (8, 1, forms.file.window)).astype(np.float32)
    assert with_agreeing_twins(forms, ecg) is forms
    twin = forms.sources[0].model
    computed = twin.outputs
    twin.outputs = lambda ecg: computed(ecg) + 1
    left = with_agreeing_twins(forms, ecg)
    assert [source.name for source in left.sources] == ["parent"]
    assert left.lacking is not None and "agrees with ONNX Runtime" in left.lacking


def test_a_reference_that_is_none_is_refused(waves: Waves, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="computes on codes itself; name the file's float form"):
        opened(int8_of(waves[0]), tmp_path, int8_of(waves[0]))
    with pytest.raises(InputError, match="computes in float itself; leave it out"):
        opened(float_file(tmp_path), tmp_path, waves[0], **FACTS)


def test_a_reference_of_another_shape_is_refused(waves: Waves, tmp_path: Path) -> None:
    other = tmp_path / "other.onnx"
    model = onnx.load(float_file(tmp_path))
    model.graph.input[0].type.tensor_type.shape.dim[2].dim_value = 1200
    onnx.save(model, other)
    assert open_model(other, **FACTS).window == 1200
    with pytest.raises(InputError, match="takes 1200 samples"):
        opened(int8_of(waves[0]), tmp_path, other, **FACTS)
