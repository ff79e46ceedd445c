"""Runs a page of the documents word for word, as a reader would, and makes it a notebook."""

import json
import re
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from edgeguard.cli import main

_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.DOTALL | re.MULTILINE)
_SAVED = re.compile(r"[Ss]ave it as `([\w./-]+)`")


def run_page(page: Path, folder: Path, call: Callable[..., Any] | None = None) -> tuple[dict[str, Any], dict[str, Any]]:
    """Follow a page in a folder, which is the working directory.

    A Python block is saved where the paragraph before it says "Save it as `NAME`", else run, all in one namespace;
    lines of a block without a language that begin with `edgeguard` are commands; other blocks are read only.

    Args:
        call: runs a command, given its words; None: in this process, and whatever it raises is raised.

    Returns:
        What `call` returned by command line, and the namespace of the Python blocks.
    """
    run, names = {}, {"__name__": "__main__"}
    for before, language, code in blocks(page.read_text(encoding="utf-8")):
        saved = _SAVED.findall(before)
        if language == "python" and saved:
            (folder / saved[-1]).write_text(code, encoding="utf-8")
        elif language == "python":
            exec(compile(code, f"{page.name}: {code.splitlines()[0]}", "exec"), names)
        elif not language:
            for line in commands(code):
                words = shlex.split(line)[1:]
                run[line] = call(*words) if call else main(words, standalone_mode=False)
    return run, names


def commands(code: str) -> Iterator[str]:
    """The lines that begin with `edgeguard`, those that end in a backslash joined."""
    for line in code.replace("\\\n", " ").splitlines():
        if line.startswith("edgeguard "):
            yield line.split("  #")[0].rstrip()


def notebook(page: Path) -> str:
    """A page as a Jupyter notebook, JSON of nbformat 4.5: its text, its Python, and its commands behind `!`."""
    cells: list[dict[str, Any]] = []

    def cell(kind: str, text: str) -> None:
        if text.strip():
            code = {"execution_count": None, "outputs": []} if kind == "code" else {}
            lines = text.strip("\n").splitlines(keepends=True)
            cells.append({"cell_type": kind, "id": f"cell-{len(cells)}", "metadata": {}, **code, "source": lines})

    text = page.read_text(encoding="utf-8")
    end = 0
    for match in _BLOCK.finditer(text):
        cell("markdown", text[end : match.start()])
        code = match[2] if match[1] else re.sub(r"^edgeguard ", "!edgeguard ", match[2], flags=re.MULTILINE)
        cell("code", code)
        end = match.end()
    cell("markdown", text[end:])
    kernel = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
    whole = {"cells": cells, "metadata": kernel, "nbformat": 4, "nbformat_minor": 5}
    return json.dumps(whole, indent=1, ensure_ascii=False) + "\n"


def blocks(text: str) -> Iterator[tuple[str, str, str]]:
    """(the paragraph before it, language, code) of every fenced block."""
    end = 0
    for match in _BLOCK.finditer(text):
        paragraphs = [part for part in text[end : match.start()].split("\n\n") if part.strip()]
        yield paragraphs[-1] if paragraphs else "", match[1], match[2]
        end = match.end()


if __name__ == "__main__":
    PAGE = Path(__file__).parents[2] / "docs" / "your-own-model.md"
    PAGE.with_suffix(".ipynb").write_text(notebook(PAGE), encoding="utf-8")
