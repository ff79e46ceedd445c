"""Divergence files: records that one of two deployed networks gets right and the other wrong, and their replay.

Read and judged by numpy and ONNX Runtime alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgeguard.attacks.witnesses import Check, Replay, check_fit, is_right
from edgeguard.errors import InputError
from edgeguard.runtime.npz import compact, need, read_npz, reading, write_npz
from edgeguard.runtime.session import OnnxModel

SCHEMA = "edgeguard.divergence/1"


@dataclass(frozen=True)
class Divergences:
    """Records inside eps of an original that one party gets right and the other wrong.

    Attributes:
        parties: names, (first, second).
        sha256: of what each party is.
        names: of the records [M]; a record appears once for each direction in which it was found.
        labels: int64 [M], true classes.
        original, adversarial: float32 [M, T], microvolts; the adversarial ones are what an ADC of whole codes reads.
        predicted: int64 [M, 2], what each party said of the adversarial record; exactly one is the true class.
        eps: microvolts.
        tried: records that were hunted on, in both directions.
    """

    parties: tuple[str, str]
    sha256: tuple[str, str]
    names: np.ndarray
    labels: np.ndarray
    original: np.ndarray
    adversarial: np.ndarray
    predicted: np.ndarray
    eps: float
    tried: int

    @property
    def only_first(self) -> np.ndarray:
        """bool [M]: the first party is right, the second wrong."""
        return np.asarray(self.predicted[:, 0] == self.labels)


def save_divergences(found: Divergences, path: Path, *, classes: Sequence[str], sampling_rate: float) -> None:
    """Write an .npz that numpy reads without pickle, atomically.

    Arrays over M witnesses: `names`, `labels` (true), `original` and `adversarial` [M, T] in int16 microvolts (float32
    where a record is not in whole codes of 16 bits), `predicted` [M, 2]. Of the whole: `schema`, `parties`, `sha256`,
    `eps_uv`, `tried`, `classes`, `unit`, `sampling_rate`.

    Raises InputError when the file cannot be written.
    """
    write_npz(
        path,
        {
            "schema": SCHEMA,
            "parties": found.parties,
            "sha256": found.sha256,
            "names": found.names,
            "labels": found.labels,
            "original": compact(found.original),
            "adversarial": compact(found.adversarial),
            "predicted": found.predicted,
            "eps_uv": np.float64(found.eps),
            "tried": np.int64(found.tried),
            "classes": tuple(classes),
            "unit": "uV",
            "sampling_rate": np.float64(sampling_rate),
        },
    )


def load_divergences(path: Path) -> Divergences:
    """Read what `save_divergences` wrote; no code in it is run.

    Raises InputError for another file, or a damaged one.
    """
    return _read(path)[0]


def replay_divergences(path: Path, models: Sequence[OnnxModel]) -> Replay:
    """Judge every record of a file anew by the parties at hand. Ties go to a wrong class.

    Args:
        models: one or both parties, in any order; two files that are no parties stand for them in the order given.

    Raises InputError for a damaged file, one model that is no party, or a model of other windows or classes.
    """
    found, classes, sampling_rate = _read(path)
    for model in models:
        check_fit(model, window=found.original.shape[1], sampling_rate=sampling_rate, classes=classes)
    sides = _sides(found, models)
    difference = np.abs(found.adversarial.astype(np.float64) - found.original)
    checks = []
    for model, side in zip(models, sides, strict=True):
        model.keep_invariant_batches(found.adversarial[:, None])
        right = is_right(model.logits(found.adversarial[:, None]), found.labels)
        as_stated = right == (found.predicted[:, side] == found.labels)
        checks.append(Check(("first", "second")[side], f"are right or wrong by {model.path} as stated", as_stated))
    whole = (found.adversarial == np.rint(found.adversarial)).all(1)
    opposed = ((found.predicted == found.labels[:, None]).sum(1)) == 1
    checks += [
        Check("opposed", "are stated to be right by exactly one party", opposed),
        Check("codes", "consist of whole ADC codes", whole),
        Check("eps", f"differ by at most {found.eps:g} uV", (difference <= found.eps).all(1)),
    ]
    same = all(model.sha256 == found.sha256[side] for model, side in zip(models, sides, strict=True))
    return Replay([str(name) for name in found.names], checks, same_file=same)


def _read(path: Path) -> tuple[Divergences, list[str], float]:
    """(what a file holds, class names, sampling rate in hertz)."""
    with reading(path, "divergence witnesses"):
        stored = read_npz(path, SCHEMA)
        first, second = (str(name) for name in stored["parties"])
        one, other = (str(digest) for digest in stored["sha256"])
        found = Divergences(
            parties=(first, second),
            sha256=(one, other),
            names=stored["names"],
            labels=stored["labels"],
            original=stored["original"].astype(np.float32),
            adversarial=stored["adversarial"].astype(np.float32),
            predicted=stored["predicted"],
            eps=float(stored["eps_uv"]),
            tried=int(stored["tried"]),
        )
        _check_arrays(found, classes=len(stored["classes"]))
        return found, stored["classes"].tolist(), float(stored["sampling_rate"])


def _sides(found: Divergences, models: Sequence[OnnxModel]) -> list[int]:
    """Which party each file stands for: 0 the first, 1 the second."""
    known = [found.sha256.index(model.sha256) if model.sha256 in found.sha256 else None for model in models]
    if len(models) == 2:
        return [1, 0] if known[0] == 1 or known[1] == 0 else [0, 1]
    if known[0] is None:
        first, second = found.parties
        raise InputError(f"{models[0].path}: neither {first} nor {second}; name two files, one for each")
    return [known[0]]


def _check_arrays(found: Divergences, *, classes: int) -> None:
    """Raises ValueError where the arrays do not belong together."""
    count, window = len(found.names), found.original.shape[-1]
    for array in (found.original, found.adversarial):
        need(array.shape == (count, window), f"signals are {list(array.shape)}")
        need(np.isfinite(array).all(), "signals have samples that are not finite")
    need(found.labels.shape == (count,), f"labels are {list(found.labels.shape)}")
    need(found.predicted.shape == (count, 2), f"predicted is {list(found.predicted.shape)}")
    for array in (found.labels, found.predicted):
        need(
            array.dtype.kind in "iu" and ((array >= 0) & (array < classes)).all(), f"classes outside 0 .. {classes - 1}"
        )
