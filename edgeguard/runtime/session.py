"""Any single-lead ONNX classifier as one object: microvolts in, logits out."""

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import onnx
import onnxruntime

from edgeguard.errors import InputError
from edgeguard.runtime import loading
from edgeguard.runtime.files import sha256_file
from edgeguard.runtime.flags import (
    RUNTIME_ERRORS,
    create_session,
    lacks_vnni,
    session_options,
)
from edgeguard.runtime.host_form import host_form as derive_host_form
from edgeguard.runtime.input_quantizer import InputQuantizer, read_input_quantizer
from edgeguard.runtime.metadata import ModelMetadata
from edgeguard.runtime.saturation import may_saturate
from edgeguard.runtime.unsigned_weights import unsigned_weights

BATCHES = (64, 32, 16, 8, 1)
"""Batch sizes that a session sees: constant shapes let it reuse its memory."""

MICROVOLTS = {"uV": 1.0, "mV": 1e3, "V": 1e6}
"""Units that a file's input may have."""
_ACTIVATION_BYTES = 64 * 2**20
"""Bound on the largest activation of one batch."""


class OnnxModel:
    """A classifier file, loaded; made by `open_model`.

    Attributes:
        path: of the file.
        sha256: hex digest of the file's bytes.
        metadata: what the file says, completed by the caller's options.
        input_step_uv: step of the input quantiser in microvolts; None for a float input.
        fixed_batch: rows that the graph takes at a time; None where any number goes.
        batches: batch sizes in use, largest first.
    """

    def __init__(
        self,
        path: Path,
        session: onnxruntime.InferenceSession,
        signature: loading.Signature,
        metadata: ModelMetadata,
        *,
        quantizer: InputQuantizer | None,
        fixed_batch: int | None,
        batches: tuple[int, ...],
    ) -> None:
        self.path = path
        self.sha256 = sha256_file(path)
        self.metadata = metadata
        self.fixed_batch = fixed_batch
        self.batches = batches
        assert metadata.classes is not None and metadata.window is not None
        assert metadata.sampling_rate is not None and metadata.unit is not None
        self.classes = metadata.classes
        self.window = metadata.window
        self.sampling_rate = metadata.sampling_rate
        self._per_microvolt = 1 / MICROVOLTS[metadata.unit]
        step = None if quantizer is None else quantizer.step * MICROVOLTS[metadata.unit]
        self.input_step_uv = metadata.input_step_uv if step is None else step
        # Codes are computed in float32: an input of another type is rounded on the way there.
        exact = quantizer is not None and quantizer.sole and signature.dtype is np.float32
        self._quantizer = quantizer if exact else None
        self._session = session
        self._signature = signature

    def logits(self, ecg: np.ndarray) -> np.ndarray:
        """float32 [B, C] logits of float32 [B, 1, T] microvolts, B >= 0.

        Raises InputError when ecg has another shape.
        """
        if ecg.ndim != 3 or ecg.shape[1:] != (1, self.window):
            raise InputError(f"{self.path}: takes ecg [B, 1, {self.window}], got {list(ecg.shape)}")
        logits = np.empty((len(ecg), len(self.classes)), np.float32)
        for start, size in _chunks(len(ecg), self.batches):
            rows = ecg[start : start + size]
            padding = size - len(rows)
            if padding:
                rows = np.concatenate([rows, np.zeros((padding, 1, self.window), rows.dtype)])
            logits[start : start + size] = self._run(rows)[: size - padding]
        return logits

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
        samples = samples.reshape(self._signature.shape(len(ecg), self.window))
        dtype = self._signature.dtype
        if np.issubdtype(dtype, np.integer):
            bounds = np.iinfo(np.dtype(dtype))
            samples = np.clip(np.rint(samples.astype(np.float64)), bounds.min, bounds.max)
        return {self._signature.input: np.ascontiguousarray(samples, dtype)}

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
        result: np.ndarray = self._session.run([self._signature.output], self.feed(ecg))[0]
        return result


