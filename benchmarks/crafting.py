"""Claim: SAP costs a third of the published procedure on edge-m and four fifths on cnn13, with the same result.

Side by side, taking turns, on the same network, records and threads: SAP with 5 + 5 steps as Han et al. published it
(github.com/XintianHan/ADV_ECG, create_adv_conv_train.py), and `edgeguard.attacks.gradient.sap`. The published
procedure smooths with 25 convolutions, averages them, differentiates through them and calls `loss.backward()`. In a
training loop that computes the parameters' gradients too, and throws them away: this is the row that the ratio refers
to. Han's script attacks a finished network with its parameters frozen; that is the row after it.

The two must give the same: every sample in float64, and the same loss in float32; otherwise the program ends with 1.
In float32 most samples agree too, to a few roundings, and their share is printed. The others are where a gradient lay
as near zero as rounding reaches, or a ReLU at its kink: the sign falls either way, and later steps carry that through
the rest of the record.

    python benchmarks/crafting.py
"""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from time import perf_counter

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from edgeguard.attacks.gradient import sap
from edgeguard.attacks.losses import cross_entropy
from edgeguard.defenses.batches import Records
from edgeguard.defenses.precision import has_fast_bfloat16
from edgeguard.ecg.dataset import build as dataset_of
from edgeguard.ecg.synthetic import generate
from edgeguard.models import build

EPS, ALPHA, STEPS, SMOOTH_STEPS = 10.0, 1.0, 5, 5
EXACT_UV, CLOSE_UV, CLOSE_LOSS = 1e-6, 1e-3, 1e-3

