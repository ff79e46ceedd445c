"""What a step minimises, against the papers' formulas written out in numpy."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from edgeguard.defenses import objectives
from edgeguard.defenses.batch import Batch
from edgeguard.defenses.config import TrainConfig
from edgeguard.defenses.crafting import craft
from edgeguard.defenses.objectives import jacobian, mixed_cross_entropy, nsr, trades
from edgeguard.ecg.dataset import Dataset
from edgeguard.models.registry import build

MakeConfig = Callable[..., TrainConfig]

# A step's loss is float32: sums of some tens of terms of order one.
CLOSE: dict[str, float] = {"rel": 2e-5, "abs": 2e-5}


def draws() -> torch.Generator:
    return torch.Generator().manual_seed(4)


def make_batch(dataset: Dataset, *, soft: bool = False) -> Batch:
    index = np.array([0, 1, 2, 5, 6, 7, 8, 12])
    ecg, mask, labels = (torch.from_numpy(part) for part in dataset.batch(index))
    rows = np.random.default_rng(3).dirichlet([0.6] * 4, len(index))
    return Batch(ecg, mask, torch.from_numpy(rows).float() if soft else labels)


def network(dataset: Dataset, arch: str = "tiny_networks:plain") -> nn.Module:
    """In train mode, once it has seen some records, so that eval mode is another function."""
    model = build(arch, seed=1, window=dataset.window).train()
    with torch.no_grad():
        model(torch.from_numpy(dataset.batch(np.arange(20))[0]))
        model[-1].weight.mul_(4)
    return model


def forward(model: nn.Module, ecg: Tensor, *, training: bool = True) -> np.ndarray:
    """float64 logits; the network is left in train mode, its statistics as they were."""
    state = {name: value.clone() for name, value in model.state_dict().items()}
    with torch.no_grad():
        logits = model.train(training)(ecg).double().numpy()
    model.load_state_dict(state)
    model.train()
    return logits


def log_softmax(logits: np.ndarray) -> np.ndarray:
    shifted = logits - logits.max(1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(1, keepdims=True))


def rows_of(target: Tensor) -> np.ndarray:
    """Probabilities [B, 4] in float64."""
    return target.double().numpy() if target.is_floating_point() else np.eye(4)[target.numpy()]


def mean_cross_entropy(logits: np.ndarray, target: np.ndarray, temperature: float) -> float:
    return float(-(target * log_softmax(logits / temperature)).sum(1).mean())


@pytest.mark.parametrize("crafting", ["sap", "mixed", "single-step"])
@given(mix=st.floats(0.05, 1), temperature=st.floats(0.5, 30), soft=st.booleans())
@settings(max_examples=12, deadline=None)
def test_the_mixed_loss_is_equation_6(dataset: Dataset, crafting: str, mix: float, temperature: float, soft: bool):
    """c L(x_adv, y) + (1 - c) L(x, y), both halves under the batch statistics of one forward."""
    config = TrainConfig(defense="at", crafting=crafting, mix=mix, temperature=temperature, eps=10.0)
    model, batch = network(dataset), make_batch(dataset, soft=soft)
    attacked = craft(config, model, batch, draws())
    logits, target = forward(model, torch.cat([batch.ecg, attacked])), rows_of(batch.target)
    clean, adversarial = (mean_cross_entropy(part, target, temperature) for part in np.split(logits, 2))
    value = mixed_cross_entropy(config, model, batch, True, draws())
    assert value.item() == pytest.approx(mix * adversarial + (1 - mix) * clean, **CLOSE)
    assert value.dtype == torch.float32 and value.requires_grad


@pytest.mark.parametrize("count", [2, 7, 8])
@given(mix=st.floats(0.05, 1), soft=st.booleans())
@settings(max_examples=8, deadline=None)
def test_halves_apart_are_other_records(dataset: Dataset, count: int, mix: float, soft: bool):
    """Equation 6 on other records: the first half of the batch clean, the second attacked, one forward of both."""
    config = TrainConfig(defense="at", mix=mix, halves="apart", eps=10.0)
    model, batch = network(dataset), make_batch(dataset, soft=soft)
    batch = Batch(batch.ecg[:count], batch.mask[:count], batch.target[:count])
    half = count // 2
    attacked = craft(config, model, Batch(batch.ecg[half:], batch.mask[half:], batch.target[half:]), draws())
    logits, target = forward(model, torch.cat([batch.ecg[:half], attacked])), rows_of(batch.target)
    clean = mean_cross_entropy(logits[:half], target[:half], 1.0)
    adversarial = mean_cross_entropy(logits[half:], target[half:], 1.0)
    value = mixed_cross_entropy(config, model, batch, True, draws())
    assert value.item() == pytest.approx(mix * adversarial + (1 - mix) * clean, **CLOSE)


@pytest.mark.parametrize("options", [{"defense": "none"}, {"defense": "at", "mix": 0.0}, {"defense": "dd"}])
def test_without_crafting_it_is_cross_entropy_alone(
    config: MakeConfig, dataset: Dataset, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any]
):
    monkeypatch.delattr(objectives, "craft")
    model, batch = network(dataset), make_batch(dataset, soft=options["defense"] == "dd")
    expected = mean_cross_entropy(forward(model, batch.ecg), rows_of(batch.target), 2.0)
    value = mixed_cross_entropy(config(temperature=2.0, **options), model, batch, True, draws())
    assert value.item() == pytest.approx(expected, **CLOSE)


@pytest.mark.parametrize("crafting", ["sap", "mixed", "single-step"])
@given(beta=st.floats(0, 12), temperature=st.floats(0.5, 10))
@settings(max_examples=12, deadline=None)
def test_trades_is_its_equation_5(dataset: Dataset, crafting: str, beta: float, temperature: float):
    """CE(f(x), y) + beta KL(f(x) || f(x')), x' crafted against the network's own clean prediction in eval mode."""
    config = TrainConfig(
        defense="trades", crafting=crafting, trades_beta=beta, temperature=temperature, eps=30.0, alpha=10.0
    )
    model, batch = network(dataset), make_batch(dataset)
    reference = np.exp(log_softmax(forward(model, batch.ecg, training=False) / temperature))
    attacked = craft(config, model, replace(batch, target=torch.from_numpy(reference).float()), draws())
    clean, adversarial = np.split(log_softmax(forward(model, torch.cat([batch.ecg, attacked])) / temperature), 2)
    divergence = (np.exp(clean) * (clean - adversarial)).sum(1).mean()
    certain = -(rows_of(batch.target) * clean).sum(1).mean()
    value = trades(config, model, batch, True, draws()).item()
    assert value == pytest.approx(certain + beta * divergence, rel=1e-4, abs=1e-4)


def test_the_gradient_of_trades_flows_through_both_predictions(config: MakeConfig, dataset: Dataset):
    """As in the authors' code: the clean prediction is no constant."""
    settings_ = config(defense="trades", eps=40.0, alpha=20.0, trades_beta=100.0)
    model, batch = network(dataset, "tiny_networks:bare"), make_batch(dataset)
    with torch.no_grad():
        model[-1].weight.div_(40)  # off saturation
        reference = model.eval()(batch.ecg).softmax(1)
    attacked = craft(settings_, model.train(), replace(batch, target=reference), draws())
    trades(settings_, model, batch, True, draws()).backward()
    clean, adversarial = (log_softmax(forward(model, ecg)) for ecg in (batch.ecg, attacked))
    p, q = np.exp(clean), np.exp(adversarial)
    # By the last bias: of CE it is p - y; of KL p (log p - log q - KL) through the clean one, q - p through the other.
    divergence = (p * (clean - adversarial)).sum(1, keepdims=True)
    through_clean = 100 * p * (clean - adversarial - divergence)
    by_hand = p - rows_of(batch.target) + through_clean + 100 * (q - p)
    assert np.abs(through_clean.mean(0)).max() > 0.1
    np.testing.assert_allclose(model[-1].bias.grad.numpy(), by_hand.mean(0), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("crafting", ["sap", "mixed", "single-step"])
def test_the_attack_of_trades_ascends_the_divergence(
    config: MakeConfig, dataset: Dataset, monkeypatch: pytest.MonkeyPatch, crafting: str
):
    """From the prediction on the record itself: further than the random start alone, on every record but a few."""
    model, batch = network(dataset), make_batch(dataset)
    options = config(defense="trades", crafting=crafting, eps=20.0, alpha=8.0, steps=3, smooth_steps=3, noise=0.4)
    made: list[Tensor] = []

    def spied(*args: Any) -> Tensor:
        made.append(craft(*args))
        return made[0]

    monkeypatch.setattr(objectives, "craft", spied)
    trades(options, model, batch, True, draws())
    start = (torch.rand(batch.ecg.shape, generator=draws()) * 2 - 1) * 8.0 * batch.mask
    clean = log_softmax(forward(model, batch.ecg, training=False))

    def divergence(ecg: Tensor) -> np.ndarray:
        other = log_softmax(forward(model, ecg, training=False))
        return (np.exp(clean) * (clean - other)).sum(1)

    found, at_random = divergence(made[0]), divergence(batch.ecg + start)
    assert found.mean() > 5 * at_random.mean()
    assert (found > at_random).sum() >= len(found) - 1


def test_trades_leaves_the_mode_and_takes_its_reference_without_moving_statistics(config: MakeConfig, dataset: Dataset):
    """The running mean moves by one training forward, that over both halves."""
    model, batch = network(dataset), make_batch(dataset)
    options = config(defense="trades", eps=0.0)
    before = model[1].running_mean.clone()
    trades(options, model, batch, True, draws())
    with torch.no_grad():
        features = model[0](batch.ecg)
    expected = 0.9 * before + 0.1 * features.mean((0, 2))
    torch.testing.assert_close(model[1].running_mean, expected)
    assert all(module.training for module in model.modules())


def jacobian_by_hand(model: nn.Module, batch: Batch) -> float:
    """sqrt(sum of squares) / (B C) of the deployed network's masked Jacobian, by torch's own jacobian, in float64."""
    deployed = build("tiny_networks:plain", window=batch.ecg.shape[-1]).double().eval()
    deployed.load_state_dict(model.state_dict())
    total = 0.0
    for ecg, mask in zip(batch.ecg.double(), batch.mask, strict=True):
        rows = torch.autograd.functional.jacobian(lambda x: deployed(x[None])[0], ecg)
        total += (rows * mask).square().sum().item()
    return float(np.sqrt(total)) / (len(batch.ecg) * 4)


@pytest.mark.parametrize("units", ["published", "corrected"])
def test_jr_adds_the_weighted_norm_in_its_units(config: MakeConfig, dataset: Dataset, units: str):
    model, batch = network(dataset), make_batch(dataset)
    options = config(defense="jr", units=units, jacobian_weight=50.0, temperature=2.0)
    plain = mean_cross_entropy(forward(model, batch.ecg), rows_of(batch.target), 2.0)
    value = jacobian(options, model, batch, True, draws()).item()
    # The term comes after the training forward, which has moved the running statistics.
    norm = jacobian_by_hand(model, batch) * {"published": 1, "corrected": 1000}[units]
    assert value == pytest.approx(plain + 50 * norm, **CLOSE)
    assert jacobian(options, model, batch, False, draws()).item() == pytest.approx(plain, **CLOSE)


def test_the_term_per_millivolt_is_a_thousand_times_the_published_one(config: MakeConfig, dataset: Dataset):
    batch = make_batch(dataset)

    def term(units: str) -> float:
        options = config(defense="jr", units=units, jacobian_weight=1000.0)
        with_, without = (jacobian(options, network(dataset), batch, on, draws()).double() for on in (True, False))
        return (with_ - without).item()

    assert term("published") > 1e-3
    assert term("corrected") == pytest.approx(1000 * term("published"), rel=1e-3)


def test_before_the_warm_up_ends_nsr_is_the_squared_error_alone(config: MakeConfig, dataset: Dataset):
    model, batch = network(dataset), make_batch(dataset)
    errors = (forward(model, batch.ecg) - rows_of(batch.target)) ** 2
    options = config(defense="nsr", nsr_eps=10.0, nsr_weight=3.0, temperature=7.0)
    value = nsr(options, model, batch, False, draws()).item()
    assert value == pytest.approx(errors.sum() / len(batch.ecg), **CLOSE)


def test_after_the_warm_up_nsr_adds_margin_and_ratio(config: MakeConfig, dataset: Dataset):
    model, batch = network(dataset), make_batch(dataset)
    with torch.no_grad():  # every record's own class first, some logits below a margin of one
        model[-1].bias.copy_(torch.tensor([2.0, 1.2, 1.1, -1.0]))
    batch = Batch(batch.ecg, batch.mask, torch.from_numpy(forward(model, batch.ecg, training=False).argmax(1)))
    labels = batch.target.numpy()
    trained = forward(model, batch.ecg)
    options = config(defense="nsr", nsr_eps=10.0, nsr_weight=3.0)
    value = nsr(options, model, batch, True, draws()).item()
    deployed = forward(model, batch.ecg, training=False)
    errors = ((trained - np.eye(4)[labels]) ** 2).sum(1).mean()
    margins, ratios, correct = [], [], 0
    twin = build("tiny_networks:plain", window=dataset.window).double().eval()
    twin.load_state_dict(model.state_dict())
    for n, label in enumerate(labels):
        if trained[n].argmax() == label:
            short = 1 - trained[n, label] + np.delete(trained[n], label)
            margins += [h for h in short if 0 < h < 2]
        if deployed[n].argmax() == label:
            correct += 1
            signal = deployed[n, label]
            ecg = batch.ecg[n : n + 1].double().requires_grad_(True)
            (slope,) = torch.autograd.grad(twin(ecg)[0, label], ecg)
            if signal > 0:
                ratios.append(np.log(1 + 10 * (slope * batch.mask[n]).abs().sum().item() / (signal + 0.01)))
    assert len(margins) > 3 and len(ratios) > 3
    assert value == pytest.approx(errors + np.mean(margins) + 3 * sum(ratios) / correct, **CLOSE)


def test_the_regulariser_reaches_the_parameters(config: MakeConfig, dataset: Dataset):
    """What warm-up holds back is a gradient, too."""
    batch = make_batch(dataset)
    for defense, objective in (("jr", jacobian), ("nsr", nsr)):
        gradients = []
        for on in (False, True):
            model = network(dataset)
            objective(config(defense=defense, units="corrected"), model, batch, on, draws()).backward()
            gradients.append(model[0].weight.grad.clone())
        assert not torch.allclose(*gradients, rtol=1e-3, atol=1e-7), defense


@pytest.mark.parametrize("defense", ["none", "at", "jr", "nsr", "trades"])
def test_a_loss_in_bf16_is_float32_and_near(config: MakeConfig, dataset: Dataset, defense: str):
    model, batch = network(dataset), make_batch(dataset)
    values = []
    for precision in ("float32", "bf16"):
        options = config(defense=defense, precision=precision, trades_beta=1.0)
        objective = objectives.OBJECTIVES[options.row.objective]
        value = objective(options, model, batch, True, draws())
        assert value.dtype == torch.float32
        values.append(value.item())
    assert values[0] != values[1] and values[0] == pytest.approx(values[1], rel=0.05)
