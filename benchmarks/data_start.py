"""Claim: records are read once; every later start has its first batch in well under a second.

Reads a CinC-2017 zip twice with a window cache that is empty at first: the set that the environment variable
EDGEGUARD_CINC2017 names, else 400 synthetic records in the same layout.

    python benchmarks/data_start.py
"""

import os
import tempfile
import zipfile
from pathlib import Path
from time import perf_counter

import numpy as np

from edgeguard.ecg.cinc_writer import write_cinc
from edgeguard.ecg.sources import load_dataset
from edgeguard.ecg.synthetic import generate

RECORDS, BATCH = 400, 32


def main(path: Path) -> None:
    """Print the seconds to the first batch, with an empty cache and with a filled one."""
    with tempfile.TemporaryDirectory() as cache:
        os.environ["EDGEGUARD_CACHE"] = cache
        count, first = _start(path)
        again = min(_start(path)[1] for _ in range(3))
        stored = sum(file.stat().st_size for file in Path(cache).rglob("*") if file.is_file())
    print(f"{path.name}: {count} records, {path.stat().st_size / 1e6:.1f} MB; cache {stored / 1e6:.1f} MB\n")
    print("start     seconds to the first batch    records a second")
    print(f"first     {first:>26.2f}    {count / first:>16,.0f}")
    print(f"later     {again:>26.2f}    {count / again:>16,.0f}")


def _start(path: Path) -> tuple[int, float]:
    begin = perf_counter()
    dataset = load_dataset(str(path))
    order = np.random.default_rng(0).permutation(len(dataset))
    dataset.batch(order[:BATCH])
    return len(dataset), perf_counter() - begin


def _make_zip(folder: Path) -> Path:
    records = folder / "training2017"
    write_cinc(records, generate(RECORDS))
    path = folder / "synthetic.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(records.iterdir()):
            archive.write(file, file.relative_to(folder))
    return path


if __name__ == "__main__":
    if named := os.environ.get("EDGEGUARD_CINC2017"):
        main(Path(named))
    else:
        with tempfile.TemporaryDirectory() as made:
            main(_make_zip(Path(made)))
