"""Runs a page of the documents word for word, as a reader would: its files, its commands, its Python, in order."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from edgeguard.cli import main

_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.DOTALL | re.MULTILINE)
_SAVED = re.compile(r"[Ss]ave it as `([\w./-]+)`")


def run_page(page: Path, folder: Path) -> tuple[list[str], dict[str, Any]]:
    """Follow a page in a folder, which is the working directory.

    A Python block is saved where the paragraph before it says "Save it as `NAME`", else run, all in one namespace;
    lines of a block without a language that begin with `edgeguard` are commands; other blocks are read only.

    Returns:
        The commands that were run, and the namespace of the Python blocks.
    """
    run, names = [], {"__name__": "__main__"}
    for before, language, code in _blocks(page.read_text(encoding="utf-8")):
        saved = _SAVED.findall(before)
        if language == "python" and saved:
            (folder / saved[-1]).write_text(code, encoding="utf-8")
        elif language == "python":
            exec(compile(code, f"{page.name}: {code.splitlines()[0]}", "exec"), names)
        elif not language:
            for line in commands(code):
                main(shlex.split(line)[1:], standalone_mode=False)
                run.append(line)
    return run, names


def commands(code: str) -> Iterator[str]:
    """The lines that begin with `edgeguard`, those that end in a backslash joined."""
    for line in code.replace("\\\n", " ").splitlines():
        if line.startswith("edgeguard "):
            yield line.split("  #")[0].rstrip()


def _blocks(text: str) -> Iterator[tuple[str, str, str]]:
    """(the paragraph before it, language, code) of every fenced block."""
    end = 0
    for match in _BLOCK.finditer(text):
        paragraphs = [part for part in text[end : match.start()].split("\n\n") if part.strip()]
        yield paragraphs[-1] if paragraphs else "", match[1], match[2]
        end = match.end()
