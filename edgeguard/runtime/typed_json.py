"""Frozen dataclasses to JSON and back, for results that people read as objects and machines as text.

A field with metadata `{"json": False}` stays out of the JSON; one with `{"json": "if given"}` where it is None.
"""

import math
import types
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from edgeguard.errors import InputError

T = TypeVar("T")

LEFT_OUT = {"json": False}
IF_GIVEN = {"json": "if given"}


def to_json(value: Any) -> Any:
    """What `json.dumps` takes: dataclasses as objects, tuples as lists, paths as text, a NaN or an infinity as null."""
    if is_dataclass(value) and not isinstance(value, type):
        kept = {field.name: getattr(value, field.name) for field in fields(value) if _is_kept(field, value)}
        return {name: to_json(item) for name, item in kept.items()}
    if isinstance(value, dict):
        return {str(key): to_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_json(item) for item in value]
    if isinstance(value, Path):
        return str(value)
    if hasattr(value, "item") and not isinstance(value, str):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def from_json(kind: type[T], value: Any, *, where: str = "JSON") -> T:
    """The dataclass that `to_json` made an object of; keys that it does not know are ignored.

    Args:
        kind: of dataclasses, str, int, float, bool, None, Any, Path, and tuples, lists and dicts of them; a null for a
            float that may not be None is NaN.
        where: names the text in an error.

    Raises InputError for a missing field, or a value of another type.
    """
    made: T = _decode(kind, value, where)
    return made


def _is_kept(field: Any, value: Any) -> bool:
    rule = field.metadata.get("json", True)
    return rule is True or (rule == "if given" and getattr(value, field.name) is not None)


def _decode(kind: Any, value: Any, where: str) -> Any:
    origin, arguments = get_origin(kind), get_args(kind)
    if kind is Any:
        return value
    if origin in (Union, types.UnionType):
        if value is None and type(None) in arguments:
            return None
        (inner,) = (one for one in arguments if one is not type(None))
        return _decode(inner, value, where)
    if is_dataclass(kind):
        return _object(kind, value, where)
    if origin in (tuple, list):
        _require(isinstance(value, list), "a list", where)
        return origin(_decode(arguments[0], item, f"{where}[{i}]") for i, item in enumerate(value))
    if origin is dict:
        _require(isinstance(value, dict), "an object", where)
        return {key: _decode(arguments[1], item, f"{where}.{key}") for key, item in value.items()}
    if kind is Path:
        _require(isinstance(value, str), "text", where)
        return Path(value)
    if kind is float:
        _require(value is None or (isinstance(value, int | float) and not isinstance(value, bool)), "a number", where)
        return math.nan if value is None else value
    _require(isinstance(value, kind) and (kind is bool or not isinstance(value, bool)), kind.__name__, where)
    return value


def _object(kind: Any, value: Any, where: str) -> Any:
    _require(isinstance(value, dict), "an object", where)
    hints, given = get_type_hints(kind), {}
    for field in fields(kind):
        if field.metadata.get("json", True) is False:
            continue
        if field.name in value:
            given[field.name] = _decode(hints[field.name], value[field.name], f"{where}.{field.name}")
        else:
            has_default = field.default is not MISSING or field.default_factory is not MISSING
            _require(has_default, f"the field {field.name}", where)
    return kind(**given)


def _require(holds: bool, what: str, where: str) -> None:
    if not holds:
        raise InputError(f"{where}: {what} needed; give the JSON as EdgeGuard wrote it")
