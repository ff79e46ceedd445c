"""Figures as people read them: never a share without its interval and its n."""

import math
from typing import Any

from edgeguard.ecg.record import CLASS_NAMES, CLASSES
from edgeguard.evaluation.audit.result import Rate

NBSP = "\u00a0"
"""Between a number and its unit, so that no line breaks there."""
_MINUS = "\u2212"


def number(value: float | None) -> str:
    """Three significant digits, all of those before the point, thousands apart; `none` for what is not a number."""
    if value is None or math.isnan(value):
        return "none"
    if math.isinf(value):
        return "no bound" if value > 0 else f"{_MINUS}no bound"
    if value != 0 and (abs(value) < 1e-4 or abs(value) >= 1e9):
        return f"{value:.3g}".replace("-", _MINUS)
    if abs(value) >= 1000 or value == round(value):
        return f"{value:,.0f}".replace("-", _MINUS)
    return f"{float(f'{value:.3g}'):g}".replace("-", _MINUS)


def percent(value: float) -> str:
    """A share with one decimal."""
    return "none" if math.isnan(value) else f"{100 * value:.1f}{NBSP}%"


def whole_percent(value: float) -> str:
    """A probability, without decimals."""
    return f"{100 * value:.0f}{NBSP}%"


def interval(rate: Rate) -> str:
    """The 95 % interval of a share, in percent."""
    return f"[{100 * rate.low:.1f}, {100 * rate.high:.1f}]"


def rate(value: Rate, *, n: bool = True) -> str:
    """A share, its interval, and the records that it is of."""
    if math.isnan(value.value):
        return "no records"
    text = f"{percent(value.value)} {interval(value)}"
    return f"{text}, n = {value.n:,}" if n else text


def points(value: float) -> str:
    """A difference of shares in signed percentage points, without their name."""
    return f"{100 * value:+.1f}".replace("-", _MINUS)


def eps(microvolts: float) -> str:
    """An attack's radius, or `clean`."""
    return "clean" if microvolts == 0 else f"{microvolts:g}{NBSP}µV"


def radius(key: str) -> float:
    """Microvolts of a key that `%g` made of an eps."""
    return float(key)


def duration(seconds: float) -> str:
    """In the unit that reads best."""
    for unit, size in (("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{number(round(seconds / size, 1))}{NBSP}{unit}"
    return f"{number(seconds)}{NBSP}s"


def size(count: int) -> str:
    """Bytes, in KiB from 10 KiB on."""
    return f"{count:,}{NBSP}bytes" if count < 10 * 1024 else f"{count / 1024:,.0f}{NBSP}KiB"


def span(value: dict[str, float] | float | None, scale: float = 1.0) -> str:
    """A figure that is known between two ends, or one number; a dash where nothing is known."""
    if value is None:
        return "–"
    ends = (value["low"], value["high"]) if isinstance(value, dict) else (value, value)
    low, high = (_two_digits(end * scale) for end in ends)
    return low if low == high else f"{low} – {high}"


def plural(count: int, noun: str) -> str:
    """`1 record`, `2 records`."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def listed(names: list[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}" if names else ""


def class_name(name: str, classes: tuple[str, ...]) -> str:
    """What a class is called: in full for the four of CinC 2017, as it stands for anybody else's."""
    return CLASS_NAMES.get(name, name) if classes == CLASSES else name


def sentence(text: str) -> str:
    """With a capital and a full stop."""
    text = text.strip()
    return text[:1].upper() + text[1:] + ("" if text.endswith((".", "!", "?")) else ".") if text else ""


def plain(value: Any) -> str:
    """Any value of a settings file or of a fact sheet on one line."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return number(value)
    if isinstance(value, list | tuple):
        return ", ".join(plain(item) for item in value)
    if isinstance(value, dict):
        return ", ".join(f"{key} {plain(item)}" for key, item in value.items())
    return "none" if value is None else str(value)


def _two_digits(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{float(f'{value:.2g}'):g}"
