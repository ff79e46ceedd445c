"""What an ONNX file says about itself: its `metadata_props`, typed."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from edgeguard.errors import InputError

SCHEMA = "edgeguard.model/1"
PREFIX = "edgeguard."


@dataclass(frozen=True)
class ModelMetadata:
    """The facts that a classifier file carries; None where a file does not say.

    The defaults are those of a file that EdgeGuard writes; `from_props` leaves what a file lacks at None.

    Attributes:
        schema: `edgeguard.model/1`.
        classes: class names in the order of the logits.
        sampling_rate: hertz.
        window: samples of the input window.
        unit: of the input samples: uV, mV or V.
        threshold: probability from which a single output means the second class; None for an output a class.
        architecture: name in the registry of networks.
        defense: name of the training recipe.
        seed: of the training run.
        data: {fingerprint, source} of the data set that the run was trained on.
        split: {seed, fractions, test_records} of that data set's division.
        calibration: how the quantiser's ranges were found: {method, exclude, windows, seed} and, where candidates were
            ranked, their table, the best first.
        parent_sha256: digest of the run's weights.safetensors.
        float_sha256: digest of the float ONNX file that the file was quantised from, where that was no run's.
        input_step_uv: step of the input quantiser in microvolts.
        input_bits: width of the input's codes: 8 or 16; None where the input is not quantised.
        weight_bits: width of the weights' codes: 8, or 7 in a portable file.
        float_convolutions: convolutions that are meant to stay in float (a stem behind a 16-bit input).
        requires_vnni: whether pairs of 8-bit products may leave int16, so that processors without VNNI must add them
            in another way; False is a proof from the weights, see `edgeguard.runtime.saturation`.
        tool_version: of EdgeGuard.
        hop: samples that a streaming file takes at a time; a file that says so is a streaming file, and `window` and
            all else are those of the window model that it was made from.
        receptive_field: samples that one pooled feature of a stream sees.
        lag: samples at the end of a hop that no feature sees yet, as at the end of the window.
        initial_state: what every element of a state `past_*` of a streaming file begins with.
        window_sha256: of the window model's file.
        equality: of a streaming file and its window model: `equal` bits, or `close` where sums are float or the window
            model pads.
        proof: how that was shown: {hops, difference}; where the window model pads, how far decisions are from its own:
            {hops, changed, difference, source}.
    """

    schema: str | None = SCHEMA
    classes: tuple[str, ...] | None = None
    sampling_rate: float | None = None
    window: int | None = None
    unit: str | None = "uV"
    threshold: float | None = None
    architecture: str | None = None
    defense: str | None = None
    seed: int | None = None
    data: dict[str, Any] | None = None
    split: dict[str, Any] | None = None
    calibration: dict[str, Any] | None = None
    parent_sha256: str | None = None
    float_sha256: str | None = None
    input_step_uv: float | None = None
    input_bits: int | None = None
    weight_bits: int | None = None
    float_convolutions: int | None = None
    requires_vnni: bool | None = None
    tool_version: str | None = None
    hop: int | None = None
    receptive_field: int | None = None
    lag: int | None = None
    initial_state: dict[str, int] | None = None
    window_sha256: str | None = None
    equality: str | None = None
    proof: dict[str, Any] | None = None

    def to_props(self) -> dict[str, str]:
        """JSON-encoded values under `edgeguard.` keys; a field that is None is left out."""
        known = {field.name: getattr(self, field.name) for field in fields(self)}
        return {PREFIX + name: json.dumps(value) for name, value in known.items() if value is not None}

    @classmethod
    def from_props(cls, props: Mapping[str, str], **overrides: Any) -> "ModelMetadata":
        """Read `metadata_props`; keys without the prefix and unknown keys are ignored.

        Args:
            props: key -> JSON text.
            overrides: values that win over those of the file, unless None.

        Raises InputError for a value that is not JSON or has another type than its field.
        """
        values: dict[str, Any] = {}
        for field in fields(cls):
            text = props.get(PREFIX + field.name)
            values[field.name] = None if text is None else _decode(field.name, text)
        values |= {name: value for name, value in overrides.items() if value is not None}
        if values["classes"] is not None:
            values["classes"] = tuple(values["classes"])
        return cls(**values)


_TYPES: dict[str, type | tuple[type, ...]] = {
    "classes": list,
    "sampling_rate": (int, float),
    "window": int,
    "threshold": (int, float),
    "seed": int,
    "data": dict,
    "split": dict,
    "calibration": dict,
    "input_step_uv": (int, float),
    "input_bits": int,
    "weight_bits": int,
    "float_convolutions": int,
    "requires_vnni": bool,
    "hop": int,
    "receptive_field": int,
    "lag": int,
    "initial_state": dict,
    "proof": dict,
}
"""JSON types of the fields that are not text."""


def _decode(name: str, text: str) -> Any:
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        raise InputError(f"metadata {PREFIX}{name}: {text[:40]!r} is not JSON; export the file anew") from error
    if value is not None and not isinstance(value, _TYPES.get(name, str)):
        raise InputError(f"metadata {PREFIX}{name}: {text[:40]!r} has the wrong type; export the file anew")
    return value
