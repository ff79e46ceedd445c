"""Claim: a step of the fast preset costs less than half of one with the crafting of the ADT paper.

Time of a training step of 32 records, crafting included, as the trainer's own log gives it in its second
epoch, and the peak memory of the process, Python and torch included; each row is a process of its own.

    python benchmarks/training_step.py
"""

import multiprocessing
import tempfile
from functools import partial
from pathlib import Path

import torch

from edgeguard.defenses.batches import steps_per_epoch
from edgeguard.defenses.config import make_config
from edgeguard.defenses.trainer import fit
from edgeguard.ecg.dataset import build
from edgeguard.ecg.split import oversample, split
from edgeguard.ecg.synthetic import generate
from edgeguard.evaluation.metrics import scores
from edgeguard.firmware_sim.result import peak_rss_bytes

ARCHITECTURES = ("edge-s", "edge-m")
RECIPES = {
    "clean": {"defense": "none"},
    "SAP 2 + 1": {"defense": "at", "steps": 2, "smooth_steps": 1},
    "SAP 5 + 5": {"defense": "at", "steps": 5, "smooth_steps": 5},
}
RECORDS = 160


def main() -> None:
    """Print milliseconds a step, relative to a clean one, and megabytes."""
    print(f"batches of 32 records of 30 s, {torch.get_num_threads()} threads\n")
    print("network   crafting     ms a step    clean steps    forward units    peak MB")
    for arch in ARCHITECTURES:
        clean = 0.0
        for name, recipe in RECIPES.items():
            with multiprocessing.get_context("spawn").Pool(1) as pool:
                seconds, peak = pool.apply(measure, (arch, recipe))
            clean = clean or seconds
            units = make_config(**recipe, epochs=1).forward_units
            print(
                f"{arch:<8}  {name:<11}{1e3 * seconds:>11.0f}    {seconds / clean:>11.2f}"
                f"    {units:>13}    {peak / 1e6:>7.0f}"
            )


def measure(arch: str, recipe: dict[str, object]) -> tuple[float, int]:
    """(seconds a step, peak resident bytes) of the second of two epochs."""
    dataset = build("synthetic", generate(RECORDS))
    parts = split(dataset)
    config = make_config(arch=arch, epochs=2, **recipe)
    judge = partial(scores, classes=len(dataset.classes))
    with tempfile.TemporaryDirectory() as run:
        fitted = fit(config, dataset, parts, Path(run), device=torch.device("cpu"), judge=judge, title=arch)
    steps = steps_per_epoch(len(oversample(dataset, parts.train)), config.batch)
    return fitted.log[-1]["seconds"] / steps, peak_rss_bytes()


if __name__ == "__main__":
    main()
