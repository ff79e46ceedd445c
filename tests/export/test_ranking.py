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


def test_a_designed_step_is_halved_as_long_as_that_is_best():
    steps = [InputCodes(8, 40 / 2**halvings) for halvings in range(4)]
    counts = {Candidate("minmax", codes): (60 + place, 50, 99) for place, codes in enumerate(steps[:3])}
    trial, tried = scores(counts | {Candidate("entropy", steps[1]): (40, 40, 90)})
    rows = rank(trial, usual_step=40.0, wide=False, finest=3)
    assert [candidate.codes.step for candidate in tried] == [40.0] * 4 + [20.0] * 2 + [10.0, 5.0]
    assert rows[0].candidate == Candidate("minmax", steps[2])
    assert not any(candidate.codes.bits == 16 for candidate in tried)


def test_without_labels_agreement_decides_then_the_difference_of_outputs():
    found = {"minmax": (90, 0.2), "percentile:99.999": (95, 0.3), "percentile:99.99": (95, 0.1), "entropy": (80, 0.0)}

    def trial(candidate: Candidate) -> Score:
        agreement, difference = found[candidate.method]
        return Score(100, None, None, agreement, difference)

    rows = rank(trial, codes=USUAL)
    assert [row.candidate.method for row in rows] == ["percentile:99.99", "percentile:99.999", "minmax", "entropy"]
    assert rows[0].as_json() == {
        "method": "percentile:99.99",
        "input_bits": 8,
        "step_uv": 31.25,
        "n": 100,
        "clean": None,
        "worst": None,
        "agreement": 95,
        "difference": 0.1,
    }
