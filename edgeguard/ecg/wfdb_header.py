"""Lines of a WFDB header, bounded before any pattern sees them: those of the `wfdb` package backtrack.

Source: header(5) of the WFDB applications guide, https://physionet.org/physiotools/wag/header-5.htm
"""

from edgeguard.errors import InputError

LONGEST_LINE = 1000
"""Characters; header(5) allows 255."""


def header_lines(where: str, content: bytes) -> list[str]:
    """The lines of a header that hold fields: neither empty nor a comment, as the `wfdb` package takes them.

    Args:
        where: names the file in messages.

    Raises InputError for a line of more than `LONGEST_LINE` characters.
    """
    lines = [line.strip() for line in content.decode("ascii", "ignore").splitlines()]
    fields = [line for line in lines if line and not line.startswith("#")]
    longest = max(map(len, fields), default=0)
    if longest > LONGEST_LINE:
        raise InputError(f"{where}: a line of {longest} characters, header(5) allows 255; restore the file")
    return fields
