"""The public split: the parts of `edgeguard.train`, by place and by name."""

import numpy as np
import pytest

import edgeguard
from edgeguard.ecg.split import split


def test_the_parts_are_those_of_a_training() -> None:
    records = edgeguard.load_records("synthetic:80")
    parts, expected = edgeguard.split(records, seed=3), split(records, seed=3)
    for name in ("train", "validation", "test"):
        index = getattr(parts, name)
        np.testing.assert_array_equal(index, getattr(expected, name))
        assert parts.names[name] == tuple(records.names[i] for i in index)
    assert repr(records) == "Dataset(synthetic:80: 80 records of N,A,O,~, 300 Hz, windows of 9,000 samples)"
    assert repr(parts) == "Parts(synthetic:80, seed 3: 64 train, 8 validation, 8 test)"


def test_arrays_are_split_with_their_copies_on_one_side() -> None:
    rng = np.random.default_rng(0)
    ecg = np.rint(rng.normal(0, 100, (40, 50))).astype(np.float32)
    ecg[20:] = ecg[:20]
    labels = np.tile(["N", "A"], 20)
    parts = edgeguard.split(ecg=ecg, labels=labels, fractions=(0.6, 0.2, 0.2))
    assert sorted(np.concatenate([parts.train, parts.validation, parts.test])) == list(range(40))
    for index in (parts.train, parts.validation, parts.test):
        assert {i % 20 for i in index} == {i % 20 for i in index if i < 20} == {i % 20 for i in index if i >= 20}
        assert len(index) in (24, 8)
    with pytest.raises(edgeguard.InputError, match="sum to 1"):
        edgeguard.split(ecg=ecg, labels=labels, fractions=(0.6, 0.2, 0.5))
