"""The adversarial half of a batch is the attack that the settings name, on the network as it is, nothing else."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from edgeguard.attacks.gradient import pgd, sap, uniform_start
from edgeguard.attacks.losses import cross_entropy
from edgeguard.attacks.single_step import single_step
from edgeguard.defenses.batch import Batch
from edgeguard.defenses.config import TrainConfig
from edgeguard.defenses.crafting import craft
from edgeguard.ecg.dataset import Dataset
from edgeguard.models.registry import build

MakeConfig = Callable[..., TrainConfig]
Records = tuple[Tensor, Tensor, Tensor]


@pytest.fixture
def batch(dataset: Dataset) -> Records:
    """(ecg, labels, mask) of seven records, two or more of them padded."""
    ecg, mask, labels = (torch.from_numpy(part) for part in dataset.batch(np.array([0, 1, 2, 5, 6, 7, 8])))
    assert not mask.all()
    return ecg, labels, mask


@pytest.fixture
def model(dataset: Dataset) -> nn.Module:
    """In train mode, with running statistics and dropout that crafting must not meet."""
    network = build("tiny_networks:dropout", seed=1, window=dataset.window).train()
    network(torch.from_numpy(dataset.batch(np.arange(20))[0]))
    return network


def draws(seed: int = 4) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("soft", [False, True], ids=["hard", "soft"])
def test_several_steps_are_saps_with_every_setting(config: MakeConfig, model: nn.Module, batch: Records, soft: bool):
    ecg, labels, mask = batch
    target = torch.from_numpy(np.random.default_rng(0).dirichlet([0.5] * 4, len(ecg))).float() if soft else labels
    named: dict[str, Any] = dict(eps=9.0, alpha=2.5, steps=3, smooth_steps=2, kernels="zip5")
    made = craft(config(defense="at", temperature=3.0, **named), model, Batch(ecg, mask, target), draws())
    expected = sap(model, ecg, target, mask, **named, loss=partial(cross_entropy, temperature=3.0))
    assert torch.equal(made, expected)
    # Each setting counts: another value is another attack.
    others: list[dict[str, Any]] = [
        {"eps": 4.0},
        {"alpha": 1.0},
        {"steps": 1},
        {"smooth_steps": 3},
        {"kernels": "nest25"},
    ]
    for change in others:
        other = craft(
            config(defense="at", temperature=3.0, **{**named, **change}), model, Batch(ecg, mask, target), draws()
        )
        assert not torch.equal(made, other), change


def test_a_single_step_is_smooth_on_every_other_record(config: MakeConfig, model: nn.Module, batch: Records):
    ecg, labels, mask = batch
    options = dict(defense="at", crafting="single-step", eps=9.0, noise=1.5, kernels="zip5", temperature=3.0)
    made = craft(config(**options), model, Batch(ecg, mask, labels), draws())
    smooth_rows = torch.tensor([True, False, True, False, True, False, True])
    expected = single_step(
        model,
        ecg,
        labels,
        mask,
        eps=9.0,
        noise=1.5,
        kernels="zip5",
        smooth_rows=smooth_rows,
        generator=draws(),
        loss=partial(cross_entropy, temperature=3.0),
    )
    assert torch.equal(made, expected)
    assert not torch.equal(made, craft(config(**options), model, Batch(ecg, mask, labels), draws(5)))
    roughness = (made - ecg)[:, 0].diff(dim=1).abs().mean(1)
    assert roughness[smooth_rows].max() < roughness[~smooth_rows].min() / 2


@pytest.mark.parametrize("defense", ["at", "trades"])
def test_mixed_crafting_is_sap_without_pgd_on_every_other_record_and_pgd_on_the_others(
    config: MakeConfig, model: nn.Module, batch: Records, defense: str
):
    ecg, labels, mask = batch
    target = torch.nn.functional.one_hot(labels, 4).float()
    named: dict[str, Any] = dict(eps=9.0, alpha=2.5)
    options = dict(defense=defense, crafting="mixed", steps=3, smooth_steps=2, kernels="zip5", **named)
    made = craft(config(**options), model, Batch(ecg, mask, target), draws())
    attack: dict[str, Any] = dict(named, loss=partial(cross_entropy, temperature=1.0))
    if defense == "trades":
        attack["start"] = uniform_start(ecg, 2.5, draws())
    smooth = sap(model, ecg, target, mask, **attack, steps=0, smooth_steps=2, kernels="zip5")
    plain = pgd(model, ecg, target, mask, **attack, steps=3)
    torch.testing.assert_close(made[0::2], smooth[0::2], rtol=0, atol=1e-4)
    torch.testing.assert_close(made[1::2], plain[1::2], rtol=0, atol=1e-4)
    one = craft(config(**options), model, Batch(ecg[:1], mask[:1], target[:1]), draws())
    torch.testing.assert_close(one[0], smooth[0], rtol=0, atol=1e-4)


@pytest.mark.parametrize("crafting", ["sap", "mixed", "single-step"])
@pytest.mark.parametrize("defense", ["at", "trades"])
def test_a_record_with_a_share_is_attacked_as_if_that_were_eps(
    config: MakeConfig, model: nn.Module, batch: Records, crafting: str, defense: str
):
    """Record by record against a batch whose eps and alpha are that record's for all."""
    ecg, labels, mask = batch
    share = torch.tensor([0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 1.0])[:, None, None]
    named: dict[str, Any] = dict(defense=defense, crafting=crafting, noise=1.5)
    target = torch.nn.functional.one_hot(labels, 4).float()
    made = craft(config(**named, eps=8.0, alpha=4.0), model, Batch(ecg, mask, target, share), draws())
    for record, part in enumerate(share.flatten().tolist()):
        alone = config(**named, eps=8.0 * part, alpha=4.0 * part)
        expected = craft(alone, model, Batch(ecg, mask, target), draws())
        torch.testing.assert_close(made[record], expected[record], rtol=0, atol=1e-4)
    assert torch.equal(made[0], ecg[0])


