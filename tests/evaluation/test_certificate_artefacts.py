"""The files that a certificate names must lie beside it, unchanged, and bear it out on the file at hand."""

import math
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from certified import (
    Certified,
    changed,
    copied,
    failing,
    make_certified,
    message,
    redigested,
    rewritten,
    verified,
    write_model,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgeguard.attacks.witnesses import load_witnesses, save_witnesses
from edgeguard.evaluation import certificate_artefacts
from edgeguard.evaluation.certificate import TOLERANCE, verify_certificate, write_certificate
from edgeguard.evaluation.certificate_artefacts import is_beside
from edgeguard.export.golden import load_golden, save_golden
from edgeguard.runtime.files import sha256_file
from edgeguard.runtime.session import open_model

CLAIM = {"stream": "streaming"}
"""Name of the claim about a file of `Certified`, where it is another."""


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Certified:
    """Tests leave it as they find it."""
    return make_certified(tmp_path_factory.mktemp("certified"))


@pytest.fixture
def own(pristine: Certified, tmp_path: Path) -> Certified:
    """A copy for a test to spoil."""
    return copied(pristine, tmp_path / "own")


@given(data=st.data(), which=st.sampled_from(["file", "witnesses", "golden", "report", "stream"]))
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_flipped_byte_of_any_file_is_named(pristine: Certified, data: st.DataObject, which: str) -> None:
    path: Path = getattr(pristine, which)
    before = path.read_bytes()
    place = data.draw(st.integers(0, len(before) - 1))
    path.write_bytes(before[:place] + bytes([before[place] ^ data.draw(st.integers(1, 255))]) + before[place + 1 :])
    try:
        found = verify_certificate(pristine.path, pristine.file)
    finally:
        path.write_bytes(before)
    assert list(failing(found)) == [CLAIM.get(which, which)]
    assert str(path) in found.failures[0].message


def test_another_file_is_not_judged(pristine: Certified, tmp_path: Path) -> None:
    found = verify_certificate(pristine.path, write_model(tmp_path / "m.onnx", bias=1.0))
    assert list(failing(found)) == ["file"]
    for name in ("golden", "witnesses"):
        assert "is unchanged, and not tried on this other file" in message(found, name)


def test_weights_outside_the_file_are_certified_too(own: Certified) -> None:
    """The file's own hash does not cover them."""
    onnx.save(onnx.load(own.file), own.file, save_as_external_data=True, location="w.bin", size_threshold=0)
    file = open_model(own.file)
    facts = replace(own.audit.model, sha256=file.sha256, bytes=own.file.stat().st_size, external=file.file.external)
    audit = replace(own.audit, model=facts)
    content = write_certificate(audit, own.path, file=own.file, witnesses=None, golden=None)
    weights = own.file.parent / "w.bin"
    assert content["file"]["external"] == [{"file": "w.bin", "sha256": sha256_file(weights)}]
    assert failing(verify_certificate(own.path, own.file)) == {}
    weights.write_bytes(weights.read_bytes()[:-1] + b"?")
    assert failing(verify_certificate(own.path, own.file))["file"].startswith(f"{weights} was changed")
    content = redigested(changed(content, "file.external", []))
    assert "keeps weights in w.bin, not as stated" in failing(verified(own, content))["file"]
    weights.unlink()
    assert failing(verify_certificate(own.path, own.file))["file"] == f"{weights} is not there"


@pytest.mark.parametrize(
    ("which", "holds"), [("witnesses", False), ("golden", False), ("report", None), ("stream", None)]
)
def test_a_missing_file_is_named(own: Certified, which: str, holds: bool | None) -> None:
    path: Path = getattr(own, which)
    path.unlink()
    claims = {claim.name: claim for claim in verify_certificate(own.path, own.file).claims}
    claim = claims[CLAIM.get(which, which)]
    assert claim.holds is holds and claim.message == f"{path} is not there"
    path.mkdir()  # nor is a folder of that name
    assert {c.name: c.holds for c in verify_certificate(own.path, own.file).claims}[claim.name] is holds


@pytest.mark.parametrize("name", ["../w.npz", "/etc/passwd", "a/../../w.npz", "..", "", "C:w.npz", "a\\..\\w.npz"])
@pytest.mark.parametrize("which", ["witnesses", "golden", "report", "streaming"])
def test_names_that_lead_elsewhere_are_refused(pristine: Certified, which: str, name: str) -> None:
    (pristine.path.parent.parent / "w.npz").write_bytes(pristine.witnesses.read_bytes())
    content = redigested(changed(pristine.content, f"{which}.file", name))
    assert "does not name a file beside the certificate" in failing(verified(pristine, content))[which]


@pytest.mark.parametrize("name", ["w.npz", "a/w.npz", "..w.npz", "é.npz", "a b.npz", "run:2.npz"])
def test_names_below_the_folder_are_taken(name: str) -> None:
    assert is_beside(name)


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda w: replace(w, adversarial=w.original, l2_uv=0 * w.l2_uv), r"R0 \(fools\)"),
        (lambda w: replace(w, budget=1), "queries 1, the certificate says 40"),
        (lambda w: replace(w, ledger=w.ledger + 100), r"of 8 records do not hold: R0 \(queries\)"),
        (lambda w: replace(w, l2_uv=w.l2_uv / 2), r"R0 \(distances\), R1 \(distances\), R2 \(distances\), \.\.\."),
    ],
)
def test_witnesses_that_do_not_fool(own: Certified, spoil: Callable, reason: str) -> None:
    """Changed before they are certified: nothing but the replay can tell."""
    save_witnesses(own.witnesses, spoil(load_witnesses(own.witnesses)))
    rewritten(own)
    found = failing(verify_certificate(own.path, own.file))
    assert list(found) == ["witnesses"]
    assert re.search(reason, found["witnesses"])


