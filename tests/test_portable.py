"""What only POSIX has is asked for in one module; without it the command line works."""

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ALONE = ROOT / "edgeguard" / "runtime" / "system.py"
MODULES = {"resource", "fcntl", "pwd", "grp", "termios", "tty", "pty", "syslog", "posix"}
NAMES = {
    "os": {
        *("sched_getaffinity", "sched_setaffinity", "fork", "forkpty", "getuid", "geteuid", "getgid", "getpgid"),
        *(
            "killpg",
            "setsid",
            "setpgid",
            "nice",
            "uname",
            "getloadavg",
            "mkfifo",
            "statvfs",
            "sysconf",
            "wait",
            "wait4",
        ),
        *("chown", "fchmod", "fchown", "WNOHANG", "getpriority", "setpriority"),
    },
    "signal": {
        *("SIGKILL", "SIGHUP", "SIGUSR1", "SIGUSR2", "SIGALRM", "SIGCHLD", "SIGPIPE", "SIGSTOP", "SIGCONT", "SIGTSTP"),
        *("alarm", "setitimer", "pause", "sigwait", "pthread_kill"),
    },
}

WINDOWS = """
import os, sys
sys.modules["resource"] = sys.modules["fcntl"] = None
for name in ("sched_getaffinity", "getuid", "geteuid", "getloadavg", "nice"):
    delattr(os, name)
"""


def posix_only(tree: ast.AST) -> Iterator[str]:
    """Names that Windows lacks."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from MODULES & {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from MODULES & {node.module}
            yield from NAMES.get(node.module, set()) & {alias.name for alias in node.names}
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            yield from NAMES.get(node.value.id, set()) & {node.attr}


def test_one_module_alone_asks_for_what_only_posix_has() -> None:
    found = [
        f"{file.relative_to(ROOT)}: {name}"
        for folder in ("edgeguard", "export", "firmware_sim", "models")
        for file in (ROOT / folder).rglob("*.py")
        if file != ALONE
        for name in posix_only(ast.parse(file.read_text(encoding="utf-8")))
    ]
    assert found == []


@pytest.mark.parametrize(
    "text", ["import resource", "from fcntl import flock", "os.getuid()", "from os import fork", "signal.SIGKILL"]
)
def test_a_planted_one_is_found(text: str) -> None:
    assert list(posix_only(ast.parse(f"import os, signal\n{text}")))


def without_posix(folder: Path, program: str) -> "subprocess.CompletedProcess[str]":
    """A Python program where `resource`, `fcntl` and some of `os` are missing."""
    (folder / "sitecustomize.py").write_text(WINDOWS)
    environment = {**os.environ, "PYTHONPATH": str(folder)}
    return subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, cwd=folder)


def test_what_they_stopped_can_be_imported_without_them(tmp_path: Path) -> None:
    done = without_posix(tmp_path, "import edgeguard.report.demo, edgeguard.report.run_audit")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["simulate", "zoo:adt-edge-s-int8-streaming", "--record", "day:60", "--json"],
        ["attack-onnx", "zoo:adt-edge-s-int8", "--data", "synthetic:4", "--queries", "2", "--samples", "1", "--json"],
    ],
)
def test_commands_work_without_them(tmp_path: Path, arguments: list[str]) -> None:
    done = without_posix(tmp_path, f"from edgeguard.cli import main; main({arguments})")
    assert done.returncode == 0, done.stderr
