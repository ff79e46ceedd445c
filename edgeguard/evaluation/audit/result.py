"""What an audit found: everything that report and certificate say, typed; all but the pictures is JSON too."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from edgeguard.evaluation.frames import frame
from edgeguard.evaluation.masking_check import Check as MaskingCheck
from edgeguard.runtime.typed_json import IF_GIVEN, LEFT_OUT, to_json

SCHEMA = "edgeguard.audit/2"
VERDICTS = ("survives", "screened", "degraded", "inconclusive", "not judged", "reported")
"""`screened`: no sign of harm, on too few records for more. `not judged`: there is no float form. `reported`: figures
of a file that never claimed to be robust, which decide nothing."""
SIZES = ("quick", "default", "full")


@dataclass(frozen=True)
class Rate:
    """A share of `n` records, or a score on them, with its 95 % interval."""

    value: float
    low: float
    high: float
    n: int


@dataclass(frozen=True)
class Check:
    """One condition of the verdict.

    Attributes:
        name: stable, as the thresholds file and JSON have it.
        section: what it belongs to: ladder, clean, white-box, survival, black-box, masking, stream, confidence, data.
        holds: None where it could not be decided.
        figure: the number that decides, in the check's own unit.
        bar: what it is held against; None where nothing is configured.
        needed: records that would decide it, where it is undecided for their lack.
        reason: one line for people, with the figures.
        sense: `least` where the figure may not lie below the bar, `most` where not above it, so that whoever reads
            it can repeat the decision by `verdict.decide`; None where the two alone do not decide.
        low, high: the figure's interval, where all of it must lie on one side of the bar.
    """

    name: str
    section: str
    holds: bool | None
    figure: float | None
    bar: float | None
    reason: str
    needed: int | None = None
    sense: str | None = None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Verdict:
    """An answer to one question, and the lines that led to it, the gravest first."""

    verdict: str
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class ModelFacts:
    """The audited file.

    Attributes:
        path: as given.
        form: `int8` where it computes on codes anywhere, else `fp32`.
        sha256, bytes: of the file.
        parent: sha256 of the weights that it says it was exported from; None where unknown.
        compared_with: the float form it is held against: `fp32` path, `torch` run folder, or None.
        unit: of the input's samples: uV, mV or V; with rate, window, classes and threshold it opens a file that says
            nothing.
        threshold: probability from which a single output means the second class; None for an output a class.
        external: files beside it that hold its weights.
    """

    path: str
    form: str
    sha256: str
    bytes: int
    defense: str | None
    arch: str | None
    classes: tuple[str, ...]
    sampling_rate: float
    window: int
    input_step_uv: float | None
    parent: str | None
    compared_with: str | None
    unit: str = "uV"
    threshold: float | None = None
    external: tuple[str, ...] = ()


@dataclass(frozen=True)
class DataFacts:
    """The records that it was judged on.

    Attributes:
        part: one line, which records of the source.
        by_class: records of each class.
    """

    source: str
    fingerprint: str
    n: int
    part: str
    by_class: dict[str, int]


@dataclass(frozen=True)
class Score:
    """One form of the network under one attack at one budget.

    Attributes:
        form: `torch`, `fp32` or `int8`.
        eps_uv: 0 for clean records.
        attack: `clean`, `pgd`, `sap`, or `worst case` over all attacks, losses, starts and gradient sources.
        confusion: rows are true classes, columns predicted ones.
    """

    form: str
    eps_uv: float
    attack: str
    accuracy: Rate
    f1: Rate
    confusion: tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class Survival:
    """The audited file less its float form in worst-case accuracy, at one budget; shares of the n records.

    Attributes:
        verdict: survives, degraded or inconclusive, against the margin.
        table: records that `both_right`, `only_reference`, `only_exported`, `both_wrong`.
        needed: records for 80 % power, were the true difference zero.
    """

    eps_uv: float
    verdict: str
    message: str
    margin: float
    difference: float
    low: float
    high: float
    n: int
    mcnemar_p: float
    table: dict[str, int]
    needed: int | None


@dataclass(frozen=True)
class Group:
    """Records of one class, or of one band of signal-to-noise ratio, by the audited file.

    Attributes:
        name: class, or the band as people read it.
        clean: share right without attack (for a class: its sensitivity).
        attacked: share right in the worst case, by eps in microvolts as `%g`.
    """

    name: str
    n: int
    clean: Rate
    attacked: dict[str, Rate]


@dataclass(frozen=True)
class QueryPoint:
    """Where a black-box attack stood after so many labels a record; `success` by L-inf eps in microvolts as `%g`."""

    queries: int
    median_l2_uv: float
    median_linf_uv: float
    success: dict[str, Rate]


@dataclass(frozen=True)
class BlackBox:
    """The label-only attack.

    Attributes:
        witnesses: file of the records found, beside the report.
        masked: whether the meter says that its probes vanish between the input's codes.
    """

    attack: str
    samples: int
    skipped: int
    queries: int
    seconds: float
    masked: bool
    curve: tuple[QueryPoint, ...]
    witnesses: str | None


@dataclass(frozen=True)
class Decision:
    """One decision of the stream.

    Attributes:
        at: seconds from the start of the signal, at the window's end.
        status: `scored`, `warming_up` or `invalid`.
        probabilities: by class, in the model's order; empty where not scored.
    """

    at: float
    status: str
    probabilities: tuple[float, ...]


@dataclass(frozen=True)
class Span:
    """A stretch of the stream: a rhythm that is known, or an episode that was announced; seconds."""

    label: str
    start: float
    end: float


@dataclass(frozen=True)
class Stream:
    """The file as a stream.

    Attributes:
        compiled: whether a streaming file could be compiled; `message` says why not, or how equal it is.
        hops, equal: decisions of the proof run, and those equal in every bit.
        signal: what was played, one line.
        scores: episode scores by class, as `edgeguard simulate` has them.
        macs_per_hop, macs_per_window: multiply-accumulates of a decision, streaming and window form.
    """

    compiled: bool
    message: str
    hops: int
    equal: int
    signal: str
    decisions: tuple[Decision, ...]
    truth: tuple[Span, ...]
    episodes: tuple[Span, ...]
    scores: tuple[dict[str, Any], ...]
    latency_ms: dict[str, float]
    deadline_misses: int
    macs_per_hop: int | None
    macs_per_window: int


@dataclass(frozen=True)
class ConfidenceBin:
    """Records whose largest probability lies in [low, high)."""

    low: float
    high: float
    confidence: float
    accuracy: Rate


@dataclass(frozen=True)
class Abstention:
    """Saying nothing below a probability.

    Attributes:
        threshold: of the largest probability, chosen on records that are not judged here where there are any.
        target: accuracy of what is answered that it was chosen for.
        coverage, accuracy: share answered, and share of those right, clean.
        attacked_coverage, attacked_accuracy: the same in the worst case at the first budget; None without an attack.
    """

    threshold: float
    target: float
    coverage: Rate
    accuracy: Rate
    attacked_coverage: Rate | None
    attacked_accuracy: Rate | None


@dataclass(frozen=True)
class Confidence:
    """Whether probabilities mean what they say.

    Attributes:
        expected_error: expected calibration error, mean |confidence - accuracy| over equally filled bins (Naeini et al.
            2015), with a bootstrap interval.
        temperature: that would make the negative log-likelihood least on the calibration records.
        chosen_on: which records chose temperature and threshold, for people.
    """

    expected_error: Rate
    temperature: float
    bins: tuple[ConfidenceBin, ...]
    abstention: Abstention | None
    chosen_on: str = ""


@dataclass(frozen=True)
class Picture:
    """One attacked record to draw; arrays of T samples.

    Attributes:
        ecg, adversarial: microvolts.
        left, length: of the real samples in the window.
        clean_saliency, attacked_saliency: how much each sample weighs in the decision, >= 0; None without a twin.
    """

    record: str
    true: str
    attack: str
    eps_uv: float
    clean_class: str
    attacked_class: str
    clean_probability: float
    attacked_probability: float
    sampling_rate: float
    left: int
    length: int
    ecg: np.ndarray
    adversarial: np.ndarray
    clean_saliency: np.ndarray | None
    attacked_saliency: np.ndarray | None


@dataclass(frozen=True)
class Provenance:
    """How it came about.

    Attributes:
        command: that repeats it.
        versions: of tool, Python and libraries.
        processor: name, architecture, instruction flags that decide ONNX Runtime's kernels.
        seconds: by section.
    """

    command: str
    date: str
    seed: int
    versions: dict[str, str]
    processor: dict[str, Any]
    seconds: dict[str, float]


@dataclass(frozen=True)
class Audit:
    """The whole of it.

    Attributes:
        verdict: one of VERDICTS: the graver of the required verdicts, which decides the exit code.
        reasons: lines that led to it, the gravest first.
        export: whether the file is as good as its float form, see `audit.verdict`.
        robustness: whether it keeps to the thresholds.
        required: which of the two `verdict` is about.
        compared: whether the file was held against a float form.
        judged: whether robustness is claimed or demanded.
        warnings: what is implausible about the file or the records, a line each.
        thresholds: as read from the TOML file, defaults filled in.
        profile: of the white-box portfolio.
        profile_version: what the profiles of all budgets were fixed to; None in audits older than versions.
        ladder: rungs, {name, holds, figure, meaning, note}.
        scores: clean, pgd, sap and worst case, of every form at every budget.
        bill: as `edgeguard simulate --bill` has it; None where nothing can be billed.
        files: name -> path of what was written beside the report.
        pictures: not in the JSON.
    """

    verdict: str
    reasons: tuple[str, ...]
    export: Verdict
    robustness: Verdict
    required: tuple[str, ...]
    compared: bool
    judged: bool
    size: str
    profile: str
    model: ModelFacts
    data: DataFacts
    thresholds: dict[str, Any]
    checks: tuple[Check, ...]
    ladder: tuple[dict[str, Any], ...]
    scores: tuple[Score, ...]
    survival: tuple[Survival, ...]
    classes: tuple[Group, ...]
    snr: tuple[Group, ...]
    masking: tuple[MaskingCheck, ...]
    black_box: BlackBox | None
    stream: Stream | None
    bill: dict[str, Any] | None
    confidence: Confidence | None
    provenance: Provenance
    files: dict[str, str] = field(default_factory=dict)
    pictures: tuple[Picture, ...] = field(default=(), metadata=LEFT_OUT)
    profile_version: str | None = field(default=None, metadata=IF_GIVEN)
    warnings: tuple[str, ...] = ()
    schema: str = SCHEMA

    def to_json(self) -> dict[str, Any]:
        """What `audit.json` holds."""
        made: dict[str, Any] = to_json(self)
        return made

    def to_frame(self) -> Any:
        """A pandas DataFrame of the scores, a row a form, budget and attack; InputError where pandas is missing."""
        about = ("form", "eps_uv", "attack", "accuracy", "f1")
        return frame({**{name: getattr(one, name) for name in about}, "n": one.accuracy.n} for one in self.scores)

    def __repr__(self) -> str:
        failed = sum(check.holds is False for check in self.checks)
        undecided = sum(check.holds is None for check in self.checks)
        reason = f"; {self.reasons[0]}" if self.reasons else ""
        return (
            f"Audit({self.model.path}, {self.size}: {self.verdict}, {len(self.checks)} checks, "
            f"{failed} failed, {undecided} undecided{reason})"
        )
