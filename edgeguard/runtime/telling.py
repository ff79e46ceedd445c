"""What long work says of itself: lines for people, which a library keeps to itself unless it is asked."""

import logging
from collections.abc import Callable

Say = Callable[[str], None]
"""Takes one line for people."""

log: Say = logging.getLogger("edgeguard").info
"""To the logger `edgeguard`, at level INFO; silent unless the program shows that level."""
