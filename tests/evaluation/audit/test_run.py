"""The audit of small files, from a name to a verdict, and what it catches."""

import shlex
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from wave_run import FACTS, float_file

from edgeguard.attacks.witnesses import load_witnesses
from edgeguard.errors import InputError
from edgeguard.evaluation.audit import findings, white_box
from edgeguard.evaluation.audit.result import Audit, Check
from edgeguard.evaluation.audit.verdict import export_verdict, robustness_verdict

Run = Callable[..., Audit]
Waves = tuple[Path, Path]


def check(audit: Audit, name: str) -> Check:
    (found,) = (one for one in audit.checks if one.name == name)
    return found


def int8_of(run: Path) -> Path:
    (file,) = run.glob("*-int8.onnx")
    return file


def changed(file: Path, out: Path, change: Callable[[np.ndarray], np.ndarray], name: str) -> Path:
    """A copy of a file with one of its stored tensors changed."""
    model = onnx.load(file)
    (tensor,) = (tensor for tensor in model.graph.initializer if tensor.name == name)
    tensor.CopyFrom(numpy_helper.from_array(change(numpy_helper.to_array(tensor)), name))
    out.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(model, out)
    return out


def test_a_sound_file_passes_and_every_section_is_there(done: tuple[Audit, Path], waves: Waves) -> None:
    audit, out = done
    assert audit.verdict == "survives" and audit.size == "quick"
    assert audit.model.path == str(int8_of(waves[0])) and audit.model.form == "int8"
    assert audit.data.n == 16 and audit.data.by_class == {"N": 4, "A": 4, "O": 4, "~": 4}
    assert {score.form for score in audit.scores} == {"int8", "fp32", "torch"}
    attacks = {score.attack for score in audit.scores}
    assert attacks == {"clean", "pgd", "sap", "worst case"}
    assert [one.eps_uv for one in audit.survival] == [10.0]
    assert audit.stream is not None and audit.stream.compiled and audit.stream.equal == audit.stream.hops == 10
    assert (
        audit.bill is not None and audit.bill["kind"] == "streaming" and audit.bill["window_file"]["kind"] == "window"
    )
    assert audit.confidence is not None and audit.confidence.chosen_on == "validation records"
    assert audit.black_box is not None and audit.black_box.samples == 4
    assert len(audit.masking) == 13 and len(audit.ladder) == 9
    assert set(audit.provenance.seconds) >= {"ladder", "white-box 10 uV", "masking", "black-box", "stream"}
    for name in audit.files.values():
        assert (out / name).is_file()


def test_the_verdict_is_that_of_the_checks(done: tuple[Audit, Path]) -> None:
    audit, _ = done
    assert audit.export == export_verdict(audit.checks, size="quick", compared=True)
    assert audit.robustness == robustness_verdict(audit.checks, size="quick", judged=audit.judged)
    assert (audit.verdict, audit.reasons) == (audit.export.verdict, audit.export.reasons)
    assert audit.required == ("export",) and audit.verdict == "survives"
    assert len({one.name for one in audit.checks}) == len(audit.checks)


def test_worst_cases_are_the_least(done: tuple[Audit, Path]) -> None:
    audit, _ = done
    for score in audit.scores:
        assert np.sum(score.confusion) == audit.data.n
        assert np.trace(score.confusion) / audit.data.n == score.accuracy.value
    worst = {one.form: one.accuracy.value for one in audit.scores if one.attack == "worst case"}
    assert all(worst[one.form] <= one.accuracy.value for one in audit.scores)
    (own,) = (one for one in audit.scores if one.form == "int8" and one.attack == "worst case")
    right = sum(round(group.attacked["10"].value * group.n) for group in audit.classes)
    assert (
        right
        == round(own.accuracy.value * own.accuracy.n)
        == sum(round(group.attacked["10"].value * group.n) for group in audit.snr)
    )


def test_pictures_show_flips_within_the_budget(done: tuple[Audit, Path]) -> None:
    audit, _ = done
    assert 0 < len(audit.pictures) <= 2
    for picture in audit.pictures:
        assert picture.clean_class == picture.true != picture.attacked_class
        assert 0 < np.abs(picture.adversarial - picture.ecg).max() <= picture.eps_uv == 10.0
        outside = np.ones(len(picture.ecg), bool)
        outside[picture.left : picture.left + picture.length] = False
        assert np.array_equal(picture.adversarial[outside], picture.ecg[outside])
        for weight in (picture.clean_saliency, picture.attacked_saliency):
            assert weight is not None and weight.min() >= 0 and weight.max() > 0 and not weight[outside].any()


def test_a_wrong_scale_is_degraded(waves: Waves, audited: Run, tmp_path: Path) -> None:
    """The first layer's codes made for a scale three times as large: a sound file, and nothing but figures can tell."""
    run = tmp_path / "run"
    shutil.copytree(waves[0], run)
    file = int8_of(run)
    weights = next(one.name for one in onnx.load(file).graph.initializer if one.data_type == 3 and len(one.dims) == 3)
    changed(file, file, lambda codes: np.rint(codes / 3).astype(np.int8), weights)
    audit = audited(file, tmp_path / "audit")
    assert audit.verdict == "degraded"
    failing = {one.name for one in audit.checks if one.holds is False}
    assert failing & {"survival_10", "clean_loss"} and "failing_rungs" not in failing
    assert any("fp32" in reason for reason in audit.reasons)


