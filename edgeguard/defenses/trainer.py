"""The training loop of one stage: batches, crafting, loss, step, validation, checkpoint."""

import copy
import math
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm import tqdm

from edgeguard.attacks.gradient import eval_mode
from edgeguard.defenses import checkpoint, distributed
from edgeguard.defenses.averaging import averaged
from edgeguard.defenses.batch import Batch
from edgeguard.defenses.batches import Records
from edgeguard.defenses.config import TrainConfig
from edgeguard.defenses.crafting import backed_off
from edgeguard.defenses.distortions import Distorter
from edgeguard.defenses.feed import DROPOUT, Feed, labelling, stream
from edgeguard.defenses.objectives import objective_of
from edgeguard.defenses.precision import multiplying_in
from edgeguard.defenses.prior import restore_prior
from edgeguard.defenses.watchdog import alarm, watchdog
from edgeguard.ecg.dataset import Dataset
from edgeguard.ecg.split import Split, oversample
from edgeguard.errors import InputError
from edgeguard.models.registry import build
from edgeguard.runtime.telling import no_bars

Judge = Callable[[np.ndarray, np.ndarray], dict[str, float]]
"""(labels [N], predicted [N]) to scores such as {"accuracy": .85, "f1": .78}."""

Stateful = nn.Module | torch.optim.Optimizer

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
    teachers: Sequence[nn.Module] = (),
    initial: dict[str, Tensor] | None = None,
    deadline: float | None = None,
    title: str = "",
) -> Fitted:
    """Train one stage, going on from the run's checkpoint where there is one; the last epoch's weights count.

    Of several processes (`edgeguard.defenses.distributed`) the first judges, saves and shows progress, the others wait
    for it; all read the run folder. Dropout apart, what comes out does not depend on their number, but for rounding.

    Args:
        run: folder for checkpoints, one an epoch.
        judge: scores the validation part after every epoch.
        soft_labels: float32 [N, C], a row a record of the data set; None trains on hard labels.
        teachers: the networks that gave the soft labels; with `views` they label every augmented record anew.
        initial: weights to start from; None draws them from the seed.
        deadline: moment of `time.monotonic` at which training stops, in the middle of an epoch if need be.
        title: of the progress bar.
    """
    seed = config.seed if soft_labels is None else student_seed(config.seed)
    records = Records(dataset, device)
    model = build(config.arch, classes=len(dataset.classes), window=dataset.window, seed=seed).to(device)
    model = distributed.synchronised(model, device)
    if initial is not None:
        model.load_state_dict(initial)
    optimizer = _optimizer(config, model)
    feed = Feed(
        config,
        records,
        _targets(config, records, len(dataset.classes), soft_labels),
        oversample(dataset, split.train),
        seed,
        Distorter(dataset.window, dataset.sampling_rate, device) if config.augment and config.distort else None,
        labelling([teacher.to(device) for teacher in teachers], config) if config.views and teachers else None,
    )
    feed.check()
    average = averaged(model, round(config.averaging * feed.per_epoch))
    log = checkpoint.restore(run, model, optimizer, average)
    kept = average.module if average else model
    step = distributed.replicated(_Step(model))
    guard = watchdog(config, records, dataset.labels, split.validation)
    alarms: list[str] = []
    with (
        torch.random.fork_rng(devices=[device] if device.type == "cuda" else []),
        _bar(feed, title, epochs=len(log)) as bar,
    ):

        def after_step() -> bool:
            if average:
                average.update_parameters(model)
            bar.update()
            return _is_late(deadline)

        began = time.perf_counter()
        # Late or not, a stage has a first epoch, if only a step of it: a network that nothing taught is of no use.
        while len(log) < config.stage_epochs and not (log and _is_late(deadline)):
            epoch = len(log)
            backed = len(alarms) + (log[-1].get("backed_off", 0) if log else 0)
            settings = backed_off(config, backed)
            before = _snapshot(model, optimizer, average) if guard else None
            loss, part = _epoch(feed, settings, step, optimizer, epoch, after_step)
            if not math.isfinite(loss):
                raise InputError(f"{run}: the loss is not finite in epoch {epoch + 1}; lower --learning-rate")
            entry: dict[str, Any] = {"epoch": epoch + 1, "loss": round(loss, 6)}
            if part < 1:
                entry["share"] = round(part, 4)
            if guard and before:
                seen = distributed.from_main(partial(guard.look, model))
                reason = alarm(log[-1]["watchdog"] if log else None, seen, len(guard.index))
                if reason and settings.crafting == "single-step":
                    alarms.append(reason)
                    _rewind((model, optimizer, average), before)
                    if distributed.is_main():
                        said = f"{title}: epoch {epoch + 1} is taken back, crafting made gentler: {reason}"
                        bar.write(said, file=sys.stderr)
                    bar.update(feed.per_epoch * epoch - bar.n)
                    continue
                entry |= {"watchdog": seen, "backed_off": backed, "alarms": alarms}
                alarms = []
            entry["validation"] = distributed.from_main(
                lambda: judge(dataset.labels[split.validation], predict(kept, records, split.validation))
            )
            entry["seconds"] = round(time.perf_counter() - began, 3)
            began = time.perf_counter()
            log.append(entry)
            distributed.from_main(partial(checkpoint.save, run, model, optimizer, log, average))
            bar.set_postfix_str(
                "epoch {epoch}, validation accuracy {accuracy:.3f} f1 {f1:.3f}".format(**entry, **entry["validation"])
            )
    if config.prior > 0 and soft_labels is None and log:
        restore_prior(
            kept, dataset.labels, feed.items, split.train, classes=len(dataset.classes), strength=config.prior
        )
        log[-1]["validation"] = distributed.from_main(
            lambda: judge(dataset.labels[split.validation], predict(kept, records, split.validation))
        )
    return Fitted(kept.eval(), log)


