"""The processor as far as it decides which kernels ONNX Runtime takes, and so the last bit of a logit."""

import platform
from pathlib import Path
from typing import Any

_CPUINFO = Path("/proc/cpuinfo")
_DECIDING = (
    *("avx", "avx2", "fma", "avx512f", "avx512bw", "avx512vl", "avx512_vnni", "avx_vnni", "avx_vnni_int8", "amx_int8"),
    *("neon", "asimd", "asimddp", "i8mm", "sve", "sve2"),
)
"""Instruction sets that ONNX Runtime's kernels ask for, as Linux names them."""


def processor_facts() -> dict[str, Any]:
    """{name, architecture, flags}; flags, sorted, are empty where the system does not say."""
    described: dict[str, str] = {}
    try:
        for line in _CPUINFO.read_text().splitlines():
            key, _, value = line.partition(":")
            described.setdefault(key.strip().lower(), value.strip())
    except OSError:
        pass
    present = set(described.get("flags", described.get("features", "")).split())
    return {
        "name": described.get("model name") or platform.processor() or "unknown",
        "architecture": platform.machine(),
        "flags": sorted(present & set(_DECIDING)),
    }
