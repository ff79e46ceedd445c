"""Commands with many options list them under headings, and train says what each preset sets."""

import importlib
import re
from dataclasses import fields

import click
import pytest

from edgeguard.cli import COMMANDS
from edgeguard.cli.sections import OTHER, SHARED, sectioned
from edgeguard.defenses.config import PRESETS, TrainConfig
from edgeguard.evaluation.audit.sizes import SIZES
from edgeguard.firmware_sim.decisions import DecisionRules

MANY = 12


def command(name: str) -> click.Command:
    found: click.Command = importlib.import_module(f"edgeguard.cli.{COMMANDS[name]}").command
    return found


def page(of: click.Command, name: str = "x") -> str:
    with click.Context(of, info_name=name, max_content_width=120, terminal_width=120) as ctx:
        return of.get_help(ctx)


@pytest.mark.parametrize("name", COMMANDS)
def test_many_options_stand_under_headings(name: str):
    of = command(name)
    options = [one for one in of.params if isinstance(one, click.Option) and not one.hidden]
    if len(options) <= MANY:
        return
    text = page(of, name)
    assert OTHER not in text and text.count(":\n") >= 3
    for option in options:
        assert len(re.findall(rf"\n  (?:-\w, )?{option.opts[0]}\b(?!-)", text)) == 1, option.name
    headings = type(of).sections  # type: ignore[attr-defined]
    shared = {one for names in SHARED.values() for one in names}
    assert {one for names in headings.values() for one in names} <= shared | {option.name for option in of.params}


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_says_what_it_is(name: str):
    for option in command(name).params:
        if isinstance(option, click.Option) and not option.hidden:
            assert option.help and not re.match(r"(Of|So many|The same)\b", option.help), (name, option.opts)


def shown(value: object) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    return f"{value:g}" if isinstance(value, float) else str(value)


@pytest.mark.parametrize("field", [field.name for field in fields(TrainConfig)][4:])
def test_train_shows_the_default_of_every_preset(field: str):
    (option,) = [one for one in command("train").params if one.name == field]
    assert isinstance(option, click.Option) and option.help
    base = PRESETS["fast"].get(field, getattr(TrainConfig, field))
    said = re.search(r"\[default: (.*)\]", option.help)
    assert said, option.help
    first, *others = said[1].split("; ")
    assert first == shown(base)
    told = dict(one.split(" ", 1) for one in others)
    for preset, settings in PRESETS.items():
        assert told.get(preset, shown(base)) == shown(settings.get(field, getattr(TrainConfig, field))), preset


def told(name: str, option: str) -> str:
    """What the help of an option says of its default."""
    (found,) = [one for one in command(name).params if one.name == option]
    assert isinstance(found, click.Option) and found.help
    return found.help.partition("[default: ")[2].rstrip("].")


def test_simulate_shows_the_default_rules_of_an_episode():
    rules = DecisionRules()
    for option in ("enter", "leave", "min_duration", "refractory"):
        assert told("simulate", option) == shown(getattr(rules, option))
    assert told("simulate", "votes") == f"{rules.votes}/{rules.of}"


def test_audit_shows_how_many_records_each_size_judges():
    assert SIZES["full"].records is None
    assert told("audit", "limit") == f"{SIZES['default'].records}; --quick {SIZES['quick'].records}; --full all"


def test_what_no_heading_names_is_listed_last():
    @click.command(cls=sectioned({"First": ("b",)}))
    @click.option("--a", help="Is a.")
    @click.option("--b", help="Is b.")
    def made(a: str, b: str) -> None: ...

    text = page(made)
    assert (
        text.index("First:")
        < text.index("Is b.")
        < text.index("Output:")
        < text.index(f"{OTHER}:")
        < text.index("Is a.")
    )
