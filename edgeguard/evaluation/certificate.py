"""The certificate of an audit: what was found about which file, and its verification by numpy and ONNX Runtime alone.

`write_certificate` binds an audit to the bytes of its file, of the adversarial records that fool it and of its golden
vectors. `verify_certificate` believes nothing of it: it takes the digests again, repeats the verdict from the checks,
asks the file for the golden logits and plays every adversarial record.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, TypeVar

from edgeguard.attacks.witnesses import load_witnesses
from edgeguard.errors import InputError
from edgeguard.evaluation.audit.result import Audit
from edgeguard.evaluation.audit.thresholds import load_thresholds
from edgeguard.evaluation.certificate_artefacts import (
    Bench,
    beside_claim,
    file_claim,
    golden_claim,
    is_beside,
    runtime_claim,
    witnesses_claim,
)
from edgeguard.evaluation.certificate_consistency import (
    Claim,
    checks_claim,
    figures_claim,
    thresholds_claim,
    verdict_claim,
)
from edgeguard.evaluation.certificate_form import (
    SCHEMA,
    Artefact,
    Certificate,
    Figures,
    FileFacts,
    GoldenFile,
    Origin,
    Signature,
    StreamFacts,
    WitnessFile,
    digest_of,
    overall_digest,
    preimage,
    printable,
    read_content,
    section_digests,
    typed,
)
from edgeguard.evaluation.signature import fingerprint, is_signed, load_public_key, sign
from edgeguard.export.golden import load_golden
from edgeguard.intended_use import INTENDED_USE, NOT_A_MEDICAL_DEVICE
from edgeguard.runtime.files import sha256_file, write_json
from edgeguard.runtime.typed_json import to_json

T = TypeVar("T")

STATEMENTS = {
    "holds_for": "The figures hold for ONNX Runtime's arithmetic on the processor named, and for the records and "
    "attacks named. Another kernel must give the golden vectors first.",
    "no_proof": "High accuracy under these attacks is no proof of robustness: another attack may find more.",
    "intended_use": INTENDED_USE,
    "not_a_medical_device": NOT_A_MEDICAL_DEVICE,
}
TOLERANCE = 1e-4
"""Largest difference of golden logits elsewhere, relative to the largest: what float sums in another order may do."""


@dataclass(frozen=True)
class Verification:
    """What became of a certificate's claims.

    Attributes:
        path, file: the certificate, and the ONNX file it was tried on.
        sha256: of that file.
        verdict: that it states.
        claims: in the order in which one explains the next.
        signed_by: fingerprint of the key whose signature holds; None without one.
    """

    path: Path
    file: Path
    sha256: str
    verdict: str
    claims: tuple[Claim, ...]
    signed_by: str | None

    @property
    def holds(self) -> bool:
        """No claim is false."""
        return not self.failures

    @property
    def failures(self) -> tuple[Claim, ...]:
        """The claims that are false; the first explains the others."""
        return tuple(claim for claim in self.claims if claim.holds is False)


def write_certificate(
    audit: Audit,
    path: Path,
    *,
    file: Path,
    witnesses: Path | None,
    golden: Path | None,
    report: Path | None = None,
    stream: Path | None = None,
    key: Path | None = None,
) -> dict[str, Any]:
    """Write the certificate of an audit, atomically, and give its content.

    Args:
        path: of the certificate, JSON. What it names lies in its folder, or below that.
        file: the audited ONNX file, wherever it lies.
        witnesses: adversarial records of the black-box attack on it.
        golden: golden vectors of it, .npz.
        report: the audit's HTML page.
        stream: the streaming file made of it.
        key: PEM file of an Ed25519 private key to sign with.

    Raises InputError where the file is no longer the one audited, witnesses or golden vectors belong to another, one of
    these files cannot be read or lies elsewhere, or the key is none.
    """
    if _digest_of_file(file) != audit.model.sha256:
        raise InputError(f"{file}: changed since the audit; run the audit anew")
    folder = path.parent
    content = printable(
        to_json(
            Certificate(
                schema=SCHEMA,
                verdict=audit.verdict,
                reasons=audit.reasons,
                statements=STATEMENTS,
                size=audit.size,
                file=_take(FileFacts, audit.model, name=file.name, external=_external(file, audit.model.external)),
                data=audit.data,
                checks=audit.checks,
                thresholds=audit.thresholds,
                thresholds_sha256=digest_of(printable(to_json(audit.thresholds))),
                figures=_take(Figures, audit, stream=audit.stream and _take(StreamFacts, audit.stream)),
                ladder=audit.ladder,
                seeds={"audit": audit.provenance.seed},
                versions=audit.provenance.versions,
                processor=audit.provenance.processor,
                provenance=_take(
                    Origin, audit.provenance, profile=audit.profile, profile_version=audit.profile_version
                ),
                streaming=None if stream is None else Artefact(**_named(stream, folder)),
                witnesses=None if witnesses is None else _witness_file(witnesses, folder, audit),
                golden=None if golden is None else _golden_file(golden, folder, audit),
                report=None if report is None else Artefact(**_named(report, folder)),
                digests={},
                digest="",
                signature=None,
                export=audit.export,
                robustness=audit.robustness,
                required=audit.required,
                compared=audit.compared,
                judged=audit.judged,
            )
        )
    )
    content["digests"] = section_digests(content)
    content["digest"] = overall_digest(content)
    content["signature"] = None if key is None else sign(preimage(content), key)
    write_json(path, content)
    return dict(content)


def verify_certificate(
    path: Path, file: Path, *, public_key: Path | None = None, thresholds: Path | None = None
) -> Verification:
    """Try every claim of a certificate.

    Args:
        path: of the certificate; the files that it names are looked for in its folder.
        file: the ONNX file that it is said to be of.
        public_key: PEM file of the Ed25519 key that must have signed it.
        thresholds: TOML file as `edgeguard audit --thresholds` takes it; with the defaults for what it leaves out, it
            must be what the certificate was judged by.

    Raises InputError for what is no certificate, and where file, key or thresholds cannot be read.
    """
    content = read_content(path)
    certificate = typed(content, path)
    demanded_key = None if public_key is None else load_public_key(public_key)
    demanded = None if thresholds is None else load_thresholds(thresholds, size=certificate.size).to_json()
    digest = _digest_of_file(file)
    file_found, model = file_claim(certificate, file, digest)
    runtime = runtime_claim(certificate)
    signature = _signature_claim(content, certificate.signature, demanded_key)
    bench = Bench(certificate, path.parent, model, same_runtime=runtime.holds is True)
    claims = (
        _digest_claim(content),
        signature,
        file_found,
        thresholds_claim(certificate, demanded),
        checks_claim(certificate),
        verdict_claim(certificate),
        figures_claim(certificate),
        runtime,
        golden_claim(bench),
        witnesses_claim(bench),
        beside_claim("streaming", certificate.streaming, path.parent),
        beside_claim("report", certificate.report, path.parent),
    )
    signer = fingerprint(certificate.signature.public_key) if certificate.signature and signature.holds else None
    return Verification(path, file, digest, certificate.verdict, claims, signer)


def _digest_claim(content: Mapping[str, Any]) -> Claim:
    """Every field has the digest that is stated for it, and all together too."""
    stated, found = content["digests"], section_digests(content)
    changed = [name for name in {**found, **stated} if stated.get(name) != found.get(name)]
    if changed:
        return Claim(
            "digest", False, f"{', '.join(changed)}: changed since the certificate was written, by its digests"
        )
    if content["digest"] != overall_digest(content):
        return Claim("digest", False, "digest: changed since the certificate was written")
    return Claim("digest", True, "every field has the digest that was written for it")


def _signature_claim(content: Mapping[str, Any], signature: Signature | None, demanded: str | None) -> Claim:
    """The certificate is signed by the key that is demanded, or by the one that it brings."""
    if signature is None:
        if demanded is not None:
            return Claim("signature", False, "not signed, and a signature is demanded")
        return Claim("signature", None, "not signed: whoever changes it can take the digests anew")
    try:
        if not is_signed(preimage(content), **vars(signature)):
            return Claim("signature", False, "is not that of this content by the key beside it")
        whose = fingerprint(signature.public_key)
    except InputError as error:
        return Claim("signature", None, str(error))
    if demanded is None:
        return Claim("signature", True, f"by the key {whose}; whose it is, --public-key tells")
    if signature.public_key != demanded:
        return Claim("signature", False, f"by the key {whose}, not by the one demanded, {fingerprint(demanded)}")
    return Claim("signature", True, f"by the key demanded, {whose}")


def _external(file: Path, names: Sequence[str]) -> tuple[Artefact, ...]:
    """The files beside a model that hold its weights."""
    return tuple(Artefact(name, sha256_file(file.parent / name)) for name in names)


def _witness_file(path: Path, folder: Path, audit: Audit) -> WitnessFile:
    witnesses = load_witnesses(path)
    _check_same(path, witnesses.model_sha256, audit)
    return WitnessFile(**_named(path, folder), rows=len(witnesses.rows))


def _golden_file(path: Path, folder: Path, audit: Audit) -> GoldenFile:
    golden = load_golden(path)
    _check_same(path, golden.sha256, audit)
    return GoldenFile(**_named(path, folder), rows=len(golden.codes), tolerance=TOLERANCE)


def _check_same(path: Path, sha256: str, audit: Audit) -> None:
    if sha256 != audit.model.sha256:
        raise InputError(f"{path}: belongs to another file than {audit.model.path}; run the audit anew")


def _named(path: Path, folder: Path) -> dict[str, str]:
    """Name below a folder, and digest, of a file. Raises InputError where it lies elsewhere or cannot be read."""
    try:
        name = path.resolve().relative_to(folder.resolve()).as_posix()
        digest = sha256_file(path)
    except ValueError as error:
        raise InputError(f"{path}: lies outside of {folder}; put it beside the certificate") from error
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); run the audit anew") from error
    if printable(name) != name or not is_beside(name):
        raise InputError(f"{path}: a name that not every system reads; rename the file")
    return {"file": name, "sha256": digest}


def _take(kind: type[T], source: Any, **given: Any) -> T:
    """A dataclass whose fields are those of another object with the same names, but for what is given."""
    names = [field.name for field in fields(kind)]  # type: ignore[arg-type]
    return kind(**{name: given[name] if name in given else getattr(source, name) for name in names})


def _digest_of_file(file: Path) -> str:
    try:
        return sha256_file(file)
    except OSError as error:
        raise InputError(f"{file}: cannot be read ({error.strerror}); name the certified ONNX file") from error
