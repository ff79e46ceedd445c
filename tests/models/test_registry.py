import sys
from pathlib import Path

import pytest
import torch

from edgeguard.errors import InputError
from edgeguard.models.registry import (
    ARCHITECTURES,
    DEFAULT_ARCHITECTURE,
    REGISTRY,
    build,
    least_window,
    register_architecture,
)

OWN = """
import torch
from torch import nn

def good(classes):
    return nn.Sequential(nn.Flatten(), nn.LazyLinear(classes)) if classes > 9 else nn.Sequential(
        nn.Conv1d(1, classes, 5), nn.AdaptiveAvgPool1d(1), nn.Flatten())

def three(classes):
    return nn.Sequential(nn.Conv1d(1, 3, 5), nn.AdaptiveAvgPool1d(1), nn.Flatten())

def long(classes):
    return nn.Conv1d(1, classes, 5)

def wide(classes):
    return nn.Sequential(nn.Flatten(), nn.Linear(77, classes))

def text(classes):
    return "a network"

def nothing():
    return good(4)

class Odd(nn.Module):
    def forward(self, ecg):
        return {"logits": ecg}["probabilities"]

def odd(classes):
    return Odd()

number = 3
"""


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with a user's module."""
    (tmp_path / "registry_own.py").write_text(OWN)
    (tmp_path / "registry_broken.py").write_text("def good(classes:\n")
    (tmp_path / "registry_raising.py").write_text("raise RuntimeError('no licence')\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def test_the_default_is_one_of_them():
    assert DEFAULT_ARCHITECTURE == "edge-m" and set(ARCHITECTURES) == {"edge-m", "edge-s", "cnn13"}


def test_the_seed_decides_the_weights_and_nothing_else():
    torch.manual_seed(5)
    state = torch.get_rng_state()
    first, again, other = (build("edge-s", seed=seed).state_dict() for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["stem.weight"], other["stem.weight"])


@pytest.mark.parametrize(("arch", "least"), [("edge-m", 1860), ("edge-s", 1860), ("cnn13", 2)])
def test_the_least_window_is_the_shortest_that_a_network_takes(arch: str, least: int):
    assert least_window(arch) == least
    network = build(arch, classes=3, window=least, seed=0).eval()
    with torch.no_grad():
        assert network(torch.zeros(1, 1, least)).shape == (1, 3)
        with pytest.raises(RuntimeError):
            network(torch.zeros(1, 1, least - 1))
    with pytest.raises(InputError, match=rf"--window {least - 1}: too short for {arch}, .* {least} samples"):
        build(arch, window=least - 1)


def test_without_a_seed_the_global_generator_is_used():
    weights = []
    for _ in range(2):
        torch.manual_seed(7)
        weights.append(build("edge-s").state_dict()["stem.weight"])
    assert torch.equal(*weights)


def test_a_network_of_ones_own(own: Path):
    register_architecture("registry_own:good")
    assert "registry_own:good" in REGISTRY.typed() and set(ARCHITECTURES) == {"edge-m", "edge-s", "cnn13"}
    assert build("registry_own:good", classes=3, window=40)(torch.zeros(2, 1, 40)).shape == (2, 3)


def test_a_permitted_one_is_imported_when_it_is_built(own: Path):
    (own / "registry_later.py").write_text(OWN)
    REGISTRY.permit(["registry_later:good", "registry_nowhere:net"])
    REGISTRY.check("registry_nowhere:net")
    assert "registry_later" not in sys.modules
    assert build("registry_later:good", window=40)(torch.zeros(2, 1, 40)).shape == (2, 4)
    with pytest.raises(InputError, match=r"cannot be imported .*No module named 'registry_nowhere'"):
        build("registry_nowhere:net")


def test_a_built_in_name_needs_no_registering():
    register_architecture("edge-s")
    assert "edge-s" not in REGISTRY.typed()
    REGISTRY.check("edge-s")


@pytest.mark.parametrize(
    "arch", ["registry_stranger:net", "os:_exit", "ctypes:string_at", ":", "edge-m:", "\x1b[31m:x"]
)
def test_what_nobody_registered_is_not_imported(own: Path, arch: str):
    (own / "registry_stranger.py").write_text("from pathlib import Path\nPath('ran').touch()\n")
    for refuse in (REGISTRY.check, build):
        with pytest.raises(InputError, match="no file can make it run; if you trust it, name it with --arch") as caught:
            refuse(arch)
        assert str(caught.value).isprintable()
    assert not (own / "ran").exists() and "registry_stranger" not in sys.modules


@pytest.mark.parametrize("arch", ["", "edge-x", None, 3, ["edge-m"], {"edge-m": 1}])
def test_what_is_no_name_is_refused(arch: object):
    with pytest.raises(InputError, match=r"unknown; .*choose edge-m, edge-s, cnn13 or MODULE:NAME"):
        REGISTRY.check(arch)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("arch", "message"),
    [
        ("edge-x", "--arch edge-x: unknown; .*choose edge-m, edge-s, cnn13 or MODULE:NAME"),
        ("registry_none:good", "cannot be imported .*No module named 'registry_none'"),
        ("registry_own:nobody", "cannot be imported .*nobody"),
        ("registry_own:", "cannot be imported"),
        (":good", "cannot be imported"),
        ("registry_broken:good", "cannot be imported"),
        ("registry_raising:good", "cannot be imported .*no licence"),
        ("registry_own:number", "the factory, called with 4 classes, fails"),
        ("registry_own:nothing", "the factory, called with 4 classes, fails"),
        ("registry_own:three", r"returns \[2, 3\] for an input of \[2, 1, 60\], needed \[2, 4\]"),
        ("registry_own:long", r"returns \[2, 4, 56\]"),
        ("registry_own:wide", r"the network, run on an input of \[2, 1, 60\], fails"),
        ("registry_own:odd", r"run on an input of \[2, 1, 60\], fails .*probabilities"),
        ("registry_own:text", "returned str, a torch.nn.Module is needed"),
    ],
)
def test_what_is_no_network_is_refused_in_one_line(own: Path, arch: str, message: str):
    with pytest.raises(InputError, match=message) as caught:
        register_architecture(arch)
        build(arch, window=60)
    assert str(caught.value).startswith(f"--arch {arch}: ") and "\n" not in str(caught.value)
