from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeguard.ecg.dataset import Dataset, build
from edgeguard.ecg.record import CLASSES, Record
from edgeguard.ecg.split import oversample, split, split_from, stratified
from edgeguard.errors import InputError


def make(counts: tuple[int, ...], *, copies: int = 0, classes: tuple[str, ...] = CLASSES) -> Dataset:
    """So many records of each class with distinct samples; the first `copies` stand there a second time."""
    labels = [name for name, count in zip(classes, counts, strict=True) for _ in range(count)]
    records = [Record(f"r{i}", np.array([i + 1.0, 7.0]), label=label) for i, label in enumerate(labels)]
    again = [Record(f"copy{i}", records[i].ecg, label=records[i].label) for i in range(copies)]
    return build("here", [*records, *again], window=4, classes=classes)


PARTS = ("train", "validation", "test")


@settings(max_examples=30, deadline=None)
@given(
    st.tuples(*[st.integers(10, 60)] * 4),
    st.integers(0, 10),
    st.integers(0, 2**31),
    st.sampled_from([(0.8, 0.1, 0.1), (0.5, 0.25, 0.25), (0.34, 0.33, 0.33)]),
)
def test_parts_are_disjoint_by_record_and_content_and_miss_nothing(
    counts: tuple[int, ...], copies: int, seed: int, fractions: tuple[float, float, float]
):
    dataset = make(counts, copies=copies)
    parts = split(dataset, seed=seed, fractions=fractions)
    index = [getattr(parts, part) for part in PARTS]
    assert sorted(np.concatenate(index)) == list(range(len(dataset)))
    contents = [{dataset.content[i] for i in part} for part in index]
    assert not (contents[0] & contents[1] or contents[0] & contents[2] or contents[1] & contents[2])
    for label, count in enumerate(counts):
        for part, fraction in zip(index, fractions, strict=True):
            originals = [i for i in part if dataset.labels[i] == label and not dataset.names[i].startswith("copy")]
            assert abs(len(originals) - fraction * count) <= 1


def test_the_same_seed_gives_the_same_parts_and_another_others():
    dataset = make((50, 20, 30, 10))
    first, again, other = split(dataset, seed=1), split(dataset, seed=1), split(dataset, seed=2)
    for part in PARTS:
        assert np.array_equal(getattr(first, part), getattr(again, part))
    assert not np.array_equal(first.test, other.test)
    config = {"seed": 1, "fractions": [0.8, 0.1, 0.1], "test_records": None}
    assert np.array_equal(split_from(dataset, config).test, first.test)


def test_the_share_of_each_class_is_that_of_the_whole():
    dataset = make((500, 70, 230, 30))
    parts = split(dataset)
    assert Counter(dataset.labels[parts.test].tolist()) == {0: 50, 1: 7, 2: 23, 3: 3}
    assert Counter(dataset.labels[parts.train].tolist()) == {0: 400, 1: 56, 2: 184, 3: 24}


def test_named_test_records_are_the_test_part_and_their_copies_are_nowhere_else():
    dataset = make((20, 20, 20, 20), copies=3)
    parts = split(dataset, test_records=["r0", "r25", "r1"], seed=3)
    assert parts.names(dataset)["test"] == ["r0", "r1", "r25"]
    learnt = {dataset.names[i] for i in np.concatenate([parts.train, parts.validation])}
    assert not learnt & {"r0", "r1", "r25", "copy0", "copy1"}
    assert len(learnt) == len(dataset) - 5
    # 8 : 1 of what is left of each class: 18 N (one with a copy), 19 A, 20 O, 20 ~
    assert Counter(dataset.labels[parts.validation].tolist()) == {0: 2, 1: 2, 2: 2, 3: 2}
    config = {"seed": 3, "fractions": [0.8, 0.1, 0.1], "test_records": ["r0", "r25", "r1"]}
    assert np.array_equal(split_from(dataset, config).train, parts.train)


def test_named_test_records_work_with_no_share_for_a_test_part():
    parts = split(make((20, 0, 0, 0)), fractions=(0.9, 0.1, 0.0), test_records=["r3"])
    assert (len(parts.train), len(parts.validation), parts.test.tolist()) == (17, 2, [3])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"fractions": (0.8, 0.1, 0.2)}, "sum to 1"),
        ({"fractions": (1.1, -0.1, 0.0)}, "not be negative"),
        ({"fractions": (0.0, 0.0, 1.0), "test_records": ["r1"]}, "train not 0"),
        ({"test_records": ["r1", "z1", "z2"]}, r"2 of 3 are not in here \(first: z1\)"),
        ({"test_records": []}, "leave the test part empty"),
        ({"fractions": (0.99, 0.0, 0.01)}, "leave the validation part empty"),
    ],
)
def test_impossible_splits_are_refused(options: dict[str, object], message: str):
    with pytest.raises(InputError, match=message):
        split(make((10, 10, 10, 10)), **options)


def test_rare_classes_get_one_and_five_extra_copies():
    dataset = make((60, 8, 10, 6))
    index = np.flatnonzero(np.arange(len(dataset)) % 2 == 0)
    drawn = Counter(oversample(dataset, index).tolist())
    assert drawn == {i: {0: 1, 1: 2, 2: 1, 3: 6}[int(dataset.labels[i])] for i in index}


def test_no_class_is_copied_beyond_the_largest():
    balanced = make((7, 7, 7, 7))
    assert np.array_equal(oversample(balanced, np.arange(28)), np.arange(28))
    nearly = make((10, 6, 10, 3))
    counts = np.bincount(nearly.labels[oversample(nearly, np.arange(29))])
    assert counts.tolist() == [10, 6, 10, 9]


@pytest.mark.parametrize(
    ("classes", "counts", "drawn"),
    [
        (("N", "A", "O"), (4061, 606, 1932), (4061, 2 * 606, 1932)),  # CinC 2017's training part: its own rule
        (("w", "x", "y", "z"), (4061, 606, 1932, 223), (4061, 2 * 606, 1932, 6 * 223)),
        (("no", "yes"), (90, 30), (90, 30)),
        (("no", "yes"), (90, 15), (90, 30)),
        (("yes", "no"), (2, 90), (12, 90)),  # six times at most
        (("a", "b", "c", "d", "e"), (0, 9, 9, 2, 60), (0, 18, 18, 12, 60)),
    ],
)
def test_rare_classes_of_any_other_list_come_up_to_a_third_of_the_largest(
    classes: tuple[str, ...], counts: tuple[int, ...], drawn: tuple[int, ...]
):
    dataset = make(counts, classes=classes)
    index = np.arange(len(dataset))
    taken = oversample(dataset, index)
    assert np.bincount(dataset.labels[taken], minlength=len(classes)).tolist() == list(drawn)
    assert set(taken) == set(index)


def test_stratified_keeps_proportions_and_is_seeded():
    labels = np.repeat([0, 1, 2], [60, 30, 10])
    index = np.arange(100)
    drawn = stratified(labels, index, 20, seed=1)
    assert np.bincount(labels[drawn]).tolist() == [12, 6, 2]
    assert np.array_equal(drawn, stratified(labels, index, 20, seed=1))
    assert not np.array_equal(drawn, stratified(labels, index, 20, seed=2))
    assert np.array_equal(stratified(labels, index, 200), index)
