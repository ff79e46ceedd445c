"""A cascade of attacks: each next one only on the records that still stand, as in AutoAttack (Croce & Hein 2020)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from edgeguard.attacks.square import square
from edgeguard.ecg.dataset import Dataset
from edgeguard.evaluation.adversarial import BATCH, craft, whole_codes
from edgeguard.evaluation.masking import margins
from edgeguard.evaluation.portfolio import SEARCHED, Attack
from edgeguard.evaluation.sources import Source
from edgeguard.evaluation.subject import Subject, named

Plan = list[tuple[Attack, Source | None]]
"""Each attack with each network that crafts it; None for clean records and for the black-box search."""


@dataclass(frozen=True)
class Entrant:
    """A subject to judge, what the black-box search asks, and the networks that craft."""

    subject: Subject
    crafting: Subject
    sources: tuple[Source, ...]
    situation: str

    def plan(self, attacks: Sequence[Attack]) -> Plan:
        """Each attack with each source; clean records and the search once."""
        plan: Plan = []
        for attack in attacks:
            alone = attack.name in ("clean", "square")
            plan += [(attack, None)] if alone else [(attack, source) for source in self.sources]
        return plan

    def answers(self, ecg: np.ndarray, clean: np.ndarray, eps: float) -> np.ndarray:
        """Logits float32 [B, C] of adversarial records; a file gets them as whole ADC codes."""
        return self.subject.logits(whole_codes(ecg, clean, eps) if self.subject.is_file else ecg)


class Standing:
    """What one entrant answered so far, and which records it still has right.

    A chain is what one gradient source does in one space; in each, a record is attacked until it falls. Where a record
    has fallen its logits stay those at which it fell.
    """

    def __init__(
        self, entrant: Entrant, plan: Plan, answers: np.ndarray, clean: np.ndarray, labels: np.ndarray
    ) -> None:
        """Nothing is attacked yet.

        Args:
            answers: float32 [rows, N, C], a row an entry of the plan; those of the cascade are written as it goes.
            clean: float32 [N, C], logits of clean records.
            labels: int64 [N].
        """
        self.entrant, self.plan, self.answers, self._labels = entrant, plan, answers, labels
        self.attacked: dict[int, np.ndarray] = {}
        self._clean = clean
        self._chains: dict[tuple[str, str], np.ndarray] = {}
        self._worst = clean.copy()
        self.nearest = self._margin = margins(labels, clean)
        for row, (attack, _) in enumerate(plan):
            if not attack.cascade:
                self._count(np.arange(len(labels)), answers[row])

    def right(self, logits: np.ndarray) -> np.ndarray:
        """bool [N]: the true class alone has the largest logit."""
        return named(logits, self._labels) == self._labels

    def stands(self, chain: tuple[str, str] | None) -> np.ndarray:
        """bool [N]: right so far in a chain; None: under everything."""
        return self.right(self._worst if chain is None else self._chains.get(chain, self._clean))

    def close(self) -> np.ndarray:
        """bool [N]: brought at least half of the way from the clean record to a wrong class, by the margin."""
        return np.asarray(self.nearest >= self._margin / 2)

    def take(self, row: int, chain: tuple[str, str] | None, chosen: np.ndarray, logits: np.ndarray) -> None:
        """Write a row: the answers [B, C] to the attacked records `chosen` [B], and what the others stand at."""
        before = self.stands(chain)
        state = (self._worst if chain is None else self._chains.get(chain, self._clean)).copy()
        mine = before[chosen]
        state[chosen[mine]] = logits[mine]
        self._count(chosen, logits)
        if chain is not None:
            self._chains[chain] = state
        self.answers[row] = state
        self.attacked[row] = np.isin(np.arange(len(before)), chosen[mine])

    def _count(self, chosen: np.ndarray, logits: np.ndarray) -> None:
        right = self.right(self._worst)[chosen]
        nearest = self.nearest.copy()
        nearest[chosen] = np.maximum(nearest[chosen], margins(self._labels[chosen], logits))
        self.nearest = nearest
        self._worst[chosen[right]] = logits[right]


def run_cascade(
    standings: Sequence[Standing],
    dataset: Dataset,
    index: np.ndarray,
    *,
    seed: int = 0,
    advance: Callable[[int], object] = lambda records: None,
) -> None:
    """Run the cascading attacks of all plans, in their order.

    A record is attacked as long as any of the entrants that share the source still has it right, so that all of them
    are judged on the same adversarial records.

    Args:
        index: records of the data set.
        advance: called with the records that are done with, attacked or not, once for every row.
    """
    attacks = dict.fromkeys(attack for one in standings for attack, _ in one.plan if attack.cascade)
    for attack in attacks:
        rows = [(one, row, source) for one in standings for row, (own, source) in enumerate(one.plan) if own == attack]
        groups: dict[str, list[tuple[Standing, int, Source | None]]] = {}
        for one, row, source in rows:
            groups.setdefault(one.entrant.crafting.sha256 if source is None else source.identity, []).append(
                (one, row, source)
            )
        for identity, takers in groups.items():
            source = takers[0][2]
            if source is None:
                _search([(one, row) for one, row, _ in takers], dataset, index, attack, seed)
            else:
                chain = (identity, attack.family)
                _attack([(one, row) for one, row, _ in takers], chain, source, dataset, index, attack, seed)
            advance(len(takers) * len(index))


def _attack(
    takers: Sequence[tuple[Standing, int]],
    chain: tuple[str, str],
    source: Source,
    dataset: Dataset,
    index: np.ndarray,
    attack: Attack,
    seed: int,
) -> None:
    """One attack by gradients on the records that stand for any taker in the chain."""
    wanted = [one.stands(chain) & (one.close() if attack.close else True) for one, _ in takers]
    chosen = np.flatnonzero(np.logical_or.reduce(wanted))
    found: list[list[np.ndarray]] = [[one.answers[row][:0]] for one, row in takers]
    for first in range(0, len(chosen), BATCH):
        records = index[chosen[first : first + BATCH]]
        made, clean = craft(source, dataset, records, attack, seed), dataset.batch(records)[0]
        for (one, _), parts in zip(takers, found, strict=True):
            parts.append(one.entrant.answers(made, clean, attack.eps))
    for (one, row), parts in zip(takers, found, strict=True):
        one.take(row, chain, chosen, np.concatenate(parts))


def _search(
    takers: Sequence[tuple[Standing, int]], dataset: Dataset, index: np.ndarray, attack: Attack, seed: int
) -> None:
    """The black-box search on the records that stand for any taker and lie nearest to a wrong class."""
    asked = takers[0][0].entrant.crafting
    chosen = np.flatnonzero(np.logical_or.reduce([one.stands(None) for one, _ in takers]))
    near = np.max([one.nearest for one, _ in takers], axis=0)[chosen]
    chosen = np.sort(chosen[np.argsort(-near, kind="stable")[:SEARCHED]])
    records = index[chosen]
    clean, mask, labels = dataset.batch(records)

    def score(ecg: np.ndarray) -> np.ndarray:
        return margins(labels, asked.logits(whole_codes(ecg, clean, attack.eps) if asked.is_file else ecg))

    found = square(score, clean, mask, eps=attack.eps, queries=attack.steps, seed=seed, streams=records)
    for one, row in takers:
        one.take(row, None, chosen, one.entrant.answers(found, clean, attack.eps))
