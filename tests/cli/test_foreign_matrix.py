"""Every command on strangers' files as torch exports them: a result, or a true reason in one line."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import Result
from foreign import Case, covering, write
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, quantize_dynamic, quantize_static
from short_work import SHORT, STRICT

from edgeguard.evaluation.audit import run as audit_run
from edgeguard.evaluation.audit.sizes import Size
from edgeguard.runtime.session import open_model

Call = Callable[..., Result]

CASES = covering()
TINY = Size(8, "strict", 2, 20, 4, 3, 60, 8, 1)
DATA = ("--data", "synthetic:24")
COMMANDS: dict[str, tuple[str, ...]] = {
    "describe": (),
    "verify": ("--rows", "4"),
    "evaluate": (*DATA, "--profile", "strict", "--limit", "4", "--no-checks"),
    "attack-onnx": (*DATA, "--samples", "2", "--queries", "20"),
    "simulate": (*DATA, "--records", "1"),
    "export": (*DATA, "--int8", "--calibration", "percentile:99.99", "--calibration-windows", "8"),
    "audit": (*DATA, "--quick"),
}
"""Command -> what it is called with beside the file and its facts."""
WITH_FOLDER = ("attack-onnx", "simulate", "export", "audit")
REASONS = (
    # The int8 form of a random network answers otherwise than its float form too often.
    r"export refused: fp32_int8 does not hold",
    r"nothing of it can be quantised",
    # No record of these few is named right, so that there is nothing to attack.
    r"classifies none of the .* records correctly|no record .* right|calls .* right",
    r"operator DynamicQuantizeLSTM .* the twin lacks it",
    # The last bit of a float decides codes whose scale is found anew for every record.
    r"its twin agrees with ONNX Runtime on",
)
"""All that a command may say in place of a result."""


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(STRICT, SHORT)
    monkeypatch.setitem(audit_run.SIZES, "quick", TINY)
    yield


def outcome(edgeguard: Call, command: str, file: Path, facts: list[str], folder: Path) -> str:
    """`done`, or the reason that the command gives; fails for anything else."""
    given = () if command == "describe" else facts
    out = ("--out", folder / command) if command in WITH_FOLDER else ()
    result = edgeguard(command, file, *given, *COMMANDS[command], *out)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    if result.exit_code in (0, 1):
        assert result.stdout.strip(), result.output
        return "done"
    assert result.exit_code == 2, result.output
    line = result.stderr.strip().splitlines()[-1]
    assert line.startswith("edgeguard: ")
    return line


def check_all(edgeguard: Call, file: Path, facts: list[str], folder: Path) -> None:
    refused = {}
    for command in COMMANDS:
        said = outcome(edgeguard, command, file, facts, folder)
        if said != "done" and not any(re.search(reason, said) for reason in REASONS):
            refused[command] = said
    assert refused == {}


def smallest(cases: list[Case]) -> list[Case]:
    """So few of them that each family, head, layout, rate and number of classes is there; none by the slow exporter."""
    wanted = {value for case in cases for value in (case.family, case.head, case.layout, case.rate, case.classes)}
    chosen: list[Case] = []
    for case in sorted(cases, key=lambda one: one.dynamo):
        new = {case.family, case.head, case.layout, case.rate, case.classes} & wanted
        if new and not case.dynamo:
            chosen.append(case)
            wanted -= new
    return chosen


@pytest.mark.parametrize("case", smallest(CASES), ids=lambda case: case.name)
def test_a_strangers_file_in_every_command(edgeguard: Call, tmp_path: Path, case: Case) -> None:
    check_all(edgeguard, write(case, tmp_path), case.facts, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_whole_matrix(edgeguard: Call, tmp_path: Path, case: Case) -> None:
    check_all(edgeguard, write(case, tmp_path), case.facts, tmp_path)


class Windows(CalibrationDataReader):
    """Eight windows of noise in the file's own unit."""

    def __init__(self, file: Path, case: Case) -> None:
        import numpy as np

        model = open_model(file, assumed={"sampling_rate": case.rate}, classes="NA", unit=case.unit)
        rng = np.random.default_rng(0)
        ecg = rng.normal(0, 300, (8, 1, 1, model.window)).astype(np.float32)
        self.feeds = iter([model.feed(row) for row in ecg])

    def get_next(self) -> dict | None:
        return next(self.feeds, None)


QUANTISED = [
    (family, kind)
    for family in ("residual", "plain", "depthwise", "gru", "transformer")
    for kind in ("QDQ", "QOperator", "dynamic")
]


@pytest.mark.slow
@pytest.mark.parametrize(("family", "kind"), QUANTISED)
def test_files_of_the_runtimes_own_quantiser(edgeguard: Call, tmp_path: Path, family: str, kind: str) -> None:
    case = Case(family, False, "1", "logits", 2, 250, "mV", "B1T", None)
    file, made = write(case, tmp_path), tmp_path / f"{kind}.onnx"
    if kind == "dynamic":
        quantize_dynamic(file, made)
    else:
        quantize_static(file, made, Windows(file, case), quant_format=QuantFormat[kind])
    for command in ("describe", "verify", "evaluate", "attack-onnx", "simulate", "audit"):
        said = outcome(edgeguard, command, made, case.facts, tmp_path)
        assert said == "done" or any(re.search(reason, said) for reason in REASONS)
    said = outcome(edgeguard, "export", made, case.facts, tmp_path)
    assert "is quantised already" in said
