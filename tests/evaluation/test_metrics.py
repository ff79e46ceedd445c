import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeguard.evaluation.metrics import (
    accuracies,
    accuracy,
    class_f1,
    confusion_matrix,
    drop_own,
    drop_ref,
    macro_f1,
    mean_f1,
    scores,
    three_class_f1,
)

KNOWN = np.array([[50, 2, 6, 2], [3, 20, 5, 2], [8, 4, 30, 3], [1, 0, 2, 12]])
"""Row sums 60, 30, 45, 15; column sums 62, 26, 43, 19; 112 of 150 on the diagonal."""


def test_f1_of_a_known_matrix():
    expected = [2 * 50 / (60 + 62), 2 * 20 / (30 + 26), 2 * 30 / (45 + 43), 2 * 12 / (15 + 19)]
    np.testing.assert_allclose(class_f1(KNOWN), expected, rtol=1e-15)
    assert macro_f1(KNOWN) == pytest.approx(0.7304146, abs=1e-7)
    assert accuracy(KNOWN) == pytest.approx(112 / 150)


def test_the_challenges_score_of_a_known_matrix():
    """Clifford et al. 2017: (F1n + F1a + F1o) / 3; Noise counts as what the others are taken for, and no more."""
    assert three_class_f1(KNOWN, "NAO~") == pytest.approx((100 / 122 + 40 / 56 + 60 / 88) / 3)
    quiet = KNOWN.copy()
    quiet[3, 3] = 900
    assert three_class_f1(quiet, "NAO~") == three_class_f1(KNOWN, "NAO~") != macro_f1(quiet)


def test_the_challenges_classes_are_found_by_name():
    order = [3, 1, 0, 2]
    moved = KNOWN[np.ix_(order, order)]
    assert three_class_f1(moved, ("~", "A", "N", "O")) == pytest.approx(three_class_f1(KNOWN, ("N", "A", "O", "~")))
    assert three_class_f1(np.array([[3, 1], [0, 4]]), ("N", "A")) == pytest.approx((6 / 7 + 8 / 9) / 2)
    with pytest.raises(ValueError, match="none of N, A, O among the classes x, y"):
        three_class_f1(np.eye(2), ("x", "y"))


def test_several_matrices_at_once():
    both = np.stack([KNOWN, KNOWN.T * 2, np.zeros((4, 4), int)])
    np.testing.assert_array_equal(accuracies(both), [accuracy(one) for one in both])
    np.testing.assert_array_equal(mean_f1(both), [macro_f1(one) for one in both])
    np.testing.assert_array_equal(mean_f1(both, [0, 1, 2]), [three_class_f1(one, "NAO~") for one in both])
    both = both[:2]
    np.testing.assert_array_equal(class_f1(both), np.stack([class_f1(KNOWN), class_f1(KNOWN)]))


def test_rows_are_true_and_columns_predicted():
    confusion = confusion_matrix(np.array([0, 0, 1, 3]), np.array([0, 2, 1, 0]), 4)
    assert confusion.tolist() == [[1, 0, 1, 0], [0, 1, 0, 0], [0, 0, 0, 0], [1, 0, 0, 0]]


@given(
    pairs=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=40),
)
@settings(max_examples=60, deadline=None)
def test_f1_is_the_harmonic_mean_of_precision_and_recall(pairs: list[tuple[int, int]]):
    labels, predicted = np.array(pairs).T
    f1 = class_f1(confusion_matrix(labels, predicted, 4))
    for c in range(4):
        right = sum(t == p == c for t, p in pairs)
        true, named = sum(t == c for t, _ in pairs), sum(p == c for _, p in pairs)
        if true + named == 0:
            assert np.isnan(f1[c])
        elif right == 0:
            assert f1[c] == 0
        else:
            recall, precision = right / true, right / named
            assert f1[c] == pytest.approx(2 * recall * precision / (recall + precision))
    both = scores(labels, predicted, 4)
    assert both["accuracy"] == pytest.approx(np.mean(labels == predicted))
    assert both["f1"] == pytest.approx(np.nanmean(f1))


def test_an_absent_class_does_not_count():
    """Two classes only, all right: 1, not 2 / 4."""
    assert scores(np.array([0, 1]), np.array([0, 1]), 4) == {"accuracy": 1.0, "f1": 1.0}


def test_no_records_have_no_score():
    empty = np.zeros((4, 4), int)
    assert np.isnan(accuracy(empty)) and np.isnan(macro_f1(empty)) and np.isnan(class_f1(empty)).all()


def test_the_papers_drops_of_adt_under_pgd():
    """Table 5 of the ADT paper, row ADT: against the undefended networks' clean .8631 and .7746."""
    assert round(100 * drop_ref(0.8631, 0.8115), 2) == 5.98
    assert round(100 * drop_ref(0.7746, 0.6595), 2) == 14.86
    assert round(100 * drop_own(0.8631, 0.8115), 2) == 5.98
    assert drop_own(0.5, 0.6) == pytest.approx(-0.2)
