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

MakeConfig = Callable[..., TrainConfig]
Fit = Callable[..., nn.Module]


def judge(labels: np.ndarray, predicted: np.ndarray) -> dict[str, float]:
    return scores(labels, predicted, 4)


@pytest.fixture(scope="module")
def parts(dataset: Dataset) -> Split:
    return split(dataset, seed=0)


@pytest.fixture
def fitted(dataset: Dataset, parts: Split, tmp_path: Path) -> Fit:
    """Trains in a folder of its own."""

    def run(
        config: TrainConfig, soft_labels: Tensor | None = None, initial: dict[str, Tensor] | None = None
    ) -> nn.Module:
        folder = tmp_path / f"run-{len(list(tmp_path.iterdir()))}"
        folder.mkdir()
        result = fit(config, dataset, parts, folder, device=CPU, judge=judge, soft_labels=soft_labels, initial=initial)
        assert len(result.log) == config.stage_epochs
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


def by_hand(config: TrainConfig, dataset: Dataset, parts: Split, targets: Tensor, seed: int) -> nn.Module:
    """Algorithm 1 of the ADT paper, one stage, without dropout and augmentation: a plain loop."""
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
            if config.defense == "nsr":
                logits = model.train()(ecg)
                loss = ((logits - F.one_hot(labels, 4)) ** 2).sum() / len(ecg)
            elif config.defense in ("none", "dd", "init-adt") or config.mix == 0:
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
        ({"defense": "dd", "temperature": 3.0}, True),
        ({"defense": "init-adt"}, True),
        ({"defense": "dist-adt", "mix": 0.3}, True),
        # Until its warm-up is over NSR minimises the squared error of the logits, nothing else.
        ({"defense": "nsr", "warm_up": 2}, False),
    ],
)
def test_a_stage_is_the_loop_of_the_paper(
    config: MakeConfig,
    fitted: Fit,
    dataset: Dataset,
    parts: Split,
    soft: Tensor,
    options: dict,
    with_soft_labels: bool,
):
    settings = config(arch="tiny_networks:plain", augment=False, schedule="constant", **options)
    targets = soft if with_soft_labels else torch.from_numpy(dataset.labels)
    seed = student_seed(settings.seed) if with_soft_labels else settings.seed
    expected = by_hand(settings, dataset, parts, targets, seed).state_dict()
    actual = fitted(settings, soft if with_soft_labels else None).state_dict()
    for name, value in actual.items():
        torch.testing.assert_close(value, expected[name], rtol=1e-3, atol=1e-5)
    untrained = build(settings.arch, seed=seed, window=dataset.window).state_dict()
    assert not torch.allclose(actual["0.weight"], untrained["0.weight"], atol=1e-3)


def test_adt_without_adversarial_half_is_distillation_bit_for_bit(config: MakeConfig, fitted: Fit, soft: Tensor):
    """c = 0: the soft-label training of a defence that never crafts, dropout and augmentation included."""
    first = fitted(config(defense="adt", mix=0.0, temperature=2.0), soft)
    second = fitted(config(defense="none", temperature=2.0), soft)
    assert same(first, second)
    assert not same(first, fitted(config(defense="adt", temperature=2.0), soft))
    assert not same(first, fitted(config(defense="none", temperature=2.0)))


def near(first: nn.Module, second: nn.Module) -> None:
    """The parameters agree but for the order of float32 sums."""
    for one, other in zip(first.parameters(), second.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-5)


def test_at_long_is_adversarial_training_with_twice_the_epochs(config: MakeConfig, fitted: Fit):
    assert same(fitted(config(defense="at-long", epochs=2)), fitted(config(defense="at", epochs=4)))


def test_smoothing_of_nothing_is_adversarial_training_on_one_hot_rows(
    config: MakeConfig, fitted: Fit, dataset: Dataset, monkeypatch: pytest.MonkeyPatch
):
    smooth = fitted(config(defense="at-smooth", label_smoothing=0.0))
    near(smooth, fitted(config(defense="at")))
    monkeypatch.setattr("edgeguard.defenses.trainer.student_seed", lambda seed: seed)
    certain = F.one_hot(torch.from_numpy(dataset.labels), 4).float()
    assert same(smooth, fitted(config(defense="at"), certain))


def test_smoothed_labels_are_mixed_with_the_uniform_distribution(
    config: MakeConfig, fitted: Fit, dataset: Dataset, parts: Split
):
    """Of 0.2, spread over four classes: 0.85 for the right one, 0.05 for each other."""
    settings = config(
        defense="at-smooth", label_smoothing=0.2, arch="tiny_networks:plain", augment=False, schedule="constant"
    )
    targets = torch.full((len(dataset), 4), 0.05)
    targets[torch.arange(len(dataset)), torch.from_numpy(dataset.labels)] = 0.85
    near(fitted(settings), by_hand(settings, dataset, parts, targets, settings.seed))


