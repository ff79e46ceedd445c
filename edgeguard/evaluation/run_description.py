"""What an ONNX file is, what it does not say of itself, and which commands can take it."""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import onnx
from onnx import TensorProto, ValueInfoProto

from edgeguard.errors import InputError, unknown
from edgeguard.evaluation.zoo.located import located
from edgeguard.runtime.cost import file_cost
from edgeguard.runtime.files import write_bytes
from edgeguard.runtime.loading import ModelFile, read_model_file
from edgeguard.runtime.metadata import ModelMetadata
from edgeguard.runtime.model_spec import SIGMOID, SINGLE_LOGIT, ModelSpec, read_head, stated_facts, unit_name
from edgeguard.runtime.newest import newest_model
from edgeguard.runtime.session import OnnxModel, open_model
from edgeguard.runtime.streaming import open_stream
from edgeguard.runtime.telling import Say, log
from edgeguard.runtime.typed_json import from_json, to_json

SCHEMA = "edgeguard.describe/1"
FACTS = ("classes", "sampling_rate", "window", "unit", "threshold")
"""What `--set` puts into a file's metadata."""
_COMMANDS = ("verify", "evaluate", "attack-onnx", "audit", "simulate", "export --int8", "export --streaming")
_RATE = 300.0
"""Hertz, in place of what a file does not say."""


@dataclass(frozen=True)
class TensorFacts:
    """An input or output of a graph: its element type, and the length of every axis, `?` where it is open."""

    name: str
    type: str
    shape: tuple[str, ...]


@dataclass(frozen=True)
class Ability:
    """Whether a command can take the file; why not, where it cannot."""

    command: str
    able: bool
    reason: str | None = None


@dataclass(frozen=True)
class Description:
    """What a file is.

    Attributes:
        model: path of the file.
        sha256: hex digest of its bytes.
        bytes: of the file.
        external: files beside it that hold weights.
        form: `float`, `int8` (it computes on codes) or `streaming`.
        opset: of the ONNX standard.
        producer: what wrote the file, by its own word.
        inputs, outputs: of the graph.
        head: what the output is: `logits`, `probabilities`, `sigmoid` or `single logit`; None for no classifier.
        classes, sampling_rate, window, unit, threshold: None where the file does not say; hertz, samples.
        parameters: numbers that the file stores as weights.
        macs: multiply-accumulates of one call; None where they cannot be counted.
        operators: number of nodes by operator.
        metadata: what else the file says under `edgeguard.`.
        missing: facts that the file does not say and that commands need.
        commands: which commands can take the file, once the missing facts are given.
        next: what to type next.
        written: file that was written with the facts in it; None where none was.
    """

    model: str
    sha256: str
    bytes: int
    external: tuple[str, ...]
    form: str
    opset: int
    producer: str
    inputs: tuple[TensorFacts, ...]
    outputs: tuple[TensorFacts, ...]
    head: str | None
    classes: tuple[str, ...] | None
    sampling_rate: float | None
    window: int | None
    unit: str | None
    threshold: float | None
    parameters: int
    macs: int | None
    operators: dict[str, int]
    metadata: dict[str, Any]
    missing: tuple[str, ...]
    commands: tuple[Ability, ...]
    next: str
    written: str | None = None
    schema: str = SCHEMA

    def to_json(self) -> dict[str, Any]:
        """What `edgeguard describe --json` prints."""
        made: dict[str, Any] = to_json(self)
        return made

    @classmethod
    def from_json(cls, value: Any) -> "Description":
        """Read that again; InputError where it is something else."""
        return from_json(cls, value, where=SCHEMA)


