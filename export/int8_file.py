"""The int8 form of a float graph: candidates are made and judged, and the best one is taken."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from onnx import ModelProto

from edgeguard.ecg.dataset import Dataset
from edgeguard.errors import InputError
from edgeguard.export.float_form import FloatForm
from edgeguard.export.quantize import INPUT_STEPS_UV, InputCodes, float_convolutions
from edgeguard.export.ranking import Candidate, Score, Scorer, best, candidate_maker, rank
from edgeguard.export.rung import Rung
from edgeguard.runtime.files import write_bytes
from edgeguard.runtime.host_form import host_form
from edgeguard.runtime.input_quantizer import read_input_quantizer
from edgeguard.runtime.metadata import ModelMetadata
from edgeguard.runtime.saturation import may_saturate

CALIBRATION_WINDOWS = 200
METHOD = "percentile:99.99"
"""How ranges are found where no score ranks the candidates."""
_BATCH = 8
_FINEST = 3
"""Halvings of a step that was designed from records: their loudest samples may be anything but heartbeats."""


@dataclass(frozen=True)
class Int8Options:
    """How the int8 file is made.

    Attributes:
        method: of calibration (`parse_method`); unused with a score.
        score: judges the candidates of `ranking.rank`, the best of which is written with the table in its metadata.
        bits: of the input codes, 8 or 16; 16 leave the stem in float.
        step: of the input codes, microvolts; by default the usual one, or with a score what ranks best.
        usual_step: microvolts, of 8 bits, where none is asked for.
        windows: to calibrate on, spread evenly over the classes.
        exclude: nodes to leave in float.
        portable: weights of 7 bits.
    """

    method: str = METHOD
    score: Scorer | None = None
    bits: int = 8
    step: float | None = None
    usual_step: float = INPUT_STEPS_UV[8]
    windows: int = CALIBRATION_WINDOWS
    exclude: Sequence[str] = ()
    portable: bool = False

    @property
    def codes(self) -> InputCodes:
        """Of the input, as asked for or by default."""
        usual = {**INPUT_STEPS_UV, 8: self.usual_step}
        return InputCodes(self.bits, self.step or usual[self.bits])


def quantised(
    form: FloatForm,
    metadata: ModelMetadata,
    dataset: Dataset,
    chosen: np.ndarray,
    options: Int8Options,
    trial: Path,
    say: Callable[[str], None],
    *,
    about: dict[str, Any],
) -> tuple[ModelProto, ModelMetadata]:
    """The int8 graph and what its file says.

    Args:
        metadata: what the file says beside the facts of its quantisers.
        chosen: records to calibrate on.
        trial: where candidates lie while they are judged.
        about: what else the metadata say of the calibration.
    """
    how: dict[str, Any] = dict(exclude=options.exclude, portable=options.portable)
    make = candidate_maker(form, lambda: _batches(dataset, chosen, form.batch), **how)

    def stated(candidate: Candidate) -> ModelMetadata:
        quantizer = read_input_quantizer(make(candidate), form.input)
        step = None if quantizer is None else candidate.codes.step
        left = float_convolutions(form.model, codes=candidate.codes, exclude=options.exclude, selection=form.selection)
        return replace(
            metadata,
            input_step_uv=step,
            input_bits=None if step is None else candidate.codes.bits,
            weight_bits=7 if options.portable else 8,
            float_convolutions=left,
        )

    def judged(candidate: Candidate) -> Score:
        say(f"judging {candidate}")
        write_bytes(trial, serialise(make(candidate), stated(candidate)))
        assert options.score is not None
        return options.score(trial)

    candidate = Candidate(options.method, options.codes)
    table: dict[str, Any] = {}
    if options.score is not None:
        coded = form.selection is None or form.selection.reads_source
        fixed = options.codes if options.step or options.bits == 16 or not coded else None
        further: dict[str, Any] = {} if form.selection is None else {"wide": False, "finest": _FINEST}
        rows = rank(judged, codes=fixed, usual_step=options.usual_step, **further)
        candidate = best(rows, bits=options.bits)
        table = {"candidates": [row.as_json() for row in rows]}
    calibration = {"method": candidate.method, "exclude": list(options.exclude), **table, **about}
    graph = make(candidate)
    needs_vnni = may_saturate(host_form(graph))
    return graph, replace(stated(candidate), calibration=calibration, requires_vnni=needs_vnni)


def serialise(graph: ModelProto, metadata: ModelMetadata) -> bytes:
    """The bytes of a graph's file, with metadata and no others."""
    stamped = ModelProto()
    stamped.CopyFrom(graph)
    del stamped.metadata_props[:]
    for key, value in metadata.to_props().items():
        stamped.metadata_props.add(key=key, value=value)
    return stamped.SerializeToString()


def spread(dataset: Dataset, index: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Up to `count` of the records, the same number of each class as far as they go; unlabelled ones are one class."""
    rng = np.random.default_rng(seed)
    labels = dataset.labels[index]
    by_class = [rng.permutation(index[labels == label]) for label in np.unique(labels)]
    longest = max(len(members) for members in by_class)
    turns = [members[turn] for turn in range(longest) for members in by_class if turn < len(members)]
    return np.sort(np.asarray(turns[:count]))


def require(rungs: Sequence[Rung]) -> None:
    """Raises InputError for a check that does not hold, naming it and its figure."""
    for rung in rungs:
        if rung.holds is False:
            figure = "" if rung.figure is None else f": {rung.figure:.4g}"
            note = f"; {rung.note}" if rung.note else ""
            raise InputError(
                f"export refused: {rung.name} does not hold ({rung.meaning}{figure}{note}); nothing was written"
            )


def _batches(dataset: Dataset, index: np.ndarray, rows: int | None) -> Iterator[np.ndarray]:
    """Records float32 [B, 1, T], microvolts; with `rows` exactly so many at a time, the last ones again where short."""
    size = rows or _BATCH
    for first in range(0, len(index), size):
        part = index[first : first + size]
        yield dataset.batch(np.resize(part, size) if rows else part)[0]
