"""The command line: one command a file; parse, call one function, print."""

import importlib
import os
import sys
from typing import Any

import click

import edgeguard
from edgeguard.intended_use import NOT_A_MEDICAL_DEVICE

# OpenMP threads spin at every barrier. Where another process holds one of the cores, torch then crawls at a tenth of
# its speed; a short spin gives the core away instead, at a few per cent where nothing competes.
os.environ.setdefault("GOMP_SPINCOUNT", "1000")

COMMANDS = {
    "describe": "describe",
    "train": "train",
    "evaluate": "evaluate",
    "export": "export",
    "simulate": "simulate",
    "attack-onnx": "attack_onnx",
    "attack-stream": "attack_stream",
    "verify": "verify",
    "audit": "audit",
    "plan": "plan",
    "reproduce": "reproduce",
    "zoo": "zoo",
    "data": "data",
    "arch": "arch",
    "demo": "demo",
}
"""Command name -> module of this package that holds the click command `command`."""


class _Commands(click.Group):
    """Loads a command's module only when the command is named, and turns every usage or input error into one line."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = importlib.import_module(f"edgeguard.cli.{COMMANDS[cmd_name]}").command
        return command

    def main(self, *args: Any, **kwargs: Any) -> Any:
        try:
            result = super().main(*args, **{**kwargs, "standalone_mode": False})
        except edgeguard.InputError as error:
            _stop(str(error), 2)
        except click.exceptions.NoArgsIsHelpError as error:
            error.show()
            sys.exit(2)
        except click.ClickException as error:
            _stop(error.format_message(), 2)
        except (click.Abort, KeyboardInterrupt):
            _stop("interrupted", 130)
        except BrokenPipeError:
            sys.exit(1)
        if kwargs.get("standalone_mode", True):
            sys.exit(result if isinstance(result, int) else 0)
        return result


def _stop(line: str, code: int) -> None:
    click.echo(f"edgeguard: {line}", err=True)
    sys.exit(code)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]}, epilog=NOT_A_MEDICAL_DEVICE)
@click.version_option(edgeguard.__version__, prog_name="edgeguard")
def main() -> None:
    """Does robustness survive export? Train, quantise, stream and attack single-lead ECG models."""
