"""The loop of one stage against a loop written out here, and what it must not depend on."""

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from edgeguard.attacks.gradient import sap
from edgeguard.defenses.batches import Records, epoch_order
from edgeguard.defenses.config import TrainConfig
from edgeguard.defenses.trainer import fit, learning_rate, logits_of, predict, student_seed
from edgeguard.ecg.dataset import Dataset
from edgeguard.ecg.split import Split, oversample, split
from edgeguard.errors import InputError
from edgeguard.evaluation.metrics import scores
from edgeguard.models.registry import build

CPU = torch.device("cpu")


def judge(labels: np.ndarray, predicted: np.ndarray) -> dict[str, float]:
    return scores(labels, predicted, 4)


@pytest.fixture(scope="module")
def parts(dataset: Dataset) -> Split:
    return split(dataset, seed=0)


@pytest.fixture
def fitted(dataset: Dataset, parts: Split, tmp_path: Path) -> Callable[..., nn.Module]:
    """Trains in a folder of its own."""

    def run(config: TrainConfig, soft_labels: Tensor | None = None) -> nn.Module:
        folder = tmp_path / f"run-{len(list(tmp_path.iterdir()))}"
        folder.mkdir()
        result = fit(config, dataset, parts, folder, device=CPU, judge=judge, soft_labels=soft_labels)
        assert len(result.log) == config.epochs
        return result.model

    return run


def same(first: nn.Module, second: nn.Module) -> bool:
    other = second.state_dict()
    return all(torch.equal(value, other[name]) for name, value in first.state_dict().items())


@pytest.fixture(scope="module")
def soft(dataset: Dataset) -> Tensor:
    """Soft labels, a row a record, that are nobody's hard labels."""
    rows = np.random.default_rng(2).dirichlet([0.7] * 4, len(dataset))
    return torch.from_numpy(rows).float()


