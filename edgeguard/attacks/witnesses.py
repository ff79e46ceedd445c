"""Witness files: the adversarial records of a black-box attack, and their replay by numpy and ONNX Runtime alone.

A witness file lets anybody check an attack without repeating it: every record in it fools the file that was attacked,
or the replay says which do not.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from edgeguard.ecg.windows import validity_mask
from edgeguard.errors import InputError
from edgeguard.runtime.npz import compact, need, read_npz, reading, write_npz
from edgeguard.runtime.session import OnnxModel

SCHEMA = "edgeguard.witnesses/2"
ANY_WRONG = -1
"""Target of an example that may be called any class but its own."""

_LAYOUT = (
    ("U", "", ("attack", "settings", "model_sha256", "fingerprint", "unit")),
    ("iu", "", ("budget", "seed")),
    ("iuf", "", ("sampling_rate", "rail_uv", "eps_uv")),
    ("U", "C", ("classes",)),
    ("U", "N", ("tasks",)),
    ("iu", "N", ("ledger",)),
    ("iu", "M", ("rows", "labels", "targets", "left", "length", "found_at")),
    ("iuf", "M", ("l2_uv", "linf_uv", "band_hz")),
    ("iuf", "MT", ("original", "adversarial", "adversarial_linf")),
)
"""Kind of the arrays of a file, their axes, and their names: M examples, N tasks, T samples, C classes."""
_STORED_AS = {"U": str, "iu": np.int64, "iuf": np.float64}
_LARGEST_ROUNDING = 0.5
_LEAK = 0.15
"""Share of a perturbation's L2 norm that may lie above its band limit: a wave cut to the valid part leaks."""
_RESOLUTION = 2
"""Content is above a band limit where it is so many times 1 / duration above it: a cut wave is resolved no finer."""


@dataclass(frozen=True)
class Witnesses:
    """M adversarial records that an attack found among the N tasks it tried.

    Signals are in microvolts, classes are indices into `classes`.

    Attributes:
        attack: its name.
        settings: of the attack, a JSON object as text.
        model_sha256: of the file attacked, hex.
        classes: names in the order of the file's logits.
        sampling_rate: hertz.
        budget: queries allowed a task.
        seed: of the attack.
        fingerprint: of the data set.
        rail_uv: no sample lies beyond plus or minus this, or what its original reaches; None for no such bound.
        eps_uv: no sample differs by more from the original; None for an attack that looks for the smallest distance.
        tasks: N record names.
        ledger: int64 [N], queries that each task made.
        rows: int64 [M], the task that each example belongs to.
        labels: int64 [M], true classes.
        targets: int64 [M], classes to reach; ANY_WRONG where any but the true one does.
        left, length: int64 [M], first valid sample and how many there are.
        original: float32 [M, T].
        adversarial: float32 [M, T], the nearest in L2.
        adversarial_linf: float32 [M, T], the nearest in L-inf.
        l2_uv: float64 [M], L2 distance of `adversarial`.
        linf_uv: float64 [M], L-inf distance of `adversarial_linf`.
        found_at: int64 [M], the query of the task that improved on either for the last time.
        band_hz: float64 [M], the perturbations have no content above it; NaN where that is not claimed.
    """

    attack: str
    settings: str
    model_sha256: str
    classes: tuple[str, ...]
    sampling_rate: float
    budget: int
    seed: int
    fingerprint: str
    rail_uv: float | None
    eps_uv: float | None
    tasks: tuple[str, ...]
    ledger: np.ndarray
    rows: np.ndarray
    labels: np.ndarray
    targets: np.ndarray
    left: np.ndarray
    length: np.ndarray
    original: np.ndarray
    adversarial: np.ndarray
    adversarial_linf: np.ndarray
    l2_uv: np.ndarray
    linf_uv: np.ndarray
    found_at: np.ndarray
    band_hz: np.ndarray

    @property
    def names(self) -> list[str]:
        """Record name of each example."""
        return [self.tasks[row] for row in self.rows]


@dataclass(frozen=True)
class Check:
    """One claim about every example.

    Attributes:
        name: a word.
        meaning: ends a sentence that begins with the number of examples of which it is true.
        held: bool [M]; None where the file does not claim it.
    """

    name: str
    meaning: str
    held: np.ndarray | None


