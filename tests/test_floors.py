"""The floors of the house: imports only downwards, and torch stays out of everything that runs without it."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
BESIDE = ("export", "firmware_sim", "models")
"""Packages that lie beside `edgeguard/` and are imported as part of it."""

FLOORS = (
    ("__main__",),
    ("cli",),
    ("api", "plugins"),
    ("report",),
    ("evaluation",),
    ("defenses", "export", "firmware_sim"),
    ("attacks",),
    ("models", "ecg"),
    ("runtime", "schemas"),
    ("edgeguard",),
    ("errors", "intended_use", "telemetry"),
)
"""Top to bottom; packages on one floor do not know each other. `edgeguard` is the root package itself, which alone may
look up: to the API, whose functions it hands on when they are asked for."""

HEIGHT = {name: -level for level, names in enumerate(FLOORS) for name in names}
WITHOUT_TORCH = (
    "firmware_sim",
    "runtime",
    "ecg",
    "attacks.campaign",
    "attacks.catalogue",
    "attacks.witnesses",
    "evaluation.bootstrap",
    "evaluation.multiple",
    "evaluation.sample_size",
    "evaluation.audit.result",
    "evaluation.audit.verdict",
    "evaluation.certificate",
    "evaluation.divergences",
    "evaluation.episodes",
    "evaluation.reproduction.cluster",
    "evaluation.stream_score",
    "export.streaming",
    "report.bill_table",
    "report.live_watch",
    "report.page",
    "evaluation.query_comparison",
    "evaluation.transfer",
    "evaluation.reproduction.tables",
    "evaluation.reproduction.black_box_table",
    "report.reproduction_tables",
    "report.reproduction_figures",
    "report.black_box",
    "report.run_attack",
    "evaluation.run_simulation",
    "evaluation.run_verification",
    "evaluation.plan",
    "cli",
)

Modules = dict[str, Path]


def find_modules(root: Path) -> Modules:
    """Dotted name -> file of every module under `root`, as the package mapping has them."""
    trees = [(root / "edgeguard", "edgeguard")] + [(root / name, f"edgeguard.{name}") for name in BESIDE]
    modules = {}
    for folder, package in trees:
        for file in folder.rglob("*.py"):
            parts = file.relative_to(folder).with_suffix("").parts
            dotted = ".".join((package, *(part for part in parts if part != "__init__")))
            modules[dotted] = file
    return modules


def statements(node: ast.AST, *, on_import: bool) -> Iterator[ast.Import | ast.ImportFrom]:
    """Import statements below `node`; with `on_import` only those that importing the module runs."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import | ast.ImportFrom):
            yield child
        elif on_import and isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        elif on_import and isinstance(child, ast.If) and "TYPE_CHECKING" in ast.dump(child.test):
            yield from (found for part in child.orelse for found in statements(part, on_import=True))
        else:
            yield from statements(child, on_import=on_import)


def imported(name: str, file: Path, *, on_import: bool) -> set[str]:
    """Dotted names that a module imports; `from a import b` gives both a and a.b."""
    names = set()
    package = name.split(".") if file.name == "__init__.py" else name.split(".")[:-1]
    for statement in statements(ast.parse(file.read_text(encoding="utf-8")), on_import=on_import):
        if isinstance(statement, ast.Import):
            names |= {alias.name for alias in statement.names}
            continue
        base = package[: len(package) - statement.level + 1] if statement.level else []
        origin = ".".join([*base, *filter(None, [statement.module])])
        names |= {origin} | {f"{origin}.{alias.name}" for alias in statement.names}
    return names


def floor(name: str) -> str | None:
    """The package, or root module, that a dotted name belongs to; None outside of edgeguard."""
    top, _, rest = name.partition(".")
    if top != "edgeguard":
        return None
    first = rest.partition(".")[0]
    return first if first in HEIGHT else "edgeguard"


def upward_imports(modules: Modules) -> list[str]:
    """Every import, in functions too, that does not go to a lower floor."""
    found = []
    for name, file in modules.items():
        here = floor(name)
        for other in imported(name, file, on_import=False):
            there = floor(other)
            if there in (None, here, "edgeguard", "errors") or (name, there) == ("edgeguard", "api"):
                continue
            assert here is not None and there is not None
            if HEIGHT[there] >= HEIGHT[here]:
                found.append(f"{name} imports {other}")
    return sorted(found)


