"""The command line: one command a file; parse, call one function, print."""

import importlib
import os
import sys
import traceback
from typing import Any

import click

import edgeguard
from edgeguard.errors import did_you_mean
from edgeguard.intended_use import NOT_A_MEDICAL_DEVICE
from edgeguard.runtime.telling import QUIET

# OpenMP threads spin at every barrier. Where another process holds one of the cores, torch then crawls at a tenth of
# its speed; a short spin gives the core away instead, at a few per cent where nothing competes.
os.environ.setdefault("GOMP_SPINCOUNT", "1000")

GROUPS = {
    "Know a file": ("describe", "verify"),
    "Train and export": ("train", "export", "arch", "zoo", "data"),
    "Judge a file": ("audit", "evaluate", "attack-onnx", "attack-stream", "plan"),
    "Play it on a watch": ("simulate",),
    "Whole studies": ("demo", "reproduce"),
}
"""Heading of the help -> commands under it; each lies in the module of this package that has its name."""
COMMANDS = {name: name.replace("-", "_") for names in GROUPS.values() for name in names}
"""Command name -> module that holds the click command `command`."""
UNFORESEEN = 70
"""Exit code of an error that nobody foresaw: EX_SOFTWARE of sysexits.h."""
_RESUMES = ("train", "audit", "attack-onnx", "reproduce", "zoo")


class _Commands(click.Group):
    """Loads a command's module only when the command is named, and turns every error into one line."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = importlib.import_module(f"edgeguard.cli.{COMMANDS[cmd_name]}").command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and not args[0].startswith("-") and args[0] not in COMMANDS:
            mend = did_you_mean(args[0], COMMANDS).strip() or "edgeguard --help lists them"
            raise click.UsageError(f"no command {args[0]}; {mend}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The commands by group, each with its whole summary."""
        for heading, names in GROUPS.items():
            rows = []
            for name in names:
                command = self.get_command(ctx, name)
                assert command is not None
                rows.append((name, command.short_help or (command.help or "").split("\n\n")[0].replace("\n", " ")))
            with formatter.section(heading):
                formatter.write_dl(rows)

    def main(self, *args: Any, **kwargs: Any) -> Any:
        given = kwargs.get("args", args[0] if args else None)
        words = sys.argv[1:] if given is None else list(given)
        debug, quiet = _takes(words, "--debug"), _takes(words, "--quiet")
        if quiet:
            os.environ[QUIET] = "1"
        try:
            result = super().main(**{**kwargs, "args": words, "standalone_mode": False})
        except edgeguard.InputError as error:
            if debug and error.__cause__ is not None:
                traceback.print_exc()
            _stop(str(error), 2)
        except click.exceptions.NoArgsIsHelpError as error:
            error.show()
            sys.exit(2)
        except click.ClickException as error:
            _stop(error.format_message(), 2)
        except (click.Abort, KeyboardInterrupt):
            goes_on = bool(words) and words[0] in _RESUMES
            _stop("interrupted; the same command goes on where it stopped" if goes_on else "interrupted", 130)
        except BrokenPipeError:
            sys.exit(1)
        except ModuleNotFoundError as error:
            if debug:
                traceback.print_exc()
            package = (error.name or "").split(".")[0]
            if package == "edgeguard":
                _stop(_unforeseen(error, debug), UNFORESEEN)
            _stop(f"needs the package {package}, which is not installed here; pip install {package}", 2)
        except Exception as error:  # whatever it is: a pipeline must not read it as a verdict
            if debug:
                traceback.print_exc()
            _stop(_unforeseen(error, debug), UNFORESEEN)
        if kwargs.get("standalone_mode", True):
            sys.exit(result if isinstance(result, int) else 0)
        return result


def _takes(words: list[str], flag: str) -> bool:
    """Whether a flag comes before the command, or as its option; it is taken out of the words."""
    ends = words.index("--") if "--" in words else len(words)
    if flag not in words[:ends]:
        return False
    words.remove(flag)
    return True


def _unforeseen(error: Exception, debug: bool) -> str:
    told = " ".join(str(error).split())[:200]
    mend = "please report it with the lines above" if debug else "please report what edgeguard --debug COMMAND prints"
    return f"unforeseen {type(error).__name__}{': ' + told if told else ''} ({mend})"


def _stop(line: str, code: int) -> None:
    click.echo(f"edgeguard: {line}", err=True)
    sys.exit(code)


@click.group(
    cls=_Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120},
    epilog=NOT_A_MEDICAL_DEVICE,
)
@click.option("--debug", is_flag=True, expose_value=False, help="Show where an error came from.")
@click.option("--quiet", is_flag=True, expose_value=False, help="Print errors and results only, no progress.")
@click.version_option(edgeguard.__version__, prog_name="edgeguard")
def main() -> None:
    """Does robustness survive export? Train, quantise, stream and attack single-lead ECG models."""