def open_model(
    path: Path | str,
    *,
    threads: int = 1,
    sampling_rate: float | None = None,
    window: int | None = None,
    unit: str | None = None,
    classes: Sequence[str] | None = None,
    host_form: bool = True,
) -> OnnxModel:
    """Load a single-lead ONNX classifier for one CPU session.

    Args:
        path: the .onnx file.
        threads: of the session.
        sampling_rate: hertz, where the file's metadata lack it.
        window: samples of the input, where metadata and input shape leave it open.
        unit: uV, mV or V: what the input samples are, where the metadata lack it.
        classes: names in the order of the logits, where the metadata lack them.
        host_form: run an S8S8 file as its U8S8 form (equal codes, much faster on x86).

    Raises InputError for a file that is no such classifier, or that lacks a fact which no option gives.
    """
    path = Path(path)
    model = loading.load_onnx(path)
    signature = loading.read_signature(model, path)
    metadata = _complete(path, model, signature, sampling_rate, window, unit, classes)
    quantizer = read_input_quantizer(model, signature.input)
    if host_form:
        model = derive_host_form(model)
    session, fixed_batch = _open_session(path, model, signature, metadata, threads)
    opened = OnnxModel(
        path,
        session,
        signature,
        metadata,
        quantizer=quantizer,
        fixed_batch=fixed_batch,
        batches=(fixed_batch,) if fixed_batch else _affordable_batches(model, signature, metadata.window or 1),
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


def _complete(
    path: Path,
    model: onnx.ModelProto,
    signature: loading.Signature,
    sampling_rate: float | None,
    window: int | None,
    unit: str | None,
    classes: Sequence[str] | None,
) -> ModelMetadata:
    """The file's metadata with the caller's options over them, and nothing that is needed missing."""
    props = {entry.key: entry.value for entry in model.metadata_props}
    try:
        metadata = ModelMetadata.from_props(
            props,
            sampling_rate=sampling_rate,
            window=window,
            unit=unit,
            classes=None if classes is None else tuple(classes),
        )
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    if metadata.window is None and signature.window is not None:
        metadata = ModelMetadata.from_props(metadata.to_props(), window=signature.window)
    for value, field, option in (
        (metadata.window, "length of its window (the time axis is dynamic)", "--window SAMPLES"),
        (metadata.sampling_rate, "sampling rate", "--sampling-rate HZ"),
        (metadata.unit, "unit of its input", "--unit uV|mV|V"),
        (metadata.classes, "class names", "--classes N,A,O,~ (in the order of the logits)"),
    ):
        if value is None:
            raise InputError(f"{path}: does not say the {field}; add {option}")
    if metadata.unit not in MICROVOLTS:
        raise InputError(f"{path}: unit {metadata.unit!r} is none of {', '.join(MICROVOLTS)}; give it with --unit")
    if signature.window not in (None, metadata.window):
        raise InputError(f"{path}: takes {signature.window} samples, not {metadata.window}; leave --window out")
    if not metadata.window or metadata.window < 1 or not metadata.sampling_rate or metadata.sampling_rate <= 0:
        raise InputError(f"{path}: window and sampling rate must be above 0; mend --window or --sampling-rate")
    return metadata


def _open_session(
    path: Path, model: onnx.ModelProto, signature: loading.Signature, metadata: ModelMetadata, threads: int
) -> tuple[onnxruntime.InferenceSession, int | None]:
    """A session and its fixed batch size; None where any batch size goes."""
    load = partial(load_session, path, threads=threads)
    session = load(model)
    if signature.batch != 1:
        return session, signature.batch
    try:
        free = load(loading.make_batch_symbolic(model))
        if _same_rows(session, free, signature, metadata.window or 1):
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
    if len(shape) != 2 or shape[1] != len(model.classes):
        raise InputError(
            f"{model.path}: gives logits {list(shape)} for {len(model.classes)} named classes; mend --classes"
        )
