"""Dataclasses to JSON and back."""

import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeguard.errors import InputError
from edgeguard.runtime.typed_json import IF_GIVEN, LEFT_OUT, from_json, to_json


@dataclass(frozen=True)
class Inner:
    value: float
    n: int


@dataclass(frozen=True)
class Outer:
    name: str
    path: Path
    rates: dict[str, Inner]
    rows: tuple[tuple[int, ...], ...]
    known: bool | None
    free: dict[str, Any]
    extra: Inner | None = field(default=None, metadata=IF_GIVEN)
    arrays: np.ndarray | None = field(default=None, metadata=LEFT_OUT)


OUTER = Outer("it", Path("a/b"), {"x": Inner(0.5, 2)}, ((1, 2), ()), None, {"any": [1, "two", None]})


def test_what_becomes_json_is_read_back_equal() -> None:
    text = json.dumps(to_json(OUTER), allow_nan=False)
    assert json.loads(text) == {
        "name": "it",
        "path": "a/b",
        "rates": {"x": {"value": 0.5, "n": 2}},
        "rows": [[1, 2], []],
        "known": None,
        "free": {"any": [1, "two", None]},
    }
    assert from_json(Outer, json.loads(text)) == OUTER


@given(st.floats(), st.integers(-(2**60), 2**60))
def test_any_number_survives_and_what_is_not_finite_is_not_a_number(value: float, n: int) -> None:
    back = from_json(Inner, json.loads(json.dumps(to_json(Inner(value, n)), allow_nan=False)))
    assert back.n == n
    assert back.value == value if math.isfinite(value) else math.isnan(back.value)


def test_numbers_of_numpy_are_plain_ones() -> None:
    made = to_json({1: np.float32(0.5), "b": np.int64(3), "c": (np.bool_(True), np.float64("inf"))})
    assert made == {"1": 0.5, "b": 3, "c": [True, None]}
    assert [type(one) for one in (made["1"], made["b"], made["c"][0])] == [float, int, bool]


def test_a_field_for_objects_only_stays_out_and_an_absent_one_has_no_key() -> None:
    given_ = Outer("it", Path(), {}, (), True, {}, extra=Inner(1.0, 1), arrays=np.zeros(3))
    assert to_json(given_)["extra"] == {"value": 1.0, "n": 1}
    assert "arrays" not in to_json(given_) and "extra" not in to_json(OUTER)
    assert from_json(Outer, to_json(given_)).extra == Inner(1.0, 1)


def test_keys_that_are_not_known_are_ignored() -> None:
    assert from_json(Inner, {"value": 1, "n": 2, "later": "key"}) == Inner(1.0, 2)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ([], "it: an object needed"),
        ({"value": 1.0}, "it: the field n needed"),
        ({"value": "1", "n": 2}, "it.value: a number needed"),
        ({"value": True, "n": 2}, "it.value: a number needed"),
        ({"value": 1, "n": 2.5}, "it.n: int needed"),
        ({"value": 1, "n": True}, "it.n: int needed"),
        ({"value": 1, "n": None}, "it.n: int needed"),
    ],
)
def test_what_is_something_else_is_refused(value: Any, said: str) -> None:
    with pytest.raises(InputError, match=f"^{said}"):
        from_json(Inner, value, where="it")


def test_a_refusal_names_the_place() -> None:
    bad = to_json(OUTER)
    bad["rates"]["x"]["n"] = "two"
    with pytest.raises(InputError, match=r"^it\.rates\.x\.n: int needed"):
        from_json(Outer, bad, where="it")
    bad = to_json(OUTER)
    bad["rows"][1] = 3
    with pytest.raises(InputError, match=r"^it\.rows\[1\]: a list needed"):
        from_json(Outer, bad, where="it")
