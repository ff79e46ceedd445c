"""Help of a command with many options: the options stand under headings."""

from collections.abc import Mapping

import click

OUTPUT = "Output"
"""The last heading of every help."""
SHARED = {
    "Records": ("data", "labels", "label_map", "lead", "part", "test_records", "split_seed", "limit"),
    "Facts that the model's file does not say": ("classes", "sampling_rate", "window", "unit", "threshold", "arch"),
    "Machine": ("seed", "threads", "workers", "device", "cluster"),
    OUTPUT: ("out", "as_json", "help"),
}
"""Heading -> options that several commands have, by the names of their parameters."""
OTHER = "Other options"


def sectioned(own: Mapping[str, tuple[str, ...]]) -> type[click.Command]:
    """A click command class whose help has the command's own headings first, then those of `SHARED`.

    Args:
        own: heading -> parameter names, in the order of the help; an option that it names is not listed again.
    """
    taken = {name for names in own.values() for name in names}
    shared = {heading: tuple(name for name in names if name not in taken) for heading, names in SHARED.items()}
    headings = {**own, **{heading: (*own.get(heading, ()), *names) for heading, names in shared.items()}}
    headings[OUTPUT] = headings.pop(OUTPUT)

    class Sectioned(click.Command):
        """Lists its options under headings."""

        sections: Mapping[str, tuple[str, ...]] = headings

        def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
            rows = {
                "help" if "--help" in parameter.opts else parameter.name: row
                for parameter in self.get_params(ctx)
                if isinstance(parameter, click.Option) and (row := parameter.get_help_record(ctx)) is not None
            }
            listed = {title: [rows.pop(name) for name in names if name in rows] for title, names in headings.items()}
            for heading, lines in {**listed, OTHER: list(rows.values())}.items():
                if lines:
                    with formatter.section(heading):
                        formatter.write_dl(lines)

    return Sectioned
