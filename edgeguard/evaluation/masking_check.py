"""What one masking check found; apart from the checks, because whoever only reads it needs no scipy."""

from dataclasses import dataclass, field

from edgeguard.runtime.typed_json import IF_GIVEN


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
        eps_uv: the budget, microvolts, that the attack had; None for what does not depend on it.
    """

    name: str
    holds: bool | None
    figure: float | None
    bar: float
    message: str
    eps_uv: float | None = field(default=None, metadata=IF_GIVEN)
