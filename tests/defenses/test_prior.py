"""The frequencies of the training part, restored: exact where a network has learnt the posterior."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from edgeguard.defenses.config import TrainConfig
from edgeguard.defenses.prior import restore_prior
from edgeguard.defenses.trainer import fit
from edgeguard.ecg.dataset import Dataset
from edgeguard.ecg.split import oversample, split
from edgeguard.errors import InputError
from edgeguard.evaluation.metrics import scores

MakeConfig = Callable[..., TrainConfig]
LABELS = np.array([0, 0, 0, 0, 0, 1, 1, 2, 2, 2, 3])
TRUE = np.arange(11)
TRAINED = np.concatenate([TRUE, [5, 6], [10] * 5])


def test_a_learnt_posterior_becomes_the_one_of_the_true_frequencies():
    """Bayes by hand: p(y|x) of likelihoods under the copied frequencies, then under the true ones."""
    likelihood = np.random.default_rng(0).dirichlet([1.0] * 4, size=6)
    frequency = {name: np.bincount(LABELS[index]) / len(index) for name, index in (("t", TRAINED), ("r", TRUE))}
    posterior = {name: likelihood * f / (likelihood * f).sum(1, keepdims=True) for name, f in frequency.items()}
    head = nn.Linear(4, 4)
    with torch.no_grad():
        head.weight.copy_(torch.eye(4))
        head.bias.zero_()
    restore_prior(nn.Sequential(nn.Linear(9, 4), head), LABELS, TRAINED, TRUE, classes=4, strength=1.0)
    restored = torch.softmax(head(torch.from_numpy(np.log(posterior["t"])).float()), 1).detach().numpy()
    np.testing.assert_allclose(restored, posterior["r"], rtol=1e-4)


@pytest.mark.parametrize("strength", [0.0, 0.25, 1.0])
def test_the_step_is_the_log_of_the_ratio(strength: float):
    head = nn.Linear(3, 4)
    before = head.bias.detach().clone()
    restore_prior(head, LABELS, TRAINED, TRUE, classes=4, strength=strength)
    ratio = np.array([5 / 11, 2 / 11, 3 / 11, 1 / 11]) / np.array([5 / 18, 4 / 18, 3 / 18, 6 / 18])
    np.testing.assert_allclose((head.bias - before).detach(), strength * np.log(ratio), atol=1e-6)


def test_a_class_without_records_is_left_alone():
    head = nn.Linear(3, 5)
    before = head.bias.detach().clone()
    restore_prior(head, LABELS, TRAINED, TRUE, classes=5, strength=1.0)
    assert torch.equal(head.bias[4], before[4]) and torch.isfinite(head.bias).all()


@pytest.mark.parametrize("model", [nn.ReLU(), nn.Linear(3, 5), nn.Linear(3, 4, bias=False)])
def test_a_network_without_such_a_layer_is_refused(model: nn.Module):
    with pytest.raises(InputError, match="--prior"):
        restore_prior(model, LABELS, TRAINED, TRUE, classes=4, strength=0.5)


@pytest.mark.parametrize("soft", [False, True])
def test_a_stage_on_hard_labels_ends_with_it_and_is_judged_after_it(
    config: MakeConfig, dataset: Dataset, tmp_path: Path, soft: bool
):
    """Soft labels come from a network that has it already."""
    parts = split(dataset, seed=0)
    table = torch.from_numpy(np.random.default_rng(0).dirichlet([1.0] * 4, len(dataset))).float() if soft else None
    biases, weights = [], []
    for strength in (0.0, 1.0):
        run, judged = tmp_path / str(strength), []

        def judge(labels: np.ndarray, predicted: np.ndarray, judged: list = judged) -> dict[str, float]:
            judged.append(predicted)
            return scores(labels, predicted, 4)

        run.mkdir()
        settings = config(arch="tiny_networks:plain", prior=strength)
        fitted = fit(settings, dataset, parts, run, device=torch.device("cpu"), judge=judge, soft_labels=table)
        biases.append(fitted.model[-1].bias.detach())
        weights.append(fitted.model[-1].weight.detach())
        assert fitted.log[-1]["validation"] == scores(dataset.labels[parts.validation], judged[-1], 4)
        assert len(judged) == settings.epochs + (strength > 0 and not soft)
    counts = [
        np.bincount(dataset.labels[i], minlength=4) / len(i) for i in (parts.train, oversample(dataset, parts.train))
    ]
    step = np.zeros(4) if soft else np.log(counts[0] / counts[1])
    np.testing.assert_allclose((biases[1] - biases[0]).numpy(), step, atol=1e-6)
    assert torch.equal(*weights)
