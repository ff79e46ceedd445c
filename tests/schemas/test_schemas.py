"""The schemas: sound, documented, and never narrower than what was promised.

`examples/` holds outputs of version 1 as they were once printed, `promised.json` the keys of version 1. Neither is ever
changed: keys may be added to a schema, none removed, renamed, or made optional.
"""

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from schema_keys import keys, undeclared

from edgeguard.errors import InputError
from edgeguard.evaluation.result import EvaluationResult
from edgeguard.evaluation.run_export import ExportResult
from edgeguard.evaluation.run_training import TrainingResult
from edgeguard.report.attack_result import AttackResult
from edgeguard.schemas import load_schema, names

HERE = Path(__file__).parent
EXAMPLES = sorted((HERE / "examples").glob("*.json"))
PROMISED: dict[str, dict[str, list[str]]] = json.loads((HERE / "promised.json").read_text(encoding="utf-8"))
TYPED = {
    "evaluate": EvaluationResult,
    "train": TrainingResult,
    "export": ExportResult,
    "attack-onnx": AttackResult,
}
ZOO = Path(__file__).parents[2] / "models" / "zoo"


def name_of(example: Path) -> str:
    """`verify-1.certificate.json` is an example of edgeguard.verify/1."""
    stem, version = example.name.split(".")[0].rsplit("-", 1)
    return f"edgeguard.{stem}/{version}"


def subschemas(schema: Any) -> Iterator[dict[str, Any]]:
    """Every schema inside of a schema, itself first."""
    yield schema
    for key in ("properties", "$defs"):
        for inner in schema.get(key, {}).values():
            yield from subschemas(inner)
    for key in ("items", "additionalProperties"):
        if isinstance(schema.get(key), dict):
            yield from subschemas(schema[key])
    for inner in schema.get("anyOf", ()):
        yield from subschemas(inner)


def load(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", names())
def test_a_schema_is_sound_and_says_its_name(name: str) -> None:
    schema = load_schema(name)
    Draft202012Validator.check_schema(schema)
    assert schema["$id"] == name and schema["$schema"].endswith("2020-12/schema")
    assert load_schema(name.removeprefix("edgeguard.")) == schema
    stated = schema["properties"].get("schema")
    assert stated is None or stated.get("const") == name


@pytest.mark.parametrize("name", names())
def test_every_key_is_described_and_further_ones_are_allowed(name: str) -> None:
    schema = load_schema(name)
    for inner in subschemas(schema):
        undescribed = [key for key, one in inner.get("properties", {}).items() if not one.get("description")]
        assert undescribed == []
        assert inner.get("additionalProperties") is not False and "unevaluatedProperties" not in inner
        assert set(inner.get("required", ())) <= set(inner.get("properties", ()))


def test_a_rate_is_the_same_everywhere() -> None:
    rates = [load_schema(name)["$defs"]["rate"] for name in names() if "rate" in load_schema(name).get("$defs", {})]
    assert len(rates) > 5 and all(rate == rates[0] for rate in rates)
    assert rates[0]["required"] == ["value", "low", "high", "n"]


def test_an_unknown_schema_is_refused() -> None:
    with pytest.raises(InputError, match=r"schema diagnose/1: unknown; .*choose edgeguard\.arch/1, "):
        load_schema("diagnose/1")


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_what_was_printed_once_is_still_valid(path: Path) -> None:
    Draft202012Validator(load_schema(name_of(path))).validate(load(path))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_every_key_that_was_printed_once_is_still_declared(path: Path) -> None:
    schema = load_schema(name_of(path))
    assert list(undeclared(load(path), schema, schema)) == []


def test_every_version_is_promised_and_every_promise_kept() -> None:
    assert set(PROMISED) == set(names()), "a new schema is added to promised.json once"
    for name, promise in PROMISED.items():
        schema = load_schema(name)
        now = dict(keys(schema, schema))
        required = {key for key, is_required in now.items() if is_required}
        assert set(promise["required"]) - required == set(), f"{name}: no longer required"
        assert set(promise["optional"]) - set(now) == set(), f"{name}: no longer declared"


@pytest.mark.parametrize("path", [p for p in EXAMPLES if name_of(p).split(".")[1].split("/")[0] in TYPED], ids=str)
def test_a_typed_result_is_its_json(path: Path) -> None:
    kind = TYPED[name_of(path).removeprefix("edgeguard.").split("/")[0]]
    value = load(path)
    made = kind.from_json(value)
    assert made.to_json() == value
    Draft202012Validator(load_schema(name_of(path))).validate(made.to_json())


@pytest.mark.parametrize(
    ("where", "value"),
    [(("worst_case", "accuracy", "n"), "8"), (("attacks", 0, "eps_uv"), None), (("profile",), "strictest")],
)
def test_what_is_not_as_promised_is_invalid(where: tuple[Any, ...], value: Any) -> None:
    report = load(HERE / "examples" / "evaluate-1.json")
    validator = Draft202012Validator(load_schema("evaluate/1"))
    *way, last = where
    inner = report
    for step in way:
        inner = inner[step]
    inner[last] = value
    assert not validator.is_valid(report)
    del inner[last]
    assert not validator.is_valid(report)


def test_a_renamed_or_optional_key_breaks_the_promise() -> None:
    schema, example = load_schema("evaluate/1"), load(HERE / "examples" / "evaluate-1.json")
    renamed = copy.deepcopy(schema)
    renamed["$defs"]["rate"]["properties"]["mean"] = renamed["$defs"]["rate"]["properties"].pop("value")
    assert ".worst_case.accuracy.value" in set(undeclared(example, renamed, renamed))
    promised = set(PROMISED["edgeguard.evaluate/1"]["required"])
    assert "worst_case.accuracy.value" in promised - {key for key, _ in keys(renamed, renamed)}
    loose = copy.deepcopy(schema)
    loose["required"].remove("n")
    assert "n" in promised - {key for key, is_required in keys(loose, loose) if is_required}


PUBLISHED: dict[str, Any] = load(ZOO / "index.json")["models"] if (ZOO / "index.json").is_file() else {}


def test_the_index_of_the_zoo_is_valid() -> None:
    index, schema = load(ZOO / "index.json"), load_schema("zoo/1")
    Draft202012Validator(schema).validate(index)
    assert list(undeclared(index, schema, schema)) == [] and len(index["models"]) > 0


@pytest.mark.parametrize("file", ["config.json", "metrics.json", "split.json", "scores.json"])
def test_the_files_of_the_zoo_are_valid(file: str) -> None:
    """Every network's; the parts they share."""
    schema = {"config.json": "run/1", "scores.json": "scores/2"}.get(file, f"{file.removesuffix('.json')}/1")
    validator = Draft202012Validator(load_schema(schema))
    found = [ZOO / file] if file == "split.json" else [ZOO / name / file for name in PUBLISHED]
    assert len(found) > 0
    for path in found:
        validator.validate(load(path))


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_scores_of_the_zoo_have_no_key_beside_the_schema(name: str) -> None:
    """And the bills within them are bills."""
    scores, schema = load(ZOO / name / "scores.json"), load_schema("scores/2")
    assert list(undeclared(scores, schema, schema)) == []
    for bill in scores["bill"].values():
        Draft202012Validator(load_schema("bill/1")).validate(bill)


def test_the_logs_of_the_zoo_are_valid() -> None:
    validator = Draft202012Validator(load_schema("log/1"))
    logs = [(ZOO / name / "log.jsonl").read_text().splitlines() for name in PUBLISHED]
    assert len(logs) > 0 and all(logs)
    for line in (json.loads(line) for lines in logs for line in lines):
        validator.validate(line)
