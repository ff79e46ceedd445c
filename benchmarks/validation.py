"""Choose on validation: accuracy, F1 and log loss of runs on their validation parts, clean and attacked.

    python benchmarks/validation.py --data training2017.zip RUN...

Situation II, one start, cross-entropy, last iterate. At 10 uV the paper's numbers, steps of 1 uV, PGD 20 and
SAP 20 + 40; beyond, `--eps`, steps of eps / 8, as many of PGD and with `--smooth` SAP of 20 alone. The test part is not
touched. Log loss moves less by chance than accuracy. Without RUN the zoo's none-edge-m and at-edge-m.
"""

import argparse
from functools import partial

import numpy as np
import torch
from helpers.real_records import parse_with_records
from torch import Tensor, nn
from torch.nn import functional as F

from edgeguard.attacks.gradient import eval_mode, pgd, sap
from edgeguard.ecg.dataset import Dataset
from edgeguard.ecg.sources import load_dataset
from edgeguard.ecg.split import split_from
from edgeguard.evaluation.metrics import scores
from edgeguard.evaluation.zoo.located import located
from edgeguard.models.run import load_run

BATCH = 32


def logits_under(model: nn.Module, dataset: Dataset, index: np.ndarray, attack: str, eps: float) -> Tensor:
    """float32 [N, C] of the attacked records; `attack` is clean, pgd, sap or smooth, SAP without PGD before it."""
    alpha = eps / 8 if eps > 10 else 1.0
    craft = {
        "clean": lambda model, ecg, labels, mask: ecg,
        "pgd": partial(pgd, eps=eps, alpha=alpha, steps=20),
        "sap": partial(sap, eps=eps, alpha=alpha, steps=20, smooth_steps=40),
        "smooth": partial(sap, eps=eps, alpha=alpha, steps=0, smooth_steps=20),
    }[attack]
    found = []
    for first in range(0, len(index), BATCH):
        ecg, mask, labels = (torch.from_numpy(part) for part in dataset.batch(index[first : first + BATCH]))
        attacked = craft(model, ecg, labels, mask)
        with torch.no_grad(), eval_mode(model):
            found.append(model(attacked))
    return torch.cat(found)


def main() -> None:
    """Print one line a run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="*", default=["zoo:none-edge-m", "zoo:at-edge-m"])
    parser.add_argument("--eps", type=float, nargs="*", default=[50.0], help="larger perturbations, by PGD")
    parser.add_argument("--smooth", action="store_true", help="by smoothed steps too")
    parser.add_argument("--clean", action="store_true", help="clean records alone")
    options = parse_with_records(parser)
    dataset = load_dataset(options.data)
    attacks = [("clean", 0.0)]
    if not options.clean:
        attacks += [("pgd", 10.0), ("sap", 10.0), *(("pgd", eps) for eps in options.eps)]
        attacks += [("smooth", eps) for eps in options.eps if options.smooth]
    for path in map(located, options.runs):
        run = load_run(path)
        index = split_from(dataset, run.config["split"]).validation
        labels, line = dataset.labels[index], []
        for attack, eps in attacks:
            logits = logits_under(run.model, dataset, index, attack, eps)
            score = scores(labels, logits.argmax(1).numpy(), len(dataset.classes))
            loss = F.cross_entropy(logits, torch.from_numpy(labels)).item()
            line.append(f"{attack} {eps:g}: {score['accuracy']:.4f} / {score['f1']:.4f} / {loss:.4f}")
        print(f"{path.name}, n {len(index)}, accuracy / F1 / log loss: " + "; ".join(line), flush=True)


if __name__ == "__main__":
    main()
