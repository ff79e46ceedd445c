"""One audit, from what was named to a verdict, a report and a certificate."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from edgeguard.ecg.arrays import Data, Labels, Signals
from edgeguard.evaluation.audit.result import Audit
from edgeguard.evaluation.audit.run import run_audit
from edgeguard.evaluation.signature import load_private_key
from edgeguard.evaluation.zoo.located import located
from edgeguard.report.audit_files import write_audit
from edgeguard.runtime.newest import newest_model
from edgeguard.runtime.telling import Say, log

ROOT = Path("runs/audit")


def audit_model(
    model: str | Path | None = None,
    *,
    data: Data | None = None,
    labels: Labels | None = None,
    ecg: Signals | None = None,
    label_map: Mapping[str, str] | None = None,
    lead: str | int | None = None,
    size: str = "default",
    reference: str | Path | None = None,
    thresholds: str | Path | None = None,
    require: str | Sequence[str] | None = None,
    limit: int | None = None,
    seed: int = 0,
    out: str | Path | None = None,
    key: str | Path | None = None,
    threads: int = 1,
    classes: Sequence[str] | None = None,
    sampling_rate: float | None = None,
    window: int | None = None,
    unit: str | None = None,
    threshold: float | None = None,
    say: Say = log,
) -> Audit:
    """Is the file still accurate, and still robust, after int8 export, streaming and attack?

    Writes report.html, certificate.json, audit.json and what they name; an interrupted audit goes on, called anew.

    Args:
        model: an ONNX file, or a run, whose int8 file is audited; None: the newest file under `runs/`.
        data, labels: records, and their reference CSV; None: those of the file's run, or the default ones.
        ecg: records instead of `data`: microvolts [N, T], or N arrays of lengths of their own; `labels` are then their
            classes, and `sampling_rate` is theirs.
        label_map: label of the data -> class of the model.
        lead: name or number of the signal to take of records that have several.
        size: `quick` (a screening of about 200 records), `default` or `full` (hours).
        reference: run or float file to hold an int8 file against; None: what lies beside it.
        thresholds: TOML file that overrides single keys of `edgeguard/evaluation/audit/thresholds.toml`.
        require: `export`, `robustness` or both: the verdicts that `verdict` is about; None: export where there is a
            float form, else robustness.
        limit: judge at most so many records, stratified.
        seed: of the choice of records, of random starts and of what is synthetic.
        out: folder of all files; None: `runs/audit/NAME`.
        key: PEM file of an Ed25519 private key to sign the certificate with.
        threads: of ONNX Runtime.
        classes, sampling_rate, window, unit: of a file that does not say; hertz, samples, `uV`, `mV` or `V`. The
            reference is taken to be like the file where it does not say otherwise.
        threshold: probability from which a file's single output means the second class.
        say: receives a line a section.

    Raises InputError for anything that cannot be, before long work.
    """
    if key is not None:
        load_private_key(Path(key))
    if model is None:
        model = newest_model()
        say(f"model: {model}")
    path = located(model)
    folder = audit_folder(path) if out is None else Path(out)
    audit = run_audit(
        path,
        data=data,
        labels=labels,
        ecg=ecg,
        label_map=label_map,
        lead=lead,
        size=size,
        reference=None if reference is None else located(reference),
        thresholds=None if thresholds is None else Path(thresholds),
        require=require,
        limit=limit,
        seed=seed,
        out=folder,
        threads=threads,
        say=say,
        classes=list(classes) if classes else None,
        sampling_rate=sampling_rate,
        window=window,
        unit=unit,
        threshold=threshold,
    )
    return write_audit(audit, folder, key=None if key is None else Path(key))


def audit_folder(model: str | Path) -> Path:
    """Where an audit's files stand unless told: `runs/audit/NAME`, of a file without its suffix."""
    path = located(model)
    return ROOT / (path.resolve().name if path.is_dir() else path.stem)
