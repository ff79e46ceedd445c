"""The files of an audit, and what people read of it in a terminal."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from audits import example_audit
from wave_run import float_file

from edgeguard.errors import InputError
from edgeguard.evaluation.audit.result import Check
from edgeguard.evaluation.audit.store import load_audit
from edgeguard.report.audit_files import write_audit
from edgeguard.report.audit_table import audit_table
from edgeguard.runtime.files import sha256_file


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return float_file(tmp_path)


def test_page_certificate_and_findings_lie_together(file: Path, tmp_path: Path) -> None:
    example = example_audit()
    model = replace(example.model, path=str(file), sha256=sha256_file(file))
    out = tmp_path / "out"
    audit = write_audit(replace(example, model=model, files={}), out)
    assert audit.files == {"audit": "audit.json", "report": "report.html", "certificate": "certificate.json"}
    assert load_audit(out).files == audit.files
    assert audit.verdict.capitalize() in (out / "report.html").read_text()
    certificate = json.loads((out / "certificate.json").read_text())
    assert certificate["verdict"] == audit.verdict and certificate["file"]["sha256"] == model.sha256
    assert certificate["report"] == {"file": "report.html", "sha256": sha256_file(out / "report.html")}
    assert certificate["signature"] is None and certificate["witnesses"] is None


def test_a_file_that_changed_meanwhile_is_refused(file: Path, tmp_path: Path) -> None:
    example = example_audit()
    with pytest.raises(InputError, match="changed since the audit"):
        write_audit(replace(example, model=replace(example.model, path=str(file)), files={}), tmp_path / "out")


def test_the_table_begins_with_verdict_and_reasons() -> None:
    audit = example_audit()
    lines = audit_table(audit).splitlines()
    assert lines[0].split()[:2] == ["export", "SURVIVES"] and "against fp32" in lines[0]
    assert lines[1].split()[:2] == ["robustness", "SURVIVES"]
    reasons = [*audit.export.reasons, *audit.robustness.reasons]
    assert [line.split(None, 1)[1] for line in lines[2 : 2 + len(reasons)]] == reasons
    assert any(line.startswith("10 uV") and "int8" in line for line in lines)
    assert any(line.startswith("A ") for line in lines) and any("black box" in line for line in lines)


def test_the_table_counts_the_checks_and_states_what_decides_nothing() -> None:
    checks = (
        Check("a", "clean", True, 1, 0, "it holds"),
        Check("b", "clean", False, 0, 1, "it fails"),
        Check("c", "clean", None, 0, 1, "it is open"),
        Check("d", "clean", None, 0, None, "it is stated"),
    )
    text = audit_table(example_audit(checks=checks))
    assert "robustness  DEGRADED" in text and "1 hold, 1 fail, 1 open, 1 stated" in text
    assert text.count("it fails") == 1 and "it is stated" in text and "it holds" not in text


def test_an_audit_that_ended_early_has_a_table() -> None:
    bare = example_audit(
        scores=(), survival=(), classes=(), snr=(), black_box=None, stream=None, bill=None, confidence=None, pictures=()
    )
    assert audit_table(bare).startswith("export      SURVIVES")