def reaches(name: str, target: str, modules: Modules) -> list[str] | None:
    """The chain of imports by which importing `name` imports the package `target`; None when it does not."""
    chains, seen = [[name]], {name}
    while chains:
        chain = chains.pop(0)
        parents = {chain[-1].rpartition(".")[0]} if "." in chain[-1] else set()
        for other in imported(chain[-1], modules[chain[-1]], on_import=True) | parents:
            if other.partition(".")[0] == target:
                return [*chain, other]
            if other in modules and other not in seen:
                seen.add(other)
                chains.append([*chain, other])
    return None


def reaching_torch(modules: Modules) -> list[str]:
    """Chains from the packages that must do without torch, to torch."""
    prefixes = tuple(f"edgeguard.{name}" for name in WITHOUT_TORCH)
    guarded = [name for name in modules if f"{name}.".startswith(tuple(f"{prefix}." for prefix in prefixes))]
    chains = (reaches(name, "torch", modules) for name in sorted(guarded))
    return [" > ".join(chain) for chain in chains if chain]


def test_every_package_has_its_floor() -> None:
    modules = find_modules(ROOT)
    packages = {name.split(".")[1] for name in modules if name.count(".") >= 1}
    assert packages == set(HEIGHT) - {"edgeguard"}


def test_everything_that_must_do_without_torch_exists() -> None:
    modules = find_modules(ROOT)
    assert [name for name in WITHOUT_TORCH if f"edgeguard.{name}" not in modules] == []


def test_imports_go_downwards() -> None:
    assert upward_imports(find_modules(ROOT)) == []


def test_what_runs_without_torch_never_imports_it() -> None:
    assert reaching_torch(find_modules(ROOT)) == []


def plant(root: Path, **files: str) -> Modules:
    for name, text in files.items():
        file = root / name.replace("__", "/").replace("/init", "/__init__")
        file = file.with_suffix(".py")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return find_modules(root)


@pytest.mark.parametrize(
    ("place", "text", "found"),
    [
        (
            "edgeguard__runtime__x",
            "import edgeguard.ecg.record",
            ["edgeguard.runtime.x imports edgeguard.ecg.record"],
        ),
        ("models__x", "def f():\n    from edgeguard.ecg import a", ["edgeguard.ecg", "edgeguard.ecg.a"]),
        (
            "firmware_sim__x",
            "import edgeguard.export.y",
            ["edgeguard.firmware_sim.x imports edgeguard.export.y"],
        ),
        (
            "edgeguard__defenses__x",
            "from ..evaluation import m",
            ["edgeguard.evaluation", "edgeguard.evaluation.m"],
        ),
        ("edgeguard__ecg__x", "from edgeguard import cli", ["edgeguard.ecg.x imports edgeguard.cli"]),
        ("edgeguard__x", "import edgeguard.runtime.files", ["edgeguard.x imports edgeguard.runtime.files"]),
        ("edgeguard__cli__x", "import torch, edgeguard.models.y\nfrom edgeguard.cli import z", []),
        ("export__x", "from edgeguard import InputError\nfrom edgeguard.errors import InputError", []),
    ],
)
def test_a_planted_upward_import_is_found(tmp_path: Path, place: str, text: str, found: list[str]) -> None:
    violations = upward_imports(plant(tmp_path, **{place: text}))
    assert len(violations) == len(found)
    assert all(violation.endswith(expected) for violation, expected in zip(violations, found, strict=True))


@pytest.mark.parametrize(
    ("torch_at", "is_found"),
    [
        ("import torch", True),
        ("from torch import nn", True),
        ("try:\n    import torch.nn\nexcept ImportError:\n    pass", True),
        ("class A:\n    import torch", True),
        ("def f():\n    import torch", False),
        ("from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import torch", False),
        ("import torchmetrics", False),
    ],
)
def test_a_planted_way_to_torch_is_found(tmp_path: Path, torch_at: str, is_found: bool) -> None:
    """firmware_sim.x > runtime (its package file) > runtime.deep > torch."""
    modules = plant(
        tmp_path,
        edgeguard__runtime__init="from . import deep",
        edgeguard__runtime__deep=torch_at,
        firmware_sim__x="import edgeguard.runtime.files",
        edgeguard__runtime__files="",
    )
    chains = [chain for chain in reaching_torch(modules) if chain.startswith("edgeguard.firmware_sim.x")]
    assert bool(chains) == is_found


@pytest.mark.parametrize(
    "program",
    [
        "import edgeguard",
        "import contextlib; from edgeguard.cli import main\nwith contextlib.suppress(SystemExit): main(['--help'])",
    ],
)
def test_the_front_door_is_light(program: str) -> None:
    heavy = "print([m for m in ('torch', 'onnx', 'scipy', 'onnxruntime', 'matplotlib') if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; {program}\n{heavy}"], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "[]"