def test_a_jacobian_of_no_weight_changes_no_bit(config: MakeConfig, fitted: Fit):
    none = fitted(config())
    assert same(none, fitted(config(defense="jr", jacobian_weight=0.0, warm_up=0)))
    assert not same(none, fitted(config(defense="jr", jacobian_weight=1.0, units="corrected", warm_up=0)))


@pytest.mark.parametrize(("warm_up", "reached"), [(0, True), (1, True), (2, False), (3, False)])
def test_jr_is_undefended_training_until_its_warm_up_is_over(
    config: MakeConfig, fitted: Fit, warm_up: int, reached: bool
):
    jr = fitted(config(defense="jr", warm_up=warm_up, units="corrected"))
    assert same(jr, fitted(config())) is not reached


def test_nsr_regularises_from_the_epoch_after_its_warm_up(config: MakeConfig, fitted: Fit):
    trained = [fitted(config(defense="nsr", warm_up=epochs, nsr_eps=10.0)) for epochs in (1, 2, 3)]
    assert not same(trained[0], trained[1]) and same(trained[1], trained[2])


@pytest.mark.parametrize("eps", [0.0, 10.0])
def test_trades_without_its_divergence_is_undefended_training(config: MakeConfig, fitted: Fit, eps: float):
    """Where no record sees the others the adversarial half then has no say, however strong the attack."""
    shared = dict(arch="tiny_networks:bare", augment=False)
    near(fitted(config(defense="trades", trades_beta=0.0, eps=eps, **shared)), fitted(config(**shared)))
    assert not same(
        fitted(config(defense="trades", trades_beta=0.0, **shared)),
        fitted(config(defense="trades", trades_beta=6.0, **shared)),
    )


def test_trades_without_its_divergence_only_lends_its_attacked_half_to_the_batch_statistics(
    config: MakeConfig, fitted: Fit
):
    """Under batch normalisation, attacks of no strength: twice the same records have the statistics of one half."""
    shared = dict(arch="tiny_networks:plain", augment=False)
    none = fitted(config(**shared))
    near(fitted(config(defense="trades", trades_beta=0.0, eps=0.0, **shared)), none)
    with pytest.raises(AssertionError):
        near(fitted(config(defense="trades", trades_beta=0.0, eps=300.0, alpha=200.0, **shared)), none)


@pytest.mark.parametrize("defense", ["at", "adt"])
def test_a_training_starts_from_the_weights_that_it_is_given(
    config: MakeConfig, fitted: Fit, dataset: Dataset, soft: Tensor, defense: str
):
    """At a rate of almost zero it ends where it began, but for the running statistics."""
    settings = config(defense=defense, learning_rate=1e-30)
    initial = build(settings.arch, seed=77, window=dataset.window)
    ended = fitted(settings, soft if defense == "adt" else None, initial.state_dict())
    for one, other in zip(ended.parameters(), initial.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-25)
    drawn = fitted(settings, soft if defense == "adt" else None)
    assert not torch.equal(drawn[0].weight, initial[0].weight)


def test_attacks_of_no_strength_train_on_twice_the_clean_half(config: MakeConfig, fitted: Fit):
    """eps = 0: every adversarial record is its original, so c does not matter."""
    shared = dict(defense="at", arch="tiny_networks:plain", eps=0.0, augment=False)
    near(fitted(config(**shared, mix=0.2)), fitted(config(**shared, mix=0.7)))


@pytest.mark.parametrize("defense", ["none", "at"])
def test_a_training_follows_its_seed_alone(config: MakeConfig, fitted: Fit, defense: str):
    torch.manual_seed(1)
    first = fitted(config(defense=defense, seed=3))
    torch.manual_seed(2)
    state = torch.get_rng_state()
    assert same(first, fitted(config(defense=defense, seed=3)))
    assert torch.equal(torch.get_rng_state(), state)
    assert not same(first, fitted(config(defense=defense, seed=4)))


def test_one_hot_soft_labels_train_like_hard_ones(
    config: MakeConfig,
    fitted: Fit,
    dataset: Dataset,
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr("edgeguard.defenses.trainer.student_seed", lambda seed: seed)
    certain = F.one_hot(torch.from_numpy(dataset.labels), 4).float()
    near(fitted(config()), fitted(config(), certain))


def test_a_loss_that_is_no_number_stops_the_training(config: MakeConfig, fitted: Fit, soft: Tensor):
    with pytest.raises(InputError, match="the loss is not finite in epoch 1; lower --learning-rate"):
        fitted(config(), soft * torch.inf)


def test_the_rate_is_constant_or_one_cycle(config: MakeConfig):
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
def test_the_shortest_cycles_have_rates(config: MakeConfig, total: int):
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
