"""The certificate as a file: its fields, its canonical bytes and digests, and how it is read from people nobody trusts.

Digests are SHA-256 over canonical JSON: keys in the order of their characters, no spaces, all but ASCII escaped,
numbers as Python writes them. They notice accident and clumsiness; whoever tampers on purpose computes them anew, and
is stopped by a signature only.
"""

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edgeguard.errors import InputError
from edgeguard.evaluation.audit.result import (
    BlackBox,
    Check,
    Confidence,
    DataFacts,
    Group,
    Score,
    Survival,
    Verdict,
)
from edgeguard.evaluation.masking_check import Check as MaskingCheck
from edgeguard.runtime.typed_json import IF_GIVEN, from_json

SCHEMA = "edgeguard.certificate/2"
FIRST = "edgeguard.certificate/1"
"""With one verdict over all checks; still verified."""
LARGEST_BYTES = 64 * 2**20
_MOST_DIGITS = 15
_KIND, _, _VERSION = SCHEMA.partition("/")
_OVER_ALL = ("digest", "signature")
"""What the digest and the signature do not cover: themselves."""


@dataclass(frozen=True)
class Artefact:
    """A file by its relative name and the SHA-256 of its bytes; beside the certificate, if nothing else is said."""

    file: str
    sha256: str


@dataclass(frozen=True)
class FileFacts:
    """The certified file; `audit.result.ModelFacts` with the file's bare name for its path.

    Attributes:
        external: files beside it that hold weights of it, which its own hash does not cover.
        threshold: of a single output; None where there is an output a class.
    """

    name: str
    sha256: str
    bytes: int
    parent: str | None
    form: str
    classes: tuple[str, ...]
    sampling_rate: float
    window: int
    unit: str
    input_step_uv: float | None
    defense: str | None
    arch: str | None
    compared_with: str | None
    external: tuple[Artefact, ...] = ()
    threshold: float | None = field(default=None, metadata=IF_GIVEN)


@dataclass(frozen=True)
class StreamFacts:
    """The file as a stream; `audit.result.Stream` without its time lines."""

    compiled: bool
    message: str
    hops: int
    equal: int
    signal: str
    scores: tuple[dict[str, Any], ...]
    latency_ms: dict[str, float]
    deadline_misses: int
    macs_per_hop: int | None
    macs_per_window: int


@dataclass(frozen=True)
class Figures:
    """What was measured, as `audit.result` defines it."""

    scores: tuple[Score, ...]
    survival: tuple[Survival, ...]
    black_box: BlackBox | None
    confidence: Confidence | None
    classes: tuple[Group, ...]
    snr: tuple[Group, ...]
    masking: tuple[MaskingCheck, ...]
    stream: StreamFacts | None


@dataclass(frozen=True)
class Origin:
    """How it came about."""

    command: str
    date: str
    profile: str
    seconds: dict[str, float]
    profile_version: str | None = field(default=None, metadata=IF_GIVEN)


@dataclass(frozen=True)
class WitnessFile(Artefact):
    """Adversarial records of the black-box attack, `rows` of them."""

    rows: int


@dataclass(frozen=True)
class GoldenFile(Artefact):
    """Golden vectors.

    Attributes:
        tolerance: by how much the logits may differ on another processor or ONNX Runtime, relative to the largest; the
            classes may not.
    """

    rows: int
    tolerance: float


@dataclass(frozen=True)
class Signature:
    """Ed25519 over `preimage`; both values in base64, the key as its 32 raw bytes."""

    algorithm: str
    public_key: str
    value: str


@dataclass(frozen=True)
class Certificate:
    """The fields; docs/certificate.md tells them one by one. The last five are of version 2."""

    schema: str
    verdict: str
    reasons: tuple[str, ...]
    statements: dict[str, str]
    size: str
    file: FileFacts
    data: DataFacts
    checks: tuple[Check, ...]
    thresholds: dict[str, Any]
    thresholds_sha256: str
    figures: Figures
    ladder: tuple[dict[str, Any], ...]
    seeds: dict[str, int]
    versions: dict[str, str]
    processor: dict[str, Any]
    provenance: Origin
    streaming: Artefact | None
    witnesses: WitnessFile | None
    golden: GoldenFile | None
    report: Artefact | None
    digests: dict[str, str]
    digest: str
    signature: Signature | None
    export: Verdict | None = field(default=None, metadata=IF_GIVEN)
    robustness: Verdict | None = field(default=None, metadata=IF_GIVEN)
    required: tuple[str, ...] | None = field(default=None, metadata=IF_GIVEN)
    compared: bool | None = field(default=None, metadata=IF_GIVEN)
    judged: bool | None = field(default=None, metadata=IF_GIVEN)


