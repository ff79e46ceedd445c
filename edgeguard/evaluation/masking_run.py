"""What the masking checks need, gathered on a few records: short attacks on a network and on what judges it."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from edgeguard.attacks.gradient import crafting, loss_and_gradient, pgd, uniform_start
from edgeguard.attacks.losses import LOSSES, Loss, cross_entropy, margin
from edgeguard.attacks.square import square
from edgeguard.ecg.dataset import Dataset
from edgeguard.ecg.split import stratified
from edgeguard.evaluation import masking
from edgeguard.evaluation.adversarial import whole_codes
from edgeguard.evaluation.contender import Contender, rounds
from edgeguard.evaluation.masking import Check, margins
from edgeguard.evaluation.portfolio import SEARCH_QUERIES, Attack
from edgeguard.evaluation.subject import device_of
from edgeguard.export.twin import build_twin
from edgeguard.runtime.telling import no_bars

Judge = Callable[[np.ndarray], np.ndarray]
"""ecg float32 [B, 1, T] in microvolts to logits float32 [B, C] of what is deployed."""

_BATCH = 32
_WITHOUT_BOUND = (4, 16, 64, 256)
"""Multiples of eps that stand for no bound, the last one many times the height of an R wave at any eps of interest."""
_COMPANY = 8
_RECORDS = 64
_OF_BUDGET, _CHECKS = 8, 13
_SEARCHED = 32
_MOST_STEPS = 20
_BEHAVES_OTHERWISE = (nn.modules.batchnorm._BatchNorm, nn.modules.dropout._DropoutNd)


@dataclass(frozen=True)
class Probe:
    """An attack under test on a few records.

    Attributes:
        judge: of what is deployed, by which alone an attack succeeds; ties count for the attacker.
        ecg, labels, mask: float32 [N, 1, T] in microvolts, int64 [N], bool [N, 1, T].
        eps: largest perturbation, microvolts.
        steps: of the attack, which shrink as a cosine from 2 eps on, as those of `strict` do; best iterate.
        attack: `pgd`, or a callable with its signature.
        loss: what the attack maximises.
        whole: judge whole microvolt codes, as a file is judged.
        seed: of random starts, noise and the black-box attack.
    """

    judge: Judge
    ecg: np.ndarray
    labels: np.ndarray
    mask: np.ndarray
    eps: float = 10.0
    steps: int = 20
    attack: Callable[..., Tensor] = pgd
    loss: Loss = margin
    whole: bool = False
    seed: int = 0

    @property
    def alpha(self) -> float:
        """The first step, microvolts."""
        return 2 * self.eps

    def some(self, rows: np.ndarray) -> "Probe":
        """The same on some of the records."""
        return replace(self, ecg=self.ecg[rows], labels=self.labels[rows], mask=self.mask[rows])

    def craft(self, network: nn.Module, *, random_start: bool = False, **options: Any) -> np.ndarray:
        """Adversarial ecg float32 [N, 1, T]; options of the attack override those of the probe."""
        generator, device = torch.Generator().manual_seed(self.seed), device_of(network)
        settings: dict[str, Any] = {"eps": self.eps, "alpha": self.alpha, "steps": self.steps, "loss": self.loss}
        settings |= {"schedule": "cosine", **options}
        made = [np.empty((0, *self.ecg.shape[1:]), np.float32)]
        for first in range(0, len(self.ecg), _BATCH):
            rows = slice(first, first + _BATCH)
            ecg, labels, mask = (torch.from_numpy(part[rows]) for part in (self.ecg, self.labels, self.mask))
            start = uniform_start(ecg, settings["eps"], generator).to(device) if random_start else None
            batch = (part.to(device) for part in (ecg, labels, mask))
            made.append(self.attack(network, *batch, start=start, best=True, **settings).cpu().numpy())
        return np.concatenate(made)

    def logits(self, adversarial: np.ndarray, *, eps: float | None = None) -> np.ndarray:
        """float32 [N, C] of what is deployed."""
        codes = whole_codes(adversarial, self.ecg, self.eps if eps is None else eps) if self.whole else adversarial
        return self.judge(codes)

    def right(self, logits: np.ndarray) -> np.ndarray:
        """bool [N]: the true class alone has the largest logit."""
        return margins(self.labels, logits) < 0

    def stands(self, network: nn.Module, **options: Any) -> np.ndarray:
        """bool [N]: right under the attack crafted on the network."""
        return self.right(self.logits(self.craft(network, **options), eps=options.get("eps")))

    def noisy(self, draws: int) -> np.ndarray:
        """Logits [draws, N, C] under noise that is uniform in [-eps, eps] microvolts."""
        rng = np.random.default_rng(self.seed)
        noise = (rng.uniform(-self.eps, self.eps, self.ecg.shape).astype(np.float32) for _ in range(draws))
        return np.stack([self.logits(self.ecg + drawn * self.mask) for drawn in noise])

    def stands_searched(self, queries: int) -> np.ndarray:
        """bool [N]: right under a black-box search of the judge."""

        def score(ecg: np.ndarray) -> np.ndarray:
            return margins(self.labels, self.logits(ecg))

        found = square(score, self.ecg, self.mask, eps=self.eps, queries=queries, seed=self.seed)
        return self.right(self.logits(found))

    def stands_unbounded(self, network: nn.Module, stands: np.ndarray) -> np.ndarray:
        """bool [N]: right whatever eps is; what fell within a smaller ball is not attacked again."""
        stands = stands.copy()
        for factor in _WITHOUT_BOUND:
            rows = np.flatnonzero(stands)
            wide = replace(self.some(rows), eps=self.eps * factor)
            # Steps of twice such an eps would land where a network saturates; these cross the ball and a half.
            stands[rows] = wide.stands(network, alpha=2.5 * wide.eps / wide.steps, schedule="constant")
        return stands


def check_budgets(
    contender: Contender,
    dataset: Dataset,
    index: np.ndarray,
    attacks: Mapping[float, Sequence[Attack]],
    *,
    seed: int = 0,
) -> list[Check]:
    """The masking checks at every budget, smallest first; from the second on those that depend on it.

    Their names end in the budget then, as in `black_box_25`.

    Args:
        attacks: eps in microvolts -> attacks of the evaluation; others as in `check_contender`.
    """
    found: list[Check] = []
    for place, (eps, wanted) in enumerate(attacks.items()):
        own = check_contender(contender, dataset, index, wanted, of_network=place == 0, seed=seed)
        found += own if place == 0 else [replace(check, name=f"{check.name}_{eps:g}") for check in own]
    return found


def check_contender(
    contender: Contender,
    dataset: Dataset,
    index: np.ndarray,
    attacks: Sequence[Attack],
    *,
    of_network: bool = True,
    seed: int = 0,
) -> list[Check]:
    """Every masking check of a contender under its own attack; none where no gradient of its own is followed.

    The attack is PGD with the portfolio's eps and steps, 20 at most, and with the margin loss or, where the portfolio
    has it not, its first loss. It follows the first twin, else the first source. For an int8 file of edge-m all of it
    takes about a minute of one processor core.

    Args:
        index: records of the data set, of which up to 64 are taken, stratified.
        attacks: of the evaluation, of one eps.
        of_network: whether to run the checks too that do not depend on eps.
        seed: of the choice, of random starts, noise and the black-box attack.
    """
    able = [attack for attack in attacks if attack.reach > 0]
    if contender.situation != "II" or not able:
        return []
    few = stratified(dataset.labels, index, _RECORDS, seed=seed)
    ecg, mask, labels = dataset.batch(few)
    by_gradient = [attack for attack in able if attack.name != "square"] or able
    losses = [attack.loss for attack in by_gradient]
    probe = Probe(
        contender.subject.logits,
        ecg,
        labels,
        mask,
        eps=able[0].eps,
        steps=min(_MOST_STEPS, max(max(attack.steps, attack.smooth_steps) for attack in by_gradient)),
        loss=LOSSES["margin" if "margin" in losses else losses[0]],
        whole=contender.subject.is_file,
        seed=seed,
    )
    reach = min(attack.reach for attack in able)
    twin = next((source for source in contender.sources if source.twin_of is not None), None)
    file = contender.crafting.file
    if twin is None or file is None:
        return run_checks(contender.sources[0].model, probe, reach=reach, of_network=of_network)
    return run_checks(
        twin.model,
        probe,
        reach=reach,
        true_gradient=build_twin(file, gradient="none") if rounds(contender.crafting) else None,
        other=contender.crafter.model if contender.crafter else None,
        input_step=file.input_step_uv,
        of_network=of_network,
    )


def run_checks(
    target: nn.Module,
    probe: Probe,
    *,
    reach: float | None = None,
    true_gradient: nn.Module | None = None,
    other: nn.Module | None = None,
    input_step: float | None = None,
    draws: int = 10,
    queries: int = SEARCH_QUERIES,
    of_network: bool = True,
) -> list[Check]:
    """Every masking check; 64 records of a probe tell enough.

    Costs about ten times the probe's steps in gradients a record and `draws` judgements, and `queries` of 32 records.

    Args:
        target: network whose gradient crafts; its layers' modes are checked too.
        reach: largest perturbation that the evaluation's own steps make, microvolts; by default of the probe's.
        true_gradient: the target with the true gradient of rounding, zero; None where nothing is rounded.
        other: a network to transfer from, such as a file's float parent; None leaves that check open.
        input_step: of the file's input quantiser, microvolts.
        draws: of random noise.
        queries: of the black-box attack, a record.
        of_network: whether to run the checks too that do not depend on eps.
    """
    checks = _at_budget(target, probe, reach, true_gradient, other, input_step, draws, queries)
    total = _OF_BUDGET
    if of_network:
        checks, total = chain(_of_network(target, probe), checks), _CHECKS
    return list(tqdm(checks, total=total, desc="masking checks", unit="check", dynamic_ncols=True, disable=no_bars()))


def _of_network(target: nn.Module, probe: Probe) -> Iterator[Check]:
    """What no budget changes."""
    company = probe.ecg[:_COMPANY]
    together = probe.judge(company)
    alone = np.concatenate([*(probe.judge(row[None]) for row in company), together[:0]])
    yield masking.zero_gradients(largest_gradients(target, probe), probe.right(probe.judge(probe.ecg)))
    yield masking.identity_at_zero(probe.ecg, probe.craft(target, eps=0.0, alpha=0.0, steps=1))
    yield masking.unbounded(probe.stands_unbounded(target, probe.stands(target)))
    yield masking.batch_invariance(alone, together)
    yield masking.evaluation_mode(layers_in_training(target))


def _at_budget(
    target: nn.Module,
    probe: Probe,
    reach: float | None,
    true_gradient: nn.Module | None,
    other: nn.Module | None,
    input_step: float | None,
    draws: int,
    queries: int,
) -> Iterator[Check]:
    labels, eps = probe.labels, probe.eps
    direct = probe.logits(probe.craft(target))
    blind = None if true_gradient is None else probe.logits(probe.craft(true_gradient))
    stands = probe.right(direct)
    # One attack is held against another on records that an attack can turn.
    right = probe.right(probe.judge(probe.ecg))
    own = probe.some(np.flatnonzero(right))
    searched = np.flatnonzero(right)[:_SEARCHED]
    checks = [
        lambda: masking.one_step_beats_many(own.stands(target, alpha=eps, steps=1), stands[right]),
        lambda: masking.straight_through(labels, direct, blind, eps=eps, input_step=input_step),
        lambda: masking.still_gains(stands[right], own.stands(target, steps=2 * probe.steps), what="steps"),
        lambda: masking.still_gains(stands[right], own.stands(target, random_start=True), what="restarts"),
        lambda: masking.black_box_beats_white_box(stands[searched], probe.some(searched).stands_searched(queries)),
        lambda: masking.transfer_beats_direct(stands[right], None if other is None else own.stands(other)),
        lambda: masking.steps_reach(eps if reach is None else reach, eps),
        lambda: masking.noise_as_strong(labels, direct, probe.noisy(draws)),
    ]
    for check in checks:
        yield replace(check(), eps_uv=eps)


def largest_gradients(target: nn.Module, probe: Probe) -> np.ndarray:
    """float [N]: the largest magnitude of the gradient of cross-entropy by a record's real samples."""
    largest, device = [np.empty(0, np.float32)], device_of(target)
    for first in range(0, len(probe.ecg), _BATCH):
        rows = slice(first, first + _BATCH)
        parts = (probe.ecg, probe.labels, probe.mask)
        ecg, labels, mask = (torch.from_numpy(part[rows]).to(device) for part in parts)
        with crafting(target, device.type) as forward:
            _, gradient = loss_and_gradient(forward, ecg, labels, cross_entropy)
        largest.append((gradient.abs() * mask).flatten(1).amax(1).cpu().numpy())
    return np.concatenate(largest)


def layers_in_training(network: nn.Module) -> list[str]:
    """Names of the layers that behave otherwise in training and are in train mode."""
    return [
        name or type(layer).__name__
        for name, layer in network.named_modules()
        if layer.training and isinstance(layer, _BEHAVES_OTHERWISE)
    ]
