"""Metadata survive the way through an ONNX file's string properties."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeguard.errors import InputError
from edgeguard.runtime.metadata import ModelMetadata

texts = st.text(max_size=8)
METADATA = st.builds(
    ModelMetadata,
    classes=st.none() | st.lists(texts, min_size=1, max_size=5).map(tuple),
    sampling_rate=st.none() | st.floats(1, 1e4),
    window=st.none() | st.integers(1, 10**6),
    unit=st.none() | st.sampled_from(["uV", "mV", "V"]),
    architecture=st.none() | texts,
    seed=st.none() | st.integers(0, 2**40),
    data=st.none() | st.fixed_dictionaries({"fingerprint": texts, "source": texts}),
    split=st.none() | st.fixed_dictionaries({"seed": st.integers(0, 9), "test_records": st.none() | st.lists(texts)}),
    input_step_uv=st.none() | st.floats(1e-3, 1e3),
)


@given(METADATA)
def test_properties_are_text_and_round_trip(metadata: ModelMetadata) -> None:
    props = metadata.to_props()
    assert all(key.startswith("edgeguard.") and isinstance(value, str) for key, value in props.items())
    assert ModelMetadata.from_props(props) == metadata


def test_values_are_json_under_prefixed_keys() -> None:
    props = ModelMetadata(classes=("N", "~"), sampling_rate=300.0, window=9000).to_props()
    assert json.loads(props["edgeguard.classes"]) == ["N", "~"]
    assert json.loads(props["edgeguard.schema"]) == "edgeguard.model/1"
    assert json.loads(props["edgeguard.unit"]) == "uV"
    assert "edgeguard.seed" not in props


def test_a_foreign_file_says_nothing() -> None:
    assert ModelMetadata.from_props({"author": "x"}) == ModelMetadata(schema=None, unit=None)


def test_options_win_over_the_file_unless_they_are_none() -> None:
    props = ModelMetadata(sampling_rate=300.0, window=9000).to_props()
    metadata = ModelMetadata.from_props(props, sampling_rate=250.0, window=None)
    assert (metadata.sampling_rate, metadata.window) == (250.0, 9000)


@pytest.mark.parametrize(
    ("key", "text"),
    [("window", "9000 samples"), ("window", '"9000"'), ("classes", '"NAO~"'), ("split", "[1]")],
)
def test_a_damaged_value_is_named(key: str, text: str) -> None:
    with pytest.raises(InputError, match=f"edgeguard.{key}"):
        ModelMetadata.from_props({f"edgeguard.{key}": text})
