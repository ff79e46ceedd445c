"""A certificate says what an audit found, of which file, and is read back as it was written."""

import contextlib
import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
from audits import rejudged
from certified import (
    Certified,
    changed,
    copied,
    failing,
    make_certified,
    message,
    redigested,
    rewritten,
    run_alone,
    verified,
    write_keys,
    write_model,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgeguard.attacks.witnesses import load_witnesses, save_witnesses
from edgeguard.errors import InputError
from edgeguard.evaluation.audit.result import Audit, Check
from edgeguard.evaluation.certificate import STATEMENTS, TOLERANCE, verify_certificate, write_certificate
from edgeguard.evaluation.certificate_consistency import leaves
from edgeguard.evaluation.certificate_form import SCHEMA, canonical, digest_of, read_content
from edgeguard.export.golden import load_golden, save_golden

CLAIMS = ["digest", "signature", "file", "thresholds", "checks", "verdict", "figures", "runtime", "golden", "witnesses"]
CLAIMS += ["streaming", "report"]


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Certified:
    """Tests leave it as they find it."""
    return make_certified(tmp_path_factory.mktemp("certified"))


@pytest.fixture
def own(pristine: Certified, tmp_path: Path) -> Certified:
    """A copy for a test to spoil."""
    return copied(pristine, tmp_path / "own")


@pytest.fixture(scope="module")
def signed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Certified, Path]:
    """A signed certificate, and the public key."""
    folder = tmp_path_factory.mktemp("signed")
    key, public = write_keys(folder)
    return make_certified(folder, key=key), public


# What is written.


def test_the_round_trip(pristine: Certified) -> None:
    found = verify_certificate(pristine.path, pristine.file)
    assert failing(found) == {} and found.verdict == "survives" and found.signed_by is None
    assert [claim.name for claim in found.claims] == CLAIMS
    assert {claim.name for claim in found.claims if claim.holds is None} == {"signature"}
    figures = {claim.name: claim.figure for claim in found.claims}
    assert figures["witnesses"] == len(load_witnesses(pristine.witnesses).rows) > 0 and figures["golden"] == 4


def test_what_stands_in_it(pristine: Certified) -> None:
    content, audit = pristine.content, pristine.audit
    assert content["schema"] == SCHEMA == "edgeguard.certificate/2" and content["statements"] == STATEMENTS
    assert "no proof of robustness" in " ".join(STATEMENTS.values())
    assert "not a medical device" in " ".join(STATEMENTS.values())
    assert content["file"]["name"] == "m.onnx" and content["file"]["sha256"] == audit.model.sha256
    assert content["witnesses"]["file"] == "witnesses.npz" and content["golden"]["tolerance"] == TOLERANCE
    assert [check["name"] for check in content["checks"]] == [check.name for check in audit.checks]
    assert len(content["figures"]["scores"]) == len(audit.scores) and content["seeds"] == {"audit": 0}
    assert content["thresholds"] == audit.thresholds
    assert content["thresholds_sha256"] == digest_of(audit.thresholds)
    assert set(content["digests"]) == set(content) - {"digests", "digest", "signature"}
    text = pristine.path.read_text(encoding="utf-8")
    assert text.startswith('{\n  "schema": "edgeguard.certificate/2",\n  "verdict": "survives",\n')
    assert str(pristine.path.parent) not in text.replace(audit.model.path, "")


def test_the_same_audit_gives_the_same_bytes(own: Certified) -> None:
    before = own.path.read_bytes()
    others = {"witnesses": own.witnesses, "golden": own.golden, "report": own.report, "stream": own.stream}
    write_certificate(own.audit, own.path, file=own.file, **others)
    assert own.path.read_bytes() == before


def test_canonical_json_is_that_of_the_definition() -> None:
    value = {"b": [1, 2.5, None, True], "a": {"é": "µV", "A": 1e-7}}
    assert canonical(value) == b'{"a":{"A":1e-07,"\\u00e9":"\\u00b5V"},"b":[1,2.5,null,true]}'
    with pytest.raises(ValueError):
        canonical({"a": math.nan})


