"""The black-box jobs of Table 6: the targeted boundary attack on a file, and what other files say to its records."""

from pathlib import Path
from typing import Any

import numpy as np

from edgeguard.attacks.boundary import Boundary
from edgeguard.attacks.campaign import Tasks, attack_file, witnesses_of
from edgeguard.attacks.witnesses import load_witnesses, save_witnesses
from edgeguard.ecg.dataset import Dataset
from edgeguard.errors import InputError
from edgeguard.evaluation.reproduction.measurement import Measurement, write_measurement
from edgeguard.evaluation.reproduction.network_jobs import exported_file
from edgeguard.evaluation.reproduction.records import judged_records, open_data
from edgeguard.evaluation.subject import file_subject
from edgeguard.evaluation.transfer import Pairs, choose_pairs
from edgeguard.runtime.npz import read_npz, reading, write_npz
from edgeguard.runtime.session import OnnxModel, open_model

_WITNESSES, _REACHED, _ANSWERS = "witnesses.npz", "reached.npz", "answers.npz"
_SCHEMA = "edgeguard.reproduction-reached/1"


def attack_boundary(arguments: dict[str, Any], hints: dict[str, Any], inputs: list[Path], out: Path) -> None:
    """Turn records of each class into each other class by the file's labels alone (Lam et al. 2020).

    Leaves what fooled the file, and how near to the originals it came within each budget. No pair at all, of a file
    that is right on records of one class only, leaves empty arrays.

    Args:
        arguments: {"records", "limit", "pairs": an ordered pair of classes, "budgets": queries, rising, "seed"}.
        hints: {"data", "labels"}.
        inputs: [the exported file attacked].
    """
    dataset, parts = open_data(arguments["records"], hints)
    model = open_model(exported_file(inputs[0]), threads=1)
    index = judged_records(dataset, parts, arguments["limit"])
    pairs = _pairs(model, dataset, index, arguments)
    budgets = arguments["budgets"]
    campaign = attack_file(
        model,
        dataset,
        Tasks(pairs.originals, pairs.targets, pairs.starts(dataset)),
        attack=Boundary(),
        queries=budgets[-1],
        seed=arguments["seed"],
        state=out / _ANSWERS,
    )
    save_witnesses(out / _WITNESSES, witnesses_of(campaign))
    l2 = np.array([[trace.at(queries)[0] for queries in budgets] for trace in campaign.traces], np.float64)
    reached = {"budgets": np.asarray(budgets), "l2": l2.reshape(len(campaign.traces), len(budgets))}
    write_npz(out / _REACHED, {"schema": _SCHEMA, "pairs": len(pairs), **reached})


def judge_boundary(arguments: dict[str, Any], hints: dict[str, Any], inputs: list[Path], out: Path) -> None:
    """What a file says to the originals, and to what was made of them on another file.

    Args:
        inputs: [the exported file that judges, the boundary job on the one attacked].
    """
    found = load_witnesses(inputs[1] / _WITNESSES)
    subject = file_subject(open_model(exported_file(inputs[0]), threads=1))
    points = {"clean": found.original, "boundary": found.adversarial}
    said = {name: subject.judge(ecg[:, None], found.labels) for name, ecg in points.items()}
    write_measurement(out, Measurement(found.rows, found.labels, said), classes=len(found.classes))


def read_reached(folder: Path) -> tuple[int, np.ndarray]:
    """(pairs, L2 distances [N, Q] in microvolts by budget) of a boundary job; infinite where nothing fooled."""
    with reading(folder / _REACHED, "distances of a boundary attack"):
        stored = read_npz(folder / _REACHED, _SCHEMA)
        return int(stored["pairs"]), stored["l2"]


def _pairs(model: OnnxModel, dataset: Dataset, index: np.ndarray, arguments: dict[str, Any]) -> Pairs:
    try:
        return choose_pairs(model, dataset, index, count=arguments["pairs"], seed=arguments["seed"])
    except InputError:
        # A network that is hardly trained: the table then says that there was nothing to attack.
        nothing = np.zeros(0, np.int64)
        return Pairs(nothing, nothing, nothing, nothing)
