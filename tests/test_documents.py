"""What the documents say exists: links, anchors, pictures, commands and their options; metadata of the repository."""

import re
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from edgeguard.cli import COMMANDS, main

ROOT = Path(__file__).parents[1]
DOCUMENTS = sorted(
    path
    for pattern in ("*.md", "docs/**/*.md", "models/**/*.md", ".github/*.md")
    for path in ROOT.glob(pattern)
    if ".venv" not in path.parts
)
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
COMMAND = re.compile(r"(?:^|[\s/])edgeguard ((?:[a-z][a-z-]*|--?[a-z][a-z-]*)\b[^`]*)")


def slug(heading: str) -> str:
    """The anchor that GitHub gives a heading."""
    text = re.sub(r"[`*]|\[([^\]]*)\]\([^)]*\)", r"\1", heading.strip().lower())
    return re.sub(r"[^\w\- ]", "", text).replace(" ", "-")


def anchors(text: str) -> set[str]:
    """Of every heading outside of fenced blocks; the second of one name ends in -1."""
    found: dict[str, int] = {}
    names = set()
    fenced = False
    for line in text.splitlines():
        fenced ^= line.lstrip().startswith("```")
        if not fenced and (match := re.match(r"#{1,6} (.+)", line)):
            name = slug(match.group(1))
            names.add(f"{name}-{found[name]}" if name in found else name)
            found[name] = found.get(name, 0) + 1
    return names


def broken_links(path: Path, text: str) -> list[str]:
    """Relative links that lead to no file, or to no heading of it."""
    broken = []
    for target in LINK.findall(text):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        file = (path.parent / name).resolve() if name else path
        if not file.exists() or (anchor and anchor not in anchors(file.read_text(encoding="utf-8"))):
            broken.append(target)
    return broken


def commands(text: str) -> Iterator[str]:
    """What stands behind `edgeguard` in code: fenced or indented blocks, and between backticks."""
    fenced, pending = False, ""
    for line in text.splitlines():
        if line.lstrip().startswith("```"):
            fenced = not fenced
            continue
        if fenced or line.startswith("    "):
            line = pending + line.strip()
            pending = line.removesuffix("\\") if line.endswith("\\") else ""
            parts = [] if pending else re.split(r" (?:&&|\|) ", line)
            yield from (match.group(1) for part in parts if (match := COMMAND.search(part)))
        else:
            for code in re.findall(r"`([^`]+)`", line):
                if match := COMMAND.match(code):
                    yield match.group(1)


def faults(command: str) -> list[str]:
    """What is no command, or no option of the command."""
    try:
        words = shlex.split(command.split(" #")[0])
    except ValueError:
        words = command.split(" #")[0].split()
    current: click.Command = main
    for word in words:
        if isinstance(current, click.Group) and not word.startswith("-"):
            known = current.get_command(click.Context(current), word.rstrip(",;:."))
            if known is None:
                return [f"edgeguard {word}: no such command"]
            current = known
        elif re.match(r"--[a-z]", word):
            name = re.split(r"[=,;:.)]", word)[0]
            if name not in options(current):
                return [f"edgeguard {current.name}: no option {name}"]
    return []


def options(command: click.Command) -> set[str]:
    given = {name for option in command.params for name in (*option.opts, *option.secondary_opts)}
    return given | {"--help"}


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(path: Path) -> None:
    assert broken_links(path, path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_commands_and_options_exist(path: Path) -> None:
    found = [fault for command in commands(path.read_text(encoding="utf-8")) for fault in faults(command)]
    assert found == []


def test_every_command_is_shown_to_users() -> None:
    shown = {command.split()[0] for path in DOCUMENTS for command in commands(path.read_text(encoding="utf-8"))}
    assert set(COMMANDS) - shown == set()


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("[a](no.md)", ["no.md"]),
        ("[a](README.md)", []),
        ("[a](README.md#train-edgeguard-train) ![b](docs/images/attack-curve.png)", []),
        ("[a](README.md#no-such-heading)", ["README.md#no-such-heading"]),
        ("[a](#here)\n# Here", []),
        ("[a](#here)\n```\n# Here\n```", ["#here"]),
        ("[a](https://example.org/x)", []),
    ],
)
def test_a_planted_link_is_found(tmp_path: Path, text: str, found: list[str]) -> None:
    page = ROOT / "planted.md"
    if "#here" in text:
        page = tmp_path / "planted.md"
        page.write_text(text)
    assert broken_links(page, text) == found


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("    edgeguard train --defense adt  # words --no", 0),
        ("    .venv/bin/edgeguard train --defence adt", 1),
        ("```\nedgeguard data info x.zip --no-picture\n```", 0),
        ("```\nedgeguard data inform x.zip\n```", 1),
        ("    torchrun -m edgeguard train \\\n        --presets fast", 1),
        ("`edgeguard diagnose` a patient", 1),
        ("`edgeguard verify FILE.onnx --rows 3`, and edgeguard diagnose", 0),
        ("`edgeguard evaluate --no-checks`", 0),
        ("`edgeguard --help`", 0),
        ("    edgeguard export RUN && edgeguard evaluate RUN --profile paper", 0),
        ("    edgeguard export RUN && edgeguard exports", 1),
    ],
)
def test_a_planted_command_is_found(text: str, found: int) -> None:
    assert sum(len(faults(command)) for command in commands(text)) == found


def test_the_citation_is_of_this_version() -> None:
    yaml = pytest.importorskip("yaml")
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert citation["version"] == project["version"] and citation["license"] == project["license"]
    assert citation["cff-version"] == "1.2.0" and citation["type"] == "software" and citation["message"]
    for work in (citation, *citation["references"]):
        assert work["title"] and all({"name"} <= set(who) or {"family-names"} <= set(who) for who in work["authors"])


def test_workflows_ask_for_little_and_name_their_actions_versions() -> None:
    yaml = pytest.importorskip("yaml")
    for path in (ROOT / ".github" / "workflows").glob("*.yml"):
        workflow = yaml.safe_load(path.read_text(encoding="utf-8"))
        assert workflow["permissions"] == {"contents": "read"}
        used = [step["uses"] for job in workflow["jobs"].values() for step in job["steps"] if "uses" in step]
        assert used and all(re.fullmatch(r"actions/[a-z-]+@v\d+", action) for action in used)
