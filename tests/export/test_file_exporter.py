"""Anybody's float file to int8: what is made, what it says, and what is refused."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import foreign_graphs
import numpy as np
import onnx
import pytest
from foreign_graphs import CLASSES, WINDOW, Foreign
from onnx import numpy_helper
from torch import Tensor, nn

from edgeguard.ecg.dataset import Dataset, build
from edgeguard.ecg.record import Record
from edgeguard.errors import InputError
from edgeguard.export import parity
from edgeguard.export.file_exporter import QuantisedFile, check_quantisable, quantise_file
from edgeguard.export.input_step import designed_step, share_held
from edgeguard.export.int8_file import Int8Options
from edgeguard.export.quantize import InputCodes
from edgeguard.runtime.session import OnnxModel, open_model

pytestmark = pytest.mark.filterwarnings("ignore:.*:UserWarning", "ignore::torch.jit.TracerWarning")

RATE = 100.0
FACTS: dict[str, Any] = {"sampling_rate": RATE, "classes": ("a", "b", "c", "d")}
STEP = 25.0
Make = Callable[..., Path]


class Recurrent(nn.Module):
    """Only what has no integer kernel."""

    def __init__(self) -> None:
        super().__init__()
        self.gru, self.head = nn.GRU(20, 6, batch_first=True), nn.Linear(6, CLASSES)

    def forward(self, ecg: Tensor) -> Tensor:
        states, _ = self.gru(ecg.reshape(-1, WINDOW // 20, 20))
        return self.head(states[:, -1])


class Mixed(Recurrent):
    """The same behind a convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv1d(1, 20, 15, stride=20)

    def forward(self, ecg: Tensor) -> Tensor:
        states, _ = self.gru(self.stem(ecg).relu().transpose(1, 2))
        return self.head(states[:, -1])


def detector() -> nn.Module:
    return nn.Sequential(*foreign_graphs._block(1, 8, 9, 4), nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(8, 1))


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    """48 windows of beats and noise; the labels are of no use."""
    ecg = foreign_graphs.rows(48, seed=3)
    records = [Record(f"r{i:02d}", np.rint(row[0]), RATE, "abcd"[i % 4]) for i, row in enumerate(ecg)]
    return build("beats", records, window=WINDOW, classes=("a", "b", "c", "d"), sampling_rate=RATE)


@pytest.fixture(scope="module")
def make(tmp_path_factory: pytest.TempPathFactory) -> Make:
    """The file of a recipe, made once."""
    folder, made = tmp_path_factory.mktemp("float"), {}

    def build_file(network: Callable[[], nn.Module], quantiser: dict | None = None, **options: Any) -> Path:
        key = f"{network.__name__}-{len(quantiser or {})}-{len(made)}"
        with pytest.MonkeyPatch.context() as patch:
            patch.setitem(foreign_graphs.FOREIGN, key, Foreign(network, quantiser, **options))
            made[key] = foreign_graphs.make(key, folder)
        return made[key]

    return build_file


def quantised(file: OnnxModel, dataset: Dataset, out: Path, **options: Any) -> QuantisedFile:
    index = np.arange(len(dataset))
    return quantise_file(
        file,
        dataset,
        calibrate=index[::2],
        check=index[1::2],
        options=Int8Options(**{"usual_step": STEP, "method": "minmax", **options}),
        out=out,
        say=lambda line: None,
    )


@pytest.mark.parametrize(
    ("network", "options"),
    [
        (foreign_graphs.squeeze_excite, {}),
        (foreign_graphs.batch_norms, {"unit": "mV", "layout": "BT"}),
        (foreign_graphs.depthwise, {"unit": "mV", "layout": "BTC", "fixed": True}),
        (foreign_graphs.dilated, {"layout": "BCHT", "fixed": True, "dynamo": True, "opset": 18}),
    ],
    ids=["gates", "normalised", "depthwise", "dilated"],
)
def test_the_int8_file_says_everything_itself(
    make: Make, dataset: Dataset, tmp_path: Path, network: Callable, options: dict[str, Any]
) -> None:
    unit = options.get("unit", "uV")
    source = open_model(make(network, **options), unit=unit, **FACTS)
    made = quantised(source, dataset, tmp_path)
    assert made.int8 == tmp_path / f"{source.path.stem}-int8.onnx"
    assert all(rung.holds is not False for rung in made.rungs) and made.rungs[0].name == "folded"
    assert {rung.name: rung.figure for rung in made.rungs}["twin"] == 1
    assert made.left["Gemm"] == 1
    file = open_model(made.int8)  # no facts needed
    assert (file.spec, file.metadata.float_sha256) == (source.spec, source.sha256)
    assert file.metadata.parent_sha256 is file.metadata.data is file.metadata.split is None
    assert file.input_step_uv == pytest.approx(STEP) and file.metadata.input_step_uv == STEP
    ecg = dataset.batch(np.arange(1, 48, 2))[0]
    assert (file.labels(ecg) == source.labels(ecg)).mean() >= 0.9


