"""ONNX Runtime's telemetry is off, whatever is started first."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from edgeguard.runtime.zoo import zoo_folder
from edgeguard.telemetry import SWITCH

ROOT = Path(__file__).parents[1]
FILE = zoo_folder() / "none-edge-s" / "none-edge-s-int8.onnx"


def written(program: list[str], home: Path) -> tuple[list[str], str]:
    """Files that a fresh process leaves in an empty home folder, and what it wrote to stderr."""
    home.mkdir()
    kept = {name: value for name, value in os.environ.items() if name != SWITCH}
    folders = {
        name: str(home / name) for name in ("XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME")
    }
    environment = {**kept, **folders, "HOME": str(home), "EDGEGUARD_CACHE": str(home.parent / "cache")}
    done = subprocess.run(
        [sys.executable, *program], capture_output=True, text=True, env=environment, check=True, cwd=home.parent
    )
    return sorted(str(path.relative_to(home)) for path in home.rglob("*") if path.is_file()), done.stderr


@pytest.mark.parametrize(
    "program",
    [
        ["-m", "edgeguard", "verify", str(FILE)],
        [
            "-c",
            "from edgeguard.cli import main; main()",
            "attack-onnx",
            str(FILE),
            "--data",
            "synthetic:4",
            "--queries",
            "5",
        ],
        ["-c", f"import edgeguard; edgeguard.verify({str(FILE)!r})"],
        ["-c", f"import edgeguard, onnxruntime; onnxruntime.InferenceSession({str(FILE)!r})"],
    ],
    ids=["module", "command", "api", "library"],
)
def test_a_session_leaves_nothing_in_the_home_folder(program: list[str], tmp_path: Path) -> None:
    found, _ = written(program, tmp_path / "home")
    assert [name for name in found if "onnxruntime" in name.lower() or "microsoft" in name.lower()] == []


def test_a_setting_from_outside_does_not_turn_it_on(tmp_path: Path) -> None:
    program = f"import os; os.environ[{SWITCH!r}] = '0'; import edgeguard; print(os.environ[{SWITCH!r}])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "1\n"


@pytest.mark.parametrize(("setting", "warned"), [("", True), (f"import os; os.environ[{SWITCH!r}] = '1'", False)])
def test_an_earlier_import_is_told(setting: str, warned: bool, tmp_path: Path) -> None:
    _, stderr = written(
        ["-c", f"{setting}\nimport onnxruntime\nimport edgeguard\nimport edgeguard.runtime.session"], tmp_path / "home"
    )
    assert ("onnxruntime was imported before edgeguard" in stderr) == warned


def test_the_tests_and_benchmarks_import_edgeguard_first() -> None:
    """pytest loads the tests' conftest first; a benchmark is a program of its own."""
    assert os.environ[SWITCH] == "1"
    for script in sorted((ROOT / "benchmarks").glob("*.py")):
        lines = [
            line for line in script.read_text(encoding="utf-8").splitlines() if line.startswith(("import ", "from "))
        ]
        loads = [line for line in lines if line.split()[1].split(".")[0] in ("edgeguard", "onnxruntime")]
        assert not loads or "edgeguard" in loads[0], f"{script.name}: import edgeguard above onnxruntime"
