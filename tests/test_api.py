"""The Python API as a user sees it: names, laziness, and that it is the commands' own functions."""

import ast
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import edgeguard
from edgeguard import api

NAMES = sorted(api.HOMES)


def imported_for_checkers(module: str) -> dict[str, tuple[str, str]]:
    """Public name -> (module, attribute), of the imports under TYPE_CHECKING."""
    tree = ast.parse(Path(module).read_text(encoding="utf-8"))
    (block,) = (node for node in tree.body if isinstance(node, ast.If))
    return {
        alias.asname or alias.name: (statement.module or "", alias.name)
        for statement in block.body
        if isinstance(statement, ast.ImportFrom)
        for alias in statement.names
    }


def test_type_checkers_are_told_what_runs() -> None:
    assert imported_for_checkers(api.__file__) == api.HOMES
    assert imported_for_checkers(edgeguard.__file__) == {name: ("edgeguard.api", name) for name in NAMES}
    assert sorted(api.__all__) == NAMES
    assert sorted(edgeguard.__all__) == sorted([*NAMES, "InputError", "__version__"])


@pytest.mark.parametrize("name", NAMES)
def test_every_name_is_a_documented_function(name: str) -> None:
    function = getattr(edgeguard, name)
    assert inspect.isfunction(function) and getattr(api, name) is function
    assert name in dir(edgeguard) and name in dir(api)
    text = inspect.getdoc(function) or ""
    missing = [parameter for parameter in inspect.signature(function).parameters if parameter not in text]
    assert missing == [], "every parameter is documented"


def test_a_name_that_is_none_is_an_attribute_error() -> None:
    for module in (edgeguard, api):
        with pytest.raises(AttributeError, match="has no attribute 'diagnose'"):
            module.diagnose  # noqa: B018


def test_subpackages_keep_their_names() -> None:
    import edgeguard.export.twin
    import edgeguard.models

    assert inspect.ismodule(edgeguard.export) and inspect.ismodule(edgeguard.models)


@pytest.mark.parametrize("name", ["attack", "load_records", "plan", "simulate", "verify"])
def test_what_needs_a_file_alone_needs_no_torch(name: str) -> None:
    program = f"import sys, edgeguard; edgeguard.{name}; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