def test_the_scale_is_in_the_files_own_unit(make: Make, dataset: Dataset, tmp_path: Path) -> None:
    made = quantised(
        open_model(make(foreign_graphs.plain, unit="mV"), unit="mV", **FACTS), dataset, tmp_path, step=31.25
    )
    model = onnx.load(made.int8)
    first = next(node for node in model.graph.node if node.op_type == "QuantizeLinear")
    stored = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    assert first.input[0] == "signal" and stored[first.input[1]] == np.float32(0.03125)
    assert stored[first.input[2]] == 0


def test_weights_beside_the_file_are_inside_the_int8_file(make: Make, dataset: Dataset, tmp_path: Path) -> None:
    path = tmp_path / "theirs.onnx"
    onnx.save(
        onnx.load(make(foreign_graphs.plain)),
        path,
        save_as_external_data=True,
        location="theirs.data",
        size_threshold=0,
    )
    made = quantised(open_model(path, unit="uV", **FACTS), dataset, tmp_path)
    moved = tmp_path / "elsewhere" / "their.onnx"
    moved.parent.mkdir()
    shutil.copy(made.int8, moved)
    assert open_model(moved).classes == FACTS["classes"]


def test_a_single_output_keeps_its_threshold(make: Make, dataset: Dataset, tmp_path: Path) -> None:
    facts = {"sampling_rate": RATE, "unit": "uV", "classes": ("N", "A"), "threshold": 0.3}
    source = open_model(make(detector), **facts)
    made = quantised(source, dataset, tmp_path)
    assert open_model(made.int8).spec == source.spec and source.spec.threshold == 0.3


def test_what_has_no_integer_kernel_stays_in_float_and_is_counted(make: Make, dataset: Dataset, tmp_path: Path) -> None:
    made = quantised(open_model(make(Mixed), unit="uV", **FACTS), dataset, tmp_path)
    assert made.left == {"GRU": 1, "Gemm": 1} and made.census["QLinearConv"] == 1


def test_an_activation_in_float_does_not_end_the_codes(make: Make, dataset: Dataset, tmp_path: Path) -> None:
    """Tanh and HardSwish have no integer kernel; the products, pools and convolutions around them are quantised."""
    made = quantised(open_model(make(foreign_graphs.activations), unit="uV", **FACTS), dataset, tmp_path)
    assert made.left == {"Tanh": 1, "HardSigmoid": 1, "Gemm": 1}
    assert made.census["QLinearConv"] == 5 and made.census["QLinearGlobalAveragePool"] == 1


def test_files_that_cannot_be_quantised_are_refused_in_one_line(make: Make, dataset: Dataset, tmp_path: Path) -> None:
    facts = {"unit": "uV", **FACTS}
    int8 = open_model(make(foreign_graphs.plain, foreign_graphs._S8S8), **facts)
    with pytest.raises(InputError, match="is quantised already"):
        check_quantisable(int8)
    with pytest.raises(InputError, match="takes int16 samples; export the network with a float32 input"):
        check_quantisable(open_model(make(foreign_graphs.plain, integer=True), **facts))
    with pytest.raises(InputError, match=r"nothing of it can be quantised.*it has GRU 1, Gemm 1.*use the float file"):
        quantised(open_model(make(Recurrent), **facts), dataset, tmp_path)
    assert not list(tmp_path.iterdir())


def test_without_agreement_nothing_is_written(
    make: Make, dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parity, "LABEL_AGREEMENT", 1.1)
    with pytest.raises(InputError, match=r"export refused: fp32_int8 does not hold.*nothing was written"):
        quantised(open_model(make(foreign_graphs.plain), unit="uV", **FACTS), dataset, tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("largest", "step"), [(1270.0, 10.0), (1271.0, 11.0), (4000.0, 32.0), (80.0, 0.63)])
def test_the_step_holds_nearly_every_sample(largest: float, step: float) -> None:
    """Two of 20,000 samples, one in 10,000, may be beyond the codes; padding does not count."""
    ecg = np.full(20_000, largest, np.float32) * np.where(np.arange(20_000) % 2, 1, -1)
    ecg[:2] = 30_000
    short = Record("short", ecg[:19_900], RATE, "a")
    loud = build("loud", [Record("long", ecg, RATE, "a")], window=20_000, classes=("a",), sampling_rate=RATE)
    padded = build("padded", [short], window=40_000, classes=("a",), sampling_rate=RATE)
    assert designed_step(loud, np.arange(1)) == pytest.approx(step)
    assert InputCodes(8, step).range[1] >= largest
    assert share_held(loud, np.arange(1), step, bits=8) == pytest.approx(1 - 1e-4)
    assert share_held(padded, np.arange(1), step, bits=8) == pytest.approx(1 - 2 / 19_900)


def test_silent_records_give_no_step() -> None:
    silent = build(
        "silent", [Record("r", np.zeros(100, np.float32), RATE, "a")], window=100, classes=("a",), sampling_rate=RATE
    )
    with pytest.raises(InputError, match="no sample differs from 0 uV"):
        designed_step(silent, np.arange(1))