Batch = tuple[Tensor, Tensor, Tensor]
Craft = Callable[[nn.Module, Tensor, Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Case:
    """A network, how many records it is given, how often, and records by samples for float64, which is slow."""

    arch: str
    batch: int
    repeats: int
    exact: tuple[int, int]


CASES = (Case("edge-m", 32, 5, (4, 9000)), Case("cnn13", 1, 2, (1, 600)))


def main() -> bool:
    """Print seconds a crafting, ratios and agreement; True when all results agree."""
    print(f"SAP {STEPS} + {SMOOTH_STEPS}, eps {EPS:g} uV, records of 30 s, {torch.get_num_threads()} threads\n")
    print(f"{'network':<7}  records  {'procedure':<32}  s a batch    times faster (min to max)        same    loss")
    return all([compare(case) for case in CASES])


def compare(case: Case) -> bool:
    """Print the case's rows; whether EdgeGuard's result is the published one."""
    dataset = dataset_of("synthetic", generate(case.batch, seed=1))
    ecg, mask, labels = Records(dataset, torch.device("cpu")).take(np.arange(case.batch))
    model = settled(build(case.arch, classes=4, window=dataset.window, seed=0), ecg)
    reference = "published, parameters' gradients"
    procedures: dict[str, Craft] = {
        reference: published,
        "published, parameters frozen": frozen,
        "EdgeGuard": sap_as_published,
    }
    if has_fast_bfloat16():
        procedures["EdgeGuard, low precision"] = reduced
    found, seconds = take_turns(procedures, model, (ecg, labels, mask), case.repeats)
    loss = {name: mean_loss(model, attacked, labels) for name, attacked in found.items()}
    for name in procedures:
        ratios = [slow / fast for slow, fast in zip(seconds[reference], seconds[name], strict=True)]
        print(
            f"{case.arch:<7}  {case.batch:>7}  {name:<32}  {median(seconds[name]):>9.3f}"
            f"    {median(ratios):>6.2f} ({min(ratios):>5.2f} to {max(ratios):>5.2f})    "
            f"    {100 * share_within(found[name], found[reference]):>6.2f} %    {loss[name]:.4f}"
        )
    apart = largest_difference(model, (ecg, labels, mask), case.exact)
    print(f"{case.arch:<7}  in float64, {case.exact[0]} x {case.exact[1]} samples: at most {apart:.0e} uV apart\n")
    return apart <= EXACT_UV and abs(loss["EdgeGuard"] / loss[reference] - 1) <= CLOSE_LOSS


def published(model: nn.Module, ecg: Tensor, labels: Tensor, mask: Tensor) -> Tensor:
    """Han et al.'s `pgd_conv`: PGD, then SAP, the padding masked in the result."""
    kernels = [
        torch.exp(-((torch.arange(size, dtype=ecg.dtype) - size // 2) ** 2) / (2 * sigma**2))
        for size in (5, 7, 11, 15, 19)
        for sigma in (1.0, 3.0, 5.0, 7.0, 10.0)
    ]
    kernels = [(kernel / kernel.sum()).view(1, 1, -1) for kernel in kernels]

    def smoothed(added: Tensor) -> Tensor:
        total = torch.zeros_like(added)
        for kernel in kernels:
            total = total + F.conv1d(added, kernel, padding=kernel.shape[2] // 2)
        return total / len(kernels)

    model.eval()
    added = torch.zeros_like(ecg)
    for _ in range(STEPS):
        crafting = (ecg + added).requires_grad_(True)
        F.cross_entropy(model(crafting), labels).backward()
        added = torch.clamp(crafting.detach() + ALPHA * gradient_of(crafting).sign() - ecg, -EPS, EPS)
    for _ in range(SMOOTH_STEPS):
        added = added.detach().requires_grad_(True)
        F.cross_entropy(model(ecg + smoothed(added)), labels).backward()
        added = torch.clamp(added.detach() + ALPHA * gradient_of(added).sign(), -EPS, EPS)
    for parameter in model.parameters():
        parameter.grad = None
    return ecg + smoothed(added) * mask


def frozen(model: nn.Module, ecg: Tensor, labels: Tensor, mask: Tensor) -> Tensor:
    """`published` on a network whose parameters need no gradient."""
    model.requires_grad_(False)
    try:
        return published(model, ecg, labels, mask)
    finally:
        model.requires_grad_(True)


def sap_as_published(
    model: nn.Module, ecg: Tensor, labels: Tensor, mask: Tensor, *, low_precision: bool = False
) -> Tensor:
    """EdgeGuard's, the padding masked in the result as in the published one."""
    return sap(
        model,
        ecg,
        labels,
        mask,
        eps=EPS,
        alpha=ALPHA,
        steps=STEPS,
        smooth_steps=SMOOTH_STEPS,
        mask_at="end",
        low_precision=low_precision,
    )


def reduced(model: nn.Module, ecg: Tensor, labels: Tensor, mask: Tensor) -> Tensor:
    """EdgeGuard's with bfloat16 inside the network: another result, so its loss is what counts."""
    with torch.autocast("cpu", torch.bfloat16):
        return sap_as_published(model, ecg, labels, mask, low_precision=True)


def settled(model: nn.Module, ecg: Tensor) -> nn.Module:
    """The network with the batch's own statistics and uneven normalisation: nothing that folding could skip."""
    generator = torch.Generator().manual_seed(0)
    for layer in model.modules():
        if isinstance(layer, nn.BatchNorm1d):
            layer.momentum = 1.0
            layer.weight.data.uniform_(0.7, 1.4, generator=generator)
            layer.bias.data.uniform_(-0.2, 0.2, generator=generator)
    with torch.no_grad():
        model.train()(ecg)
    return model.eval()


def take_turns(
    procedures: dict[str, Craft], model: nn.Module, batch: Batch, repeats: int
) -> tuple[dict[str, Tensor], dict[str, list[float]]]:
    """Result and seconds of each, every procedure once a round; a round before them warms up."""
    found: dict[str, Tensor] = {}
    seconds: dict[str, list[float]] = {name: [] for name in procedures}
    for turn in range(repeats + 1):
        for name, craft in procedures.items():
            began = perf_counter()
            found[name] = craft(model, *batch).detach()
            if turn:
                seconds[name].append(perf_counter() - began)
    return found, seconds


def largest_difference(model: nn.Module, batch: Batch, size: tuple[int, int]) -> float:
    """Microvolts between both procedures in float64, on the middle of the first records: `size` records, samples."""
    ecg, labels, mask = batch
    records, samples = size
    start = (ecg.shape[2] - samples) // 2
    middle = slice(records), slice(None), slice(start, start + samples)
    part = ecg[middle].double(), labels[:records], mask[middle]
    model.double()
    apart = sap_as_published(model, *part) - published(model, *part)
    model.float()
    return float(apart.abs().max())


def gradient_of(tensor: Tensor) -> Tensor:
    """What `backward` left there."""
    assert tensor.grad is not None
    return tensor.grad


def share_within(found: Tensor, expected: Tensor) -> float:
    """Share of samples within `CLOSE_UV`: a few roundings of a signal of millivolts."""
    return float(((found - expected).abs() <= CLOSE_UV).double().mean())


@torch.no_grad()
def mean_loss(model: nn.Module, ecg: Tensor, labels: Tensor) -> float:
    """Mean cross-entropy, in float32."""
    return float(cross_entropy(model(ecg), labels).mean())


if __name__ == "__main__":
    sys.exit(0 if main() else 1)
