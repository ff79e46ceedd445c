"""Claim: the ADT paper's network of 13 layers trains on a processor too: its loss falls within a few hundred steps.

    python benchmarks/cnn13_training.py [--steps 320] [--defense none]

Records of the archive or folder that EDGEGUARD_CINC2017 names, else synthetic ones: 80 of the training part, batches
of 4. Prints the mean loss of each epoch and the seconds a step. By default two epochs.
"""

import argparse
import os
import tempfile
from functools import partial
from pathlib import Path

import torch

from edgeguard.defenses.config import make_config
from edgeguard.defenses.trainer import fit
from edgeguard.ecg.sources import load_dataset
from edgeguard.ecg.split import Split, oversample, split, stratified
from edgeguard.evaluation.metrics import scores

RECORDS, VALIDATION, BATCH = 80, 16, 4
PUBLISHED_PARAMETERS = 5_486_916


def main() -> None:
    """Print one line an epoch."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--defense", default="none")
    options = parser.parse_args()
    dataset = load_dataset(os.environ.get("EDGEGUARD_CINC2017", "synthetic:400"))
    parts = split(dataset)
    few = Split(
        stratified(dataset.labels, parts.train, RECORDS),
        stratified(dataset.labels, parts.validation, VALIDATION),
        parts.test,
        parts.seed,
        parts.fractions,
    )
    per_epoch = len(oversample(dataset, few.train)) // BATCH
    config = make_config(
        defense=options.defense,
        arch="cnn13",
        preset="paper",
        batch=BATCH,
        precision="auto",
        epochs=max(1, round(options.steps / per_epoch)),
    )
    judge = partial(scores, classes=len(dataset.classes))
    with tempfile.TemporaryDirectory() as run:
        fitted = fit(config, dataset, few, Path(run), device=torch.device("cpu"), judge=judge, title="cnn13")
    parameters = sum(p.numel() for p in fitted.model.parameters())
    print(f"{dataset.source}; {torch.get_num_threads()} threads; training in {config.precision}")
    print(f"{parameters:,} parameters, published {PUBLISHED_PARAMETERS:,}\n")
    print("steps    mean loss    seconds a step")
    for entry in fitted.log:
        print(f"{entry['epoch'] * per_epoch:>5}    {entry['loss']:>9.3f}    {entry['seconds'] / per_epoch:>14.2f}")


if __name__ == "__main__":
    main()
