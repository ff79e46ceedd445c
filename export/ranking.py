"""Candidates for the int8 file, and which of them is written: judged on records, not on tensors."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from onnx import ModelProto

from edgeguard.export.calibrate import Histogram, observe, parse_method
from edgeguard.export.float_form import FloatForm
from edgeguard.export.quantize import INPUT_STEPS_UV, InputCodes, quantize
from edgeguard.export.selection import calibrated_tensors

METHODS = ("minmax", "percentile:99.999", "percentile:99.99", "entropy")
"""Calibration methods that are tried, the plainest first."""
FINER_STEP_UV = INPUT_STEPS_UV[8] / 2
"""Half the usual step: the codes cover -2 to 1.98 mV."""


@dataclass(frozen=True)
class Candidate:
    """One way to quantise a graph: a calibration method's name (`parse_method`) and the input's codes."""

    method: str
    codes: InputCodes

    def __str__(self) -> str:
        return f"{self.method}, input of {self.codes.bits} bits at {self.codes.step:g} uV"


@dataclass(frozen=True)
class Score:
    """How many of `n` records a file names right: as they are, and under every attack tried (`worst`).

    `agreement` counts the clean records that it gives the class which the float network gives. Of unlabelled records
    `clean` is None, and `difference` says how far its outputs are from the float network's, in the mean.
    """

    n: int
    clean: int | None
    worst: int | None
    agreement: int
    difference: float | None = None

    def order(self) -> tuple[float, float, float]:
        """The larger, the better."""
        return (self.clean or 0) + (self.worst or 0), self.agreement, -(self.difference or 0.0)


@dataclass(frozen=True)
class Row:
    """A candidate and its score."""

    candidate: Candidate
    score: Score

    def as_json(self) -> dict[str, Any]:
        """Method, bits, step in microvolts, the four counts, and where it was measured the difference of outputs."""
        codes = self.candidate.codes
        score = {name: value for name, value in vars(self.score).items() if name != "difference" or value is not None}
        return {"method": self.candidate.method, "input_bits": codes.bits, "step_uv": codes.step, **score}


Scorer = Callable[[Path], Score]
"""Judges an ONNX file; evaluation supplies it."""


def candidate_maker(
    form: FloatForm,
    batches: Callable[[], Iterable[np.ndarray]],
    *,
    exclude: Sequence[str] = (),
    portable: bool = False,
) -> Callable[[Candidate], ModelProto]:
    """A function that quantises the float graph as a candidate says.

    The calibration windows pass through the graph once for each kind of input codes, whatever the number of methods.

    Args:
        batches: gives the calibration windows anew, float32 [B, 1, T] microvolts.
        exclude, portable: as in `quantize`.
    """
    graph, selection = form.model, form.selection
    names = None if selection is None else calibrated_tensors(graph, selection)
    how: dict[str, Any] = dict(exclude=exclude, portable=portable, selection=selection, microvolts=form.microvolts)

    @cache
    def observed(codes: InputCodes) -> dict[str, Histogram]:
        # What the input's codes do not hold no layer will see, if there are such codes.
        seen = codes.clipped(batches()) if selection is None or selection.reads_source else batches()
        return observe(graph, seen, feed=form.feed, names=names)

    @cache
    def make(candidate: Candidate) -> ModelProto:
        method = parse_method(candidate.method)
        ranges = {name: method(histogram) for name, histogram in observed(candidate.codes).items()}
        return quantize(graph, ranges, codes=candidate.codes, **how)

    return make


def rank(
    trial: Callable[[Candidate], Score],
    *,
    codes: InputCodes | None = None,
    usual_step: float = INPUT_STEPS_UV[8],
    wide: bool = True,
    finest: int = 1,
) -> list[Row]:
    """Every candidate's score, the best first.

    The rule, fixed: most records right, clean and worst case added; among equal ones most agreement with the float
    network; among equal ones the one tried first. Clean accuracy alone would choose a file that survives export and
    not the attack; the worst case alone would give away any number of clean records for one robust one, and a coarse
    step can look robust only because it blocks the attack. Both are counted on the same records, so that one record
    weighs the same in either. The winner's own counts are those of a choice and thus flattered: what a file is worth
    is measured on the test part. Of unlabelled records neither is known: most agreement, then the least difference of
    outputs.

    With `codes` every method is tried on them. Without, every method at 8 bits and the usual step; then the best two
    at half that step, and with `wide` the best one at 16 bits, which shows what 8 bits cost. As long as the finest step
    tried is the best of all, half of it is tried too, up to `finest` halvings.
    """
    first = codes or InputCodes(8, usual_step)
    rows = _ordered([Row(each, trial(each)) for each in (Candidate(method, first) for method in METHODS)])
    if codes is not None:
        return rows
    methods = [row.candidate.method for row in rows]
    further = [Candidate(method, InputCodes(8, usual_step / 2)) for method in methods[:2]]
    further += [Candidate(methods[0], InputCodes(16, INPUT_STEPS_UV[16]))] if wide else []
    rows = _ordered(rows + [Row(each, trial(each)) for each in further])
    for halving in range(2, finest + 1):
        if rows[0].candidate.codes != InputCodes(8, usual_step / 2 ** (halving - 1)):
            break
        finer = Candidate(rows[0].candidate.method, InputCodes(8, usual_step / 2**halving))
        rows = _ordered([*rows, Row(finer, trial(finer))])
    return rows


def best(rows: Sequence[Row], *, bits: int) -> Candidate:
    """The first candidate of this width: a float stem is taken only by who asks for 16 bits."""
    return next(row.candidate for row in rows if row.candidate.codes.bits == bits)


def _ordered(rows: list[Row]) -> list[Row]:
    return sorted(rows, key=lambda row: row.score.order(), reverse=True)
