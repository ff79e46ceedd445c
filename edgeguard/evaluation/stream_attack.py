"""Does a perturbation that works on a window still work on a stream?

The attacker adds at most eps microvolts at the skin and does not know where the watch's windows begin; the watch hears
the result through its front end, decides every hop, and is right or wrong at each. Two things tell the attacks apart:
whether the gradient came through the front end, and whether it was taken over windows of any phase.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from edgeguard.attacks.electrode import ElectrodePath
from edgeguard.attacks.gradient import sap
from edgeguard.attacks.losses import LOSSES
from edgeguard.attacks.playback import Playback, any_windows, known_windows, mean_over_windows, repeated
from edgeguard.ecg.dataset import Dataset
from edgeguard.ecg.record import Record
from edgeguard.ecg.resampling import resample
from edgeguard.ecg.split import stratified
from edgeguard.ecg.unseen import unseen_records
from edgeguard.errors import InputError, unknown
from edgeguard.evaluation.sources import check_agreement, sources_of
from edgeguard.evaluation.stream_judge import Outcome, Watch, compare_outcomes
from edgeguard.evaluation.subject import Subject, open_subject, training_of
from edgeguard.evaluation.zoo.located import located
from edgeguard.runtime.files import atomic_writer

_BATCH = 8


@dataclass(frozen=True)
class Craft:
    """A way to craft.

    Attributes:
        at_electrode: through the front end; else on the samples themselves, as if nothing lay between.
        any_phase: over windows that begin anywhere; else over those that follow one another from the start on.
    """

    at_electrode: bool
    any_phase: bool


CRAFTS = {
    "window": Craft(at_electrode=False, any_phase=False),
    "window-eot": Craft(at_electrode=False, any_phase=True),
    "electrode-aligned": Craft(at_electrode=True, any_phase=False),
    "electrode": Craft(at_electrode=True, any_phase=True),
}
"""`window` is SAP as it attacks windows; the two in the middle say which of the two things makes the difference."""


@dataclass(frozen=True)
class Settings:
    """How strongly to attack; microvolts at the skin.

    Attributes:
        eps, alpha, steps, smooth_steps, loss: as in `edgeguard.attacks.gradient.sap`.
        draws: windows at random that a step looks at, where the phase is not known.
        period: seconds after which the perturbation repeats; None: never.
        seed: of these draws, of the front end's noise and of the phases at which the watch begins.
    """

    eps: float = 10.0
    alpha: float = 1.0
    steps: int = 20
    smooth_steps: int = 40
    loss: str = "ce"
    draws: int = 2
    period: float | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        """InputError for a value out of range."""
        for option, value in (("eps", self.eps), ("alpha", self.alpha)):
            if not 0 <= value < float("inf"):
                raise InputError(f"--{option} {value:g}: at least 0 needed")
        for option, count, least in (
            ("steps", self.steps, 0),
            ("smooth-steps", self.smooth_steps, 0),
            ("draws", self.draws, 1),
            ("seed", self.seed, 0),
        ):
            if count < least:
                raise InputError(f"--{option} {count}: at least {least} needed")
        if self.loss not in LOSSES:
            raise unknown("--loss", self.loss, LOSSES)
        if self.period is not None and not 0.1 <= self.period < float("inf"):
            raise InputError(f"--period {self.period:g}: at least 0.1 s needed; raise it or leave it out")


@dataclass(frozen=True)
class Streams:
    """Recordings of one length, as a watch would hear them.

    Attributes:
        names: N records.
        ecg: float32 [N, 1, n], microvolts at the skin.
        labels: int64 [N].
        sampling_rate: hertz of the samples.
    """

    names: tuple[str, ...]
    ecg: np.ndarray
    labels: np.ndarray
    sampling_rate: float


def choose_streams(
    subject: Subject,
    dataset: Dataset,
    recordings: Iterable[Record],
    *,
    seconds: float,
    count: int,
    part: str = "test",
    seed: int = 0,
) -> tuple[Streams, str]:
    """The first `seconds` of records that last as long and that the subject may be judged on, and a line about them.

    Args:
        recordings: the whole records of the data set, read until the last one wanted.
        count: at most so many, stratified.
        part: `test`, or `all`.

    Raises InputError for a count below 1 or where no record lasts.
    """
    if count < 1:
        raise InputError(f"--records {count}: at least 1 needed")
    samples = round(seconds * dataset.sampling_rate)
    index = unseen_records(dataset, training_of(subject), part=part).index
    lasting = index[dataset.record_length[index] >= samples]
    if not len(lasting):
        longest = dataset.record_length[index].max() / dataset.sampling_rate
        raise InputError(
            f"{dataset.source}: no record of {seconds:g} s, the longest has {longest:g} s; "
            "name data of longer records with --data, or lower --seconds"
        )
    chosen = stratified(dataset.labels, lasting, count, seed=seed)
    names = tuple(dataset.names[i] for i in chosen)
    signals: dict[str, np.ndarray] = {}
    for record in recordings:
        if record.name in names:
            ecg = resample(record.ecg, record.sampling_rate, dataset.sampling_rate)[:samples]
            signals[record.name] = np.nan_to_num(ecg)
        if len(signals) == len(names):
            break
    ecg = np.stack([signals[name] for name in names]).astype(np.float32)[:, None]
    line = f"{len(chosen)} of {len(lasting)} records of {seconds:g} s or more in {dataset.source}"
    return Streams(names, ecg, dataset.labels[chosen], dataset.sampling_rate), line


def crafting_network(subject: Subject, source: str, ecg: np.ndarray) -> nn.Module:
    """The network whose gradient crafts against a file.

    Args:
        subject: the file.
        source: `twin`, or the path of a run or of another file, whose twin it then is.
        ecg: float32 [B, 1, T], windows on which a twin is held against its file.

    Raises InputError for a twin that does not compute what ONNX Runtime does, or a network of other windows or classes.
    """
    crafting = subject if source == "twin" else open_subject(located(source))
    if (crafting.window, crafting.classes) != (subject.window, subject.classes):
        raise InputError(f"--source {source}: takes other windows or classes than {subject.name}; name one like it")
    (first, *_), _ = sources_of(crafting, profile="paper")
    if first.twin_of is not None:
        check_agreement(first, crafting, ecg)
    return first.model


def craft_all(
    network: nn.Module,
    watch: Watch,
    streams: Streams,
    ways: Sequence[str],
    settings: Settings,
    *,
    progress: Callable[[int], object] | None = None,
) -> dict[str, np.ndarray]:
    """Name to `craft` of every way named.

    Raises InputError for a name that is not in CRAFTS.
    """
    for name in ways:
        if name not in CRAFTS:
            raise unknown("--craft", name, CRAFTS)
    return {name: craft(network, watch, streams, CRAFTS[name], settings, progress=progress) for name in ways}


def judge_all(watch: Watch, streams: Streams, perturbations: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """What the watch makes of perturbations [N, 1, n] by name, all on the same hops; JSON-ready.

    Returns:
        {"streams", "seconds", "hops_per_stream", "clean": {"hops", "records"}, "attacks": [{"name", "success":
        {"hops", "records", "aligned"}, "accuracy": {"hops", "records"}, "linf_uv", "rms_uv"}], "differences":
        [{"first", "second", "hops", "records"}]}: `success` and `accuracy` as in `Outcome`; every later
        perturbation is held against the first one by `compare_outcomes`.
    """
    clean = watch.hear(streams.ecg)
    outcomes = {
        name: Outcome(streams.labels, clean, watch.hear(streams.ecg + perturbation))
        for name, perturbation in perturbations.items()
    }
    first, *others = outcomes
    return {
        "streams": len(streams.names),
        "seconds": streams.ecg.shape[-1] / streams.sampling_rate,
        "hops_per_stream": clean.hops.shape[1],
        "clean": Outcome(streams.labels, clean, clean).accuracy(),
        "attacks": [
            {
                "name": name,
                "success": outcome.success(),
                "accuracy": outcome.accuracy(),
                "linf_uv": float(np.abs(perturbations[name]).max()),
                "rms_uv": float(np.sqrt(np.mean(np.square(perturbations[name], dtype=np.float64)))),
            }
            for name, outcome in outcomes.items()
        ],
        "differences": [
            {"first": name, "second": first, **compare_outcomes(outcomes[name], outcomes[first])} for name in others
        ],
    }


def craft(
    network: nn.Module,
    watch: Watch,
    streams: Streams,
    way: Craft,
    settings: Settings,
    *,
    progress: Callable[[int], object] | None = None,
) -> np.ndarray:
    """Perturbations float32 [N, 1, n] in microvolts at the skin, within eps and as smooth as SAP's.

    SAP's filter has 19 taps at the rate of the recordings.

    Args:
        network: float32 [B, 1, window] microvolts to logits [B, C], the one whose gradient crafts.
        watch: against which.
        progress: called with the number of records that have just been attacked.
    """
    path = ElectrodePath(watch.front_end, streams.sampling_rate, watch.model_rate) if way.at_electrode else None
    count = streams.ecg.shape[-1]
    samples = round(count * watch.model_rate / streams.sampling_rate)
    period = count if settings.period is None else min(round(settings.period * streams.sampling_rate), count)
    found = np.empty_like(streams.ecg)
    for begin in range(0, len(found), _BATCH):
        rows = range(begin, min(begin + _BATCH, len(found)))
        if way.any_phase:
            starts = any_windows([(settings.seed, row) for row in rows], samples, watch.window, settings.draws)
        else:
            starts = known_windows(len(rows), samples, watch.window, lag=path.lag if path else 0)
        playback = Playback(network, torch.from_numpy(streams.ecg[rows]), starts, window=watch.window, path=path)
        silence = torch.zeros(len(rows), 1, period)
        perturbation = sap(
            playback,
            silence,
            torch.from_numpy(streams.labels[rows]),
            torch.ones_like(silence, dtype=torch.bool),
            eps=settings.eps,
            alpha=settings.alpha,
            steps=settings.steps,
            smooth_steps=settings.smooth_steps,
            loss=mean_over_windows(LOSSES[settings.loss]),
        )
        # The filter's taps add up to one only as far as float32 goes.
        found[rows] = repeated(perturbation.clamp(-settings.eps, settings.eps), count).numpy()
        if progress:
            progress(len(rows))
    return found


def save_perturbations(path: Path, streams: Streams, perturbations: Mapping[str, np.ndarray]) -> None:
    """An .npz of the streams' names, labels, ecg and sampling rate, and of each way's perturbations, microvolts.

    Raises InputError where the disk refuses.
    """
    arrays: dict[str, Any] = {
        "names": np.asarray(streams.names),
        "labels": streams.labels,
        "ecg": streams.ecg,
        "sampling_rate": np.asarray(streams.sampling_rate),
        **{name.replace("-", "_"): found for name, found in perturbations.items()},
    }
    with atomic_writer(path) as file:
        np.savez(file, **arrays)
