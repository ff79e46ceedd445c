import numpy as np
import pytest

from edgeguard.ecg.dataset import build
from edgeguard.ecg.record import Record
from edgeguard.ecg.summary import Range, summarise


def square(name: str, label: str, *, height: float, samples: int, offset: float = 0.0) -> Record:
    """A square wave: its standard deviation is its height, its peak height plus offset."""
    ecg = offset + height * np.where(np.arange(samples) % 2, 1.0, -1.0)
    return Record(name, ecg.astype(np.float32), label=label)


def test_counts_lengths_padding_and_amplitudes():
    dataset = build(
        "here",
        [
            square("a", "N", height=100, samples=300),
            square("b", "N", height=300, samples=600, offset=50),
            square("c", "N", height=200, samples=1200),
            square("d", "~", height=1000, samples=900),
        ],
        window=600,
    )
    summary = summarise(dataset)
    normal, noise = summary.classes
    assert (normal.name, normal.records, normal.padded, normal.cut) == ("N", 3, 1, 1)
    assert normal.seconds == Range(1.0, 2.0, 4.0)
    assert (normal.rms.low, normal.rms.median, normal.rms.high) == pytest.approx((100, 200, 300))
    assert normal.peak == Range(100.0, 200.0, 350.0)
    assert (noise.name, noise.records, noise.padded, noise.cut) == ("~", 1, 0, 1)
    assert (summary.total.name, summary.total.records) == ("all", 4)
    assert summary.padding == pytest.approx(300 / 2400)
    assert summary.typical == {"N": 2, "~": 3}
    assert summary.duplicates == summary.conflicts == []


def test_duplicates_are_grouped_and_conflicting_labels_named():
    dataset = build(
        "here",
        [
            square("a", "N", height=100, samples=300),
            square("b", "N", height=100, samples=300),
            square("c", "N", height=200, samples=300),
            square("d", "O", height=200, samples=300),
            square("e", "N", height=200, samples=300),
            square("f", "A", height=250, samples=300),
        ],
        window=600,
    )
    summary = summarise(dataset)
    assert summary.duplicates == [("a", "b"), ("c", "d", "e")]
    assert summary.conflicts == [("c", "d", "e")]