def canonical(value: Any) -> bytes:
    """The one spelling of a JSON value that digests are taken of."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False).encode("ascii")


def digest_of(value: Any) -> str:
    """Hex SHA-256 of a JSON value."""
    return hashlib.sha256(canonical(value)).hexdigest()


def section_digests(content: Mapping[str, Any]) -> dict[str, str]:
    """The digest of every field but those that hold digests or the signature: they tell where a change was made."""
    return {name: digest_of(value) for name, value in content.items() if name not in ("digests", *_OVER_ALL)}


def preimage(content: Mapping[str, Any]) -> bytes:
    """What `digest` is the SHA-256 of and `signature` signs: every field but these two."""
    return canonical({name: value for name, value in content.items() if name not in _OVER_ALL})


def overall_digest(content: Mapping[str, Any]) -> str:
    """What `digest` must be."""
    return hashlib.sha256(preimage(content)).hexdigest()


def read_content(path: Path) -> dict[str, Any]:
    """A certificate as plain JSON values.

    Raises InputError, in one line, for what is no certificate of this version: another file, a damaged or huge one, an
    object that names a key twice, a number that is not finite, text with characters that do not print.
    """
    try:
        with path.open("rb") as file:
            raw = file.read(LARGEST_BYTES + 1)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); name a certificate.json") from error
    if len(raw) > LARGEST_BYTES:
        raise InputError(f"{path}: more than {LARGEST_BYTES >> 20} MB, which no certificate has")
    try:
        content = json.loads(
            raw.decode("utf-8"),
            object_pairs_hook=_unique,
            parse_int=_whole,
            parse_float=_finite,
            parse_constant=_finite,
        )
        _check_text(content)
    except (ValueError, RecursionError) as error:
        reason = " ".join(str(error).split())[:160]
        raise InputError(f"{path}: no valid JSON ({reason}); take the certificate as it was written") from error
    schema = content.get("schema") if isinstance(content, dict) else None
    if schema in (SCHEMA, FIRST):
        return dict(content)
    kind, _, version = str(schema).partition("/")
    if kind == _KIND and version.isdecimal() and len(version) < _MOST_DIGITS and int(version) > int(_VERSION):
        raise InputError(f"{path}: schema {schema} is newer than this EdgeGuard, which reads {SCHEMA}; update it")
    raise InputError(f"{path}: no certificate of EdgeGuard (its schema is not {SCHEMA}); name a certificate.json")


def typed(content: Mapping[str, Any], path: Path) -> Certificate:
    """The certificate in plain values; InputError names the field that is missing or of another type."""
    return from_json(Certificate, content, where=f"{path}: certificate")


def printable(value: Any) -> Any:
    """JSON values with whatever would not print in a text replaced by a question mark."""
    if isinstance(value, dict):
        return {printable(key): printable(item) for key, item in value.items()}
    if isinstance(value, list):
        return [printable(item) for item in value]
    if isinstance(value, str) and not value.isprintable():
        return "".join(c if c.isprintable() else "?" for c in value)
    return value


def _check_text(content: Any) -> None:
    """Raises ValueError for text that could move a terminal's cursor, or hide what it says."""
    if printable(content) != content:
        raise ValueError("text with characters that do not print")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object; which of two equal keys counts would depend on the reader."""
    made = dict(pairs)
    if len(made) != len(pairs):
        raise ValueError("an object names a key twice")
    return made


def _whole(text: str) -> int:
    if len(text) > _MOST_DIGITS:
        raise ValueError(f"{text[:_MOST_DIGITS]}... is no number that a certificate has")
    return int(text)


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text[:_MOST_DIGITS]} is no finite number")
    return value
