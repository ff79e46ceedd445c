"""Results as pandas tables; pandas is imported when the first one is asked for."""

from collections.abc import Iterable, Mapping
from typing import Any, Protocol, runtime_checkable

from edgeguard.errors import InputError


@runtime_checkable
class Estimate(Protocol):
    """A figure with its 95 % interval, as `edgeguard.evaluation.audit.result.Rate` is."""

    @property
    def value(self) -> float:
        """The figure."""

    @property
    def low(self) -> float:
        """Lower end."""

    @property
    def high(self) -> float:
        """Upper end."""


def frame(rows: Iterable[Mapping[str, Any]]) -> Any:
    """A pandas DataFrame with a row a mapping; an estimate fills three columns: NAME, NAME_low and NAME_high.

    Raises InputError where pandas is not installed.
    """
    try:
        import pandas
    except ImportError as error:
        raise InputError("to_frame: pandas is not installed; run pip install pandas") from error
    return pandas.DataFrame([_flat(row) for row in rows])


def _flat(row: Mapping[str, Any]) -> dict[str, Any]:
    columns: dict[str, Any] = {}
    for name, value in row.items():
        if isinstance(value, Estimate):
            columns |= {name: value.value, f"{name}_low": value.low, f"{name}_high": value.high}
        else:
            columns[name] = value
    return columns


def rate_in_words(rate: Estimate | None) -> str:
    """`0.846 [0.820, 0.869]`; `not measured` for None."""
    return "not measured" if rate is None else f"{rate.value:.3f} [{rate.low:.3f}, {rate.high:.3f}]"
