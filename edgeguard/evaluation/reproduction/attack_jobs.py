"""The white-box jobs: clean records, PGD, SAP with every length of it, transfer, the strict worst case.

Each goes through its records in batches and keeps what every batch gave, so that a killed job goes on at the next one.
Perturbations that another job needs are kept before their smoothing, where they take few values and compress well.

Every function takes `arguments` {"records": `about_records`, "limit", ...}, `hints` {"data", "labels", "device"} and
`inputs` whose first is the folder of the job that has the network judged.
"""

import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from edgeguard.attacks.gradient import pgd_path
from edgeguard.attacks.losses import LOSSES
from edgeguard.attacks.snapshots import sap_snapshots, smoothed_ecg
from edgeguard.evaluation.adversarial import zero_gradient
from edgeguard.evaluation.evaluate import evaluate
from edgeguard.evaluation.portfolio import portfolio
from edgeguard.evaluation.reproduction.measurement import PREDICTIONS, joined, write_measurement
from edgeguard.evaluation.reproduction.network_jobs import NETWORK
from edgeguard.evaluation.reproduction.records import batches, judged_records, open_data
from edgeguard.evaluation.subject import open_subject
from edgeguard.runtime.npz import compact, read_npz, reading, write_npz

_CRAFTED, _PARTS = "crafted", "parts"
_SCHEMA = "edgeguard.reproduction-part/1"

Arrays = dict[str, np.ndarray]


@dataclass(frozen=True)
class Batch:
    """Some records on the device.

    Attributes:
        number: of the batch in its job.
        records: int64 [B], indices into the data set.
        ecg: float32 [B, 1, T], microvolts.
        mask: bool [B, 1, T].
        labels: int64 [B].
    """

    number: int
    records: np.ndarray
    ecg: Tensor
    mask: Tensor
    labels: Tensor


def judge_clean(arguments: dict[str, Any], hints: dict[str, Any], inputs: list[Path], out: Path) -> None:
    """Clean records, and where the cross-entropy has no gradient to attack them by."""
    judge = _Judge(arguments, hints, inputs)

    def measure(batch: Batch) -> Arrays:
        flat = zero_gradient(judge.run, judge.dataset, batch.records, "ce")
        return {"clean": judge.said(batch.ecg, batch), "zero-gradient": flat}

    judge.all_batches(measure, out)


def attack_pgd(arguments: dict[str, Any], hints: dict[str, Any], inputs: list[Path], out: Path) -> None:
    """PGD on a network, judged by itself (situation II).

    Args:
        arguments: further {"eps", "alpha" (microvolts), "steps", "loss", "keep": whether another job needs its end}.
        inputs: [network].
    """
    judge = _Judge(arguments, hints, inputs)
    options = {name: arguments[name] for name in ("eps", "alpha", "steps")}
    loss = LOSSES[arguments["loss"]]

    def measure(batch: Batch) -> Arrays:
        end, _ = pgd_path(
            judge.run.model, batch.ecg, batch.labels, batch.mask, loss=loss, start=None, best=False, **options
        )
        if arguments["keep"]:
            _keep(out, batch, {"pgd": end})
        return {"pgd": judge.said(batch.ecg + end * batch.mask, batch)}

    judge.all_batches(measure, out)


def attack_sap(arguments: dict[str, Any], hints: dict[str, Any], inputs: list[Path], out: Path) -> None:
    """SAP from where PGD ended, judged by the network itself after each number of smooth steps (situation II).

    Args:
        arguments: further {"eps", "alpha" (microvolts), "after" (t', rising), "kernels", "loss", "keep"}.
        inputs: [network, its PGD].
    """
    judge = _Judge(arguments, hints, inputs)
    options = {name: arguments[name] for name in ("eps", "alpha", "after", "kernels")}
    loss = LOSSES[arguments["loss"]]

    def measure(batch: Batch) -> Arrays:
        start = _kept(inputs[1], batch)["pgd"]
        found = sap_snapshots(judge.run.model, batch.ecg, batch.labels, batch.mask, start, loss=loss, **options)
        deltas = {f"sap-{steps}": delta for steps, delta in found.items()}
        if arguments["keep"]:
            _keep(out, batch, deltas)
        return {name: judge.said(_adversarial(batch, name, delta, arguments), batch) for name, delta in deltas.items()}

    judge.all_batches(measure, out)


def judge_transfer(arguments: dict[str, Any], hints: dict[str, Any], inputs: list[Path], out: Path) -> None:
    """What a network says to what was crafted on another one (situation I).

    Args:
        arguments: further {"kernels"}.
        inputs: [network, a PGD or SAP job that kept its perturbations].
    """
    judge = _Judge(arguments, hints, inputs)

    def measure(batch: Batch) -> Arrays:
        kept = _kept(inputs[1], batch).items()
        return {name: judge.said(_adversarial(batch, name, delta, arguments), batch) for name, delta in kept}

    judge.all_batches(measure, out)


