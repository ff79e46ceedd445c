"""How a rate is printed wherever people read one."""

from collections.abc import Mapping
from typing import Any


def rate_text(rate: Mapping[str, Any]) -> str:
    """Value and interval of a rate `value`, `low`, `high`; `none` where its `n`, if it has one, is 0."""
    if rate.get("n") == 0:
        return "none"
    return f"{rate['value']:.3f} [{rate['low']:.3f}, {rate['high']:.3f}]"
