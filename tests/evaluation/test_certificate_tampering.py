"""Whatever is changed in a certificate is refused, and its place named; new digests hide nothing that contradicts."""

import json
import re
import shutil
import subprocess
import sys
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from certified import Certified, changed, failing, make_certified, redigested, verified, write_keys
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgeguard.errors import InputError
from edgeguard.evaluation.certificate import verify_certificate
from edgeguard.evaluation.certificate_consistency import leaves
from edgeguard.evaluation.certificate_form import preimage
from edgeguard.evaluation.intervals import rate
from edgeguard.evaluation.signature import sign


def other(value: Any) -> Any:
    """Another value of the same type."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int | float):
        return value + 1
    return value + "x" if isinstance(value, str) else "x"


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Certified:
    """Tests leave it as they find it."""
    return make_certified(tmp_path_factory.mktemp("certified"))


@pytest.fixture(scope="module")
def signed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Certified, Path]:
    """A signed certificate, and the public key."""
    folder = tmp_path_factory.mktemp("signed")
    key, public = write_keys(folder)
    return make_certified(folder, key=key), public


# Any change is noticed, and its place named.


@given(st.data())
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_changed_field_is_named(pristine: Certified, data: st.DataObject) -> None:
    places = dict(leaves(pristine.content))
    place = data.draw(st.sampled_from(sorted(places)))
    section = place.partition(".")[0].partition("[")[0]
    content = changed(pristine.content, place, other(places[place]))
    try:
        found = failing(verified(pristine, content))
    except InputError as error:  # of another type than such a field has
        assert section in str(error)
        return
    assert section in (*found, *re.findall(r"\w+", " ".join(found.values()))), (place, found)
    assert next(iter(found)) == ("signature" if section == "signature" else "digest")


@given(st.data())
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_new_digests_do_not_help_against_a_signature(signed: tuple[Certified, Path], data: st.DataObject) -> None:
    certified, public = signed
    places = dict(leaves({name: value for name, value in certified.content.items() if name != "digests"}))
    place = data.draw(st.sampled_from(sorted(places)))
    content = changed(certified.content, place, other(places[place]))
    if not place.startswith("digest"):
        content = redigested(content)
    try:
        found = failing(verified(certified, content, public_key=public))
    except InputError:
        return
    assert ("digest" if place == "digest" else "signature") in found, place


def test_a_field_that_is_gone_or_new_is_named(pristine: Certified) -> None:
    content = deepcopy(pristine.content)
    del content["statements"]["no_proof"]
    content["extra"] = 1
    assert failing(verified(pristine, content))["digest"].startswith("statements, extra: changed")
    with pytest.raises(InputError, match="the field verdict needed"):
        verified(pristine, {name: value for name, value in pristine.content.items() if name != "verdict"})


def test_the_digest_itself(pristine: Certified) -> None:
    assert list(failing(verified(pristine, {**pristine.content, "digest": "0" * 64}))) == ["digest"]


# What new digests do not hide, even without a signature.

CONTRADICTIONS: dict[str, tuple[str, Any, str, str]] = {
    "verdict": ("verdict", "degraded", "verdict", "the checks make it survives, the certificate says degraded"),
    "no verdict": ("verdict", "perfect", "verdict", "the certificate says no verdict"),
    "reason": ("reasons[0]", "because", "verdict", "its reasons are not those of the checks"),
    "size": ("size", "quick", "verdict", "the checks make robustness screened"),
    "export": ("export.verdict", "degraded", "verdict", "the checks make export survives"),
    "robustness": ("robustness.verdict", "reported", "verdict", "the checks make robustness survives"),
    "reasons": ("export.reasons", ["all is well"], "verdict", "the checks make export survives"),
    "required": ("required", [], "verdict", "does not say which verdicts are required"),
    "holds": ("checks[2].holds", False, "checks", r"clean clean_accuracy: .* makes it hold, not fail"),
    "survival decision": ("checks[6].bar", 0.02, "checks", "makes it fail, not hold"),
    "bar above the interval": ("checks[2].bar", 0.9, "checks", "makes it fail, not hold"),
    "bar inside the interval": ("checks[2].bar", 0.8, "checks", "makes it undecided, not hold"),
    "lower bar": (
        "checks[2].bar",
        0.66,
        "thresholds",
        "the bar 0.66 of clean clean_accuracy is none of the thresholds",
    ),
    "sense": ("checks[2].sense", "most", "checks", "makes it fail, not hold"),
    "unknown sense": ("checks[2].sense", "good", "checks", "neither least nor most"),
    "survival figure": (
        "checks[6].figure",
        -0.001,
        "checks",
        "survival survival_10 is -0.001, the figures make it -0.0013",
    ),
    "records": ("checks[1].figure", 800, "checks", "data records is 800, the figures make it 768"),
    "accuracy of a check": ("checks[2].figure", 0.82, "checks", "clean clean_accuracy is 0.82, the figures make it"),
    "F1 of a check": ("checks[3].figure", 0.74, "checks", "clean_f1 is 0.74"),
    "worst case of a check": ("checks[5].figure", 0.79, "checks", "attacked_accuracy is 0.79"),
    "rungs": ("ladder[0].holds", False, "checks", "failing_rungs is 0, the figures make it 1"),
    "masking": (
        "figures.masking[0].holds",
        False,
        "checks",
        "masking_zero_gradients: 0.0 against 0.0 makes it fail, not hold",
    ),
    "calibration": ("figures.confidence.expected_error.value", 0.03, "checks", "calibration_error is 0.02"),
    "threshold": ("thresholds.clean_accuracy", 0.65, "thresholds", "do not have the hash"),
    "threshold hash": ("thresholds_sha256", "0" * 64, "thresholds", "do not have the hash"),
    "accuracy": ("figures.scores[0].accuracy.value", 0.9, "figures", "fp32 clean at 0 uV: accuracy 0.9"),
    "interval": ("figures.scores[0].accuracy.low", 0.81, "figures", "is not the interval of"),
    "unknown accuracy": ("figures.scores[0].accuracy.value", None, "figures", "accuracy nan"),
    "F1": ("figures.scores[1].f1.value", 0.9, "figures", "F1 0.9"),
    "confusion": ("figures.scores[0].confusion[0][0]", 500, "figures", "not those of the data"),
    "shape": ("figures.scores[0].confusion[0]", [768], "figures", "not that of 4 classes"),
    "n": ("data.n", 900, "figures", "900 records, but the classes add up to 768"),
    "by class": ("data.by_class.N", 458, "figures", "but the classes add up to 769"),
    "difference": ("figures.survival[0].difference", 0.01, "figures", "its table makes it"),
    "survival verdict": ("figures.survival[0].verdict", "degraded", "figures", "makes it survives"),
    "survival table": ("figures.survival[0].table.both_wrong", 1, "figures", "records in the table"),
    "group": ("figures.classes[0].clean.value", 0.99, "figures", "group N"),
    "black box": ("figures.black_box.curve[0].success.400.value", 0.25, "figures", "black box within 400 uV"),
    "file hash": ("file.sha256", "0" * 64, "file", "is another one"),
    "file size": ("file.bytes", 1, "file", "bytes, the certificate says 1"),
    "file classes": ("file.classes", ["A", "N", "O", "~"], "file", "says classes"),
    "file window": ("file.window", 300, "file", "takes|says window"),
    "file rate": ("file.sampling_rate", 250.0, "file", "says sampling_rate 300.0"),
    "file unit": ("file.unit", "parsec", "file", "unit"),
    "witness hash": ("witnesses.sha256", "0" * 64, "witnesses", "was changed"),
    "witness rows": ("witnesses.rows", 64, "witnesses", "records, the certificate says 64"),
    "samples": ("figures.black_box.samples", 64, "witnesses", "samples 8, the certificate says 64"),
    "queries": ("figures.black_box.queries", 2, "witnesses", "queries 40, the certificate says 2"),
    "attack": ("figures.black_box.attack", "hopskipjump", "witnesses", "attack boundary"),
    "golden hash": ("golden.sha256", "0" * 64, "golden", "was changed"),
    "golden rows": ("golden.rows", 5, "golden", "holds 4 rows"),
    "stream hash": ("streaming.sha256", "0" * 64, "streaming", "was changed"),
    "report hash": ("report.sha256", "0" * 64, "report", "was changed"),
}


@pytest.mark.parametrize("name", CONTRADICTIONS)
def test_new_digests_do_not_hide_a_contradiction(pristine: Certified, name: str) -> None:
    place, value, claim, message = CONTRADICTIONS[name]
    found = failing(verified(pristine, redigested(changed(pristine.content, place, value))))
    assert "digest" not in found
    assert re.search(message, found[claim])


def test_a_worst_case_that_is_none(pristine: Certified) -> None:
    clean = pristine.content["figures"]["scores"][0]
    assert [clean["attack"], clean["form"]] == ["clean", "fp32"]
    content = changed(pristine.content, "figures.scores[3]", {**clean, "attack": "worst case", "eps_uv": 10.0})
    found = failing(verified(pristine, redigested(content)))
    assert found["figures"] == "fp32 at 10 uV: the worst case is better than pgd"


def test_fewer_successes_than_the_witnesses_show(pristine: Certified) -> None:
    """A whole rate changed, its interval too, so that only the replay tells."""
    success = pristine.content["figures"]["black_box"]["curve"][-1]["success"]["400"]
    lower = changed(pristine.content, "figures.black_box.curve[0].success.400", rate(0, success["n"]))
    assert (
        "records within 400 uV, the certificate says 0" in failing(verified(pristine, redigested(lower)))["witnesses"]
    )


def test_the_first_failure_explains_the_rest(pristine: Certified) -> None:
    found = verified(pristine, changed(pristine.content, "thresholds.clean_accuracy", 0.9))
    assert [claim.name for claim in found.failures] == ["digest", "thresholds"]
    assert found.failures[0].message.startswith("thresholds: changed")


# Signatures.


def test_a_signed_certificate(signed: tuple[Certified, Path], tmp_path: Path) -> None:
    certified, public = signed
    anybody, demanded = (verify_certificate(certified.path, certified.file, public_key=key) for key in (None, public))
    assert anybody.holds and demanded.holds and anybody.signed_by == demanded.signed_by and anybody.signed_by
    messages = [found.claims[1].message for found in (anybody, demanded)]
    assert messages == [
        f"by the key {anybody.signed_by}; whose it is, --public-key tells",
        f"by the key demanded, {anybody.signed_by}",
    ]
    _, stranger = write_keys(tmp_path, "stranger")
    found = verify_certificate(certified.path, certified.file, public_key=stranger)
    assert list(failing(found)) == ["signature"] and "not by the one demanded" in found.failures[0].message


def test_a_signature_of_somebody_else_is_not_the_one_demanded(signed: tuple[Certified, Path], tmp_path: Path) -> None:
    """The whole certificate forged and signed anew: only the key that was demanded tells."""
    certified, public = signed
    key, _ = write_keys(tmp_path, "forger")
    content = redigested(changed(certified.content, "provenance.date", "yesterday"))
    content["signature"] = sign(preimage(content), key)
    assert failing(verified(certified, content)) == {}
    assert list(failing(verified(certified, content, public_key=public))) == ["signature"]


def test_a_signature_that_was_torn_off(signed: tuple[Certified, Path]) -> None:
    certified, public = signed
    content = {**certified.content, "signature": None}
    assert "a signature is demanded" in failing(verified(certified, content, public_key=public))["signature"]
    assert failing(verified(certified, content)) == {}  # as docs/certificate.md says


def test_a_signature_without_the_library(signed: tuple[Certified, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    certified, public = signed
    for name in [name for name in sys.modules if name.partition(".")[0] == "cryptography"]:
        monkeypatch.setitem(sys.modules, name, None)
    found = verify_certificate(certified.path, certified.file)
    assert found.holds and found.signed_by is None and found.claims[1].holds is None
    assert "pip install cryptography" in found.claims[1].message
    with pytest.raises(InputError, match="cryptography"):
        verify_certificate(certified.path, certified.file, public_key=public)


def test_the_check_in_the_documentation(signed: tuple[Certified, Path], tmp_path: Path) -> None:
    """Its Python, as it stands there, and its openssl line on what that wrote."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not here")
    certified, public = signed
    text = (Path(__file__).parents[2] / "docs" / "certificate.md").read_text(encoding="utf-8")
    after = text[text.index("The digest needs no EdgeGuard") :]
    code = "\n".join(line[4:] for line in after[: after.index("\nand with")].splitlines() if line.startswith("    "))
    line = next(line.strip() for line in after.splitlines() if line.startswith("    openssl pkeyutl"))
    shutil.copy(certified.path, tmp_path / "certificate.json")
    shutil.copy(public, tmp_path / "pub.pem")
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True)
    ran = subprocess.run(line.split(), cwd=tmp_path, check=True, capture_output=True, text=True)
    assert "Verified Successfully" in ran.stdout


# Thresholds of whoever verifies.


def test_thresholds_that_are_demanded(pristine: Certified, tmp_path: Path) -> None:
    own = tmp_path / "own.toml"
    stated = {name: value for name, value in pristine.audit.thresholds.items() if value is not None}
    own.write_text("".join(f"{name} = {json.dumps(value)}\n" for name, value in stated.items()))
    assert verify_certificate(pristine.path, pristine.file, thresholds=own).holds
    own.write_text("margin_points = 1.0\n")
    found = failing(verify_certificate(pristine.path, pristine.file, thresholds=own))
    assert list(found) == ["thresholds"] and "demanded" in found["thresholds"]
    own.write_text("margin = 1")
    with pytest.raises(InputError, match="margin"):
        verify_certificate(pristine.path, pristine.file, thresholds=own)
