"""The weights that count are the running average: against one computed by hand, and after a stop and a start."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from edgeguard.defenses import checkpoint
from edgeguard.defenses.averaging import averaged
from edgeguard.defenses.config import TrainConfig
from edgeguard.defenses.train import Job, train
from edgeguard.defenses.trainer import fit
from edgeguard.ecg.dataset import Dataset
from edgeguard.ecg.split import oversample, split
from edgeguard.evaluation.metrics import scores
from edgeguard.models.run import WEIGHTS

CPU = torch.device("cpu")
MakeConfig = Callable[..., TrainConfig]
MakeJob = Callable[..., Job]


def test_the_average_is_the_one_computed_by_hand():
    """a_1 = w_1, then a_t = (1 - 1/h) a_{t-1} + w_t / h, statistics of BatchNorm included."""
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    average = averaged(model, 5)
    assert average is not None
    rng, by_hand = np.random.default_rng(0), {}
    for turn in range(12):
        for name, value in model.state_dict().items():
            if value.is_floating_point():
                value.copy_(torch.from_numpy(rng.normal(size=value.shape)))
                weights = value.double().numpy().copy()
                by_hand[name] = weights if turn == 0 else by_hand[name] * (1 - 1 / 5) + weights / 5
        average.update_parameters(model)
    for name, expected in by_hand.items():
        np.testing.assert_allclose(average.module.state_dict()[name].numpy(), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("horizon", [0, -1])
def test_without_a_horizon_there_is_none(horizon: int):
    assert averaged(nn.Linear(2, 2), horizon) is None


def trained(config: MakeConfig, dataset: Dataset, run: Path, averaging: float) -> dict[str, torch.Tensor]:
    run.mkdir()
    settings = config(epochs=3, averaging=averaging)
    judge = lambda labels, predicted: scores(labels, predicted, 4)  # noqa: E731
    return fit(settings, dataset, split(dataset, seed=0), run, device=CPU, judge=judge).model.state_dict()


def test_an_average_over_one_step_is_the_weights_themselves(config: MakeConfig, dataset: Dataset, tmp_path: Path):
    steps = -(-len(oversample(dataset, split(dataset, seed=0).train)) // 32)
    plain, one = (trained(config, dataset, tmp_path / str(h), h) for h in (0.0, 1 / steps))
    assert all(torch.equal(value, one[name]) for name, value in plain.items())


def test_an_average_over_epochs_is_other_weights(config: MakeConfig, dataset: Dataset, tmp_path: Path):
    plain, mean = (trained(config, dataset, tmp_path / str(h), h) for h in (0.0, 2.0))
    assert not torch.allclose(plain["0.weight"], mean["0.weight"])


@pytest.mark.parametrize("defense", ["none", "at"])
def test_a_stopped_training_goes_on_to_the_same_bytes(make_job_in: MakeJob, tmp_path: Path, defense: str, monkeypatch):
    options = dict(defense=defense, epochs=4, averaging=1.5, distort=True, prior=0.5, halves="apart")
    train(make_job_in(tmp_path / "whole", **options))
    save, left = checkpoint.save, [2]

    def failing(*arguments: object) -> None:
        save(*arguments)
        left[0] -= 1
        if left[0] == 0:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(checkpoint, "save", failing)
        train(make_job_in(tmp_path / "stopped", **options))
    train(make_job_in(tmp_path / "stopped", job_resume=True, **options))
    assert (tmp_path / "stopped" / WEIGHTS).read_bytes() == (tmp_path / "whole" / WEIGHTS).read_bytes()


def test_a_checkpoint_without_the_average_is_passed_over(tmp_path: Path):
    model = nn.Linear(2, 2)
    optimizer = torch.optim.AdamW(model.parameters())
    checkpoint.save(tmp_path, model, optimizer, [{"epoch": 1}])
    assert checkpoint.restore(tmp_path, model, optimizer, averaged(model, 3)) == []
    assert checkpoint.restore(tmp_path, model, optimizer) == [{"epoch": 1}]
