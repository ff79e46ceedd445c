"""Claim: a stream is its window model, bit for bit, at a 20th of the arithmetic, a 4th of the time and a 4th of the
memory.

The streaming int8 file of `edge-m` (hop 1 s, window 30 s) and its window file, on consecutive hops of the records that
EDGEGUARD_CINC2017 names, joined end to end, else on synthetic ones. Time is that of ONNX Runtime alone, one thread,
inputs and outputs bound, the two sessions taking turns of 50 calls; beside it that of the calls `logits` and `step`.

    python benchmarks/streaming.py [WINDOW.onnx [HOPS]]
"""

import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING

import numpy as np

from edgeguard.ecg.sources import iter_records
from edgeguard.export.streaming.compiler import compile_stream
from edgeguard.export.streaming.proof import run_proof
from edgeguard.runtime.cost import file_cost
from edgeguard.runtime.host_form import host_form
from edgeguard.runtime.loading import load_onnx
from edgeguard.runtime.session import OnnxModel, load_session, open_model
from edgeguard.runtime.stream_form import stream_form
from edgeguard.runtime.streaming import StreamModel, open_stream

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

ZOO = Path(__file__).parents[1] / "models" / "zoo" / "adt-edge-m" / "adt-edge-m-int8.onnx"
HOPS, TURNS, CALLS, WARM_UP = 10_000, 40, 50, 5


def main(path: Path, hops: int) -> None:
    """Print equality, arithmetic, memory and time."""
    with tempfile.TemporaryDirectory() as folder:
        compiled = compile_stream(path, Path(folder) / "stream.onnx")
        window, stream = open_model(path), open_stream(compiled.path)
        source, signal = _signal(stream, hops)
        proof = run_proof(window, stream, signal)
        print(f"{path.name}, hop {stream.hop} of {stream.window} samples, {source}\n")
        print(f"equal in every bit       {proof.equal:>12,} of {proof.hops:,} consecutive hops")
        _print_counts(path, compiled.path)
        _print_times(window, stream, signal)
    if proof.equal != proof.hops:
        sys.exit("the stream is not its window model")


def _signal(stream: StreamModel, hops: int) -> tuple[str, np.ndarray]:
    """(where from, float32 [n]) with as many decisions."""
    named = os.environ.get("EDGEGUARD_CINC2017")
    needed = -(-stream.window // stream.hop) * stream.hop + (hops - 1) * stream.hop
    parts: list[np.ndarray] = []
    for record in iter_records(named or "synthetic:20000"):
        parts.append(record.ecg)
        if sum(map(len, parts)) >= needed:
            break
    return f"{len(parts)} {'records' if named else 'synthetic records'}", np.concatenate(parts)[:needed]


def _print_counts(window: Path, stream: Path) -> None:
    before, after = (file_cost(load_onnx(path), path) for path in (window, stream))
    states = sum(state.bytes for state in after.states)
    rows = [
        ("multiply-accumulates", sum(x.macs for x in before.layers), sum(x.macs for x in after.layers)),
        ("activations, bytes", before.activation_bytes, after.activation_bytes),
        (
            "memory in all, bytes",
            before.input_bytes + before.activation_bytes,
            after.input_bytes + after.activation_bytes + states,
        ),
    ]
    print(f"\n{'a decision':<24}{'window':>12}{'stream':>12}{'ratio':>9}")
    for name, old, new in rows:
        print(f"{name:<24}{old:>12,}{new:>12,}{old / new:>9.1f}")


def _print_times(window: OnnxModel, stream: StreamModel, signal: np.ndarray) -> None:
    form, _ = stream_form(load_onnx(stream.path))
    latest, hop = signal[None, None, -window.window :], signal[-stream.hop :]
    sides: dict[str, tuple[Callable[[], object], Callable[[], object]]] = {
        "ONNX Runtime alone, us": (
            _bound(load_session(window.path, host_form(load_onnx(window.path)))),
            _bound(load_session(stream.path, form)),
        ),
        "logits and step, us": (lambda: window.logits(latest), lambda: stream.step(hop)),
    }
    for name, pair in sides.items():
        seconds = np.array([[_time(call) for call in pair] for _ in range(WARM_UP + TURNS)])[WARM_UP:]
        old, new = 1e6 * np.median(seconds, axis=0)
        print(f"{name:<24}{old:>12.1f}{new:>12.1f}{old / new:>9.2f}")


def _bound(session: "InferenceSession") -> Callable[[], object]:
    """A run with every input and output in an array of its own."""
    kinds = {"tensor(float)": np.float32, "tensor(uint8)": np.uint8, "tensor(int8)": np.int8, "tensor(int32)": np.int32}
    binding, arrays = session.io_binding(), []
    for bind, values in ((binding.bind_input, session.get_inputs()), (binding.bind_output, session.get_outputs())):
        for value in values:
            shape = [size if isinstance(size, int) else 1 for size in value.shape]
            arrays.append(np.zeros(shape, kinds[value.type]))
            bind(value.name, "cpu", 0, kinds[value.type], shape, arrays[-1].ctypes.data)

    def run() -> list[np.ndarray]:
        session.run_with_iobinding(binding)
        return arrays

    return run


def _time(call: Callable[[], object]) -> float:
    """Seconds of one call, the median of a turn."""
    seconds = []
    for _ in range(CALLS):
        begin = perf_counter()
        call()
        seconds.append(perf_counter() - begin)
    return float(np.median(seconds))


if __name__ == "__main__":
    if len(sys.argv) > 3:
        sys.exit(__doc__)
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else ZOO, int(sys.argv[2]) if len(sys.argv) > 2 else HOPS)
