"""The one exception that EdgeGuard raises for bad input, and its line for a name that is not known."""

import difflib
from collections.abc import Iterable, Sequence


class InputError(ValueError):
    """Bad input or usage: one line that names the file, the field and the mend.

    The command line prints the line and exits with code 2; the Python API lets it through.
    """


def unknown(
    option: str, name: object, known: Iterable[object], *, problem: str = "unknown", others: Sequence[str] = ()
) -> InputError:
    """The error of a name that is none of those known: the most similar of them, then all.

    Args:
        option: what the name was given to, such as `--preset`.
        problem: what is wrong with the name.
        others: what else may be given, such as `MODULE:NAME`; listed, never guessed.
    """
    names = [str(one) for one in known]
    return InputError(f"{option} {name}: {problem}; {did_you_mean(name, names)}choose {either([*names, *others])}")


def did_you_mean(name: object, known: Iterable[object]) -> str:
    """`did you mean X? `, the known name that is most similar, whatever its case; empty where none is."""
    folded = {str(one).lower(): str(one) for one in known}
    near = difflib.get_close_matches(str(name).lower(), folded, 1)
    return f"did you mean {folded[near[0]]}? " if near else ""


def either(names: Sequence[str]) -> str:
    """`a, b or c`; empty for no names."""
    return " or ".join(part for part in (", ".join(names[:-1]), *names[-1:]) if part)
