"""No name of a file or a class, whatever it is, becomes code in the C header of golden vectors."""

import re
import shutil
import subprocess

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeguard.export.golden import Golden, c_header

needs_compiler = pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler called cc")

PIECES = (
    *("*/", "/*", "//", "*", "/", "\\", "*\\", "\\*", "?", "??/", "*??/", "??'", '"', "'", "%:", "#", ";", "{", "}"),
    *(
        "\n",
        "\r",
        "\0",
        "\t",
        "\x0b",
        "\x1a",
        "\x85",
        "\u2028",
        "\u202e",
        "\ud800",
        "ø",
        "心",
        "0",
        "a",
        "*/\n#error\n",
    ),
)
BAIT = " int owned = 1; "
"""Declares `owned` wherever it stands outside of comments and string literals."""

names = st.lists(st.sampled_from([*PIECES, BAIT]) | st.text(max_size=3), max_size=12).map("".join)


def header(model: str, *classes: str) -> str:
    """Two rows of three samples, whose values do not matter here."""
    codes, logits = np.zeros((2, 3), np.int8), np.zeros((2, len(classes)), np.float32)
    return c_header(Golden(codes, 1.0, 0, logits, np.zeros(2, np.int64), classes, 300.0, model, "ab" * 32))


def code_of(text: str) -> str:
    """What is left of a C file without comments, with its string literals emptied: phases 1 to 3 of C99 5.1.1.2."""
    for mark, meant in {
        "=": "#",
        "(": "[",
        ")": "]",
        "<": "{",
        ">": "}",
        "/": "\\",
        "'": "^",
        "!": "|",
        "-": "~",
    }.items():
        text = text.replace(f"??{mark}", meant)
    text = re.sub(r"\\(\r\n|\r|\n)", "", text)
    token = re.compile(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"', re.DOTALL)
    return token.sub(lambda found: " " if found[0].startswith("/") else '""', text)


def compile_header(text: str) -> "subprocess.CompletedProcess[bytes]":
    command = ["cc", "-std=c99", "-fsyntax-only", "-trigraphs", "-Wall", "-Werror", "-Wno-unused", "-x", "c", "-"]
    return subprocess.run(command, input=text.encode(), capture_output=True, check=False)


def test_the_check_itself_finds_code() -> None:
    """A comment that a trigraph and a joined line end, a literal that a quote ends."""
    assert "owned" in code_of(f"/* *??/\n/{BAIT}")
    assert "owned" in code_of(f'char *c = "a\\\\";{BAIT}')
    assert "owned" not in code_of(f'/* {BAIT} */ char *c = "\\"{BAIT}"; // \\\n{BAIT}')


@given(model=names, classes=st.lists(names, min_size=1, max_size=3))
def test_names_add_no_code(model: str, classes: list[str]) -> None:
    """The code is that of a header with the plainest names."""
    assert code_of(header(model, *classes)).split() == code_of(header("m.onnx", *"NAO"[: len(classes)])).split()


@needs_compiler
@settings(max_examples=30, deadline=None)
@given(model=names, name=names)
def test_a_compiler_takes_every_name(model: str, name: str) -> None:
    done = compile_header(header(model + BAIT, name + BAIT) + "static const int owned = 2;\n")
    assert done.returncode == 0, done.stderr.decode()


@pytest.mark.parametrize("model", ["x *\\ int owned = 1; \\* .onnx", "x *??/\n/ int owned = 1; /* .onnx", "x??/"])
def test_a_file_name_does_not_end_the_comment(model: str) -> None:
    text = header(model, "N")
    assert "owned" not in code_of(text)
    assert text.splitlines()[1] == f" * sha256 {'ab' * 32}"


def test_a_plain_name_stays_readable() -> None:
    assert header("at-edge-s_int8 (2).onnx", "N").splitlines()[0] == "/* Golden vectors of at-edge-s_int8 (2).onnx"
