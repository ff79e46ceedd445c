"""Claim: SAP crafted for windows keeps most of its success on a stream, but not all; crafted for windows of any phase
it has it all again, at the same number of gradients. What the front end does to it hardly counts.

SAP in four ways (on the model's samples or through the front end; for windows one after another or for windows that
begin anywhere) against int8 files, through their twins; all judged on the same decisions, one a second, of the same
records behind the same front ends, at phases that no attack knows. Below it what the phase alone does to SAP as it is
crafted for windows: the windows that it was made for, moved by some samples.

    EDGEGUARD_CINC2017=training2017.zip python benchmarks/electrode.py FILE.onnx... [--eps 10,25] [--records 64]

Without files a tiny version trains a network for an epoch on synthetic records, and shows that all this works; its
figures mean nothing.
"""

import os
import tempfile
from pathlib import Path
from typing import Any

import click
import numpy as np
from helpers.briefly_trained import briefly_trained
from torch import nn

from edgeguard.ecg.dataset import build
from edgeguard.ecg.front_end import find_front_end
from edgeguard.ecg.sources import iter_records, load_dataset
from edgeguard.ecg.synthetic import generate
from edgeguard.errors import InputError
from edgeguard.evaluation.intervals import rate
from edgeguard.evaluation.stream_attack import (
    CRAFTS,
    Settings,
    Streams,
    choose_streams,
    craft,
    crafting_network,
    judge_all,
)
from edgeguard.evaluation.stream_judge import Watch
from edgeguard.evaluation.subject import Subject, open_subject
from edgeguard.report.rate_text import rate_text

SECONDS = 60.0
SHIFTS = (0, 1, 10, 30, 50, 59, 60, 120, 300)


@click.command()
@click.argument("files", nargs=-1, type=click.Path(path_type=Path, exists=True))
@click.option("--eps", default="10,25", show_default=True, help="Microvolts at the skin, with commas.")
@click.option("--front-ends", default="ideal,max30003,ad8233-12bit", show_default=True)
@click.option("--crafts", default=",".join(CRAFTS), show_default=True)
@click.option("--records", default=64, show_default=True, help="Test records of 60 s, stratified.")
def main(files: tuple[Path, ...], eps: str, front_ends: str, crafts: str, records: int) -> None:
    """A table for every file and eps."""
    with tempfile.TemporaryDirectory() as folder:
        if files:
            named = os.environ.get("EDGEGUARD_CINC2017")
            if not named:
                raise InputError("EDGEGUARD_CINC2017: not set; name the records that the files were trained on")
            dataset, part = load_dataset(named), "test"
        else:
            print("tiny version: one epoch on synthetic records")
            exported = briefly_trained("edge-s", Path(folder) / "run")
            assert exported.int8 is not None
            files, eps, records = (exported.int8,), "25", 4
            dataset, part = build("synthetic", generate(8, seed=1, duration=4 * SECONDS)), "all"
        for file in files:
            subject = open_subject(file, threads=1)
            recordings = iter_records(named) if part == "test" else generate(8, seed=1, duration=4 * SECONDS)
            streams, which = choose_streams(subject, dataset, recordings, seconds=SECONDS, count=records, part=part)
            print(f"\n{file.name}: {which}", flush=True)
            network = crafting_network(subject, "twin", streams.ecg[..., : subject.window])
            for size in map(float, eps.split(",")):
                report(subject, network, streams, front_ends.split(","), crafts.split(","), size)


def report(
    subject: Subject, network: nn.Module, streams: Streams, front_ends: list[str], ways: list[str], eps: float
) -> None:
    """One file at one eps: every way behind every front end, then the phase."""
    settings = Settings(eps=eps, alpha=eps / 10)
    on_windows: dict[str, np.ndarray] = {}
    for name in front_ends:
        assert subject.file is not None
        watch = Watch(subject.file, find_front_end(name), streams.sampling_rate, hop=round(streams.sampling_rate))
        found = {}
        for way in ways:
            if CRAFTS[way].at_electrode and name == "ideal":
                continue  # nothing to look through
            if CRAFTS[way].at_electrode:
                found[way] = craft(network, watch, streams, CRAFTS[way], settings)
                continue
            if way not in on_windows:
                on_windows[way] = craft(network, watch, streams, CRAFTS[way], settings)
            found[way] = on_windows[way]
        table(judge_all(watch, streams, found), f"{Path(subject.name).name}, {name}, eps {eps:g} uV")
    if "window" in on_windows:
        phases(subject, streams, on_windows["window"])


def table(result: dict[str, Any], title: str) -> None:
    """Of what was right without attack, what turned wrong."""
    clean = result["clean"]
    print(f"\n{title}; clean: decisions {rate_text(clean['hops'])}, records {rate_text(clean['records'])}\n")
    print(
        "| crafted | decisions turned wrong | records turned wrong | window crafted for | decisions, less the first |"
    )
    print("| --- | --- | --- | --- | --- |")
    less = {pair["first"]: _difference(pair["hops"]) for pair in result["differences"]}
    for row in result["attacks"]:
        cells = " | ".join(rate_text(row["success"][key]) for key in ("hops", "records", "aligned"))
        print(f"| `{row['name']}` | {cells} | {less.get(row['name'], '')} |", flush=True)


def phases(subject: Subject, streams: Streams, perturbations: np.ndarray) -> None:
    """The first window that SAP was crafted for, moved by some samples, at the model's input."""
    print("\nmoved by   turned wrong")
    for shift in SHIFTS:
        ecg, moved = (x[..., shift : shift + subject.window] for x in (streams.ecg, streams.ecg + perturbations))
        right = subject.logits(np.ascontiguousarray(ecg)).argmax(1) == streams.labels
        wrong = subject.logits(np.ascontiguousarray(moved)).argmax(1) != streams.labels
        print(f"{shift:>8}   {rate_text(rate(int((right & wrong).sum()), int(right.sum())))}", flush=True)


def _difference(pair: dict[str, Any]) -> str:
    return f"{pair['difference']:+.3f} [{pair['low']:+.3f}, {pair['high']:+.3f}]"


if __name__ == "__main__":
    main()
