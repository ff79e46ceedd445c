"""The training loop of one stage: batches, crafting, loss, step, validation, checkpoint."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from edgeguard.attacks.gradient import sap
from edgeguard.attacks.losses import cross_entropy
from edgeguard.defenses import checkpoint
from edgeguard.defenses.batches import Records, augment, epoch_order, steps_per_epoch
from edgeguard.defenses.config import TrainConfig
from edgeguard.ecg.dataset import Dataset
from edgeguard.ecg.split import Split, oversample
from edgeguard.errors import InputError
from edgeguard.models.registry import build

Judge = Callable[[np.ndarray, np.ndarray], dict[str, float]]
"""(labels [N], predicted [N]) to scores such as {"accuracy": .85, "f1": .78}."""

_INITIAL_SHARE, _WARM_UP = 1 / 25, 0.3


@dataclass(frozen=True)
class Fitted:
    """A trained network in eval mode and its log, one entry an epoch."""

    model: nn.Module
    log: list[dict[str, Any]]


def fit(
    config: TrainConfig,
    dataset: Dataset,
    split: Split,
    run: Path,
    *,
    device: torch.device,
    judge: Judge,
    soft_labels: Tensor | None = None,
    title: str = "",
) -> Fitted:
    """Train one stage, going on from the run's checkpoint where there is one; the last epoch's weights count.

    Args:
        run: folder for checkpoints, one an epoch.
        judge: scores the validation part after every epoch.
        soft_labels: float32 [N, C], a row a record of the data set; None trains on hard labels.
        title: of the progress bar.
    """
    seed = config.seed if soft_labels is None else student_seed(config.seed)
    records = Records(dataset, device)
    targets = records.labels if soft_labels is None else soft_labels.to(device)
    model = build(config.arch, classes=len(dataset.classes), window=dataset.window, seed=seed).to(device)
    optimizer = _optimizer(config, model)
    log = checkpoint.restore(run, model, optimizer)
    items = oversample(dataset, split.train)
    per_epoch = steps_per_epoch(len(items), config.batch)
    total = per_epoch * config.epochs
    with (
        torch.random.fork_rng(devices=[device] if device.type == "cuda" else []),
        tqdm(total=total, initial=per_epoch * len(log), desc=title, unit="step", dynamic_ncols=True) as bar,
    ):
        for epoch in range(len(log), config.epochs):
            began = time.perf_counter()
            torch.manual_seed(_seed(seed, epoch))
            draws = torch.Generator().manual_seed(_seed(seed, epoch) + 1)
            running = torch.zeros((), device=device)
            for number, index in enumerate(epoch_order(items, config.batch, seed, epoch)):
                ecg, mask, _ = records.take(index)
                if config.augment:
                    ecg, mask = augment(ecg, mask, dataset.sampling_rate, draws)
                for group in optimizer.param_groups:
                    group["lr"] = learning_rate(config, epoch * per_epoch + number, total)
                target = targets[torch.as_tensor(index, device=device)]
                running += _step(config, model, optimizer, ecg, mask, target)
                bar.update()
            loss = running.item() / per_epoch
            if not math.isfinite(loss):
                raise InputError(f"{run}: the loss is not finite in epoch {epoch + 1}; lower --learning-rate")
            scores = judge(dataset.labels[split.validation], predict(model, records, split.validation))
            seconds = round(time.perf_counter() - began, 3)
            log.append({"epoch": epoch + 1, "loss": round(loss, 6), "seconds": seconds, "validation": scores})
            checkpoint.save(run, model, optimizer, log)
            bar.set_postfix_str(
                f"epoch {epoch + 1}, validation accuracy {scores['accuracy']:.3f} f1 {scores['f1']:.3f}"
            )
    return Fitted(model.eval(), log)


def student_seed(seed: int) -> int:
    """Seed of a student's weights, order and draws, given the run's.

    A student starts afresh (Papernot et al. 2016); with its teacher's seed it would start where the teacher did.
    """
    return _seed(seed, 1)


def learning_rate(config: TrainConfig, step: int, total: int) -> float:
    """The rate at a step: constant, or one cycle (cosine up over 30 %, cosine down to zero; Smith & Topin 2018)."""
    if config.schedule == "constant":
        return config.learning_rate
    top = max(1, round(total * _WARM_UP))
    if step < top:
        share = _INITIAL_SHARE + (1 - _INITIAL_SHARE) * (1 - math.cos(math.pi * step / top)) / 2
    else:
        share = (1 + math.cos(math.pi * (step - top) / max(1, total - top))) / 2
    return config.learning_rate * share


@torch.no_grad()
def logits_of(model: nn.Module, records: Records, index: np.ndarray, *, batch: int = 64) -> Tensor:
    """float32 [len(index), C], in eval mode; the model's mode is left as it was."""
    training = model.training
    model.eval()
    try:
        parts = [model(records.take(index[i : i + batch])[0]) for i in range(0, len(index), batch)]
    finally:
        model.train(training)
    return torch.cat(parts)


def predict(model: nn.Module, records: Records, index: np.ndarray) -> np.ndarray:
    """int64 [len(index)]: the most likely class of each record."""
    return logits_of(model, records, index).argmax(1).cpu().numpy()


def _step(
    config: TrainConfig,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    ecg: Tensor,
    mask: Tensor,
    target: Tensor,
) -> Tensor:
    loss_of = partial(cross_entropy, temperature=config.temperature)
    model.train()
    if config.crafts:
        attacked = sap(
            model,
            ecg,
            target,
            mask,
            eps=config.eps,
            alpha=config.alpha,
            steps=config.steps,
            smooth_steps=config.smooth_steps,
            kernels=config.kernels,
            loss=loss_of,
        )
        # One forward for both halves: one set of batch statistics, the mixture that is used at test.
        clean, adversarial = model(torch.cat([ecg, attacked])).chunk(2)
        loss = (1 - config.mix) * loss_of(clean, target).mean() + config.mix * loss_of(adversarial, target).mean()
    else:
        loss = loss_of(model(ecg), target).mean()
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    optimizer.step()
    return loss.detach()


def _optimizer(config: TrainConfig, model: nn.Module) -> torch.optim.Optimizer:
    kind = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[config.optimizer]
    return kind(model.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay)


def _seed(seed: int, epoch: int) -> int:
    return int(np.random.SeedSequence([seed, epoch]).generate_state(1)[0])
