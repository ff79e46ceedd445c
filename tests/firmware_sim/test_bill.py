import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeguard.ecg.record import CLASSES
from edgeguard.errors import InputError
from edgeguard.firmware_sim.bill import Battery, Bill, bill, side_by_side
from edgeguard.firmware_sim.mcu import PROFILES, Range, constants, find_mcu, mcus
from edgeguard.runtime.metadata import ModelMetadata

WINDOW_GRAPH = """
<ir_version: 10, opset_import: ["" : 21]>
window (float[batch,1,600] ecg) => (float[batch,4] logits)
<float one = {1}, int8 zero = {0}> {
    ecg_q = QuantizeLinear (ecg, one, zero)
    x = DequantizeLinear (ecg_q, one, zero)
    w = DequantizeLinear <axis = 0> (weight, scales, zeros)
    c = Conv <strides = [2]> (x, w)
    c_q = QuantizeLinear (c, one, zero)
    f = DequantizeLinear (c_q, one, zero)
    mean = GlobalAveragePool (f)
    mean_q = QuantizeLinear (mean, one, zero)
    m = DequantizeLinear (mean_q, one, zero)
    logits = Flatten (m)
}
"""
STREAM_GRAPH = """
<ir_version: 10, opset_import: ["" : 21]>
hop (float[1,1,60] ecg, int8[1,1,8] past_ecg, int32[1,4,9] past_pool)
    => (float[1,4] logits, int8[1,1,8] present_ecg, int32[1,4,9] present_pool)
<float one = {1}, int8 zero = {0}, int64[1] time = {2}, int64[1] last = {-8}, int64[1] first = {1}, int64[1] end = {99}>
{
    ecg_q = QuantizeLinear (ecg, one, zero)
    joined = Concat <axis = 2> (past_ecg, ecg_q)
    x = DequantizeLinear (joined, one, zero)
    w = DequantizeLinear <axis = 0> (weight, scales, zeros)
    c = Conv <strides = [2]> (x, w)
    c_q = QuantizeLinear (c, one, zero)
    wide = Cast <to = 6> (c_q)
    new = ReduceSum <keepdims = 1> (wide, time)
    ring = Concat <axis = 2> (past_pool, new)
    total = ReduceSum <keepdims = 0> (ring, time)
    logits = Cast <to = 1> (total)
    present_ecg = Slice (joined, last, end, time)
    present_pool = Slice (ring, first, end, time)
}
"""


def save(path: Path, graph: str, **facts) -> Path:
    """A graph with one int8 convolution of 4 channels and 9 taps, as a file."""
    model = onnx.parser.parse_model(graph)
    arrays = {
        "weight": np.ones((4, 1, 9), np.int8),
        "scales": np.ones(4, np.float32),
        "zeros": np.zeros(4, np.int8),
    }
    model.graph.initializer.extend(onnx.numpy_helper.from_array(value, name) for name, value in arrays.items())
    onnx.helper.set_model_props(model, ModelMetadata(classes=CLASSES, **facts).to_props())
    onnx.save(model, path)
    return path


@pytest.fixture
def window_file(tmp_path: Path) -> Path:
    """600 samples at 60 Hz."""
    return save(tmp_path / "window.onnx", WINDOW_GRAPH, sampling_rate=60.0, window=600)


@pytest.fixture
def stream_file(tmp_path: Path) -> Path:
    """Hops of 60 samples at 60 Hz."""
    return save(tmp_path / "stream.onnx", STREAM_GRAPH, sampling_rate=60.0, window=600)


@pytest.mark.parametrize(
    ("key", "macs", "ms", "duty", "mw"),
    [
        ("stm32l4r5", 6_295_000, 177, 0.71, 32),
        ("stm32u575", 6_295_000, 105, 0.42, 10.8),
        ("stm32h7a3", 6_295_000, 39, 0.16, 22),
        ("stm32l4r5", 156_000, 4.4, 0.018, 0.79),
        ("stm32u575", 156_000, 2.6, 0.010, 0.27),
        ("stm32h7a3", 156_000, 0.96, 0.004, 0.55),
    ],
)
def test_the_worked_example(key: str, macs: int, ms: float, duty: float, mw: float):
    """A network of 6.3 MMAC a window, and its stream, every 0.25 s: the slow end, reckoned by hand."""
    mcu = find_mcu(key)
    latency, energy = mcu.latency_ms(macs).high, mcu.energy_uj(macs)
    assert latency == pytest.approx(ms, rel=0.015)
    assert latency / 250 == pytest.approx(duty, rel=0.05)
    assert energy is not None and energy.high / 250 == pytest.approx(mw, rel=0.02)


def test_published_inferences_are_reproduced():
    """Each board's own networks take what was measured on it: the dense one the low end, the depthwise one the high."""
    networks = constants()["networks"]
    for key, table in constants()["mcus"].items():
        for name, rate in table.get("inferences_per_second", {}).items():
            latency = find_mcu(key).latency_ms(networks[name]["macs"])
            end = latency.low if name == "ic" else latency.high
            assert end == pytest.approx(1e3 / rate)
        for name, energy in (table.get("energy_per_inference_uj") or {}).items():
            priced = find_mcu(key).energy_uj(networks[name]["macs"])
            assert priced is not None
            assert (priced.low if name == "ic" else priced.high) == pytest.approx(energy)


