"""What `auto` means on a machine, and that a number format ends with its block."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch

from edgeguard.defenses.precision import computing_in, has_fast_bfloat16

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("features", "fast"),
    [
        ({"avx512_bf16": True}, True),
        ({"amx_bf16": True, "avx512_bf16": False}, True),
        ({"avx512_bf16": False, "amx_bf16": False, "avx2": True}, False),
        ({"architecture": "aarch64"}, False),
        ({}, False),
    ],
)
def test_a_processor_is_fast_where_it_has_the_instructions(
    monkeypatch: pytest.MonkeyPatch, features: dict[str, Any], fast: bool
):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: features, raising=False)
    assert has_fast_bfloat16() is fast


def test_a_torch_that_cannot_tell_computes_in_float32(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    assert has_fast_bfloat16() is False


@pytest.mark.parametrize("native", [True, False])
def test_a_graphics_card_is_asked_before_the_processor(monkeypatch: pytest.MonkeyPatch, native: bool):
    def supported(including_emulation: bool = True) -> bool:
        return native or including_emulation

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", supported)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": not native}, raising=False)
    assert has_fast_bfloat16() is native


@pytest.fixture(params=[True, False], ids=["tf32", "no tf32"])
def tf32(request: pytest.FixtureRequest) -> Iterator[bool]:
    """Whether TF32 is allowed before; both flags are put back afterwards."""
    backends = torch.backends.cudnn, torch.backends.cuda.matmul
    before = [backend.allow_tf32 for backend in backends]
    for backend in backends:
        backend.allow_tf32 = request.param
    yield request.param
    for backend, value in zip(backends, before, strict=True):
        backend.allow_tf32 = value


def formats() -> tuple[bool, bool, bool]:
    return (
        torch.backends.cudnn.allow_tf32,
        torch.backends.cuda.matmul.allow_tf32,
        torch.is_autocast_enabled("cpu"),
    )


def product() -> torch.Tensor:
    """A dot product that bfloat16 rounds: 257 needs nine bits, bfloat16 has eight."""
    return torch.nn.functional.linear(torch.full((1, 2), 257.0), torch.ones(1, 2))


@pytest.mark.parametrize("precision", ["float32", "bf16"])
@pytest.mark.parametrize("fails", [False, True])
def test_formats_are_put_back_even_after_an_error(tf32: bool, precision: str, fails: bool):
    before = formats()
    try:
        with computing_in(precision, CPU):
            if fails:
                raise RuntimeError("in the middle of a batch")
    except RuntimeError:
        assert fails
    assert formats() == before == (tf32, tf32, False)


def test_float32_is_full_whatever_holds_around_it(tf32: bool):
    with torch.autocast("cpu", torch.bfloat16):
        assert product().item() != 514
        with computing_in("float32", CPU):
            assert formats() == (False, False, False)
            assert product().dtype == torch.float32 and product().item() == 514
        assert product().dtype == torch.bfloat16
    assert formats() == (tf32, tf32, False)


def test_bf16_rounds_the_products_and_leaves_parameters_gradients_and_state_in_float32():
    model = torch.nn.Linear(4, 3)
    optimizer = torch.optim.AdamW(model.parameters())
    with computing_in("bf16", CPU):
        assert product().dtype == torch.bfloat16 and product().item() != 514
        logits = model(torch.randn(2, 4))
    assert logits.dtype == torch.bfloat16
    logits.float().square().sum().backward()
    optimizer.step()
    for parameter in model.parameters():
        assert parameter.dtype == parameter.grad.dtype == torch.float32
        assert optimizer.state[parameter]["exp_avg"].dtype == torch.float32
