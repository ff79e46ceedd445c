"""One verification, of a file, of witnesses or of a certificate, from what was named to what holds."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from edgeguard.attacks import witnesses as witness_files
from edgeguard.errors import InputError
from edgeguard.evaluation import divergences
from edgeguard.evaluation.certificate import verify_certificate
from edgeguard.evaluation.frames import frame
from edgeguard.evaluation.zoo.located import located
from edgeguard.export.rung import Rung
from edgeguard.runtime.model_spec import StatedFacts
from edgeguard.runtime.newest import newest_model
from edgeguard.runtime.npz import read_schema
from edgeguard.runtime.session import OnnxModel, open_model
from edgeguard.runtime.telling import Say, log
from edgeguard.runtime.typed_json import IF_GIVEN, from_json, to_json

SCHEMA = "edgeguard.verify/1"


@dataclass(frozen=True)
class Failure:
    """A record that fails, and the checks that it does not pass."""

    name: str
    checks: tuple[str, ...]


@dataclass(frozen=True)
class Verification:
    """What was proven.

    Attributes:
        model: path of the file.
        holds: whether everything that applies holds.
        rungs: a check or a claim each.
        rows: windows compared, or records replayed.
        data: source of the windows.
        golden: golden vectors that were written.
        models: files that judged witnesses.
        same_file: whether the witnesses were found on the very file.
        failures: records that fail.
        verdict: that the certificate states.
        signed_by: fingerprint of the key that signed the certificate; None without a signature.
    """

    model: str
    model_sha256: str
    holds: bool
    rungs: tuple[Rung, ...]
    rows: int | None = field(default=None, metadata=IF_GIVEN)
    data: str | None = field(default=None, metadata=IF_GIVEN)
    golden: tuple[str, ...] | None = field(default=None, metadata=IF_GIVEN)
    models: tuple[str, ...] | None = field(default=None, metadata=IF_GIVEN)
    witnesses: str | None = field(default=None, metadata=IF_GIVEN)
    same_file: bool | None = field(default=None, metadata=IF_GIVEN)
    failures: tuple[Failure, ...] | None = field(default=None, metadata=IF_GIVEN)
    certificate: str | None = field(default=None, metadata=IF_GIVEN)
    verdict: str | None = field(default=None, metadata=IF_GIVEN)
    signed_by: str | None = field(default=None, metadata=IF_GIVEN)
    schema: str = SCHEMA

    def to_json(self) -> dict[str, Any]:
        """What `edgeguard verify --json` prints."""
        made: dict[str, Any] = to_json(self)
        return made if self.certificate is None else {**made, "signed_by": self.signed_by}

    def to_frame(self) -> Any:
        """A pandas DataFrame of the checks, a row a check; InputError where pandas is not installed."""
        return frame(asdict(rung) for rung in self.rungs)

    def __repr__(self) -> str:
        failed = ", ".join(rung.name for rung in self.rungs if rung.holds is False)
        said = "holds" if self.holds else f"does not hold ({failed})"
        return f"Verification({self.model}: {said}, {len(self.rungs)} checks)"

    @classmethod
    def from_json(cls, value: Any) -> "Verification":
        """Read that again; InputError where it is something else."""
        return from_json(cls, value, where=SCHEMA)


def verify_model(
    model: str | Path | None = None,
    *,
    witnesses: str | Path | None = None,
    other: str | Path | None = None,
    certificate: str | Path | None = None,
    public_key: str | Path | None = None,
    thresholds: str | Path | None = None,
    rows: int = 64,
    data: str | None = None,
    labels: str | Path | None = None,
    lead: str | int | None = None,
    golden: str | Path | None = None,
    seed: int = 0,
    threads: int = 1,
    classes: Sequence[str] | None = None,
    sampling_rate: float | None = None,
    window: int | None = None,
    unit: str | None = None,
    threshold: float | None = None,
    say: Say = log,
) -> Verification:
    """Prove that an ONNX file is what it claims to be, or that what was found of it is true.

    Alone, a file climbs a ladder of checks on every engine at hand, of which one needs torch. With witnesses or a
    certificate it is numpy and ONNX Runtime that judge.

    Args:
        model: the file; None: the newest one under `runs/`.
        witnesses: .npz of an attack, or of a hunt for divergences, whose records are judged anew.
        other: the second file of a divergence.
        certificate: of an audit, whose claims are repeated.
        public_key: PEM file of the Ed25519 key that must have signed the certificate.
        thresholds: TOML file by which the certificate must have been judged.
        rows: windows to compare engines on.
        data, labels: compare on records, with their reference CSV; None: on built-in signals.
        lead: name or number of the signal to take of records that have several.
        golden: folder to write golden vectors to; None: those beside the file are checked, if there are any.
        seed: of the choice of windows.
        threads: of ONNX Runtime.
        classes, sampling_rate, window, unit: of a file that does not say; hertz, samples, `uV`, `mV` or `V`.
        threshold: probability from which a file's single output means the second class.
        say: receives a line now and then.

    Raises InputError for anything that cannot be read; what does not hold is no error.
    """
    facts = StatedFacts(classes=classes, sampling_rate=sampling_rate, window=window, unit=unit, threshold=threshold)
    if certificate is not None:
        if model is None:
            raise InputError(f"{certificate}: name the one ONNX file that it is of")
        return _certificate(Path(certificate), located(model), public_key, thresholds)
    for option, value in (("public-key", public_key), ("thresholds", thresholds)):
        if value is not None:
            raise InputError(f"--{option}: is for the certificate of an audit; name its .json first")

    def opened(path: Path) -> OnnxModel:
        file = open_model(path, threads=threads, **facts)
        say(f"model: {file.path}")
        return file

    if witnesses is not None:
        named = [located(one) for one in (model, other) if one is not None]
        return _replay(Path(witnesses), named, opened, say)
    file = opened(newest_model() if model is None else located(model))
    ecg, source = _windows(file, data, None if labels is None else Path(labels), lead, rows=rows, seed=seed)
    say(f"windows: {len(ecg)} of {source}")
    return _climb(file, ecg, source, None if golden is None else Path(golden), say)


# What follows imports what it needs: witnesses and certificates are judged with numpy and ONNX Runtime alone.


def _climb(file: OnnxModel, ecg: np.ndarray, source: str, folder: Path | None, say: Say) -> Verification:
    """The ladder of a file."""
    from edgeguard.export.golden import golden_paths
    from edgeguard.export.ladder import all_hold, run_ladder

    rungs = run_ladder(file, ecg, golden=folder, progress=lambda name: say(f"  {name}"))
    written = golden_paths(file.path, folder) if folder else ()
    return _plain(
        model=str(file.path),
        model_sha256=file.sha256,
        data=source,
        rows=len(ecg),
        holds=all_hold(rungs),
        rungs=rungs,
        golden=[str(path) for path in written],
    )


def _replay(path: Path, files: list[Path], opened: Any, say: Say) -> Verification:
    """The records of a witness file, judged anew; a rung a claim, its figure the records of which it is true."""
    schema = read_schema(path)
    most = {witness_files.SCHEMA: 1, divergences.SCHEMA: 2}.get(schema)
    if most is None:
        raise InputError(f"{path}: schema {schema}, no witnesses of attack-onnx or evaluate --hunt; write them anew")
    if not 1 <= len(files) <= most:
        raise InputError(f"{path}: name {'the ONNX file' if most == 1 else 'one or both ONNX files'} to judge it by")
    models = [opened(file) for file in files]
    if schema == witness_files.SCHEMA:
        result = witness_files.replay(witness_files.load_witnesses(path), models[0])
    else:
        result = divergences.replay_divergences(path, models)
    if not result.same_file:
        say(f"{path}: was found on another file than {' and '.join(str(file) for file in files)}; judged all the same")
    rungs = [
        Rung(
            check.name,
            None if check.held is None else bool(check.held.all()),
            None if check.held is None else int(check.held.sum()),
            "not claimed" if check.held is None else check.meaning,
        )
        for check in result.checks
    ]
    return _plain(
        model=str(files[0]),
        model_sha256=models[0].sha256,
        models=[str(file) for file in files],
        witnesses=str(path),
        same_file=result.same_file,
        rows=len(result.names),
        holds=result.holds,
        rungs=rungs,
        failures=[{"name": name, "checks": checks} for name, checks in result.failures],
    )


def _certificate(path: Path, file: Path, public_key: str | Path | None, thresholds: str | Path | None) -> Verification:
    """The claims of a certificate; what the file is, it says itself."""
    found = verify_certificate(
        path,
        file,
        public_key=None if public_key is None else Path(public_key),
        thresholds=None if thresholds is None else Path(thresholds),
    )
    return _plain(
        model=str(file),
        model_sha256=found.sha256,
        certificate=str(path),
        verdict=found.verdict,
        signed_by=found.signed_by,
        holds=found.holds,
        rungs=[Rung(claim.name, claim.holds, claim.figure, claim.message) for claim in found.claims],
    )


def _plain(*, rungs: Sequence[Rung], **fields: Any) -> Verification:
    return Verification.from_json(to_json({**fields, "rungs": [asdict(rung) for rung in rungs]}))


def _windows(
    file: OnnxModel, data: str | None, labels: Path | None, lead: str | int | None, *, rows: int, seed: int
) -> tuple[np.ndarray, str]:
    """Windows [B, 1, T] to compare on, and where they come from."""
    if data is None and labels is None:
        from edgeguard.export.probes import probe_windows

        ecg = probe_windows(rows, window=file.window, sampling_rate=file.sampling_rate, seed=seed)
        return ecg, "silence, rails, synthetic ECG and noise"
    from edgeguard.attacks.campaign import choose_records, load_windows
    from edgeguard.ecg.origin import Named

    dataset = load_windows(file, Named(data, labels or Path("none"), lead=lead), seed=seed)
    index, _ = choose_records(file, dataset, part="all", samples=rows, seed=seed)
    return dataset.batch(index)[0], f"all {len(dataset)} records of {dataset.source}"
