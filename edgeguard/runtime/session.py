"""Any single-lead ONNX classifier as one object: microvolts in, logits out."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Unpack

import numpy as np
import onnx
import onnxruntime

from edgeguard.errors import InputError
from edgeguard.runtime import loading
from edgeguard.runtime.flags import (
    RUNTIME_ERRORS,
    create_session,
    lacks_vnni,
    session_options,
)
from edgeguard.runtime.host_form import host_form as derive_host_form
from edgeguard.runtime.input_quantizer import InputQuantizer, read_input_quantizer
from edgeguard.runtime.loading import ModelFile, read_model_file
from edgeguard.runtime.metadata import ModelMetadata
from edgeguard.runtime.model_spec import (
    MICROVOLTS,
    ModelSpec,
    StatedFacts,
    check_threshold,
    read_head,
    unit_name,
)
from edgeguard.runtime.saturation import may_saturate
from edgeguard.runtime.unsigned_weights import unsigned_weights

BATCHES = (64, 32, 16, 8, 1)
"""Batch sizes that a session sees: constant shapes let it reuse its memory."""

_ACTIVATION_BYTES = 64 * 2**20
"""Bound on the largest activation of one batch."""


class OnnxModel:
    """A classifier file, loaded; made by `open_model`.

    Attributes:
        file: that was opened: its model, its signature and its hash.
        spec: what the file takes and gives: classes, sampling rate, window, unit, head.
        metadata: what the file says, completed by what the caller stated.
        input_step_uv: step of the input quantiser in microvolts; None for a float input.
        fixed_batch: rows that the graph takes at a time; None where any number goes.
        batches: batch sizes in use, largest first.
    """

    def __init__(
        self,
        file: ModelFile,
        session: onnxruntime.InferenceSession,
        spec: ModelSpec,
        metadata: ModelMetadata,
        *,
        quantizer: InputQuantizer | None,
        fixed_batch: int | None,
        batches: tuple[int, ...],
    ) -> None:
        self.file = file
        self.spec = spec
        self.metadata = metadata
        self.fixed_batch = fixed_batch
        self.batches = batches
        self._per_microvolt = 1 / MICROVOLTS[spec.unit]
        step = None if quantizer is None else quantizer.step * MICROVOLTS[spec.unit]
        self.input_step_uv = metadata.input_step_uv if step is None else step
        # Codes are computed in float32: an input of another type is rounded on the way there.
        exact = quantizer is not None and quantizer.sole and file.signature.dtype is np.float32
        self._quantizer = quantizer if exact else None
        self._session = session

    @property
    def path(self) -> Path:
        """Of the file."""
        return self.file.path

    @property
    def sha256(self) -> str:
        """Hex digest of the file's bytes."""
        return self.file.sha256

    @property
    def proto(self) -> onnx.ModelProto:
        """The model as the file holds it; nobody changes it."""
        return self.file.proto

    @property
    def signature(self) -> loading.Signature:
        """Where the ECG goes in and the logits come out."""
        return self.file.signature

    @property
    def is_quantised(self) -> bool:
        """Whether the file computes on integer codes anywhere."""
        return self.file.is_quantised

    @property
    def classes(self) -> tuple[str, ...]:
        """Names in the order of the logits."""
        return self.spec.classes

    @property
    def window(self) -> int:
        """Samples of one input."""
        return self.spec.window

    @property
    def sampling_rate(self) -> float:
        """Hertz."""
        return self.spec.sampling_rate

    def logits(self, ecg: np.ndarray) -> np.ndarray:
        """float32 [B, C] logits of float32 [B, 1, T] microvolts, B >= 0; see `ModelSpec.logits`.

        Raises InputError when ecg has another shape.
        """
        return self.spec.logits(self.outputs(ecg))

    def outputs(self, ecg: np.ndarray) -> np.ndarray:
        """float32 [B, outputs] that the file itself gives for float32 [B, 1, T] microvolts, B >= 0.

        Raises InputError when ecg has another shape.
        """
        if ecg.ndim != 3 or ecg.shape[1:] != (1, self.window):
            raise InputError(f"{self.path}: takes ecg [B, 1, {self.window}], got {list(ecg.shape)}")
        outputs = np.empty((len(ecg), self.spec.outputs), np.float32)
        for start, size in _chunks(len(ecg), self.batches):
            rows = ecg[start : start + size]
            padding = size - len(rows)
            if padding:
                rows = np.concatenate([rows, np.zeros((padding, 1, self.window), rows.dtype)])
            outputs[start : start + size] = self._run(rows)[: size - padding]
        return outputs

    def labels(self, ecg: np.ndarray) -> np.ndarray:
        """int64 [B] indices of the largest logit; the first of equal ones."""
        return self.logits(ecg).argmax(axis=1).astype(np.int64)

    def keep_invariant_batches(self, ecg: np.ndarray) -> None:
        """Give up the batch sizes at which a row's logits depend, be it in the last bit, on its company.

        Args:
            ecg: float32 [B, 1, T], rows to try it on; at most the largest batch of them is used.
        """
        rows = ecg[: self.batches[0]]
        sizes, agreed = self.batches, self.batches[-1:]
        self.batches = agreed
        alone = self.logits(rows)
        for size in sizes[-2::-1]:
            self.batches = (size,)
            if np.array_equal(self.logits(rows), alone):
                agreed = (size, *agreed)
        self.batches = agreed

    def feed(self, ecg: np.ndarray) -> dict[str, np.ndarray]:
        """What any engine that runs the file takes for float32 [B, 1, T] microvolts: input name -> samples.

        In the file's own unit, layout and type; integers rounded and clipped.
        """
        samples = ecg if self._per_microvolt == 1 else ecg * np.float32(self._per_microvolt)
        samples = samples.reshape(self.signature.shape(len(ecg), self.window))
        dtype = self.signature.dtype
        if np.issubdtype(dtype, np.integer):
            bounds = np.iinfo(np.dtype(dtype))
            samples = np.clip(np.rint(samples.astype(np.float64)), bounds.min, bounds.max)
        return {self.signature.input: np.ascontiguousarray(samples, dtype)}

    def input_codes(self, ecg: np.ndarray) -> np.ndarray:
        """What the file can tell apart: rows of equal codes have equal logits. Integers in the shape of `ecg`.

        Codes of the input quantiser where the file has one, else whole microvolts.

        Args:
            ecg: float32 [B, 1, T], whole microvolts.
        """
        if self._quantizer is None:
            return ecg.astype(np.int32)
        samples = ecg if self._per_microvolt == 1 else ecg * np.float32(self._per_microvolt)
        return self._quantizer.codes(samples)

    def _run(self, ecg: np.ndarray) -> np.ndarray:
        result: np.ndarray = self._session.run([self.signature.output], self.feed(ecg))[0]
        return result[:, None] if self.signature.flat else result