def test_a_file_that_hides_its_gradient_is_caught(waves: Waves, audited: Run, tmp_path: Path) -> None:
    """Logits a hundred thousand times larger give the same classes and, in float32, no gradient of cross-entropy."""
    audit = audited(float_file(tmp_path, 1e5), tmp_path / "audit", data=str(waves[1]), **FACTS)
    assert check(audit, "masking_zero_gradients").holds is False
    assert audit.verdict == "degraded" and any("no gradient" in reason for reason in audit.reasons)


def test_a_file_whose_logits_are_no_numbers_is_degraded_and_nothing_else_is_computed(
    waves: Waves, audited: Run, tmp_path: Path
) -> None:
    file = changed(float_file(tmp_path), tmp_path / "nan.onnx", lambda bias: bias * np.nan, "bias")
    audit = audited(file, tmp_path / "audit", data=str(waves[1]), **FACTS)
    assert audit.verdict == "degraded" and "not numbers on 24 of 24 windows" in audit.reasons[0]
    assert audit.scores == () and audit.stream is None and audit.ladder


def test_a_foreign_float_file_is_judged_by_itself(waves: Waves, audited: Run, tmp_path: Path) -> None:
    audit = audited(float_file(tmp_path), tmp_path / "audit", data=str(waves[1]), **FACTS)
    assert audit.model.form == "fp32" and audit.model.compared_with is None and audit.model.unit == "uV"
    assert {score.form for score in audit.scores} == {"fp32"} and audit.survival == ()
    assert check(audit, "survival").holds is True and "within 1e-4" in check(audit, "stream_equal").reason
    assert audit.confidence is not None and "half" in audit.confidence.chosen_on
    words = shlex.split(audit.provenance.command)
    assert words[:2] == ["edgeguard", "audit"] and "--quick" in words and "--full" not in words
    for option, value in (("--sampling-rate", "300.0"), ("--classes", "N,A,O,~"), ("--data", str(waves[1]))):
        assert words[words.index(option) + 1] == value


def test_an_interrupted_audit_goes_on(
    waves: Waves, audited: Run, done: tuple[Audit, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(findings, "attack_by_labels", interrupt)
        with pytest.raises(KeyboardInterrupt):
            audited(waves[0], tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(white_box, "evaluate_contenders", interrupt)
        patch.setattr(findings, "run_ladder", interrupt, raising=False)
        patch.setattr(findings, "climb", interrupt)
        patch.setattr(findings, "check_budgets", interrupt)
        said: list[str] = []
        resumed = audited(waves[0], tmp_path, say=said.append)
    assert any("white-box 10 uV: as found before" in line for line in said)
    whole = done[0]
    assert resumed.checks == whole.checks and resumed.scores == whole.scores and resumed.black_box is not None
    assert whole.black_box is not None
    assert replace(resumed.black_box, seconds=0) == replace(whole.black_box, seconds=0)
    assert resumed.confidence == whole.confidence and resumed.masking == whole.masking


def interrupt(*_: object, **__: object) -> None:
    raise KeyboardInterrupt


def test_a_section_whose_file_was_changed_is_computed_anew(
    waves: Waves, audited: Run, done: tuple[Audit, Path], tmp_path: Path
) -> None:
    out = tmp_path / "audit"
    shutil.copytree(done[1], out)
    (out / "witnesses.npz").write_bytes(b"something else")
    said: list[str] = []
    audited(waves[0], out, say=said.append)
    assert "black-box ..." in said and "masking ..." not in said
    assert load_witnesses(out / "witnesses.npz").names == load_witnesses(done[1] / "witnesses.npz").names


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"size": "huge"}, "size huge: unknown"),
        ({"limit": 0}, "--limit 0: at least 1"),
        ({"data": "nowhere.zip"}, "nowhere.zip"),
        ({"thresholds": Path("nowhere.toml")}, "nowhere.toml: cannot be read"),
        ({"reference": Path("nowhere.onnx")}, "nowhere.onnx"),
    ],
)
def test_what_cannot_be_is_refused(
    waves: Waves, audited: Run, tmp_path: Path, options: dict[str, object], said: str
) -> None:
    with pytest.raises(InputError, match=said):
        audited(waves[0], tmp_path, **options)


def test_a_folder_that_cannot_be_written_is_refused_before_anything_is_opened(audited: Run, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written"):
        audited(tmp_path / "no-such-model", tmp_path / "file" / "audit")


def test_a_streaming_file_is_no_window_file(
    done: tuple[Audit, Path], waves: Waves, audited: Run, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match="stream"):
        audited(done[1] / done[0].files["stream"], tmp_path, data=str(waves[1]))
