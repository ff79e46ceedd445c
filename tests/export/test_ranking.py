"""Which candidates are tried, in which order they stand, and which one is written."""

from collections.abc import Iterator

import numpy as np
import pytest
from onnx import ModelProto

from edgeguard.ecg.dataset import Dataset
from edgeguard.ecg.split import Split
from edgeguard.export.float_form import FloatForm
from edgeguard.export.graph_passes import consumers, initializers
from edgeguard.export.quantize import InputCodes
from edgeguard.export.ranking import FINER_STEP_UV, METHODS, Candidate, Score, best, candidate_maker, rank

USUAL, FINE, WIDE = InputCodes(8, 31.25), InputCodes(8, 15.625), InputCodes(16, 1.0)


def scores(known: dict[Candidate, tuple[int, int, int]]):
    """(trial, tried): a trial that looks up (clean, worst, agreement), and the candidates that it was asked for."""
    tried: list[Candidate] = []

    def trial(candidate: Candidate) -> Score:
        tried.append(candidate)
        return Score(100, *known.get(candidate, (50, 40, 90)))

    return trial, tried


def test_every_method_is_tried_then_the_best_at_finer_codes():
    trial, tried = scores({Candidate("entropy", USUAL): (60, 50, 99), Candidate("minmax", USUAL): (59, 50, 99)})
    rows = rank(trial)
    assert tried[:4] == [Candidate(method, USUAL) for method in METHODS]
    assert tried[4:] == [Candidate("entropy", FINE), Candidate("minmax", FINE), Candidate("entropy", WIDE)]
    assert {row.candidate for row in rows} == set(tried) and rows[0].candidate == Candidate("entropy", USUAL)


def test_the_rule_by_hand():
    """Clean and worst case added; then agreement; then the order in which they were tried."""
    trial, _ = scores(
        {
            Candidate("minmax", USUAL): (80, 60, 90),
            Candidate("percentile:99.999", USUAL): (75, 66, 80),
            Candidate("percentile:99.99", USUAL): (80, 60, 95),
            Candidate("entropy", USUAL): (70, 70, 90),
        }
    )
    rows = rank(trial, codes=USUAL)
    assert [row.candidate.method for row in rows] == ["percentile:99.999", "percentile:99.99", "minmax", "entropy"]
    assert rows[0].as_json() == {
        "method": "percentile:99.999",
        "input_bits": 8,
        "step_uv": 31.25,
        "n": 100,
        "clean": 75,
        "worst": 66,
        "agreement": 80,
    }


@pytest.mark.parametrize("codes", [WIDE, InputCodes(8, 10.0)])
def test_named_codes_are_the_only_ones(codes: InputCodes):
    trial, tried = scores({})
    rows = rank(trial, codes=codes)
    assert tried == [Candidate(method, codes) for method in METHODS]
    assert best(rows, bits=codes.bits) == tried[0]


def test_a_float_stem_is_only_shown():
    trial, _ = scores({Candidate("minmax", WIDE): (99, 99, 100), Candidate("minmax", FINE): (60, 50, 90)})
    rows = rank(trial)
    assert rows[0].candidate == Candidate("minmax", WIDE)
    assert best(rows, bits=8) == Candidate("minmax", FINE)


def test_windows_pass_through_the_graph_once_for_each_kind_of_codes(graph: ModelProto, dataset: Dataset, parts: Split):
    passes = []

    def batches() -> Iterator[np.ndarray]:
        passes.append(1)
        yield dataset.batch(parts.train[:4])[0]

    make = candidate_maker(FloatForm(graph), batches)
    made = {(method, codes): make(Candidate(method, codes)) for method in METHODS for codes in (USUAL, FINE)}
    assert len(passes) == 2
    for codes in (USUAL, FINE):
        assert len({made[method, codes].SerializeToString() for method in ("minmax", "entropy")}) == 2
    for (_, codes), model in made.items():
        (first,) = consumers(model)["ecg"]
        assert float(initializers(model)[first.input[1]]) == codes.step


def test_candidates_have_a_name_for_people():
    assert str(Candidate("minmax", FINE)) == "minmax, input of 8 bits at 15.625 uV"
    assert FINE.step == FINER_STEP_UV
