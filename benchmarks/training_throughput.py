"""Claim: on a processor, training `edge-m` is at least twice as fast as a plain PyTorch loop over the same network.

The plain loop is what one writes first: float32, windows in one float32 array indexed batch by batch, separate forwards
of the clean and the adversarial half, crafting as published, where `loss.backward()` also computes the gradients of
parameters that nobody reads, Adam. Ours is the trainer's step: its objectives, its precision, its optimiser. Both take
the same records from the same weights, without augmentation, in turns within one process, so that whatever else the
machine does falls on both; both smooth with one filter in place of SAP's 25.

    python benchmarks/training_throughput.py
"""

import copy
from collections.abc import Callable
from statistics import median
from time import perf_counter

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from edgeguard.attacks.smoothing import smoothing_taps
from edgeguard.defenses.batch import Batch
from edgeguard.defenses.batches import Records
from edgeguard.defenses.config import TrainConfig, make_config
from edgeguard.defenses.objectives import OBJECTIVES
from edgeguard.defenses.precision import has_fast_bfloat16
from edgeguard.ecg.dataset import Dataset, build
from edgeguard.ecg.synthetic import generate
from edgeguard.models.edge import INPUT_SCALE_UV, EdgeNet, edge_m

ARCH = "edge-m"
RECORDS, BATCH, TURNS = 128, 32, 11
CLAIMED = 2.0
RECIPES = {
    "clean": {"defense": "none", "preset": "fast"},
    "SAP(5, 5)": {"defense": "at", "preset": "lite"},
    "single step": {"defense": "at", "preset": "fast"},
}
PRECISIONS = (("float32", "float32"), ("bf16", "float32"), ("bf16", "bf16"))
"""Of the training pass and of crafting."""

Step = Callable[[np.ndarray], None]
"""One training step on the records of these numbers."""
Craft = Callable[[nn.Module, Tensor, Tensor, Tensor], Tensor]
"""(network, ecg [B, 1, T], labels [B], mask [B, 1, T]) to adversarial ecg [B, 1, T]; microvolts."""


def main() -> None:
    """Print milliseconds a step of both, and how many times ours is as fast."""
    dataset = build("synthetic", generate(RECORDS))
    print(f"{ARCH}, batches of {BATCH} records of 30 s, {torch.get_num_threads()} threads, medians of {TURNS} turns")
    if not has_fast_bfloat16():
        print("this processor has no bf16 instructions: the trainer uses float32 here")
    print("\ncrafting       ours: training, crafting    plain ms    ours ms    times as fast    range")
    reached = {}
    for name, recipe in RECIPES.items():
        default = make_config(arch=ARCH, **recipe)
        configs = [
            make_config(arch=ARCH, **recipe, precision=precision, craft_precision=craft_precision)
            for precision, craft_precision in PRECISIONS
            if default.crafts or precision == craft_precision
        ]
        model = edge_m(len(dataset.classes))
        steps = [plain_step(PlainEdgeNet(copy.deepcopy(model)), dataset, default)]
        steps += [our_step(copy.deepcopy(model), dataset, config) for config in configs]
        plain, *rest = take_turns(steps, len(dataset))
        for config, seconds in zip(configs, rest, strict=True):
            faster = [a / b for a, b in zip(plain, seconds, strict=True)]
            if _number_formats(config) == _number_formats(default):
                reached[name] = median(faster)
            print(
                f"{name:<15}{_number_formats(config):<24}{1e3 * median(plain):>12.0f}{1e3 * median(seconds):>11.0f}"
                f"{median(faster):>17.2f}    {min(faster):.2f} to {max(faster):.2f}"
            )
    print("\nat least twice as fast, in the preset's own precision (clean and single step: fast, SAP: lite)")
    for name, times in reached.items():
        print(f"{name:<15}{times:.2f}: {'holds' if times >= CLAIMED else 'does not hold'}")


def take_turns(steps: list[Step], records: int) -> list[list[float]]:
    """Seconds of every step, a list each, one entry a turn; the first turn, which warms up, is left out."""
    seconds: list[list[float]] = [[] for _ in steps]
    draws = np.random.default_rng(0)
    for _ in range(1 + TURNS):
        index = draws.permutation(records)[:BATCH]
        for step, times in zip(steps, seconds, strict=True):
            begin = perf_counter()
            step(index)
            times.append(perf_counter() - begin)
    return [times[1:] for times in seconds]


