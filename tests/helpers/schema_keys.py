"""The keys that a schema knows, and those of a value that it does not."""

from collections.abc import Iterator
from typing import Any


def keys(schema: dict[str, Any], root: dict[str, Any], path: str = "") -> Iterator[tuple[str, bool]]:
    """(path, whether it is required) of every key, such as `attacks[].classes{}.recall`."""
    if "$ref" in schema:
        schema = root["$defs"][schema["$ref"].removeprefix("#/$defs/")]
    for inner in schema.get("anyOf", ()):
        yield from keys(inner, root, path)
    for name, inner in schema.get("properties", {}).items():
        yield f"{path}.{name}".lstrip("."), name in schema.get("required", ())
        yield from keys(inner, root, f"{path}.{name}")
    for key, mark in (("items", "[]"), ("additionalProperties", "{}")):
        if isinstance(schema.get(key), dict):
            yield from keys(schema[key], root, path + mark)


def undeclared(value: Any, schema: dict[str, Any], root: dict[str, Any], path: str = "") -> Iterator[str]:
    """Keys of a value that the schema knows nothing of; an object of which it names no key is anybody's."""
    while "$ref" in schema or "anyOf" in schema:
        schema = schema["anyOf"][0] if "anyOf" in schema else root["$defs"][schema["$ref"].removeprefix("#/$defs/")]
    if isinstance(value, list):
        for item in value:
            yield from undeclared(item, schema.get("items", {}), root, path + "[]")
    elif isinstance(value, dict):
        declared, other = schema.get("properties", {}), schema.get("additionalProperties")
        for name, item in value.items():
            if name in declared or other:
                yield from undeclared(item, declared.get(name) or other, root, f"{path}.{name}")
            elif declared:
                yield f"{path}.{name}"
