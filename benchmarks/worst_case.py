"""Claim: an attack from outside of the package lowers a worst case of the profile `strict` by at most 2 points.

On validation records, in torch: the cascade of `strict`, the attacks of its first version `strict/1` (PGD and SAP,
cross-entropy and margin, two starts, 40 steps of one size), and Auto-PGD, written apart from the package
(benchmarks/helpers/apgd.py): 100 steps with momentum, cross-entropy and targeted DLR, plain and after SAP's smoothing.
One line a network and budget: records right under all.

    python benchmarks/worst_case.py --data training2017.zip [--records 64] [NETWORK:EPS ...]
"""

import argparse
from itertools import product

import numpy as np
import torch
from helpers.apgd import fooled_by_apgd, is_fooled
from helpers.real_records import parse_with_records

from edgeguard.ecg.dataset import Dataset
from edgeguard.ecg.sources import load_dataset
from edgeguard.ecg.split import split_from, stratified
from edgeguard.evaluation.adversarial import Paths, craft
from edgeguard.evaluation.evaluate import evaluate
from edgeguard.evaluation.paired import paired_difference
from edgeguard.evaluation.portfolio import Attack, portfolio
from edgeguard.evaluation.profiles import PROFILE_VERSIONS
from edgeguard.evaluation.subject import run_subject
from edgeguard.evaluation.zoo.located import located
from edgeguard.models.run import Run, load_run

PAIRS = ("zoo:adt-edge-m:25", "zoo:adt-edge-m:50", "zoo:adt100-edge-m:50", "zoo:adt100-edge-m:100")
SPACES = {"plain": "pgd", "smooth": "sap"}
BATCH = 32


def main() -> None:
    """Print a line a network, budget and space."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pairs", nargs="*", default=PAIRS)
    parser.add_argument("--records", type=int, default=64)
    asked = parse_with_records(parser)
    torch.set_num_threads(1)
    dataset = load_dataset(asked.data)
    version = PROFILE_VERSIONS["strict"]
    heads = f"{'network':<20}{'uV':>5}  {'space':<8}{'n':>4}{'clean':>8}{'strict/1':>10}{version:>16}{'APGD':>8}"
    print(f"{heads}  APGD less {version}")
    for pair in asked.pairs:
        name, _, budget = pair.rpartition(":")
        run, eps = load_run(located(name)), float(budget)
        run.model.requires_grad_(False)
        validation = split_from(dataset, run.config["split"]).validation
        index = stratified(dataset.labels, validation, asked.records, seed=0)
        for space, kind in SPACES.items():
            clean, old, apgd = standing(run, dataset, index, eps, first_version(kind, eps), smoothed=space == "smooth")
            now = portfolio((kind,), profile="strict", eps=eps)
            found = evaluate(run_subject(run), dataset, index, now, source=run, situation="II")
            new = found.worst_case() == found.labels
            pair_of = paired_difference(apgd, new)
            points = "{difference:+.3f} [{low:+.3f}, {high:+.3f}]".format(**pair_of)
            shares = f"{clean.mean():>8.3f}{old.mean():>10.3f}{new.mean():>16.3f}{apgd.mean():>8.3f}"
            print(f"{name:<20}{eps:>5g}  {space:<8}{len(index):>4}{shares}  {points}", flush=True)


def first_version(kind: str, eps: float) -> list[Attack]:
    """The attacks of `strict/1`."""
    after = 40 if kind == "sap" else 0
    return [
        Attack(kind, eps, 2.5 * eps / 40, 40, after, loss, random_start=start, best=True)
        for loss, start in product(("ce", "margin"), (False, True))
    ]


def standing(
    run: Run, dataset: Dataset, index: np.ndarray, eps: float, attacks: list[Attack], *, smoothed: bool
) -> list[np.ndarray]:
    """bool [N] each: right on clean records, under the attacks, and under Auto-PGD."""
    parts = []
    for first in range(0, len(index), BATCH):
        chosen = index[first : first + BATCH]
        ecg, mask, labels = (torch.from_numpy(part) for part in dataset.batch(chosen))
        paths: Paths = {}
        clean = ~fooled(run, ecg, labels)
        right = clean.clone()
        for attack in attacks:
            made = torch.from_numpy(craft(run, dataset, chosen, attack, 0, paths))
            right &= ~fooled(run, made, labels)
        rows = [clean, right, clean & ~fooled_by_apgd(run.model, ecg, labels, mask, eps=eps, smoothed=smoothed)]
        parts.append(torch.stack(rows).numpy())
    return list(np.concatenate(parts, axis=1))


@torch.no_grad()
def fooled(run: Run, ecg: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """bool [B]."""
    return is_fooled(run.model(ecg), labels)


if __name__ == "__main__":
    main()
