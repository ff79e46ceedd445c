import pytest

from edgeguard.firmware_sim.result import RecordResult, SimulationResult


def result(*records: RecordResult, latencies: tuple[float, ...] = ()) -> SimulationResult:
    return SimulationResult(records, {"N": 0, "A": 0}, 3, latencies, 0.1, 20.0, 1.0, 0, 0, 1)


def test_agreement_counts_recordings_that_have_a_label_and_a_decision() -> None:
    figures = result(
        RecordResult("right", "N", {"A": 1, "N": 2}),
        RecordResult("wrong", "N", {"A": 2, "N": 1}),
        RecordResult("tie goes to the earlier", "A", {"A": 1, "N": 1}),
        RecordResult("no label", None, {"A": 1}),
        RecordResult("no decision", "A", {}),
    )
    assert figures.agreement == (2, 3)
    assert figures.unscored == ("no decision",)
    assert [r.majority for r in figures.records] == ["N", "A", "A", "A", None]


def test_latency_figures() -> None:
    figures = result(latencies=tuple(i / 1000 for i in range(101)))
    assert figures.latency_ms() == pytest.approx({"p50": 50.0, "p99": 99.0, "max": 100.0})
    assert figures.decisions == 101
    assert figures.deadline_misses == 0
    assert result(latencies=(0.1, 0.11, 0.2)).deadline_misses == 2
    assert result(latencies=(0.5, 1.5)).processor_share == pytest.approx(0.1)
