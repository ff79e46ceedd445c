"""Quantising a float ONNX file: which records calibrate, which of them judge, and what the int8 file keeps."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgeguard.ecg.dataset import Dataset
from edgeguard.ecg.split import split_from, stratified
from edgeguard.ecg.unseen import file_training
from edgeguard.errors import InputError
from edgeguard.evaluation.calibration import RECORDS, agreement_score, calibration_score
from edgeguard.evaluation.paired import paired_difference
from edgeguard.evaluation.subject import named
from edgeguard.export.file_exporter import QuantisedFile, check_quantisable, quantise_file, summary
from edgeguard.export.input_step import designed_step, share_held
from edgeguard.export.int8_file import METHOD, Int8Options, spread
from edgeguard.export.quantize import InputCodes
from edgeguard.export.ranking import Scorer
from edgeguard.export.twin import build_twin
from edgeguard.runtime.cost import file_cost
from edgeguard.runtime.session import OnnxModel, open_model
from edgeguard.runtime.telling import Say

LARGEST_RANKED_MACS = 100e6
"""Largest network, in multiply-accumulates a window, for which ranking takes minutes at most."""
JUDGED_RECORDS = (64, 1000)
"""Fewest and most records on which float and int8 file are compared; fewer than the most for large networks."""


@dataclass(frozen=True)
class Records:
    """Records to quantise with.

    Attributes:
        dataset: as the file takes them.
        calibrate: indices of those that ranges are found on.
        rank: indices of those that candidates are ranked on.
        judge: indices of those that the made file is judged on.
        known: whether it is known which records the file was trained on.
    """

    dataset: Dataset
    calibrate: np.ndarray
    rank: np.ndarray
    judge: np.ndarray
    known: bool

    @property
    def labelled(self) -> bool:
        """Whether every record has a class."""
        return bool((self.dataset.labels >= 0).all())

    @property
    def line(self) -> str:
        """Which records they are, for people."""
        overlap = "" if np.intersect1d(self.calibrate, self.judge).size == 0 else ", the same ones"
        ranking = "" if np.intersect1d(self.rank, self.judge).size else f"{len(self.rank)} to rank, "
        parts = f"{len(self.calibrate)} to calibrate, {ranking}{len(self.judge)} to judge{overlap}"
        seen = "" if self.known else "; which records the file was trained on is unknown"
        return f"{parts}{seen}"


def quantise(
    file: OnnxModel,
    dataset: Dataset,
    *,
    calibration: str | None,
    windows: int,
    bits: int,
    step: float | None,
    portable: bool,
    exclude: Sequence[str],
    out: Path | None,
    say: Say,
    seed: int = 0,
) -> dict[str, Any]:
    """Quantise a float file and compare what was made with it: the JSON of `edgeguard export FILE.onnx --int8`.

    Args:
        dataset: records as the file takes them, labelled or not.
        calibration: `auto`, a method, or None: auto but for large networks.
        windows: records to calibrate on.
        bits, step: of the input's codes; step None: designed from the records.
        portable, exclude: as in `Int8Options`.
        out: folder for the files; None: that of the file.

    Raises InputError for a file that cannot be quantised, and when a check fails: nothing is written then.
    """
    check_quantisable(file)
    records = choose_records(file, dataset, windows=windows, seed=seed)
    say(f"records: {records.line}")
    usual = designed_step(dataset, records.calibrate)
    score, notes = _scorer(file, records, calibration, say)
    options = Int8Options(
        method=METHOD if calibration in (None, "auto") else calibration,
        score=score,
        bits=bits,
        step=step,
        usual_step=usual,
        windows=windows,
        exclude=tuple(exclude),
        portable=portable,
    )
    about = {"records": dataset.source, "labelled": records.labelled, "training_records_known": records.known}
    made = quantise_file(
        file,
        dataset,
        calibrate=records.calibrate,
        check=records.judge,
        options=options,
        out=out,
        about=about,
        seed=seed,
        say=say,
    )
    int8 = open_model(made.int8)
    codes = _input_codes(int8, records)
    if codes is None:
        notes = (*notes, "input in float: the network computes on it before its first quantised layer")
    return {
        **summary(made),
        "input": codes,
        "accuracy": _accuracy(file, int8, records, seed=seed) if records.labelled else None,
        "notes": [*dataset.notes, records.line, *notes, *_float_note(made)],
    }


def choose_records(file: OnnxModel, dataset: Dataset, *, windows: int, seed: int = 0) -> Records:
    """Records to calibrate on, others to rank candidates on, and others to judge on, as far as there are any.

    What candidates are ranked on flatters the best of them: it judges too only where few records would be left. Where
    the file says that these are the data it was trained on: training records calibrate, validation records judge.
    """
    if len(dataset) == 0:
        raise InputError(f"{dataset.source}: holds no record to calibrate on; name others with --data")
    training = file_training(file)
    if training.is_of(dataset):
        assert training.split is not None
        parts = split_from(dataset, training.split)
        validation = parts.validation
        return Records(dataset, spread(dataset, parts.train, windows, seed), validation, validation, known=True)
    everything = np.arange(len(dataset))
    calibrate = spread(dataset, everything, min(windows, max(len(dataset) // 2, 1)), seed)
    others = np.setdiff1d(everything, calibrate)
    others = others if len(others) else everything
    rank = stratified(dataset.labels, others, RECORDS, seed=seed)
    left = np.setdiff1d(others, rank)
    enough = len(left) >= RECORDS
    known = training.names is not None
    return Records(dataset, calibrate, rank if enough else others, left if enough else others, known)


def _scorer(
    file: OnnxModel, records: Records, calibration: str | None, say: Say
) -> tuple[Scorer | None, tuple[str, ...]]:
    """What ranks the candidates, and what people should know of it; None for a named method and for a large file."""
    if calibration not in (None, "auto"):
        return None, ()
    if calibration is None and _macs(file) > LARGEST_RANKED_MACS:
        return None, (f"too large to rank calibrations unasked: {METHOD}; rank them with --calibration auto",)
    agreement = agreement_score(file, records.dataset, records.rank)
    if not records.labelled:
        return agreement, ("no labels: calibrations ranked by agreement with the float file",)
    try:
        network = build_twin(file)
    except InputError as error:
        reason = str(error).removeprefix(f"{file.path}: ").split(";")[0]
        return agreement, (f"calibrations ranked without attacks: {reason}",)
    say("crafting attacks, to rank calibrations (skipped by naming one with --calibration)")
    return calibration_score(network, records.dataset, records.rank), ()


def _macs(file: OnnxModel) -> float:
    """Multiply-accumulates of one window; 0 where they cannot be counted."""
    try:
        return sum(layer.macs for layer in file_cost(file.proto, file.path, window=file.window).layers)
    except InputError:
        return 0.0


def _input_codes(int8: OnnxModel, records: Records) -> dict[str, Any] | None:
    """What the input's codes reach; None where the file does not quantise its input."""
    about = int8.metadata
    if about.input_step_uv is None or about.input_bits is None:
        return None
    low, high = InputCodes(about.input_bits, about.input_step_uv).range
    share = share_held(records.dataset, records.calibrate, about.input_step_uv, bits=about.input_bits)
    return {"bits": about.input_bits, "step_uv": about.input_step_uv, "low_uv": low, "high_uv": high, "share": share}


def _accuracy(file: OnnxModel, int8: OnnxModel, records: Records, *, seed: int) -> dict[str, Any]:
    """Records that either file names right, and the paired difference of the int8 file to the float file."""
    fewest, most = JUDGED_RECORDS
    count = min(max(round(most * LARGEST_RANKED_MACS / max(_macs(file), 1)), fewest), most)
    index = stratified(records.dataset.labels, records.judge, count, seed=seed)
    ecg, _, labels = records.dataset.batch(index)
    right = [named(each.logits(ecg), labels) == labels for each in (file, int8)]
    found = paired_difference(right[1], right[0])
    shown = ("n", "difference", "low", "high")
    return {"fp32": int(right[0].sum()), "int8": int(right[1].sum()), **{name: found[name] for name in shown}}


def _float_note(made: QuantisedFile) -> list[str]:
    """What stays in float."""
    left = ", ".join(f"{count} {name}" for name, count in sorted(made.left.items()))
    return [f"in float: {left}"] if left else []
