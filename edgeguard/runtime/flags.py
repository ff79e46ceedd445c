"""How EdgeGuard runs ONNX Runtime: the flags of a watch-like session, in one place."""

import platform
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import onnxruntime
from onnxruntime.capi import onnxruntime_pybind11_state

_QUIET = 4
"""ONNX Runtime's severity `fatal`: what it cannot load or run is an exception too, reported by whoever catches it."""

_CPUINFO = Path("/proc/cpuinfo")

RUNTIME_ERRORS = (
    onnxruntime_pybind11_state.Fail,
    onnxruntime_pybind11_state.InvalidArgument,
    onnxruntime_pybind11_state.InvalidGraph,
    onnxruntime_pybind11_state.NotImplemented,
    onnxruntime_pybind11_state.RuntimeException,
)
"""What ONNX Runtime raises for a graph that it cannot load or run."""


def session_options(*, threads: int = 1) -> onnxruntime.SessionOptions:
    """Sequential execution on `threads` threads, int8 activations allowed in fused kernels, exact-size arena.

    `session.qdqisint8allowed=1` is what ONNX Runtime does on ARM: without it, x86 silently leaves parts of an
    S8S8 model in float.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = threads
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.log_severity_level = _QUIET
    options.add_session_config_entry("session.qdqisint8allowed", "1")
    if _shared_arena():
        options.add_session_config_entry("session.use_env_allocators", "1")
    return options


def create_session(
    model: bytes, options: onnxruntime.SessionOptions, *, without: Sequence[str] = ()
) -> onnxruntime.InferenceSession:
    """A CPU session of a serialised model.

    Args:
        without: names of ONNX Runtime's optimisers to leave out.
    """
    return onnxruntime.InferenceSession(
        model, options, providers=["CPUExecutionProvider"], disabled_optimizers=list(without)
    )


def lacks_vnni() -> bool:
    """Whether this is an x86 processor without VNNI, whose 8-bit dot products saturate at 16 bits.

    One that does not say (no /proc/cpuinfo) counts as such: being careful costs speed, not bits.
    """
    if platform.machine().lower() not in ("x86_64", "amd64"):
        return False
    try:
        return "_vnni" not in _CPUINFO.read_text()
    except OSError:
        return True


@cache
def _shared_arena() -> bool:
    """Register, once a process, a CPU arena that grows by what is asked for instead of by powers of two."""
    try:
        same_as_requested = onnxruntime.OrtArenaCfg({"arena_extend_strategy": 1})
        where = onnxruntime.OrtMemoryInfo(
            "Cpu", onnxruntime.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, onnxruntime.OrtMemType.DEFAULT
        )
        onnxruntime.create_and_register_allocator(where, same_as_requested)
    except RUNTIME_ERRORS:
        return False
    return True