def our_step(model: nn.Module, dataset: Dataset, config: TrainConfig) -> Step:
    """What `edgeguard.defenses.trainer.fit` does for each batch, without augmentation; before any regulariser."""
    records = Records(dataset, torch.device("cpu"))
    objective = OBJECTIVES[config.row.objective]
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay, fused=True
    )
    draws = torch.Generator().manual_seed(0)
    model.train()

    def step(index: np.ndarray) -> None:
        loss = objective(config, model, Batch(*records.take(index)), False, draws)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()

    return step


class PlainEdgeNet(nn.Module):
    """The same layers called one after the other, as a network is written first."""

    def __init__(self, network: EdgeNet) -> None:
        super().__init__()
        self.network = network

    def forward(self, ecg: Tensor) -> Tensor:
        net = self.network
        x = net.blocks(torch.relu(net.norm(net.stem(ecg / INPUT_SCALE_UV))))
        return net.head(net.dropout(net.pool(x).flatten(1)))


def plain_step(model: nn.Module, dataset: Dataset, config: TrainConfig) -> Step:
    """The plain loop's step, with the attack of these settings."""
    everything = np.arange(len(dataset))
    windows = np.asarray(dataset.windows, np.float32)[:, None]
    masks, labels = dataset.mask(everything), np.asarray(dataset.labels)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    craft = plain_single_step(config) if config.crafting == "single-step" else plain_sap(config)
    model.train()

    def step(index: np.ndarray) -> None:
        ecg, mask = torch.from_numpy(windows[index]), torch.from_numpy(masks[index])
        label = torch.from_numpy(labels[index])
        if config.crafts:
            model.eval()
            attacked = craft(model, ecg, label, mask)
            model.train()
            loss = 0.5 * F.cross_entropy(model(ecg), label) + 0.5 * F.cross_entropy(model(attacked), label)
        else:
            loss = F.cross_entropy(model(ecg), label)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return step


def plain_sap(config: TrainConfig) -> Craft:
    """SAP as Han et al. 2020 publish it: PGD, then steps on the perturbation before its smoothing."""
    taps = _taps()

    def craft(model: nn.Module, ecg: Tensor, label: Tensor, mask: Tensor) -> Tensor:
        delta = torch.zeros_like(ecg)
        for step in range(config.steps + config.smooth_steps):
            delta.requires_grad_(True)
            attacked = ecg + delta * mask if step < config.steps else ecg + _smoothed(delta, mask, taps)
            F.cross_entropy(model(attacked), label).backward()
            assert delta.grad is not None
            delta = (delta.detach() + config.alpha * delta.grad.sign()).clamp(-config.eps, config.eps)
        return ecg + _smoothed(delta, mask, taps)

    return craft


def plain_single_step(config: TrainConfig) -> Craft:
    """Noise and one unclipped step (de Jorge et al. 2022), smoothed for every other record."""
    taps = _taps()

    def shaped(delta: Tensor, mask: Tensor) -> Tensor:
        smoothly = (torch.arange(len(delta)) % 2 == 0)[:, None, None]
        return torch.where(smoothly, _smoothed(delta, mask, taps), delta * mask)

    def craft(model: nn.Module, ecg: Tensor, label: Tensor, mask: Tensor) -> Tensor:
        delta = torch.empty_like(ecg).uniform_(-config.noise * config.eps, config.noise * config.eps)
        delta.requires_grad_(True)
        F.cross_entropy(model(ecg + shaped(delta, mask)), label).backward()
        assert delta.grad is not None
        return ecg + shaped(delta.detach() + config.eps * delta.grad.sign(), mask)

    return craft


def _smoothed(delta: Tensor, mask: Tensor, taps: Tensor) -> Tensor:
    return F.conv1d(delta * mask, taps, padding="same") * mask


def _taps() -> Tensor:
    return torch.from_numpy(smoothing_taps()).float()[None, None]


def _number_formats(config: TrainConfig) -> str:
    return f"{config.precision}, {config.craft_precision}" if config.crafts else config.precision


if __name__ == "__main__":
    main()