def spoil_golden(own: Certified, factor: float, *, elsewhere: bool) -> dict[str, str]:
    """Failures after the golden logits were stretched, in an audit by this or another processor."""
    golden = load_golden(own.golden)
    save_golden(replace(golden, logits=golden.logits * np.float32(factor)), own.golden, own.golden.with_suffix(".h"))
    audit = own.audit
    if elsewhere:
        processor = {**audit.provenance.processor, "flags": ["another"]}
        audit = replace(audit, provenance=replace(audit.provenance, processor=processor))
    rewritten(own, audit)
    found = verify_certificate(own.path, own.file)
    assert ("another processor than in the audit" in message(found, "runtime")) is elsewhere
    return failing(found)


def test_golden_logits_on_the_same_processor_must_be_equal(own: Certified) -> None:
    assert "on the processor and ONNX Runtime of the audit" in spoil_golden(own, 1 + 1e-6, elsewhere=False)["golden"]


def test_golden_logits_on_another_processor_may_differ_a_little(own: Certified) -> None:
    assert spoil_golden(own, 1 + TOLERANCE / 2, elsewhere=True) == {}


@pytest.mark.parametrize("factor", [1 + 2 * TOLERANCE, -1, 0, math.nan])
def test_and_not_more(own: Certified, factor: float) -> None:
    assert list(spoil_golden(own, factor, elsewhere=True)) == ["golden"]


def test_a_processor_that_does_not_tell_is_not_the_same(own: Certified, monkeypatch: pytest.MonkeyPatch) -> None:
    silent = {"name": "unknown", "architecture": "arm64", "flags": []}
    monkeypatch.setattr(certificate_artefacts, "processor_facts", lambda: silent)
    rewritten(own, replace(own.audit, provenance=replace(own.audit.provenance, processor=silent)))
    found = verify_certificate(own.path, own.file)
    assert found.holds and "does not tell its instruction sets" in message(found, "runtime")


def test_another_onnx_runtime_is_said(own: Certified) -> None:
    provenance = replace(own.audit.provenance, versions={"onnxruntime": "0.1"})
    rewritten(own, replace(own.audit, provenance=provenance))
    found = verify_certificate(own.path, own.file)
    assert found.holds and "0.1 in the audit: last bits may differ" in message(found, "runtime")