def open_model(
    source: ModelFile | Path | str,
    *,
    threads: int = 1,
    host_form: bool = True,
    assumed: StatedFacts | None = None,
    **facts: Unpack[StatedFacts],
) -> OnnxModel:
    """Load a single-lead ONNX classifier for one CPU session.

    Args:
        source: the .onnx file, or one that was read already.
        threads: of the session.
        host_form: run an S8S8 file as its U8S8 form (equal codes, much faster on x86).
        assumed: facts that hold where neither the file nor `facts` has them, as those of another form of the network.
        facts: what the file does not say of itself.

    Raises InputError for a file that is no such classifier, that lacks a fact which nobody states, or whose own word
    is another than that of `facts`.
    """
    file = source if isinstance(source, ModelFile) else read_model_file(Path(source))
    signature = file.signature
    spec, metadata = _complete(file, facts, assumed)
    quantizer = read_input_quantizer(file.proto, signature.input)
    model = derive_host_form(file.proto) if host_form else file.proto
    session, fixed_batch = _open_session(file.path, model, signature, spec.window, threads)
    opened = OnnxModel(
        file,
        session,
        spec,
        metadata,
        quantizer=quantizer,
        fixed_batch=fixed_batch,
        batches=(fixed_batch,) if fixed_batch else _affordable_batches(model, signature, spec.window),
    )
    _try_out(opened)
    return opened