def test_figures_come_back_in_every_bit(pristine: Certified) -> None:
    read = json.loads(pristine.path.read_text(encoding="utf-8"))
    for score, stated in zip(pristine.audit.scores, read["figures"]["scores"], strict=True):
        assert stated["accuracy"]["value"] == score.accuracy.value and stated["f1"]["high"] == score.f1.high


def test_what_cannot_be_told_is_null(own: Certified) -> None:
    unknown = replace(own.audit.confidence, temperature=math.nan)
    content = rewritten(own, replace(own.audit, confidence=unknown))
    assert content["figures"]["confidence"]["temperature"] is None
    assert "NaN" not in own.path.read_text(encoding="utf-8")
    assert failing(verify_certificate(own.path, own.file)) == {}


def judged(audit: Audit, *checks: Check, size: str = "default") -> Audit:
    """The audit with these checks, and what follows from them."""
    return rejudged(replace(audit, checks=checks, size=size))


def test_an_audit_without_the_optional_parts(own: Certified) -> None:
    bare = replace(own.audit, black_box=None, stream=None, confidence=None, survival=(), masking=(), snr=())
    write_certificate(judged(bare, *bare.checks[:6]), own.path, file=own.file, witnesses=None, golden=None)
    found = verify_certificate(own.path, own.file)
    assert failing(found) == {}
    for name in ("golden", "witnesses", "streaming", "report"):
        assert message(found, name) == "the certificate has none"


def test_a_degraded_file_has_a_true_certificate_too(own: Certified) -> None:
    worse = Check("clean_loss", "clean", False, -0.05, -0.02, "-5 points, margin 2 points", None, "least")
    rewritten(own, judged(own.audit, worse, size="quick"))
    found = verify_certificate(own.path, own.file)
    assert found.holds and found.verdict == "degraded"


def test_text_that_would_move_a_cursor_is_not_written(own: Certified) -> None:
    rewritten(own, replace(own.audit, data=replace(own.audit.data, source="\x1b[2Jrecords\n")))
    assert read_content(own.path)["data"]["source"] == "?[2Jrecords?"
    assert verify_certificate(own.path, own.file).holds


@pytest.mark.parametrize("spoil", ["file", "witnesses of another", "golden of another", "outside", "missing", "key"])
def test_what_is_not_certified(own: Certified, tmp_path: Path, spoil: str) -> None:
    arguments = {"file": own.file, "witnesses": own.witnesses, "golden": own.golden}
    if spoil == "file":
        arguments["file"] = write_model(tmp_path / "another.onnx", bias=1.0)
    elif spoil == "witnesses of another":
        save_witnesses(own.witnesses, replace(load_witnesses(own.witnesses), model_sha256="0" * 64))
    elif spoil == "golden of another":
        save_golden(replace(load_golden(own.golden), sha256="0" * 64), own.golden, own.golden.with_suffix(".h"))
    elif spoil == "outside":
        arguments["witnesses"] = own.witnesses.rename(tmp_path / "w.npz")
    elif spoil == "missing":
        arguments["report"] = own.path.parent / "none.html"
    elif spoil == "key":
        arguments["key"] = own.report
    before = own.path.read_bytes()
    reasons = {
        "file": "changed since the audit",
        "outside": "put it beside",
        "missing": "cannot be read",
        "key": "no PEM",
    }
    with pytest.raises(InputError, match=reasons.get(spoil, "belongs to another file")):
        write_certificate(own.audit, own.path, **arguments)
    assert own.path.read_bytes() == before