@dataclass(frozen=True)
class Replay:
    """What became of the claims of M examples.

    Attributes:
        names: of their records [M].
        checks: of their claims.
        same_file: whether the file judged is, byte for byte, the one that the examples were found on.
    """

    names: list[str]
    checks: list[Check]
    same_file: bool

    @property
    def held(self) -> np.ndarray:
        """bool [M]: every claim about the example is true."""
        claims = [check.held for check in self.checks if check.held is not None]
        return np.logical_and.reduce([np.ones(len(self.names), bool), *claims])

    @property
    def holds(self) -> bool:
        """Every claim about every example is true."""
        return bool(self.held.all())

    @property
    def failures(self) -> list[tuple[str, list[str]]]:
        """(record name, names of the claims that are not true) of each example that fails."""
        return [
            (self.names[i], [check.name for check in self.checks if check.held is not None and not check.held[i]])
            for i in np.flatnonzero(~self.held)
        ]


def save_witnesses(path: Path, witnesses: Witnesses) -> None:
    """Write an .npz, atomically, with one array for each attribute of `Witnesses` and `schema` and `unit`.

    Signals are int16 where that loses nothing; None is stored as NaN.

    Raises InputError when the file cannot be written.
    """
    values = {field.name: getattr(witnesses, field.name) for field in fields(witnesses)}
    for name in ("rail_uv", "eps_uv"):
        values[name] = np.nan if values[name] is None else values[name]
    for name in ("classes", "tasks"):
        values[name] = np.asarray(values[name], str)
    for name in ("original", "adversarial", "adversarial_linf"):
        values[name] = compact(values[name])
    write_npz(path, {"schema": SCHEMA, "unit": "uV", **values})


def load_witnesses(path: Path) -> Witnesses:
    """Read what `save_witnesses` wrote; no code in it is run.

    Raises InputError for another file, or one that is damaged: an array missing, of another kind or length, a class
    that the file does not name, samples that are not finite.
    """
    with reading(path, "witnesses of attack-onnx"):
        return _validated(read_npz(path, SCHEMA))


def replay(witnesses: Witnesses, model: OnnxModel) -> Replay:
    """Judge every example anew, on both its nearest points. Ties count for the attacker.

    On a float file the model keeps only the batch sizes at which a row does not depend on its company.

    Raises InputError where the model takes other windows, another sampling rate, or has other classes.
    """
    w = witnesses
    check_fit(model, window=w.original.shape[1], sampling_rate=w.sampling_rate, classes=w.classes)
    nearest = np.stack([w.adversarial, w.adversarial_linf])
    difference = nearest.astype(np.float64) - w.original
    valid = validity_mask(w.left, w.length, model.window)[:, 0]
    model.keep_invariant_batches(w.original[:, None])
    right = is_right(model.logits(w.original[:, None]), w.labels)
    fooled = [is_fooled(model.logits(points[:, None]), w.labels, w.targets) for points in nearest]
    whole = (nearest == np.rint(nearest)).all((0, 2)) & (w.original == np.rint(w.original)).all(1)
    untouched = ((difference == 0) | valid).all((0, 2))
    within = None if w.rail_uv is None else _reach(nearest).max(0) <= np.maximum(w.rail_uv, _reach(w.original))
    inside = None if w.eps_uv is None else (np.abs(difference) <= w.eps_uv).all((0, 2))
    l2, linf = np.linalg.norm(difference[0], axis=1), _reach(difference[1])
    stated = np.isclose(w.l2_uv, l2, rtol=1e-6) & np.isclose(w.linf_uv, linf, rtol=1e-6)
    made = w.ledger[w.rows]
    counted = (w.found_at >= 1) & (w.found_at <= made) & (made <= w.budget)
    checks = [
        Check("original", "originals are called by their own class", right),
        Check("fools", "adversarial records fool the file; ties count for the attacker", fooled[0] & fooled[1]),
        Check("codes", "consist of whole ADC codes", whole),
        Check("padding", "leave the padding untouched", untouched),
        Check("rails", f"stay within {w.rail_uv} uV, or what their originals reach", within),
        Check("eps", f"differ by at most {w.eps_uv} uV", inside),
        Check("distances", "lie as far from their originals as stated", stated),
        Check(
            "band", "have perturbations without content above the limit stated for them", _band_limited(w, difference)
        ),
        Check("queries", f"were found within the budget of {w.budget} queries", counted),
    ]
    return Replay(w.names, checks, same_file=model.sha256 == w.model_sha256)