def describe_model(
    model: str | Path | None = None,
    *,
    facts: Mapping[str, Any] | None = None,
    out: str | Path | None = None,
    say: Say = log,
) -> Description:
    """Describe an ONNX file, and with `facts` write a copy of it whose metadata have them.

    Args:
        model: the file; None: the newest one under `runs/`.
        facts: any of FACTS by name, to be written; they win over what the file says.
        out: the file to write.
        say: receives a line now and then.

    Raises InputError for a file that is no ONNX file, for facts that it cannot have, and for `facts` without `out`.
    """
    path = newest_model() if model is None else located(model)
    file = read_model_file(path)
    if facts:
        if out is None:
            raise InputError(f"{path}: is left as it is; name the file to write with -o OUT.onnx")
        target = Path(out)
        if target.resolve() == path.resolve():
            raise InputError(f"-o {target}: is the file itself; name another one")
        file = _stamped(file, facts, target)
        say(f"written: {target}")
    elif out is not None:
        raise InputError(f"-o {out}: nothing to write into it; add --set sampling_rate=250, or leave -o out")
    return _described(file, str(path), written=None if out is None else str(out))


def _stamped(file: ModelFile, facts: Mapping[str, Any], target: Path) -> ModelFile:
    """The file with facts in its metadata and all weights inside, written to `target`."""
    if file.is_stream:
        raise InputError(f"{file.path}: is a streaming file, which has its facts from the window file; set them there")
    for name in facts:
        if name not in FACTS:
            raise unknown("--set", name, FACTS, problem="no such fact")
    said = replace(file.stated, **{name: _fact(name, value) for name, value in facts.items()})
    copy = onnx.ModelProto()
    copy.CopyFrom(file.proto)
    others = {entry.key: entry.value for entry in copy.metadata_props if not _is_ours(entry.key)}
    onnx.helper.set_model_props(copy, {**others, **said.to_props()})
    try:
        content = copy.SerializeToString()
    except ValueError as error:
        raise InputError(f"{target}: cannot hold weights of more than 2 GiB; give the facts as options") from error
    made = ModelFile(target, copy, "")
    _try(made)
    write_bytes(target, content)
    return read_model_file(target)


def _is_ours(key: str) -> bool:
    return any(key == f"edgeguard.{name}" for name in ModelMetadata.__dataclass_fields__)


def _fact(name: str, value: Any) -> Any:
    """A fact as the metadata have it; text is read as the command line has it."""
    if not isinstance(value, str):
        return tuple(value) if name == "classes" else value
    if name == "classes":
        return tuple(part.strip() for part in value.split(",") if part.strip())
    if name == "unit":
        return unit_name(value)
    try:
        return int(value) if name == "window" else float(value)
    except ValueError as error:
        kind = "a whole number" if name == "window" else "a number"
        raise InputError(f"--set {name}={value}: {kind} needed") from error


def _described(file: ModelFile, named: str, *, written: str | None) -> Description:
    said, graph = file.stated, file.proto.graph
    stored = {tensor.name for tensor in graph.initializer}
    head, refusal = _head(file)
    missing = () if file.is_stream or refusal is not None else _missing(file, head)
    commands = _abilities(file, refusal)
    return Description(
        model=named,
        sha256=file.sha256,
        bytes=file.path.stat().st_size,
        external=file.external,
        form="streaming" if file.is_stream else "int8" if file.is_quantised else "float",
        opset=next((one.version for one in file.proto.opset_import if one.domain in ("", "ai.onnx")), 0),
        producer=" ".join(filter(None, (file.proto.producer_name, file.proto.producer_version))),
        inputs=tuple(_tensor(value) for value in graph.input if value.name not in stored),
        outputs=tuple(_tensor(value) for value in graph.output),
        head=head,
        classes=said.classes,
        sampling_rate=said.sampling_rate,
        window=said.window or (file.signature.window if refusal is None and not file.is_stream else None),
        unit=said.unit,
        threshold=said.threshold,
        parameters=sum(_elements(tensor) for tensor in graph.initializer),
        macs=_macs(file),
        operators=dict(sorted(Counter(node.op_type for node in graph.node).items())),
        metadata={name: value for name, value in asdict(said).items() if name not in FACTS and value is not None},
        missing=missing,
        commands=commands,
        next=_next(written or named, missing, commands),
        written=written,
    )


def _head(file: ModelFile) -> tuple[str | None, str | None]:
    """(what the output is, None), or (None, why the file is no classifier)."""
    if file.is_stream:
        return None, None
    try:
        signature = file.signature
    except InputError as error:
        return None, str(error)
    return read_head(file.proto.graph, signature.output, single=signature.classes == 1), None


