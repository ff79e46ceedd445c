"""What every command shares: errors nobody foresaw, an environment without torch, quiet, and help that is whole."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from edgeguard.cli import COMMANDS, main

Call = Callable[..., Result]

WITHOUT_TORCH = """
import sys
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("torch", "onnxscript", "safetensors", "jinja2"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Blocked())
from edgeguard.cli import main
main(args=sys.argv[1:])
"""
CERTIFIED = Path(__file__).parents[1] / "evaluation" / "certificate-1"


def without_torch(folder: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", WITHOUT_TORCH, *map(str, arguments)]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def test_whoever_receives_a_file_needs_no_torch(tmp_path: Path) -> None:
    attack = ("attack-onnx", "zoo:none-edge-s-int8", "--data", "synthetic:40", "--samples", 2, "--queries", 20)
    for arguments in (
        ("verify", "zoo:none-edge-s-int8", "--rows", 8),
        ("describe", "zoo:none-edge-s-int8"),
        (*attack, "--out", "attacked"),
        ("verify", "attacked/witnesses.npz", "zoo:none-edge-s-int8"),
        ("verify", CERTIFIED / "certificate.json", CERTIFIED / "m.onnx"),
        ("simulate", "zoo:none-edge-s-int8-streaming", "--data", "synthetic:8", "--records", 1, "--out", "played"),
    ):
        ran = without_torch(tmp_path, *arguments)
        assert ran.returncode == 0, ran.stderr
        if arguments[:2] == ("verify", "zoo:none-edge-s-int8"):
            assert "not checked here, for lack of a package: torch_fp32, twin" in ran.stdout
    ran = without_torch(tmp_path, "evaluate", "zoo:none-edge-s-int8", "--data", "synthetic:8")
    assert ran.returncode == 2 and ran.stderr.splitlines()[-1].startswith("edgeguard: needs the package torch")


@pytest.mark.parametrize("error", [TypeError("no\nsuch thing"), MemoryError(), RecursionError("deep"), KeyError("x")])
@pytest.mark.parametrize("debug", [False, True])
def test_what_nobody_foresaw_is_one_line_and_exit_code_70(
    edgeguard: Call, monkeypatch: pytest.MonkeyPatch, error: Exception, debug: bool
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("edgeguard.evaluation.run_description.describe_model", fail)
    result = edgeguard(*(["--debug"] if debug else []), "describe", "x.onnx")
    assert result.exit_code == 70
    lines = result.stderr.splitlines()
    assert lines[-1].startswith(f"edgeguard: unforeseen {type(error).__name__}")
    assert len(lines) == 1 or debug
    assert ("Traceback" in result.stderr) == debug


@pytest.mark.parametrize(("typed", "meant"), [("audti", "audit"), ("atack-onnx", "attack-onnx"), ("tain", "train")])
def test_a_slip_is_answered_with_what_was_meant(edgeguard: Call, typed: str, meant: str) -> None:
    result = edgeguard(typed)
    assert result.exit_code == 2 and result.stderr == f"edgeguard: no command {typed}; did you mean {meant}?\n"


def test_quiet_leaves_the_result_alone(edgeguard: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEGUARD_QUIET", "")
    arguments = ("verify", "zoo:none-edge-s-int8", "--rows", 4, "--json")
    loud, quiet = edgeguard(*arguments), edgeguard(*arguments, "--quiet")
    assert quiet.stderr == "" and loud.stderr and quiet.stdout == loud.stdout


def test_help_names_every_command_with_its_whole_summary() -> None:
    shown = " ".join(CliRunner().invoke(main, ["--help"]).stdout.split())
    for name in COMMANDS:
        summary = " ".join((main.get_command(None, name).help or "").split("\n\n")[0].split())
        assert f"{name} {summary}" in shown
