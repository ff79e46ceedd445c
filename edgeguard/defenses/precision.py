"""In which number format training and crafting compute."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch


def has_fast_bfloat16() -> bool:
    """Whether this machine has instructions for bfloat16, so that it is faster than float32."""
    if torch.cuda.is_available():
        return torch.cuda.is_bf16_supported(including_emulation=False)
    # Older torch cannot tell; float32 is never wrong.
    features: dict[str, bool] = getattr(torch.cpu, "get_capabilities", dict)()
    return bool(features.get("avx512_bf16") or features.get("amx_bf16"))


@contextmanager
def computing_in(precision: str, device: torch.device) -> Iterator[None]:
    """bfloat16 autocast for `bf16`; for `float32` full float32, TF32 off.

    Autocast keeps parameters, their gradients and the optimiser's state in float32. A backward pass that must not use
    TF32 either needs `multiplying_in` around it.
    """
    with multiplying_in(precision), torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == "bf16"):
        yield


@contextmanager
def multiplying_in(precision: str) -> Iterator[None]:
    """On CUDA, whether float32 products are taken in TF32: for `bf16` they are, for `float32` not."""
    backends: tuple[Any, ...] = torch.backends.cudnn, torch.backends.cuda.matmul
    before = [backend.allow_tf32 for backend in backends]
    for backend in backends:
        backend.allow_tf32 = precision == "bf16"
    try:
        yield
    finally:
        for backend, value in zip(backends, before, strict=True):
            backend.allow_tf32 = value
