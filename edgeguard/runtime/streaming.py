"""A streaming file as one object: a hop of microvolts in, the logits of the newest window out."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NoReturn

import numpy as np
import onnxruntime
from onnx import ModelProto, ValueInfoProto, helper

from edgeguard.errors import InputError
from edgeguard.runtime.loading import ModelFile, read_model_file
from edgeguard.runtime.model_spec import MICROVOLTS, ModelSpec, check_threshold, read_head
from edgeguard.runtime.session import load_session
from edgeguard.runtime.stream_form import PAST, PRESENT, State, stream_form

_CPU = "cpu"
_HOPS, _MODEL = "hops", "model"


class StreamModel:
    """A stateful classifier, loaded; made by `open_stream`.

    The first hop begins with sample 0 of a stream. From hop ceil(window / hop) on, the logits are those that the window
    model gives for the `window` samples that end with the newest one.

    Attributes:
        file: that was opened.
        spec: what a decision is about: classes, sampling rate, window, unit, head.
        metadata: what the file says.
        hop: samples of one step.
        lag: newest samples that no feature sees yet.
        hops: steps taken since the start.
    """

    def __init__(
        self,
        file: ModelFile,
        spec: ModelSpec,
        hop: int,
        model: ModelProto,
        session: onnxruntime.InferenceSession,
        *,
        states: list[State],
    ) -> None:
        self.file = file
        self.spec = spec
        self.metadata = metadata = file.stated
        self.hop = hop
        self.lag = metadata.lag or 0
        self.hops = 0
        self._per_microvolt = np.float32(1 / MICROVOLTS[spec.unit])
        self._session = session
        self._states = states
        self._ecg = _zeros(next(value for value in model.graph.input if not value.name.startswith(PAST)))
        self._logits = _zeros(next(value for value in model.graph.output if not value.name.startswith(PRESENT)))
        # Two of each: while one is read, as the past, the other is written.
        self._wholes = [[np.zeros(state.whole, state.dtype) for state in states] for _ in range(2)]
        self._bindings = [self._bind(model, writes) for writes in range(2)]
        self.reset()

    @property
    def path(self) -> Path:
        """Of the file."""
        return self.file.path

    @property
    def sha256(self) -> str:
        """Hex digest of the file's bytes."""
        return self.file.sha256

    @property
    def classes(self) -> tuple[str, ...]:
        """Names in the order of the logits."""
        return self.spec.classes

    @property
    def window(self) -> int:
        """Samples that one decision is about."""
        return self.spec.window

    @property
    def sampling_rate(self) -> float:
        """Hertz."""
        return self.spec.sampling_rate

    def reset(self) -> None:
        """Begin a new stream."""
        self.hops = 0
        initial = self.metadata.initial_state or {}
        for state, past in zip(self._states, self._pasts(), strict=True):
            past[...] = initial.get(PAST + state.name, 0) + (128 if state.shifted else 0)

    def step(self, samples: np.ndarray) -> np.ndarray | None:
        """Take one hop; float32 [C] logits of the window that ends with it, None while the first is not full.

        Args:
            samples: float32 [hop], microvolts.

        Raises InputError when samples has another shape.
        """
        if samples.shape != (self.hop,):
            raise InputError(f"{self.path}: takes hops of {self.hop} samples, got {list(samples.shape)}")
        self._fill(samples)
        self._session.run_with_iobinding(self._bindings[self.hops % 2])
        self.hops += 1
        if self.hops * self.hop < self.window:
            return None
        return self.spec.logits(self._logits.reshape(1, -1).astype(np.float32))[0]

    def state(self) -> dict[str, np.ndarray]:
        """All that a stream knows, to go on from later: the file's states, in the file's own codes, and where it is."""
        saved = {
            PAST + state.name: _exchanged(past) if state.shifted else past.copy()
            for state, past in zip(self._states, self._pasts(), strict=True)
        }
        saved[_HOPS] = np.array(self.hops, np.int64)
        saved[_MODEL] = np.frombuffer(bytes.fromhex(self.sha256), np.uint8)
        return saved

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Go on from a saved state.

        Raises InputError for the state of another file.
        """
        expected = self.state()
        if set(state) != set(expected) or not np.array_equal(state[_MODEL], expected[_MODEL]):
            self._refuse_state()
        if any(state[key].shape != value.shape or state[key].dtype != value.dtype for key, value in expected.items()):
            self._refuse_state()
        self.hops = int(state[_HOPS])
        for place, past in zip(self._states, self._pasts(), strict=True):
            saved = state[PAST + place.name]
            past[...] = _exchanged(saved) if place.shifted else saved

    def _refuse_state(self) -> NoReturn:
        raise InputError(f"{self.path}: the saved state is another model's; restore one of this file, or start anew")

    def _pasts(self) -> list[np.ndarray]:
        """What the next step reads, as views of what the last one wrote."""
        wholes = self._wholes[1 - self.hops % 2]
        return [
            whole.reshape(-1)[state.offset : state.offset + int(np.prod(state.shape))].reshape(state.shape)
            for state, whole in zip(self._states, wholes, strict=True)
        ]

    def _bind(self, model: ModelProto, writes: int) -> onnxruntime.IOBinding:
        """Inputs and outputs of a step that writes the states of one parity and reads those of the other."""
        binding = self._session.io_binding()
        ecg = next(value.name for value in model.graph.input if not value.name.startswith(PAST))
        logits = next(value.name for value in model.graph.output if not value.name.startswith(PRESENT))
        _bind_to(binding.bind_input, ecg, self._ecg)
        _bind_to(binding.bind_output, logits, self._logits)
        for state, read, written in zip(self._states, self._wholes[1 - writes], self._wholes[writes], strict=True):
            past = read.reshape(-1)[state.offset : state.offset + int(np.prod(state.shape))].reshape(state.shape)
            _bind_to(binding.bind_input, PAST + state.name, past)
            _bind_to(binding.bind_output, PRESENT + state.name, written)
        return binding

    def _fill(self, samples: np.ndarray) -> None:
        """The file's input: its unit, its layout and its type; integers rounded and clipped."""
        scaled = samples if self._per_microvolt == 1 else samples * self._per_microvolt
        if np.issubdtype(self._ecg.dtype, np.integer):
            bounds = np.iinfo(self._ecg.dtype)
            scaled = np.clip(np.rint(scaled.astype(np.float64)), bounds.min, bounds.max)
        self._ecg.reshape(-1)[:] = scaled