class _Step(nn.Module):
    """The objective as a module that holds the network: crafting, regulariser and all are one forward of it."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, settings: TrainConfig, batch: Batch, regularized: bool, draws: torch.Generator) -> Tensor:
        return objective_of(settings)(settings, self.model, batch, regularized, draws)


def _epoch(
    feed: Feed,
    settings: TrainConfig,
    step: nn.Module,
    optimizer: torch.optim.Optimizer,
    epoch: int,
    after_step: Callable[[], bool],
) -> tuple[float, float]:
    """One pass over the items, or less where `after_step` ends it; the mean loss, and the part that was done."""
    torch.manual_seed(stream(feed.seed, epoch, DROPOUT, distributed.rank()))
    running, steps = torch.zeros((), device=feed.records.device), 0
    step.train()
    for batch, draws in feed.batches(epoch):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(settings, epoch * feed.per_epoch + steps, feed.total)
        loss = step(settings, batch, epoch >= settings.warm_up, draws)
        optimizer.zero_grad(set_to_none=True)
        with multiplying_in(settings.precision):
            loss.backward()
        optimizer.step()
        running += loss.detach()
        steps += 1
        if after_step():
            break
    return running.item() / steps, steps / feed.per_epoch


def student_seed(seed: int) -> int:
    """Seed of a student's weights, order and draws, given the run's.

    A student starts afresh (Papernot et al. 2016); with its teacher's seed it would start where the teacher did.
    """
    return stream(seed, 1)


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
    with eval_mode(model):
        return torch.cat([model(records.take(index[i : i + batch])[0]) for i in range(0, len(index), batch)])


def predict(model: nn.Module, records: Records, index: np.ndarray) -> np.ndarray:
    """int64 [len(index)]: the most likely class of each record."""
    return logits_of(model, records, index).argmax(1).cpu().numpy()


def _targets(config: TrainConfig, records: Records, classes: int, soft_labels: Tensor | None) -> Tensor:
    """What each record of the data set teaches: int64 [N], or probabilities float32 [N, C]."""
    if soft_labels is not None:
        return soft_labels.to(records.device)
    if not config.row.smooth_labels:
        return records.labels
    certain = F.one_hot(records.labels, classes).float()
    return (1 - config.label_smoothing) * certain + config.label_smoothing / classes


def _snapshot(*parts: Stateful | None) -> list[dict[str, Any]]:
    return copy.deepcopy([part.state_dict() for part in parts if part is not None])


def _rewind(parts: Sequence[Stateful | None], before: list[dict[str, Any]]) -> None:
    for part, state in zip((part for part in parts if part is not None), before, strict=True):
        part.load_state_dict(state)


def _optimizer(config: TrainConfig, model: nn.Module) -> torch.optim.Optimizer:
    kind = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[config.optimizer]
    return kind(model.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay, fused=True)


def _bar(feed: Feed, title: str, *, epochs: int) -> Any:
    """Progress in steps, the first process's, with so many epochs behind it."""
    done, silent = feed.per_epoch * epochs, not distributed.is_main()
    return tqdm(
        total=feed.total, initial=done, desc=title, unit="step", dynamic_ncols=True, disable=silent or no_bars()
    )


def _is_late(deadline: float | None) -> bool:
    """The first process's clock decides for all."""
    return deadline is not None and distributed.from_main(partial(_has_passed, deadline))


def _has_passed(deadline: float) -> bool:
    return time.monotonic() > deadline
