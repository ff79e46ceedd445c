import json
from pathlib import Path

import click.testing
import pytest

from edgeguard.cli import main

OWN = """
from torch import nn

def plain(classes):
    return nn.Sequential(nn.Flatten(), nn.Linear(600, classes))

def pooled(classes):
    features = nn.Conv1d(1, 2, 5, stride=3)
    return nn.Sequential(features, nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(2, classes))
"""


def arch(*arguments: str) -> click.testing.Result:
    return click.testing.CliRunner().invoke(main, ["arch", *arguments])


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Name of a module with networks of a user's own, in the working folder."""
    (tmp_path / "own_networks_of_test_arch.py").write_text(OWN)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    return "own_networks_of_test_arch"


@pytest.mark.parametrize(("name", "parameters", "macs"), [("edge-m", 160e3, 32e6), ("edge-s", 40e3, 5e6)])
def test_edge_networks_keep_their_limits(name: str, parameters: int, macs: int) -> None:
    done = arch(name, "--json")
    assert done.exit_code == 0, done.output
    report = json.loads(done.stdout)
    assert report["schema"] == "edgeguard.arch/1" and report["window"] == 9000
    (row,) = report["architectures"]
    assert row["name"] == name
    assert row["parameters"] <= parameters and row["macs"] <= macs
    assert row["stride"] == 60 and row["receptive_field"] % 60 == 0
    assert row["receptive_field"] == 300 * row["receptive_field_seconds"] <= 3000
    assert row["features"] == (9000 - row["receptive_field"]) // 60 + 1


def test_a_network_of_the_users_own(own: str) -> None:
    """Convolution of 5 taps and stride 3 on 600 samples: 199 places, 2 x 5 weights each; then 2 x 4."""
    done = arch(f"{own}:pooled", "--window", "600", "--json")
    assert done.exit_code == 0, done.output
    (row,) = json.loads(done.stdout)["architectures"]
    assert row == {
        "name": f"{own}:pooled",
        "parameters": (2 * 5 + 2) + (2 * 4 + 4),
        "macs": 199 * 10 + 8,
        "receptive_field": 5,
        "receptive_field_seconds": 5 / 300,
        "stride": 3,
        "features": 199,
    }


def test_seconds_are_of_the_sampling_rate_named() -> None:
    done = arch("edge-s", "--window", "2500", "--sampling-rate", "250", "--json")
    assert done.exit_code == 0, done.output
    report = json.loads(done.stdout)
    (row,) = report["architectures"]
    assert (report["sampling_rate"], row["receptive_field_seconds"]) == (250, 1860 / 250)
    assert row["features"] == (2500 - 1860) // 60 + 1


def test_a_network_without_a_pool_has_no_receptive_field(own: str) -> None:
    done = arch(f"{own}:plain", "--window", "600")
    assert done.exit_code == 0, done.output
    cells = done.output.splitlines()[1].split()
    assert cells == [f"{own}:plain", "2,404", "0.0", "-", "-", "-"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["resnet"], "--arch resnet: unknown"),
        (["edge-s", "--window", "0"], "--window 0: at least 1"),
        (["edge-s", "--sampling-rate", "0"], "--sampling-rate 0.0: above 0"),
        (["edge-s", "--window", "100"], "--window 100: too short for edge-s"),
    ],
)
def test_bad_input_is_one_line(arguments: list[str], message: str) -> None:
    done = arch(*arguments)
    assert done.exit_code == 2
    assert message in done.stderr and done.stderr.count("\n") == 1


def test_all_named_architectures_are_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    from edgeguard.models import ARCHITECTURES

    monkeypatch.delitem(ARCHITECTURES, "cnn13")
    done = arch()
    assert done.exit_code == 0, done.output
    assert [line.split()[0] for line in done.output.splitlines()[1:3]] == ["edge-m", "edge-s"]