def _chunks(count: int, batches: tuple[int, ...]) -> Iterator[tuple[int, int]]:
    """(start, size) covering `count` rows by the given batch sizes, largest first; the last may overhang."""
    start = 0
    while start < count:
        size = next((batch for batch in batches if batch <= count - start), batches[-1])
        yield start, size
        start += size


def _complete(file: ModelFile, facts: StatedFacts, assumed: StatedFacts | None) -> tuple[ModelSpec, ModelMetadata]:
    """What the file takes and gives, by its own words, its graph and what is stated; and its metadata so completed.

    Raises InputError for all that is missing, in one line, and for what is stated otherwise than the file has it.
    """
    path, stated, signature = file.path, file.stated, file.signature
    try:
        given = {**facts, "classes": _tuple(facts.get("classes")), "unit": _unit(facts.get("unit"))}
        known = {
            "classes": stated.classes,
            "sampling_rate": stated.sampling_rate,
            "window": stated.window,
            "unit": _unit(stated.unit),
            "threshold": stated.threshold,
        }
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    for name, value in given.items():
        if value is not None and known[name] not in (None, value):
            raise InputError(
                f"{path}: says its {name.replace('_', ' ')} itself, {_shown(known[name])}, not {_shown(value)}; "
                f"leave --{name.replace('_', '-')} out"
            )
    merged = {name: value if value is not None else given.get(name) for name, value in known.items()}
    merged["window"] = signature.window if merged["window"] is None else merged["window"]
    single = signature.classes == 1
    for name, value in (assumed or {}).items():
        if merged[name] is None and (name != "threshold" or single):
            merged[name] = value
    head = read_head(file.proto.graph, signature.output, single=single)
    lacking = [text for name, text in _LACKING.items() if merged[name] is None]
    if single and merged["threshold"] is None:
        lacking.append(_LACKING_THRESHOLD)
    if lacking:
        raise InputError(f"{path}: does not say {_listing([what for what, _ in lacking])}; add {_options(lacking)}")
    spec = ModelSpec(**{**merged, "head": head})  # type: ignore[arg-type]
    try:
        _check_spec(spec, signature)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    return spec, replace(stated, **merged)  # type: ignore[arg-type]


_LACKING = {
    "classes": ("its class names", "--classes N,A,O,~ (in the order of the logits)"),
    "sampling_rate": ("its sampling rate", "--sampling-rate HZ"),
    "window": ("the length of its window (the time axis is dynamic)", "--window SAMPLES"),
    "unit": ("the unit of its input", "--unit uV|mV|V"),
}
"""Fact -> what to call it, and the option that states it."""
_LACKING_THRESHOLD = ("from where on its single output means the second class", "--threshold .5")


def _check_spec(spec: ModelSpec, signature: loading.Signature) -> None:
    """Raises InputError for facts that cannot be, or that the graph contradicts."""
    if signature.window not in (None, spec.window):
        raise InputError(f"takes {signature.window} samples, not {spec.window}; leave --window out")
    if spec.window < 1 or not 0 < spec.sampling_rate < float("inf"):
        raise InputError("window and sampling rate must be above 0; mend --window or --sampling-rate")
    if len(set(spec.classes)) < len(spec.classes) or not all(spec.classes):
        raise InputError(f"class names {','.join(spec.classes)}: each must be named once; mend --classes")
    check_threshold(spec.threshold, head=spec.head)
    number = len(spec.classes)
    if spec.outputs == 1 and number != 2:
        raise InputError(f"a single output tells two classes apart, not {number}; name them: --classes N,A")
    if number < 2:
        raise InputError(f"{number} class name; a classifier has at least two; mend --classes")


