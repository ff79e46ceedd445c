"""Records in a folder, a network trained on them by the command line, and a way to call it."""

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from jsonschema import Draft202012Validator
from schema_keys import undeclared

from edgeguard.cli import main, output
from edgeguard.ecg.cinc_writer import write_cinc
from edgeguard.ecg.record import Record
from edgeguard.schemas import load_schema

Call = Callable[..., Result]


def call(*arguments: object) -> Result:
    """`edgeguard ARGUMENTS`."""
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.fixture(scope="session")
def edgeguard() -> Iterator[Call]:
    """The command line as a function, on one thread."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield call
    torch.set_num_threads(threads)


@pytest.fixture(scope="session", autouse=True)
def valid_output() -> Iterator[None]:
    """Whatever any command of these tests prints with --json has a schema, is valid by it, and has no key beside it."""
    plain = output.to_json

    def checked(value: Any) -> Any:
        made = plain(value)
        schema = load_schema(made["schema"])
        Draft202012Validator(schema).validate(made)
        assert list(undeclared(made, schema, schema)) == [], "describe the key in edgeguard/schemas"
        return made

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(output, "to_json", checked)
        yield


@pytest.fixture(scope="session")
def waves(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of 80 records, twenty a class: waves of four frequencies in noise, some short."""
    rng = np.random.default_rng(0)
    records = []
    for number in range(80):
        length = (9000, 9100, 5401)[number % 3]
        wave = 400 * np.sin(np.arange(length) * (0.03, 0.1, 0.25, 0.6)[number % 4] + rng.uniform(0, 6))
        ecg = np.rint(wave + rng.normal(0, 40, length)).astype(np.float32)
        records.append(Record(f"W{number:02d}", ecg, label="NAO~"[number % 4]))
    folder = tmp_path_factory.mktemp("data") / "waves"
    write_cinc(folder, records)
    return folder


@pytest.fixture(scope="session")
def trained(edgeguard: Call, waves: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of edge-s; tests only read it."""
    folder = tmp_path_factory.mktemp("trained") / "none-edge-s"
    options = ("--arch", "edge-s", "--epochs", 5, "--batch", 8, "--no-augment", "--device", "cpu")
    result = edgeguard("train", "--defense", "none", "--data", waves, "--out", folder, *options)
    assert result.exit_code == 0, result.output
    return folder


@pytest.fixture
def own_run(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the run under `runs/` of a working folder of its own."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(trained, tmp_path / "runs" / trained.name)
    return Path("runs") / trained.name


def refusal(result: Result) -> str:
    """The one line that a refused command prints, once it is that: exit code 2, no traceback, no result."""
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    lines = [line for line in result.stderr.splitlines() if line.startswith("edgeguard: ")]
    assert len(lines) == 1 and "Traceback" not in result.output
    assert result.stderr.rstrip().endswith(lines[0])
    return lines[0]


@pytest.fixture(scope="session")
def refused() -> Callable[[Result], str]:
    """`refusal` for tests."""
    return refusal


@pytest.fixture(scope="session")
def only_json() -> Callable[[Result], dict[str, Any]]:
    """The object on stdout, once it is all that stands there."""

    def read(result: Result) -> dict[str, Any]:
        assert result.exit_code == 0, result.output
        assert result.stdout.count("\n") == 1 and result.stdout.endswith("\n")
        value: dict[str, Any] = json.loads(result.stdout)
        return value

    return read
