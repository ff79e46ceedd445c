"""The jobs that have a network: taken from where it was trained before, trained now, exported to a file."""

import shutil
import sys
from contextlib import redirect_stdout
from functools import partial
from pathlib import Path
from typing import Any

import torch

from edgeguard.defenses.config import make_config
from edgeguard.defenses.train import Job, train
from edgeguard.errors import InputError
from edgeguard.evaluation.metrics import scores
from edgeguard.evaluation.reproduction.records import open_data
from edgeguard.export.exporter import export_run
from edgeguard.models.run import CONFIG, METRICS, WEIGHTS, load_run, split_file
from edgeguard.runtime.files import sha256_file, write_json

NETWORK = "network"
"""Name of the run folder in a job's folder."""
FILE = "file"
"""Name of the folder that an exported file is in."""


def take_network(arguments: dict[str, Any], hints: dict[str, Any], inputs: list[Path], out: Path) -> None:
    """Copy a finished run, so that the results rest on nothing that may be gone tomorrow.

    Args:
        arguments: {"weights_sha256", ...}.
        hints: {"run": its folder}.
    """
    run, copy = Path(hints["run"]), out / NETWORK
    copy.mkdir(parents=True, exist_ok=True)
    for source in (run / CONFIG, run / METRICS, split_file(run), run / WEIGHTS):
        if source.is_file():
            shutil.copyfile(source, copy / source.name)
    if not (copy / WEIGHTS).is_file() or sha256_file(copy / WEIGHTS) != arguments["weights_sha256"]:
        raise InputError(f"{run}: its weights have changed since the plan was made; start again")
    write_json(out / "taken.json", {"from": str(run)})


def train_network(arguments: dict[str, Any], hints: dict[str, Any], inputs: list[Path], out: Path) -> None:
    """Train one network; what it starts from or learns from lies beside it for `edgeguard.defenses.train` to find.

    Args:
        arguments: {"options": of `make_config`, "records": `about_records`}.
        hints: {"data", "labels", "device"}.
        inputs: folders of the jobs that have the networks it needs.
    """
    dataset, parts = open_data(arguments["records"], hints)
    beside = [out / f"needed-{number}" for number in range(len(inputs))]
    for folder, needed in zip(beside, inputs, strict=True):
        shutil.copytree(needed / NETWORK, folder, dirs_exist_ok=True)
    job = Job(
        make_config(**arguments["options"]),
        dataset,
        parts,
        out / NETWORK,
        torch.device(hints["device"]),
        partial(scores, classes=len(dataset.classes)),
        origin={name: hints[name] for name in ("data", "labels") if hints.get(name)},
        fixed_test=arguments["records"]["split"]["test_records"] is not None,
        resume=True,
        say=_keep_quiet,
    )
    # The watchdog's alarms would stand among a command's results.
    with redirect_stdout(sys.stderr):
        train(job)
    for folder in beside:
        shutil.rmtree(folder)


def export_network(arguments: dict[str, Any], hints: dict[str, Any], inputs: list[Path], out: Path) -> None:
    """Write the float32 ONNX file of a network, once it says what the network says.

    Args:
        arguments: {"records": `about_records`}.
        hints: {"data", "labels"}.
        inputs: [the folder of the job that has the network].
    """
    dataset, parts = open_data(arguments["records"], hints)
    run = load_run(inputs[0] / NETWORK)
    export_run(run, dataset, parts, int8=False, out=out / FILE, say=_keep_quiet)


def exported_file(folder: Path) -> Path:
    """The file that `export_network` wrote."""
    return next((folder / FILE).glob("*.onnx"))


def _keep_quiet(line: str) -> None:
    """The graph's own bar says what is going on."""