def open_stream(source: ModelFile | Path | str, *, threads: int = 1) -> StreamModel:
    """Load a streaming file for one CPU session.

    Args:
        source: the file, or one that was read already.

    Raises InputError for a file that is no stream, or that lacks a fact.
    """
    file = source if isinstance(source, ModelFile) else read_model_file(Path(source))
    path, stated = file.path, file.stated
    if stated.hop is None:
        raise InputError(f"{path}: is no streaming file; make one with edgeguard export {path} --streaming")
    facts = {name: getattr(stated, name) for name in ("classes", "sampling_rate", "window", "unit")}
    for name, value in facts.items():
        if value is None:
            raise InputError(f"{path}: its metadata lack edgeguard.{name}; compile it anew with edgeguard export")
    output = next(value for value in file.proto.graph.output if not value.name.startswith(PRESENT))
    shape = [dim.dim_value for dim in output.type.tensor_type.shape.dim]
    head = read_head(file.proto.graph, output.name, single=shape[-1:] == [1] or len(shape) == 1)
    try:
        check_threshold(stated.threshold, head=head)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    form, states = stream_form(file.proto)
    session = load_session(path, form, threads)
    spec = ModelSpec(**facts, head=head, threshold=stated.threshold)
    return StreamModel(file, spec, stated.hop, form, session, states=states)


def _zeros(value: ValueInfoProto) -> np.ndarray:
    shape = [dim.dim_value for dim in value.type.tensor_type.shape.dim]
    return np.zeros(shape, helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type))


def _bind_to(bind: Callable[..., None], name: str, array: np.ndarray) -> None:
    """Bind a contiguous array by its address: nothing is copied, and it has to live as long as the binding."""
    bind(name, _CPU, 0, array.dtype.type, array.shape, array.ctypes.data)


def _exchanged(codes: np.ndarray) -> np.ndarray:
    """int8 codes as uint8 ones 128 higher, and the other way round."""
    other = np.uint8 if codes.dtype == np.int8 else np.int8
    return (codes.view(np.uint8) ^ np.uint8(128)).view(other).copy()