def _missing(file: ModelFile, head: str | None) -> tuple[str, ...]:
    said = file.stated
    wanted = {
        "classes": said.classes,
        "sampling_rate": said.sampling_rate,
        "window": said.window or file.signature.window,
        "unit": said.unit,
    }
    if head in (SIGMOID, SINGLE_LOGIT):
        wanted["threshold"] = said.threshold
    return tuple(name for name, value in wanted.items() if value is None)


def _abilities(file: ModelFile, refusal: str | None) -> tuple[Ability, ...]:
    """What each command makes of the file, tried with placeholders for facts that are missing."""
    if refusal is not None:
        return tuple(Ability(command, False, refusal) for command in _COMMANDS)
    if file.is_stream:
        return _stream_abilities(file)
    try:
        opened = _try(file)
    except InputError as error:
        return tuple(Ability(command, False, str(error)) for command in _COMMANDS)
    twin, stream = _reason(lambda: _build_twin(opened)), _reason(lambda: _read_timeline(opened))
    reasons = dict.fromkeys(_COMMANDS)
    reasons["evaluate"] = twin
    reasons["audit"] = twin and f"by labels alone: {twin}"
    reasons["export --int8"] = _reason(lambda: _check_quantisable(opened))
    reasons["export --streaming"] = stream
    return tuple(Ability(command, reason is None or command == "audit", reason) for command, reason in reasons.items())


def _stream_abilities(file: ModelFile) -> tuple[Ability, ...]:
    why = _reason(lambda: open_stream(file))
    other = f"{file.path}: is a streaming file; name the window file that it was made from"
    return tuple(
        Ability(command, command == "simulate" and why is None, why if command == "simulate" else other)
        for command in _COMMANDS
    )


def _try(file: ModelFile) -> OnnxModel:
    """The file opened, with placeholders for all that it does not say."""
    signature, said = file.signature, file.stated
    number = 2 if signature.classes == 1 else signature.classes or len(said.classes or ()) or 2
    classes = tuple(f"class {place}" for place in range(number))
    assumed = ModelSpec(classes, _RATE, round(10 * _RATE), threshold=0.5)
    return open_model(file, assumed=stated_facts(assumed))


def _build_twin(opened: OnnxModel) -> None:
    from edgeguard.export.twin import build_twin

    build_twin(opened)


def _check_quantisable(opened: OnnxModel) -> None:
    from edgeguard.export.file_exporter import check_quantisable

    check_quantisable(opened)


def _read_timeline(opened: OnnxModel) -> None:
    from edgeguard.export.streaming.layers import read_timeline
    from edgeguard.export.streaming.window_graph import read_window_graph

    read_timeline(read_window_graph(opened.proto, opened.signature, opened.window))


def _reason(attempt: Callable[[], Any]) -> str | None:
    """Why an attempt fails; None where it does not."""
    try:
        attempt()
    except InputError as error:
        return str(error)
    except ImportError as error:
        return f"needs the package {error.name}"
    return None


def _macs(file: ModelFile) -> int | None:
    try:
        return file_cost(file.proto, file.path, window=file.stated.window).macs
    except InputError:
        return None


def _next(name: str, missing: tuple[str, ...], commands: tuple[Ability, ...]) -> str:
    examples = {"classes": "N,A,O", "sampling_rate": "250", "window": "2500", "unit": "mV", "threshold": ".5"}
    if missing:
        facts = " ".join(f"--set {fact}={examples[fact]}" for fact in missing)
        return f"edgeguard describe {name} {facts} -o OUT.onnx"
    able = {one.command for one in commands if one.able}
    for command, rest in (("audit", "audit {}"), ("simulate", "simulate {}")):
        if command in able:
            return f"edgeguard {rest.format(name)}"
    return ""


def _tensor(value: ValueInfoProto) -> TensorFacts:
    tensor = value.type.tensor_type
    shape = tuple(str(dim.dim_value) if dim.dim_value > 0 else dim.dim_param or "?" for dim in tensor.shape.dim)
    return TensorFacts(value.name, TensorProto.DataType.Name(tensor.elem_type).lower(), shape)


def _elements(tensor: TensorProto) -> int:
    number = 1
    for length in tensor.dims:
        number *= length
    return number
