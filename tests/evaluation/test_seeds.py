"""Several seeds pooled: means and deviations by hand, the interval of one network, and what cannot be pooled."""

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import edgeguard
from edgeguard.errors import InputError
from edgeguard.evaluation.result import EvaluationResult
from edgeguard.evaluation.seeds import PooledSeeds

RECORDS = 60
QUICK: dict[str, Any] = dict(attacks=("clean", "pgd"), losses=("margin",), eps=2, alpha=2, steps=1, checks=False)


class Threshold(nn.Module):
    """`yes` where the mean lies above a threshold, microvolts."""

    def __init__(self, threshold: float) -> None:
        super().__init__()
        self.threshold = threshold

    def forward(self, ecg: torch.Tensor) -> torch.Tensor:
        mean = ecg.mean((1, 2)) - self.threshold
        return torch.stack([-mean, mean], 1)


def judged(threshold: float, *, records: int = RECORDS, **options: Any) -> EvaluationResult:
    """A network's accuracy on records of means 0.5, 1.5, ..., half of them `yes`: those above 30 microvolts."""
    ecg = np.repeat(np.arange(records)[:, None] + 0.5, 8, axis=1).astype(np.float32)
    labels = np.where(np.arange(records) < 30, "no", "yes")
    shared = {**QUICK, **options}
    return edgeguard.evaluate(Threshold(threshold), ecg=ecg, labels=labels, classes=("no", "yes"), **shared)


def test_means_and_deviations_are_those_of_the_networks() -> None:
    """A threshold d off takes d clean records; an attack of 2 microvolts takes two more on either side."""
    pooled = edgeguard.pool_seeds([judged(30), judged(36), judged(42)])
    clean, pgd = pooled.attacks[:2]
    shares = np.array([60, 54, 48]) / 60
    assert clean.name == "clean" and clean.accuracy.by_seed == pytest.approx(shares)
    assert clean.accuracy.mean.value == pytest.approx(shares.mean())
    assert clean.accuracy.sd == pytest.approx(np.std(shares, ddof=1))
    attacked = np.array([56, 52, 46]) / 60
    assert pgd.accuracy.by_seed == pytest.approx(attacked) and pooled.worst_case.accuracy == pgd.accuracy
    assert (pooled.seeds, pooled.n, pooled.classes, pooled.clean) == (3, 60, ("no", "yes"), clean)
    f1 = [1.0, np.mean([60 / 66, 48 / 54]), np.mean([60 / 72, 36 / 48])]
    assert clean.f1.by_seed == pytest.approx(f1) and clean.f1.mean.value == pytest.approx(np.mean(f1))


def test_seeds_that_differ_widen_the_interval_and_equal_ones_do_not() -> None:
    def width(*thresholds: float) -> float:
        mean = edgeguard.pool_seeds([judged(threshold) for threshold in thresholds]).worst_case.accuracy.mean
        return mean.high - mean.low

    assert width(36, 36, 36) < width(34, 36, 38) < width(31, 36, 41)


def test_one_network_keeps_its_own_interval() -> None:
    result = judged(36)
    pooled = edgeguard.pool_seeds([result])
    assert pooled.clean is not None
    assert (pooled.clean.accuracy.mean, pooled.clean.f1.mean) == (result.accuracy, result.attacks[0].f1)
    assert pooled.worst_case.accuracy.mean == result.worst_case.accuracy and pooled.clean.accuracy.sd is None


def test_the_object_and_its_json_are_the_same() -> None:
    pooled = edgeguard.pool_seeds([judged(30), judged(36)])
    assert PooledSeeds.from_json(json.loads(json.dumps(pooled.to_json(), allow_nan=False))) == pooled
    table = pooled.to_frame()
    assert table["name"].tolist() == ["clean", "pgd", "worst case"]
    assert table["accuracy"].tolist() == [one.accuracy.mean.value for one in pooled.attacks]
    assert (table["seeds"] == 2).all() and (table["accuracy_low"] <= table["accuracy"]).all()
    assert len(repr(pooled)) < 200


def test_what_cannot_be_pooled_is_refused() -> None:
    result = judged(30)
    read = EvaluationResult.from_json(result.to_json())
    others = (
        [],
        [result, read],
        [result, judged(30, records=58)],
        [result, judged(30, eps=3)],
        [result, replace(result, classes=("yes", "no"))],
    )
    for results in others:
        with pytest.raises(InputError) as caught:
            edgeguard.pool_seeds(results)
        assert str(caught.value).startswith("pool_seeds: ") and "\n" not in str(caught.value)
