"""How an audit came about."""

import shlex
from datetime import datetime
from pathlib import Path

import edgeguard
from edgeguard.evaluation.audit.provenance import provenance, repeating_command


def test_the_command_repeats_the_audit() -> None:
    options = {
        "quick": True,
        "full": False,
        "data": "a b.zip",
        "labels": None,
        "sampling_rate": 300.0,
        "out": Path("o"),
    }
    command = repeating_command(Path("my model.onnx"), **options)
    words = ["edgeguard", "audit", "my model.onnx", "--quick", "--data", "a b.zip", "--sampling-rate", "300.0"]
    assert shlex.split(command) == [*words, "--out", "o"]


def test_versions_processor_and_times() -> None:
    made = provenance("edgeguard audit x", seed=3, seconds={"ladder": 1.23456})
    assert made.versions["edgeguard"] == edgeguard.__version__ and {"torch", "onnxruntime"} <= set(made.versions)
    assert made.processor["architecture"] and made.seconds == {"ladder": 1.235} and made.seed == 3
    assert datetime.fromisoformat(made.date).tzinfo is not None