def _tuple(names: Sequence[str] | None) -> tuple[str, ...] | None:
    return None if names is None else tuple(names)


def _unit(text: str | None) -> str | None:
    return None if text is None else unit_name(text)


def _shown(value: object) -> str:
    return ",".join(value) if isinstance(value, tuple) else f"{value:g}" if isinstance(value, float) else str(value)


def _listing(texts: list[str]) -> str:
    return texts[0] if len(texts) == 1 else f"{', '.join(texts[:-1])} and {texts[-1]}"


def _options(lacking: list[tuple[str, str]]) -> str:
    return " ".join(option for _, option in lacking)


def _open_session(
    path: Path, model: onnx.ModelProto, signature: loading.Signature, window: int, threads: int
) -> tuple[onnxruntime.InferenceSession, int | None]:
    """A session and its fixed batch size; None where any batch size goes."""
    load = partial(load_session, path, threads=threads)
    session = load(model)
    if any(node.op_type.startswith("DynamicQuantize") for node in model.graph.node):
        # The codes of a record depend on the extremes of its batch: alone, as on a watch, they are its own.
        return session, 1 if signature.batch is None else signature.batch
    if signature.batch != 1:
        return session, signature.batch
    try:
        free = load(loading.make_batch_symbolic(model))
        if _same_rows(session, free, signature, window):
            return free, None
    except (InputError, *RUNTIME_ERRORS):
        pass  # the graph hard-codes its batch of one: run row by row
    return session, 1


def _same_rows(
    one: onnxruntime.InferenceSession,
    free: onnxruntime.InferenceSession,
    signature: loading.Signature,
    window: int,
) -> bool:
    """Whether a session with an open batch gives three rows the logits that the original gives each alone."""
    noise = np.random.default_rng(0).normal(0, 100, signature.shape(3, window))
    rows = noise.astype(signature.dtype)
    alone = np.concatenate([one.run([signature.output], {signature.input: row[None]})[0] for row in rows])
    together = free.run([signature.output], {signature.input: rows})[0]
    return alone.shape == together.shape and np.allclose(alone, together, rtol=1e-4, atol=1e-4)


def load_session(path: Path, model: onnx.ModelProto, threads: int = 1) -> onnxruntime.InferenceSession:
    """A CPU session whose 8-bit sums do not overflow, whatever the processor and whatever the file says of itself.

    Args:
        path: to name in errors.

    Raises InputError for a model that ONNX Runtime cannot load, or cannot run exactly on this processor.
    """
    try:
        if lacks_vnni() and may_saturate(model):
            model = unsigned_weights(model)
        return create_session(model.SerializeToString(), session_options(threads=threads))
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    except RUNTIME_ERRORS as error:
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"{path}: ONNX Runtime cannot load it ({reason}); export the model anew") from error


def _affordable_batches(model: onnx.ModelProto, signature: loading.Signature, window: int) -> tuple[int, ...]:
    per_window = 4 * loading.largest_activation(model, signature, window)
    return tuple(batch for batch in BATCHES if batch == 1 or batch * per_window <= _ACTIVATION_BYTES)


def _try_out(model: OnnxModel) -> None:
    """One run on silence: the logits must be [1, classes].

    Raises InputError otherwise.
    """
    silence = np.zeros((1, 1, model.window), np.float32)
    try:
        shape = model._run(np.repeat(silence, model.batches[-1], axis=0)).shape
    except RUNTIME_ERRORS as error:
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"{model.path}: cannot run {model.window} samples ({reason}); mend --window") from error
    if shape != (model.batches[-1], model.spec.outputs):
        raise InputError(
            f"{model.path}: gives logits {list(shape)} for {len(model.classes)} named classes; mend --classes"
        )