def test_the_generic_profile_spans_the_boards_that_it_is_like():
    known = mcus()
    boards = [known[key] for key in constants()["mcus"]["generic"]["like"]]
    assert known["generic"].cycles_per_mac.low == min(board.cycles_per_mac.low for board in boards)
    assert known["generic"].cycles_per_mac.high == max(board.cycles_per_mac.high for board in boards)
    assert known["nrf5340"].energy_per_mac_nj is None


def test_every_constant_carries_a_source():
    figures = json.loads(PROFILES.read_text(encoding="utf-8"))
    for group in ("networks", "front_ends"):
        assert all(entry["source"] for entry in figures[group].values())
    assert figures["radio"]["source"] and figures["runtime_code"]["source"]
    for entry in figures["mcus"].values():
        assert {name for name in entry if name.endswith("_source")} == {
            f"{name}_source" for name in ("clock", "memory", "inferences", "energy", "sleep")
        }


def test_a_window_file_by_hand(window_file: Path):
    made = bill(window_file, hop=2.0, profiles=["stm32l4r5"])
    features = (600 - 9) // 2 + 1
    macs = 4 * 9 * features
    assert (made.kind, made.window_or_hop_samples, made.hop_seconds) == ("window", 600, 2.0)
    assert (made.work.macs, made.work.integer_macs, made.work.single_channel_macs) == (macs, macs, macs)
    assert made.work.macs_per_second == macs / 2
    assert (made.flash.weights_bytes, made.flash.bias_bytes, made.flash.requantization_bytes) == (36, 0, 32)
    assert made.flash.total_bytes == Range(68 + 16_384, 68 + 65_536)
    ram = made.ram
    assert (ram.input_buffer_bytes, ram.activation_bytes, ram.kernel_scratch_bytes) == (600, 4 * features + 4, 36)
    assert (ram.layer_state_bytes, ram.pooling_ring_bytes) == (0, 0)
    assert (ram.filter_state_bytes, ram.fifo_bytes) == (40, 96)
    assert ram.total_bytes == 600 + 4 * features + 4 + 36 + 40 + 96
    # 16 of 32 words are left at the interrupt.
    assert made.fifo_slack_ms == pytest.approx(16 / 60 * 1e3)


def test_energy_by_hand(window_file: Path):
    """1.2691 nJ a MAC at the slow end, 85 uW of front end, 2 events of 30 uJ, 2.86 uA at 1.8 V; 4.158 kJ of charge."""
    made = bill(window_file, hop=1.0, profiles=["stm32l4r5"], radio_events_per_second=2.0)
    (target,) = made.targets
    power = target.power
    assert power.inference_mw is not None and power.sleep_mw is not None and power.total_mw is not None
    inference = 1.26911e-6 * made.work.macs
    assert target.inference_energy_uj is not None
    assert target.inference_energy_uj.high == pytest.approx(1e3 * inference, rel=1e-4)
    assert power.inference_mw.high == pytest.approx(inference, rel=1e-4)
    assert power.sleep_mw.high == pytest.approx(2.86 * 1.8e-3)
    assert (power.front_end_mw, power.radio_mw.high) == (0.085, 0.06)
    assert power.total_mw.high == pytest.approx(inference + 2.86 * 1.8e-3 + 0.085 + 0.06, rel=1e-4)
    assert target.battery_share_per_day is not None
    assert target.battery_share_per_day.high == pytest.approx(power.total_mw.high * 86.4 / 4158, rel=1e-4)


def test_a_days_share_of_the_worked_examples_battery():
    """10.8 mW take 22 % of 300 mAh at 3.85 V a day, 0.27 mW take 0.6 %."""
    assert Battery().energy_j == pytest.approx(4158)
    assert 10.8e-3 * 86_400 / Battery().energy_j == pytest.approx(0.22, abs=0.005)
    assert 0.27e-3 * 86_400 / Battery().energy_j == pytest.approx(0.006, abs=0.0005)


def test_a_streaming_file_by_hand(stream_file: Path):
    made = bill(stream_file)
    assert (made.kind, made.window_or_hop_samples, made.hop_seconds) == ("streaming", 60, 1.0)
    assert made.work.macs == 4 * 9 * 30
    assert (made.ram.layer_state_bytes, made.ram.pooling_ring_bytes) == (8, 4 * 9 * 4)
    assert made.ram.input_buffer_bytes == 60
    assert made.ram.activation_bytes == max(68 + 120, 120 + 480, 480 + 16, 16 + 160, 160 + 16)
    assert bill(stream_file, hop=1.0) == made


