"""Claim: a step of the fast preset costs less than half of one with the crafting of the ADT paper.

Time of a training step of 32 records, crafting included, and the peak memory of the process, Python and torch
included; each row is a process of its own.

    python benchmarks/training_step.py
"""

import multiprocessing
from statistics import median

import torch
from training_throughput import BATCH, our_step, take_turns

from edgeguard.defenses.config import make_config
from edgeguard.defenses.cost import forward_units
from edgeguard.ecg.dataset import build
from edgeguard.ecg.synthetic import generate
from edgeguard.models.registry import build as build_network
from edgeguard.runtime.system import peak_rss_bytes

ARCHITECTURES = ("edge-s", "edge-m")
RECIPES = {
    "clean": {"defense": "none", "preset": "fast"},
    "single step": {"defense": "at", "preset": "fast"},
    "SAP 5 + 5": {"defense": "at", "preset": "lite"},
}
RECORDS = 128


def main() -> None:
    """Print milliseconds a step, relative to a clean one, and megabytes."""
    print(f"batches of {BATCH} records of 30 s, {torch.get_num_threads()} threads\n")
    print("network   crafting       ms a step    clean steps    forward units    peak MB")
    for arch in ARCHITECTURES:
        clean = 0.0
        for name, recipe in RECIPES.items():
            with multiprocessing.get_context("spawn").Pool(1) as pool:
                seconds, peak = pool.apply(measure, (arch, recipe))
            clean = clean or seconds
            units = forward_units(make_config(**recipe, epochs=1, start_epochs=0))
            print(
                f"{arch:<8}  {name:<13}{1e3 * seconds:>11.0f}    {seconds / clean:>11.2f}"
                f"    {units:>13}    {peak / 1e6:>7.0f}"
            )


def measure(arch: str, recipe: dict[str, str]) -> tuple[float, int]:
    """(median seconds a step, peak resident bytes)."""
    dataset = build("synthetic", generate(RECORDS))
    model = build_network(arch, classes=len(dataset.classes), window=dataset.window, seed=0)
    (seconds,) = take_turns([our_step(model, dataset, make_config(arch=arch, **recipe))], len(dataset))
    return median(seconds), peak_rss_bytes()


if __name__ == "__main__":
    main()
