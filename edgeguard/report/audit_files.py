"""The files of an audit: its findings, its page, and its certificate, in one folder."""

from dataclasses import replace
from pathlib import Path

from edgeguard.evaluation.audit.result import Audit
from edgeguard.evaluation.audit.store import NAME, save_audit
from edgeguard.evaluation.certificate import write_certificate
from edgeguard.report.page.page import write_report

REPORT, CERTIFICATE = "report.html", "certificate.json"


def write_audit(audit: Audit, out: Path, *, key: Path | None = None) -> Audit:
    """Write `audit.json`, `report.html` and `certificate.json` beside what the audit left in `out`.

    Args:
        key: PEM file of an Ed25519 private key to sign the certificate with.

    Returns:
        The audit with the names of all its files, as it was written.

    Raises InputError where a file cannot be written, or the audited file has changed since.
    """
    audit = replace(audit, files={**audit.files, "audit": NAME, "report": REPORT, "certificate": CERTIFICATE})
    save_audit(audit, out)
    write_report(audit, out / REPORT)
    written = {name: out / audit.files[name] for name in ("witnesses", "golden", "stream") if name in audit.files}
    write_certificate(
        audit,
        out / CERTIFICATE,
        file=Path(audit.model.path),
        witnesses=written.get("witnesses"),
        golden=written.get("golden"),
        stream=written.get("stream"),
        report=out / REPORT,
        key=key,
    )
    return audit
