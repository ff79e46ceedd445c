"""A name that is not known ends in one line: the most similar known one, then all of them."""

import click
import pytest
from click.testing import CliRunner

from edgeguard.cli.options import OneOf
from edgeguard.errors import InputError, did_you_mean, either, unknown


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("fsat", "--preset fsat: unknown; did you mean fast? choose fast, full or lite"),
        ("LITE", "--preset LITE: unknown; did you mean lite? choose fast, full or lite"),
        ("xyz", "--preset xyz: unknown; choose fast, full or lite"),
        ("", "--preset : unknown; choose fast, full or lite"),
        (3, "--preset 3: unknown; choose fast, full or lite"),
    ],
)
def test_the_line_guesses_and_lists(name: object, line: str):
    assert str(unknown("--preset", name, ("fast", "full", "lite"))) == line


def test_what_else_may_be_given_is_listed_and_never_guessed():
    error = unknown("--arch", "MODULE:NAMES", ["edge-m"], problem="no network", others=("MODULE:NAME",))
    assert isinstance(error, InputError)
    assert str(error) == "--arch MODULE:NAMES: no network; choose edge-m or MODULE:NAME"


def test_the_guess_keeps_its_own_case():
    assert did_you_mean("mv", ("uV", "mV", "V")) == "did you mean mV? "


@pytest.mark.parametrize(
    ("names", "text"), [([], ""), (["a"], "a"), (["a", "b"], "a or b"), (["a", "b", "c"], "a, b or c")]
)
def test_names_are_listed_as_a_sentence_does(names: list[str], text: str):
    assert either(names) == text


def test_an_option_of_few_names_shows_them_and_refuses_others():
    @click.command()
    @click.option("--split", "part", type=OneOf("test", "all"), default="test", show_default=True)
    def command(part: str) -> None:
        click.echo(part)

    run = CliRunner().invoke
    assert "--split [test|all]  [default: test]" in run(command, ["--help"]).output
    assert [run(command, words).output for words in ([], ["--split", "all"])] == ["test\n", "all\n"]
    refusal = run(command, ["--split", "tset"]).exception
    assert isinstance(refusal, InputError)
    assert str(refusal) == "--split tset: unknown; did you mean test? choose test or all"