def by_hand(config: TrainConfig, dataset: Dataset, parts: Split, targets: Tensor) -> nn.Module:
    """Algorithm 1 of the ADT paper, one stage, without dropout and augmentation: a plain loop."""
    seed = student_seed(config.seed) if targets.is_floating_point() else config.seed
    model = build(config.arch, seed=seed, window=dataset.window)
    kind = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[config.optimizer]
    optimizer = kind(model.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay)
    items = oversample(dataset, parts.train)

    def loss_of(logits: Tensor, labels: Tensor) -> Tensor:
        if labels.is_floating_point():
            return -(labels * F.log_softmax(logits / config.temperature, 1)).sum(1).mean()
        return F.nll_loss(F.log_softmax(logits / config.temperature, 1), labels)

    for epoch in range(config.epochs):
        for index in epoch_order(items, config.batch, seed, epoch):
            ecg, mask, _ = (torch.from_numpy(part) for part in dataset.batch(index))
            labels = targets[torch.from_numpy(index)]
            if config.defense == "none" or config.mix == 0:
                loss = loss_of(model.train()(ecg), labels)
            else:
                attacked = sap(
                    model,
                    ecg,
                    labels,
                    mask,
                    eps=config.eps,
                    alpha=config.alpha,
                    steps=config.steps,
                    smooth_steps=config.smooth_steps,
                    loss=lambda z, y: F.cross_entropy(z / config.temperature, y, reduction="none"),
                )
                logits = model.train()(torch.cat([ecg, attacked]))
                clean, adversarial = logits[: len(ecg)], logits[len(ecg) :]
                loss = config.mix * loss_of(adversarial, labels) + (1 - config.mix) * loss_of(clean, labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return model


@pytest.mark.parametrize(
    ("options", "with_soft_labels"),
    [
        ({"defense": "none"}, False),
        ({"defense": "none", "optimizer": "adam", "weight_decay": 0.0}, True),
        ({"defense": "at"}, False),
        ({"defense": "at", "mix": 0.8}, False),
        ({"defense": "adt", "temperature": 3.0}, True),
        ({"defense": "adt", "mix": 0.0}, True),
    ],
)
def test_a_stage_is_the_loop_of_the_paper(
    config: Callable[..., TrainConfig],
    fitted: Callable[..., nn.Module],
    dataset: Dataset,
    parts: Split,
    soft: Tensor,
    options: dict,
    with_soft_labels: bool,
):
    settings = config(arch="tiny_networks:plain", augment=False, schedule="constant", **options)
    targets = soft if with_soft_labels else torch.from_numpy(dataset.labels)
    expected = by_hand(settings, dataset, parts, targets).state_dict()
    actual = fitted(settings, soft if with_soft_labels else None).state_dict()
    for name, value in actual.items():
        torch.testing.assert_close(value, expected[name], rtol=1e-3, atol=1e-5)
    untrained = build(
        settings.arch,
        seed=student_seed(settings.seed) if targets.is_floating_point() else settings.seed,
        window=dataset.window,
    ).state_dict()
    assert not torch.allclose(actual["0.weight"], untrained["0.weight"], atol=1e-3)


def test_adt_without_adversarial_half_is_distillation_bit_for_bit(
    config: Callable[..., TrainConfig], fitted: Callable[..., nn.Module], soft: Tensor
):
    """c = 0: the soft-label training of a defence that never crafts, dropout and augmentation included."""
    first = fitted(config(defense="adt", mix=0.0, temperature=2.0), soft)
    second = fitted(config(defense="none", temperature=2.0), soft)
    assert same(first, second)
    assert not same(first, fitted(config(defense="adt", temperature=2.0), soft))
    assert not same(first, fitted(config(defense="none", temperature=2.0)))


def test_attacks_of_no_strength_train_on_twice_the_clean_half(
    config: Callable[..., TrainConfig], fitted: Callable[..., nn.Module]
):
    """eps = 0: every adversarial record is its original, so c does not matter."""
    shared = dict(defense="at", arch="tiny_networks:plain", eps=0.0, augment=False)
    first, second = fitted(config(**shared, mix=0.2)), fitted(config(**shared, mix=0.7))
    for one, other in zip(first.parameters(), second.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("defense", ["none", "at"])
def test_a_training_follows_its_seed_alone(
    config: Callable[..., TrainConfig], fitted: Callable[..., nn.Module], defense: str
):
    torch.manual_seed(1)
    first = fitted(config(defense=defense, seed=3))
    torch.manual_seed(2)
    state = torch.get_rng_state()
    assert same(first, fitted(config(defense=defense, seed=3)))
    assert torch.equal(torch.get_rng_state(), state)
    assert not same(first, fitted(config(defense=defense, seed=4)))


def test_one_hot_soft_labels_train_like_hard_ones(
    config: Callable[..., TrainConfig],
    fitted: Callable[..., nn.Module],
    dataset: Dataset,
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr("edgeguard.defenses.trainer.student_seed", lambda seed: seed)
    certain = F.one_hot(torch.from_numpy(dataset.labels), 4).float()
    first, second = fitted(config()), fitted(config(), certain)
    for one, other in zip(first.parameters(), second.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-5)


def test_a_loss_that_is_no_number_stops_the_training(
    config: Callable[..., TrainConfig], fitted: Callable[..., nn.Module], soft: Tensor
):
    with pytest.raises(InputError, match="the loss is not finite in epoch 1; lower --learning-rate"):
        fitted(config(), soft * torch.inf)


def test_the_rate_is_constant_or_one_cycle(config: Callable[..., TrainConfig]):
    flat = config(schedule="constant", learning_rate=0.01)
    assert {learning_rate(flat, step, 50) for step in range(50)} == {0.01}
    cycle = config(schedule="one-cycle", learning_rate=0.01)
    rates = [learning_rate(cycle, step, 100) for step in range(100)]
    assert rates[0] == pytest.approx(0.01 / 25)
    assert max(rates) == rates[30] == pytest.approx(0.01)
    assert rates[:31] == sorted(rates[:31]) and rates[30:] == sorted(rates[30:], reverse=True)
    assert rates[15] == pytest.approx(0.01 * (1 + 1 / 25) / 2)
    assert rates[65] == pytest.approx(0.01 / 2)
    assert 0 < rates[-1] < 1e-5


@pytest.mark.parametrize("total", [1, 2, 3])
def test_the_shortest_cycles_have_rates(config: Callable[..., TrainConfig], total: int):
    rates = [learning_rate(config(), step, total) for step in range(total)]
    assert all(math.isfinite(rate) and rate > 0 for rate in rates)


def test_logits_do_not_depend_on_batches_and_leave_the_mode(dataset: Dataset):
    model = build("tiny_networks:dropout", seed=0, window=dataset.window).train()
    records, index = Records(dataset, CPU), np.array([3, 40, 3, 7, 21])
    alone = logits_of(model, records, index, batch=1)
    torch.testing.assert_close(logits_of(model, records, index, batch=4), alone, rtol=1e-5, atol=1e-6)
    assert all(m.training for m in model.modules())
    assert torch.equal(alone[0], alone[2]) and not torch.equal(alone[0], alone[1])
    assert predict(model, records, index).tolist() == alone.argmax(1).tolist()


def test_a_student_has_a_seed_of_its_own():
    seeds = range(8)
    assert len({*seeds, *map(student_seed, seeds)}) == 16
