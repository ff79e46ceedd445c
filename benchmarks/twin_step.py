"""Claim: attacking the int8 file itself costs at most three times what attacking the float network costs.

One gradient step of PGD on `edge-m`, batches of 32 windows, one thread: through the float network, folded as attacks
run it, and through the twin of its int8 file, which computes the file bit for bit. They take turns, so that whatever
else the machine does falls on both; each figure is a median.

    python benchmarks/twin_step.py [RUN_FOLDER INT8.onnx]
"""

import sys
import tempfile
from pathlib import Path
from time import perf_counter

import numpy as np
import torch
from torch import nn

from edgeguard.attacks.gradient import crafting, loss_and_gradient
from edgeguard.attacks.losses import cross_entropy
from edgeguard.ecg.synthetic import generate
from edgeguard.ecg.windows import to_window
from edgeguard.export.twin import build_twin
from edgeguard.models import load_run

ARCH = "edge-m"
BATCH, TURNS, WARM_UP, BAR = 32, 25, 3, 3.0


def main(run: Path, int8: Path) -> None:
    """Print the time of a step through each, and their ratio."""
    torch.set_num_threads(1)
    networks: dict[str, nn.Module] = {"float": load_run(run).model, "twin": build_twin(int8)}
    ecg = torch.from_numpy(np.stack([to_window(record.ecg, 9000)[0][None] for record in generate(BATCH)]))
    labels = torch.arange(BATCH) % 4
    seconds: dict[str, list[float]] = {name: [] for name in networks}
    for _ in range(WARM_UP + TURNS):
        for name, network in networks.items():
            with crafting(network) as forward:
                begin = perf_counter()
                loss_and_gradient(forward, ecg, labels, cross_entropy)
                seconds[name].append(perf_counter() - begin)
    median = {name: float(np.median(times[WARM_UP:])) for name, times in seconds.items()}
    print(f"{int8.name}: a gradient step on {BATCH} windows, {TURNS} turns, one thread\n")
    for name, value in median.items():
        print(f"{name:<6} {1e3 * value:>8.1f} ms")
    ratio = median["twin"] / median["float"]
    print(f"\nthe twin costs {ratio:.2f} times the float network: {'holds' if ratio <= BAR else 'does not hold'}")


if __name__ == "__main__":
    if len(sys.argv) == 3:
        main(Path(sys.argv[1]), Path(sys.argv[2]))
    elif len(sys.argv) == 1:
        from helpers.briefly_trained import briefly_trained

        with tempfile.TemporaryDirectory() as folder:
            exported = briefly_trained(ARCH, Path(folder) / ARCH)
            assert exported.int8 is not None
            main(Path(folder) / ARCH, exported.int8)
    else:
        sys.exit(__doc__)
