"""Pairs are what the victim calls right; every file is asked for the original class, in its own order of classes."""

import subprocess
import sys
from collections import Counter
from dataclasses import replace
from itertools import permutations
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgeguard.ecg.dataset import Dataset, build
from edgeguard.ecg.record import CLASSES, Record
from edgeguard.errors import InputError
from edgeguard.evaluation.transfer import Transfer, choose_pairs, judge_transfer, pool, transfer_summary
from edgeguard.runtime.metadata import ModelMetadata
from edgeguard.runtime.session import OnnxModel, open_model

T = 240
METADATA = ModelMetadata(classes=CLASSES, sampling_rate=300.0, window=T, unit="uV", defense="none")
Table = tuple[np.ndarray, np.ndarray, np.ndarray]


def open_linear(path: Path, metadata: ModelMetadata = METADATA, quarters: tuple[int, ...] = (0, 1, 2, 3)) -> OnnxModel:
    """Every logit is the sum of the samples whose number is that of its quarter, modulo 4."""
    weight = np.stack([np.arange(metadata.window or T) % 4 == quarter for quarter in quarters], 1)
    graph = helper.make_graph(
        [helper.make_node("Flatten", ["ecg"], ["rows"]), helper.make_node("MatMul", ["rows", "weight"], ["logits"])],
        "linear",
        [helper.make_tensor_value_info("ecg", TensorProto.FLOAT, ["batch", 1, len(weight)])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", len(quarters)])],
        [numpy_helper.from_array(weight.astype(np.float32), "weight")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    helper.set_model_props(model, metadata.to_props())
    onnx.save(model, path)
    return open_model(path)


@pytest.fixture
def victim(tmp_path: Path) -> OnnxModel:
    return open_linear(tmp_path / "victim.onnx")


def record(number: int, label: str, shape: str, length: int) -> Record:
    """A record labelled as one class and shaped as one that the linear file calls so."""
    ecg = np.zeros(length, np.float32)
    left = (T - length) // 2
    ecg[(np.arange(length) + left) % 4 == CLASSES.index(shape)] = 10 + number
    return Record(f"R{number}", ecg, label=label)


@pytest.fixture
def dataset() -> Dataset:
    """Eight records a class of several lengths, two of `~`, and six that the file calls by another class."""
    lengths = (T, 200, 121)
    records = [record(i, c, c, lengths[i % 3]) for i, c in enumerate("NAO" * 8 + "~~")]
    records += [record(26 + i, "N", "A", T) for i in range(6)]
    return build("made", records, window=T)


def test_pairs_are_right_and_of_every_ordered_pair_of_classes(victim: OnnxModel, dataset: Dataset):
    pairs = choose_pairs(victim, dataset, np.arange(len(dataset)), count=5)
    counted = Counter(zip(pairs.labels.tolist(), pairs.targets.tolist(), strict=True))
    # Of the two records of ~ there are at most two pairs with each other class.
    assert counted == {(a, b): 2 if 3 in (a, b) else 5 for a, b in permutations(range(4), 2)}
    assert (dataset.labels[pairs.originals] == pairs.labels).all()
    assert (dataset.labels[pairs.partners] == pairs.targets).all()
    assert not (set(pairs.originals) | set(pairs.partners)) & set(range(26, 32))
    for label, target in counted:
        rows = (pairs.labels == label) & (pairs.targets == target)
        for side in (pairs.originals[rows], pairs.partners[rows]):
            assert len(np.unique(side)) == len(side)


def test_starts_are_the_partner_within_the_original_and_of_the_target_class(victim: OnnxModel, dataset: Dataset):
    pairs = choose_pairs(victim, dataset, np.arange(len(dataset)))
    starts = pairs.starts(dataset)
    assert starts.shape == (len(pairs), 1, 1, T) and starts.dtype == np.float32
    ecg, mask, _ = dataset.batch(pairs.originals)
    partner = dataset.batch(pairs.partners)[0]
    assert (starts[:, 0][mask] == partner[mask]).all() and (starts[:, 0][~mask] == ecg[~mask]).all()
    assert (victim.labels(starts[:, 0]) == pairs.targets).all()


def test_a_partner_that_the_cut_changes_is_passed_over(victim: OnnxModel):
    """The one long A record is A by its ends alone, which the short original cuts off."""
    long = record(1, "A", "N", T)
    ecg = long.ecg.copy()
    ecg[1:40:4] = 1000
    records = [record(0, "N", "N", 100), replace(long, ecg=ecg), record(2, "A", "A", T)]
    dataset = build("made", records, window=T)
    assert victim.labels(dataset.batch(np.arange(3))[0]).tolist() == [0, 1, 1]
    for seed in range(4):
        pairs = choose_pairs(victim, dataset, np.arange(3), count=1, seed=seed)
        assert pairs.partners[pairs.labels == 0].tolist() == [2]


def test_the_draw_is_seeded_and_from_the_index(victim: OnnxModel, dataset: Dataset):
    index = np.arange(2, len(dataset))
    one, same, other = (choose_pairs(victim, dataset, index, count=2, seed=seed) for seed in (3, 3, 4))
    assert all(np.array_equal(getattr(one, name), getattr(same, name)) for name in vars(one))
    assert not np.array_equal(one.originals, other.originals)
    assert not {0, 1} & (set(one.originals.tolist()) | set(one.partners.tolist()))


def test_no_pairs(victim: OnnxModel, dataset: Dataset):
    with pytest.raises(InputError, match="--pairs 0: at least 1"):
        choose_pairs(victim, dataset, np.arange(len(dataset)), count=0)
    for index in (np.flatnonzero(dataset.labels == 1), np.arange(26, 32), np.arange(0)):
        with pytest.raises(InputError, match="fewer than two classes right"):
            choose_pairs(victim, dataset, index)


def batch_of(*sums: tuple[int, ...]) -> np.ndarray:
    """float32 [N, 1, T]: records whose quarters have these sums."""
    ecg = np.zeros((len(sums), 1, T), np.float32)
    ecg[:, 0, :4] = sums
    return ecg


@pytest.fixture
def table() -> Table:
    """Originals N, A, ~, N; of the adversarial records one stays, one is a tie, two are another class."""
    originals = batch_of((9, 0, 0, 0), (0, 9, 0, 0), (0, 0, 0, 9), (9, 8, 0, 0))
    adversarial = batch_of((9, 8, 0, 0), (0, 9, 9, 0), (1, 0, 0, 0), (8, 9, 0, 0))
    return originals, adversarial, np.array([0, 1, 3, 0])


def test_each_file_answers_in_its_own_order_of_classes(victim: OnnxModel, tmp_path: Path, table: Table):
    """The same network with its classes in another order says the same; with its logits exchanged it does not."""
    turned = open_linear(tmp_path / "turned.onnx", replace(METADATA, classes=("~", "O", "A", "N")), (3, 2, 1, 0))
    deaf = open_linear(tmp_path / "deaf.onnx", replace(METADATA, defense="adt"), (1, 0, 2, 3))
    spent: list[int] = []
    same, equal, other = judge_transfer(victim, *table, [victim, turned, deaf], progress=spent.append)
    assert spent == [4, 4, 4]
    for one in (same, equal):
        assert one.clean.tolist() == [True, True, True, True] and one.adversarial.tolist() == [
            True,
            False,
            False,
            False,
        ]
    # N and A exchanged: only the record of ~ and the adversarial one whose A exceeds its N are called right.
    assert other.clean.tolist() == [False, False, True, False]
    assert other.adversarial.tolist() == [False, False, False, True]
    assert (other.defense, other.sha256, other.model) == ("adt", deaf.sha256, str(tmp_path / "deaf.onnx"))


def test_rates_roles_and_wilson(victim: OnnxModel, table: Table):
    rows = transfer_summary(
        [
            Transfer("v", "a", "none", np.ones(10, bool), np.zeros(10, bool)),
            Transfer("c", "b", "none", np.arange(10) < 8, np.arange(10) < 4),
            Transfer("d", "c", "adt", np.zeros(10, bool), np.ones(10, bool)),
        ],
        victim_sha256="a",
    )
    assert [row["role"] for row in rows] == ["victim", "control", "file"]
    assert [row["clean"]["value"] for row in rows] == [1, 0.8, 0]
    assert [row["adversarial"]["value"] for row in rows] == [0, 0.4, 1]
    assert rows[1]["fooled"] == {**rows[1]["fooled"], "value": 0.5, "n": 8}
    assert rows[2]["fooled"]["n"] == 0 and (rows[2]["fooled"]["low"], rows[2]["fooled"]["high"]) == (0, 1)
    # Wilson's interval of 4 in 10 (Brown, Cai & DasGupta 2001, eq. 4 with z = 1.96).
    z, n, p = 1.959964, 10, 0.4
    middle, half = p + z * z / (2 * n), z * np.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    interval = rows[1]["adversarial"]
    assert interval["low"] == pytest.approx((middle - half) / (1 + z * z / n), abs=1e-6)
    assert interval["high"] == pytest.approx((middle + half) / (1 + z * z / n), abs=1e-6)


def test_victims_are_pooled_for_one_file():
    one = Transfer("f", "a", "at", np.array([True]), np.array([False]))
    two = Transfer("f", "a", "at", np.array([True, False]), np.array([True, False]))
    both = pool([one, two])
    assert both.clean.tolist() == [True, True, False] and both.adversarial.tolist() == [False, True, False]
    with pytest.raises(ValueError, match="one file"):
        pool([one, replace(two, sha256="b")])


def test_files_for_other_records_are_refused(victim: OnnxModel, tmp_path: Path, table: Table):
    for metadata, quarters, reason in (
        (replace(METADATA, window=T + 4), (0, 1, 2, 3), "has a window of samples of 244, the victim 240"),
        (replace(METADATA, sampling_rate=250.0), (0, 1, 2, 3), "has a sampling rate in Hz of 250.0, the victim 300.0"),
        (replace(METADATA, classes=("N", "A", "O")), (0, 1, 2), "has no class ~"),
    ):
        other = open_linear(tmp_path / "other.onnx", metadata, quarters)
        with pytest.raises(InputError, match=f"--transfer .*other.onnx: {reason}"):
            judge_transfer(victim, *table, [other])
    # A class that no record has need not be known.
    originals, adversarial, labels = table
    found = judge_transfer(victim, originals[:2], adversarial[:2], labels[:2], [other])
    assert found[0].clean.all()


@pytest.mark.parametrize("module", ["transfer", "divergences"])
def test_no_torch(module: str):
    program = f"import sys, edgeguard.evaluation.{module}\nprint('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
