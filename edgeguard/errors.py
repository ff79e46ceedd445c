"""The one exception that EdgeGuard raises for bad input."""


class InputError(ValueError):
    """Bad input or usage: one line that names the file, the field and the mend.

    The command line prints the line and exits with code 2; the Python API lets it through.
    """