def is_right(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """bool [B]: the label's logit is larger than every other of logits [B, C]; a tie or a NaN is not right."""
    own = np.take_along_axis(logits, labels[:, None], 1)
    others = np.arange(logits.shape[1]) != labels[:, None]
    return np.asarray(((logits < own) | ~others).all(1))


def is_fooled(logits: np.ndarray, labels: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """bool [B]: logits [B, C] are what an attacker wants, whom a tie serves: the target on top, or the label not."""
    top = np.take_along_axis(logits, np.maximum(targets, 0)[:, None], 1)[:, 0] == logits.max(1)
    return np.asarray(np.where(targets == ANY_WRONG, ~is_right(logits, labels), top))


def norm_above(signal: np.ndarray, hz: float, sampling_rate: float) -> float:
    """L2 norm of what a signal [n], n >= 1, has above a frequency.

    By its orthonormal DCT-II, whose mode k oscillates at k / 2n of the sampling rate: the signal is continued by its
    mirror image, so that its ends add no jump.
    """
    n = len(signal)
    modes = np.abs(np.fft.rfft(np.concatenate([signal, signal[::-1]]))[:n]) / np.sqrt(2 * n)
    modes[:1] /= np.sqrt(2)
    return float(np.linalg.norm(modes[np.arange(n) * sampling_rate / (2 * n) > hz]))


def within_band(signal: np.ndarray, hz: float, sampling_rate: float) -> bool:
    """A signal [n] in whole microvolts has no more above a frequency than rounding and the cut at its ends explain."""
    limit = hz + _RESOLUTION * sampling_rate / len(signal)
    allowed = _LARGEST_ROUNDING * np.sqrt(len(signal)) + _LEAK * np.linalg.norm(signal)
    return bool(norm_above(signal, limit, sampling_rate) <= allowed)


def narrowest_band(signals: Sequence[np.ndarray], hz: float, sampling_rate: float) -> float:
    """The first of hz > 0, 2 hz, 4 hz, ... within which all signals [n] lie: an attack may have widened its band."""
    while not all(within_band(signal, hz, sampling_rate) for signal in signals):
        hz *= 2
    return hz


def check_fit(model: OnnxModel, *, window: int, sampling_rate: float, classes: Sequence[str]) -> None:
    """Raises InputError where a model takes other records than witnesses are, or has other classes."""
    for what, theirs, ours in (
        ("windows of samples", window, model.window),
        ("sampling rate in Hz", sampling_rate, model.sampling_rate),
        ("classes", ",".join(classes), ",".join(model.classes)),
    ):
        if theirs != ours:
            raise InputError(f"{model.path}: {what} {ours}, the witnesses have {theirs}; name the file they are of")


def _validated(stored: Mapping[str, np.ndarray]) -> Witnesses:
    """The witnesses in the arrays of a file. Raises ValueError and its like where these are not what they must be."""
    window, classes = stored["original"].shape[-1], len(stored["classes"])
    sizes = {"M": len(stored["rows"]), "N": len(stored["tasks"]), "T": window, "C": classes}
    values: dict[str, Any] = {}
    for kind, axes, names in _LAYOUT:
        for name in names:
            array = stored[name]
            right = array.dtype.kind in kind and array.shape == tuple(sizes[axis] for axis in axes)
            need(right, f"{name} is {array.dtype} {list(array.shape)}")
            values[name] = array.astype(_STORED_AS[kind]) if axes else array.item()
    for name in ("original", "adversarial", "adversarial_linf"):
        need(np.isfinite(values[name]).all(), f"{name} has samples that are not finite")
        values[name] = values[name].astype(np.float32)
    for name, low, high in (
        ("rows", 0, sizes["N"] - 1),
        ("labels", 0, classes - 1),
        ("targets", ANY_WRONG, classes - 1),
        ("left", 0, window),
        ("length", 1, window),
    ):
        need(((values[name] >= low) & (values[name] <= high)).all(), f"{name} lie outside {low} .. {high}")
    need((values["left"] + values["length"] <= window).all(), "left and length reach past the window")
    need((values["targets"] != values["labels"]).all(), "targets are the true classes")
    need(values.pop("unit") == "uV", "unit is not uV")
    need(isinstance(json.loads(values["settings"]), dict), "settings are no JSON object")
    for name in ("classes", "tasks"):
        values[name] = tuple(values[name].tolist())
    for name in ("rail_uv", "eps_uv"):
        values[name] = None if np.isnan(values[name]) else values[name]
    return Witnesses(**values)


def _reach(signals: np.ndarray) -> np.ndarray:
    """Largest magnitude of each of [..., T]."""
    return np.abs(signals).max(axis=-1, initial=0)


def _band_limited(witnesses: Witnesses, difference: np.ndarray) -> np.ndarray | None:
    """bool [M]: both perturbations of [2, M, T] are within the band that is claimed for them."""
    claimed = np.isfinite(witnesses.band_hz)
    if not claimed.any():
        return None
    held = np.ones(len(claimed), bool)
    for i in np.flatnonzero(claimed):
        valid = slice(witnesses.left[i], witnesses.left[i] + witnesses.length[i])
        held[i] = all(
            within_band(signal, witnesses.band_hz[i], witnesses.sampling_rate) for signal in difference[:, i, valid]
        )
    return held
