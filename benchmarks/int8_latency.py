"""Claim: int8 makes the file three times smaller, and a decision on one core faster.

`edge-m` in ONNX Runtime, one thread, one window of 30 s at a time. The two files take turns, so that whatever
else the machine does falls on both.

    python benchmarks/int8_latency.py [FP32.onnx INT8.onnx]
"""

import sys
import tempfile
from pathlib import Path
from time import perf_counter

import numpy as np

from edgeguard.ecg.synthetic import generate
from edgeguard.ecg.windows import to_window
from edgeguard.runtime.session import OnnxModel, open_model

ARCH = "edge-m"
TURNS, WARM_UP = 400, 20


def main(fp32: Path, int8: Path) -> None:
    """Print size and latency of both files."""
    models = {"fp32": open_model(fp32), "int8": open_model(int8)}
    window = to_window(next(generate(1)).ecg, models["fp32"].window)[0][None, None]
    seconds: dict[str, list[float]] = {form: [] for form in models}
    for _ in range(WARM_UP + TURNS):
        for form, model in models.items():
            seconds[form].append(_time(model, window))
    latency = {form: 1e3 * np.percentile(times[WARM_UP:], (50, 99)) for form, times in seconds.items()}
    size = {"fp32": fp32.stat().st_size, "int8": int8.stat().st_size}
    print(f"{fp32.name} and {int8.name}, {TURNS} turns, one thread\n")
    print("form     bytes    p50 ms    p99 ms")
    for form in models:
        p50, p99 = latency[form]
        print(f"{form} {size[form]:>9,} {p50:>9.3f} {p99:>9.3f}")
    faster = latency["fp32"][0] / latency["int8"][0]
    print(f"\nint8 is {size['fp32'] / size['int8']:.2f} times smaller and {faster:.2f} times as fast (p50)")


def _time(model: OnnxModel, window: np.ndarray) -> float:
    begin = perf_counter()
    model.logits(window)
    return perf_counter() - begin


if __name__ == "__main__":
    if len(sys.argv) == 3:
        main(Path(sys.argv[1]), Path(sys.argv[2]))
    elif len(sys.argv) == 1:
        from helpers.briefly_trained import briefly_trained

        with tempfile.TemporaryDirectory() as folder:
            exported = briefly_trained(ARCH, Path(folder) / ARCH)
            assert exported.int8 is not None
            main(exported.fp32, exported.int8)
    else:
        sys.exit(__doc__)
