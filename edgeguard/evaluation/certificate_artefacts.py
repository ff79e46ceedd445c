"""Do the files that a certificate names bear it out? The network by its bytes, vectors and witnesses by replay."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TypeVar

import numpy as np

from edgeguard.attacks.witnesses import Witnesses, load_witnesses, replay
from edgeguard.errors import InputError
from edgeguard.evaluation.certificate_consistency import Claim
from edgeguard.evaluation.certificate_form import Artefact, Certificate, FileFacts, GoldenFile, WitnessFile
from edgeguard.export.golden import Golden, load_golden
from edgeguard.runtime.files import sha256_file
from edgeguard.runtime.loading import ModelFile, read_model_file
from edgeguard.runtime.processor import processor_facts
from edgeguard.runtime.session import OnnxModel, open_model

A = TypeVar("A", bound=Artefact)

_SHOWN = 3


@dataclass(frozen=True)
class Bench:
    """What artefacts are tried on.

    Attributes:
        model: the certified file, opened; None where the file at hand is another.
        folder: of the certificate.
        same_runtime: whether processor and ONNX Runtime are those of the audit, so that every bit must be.
    """

    certificate: Certificate
    folder: Path
    model: OnnxModel | None
    same_runtime: bool


def file_claim(certificate: Certificate, file: Path, digest: str) -> tuple[Claim, OnnxModel | None]:
    """The file has the bytes that were certified, and is what the certificate says of it; with the file, opened.

    Args:
        digest: SHA-256 of the file at hand.
    """
    facts = certificate.file
    try:
        for fault in _byte_faults(facts, file, digest):
            return Claim("file", False, fault), None
        read = read_model_file(file)
        for fault in _statement_faults(facts, read):
            return Claim("file", False, fault), None
        model = open_model(
            read,
            sampling_rate=facts.sampling_rate,
            window=facts.window,
            unit=facts.unit,
            classes=facts.classes,
            threshold=facts.threshold,
        )
    except InputError as error:
        return Claim("file", False, str(error)), None
    return Claim("file", True, f"{file} is the certified file, byte for byte"), model


def _byte_faults(facts: FileFacts, file: Path, digest: str) -> Iterator[str]:
    """Bytes of the file, and of the weights beside it, that are not those certified."""
    if digest != facts.sha256:
        yield f"{file} is another one: sha256 {digest[:12]}, certified {facts.sha256[:12]}"
    if (size := file.stat().st_size) != facts.bytes:
        yield f"{file} has {size} bytes, the certificate says {facts.bytes}"
    for weights in facts.external:
        fault = _located("file", weights, file.parent, missing=False)
        if fault is not None:
            yield fault.message


def _statement_faults(facts: FileFacts, model: ModelFile) -> Iterator[str]:
    """What the file says of itself otherwise than the certificate."""
    file, said = model.path, model.stated
    if model.external != tuple(weights.file for weights in facts.external):
        yield f"{file} keeps weights in {', '.join(model.external) or 'no other file'}, not as stated"
    for name, theirs, ours in (
        ("classes", said.classes, facts.classes),
        ("sampling_rate", said.sampling_rate, facts.sampling_rate),
        ("window", said.window, facts.window),
        ("unit", said.unit, facts.unit),
        ("threshold", said.threshold, facts.threshold),
        ("parent", said.parent_sha256, facts.parent),
        ("arch", said.architecture, facts.arch),
        ("defense", said.defense, facts.defense),
    ):
        if theirs is not None and theirs != ours:
            yield f"{file} says {name} {theirs}, the certificate {ours}"


def runtime_claim(certificate: Certificate) -> Claim:
    """Whether the arithmetic here is that of the audit; nothing fails where it is not."""
    import onnxruntime

    here, there = onnxruntime.__version__, certificate.versions.get("onnxruntime")
    differing = []
    if here != there:
        differing.append(f"ONNX Runtime {here} here, {there} in the audit")
    facts, stated = processor_facts(), certificate.processor
    if any(facts[name] != stated.get(name) for name in ("architecture", "flags")):
        differing.append("another processor than in the audit")
    elif not facts["flags"]:
        differing.append("a processor that does not tell its instruction sets")
    if differing:
        return Claim("runtime", None, f"{'; '.join(differing)}: last bits may differ")
    return Claim("runtime", True, f"ONNX Runtime {here} and the processor's instruction sets are those of the audit")


def witnesses_claim(bench: Bench) -> Claim:
    """Every adversarial record fools the file within its threat model, and there are as many as stated."""
    return _replayed("witnesses", bench.certificate.witnesses, bench, _play)


def golden_claim(bench: Bench) -> Claim:
    """The file gives the golden logits bit for bit, or within the tolerance on another processor or ONNX Runtime."""
    return _replayed("golden", bench.certificate.golden, bench, _compute)


def beside_claim(name: str, artefact: Artefact | None, folder: Path) -> Claim:
    """A file that nothing here depends on has the bytes that are stated, where it lies beside the certificate."""
    if artefact is None:
        return Claim(name, None, "the certificate has none")
    return _located(name, artefact, folder, missing=None) or Claim(name, True, f"{artefact.file} is unchanged")


def _replayed(name: str, artefact: A | None, bench: Bench, play: Callable[[A, Path, OnnxModel, Bench], Claim]) -> Claim:
    """What a replay says of a file that must lie beside the certificate, unchanged."""
    if artefact is None:
        return Claim(name, None, "the certificate has none")
    if (fault := _located(name, artefact, bench.folder, missing=False)) is not None:
        return fault
    if bench.model is None:
        return Claim(name, None, f"{artefact.file} is unchanged, and not tried on this other file")
    try:
        return play(artefact, bench.folder / artefact.file, bench.model, bench)
    except (InputError, ValueError, ArithmeticError) as error:  # also figures that no attack has
        return Claim(name, False, str(error))


def _located(name: str, artefact: Artefact, folder: Path, *, missing: bool | None) -> Claim | None:
    """The claim that fails because a file is not there, elsewhere, or changed; None where it is as stated.

    Args:
        missing: what the claim says where there is no such file.
    """
    if not is_beside(artefact.file):
        return Claim(name, False, f"{artefact.file} does not name a file beside the certificate")
    path = folder / artefact.file
    if not path.is_file():
        return Claim(name, missing, f"{path} is not there")
    try:
        digest = sha256_file(path)
    except OSError as error:
        return Claim(name, False, f"{path} cannot be read ({error.strerror})")
    if digest != artefact.sha256:
        return Claim(name, False, f"{path} was changed: sha256 {digest[:12]}, certified {artefact.sha256[:12]}")
    return None


def is_beside(name: str) -> bool:
    """Whether a name leads downwards from its folder on every system, drive letters included, and never out of it."""
    parts = PurePosixPath(name).parts
    return bool(parts) and not name.startswith("/") and ".." not in parts and "\\" not in name and name[1:2] != ":"


def _play(stated: WitnessFile, path: Path, model: OnnxModel, bench: Bench) -> Claim:
    witnesses = load_witnesses(path)
    found = replay(witnesses, model)
    rows = len(found.names)
    if not found.same_file:
        return Claim("witnesses", False, f"{path} was found on another file", rows)
    for fault in _counts(stated, witnesses, bench.certificate):
        return Claim("witnesses", False, f"{path}: {fault}", rows)
    if failures := found.failures:
        shown = ", ".join(f"{name} ({' '.join(checks)})" for name, checks in failures[:_SHOWN])
        more = ", ..." if len(failures) > _SHOWN else ""
        other = "" if bench.same_runtime else ", by another runtime than that of the audit"
        return Claim("witnesses", False, f"of {rows} records do not hold{other}: {shown}{more}", len(failures))
    return Claim("witnesses", True, "adversarial records fool it within their threat model, as many as stated", rows)


def _counts(stated: WitnessFile, witnesses: Witnesses, certificate: Certificate) -> Iterator[str]:
    """What the certificate says of the attack and its records do not bear out."""
    if len(witnesses.rows) != stated.rows:
        yield f"{len(witnesses.rows)} records, the certificate says {stated.rows}"
    attack = certificate.figures.black_box
    if attack is None:
        return
    for name, theirs, ours in (
        ("attack", witnesses.attack, attack.attack),
        ("queries", witnesses.budget, attack.queries),
        ("samples", len(witnesses.tasks), attack.samples),
    ):
        if theirs != ours:
            yield f"{name} {theirs}, the certificate says {ours}"
    for eps, rate in attack.curve[-1].success.items() if attack.curve else ():
        within = int((witnesses.linf_uv <= float(eps)).sum())
        if rate.n and within != round(rate.value * rate.n):
            yield f"{within} records within {eps} uV, the certificate says {rate.value * rate.n:.0f}"


def _compute(stated: GoldenFile, path: Path, model: OnnxModel, bench: Bench) -> Claim:
    golden = load_golden(path)
    rows = len(golden.codes)
    if golden.sha256 != model.sha256 or rows != stated.rows:
        return Claim("golden", False, f"{path} holds {rows} rows of {golden.sha256[:12]}, not those stated")
    logits = model.outputs(golden.ecg)
    if np.array_equal(logits, golden.logits):
        return Claim("golden", True, f"rows of {stated.file} give their logits bit for bit", rows)
    apart = _apart(golden, logits)
    told = f"rows of {stated.file}: logits differ by {apart:.1e} of the largest"
    if bench.same_runtime:
        return Claim("golden", False, f"{told}, on the processor and ONNX Runtime of the audit", rows)
    allowed = f"{stated.tolerance:g} is allowed on another processor or ONNX Runtime"
    return Claim("golden", apart <= stated.tolerance, f"{told}; {allowed}", rows)


def _apart(golden: Golden, logits: np.ndarray) -> float:
    """Largest difference of logits relative to the largest; infinite where a class is another."""
    if golden.logits.shape != logits.shape or not np.array_equal(logits.argmax(1), golden.logits.argmax(1)):
        return float("inf")
    scale = max(float(np.abs(golden.logits).max()), float(np.finfo(np.float32).tiny))
    return float(np.abs(logits - golden.logits).max() / scale)
