"""Nobody is told to install a stranger's package: the name `edgeguard` on PyPI is another project's."""

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
INSTALLERS = r"\b(?:pip3?|pipx|uv(?: pip)?|poetry|pdm|conda|mamba)\b[^\n#;&|`]*?\b(?:install|add|download|run)\b"
FROM_AN_INDEX = re.compile(INSTALLERS + r"""[^\n#;&|`]*?(?<![\w./@:-])edgeguard(?![\w/.-]| *@)""")
"""An installer that is given the bare name, with quotes, options, extras or a version or without; no path, no URL."""


def wrong_lines(text: str) -> list[str]:
    return [line for line in text.replace("\\\n", " ").splitlines() if FROM_AN_INDEX.search(line)]


def test_no_document_and_no_message_installs_it_from_an_index() -> None:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True)
    if listed.returncode:
        pytest.skip("no checkout")
    found = []
    for name in filter(None, listed.stdout.decode().split("\0")):
        path = ROOT / name
        if path == Path(__file__) or not path.is_file():
            continue
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        found += [f"{name}: {line.strip()}" for line in wrong_lines(text)]
    assert found == []


@pytest.mark.parametrize(
    "line",
    [
        "pip install edgeguard",
        "run `pip install 'edgeguard[sign]'`",
        'python -m pip install -U "edgeguard[cluster]>=0.1"',
        "pip install --no-deps edgeguard==0.1.0",
        "pip install numpy edgeguard",
        "pip install \\\n    edgeguard",
        "uv add edgeguard",
        "uv pip install edgeguard",
        "pipx install edgeguard",
    ],
)
def test_a_planted_line_is_found(line: str) -> None:
    assert wrong_lines(line)


@pytest.mark.parametrize(
    "line",
    [
        "pip install '.[sign]'",
        "pip install --no-deps .  # edgeguard",
        "pip install cryptography; edgeguard verify x",
        "pip install -e ../edgeguard",
        "pip install edgeguard-0.1.0-py3-none-any.whl",
        "pip install 'edgeguard @ git+https://host/edgeguard'",
        "pip install .\n    edgeguard demo",
    ],
)
def test_a_checkout_or_another_package_is_left_alone(line: str) -> None:
    assert not wrong_lines(line)