def test_window_and_stream_side_by_side(window_file: Path, stream_file: Path):
    window, stream = bill(window_file, hop=0.5), bill(stream_file)
    ratios = side_by_side(window, stream)
    assert ratios["work"] == (4 * 9 * 296) / (4 * 9 * 30)
    assert ratios["energy_per_day"] == pytest.approx(2 * ratios["work"])
    for one, other in zip(window.targets, stream.targets, strict=True):
        assert one.latency_ms is not None and other.latency_ms is not None
        assert one.latency_ms.low / other.latency_ms.low == pytest.approx(ratios["work"])
        assert one.latency_ms.high / other.latency_ms.high == pytest.approx(ratios["work"])


def test_ranges_are_in_order_and_all_of_it_is_json(window_file: Path):
    about = bill(window_file).to_json()
    assert json.loads(json.dumps(about, allow_nan=False))["schema"] == "edgeguard.bill/1"
    assert about["estimate"] is True

    def check(value) -> None:
        if isinstance(value, dict):
            if value.keys() == {"low", "high"}:
                assert 0 <= value["low"] <= value["high"]
            for part in value.values():
                check(part)
        elif isinstance(value, list | tuple):
            for part in value:
                check(part)

    check(about)


@given(
    hop=st.integers(1, 120).map(lambda samples: samples / 60),
    events=st.floats(0, 20),
    capacity=st.floats(1, 5000),
)
def test_more_decisions_cost_more_and_a_larger_battery_lasts_longer(
    tmp_path_factory: pytest.TempPathFactory, hop: float, events: float, capacity: float
):
    path = tmp_path_factory.getbasetemp() / "monotone.onnx"
    if not path.exists():
        save(path, WINDOW_GRAPH, sampling_rate=60.0, window=600)

    def share(made: Bill) -> float:
        shares = made.targets[0].battery_share_per_day
        assert shares is not None
        return shares.high

    options = {"profiles": ["stm32u575"], "radio_events_per_second": events}
    usual = share(bill(path, hop=hop, battery=Battery(capacity), **options))
    assert share(bill(path, hop=2 * hop, battery=Battery(capacity), **options)) < usual
    assert share(bill(path, hop=hop, battery=Battery(2 * capacity), **options)) == pytest.approx(usual / 2)


def test_what_does_not_fit_is_said(window_file: Path):
    """At a hop of one sample no processor keeps up with a window model that is as large as the hop is short."""
    model = onnx.load(window_file)
    (weight,) = [tensor for tensor in model.graph.initializer if tensor.name == "weight"]
    weight.CopyFrom(onnx.numpy_helper.from_array(np.ones((4, 1, 301), np.int8), "weight"))
    onnx.save(model, window_file)
    (slow,) = bill(window_file, hop=1 / 60, profiles=["generic"]).targets
    macs = 4 * 301 * 150
    assert slow.latency_ms is not None
    assert slow.latency_ms.high == pytest.approx(3.685 * macs / 64e3, rel=1e-3)
    assert slow.keeps_hop is (slow.latency_ms.high < 1e3 / 60)
    assert (slow.fits_flash, slow.fits_ram, slow.fits) == (True, True, slow.keeps_hop)
    fast = bill(window_file, hop=1.0, fifo_depth=16, fifo_threshold=16, profiles=["generic"]).targets[0]
    assert (fast.keeps_hop, fast.overflows_fifo, fast.fits) == (True, True, True)


def test_a_float_network_has_bytes_but_no_time(mean_file: Path):
    (target,) = bill(mean_file, profiles=["stm32l4r5"]).targets
    assert target.latency_ms is target.duty_cycle is target.inference_energy_uj is target.battery_share_per_day is None
    assert target.keeps_hop is target.overflows_fifo is None
    assert target.fits


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"profiles": ["esp8266"]}, r"^device profile esp8266: unknown; choose stm32l4r5, "),
        ({"front_end": "acme"}, r"^front end acme: no published power; choose max30003, "),
        ({"hop": 0.3141}, r"^hop: 0\.3141 s is 18\.846 samples at 60 Hz; "),
        ({"radio_events_per_second": -1}, r"^radio: -1 events a second must be at least 0; "),
        ({"radio_events_per_second": float("nan")}, r"^radio: nan events a second must be at least 0; "),
    ],
)
def test_bad_settings_are_refused(window_file: Path, options: dict, message: str):
    with pytest.raises(InputError, match=message):
        bill(window_file, **options)


def test_another_hop_than_the_streams_own_is_refused(stream_file: Path):
    with pytest.raises(InputError, match=r"stream\.onnx: takes 1 s at a time, not 0\.5 s; leave --hop out or export "):
        bill(stream_file, hop=0.5)


def test_a_file_without_sampling_rate_is_asked_for_it(tmp_path: Path):
    path = save(tmp_path / "anonymous.onnx", WINDOW_GRAPH)
    with pytest.raises(InputError, match=r"anonymous\.onnx: does not say the sampling rate; add --sampling-rate HZ$"):
        bill(path)
    assert bill(path, sampling_rate=60.0).sampling_rate_hz == 60


@pytest.mark.parametrize("values", [(0, 3.85), (300, -1), (float("inf"), 3.85), (float("nan"), 3.85)])
def test_no_battery_is_no_battery(values: tuple[float, float]):
    with pytest.raises(InputError, match=r"^battery: .* must be above 0; mend "):
        Battery(*values)
