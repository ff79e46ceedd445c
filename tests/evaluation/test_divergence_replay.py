"""A divergence file is believed only where the parties' files, judged anew, differ as it says."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgeguard.errors import InputError
from edgeguard.evaluation.divergences import Divergences, replay_divergences, save_divergences
from edgeguard.runtime.metadata import ModelMetadata
from edgeguard.runtime.session import OnnxModel, open_model

T = 40
METADATA = ModelMetadata(classes=("N", "A"), sampling_rate=300.0, window=T, unit="uV")
Parties = tuple[OnnxModel, OnnxModel]


def open_threshold(path: Path, level: float, metadata: ModelMetadata = METADATA) -> OnnxModel:
    """Class A where the sum of the samples exceeds T times a level, microvolts."""
    weight = np.stack([np.full(T, -1), np.full(T, 1)], 1).astype(np.float32)
    bias = np.array([level * T, -level * T], np.float32)
    graph = helper.make_graph(
        [helper.make_node("Flatten", ["ecg"], ["rows"]), helper.make_node("Gemm", ["rows", "w", "b"], ["logits"])],
        "threshold",
        [helper.make_tensor_value_info("ecg", TensorProto.FLOAT, ["batch", 1, T])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 2])],
        [numpy_helper.from_array(weight, "w"), numpy_helper.from_array(bias, "b")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    helper.set_model_props(model, metadata.to_props())
    onnx.save(model, path)
    return open_model(path)


@pytest.fixture
def parties(tmp_path: Path) -> Parties:
    """A begins at 41 uV for the first, at 47 uV for the second."""
    return open_threshold(tmp_path / "first.onnx", 41), open_threshold(tmp_path / "second.onnx", 47)


@pytest.fixture
def found(parties: Parties) -> Divergences:
    """From 40 uV up to 44, where only the second still says N; from 50 down to 47, where it ties, and loses A."""
    return Divergences(
        parties=("first.onnx", "second.onnx"),
        sha256=(parties[0].sha256, parties[1].sha256),
        names=np.array(["R4", "R5"]),
        labels=np.array([0, 1]),
        original=np.repeat(np.array([[40.0], [50]], np.float32), T, 1),
        adversarial=np.repeat(np.array([[44.0], [47]], np.float32), T, 1),
        predicted=np.array([[1, 0], [1, 0]]),
        eps=5.0,
        tried=9,
    )


@pytest.fixture
def save(tmp_path: Path) -> Callable[[Divergences], Path]:
    def written(found: Divergences) -> Path:
        save_divergences(found, tmp_path / "d.npz", classes=METADATA.classes or (), sampling_rate=300.0)
        return tmp_path / "d.npz"

    return written


def test_true_divergences_hold_by_either_party_or_both(found: Divergences, parties: Parties, save):
    path = save(found)
    for models in (parties, parties[::-1], parties[:1], parties[1:]):
        replay = replay_divergences(path, models)
        assert replay.holds and replay.same_file and replay.names == ["R4", "R5"]
    assert replay_divergences(path, parties[1:]).checks[0].name == "second"


@pytest.mark.parametrize(
    ("changes", "failures"),
    [
        ({"adversarial": np.repeat([[41.0], [47]], T, 1)}, []),
        ({"adversarial": np.repeat([[40.0], [47]], T, 1)}, [("R4", ["first"])]),
        ({"adversarial": np.repeat([[44.0], [48]], T, 1)}, [("R5", ["second"])]),
        ({"adversarial": np.repeat([[44.5], [47]], T, 1)}, [("R4", ["codes"])]),
        ({"eps": 3.5}, [("R4", ["eps"])]),
        ({"predicted": np.array([[1, 0], [1, 1]])}, [("R5", ["second", "opposed"])]),
    ],
)
def test_tampering_is_caught(found: Divergences, parties: Parties, save, changes: dict, failures: list):
    """At 41 uV the first party ties, which counts as wrong, as stated."""
    replay = replay_divergences(save(replace(found, **changes)), parties)
    assert replay.failures == failures and replay.holds == (not failures)


def test_other_files_are_judged_and_said(found: Divergences, parties: Parties, save, tmp_path: Path):
    path, other = save(found), open_threshold(tmp_path / "other.onnx", 45)
    replay = replay_divergences(path, [parties[0], other])
    assert not replay.same_file and replay.failures == [("R5", ["second"])]
    assert replay_divergences(path, [other, parties[0]]).failures == replay.failures
    with pytest.raises(InputError, match=r"neither first\.onnx nor second\.onnx; name two files"):
        replay_divergences(path, [other])
    for metadata in (replace(METADATA, classes=("A", "N")), replace(METADATA, sampling_rate=250.0)):
        with pytest.raises(InputError, match="name the file they are of"):
            replay_divergences(path, [open_threshold(tmp_path / "other.onnx", 45, metadata), parties[0]])


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("labels", np.array([0, 2])),
        ("labels", np.array([0.0, 1.0])),
        ("predicted", np.array([1, 0])),
        ("predicted", np.array([[1, -1], [1, 0]])),
        ("original", np.zeros((2, T - 1))),
        ("adversarial", np.full((2, T), np.nan)),
        ("adversarial", np.zeros((1, T))),
        ("names", np.array(["R4", None], object)),
        ("parties", np.array(["first.onnx"])),
        ("schema", np.array("edgeguard.witnesses/2")),
    ],
)
def test_damage_is_refused(found: Divergences, parties: Parties, save, name: str, value: np.ndarray):
    path = save(found)
    with np.load(path) as stored:
        arrays = {key: stored[key] for key in stored.files}
    np.savez(path, **{**arrays, name: value})
    with pytest.raises(InputError, match=r"d\.npz: no divergence witnesses \(.*\); write them anew"):
        replay_divergences(path, parties)