def test_only_trades_starts_off_the_record(config: MakeConfig, model: nn.Module, batch: Records):
    """Where the target is the network's own prediction, the loss has no slope on the record itself."""
    ecg, _, mask = batch
    with torch.no_grad():
        target = model.eval()(ecg).softmax(1)
    model.train()
    named = dict(eps=10.0, alpha=4.0, steps=2, smooth_steps=2)
    made = craft(config(defense="trades", **named), model, Batch(ecg, mask, target), draws())
    assert torch.equal(made, sap(model, ecg, target, mask, **named, start=uniform_start(ecg, 4.0, draws())))
    plain, again = (
        craft(config(defense="adt", **named), model, Batch(ecg, mask, target), draws(seed)) for seed in (1, 2)
    )
    assert torch.equal(plain, again) and not torch.equal(plain, made)


@given(
    eps=st.floats(0, 60),
    noise=st.floats(0, 4),
    alpha=st.floats(0, 30),
    crafting=st.sampled_from(["sap", "mixed", "single-step"]),
    precision=st.sampled_from(["float32", "bf16"]),
    defense=st.sampled_from(["at", "trades"]),
)
@settings(max_examples=40, deadline=None)
def test_perturbations_stay_within_their_bound_and_off_the_padding(
    dataset: Dataset, eps: float, noise: float, alpha: float, crafting: str, precision: str, defense: str
):
    model = build("tiny_networks:dropout", seed=1, window=dataset.window).train()
    ecg, mask, labels = (torch.from_numpy(part) for part in dataset.batch(np.array([0, 1, 2, 5])))
    options = TrainConfig(
        defense=defense, crafting=crafting, eps=eps, noise=noise, alpha=alpha, craft_precision=precision
    )
    made = craft(options, model, Batch(ecg, mask, labels), draws())
    largest = eps * (1 + noise) if crafting == "single-step" else eps
    assert made.dtype == torch.float32 and not made.requires_grad
    assert (made - ecg).abs().max() <= largest * (1 + 1e-5) + 1e-3  # float32 at some hundred microvolts
    assert torch.equal(made[~mask], ecg[~mask])


@pytest.mark.parametrize("crafting", ["sap", "mixed", "single-step"])
@pytest.mark.parametrize("precision", ["float32", "bf16"])
def test_the_network_and_its_random_numbers_are_left_alone(
    config: MakeConfig, model: nn.Module, batch: Records, crafting: str, precision: str
):
    ecg, labels, mask = batch
    before = ecg.clone()
    model[1].eval()
    modes = [module.training for module in model.modules()]
    state = {name: value.clone() for name, value in model.state_dict().items()}
    random = torch.get_rng_state()
    craft(config(defense="at", crafting=crafting, craft_precision=precision), model, Batch(ecg, mask, labels), draws())
    assert [module.training for module in model.modules()] == modes
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    assert all(p.requires_grad and p.grad is None for p in model.parameters())
    assert torch.equal(torch.get_rng_state(), random) and torch.equal(ecg, before)


@pytest.mark.parametrize("crafting", ["sap", "mixed", "single-step"])
def test_the_precision_of_crafting_is_its_own(config: MakeConfig, model: nn.Module, batch: Records, crafting: str):
    """float32 holds inside an ambient bf16; bf16 asked for reaches the network, whose gradients then differ."""
    ecg, labels, mask = batch
    options = dict(defense="at", crafting=crafting, steps=1, smooth_steps=1)
    plain = craft(config(**options), model, Batch(ecg, mask, labels), draws())
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(craft(config(**options), model, Batch(ecg, mask, labels), draws()), plain)
    kinds: list[torch.dtype] = []
    model[0].register_forward_hook(lambda module, inputs, output: kinds.append(output.dtype))
    for precision, kind in (("float32", torch.float32), ("bf16", torch.bfloat16)):
        kinds.clear()
        craft(config(**options, craft_precision=precision), model, Batch(ecg, mask, labels), draws())
        assert set(kinds) == {kind}


def test_no_smooth_steps_are_pgd(config: MakeConfig, model: nn.Module, batch: Records):
    ecg, labels, mask = batch
    made = craft(config(defense="at", steps=3, smooth_steps=0), model, Batch(ecg, mask, labels), draws())
    assert torch.equal(made, pgd(model, ecg, labels, mask, eps=10.0, alpha=4.0, steps=3))
