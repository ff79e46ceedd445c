"""What one masking check found; apart from the checks, because whoever only reads it needs no scipy."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Check:
    """The answer to one question about an attack.

    Attributes:
        name: of the check.
        holds: False where the attack, and with it the robust accuracy, is not to be trusted; None where it cannot be
            told, and `message` says why.
        figure: the number that decides.
        bar: what it is held against.
        message: one line.
    """

    name: str
    holds: bool | None
    figure: float | None
    bar: float
    message: str
