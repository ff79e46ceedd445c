from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from edgeguard.ecg.origin import Named
from edgeguard.ecg.sources import iter_records, load_dataset
from edgeguard.ecg.split import split
from edgeguard.errors import InputError
from edgeguard.firmware_sim.playlist import one_recording, recordings
from edgeguard.runtime.metadata import ModelMetadata

DATA = "synthetic:40"


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEGUARD_CACHE", str(tmp_path / "cache"))


def model(metadata: ModelMetadata) -> Any:
    """A model of the usual records, as far as a playlist asks for it."""
    return SimpleNamespace(metadata=metadata, window=9000, sampling_rate=300.0, classes=("N", "A", "O", "~"))


def test_a_model_trained_on_the_source_gets_records_of_its_test_part() -> None:
    dataset = load_dataset(DATA)
    trained = ModelMetadata(
        data={"fingerprint": dataset.fingerprint, "source": DATA},
        split={"seed": 3, "fractions": [0.6, 0.2, 0.2], "test_records": None},
    )
    test = split(dataset, seed=3, fractions=(0.6, 0.2, 0.2)).test
    playlist = recordings(5, model(trained), Named(DATA))
    played = list(playlist.records)
    assert [r.name for r in played] == [dataset.names[i] for i in test[:5]]
    whole = {r.name: r for r in iter_records(DATA)}
    for record in played:
        np.testing.assert_array_equal(record.ecg, whole[record.name].ecg)
        assert record.label == whole[record.name].label
        assert record.sampling_rate == whole[record.name].sampling_rate
    assert playlist.seconds == sum(len(r.ecg) for r in played) / 300
    assert "test part" in playlist.description


def test_another_model_gets_the_first_records() -> None:
    first = [r.name for r in iter_records(DATA)][:3]
    elsewhere = ModelMetadata(data={"fingerprint": "0" * 64}, split={"seed": 0, "fractions": [0.8, 0.1, 0.1]})
    for metadata in (ModelMetadata(), elsewhere):
        assert [r.name for r in recordings(3, model(metadata), Named(DATA)).records] == first


def test_one_recording_by_name_or_file(tmp_path: Path) -> None:
    record = next(iter_records(DATA))
    file = tmp_path / "mine.csv"
    file.write_text("# sampling_rate: 20\n# unit: uV\n1\n-2\n3\n")
    mine = one_recording(str(file))
    assert next(mine.records).ecg.tolist() == [1, -2, 3] and mine.seconds == 0.15
    named = one_recording(record.name, Named(DATA))
    np.testing.assert_array_equal(next(named.records).ecg, record.ecg)
    assert named.seconds == len(record.ecg) / 300
    with pytest.raises(InputError):
        one_recording("nobody", Named(DATA))


def test_at_least_one_record() -> None:
    with pytest.raises(InputError, match="--records"):
        recordings(0, model(ModelMetadata()), Named(DATA))
