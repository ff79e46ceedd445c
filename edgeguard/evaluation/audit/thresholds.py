"""What an audit demands of a file: `thresholds.toml`, and what a user's file sets otherwise."""

import math
import tomllib
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from itertools import pairwise
from pathlib import Path
from typing import Any

from edgeguard.errors import InputError, did_you_mean
from edgeguard.evaluation.audit.result import SIZES

DEFAULTS = Path(__file__).with_name("thresholds.toml")
_MOST_BUDGETS = 8


@dataclass(frozen=True)
class Thresholds:
    """The keys of `thresholds.toml`, which says what each is; None: not demanded."""

    eps_uv: tuple[float, ...]
    margin_points: float
    robustness_loss_points: float
    abstention_accuracy: float
    black_box_share: float
    stream_equal: bool
    stream_needed: bool
    records: int
    class_records: int
    clean_accuracy: float | None = None
    clean_f1: float | None = None
    af_sensitivity: float | None = None
    attacked_accuracy: float | None = None
    calibration_error: float | None = None

    @property
    def margin(self) -> float:
        """As a share of the records."""
        return self.margin_points / 100

    @property
    def robustness_loss(self) -> float:
        """As a share of the records."""
        return self.robustness_loss_points / 100

    def to_json(self) -> dict[str, Any]:
        """Key -> value, JSON-ready."""
        return {**asdict(self), "eps_uv": list(self.eps_uv)}


def load_thresholds(path: Path | None = None, *, size: str = "default") -> Thresholds:
    """The defaults of a size, with the keys of a user's file over them.

    Args:
        path: a TOML file.
        size: one of SIZES, whose table wins over the keys outside of tables.

    Raises InputError for a file that cannot be read, an unknown key, and a value of another type or out of range.
    """
    values: dict[str, Any] = {}
    for file in (DEFAULTS, *([path] if path else [])):
        read = _read(file)
        tables = {name: read.pop(name) for name in SIZES if name in read}
        for name, table in (("", read), *tables.items()):
            for key, value in table.items():
                _check(file, f"{name}.{key}" if name else key, key, value)
        values |= {**read, **tables.get(size, {})}
    return Thresholds(**{**values, "eps_uv": tuple(map(float, values["eps_uv"]))})


def _read(path: Path) -> dict[str, Any]:
    try:
        read = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); name a TOML file with --thresholds") from error
    except ValueError as error:
        raise InputError(f"{path}: is not TOML ({error}); see the keys in {DEFAULTS}") from error
    for name in SIZES:
        if not isinstance(read.get(name, {}), dict):
            raise InputError(f"{path}: {name} is a table of keys; write [{name}] on a line of its own")
    return read


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_budgets(value: Any) -> bool:
    if not (isinstance(value, list) and 0 < len(value) <= _MOST_BUDGETS and all(map(_is_number, value))):
        return False
    return value[0] > 0 and all(a < b for a, b in pairwise(value))


def _between(low: float, high: float, *, ends: bool) -> Callable[[Any], bool]:
    return lambda value: _is_number(value) and (low <= value <= high if ends else low < value < high)


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


_SHARE = (_between(0, 1, ends=True), "a share from 0 to 1")
_COUNT = (_is_count, "a whole number of at least 1")
_YES_NO = (lambda value: isinstance(value, bool), "true or false")
_RULES: dict[str, tuple[Callable[[Any], bool], str]] = {
    "eps_uv": (_is_budgets, f"a list of 1 to {_MOST_BUDGETS} rising microvolts above 0"),
    "margin_points": (_between(0, 100, ends=False), "points above 0 and below 100"),
    "robustness_loss_points": (_between(0, 100, ends=True), "points from 0 to 100"),
    "abstention_accuracy": (_between(0, 1, ends=False), "a share above 0 and below 1"),
    "stream_equal": _YES_NO,
    "stream_needed": _YES_NO,
    "records": _COUNT,
    "class_records": _COUNT,
}
"""Key -> (whether a value will do, what will); every other key is a share."""


def _check(file: Path, shown: str, key: str, value: Any) -> None:
    known = [field.name for field in fields(Thresholds)]
    if key not in known:
        mend = did_you_mean(key, known).strip() or f"the keys are {', '.join(known)}"
        raise InputError(f"{file}: {shown}: unknown; {mend}")
    holds, needed = _RULES.get(key, _SHARE)
    if not holds(value):
        raise InputError(f"{file}: {shown} = {value!r}: {needed} needed")
