import copy
import re
from pathlib import Path

import pytest

from edgeguard.firmware_sim.bill import bill
from edgeguard.report.bill_table import bill_table, side_by_side_table

ZOO = Path(__file__).parents[2] / "models" / "zoo"


@pytest.fixture(scope="module")
def about() -> dict:
    """The bill of a trained int8 window model at a hop of a second."""
    return bill(ZOO / "none-edge-m" / "none-edge-m-int8.onnx").to_json()


def row(text: str, name: str) -> list[str]:
    """Columns of the first line that begins with `name`."""
    return re.split(r"\s{2,}", next(line for line in text.splitlines() if line.startswith(name)))


def test_the_table_says_what_the_bill_does(about: dict):
    text = bill_table(about)
    assert text.splitlines()[0].endswith(", an estimate: window of 9000 samples at 300 Hz, a decision every 1 s")
    assert row(text, "work") == ["work", "29.2 MMAC a decision, 29.2 a second; 2.9 % in layers of one channel"]
    # 29.22 MMAC at 2.178 and 3.390 cycles a MAC and 120 MHz.
    assert row(text, "STM32L4R5ZI")[:4] == ["STM32L4R5ZI, 120 MHz", "yes", "530 - 826", "53 - 83"]
    assert row(text, "generic")[1] == "NO"
    assert row(text, "nRF5340")[4:] == ["-", "-"]
    assert "inference must let the FIFO's interrupt through on STM32L4R5ZI, " in text
    assert "mlcommons" not in text
    assert "export with --int8" not in text


def test_sources_are_listed_on_request(about: dict):
    text = bill_table(about, sources=True)
    for source in about["sources"].values():
        assert source in text
    for target in about["targets"]:
        assert all(source in text for source in target["sources"].values())


def test_a_float_network_gets_the_mend(about: dict):
    bare = copy.deepcopy(about)
    for target in bare["targets"]:
        target |= dict.fromkeys(("latency_ms", "duty_cycle", "overflows_fifo", "inference_energy_uj"))
        target["battery_share_per_day"] = None
    text = bill_table(bare)
    assert row(text, "STM32L4R5ZI") == ["STM32L4R5ZI, 120 MHz", "yes", "-", "-", "-", "-"]
    assert "no latency: the published constants are of int8 networks; export with --int8" in text
    assert "FIFO's interrupt" not in text


def test_window_beside_stream(about: dict):
    stream = copy.deepcopy(about)
    stream["work"]["macs"] //= 20
    stream["ram"]["activation_bytes"] = 6674
    stream["ram"]["pooling_ring_bytes"] = 5000
    for target in stream["targets"]:
        for value in (target["latency_ms"], target["duty_cycle"], target["power"]["inference_mw"]):
            for end in value or ():
                value[end] /= 20
    text = side_by_side_table(about, stream)
    assert row(text, "MACs a decision") == ["MACs a decision", "29,221,792", "1,461,089", "20.0"]
    assert row(text, "- activations") == ["- activations", "66,736", "6,674", "10.0"]
    assert row(text, "- pooling ring") == ["- pooling ring", "0", "5,000", "0.0"]
    assert row(text, "- layer states") == ["- layer states", "0", "0"]
    assert row(text, "STM32L4R5ZI, ms") == ["STM32L4R5ZI, ms", "530 - 826", "27 - 41", "20.0"]
    assert row(text, "nRF5340, inference mW") == ["nRF5340, inference mW", "-", "-"]
