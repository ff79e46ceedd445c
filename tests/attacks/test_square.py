"""The black-box search against a score whose maximum is known, and what it must leave alone."""

import numpy as np
import pytest

from edgeguard.attacks.square import square

T = 200


@pytest.fixture
def batch() -> tuple[np.ndarray, np.ndarray]:
    """(ecg, mask) of six records; two are padded."""
    ecg = np.rint(np.random.default_rng(0).normal(0, 100, (6, 1, T))).astype(np.float32)
    mask = np.ones((6, 1, T), bool)
    mask[1, :, :30], mask[4, :, -50:] = False, False
    return ecg * mask, mask


def test_it_climbs_to_where_the_score_is_known_to_be_highest(batch: tuple[np.ndarray, np.ndarray]):
    """The score is the sum over the first half less that over the second: +eps there, -eps here."""
    ecg, mask = batch
    sign = np.where(np.arange(T) < T // 2, 1, -1)

    def score(x: np.ndarray) -> np.ndarray:
        return ((x - ecg) * sign).sum((1, 2))

    found = square(score, ecg, mask, eps=5.0, queries=600)
    best = 5.0 * mask.sum((1, 2))
    assert (score(found) > 0.8 * best).all()
    assert (score(found) > score(square(score, ecg, mask, eps=5.0, queries=20))).all()


def test_it_stays_in_its_ball_and_off_the_padding(batch: tuple[np.ndarray, np.ndarray]):
    ecg, mask = batch
    found = square(lambda x: -np.abs(x).sum((1, 2)), ecg, mask, eps=3.0, queries=40)
    assert np.abs(found - ecg).max() == 3 and (found == ecg)[~mask].all()
    assert found.dtype == np.float32 and found.shape == ecg.shape
    assert np.array_equal(square(lambda x: x.sum((1, 2)), ecg, mask, eps=0.0, queries=5), ecg)


def test_it_asks_as_often_as_allowed_and_repeats_itself(batch: tuple[np.ndarray, np.ndarray]):
    ecg, mask = batch
    asked = []

    def score(x: np.ndarray) -> np.ndarray:
        asked.append(len(x))
        return x[:, 0, 7].astype(float)

    first = square(score, ecg, mask, eps=2.0, queries=17, seed=1)
    assert asked == [6] * 17
    assert np.array_equal(first, square(score, ecg, mask, eps=2.0, queries=17, seed=1))
    assert not np.array_equal(first, square(score, ecg, mask, eps=2.0, queries=17, seed=2))
