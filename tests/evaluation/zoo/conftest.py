"""A network that is often right, and less often under 16 uV, exported to every form once."""

import pytest
import torch
from streamable_network import waves

from edgeguard.ecg.dataset import Dataset, build
from edgeguard.ecg.record import CLASSES
from edgeguard.ecg.split import split
from edgeguard.evaluation.zoo.scores import Forms
from edgeguard.export.exporter import export_run
from edgeguard.export.int8_file import Int8Options
from edgeguard.export.streaming.compiler import compile_stream
from edgeguard.models.registry import build as build_network
from edgeguard.models.run import Run, save_tensors
from edgeguard.runtime.files import write_json

WINDOW = 2400
FRACTIONS = (0.4, 0.2, 0.4)


@pytest.fixture(scope="session")
def records() -> Dataset:
    """80 records, of which 32 are test records."""
    return build("waves", waves(), window=WINDOW)


@pytest.fixture(scope="session")
def forms(records: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Forms:
    """A finished run `tiny` with its int8 file and stream in it, and its float file elsewhere; tests only read them."""
    folder = tmp_path_factory.mktemp("zoo") / "tiny"
    config = {
        "defense": "none",
        "arch": "streamable_network:make",
        "seed": 0,
        "classes": list(CLASSES),
        "window": WINDOW,
        "sampling_rate": 300.0,
        "options": {},
        "data": {"fingerprint": records.fingerprint, "source": "waves", "records": len(records)},
        "split": {"seed": 0, "fractions": list(FRACTIONS), "test_records": None},
    }
    # Of a dozen seeds the one of which the int8 file errs otherwise than the run, clean and attacked.
    network = build_network("streamable_network:make", classes=len(CLASSES), window=WINDOW, seed=11)
    run = Run(folder, config, network.eval())
    parts = split(records, seed=0, fractions=FRACTIONS)
    write_json(folder / "config.json", config)
    write_json(folder / "metrics.json", {})
    write_json(folder / "split.json", parts.names(records))
    save_tensors(folder / "weights.safetensors", run.model.state_dict())
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    exported = folder.parent / "exported"
    made = export_run(
        run, records, parts, int8=True, out=exported, options=Int8Options(windows=16), say=lambda line: None
    )
    torch.set_num_threads(threads)
    assert made.int8 is not None
    int8, stream = folder / "tiny-int8.onnx", folder / "tiny-int8-streaming.onnx"
    made.int8.rename(int8)
    compile_stream(int8, stream, hop=1.0, proof_hops=20)
    return Forms(folder, made.fp32, int8, stream)