# What is no certificate.


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "no valid JSON"),
        ("not json", "no valid JSON"),
        ('{"schema": "edgeguard.certificate/2", "verdict"', "no valid JSON"),
        ("[1, 2]", "no certificate of EdgeGuard"),
        ("null", "no certificate of EdgeGuard"),
        ("{}", "no certificate of EdgeGuard"),
        ('{"schema": 3}', "no certificate of EdgeGuard"),
        ('{"schema": "edgeguard.audit/1"}', "no certificate of EdgeGuard"),
        ('{"schema": "edgeguard.certificate/x"}', "no certificate of EdgeGuard"),
        ('{"schema": "edgeguard.certificate/3"}', "newer than this EdgeGuard"),
        ('{"schema": "edgeguard.certificate/' + "9" * 5000 + '"}', "no certificate of EdgeGuard"),
        ('{"schema": "edgeguard.certificate/2"}', "the field verdict needed"),
        ('{"schema": "edgeguard.certificate/2", "schema": "edgeguard.certificate/1"}', "names a key twice"),
        ('{"schema": "edgeguard.certificate/2", "x": NaN}', "NaN is no finite number"),
        ('{"schema": "edgeguard.certificate/2", "x": -Infinity}', "no finite number"),
        ('{"schema": "edgeguard.certificate/2", "x": 1e999}', "no finite number"),
        ('{"schema": "edgeguard.certificate/2", "x": ' + "9" * 5000 + "}", "no number that a certificate has"),
        ('{"schema": "edgeguard.certificate/2", "x": "\\u001b[2J"}', "do not print"),
        ('{"schema": "edgeguard.certificate/2", "x\\ud800": 1}', "do not print"),
        ("[" * 100_000, "no valid JSON"),
    ],
)
def test_what_is_no_certificate(tmp_path: Path, text: str, reason: str) -> None:
    path = tmp_path / "certificate.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=reason) as refused:
        verify_certificate(path, tmp_path / "m.onnx")
    assert "\n" not in str(refused.value) and len(str(refused.value)) < 500


def test_what_is_no_text_or_too_much_of_it(tmp_path: Path) -> None:
    path = tmp_path / "certificate.json"
    path.write_bytes(b"\xff\xfe{}")
    with pytest.raises(InputError, match="no valid JSON"):
        read_content(path)
    with path.open("wb") as file:
        file.truncate(64 * 2**20 + 1)
    with pytest.raises(InputError, match="more than 64 MB"):
        read_content(path)
    for place in (tmp_path, tmp_path / "none.json"):
        with pytest.raises(InputError, match="cannot be read"):
            read_content(place)


@given(st.data())
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_nonsense_is_refused_in_one_line(pristine: Certified, data: st.DataObject) -> None:
    """Any JSON in any place, digests and all: refused by a claim or in one line, never by a traceback."""
    places = sorted(dict(leaves(pristine.content)))
    scalars = (
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(codec="utf-8"), max_size=3)
    )
    nonsense = data.draw(st.recursive(scalars, lambda inner: st.lists(inner, max_size=2), max_leaves=3))
    place = data.draw(st.sampled_from(places))
    if type(nonsense) is type(dict(leaves(pristine.content))[place]):
        return
    content = changed(pristine.content, place, nonsense)
    with contextlib.suppress(ValueError):  # an infinite number has no digest
        content = redigested(content)
    try:
        verified(pristine, content)
    except InputError as error:
        assert "\n" not in str(error)


VERIFY = """
from pathlib import Path
from edgeguard.evaluation.certificate import verify_certificate
assert verify_certificate(Path(sys.argv[1]), Path(sys.argv[2])).holds
"""


def test_it_needs_numpy_and_onnx_runtime_alone(signed: tuple[Certified, Path]) -> None:
    certified, _ = signed
    assert run_alone(VERIFY, certified.path, certified.file) == ""


def test_a_certificate_of_the_first_version_is_still_verified() -> None:
    """It was written by EdgeGuard 0.1 before there were two verdicts, with the files that it names."""
    folder = Path(__file__).parent / "certificate-1"
    found = verify_certificate(folder / "certificate.json", folder / "m.onnx")
    assert failing(found) == {} and found.verdict == "survives"
    content = json.loads((folder / "certificate.json").read_text(encoding="utf-8"))
    assert content["schema"] == "edgeguard.certificate/1" and "export" not in content
