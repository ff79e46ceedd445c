"""On a trained int8 file: batch, lanes, workers, threads and company change no bit of what an attack finds."""

from pathlib import Path

import numpy as np
import pytest

from edgeguard.attacks.black_box import BlackBoxResult, attack_records
from edgeguard.attacks.catalogue import ATTACKS, make_attack
from edgeguard.ecg.record import CLASSES
from edgeguard.ecg.synthetic import synthesise
from edgeguard.runtime.session import open_model

FILE = Path(__file__).parents[2] / "models" / "zoo" / "none-edge-m" / "none-edge-m-int8.onnx"
LABELS = (0, 1, 2, 0, 1, 2)


def run(name: str, *, threads: int = 1, **options) -> BlackBoxResult:
    model = open_model(FILE, threads=threads)
    ecg = np.stack(
        [synthesise(CLASSES[label], np.random.default_rng(i), duration=30.0)[:9000] for i, label in enumerate(LABELS)]
    )[:, None].astype(np.float32)
    names = [f"r{i}" for i in range(len(ecg))]
    labels = model.labels(ecg)
    mask = np.ones(ecg.shape, bool)
    step = model.input_step_uv or 0.0
    return attack_records(
        model, ecg, mask, labels, names, attack=make_attack(name), queries=80, step_uv=step, **options
    )


@pytest.mark.parametrize("name", ATTACKS)
def test_nothing_but_the_record_decides(name: str) -> None:
    one = run(name, batch=1, lanes=1)
    assert any(trace.queries for trace in one.traces.values())
    alone = run(name, attacked=np.array([2]))
    others = (run(name, batch=64), run(name, workers=2, batch=5), run(name, threads=2), alone)
    for other in others:
        for record, trace in other.traces.items():
            same = one.traces[record]
            assert (trace.queries, trace.l2, trace.linf, trace.ended) == (same.queries, same.l2, same.linf, same.ended)
            if trace.nearest_l2 is not None:
                np.testing.assert_array_equal(trace.nearest_l2, same.nearest_l2)
    assert list(alone.traces) == [2]