def attack_strict(arguments: dict[str, Any], hints: dict[str, Any], inputs: list[Path], out: Path) -> None:
    """The strict profile's cascade of attacks by gradients on a network, judged by itself, and clean records beside it.

    Args:
        arguments: further {"eps" (microvolts)}.
        inputs: [network].
    """
    judge = _Judge(arguments, hints, inputs)
    classes = len(judge.dataset.classes)
    attacks = portfolio(("clean", "pgd", "sap"), profile="strict", eps=arguments["eps"], classes=classes)

    def measure(batch: Batch) -> Arrays:
        found = evaluate(judge.subject, judge.dataset, batch.records, attacks, source=judge.run, situation="II")
        return {
            "clean" if entry.attack.name == "clean" else f"{place:02d}-{entry.attack.name}": entry.predicted
            for place, entry in enumerate(found.judged)
        }

    judge.all_batches(measure, out)


def kept_perturbation(folder: Path, record: int, name: str) -> np.ndarray:
    """float32 [T]: what a job that kept its perturbations made of one record, before smoothing.

    Raises ValueError for a record that was not among the job's.
    """
    for path in sorted((folder / _CRAFTED).glob("*.npz")):
        stored = _read(path)
        if record in stored["records"]:
            row: np.ndarray = stored[name][stored["records"] == record][0]
            return row.astype(np.float32)
    raise ValueError(f"record {record} was not crafted")


class _Judge:
    """A network and the records that it is measured on.

    A part file is written last for its batch: what it needs besides is there when it is.
    """

    def __init__(self, arguments: dict[str, Any], hints: dict[str, Any], inputs: list[Path]) -> None:
        self.dataset, parts = open_data(arguments["records"], hints)
        self._index = judged_records(self.dataset, parts, arguments["limit"])
        self._device = torch.device(hints["device"])
        subject = open_subject(inputs[0] / NETWORK)
        assert subject.run is not None
        self.run = subject.run
        self.run.model.to(self._device)
        self.subject = replace(subject, logits=self._logits)

    def said(self, ecg: Tensor, batch: Batch) -> np.ndarray:
        """int64 [B]: the class of each record; ties go to the attacker."""
        return self.subject.judge(ecg.cpu().numpy(), batch.labels.cpu().numpy())

    def all_batches(self, measure: Callable[[Batch], Arrays], out: Path) -> None:
        """Measure every batch that was not measured before, and write all of them as one measurement."""
        if (out / PREDICTIONS).is_file():
            return
        parts = out / _PARTS
        for number, records in enumerate(batches(self._index)):
            part = _numbered(parts, number)
            if not part.is_file():
                batch = self._batch(number, records)
                facts = {"records": records, "labels": self.dataset.labels[records]}
                _write(part, {**facts, **measure(batch)})
        measured = joined([_read(path) for path in sorted(parts.glob("*.npz"))])
        write_measurement(out, measured, classes=len(self.dataset.classes))
        shutil.rmtree(parts)

    def _batch(self, number: int, records: np.ndarray) -> Batch:
        ecg, mask, labels = (torch.from_numpy(part).to(self._device) for part in self.dataset.batch(records))
        return Batch(number, records, ecg, mask, labels)

    @torch.no_grad()
    def _logits(self, ecg: np.ndarray) -> np.ndarray:
        values: np.ndarray = self.run.model(torch.from_numpy(ecg).to(self._device)).cpu().numpy()
        return values


def _adversarial(batch: Batch, name: str, delta: Tensor, arguments: dict[str, Any]) -> Tensor:
    """What PGD or SAP, by the name of the perturbation, make of it."""
    if name.startswith("sap"):
        return smoothed_ecg(batch.ecg, delta, batch.mask, arguments["kernels"])
    return batch.ecg + delta * batch.mask


def _keep(out: Path, batch: Batch, deltas: dict[str, Tensor]) -> None:
    arrays = {name: compact((delta * batch.mask)[:, 0].cpu().numpy()) for name, delta in deltas.items()}
    _write(_numbered(out / _CRAFTED, batch.number), {"records": batch.records, **arrays})


def _kept(folder: Path, batch: Batch) -> dict[str, Tensor]:
    """Name -> perturbation before smoothing, float32 [B, 1, T], of the very records of a batch."""
    stored = _read(_numbered(folder / _CRAFTED, batch.number))
    if not np.array_equal(stored.pop("records"), batch.records):
        raise ValueError(f"{folder}: perturbations of other records")
    device = batch.ecg.device
    return {name: torch.from_numpy(rows.astype(np.float32))[:, None].to(device) for name, rows in stored.items()}


def _numbered(folder: Path, number: int) -> Path:
    return folder / f"{number:05d}.npz"


def _write(path: Path, arrays: Arrays) -> None:
    write_npz(path, {"schema": _SCHEMA, **arrays})


def _read(path: Path) -> Arrays:
    with reading(path, "part of a reproduction"):
        stored = read_npz(path, _SCHEMA)
        del stored["schema"]
        return stored
