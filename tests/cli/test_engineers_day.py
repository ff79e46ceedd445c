"""A colleague's network of another rate, unit and class list: exported, quantised, verified, attacked, played, audited.

The day is docs/your-own-model.md, word for word. Facts are given once; the files carry them from then on.
"""

import json
import os
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from short_work import SHORT, STRICT
from walkthrough import notebook, run_page

from edgeguard.evaluation.audit import run as audit_run

Call = Callable[..., Result]

PAGE = Path(__file__).parents[2] / "docs" / "your-own-model.md"
RATE = 250
FACTS = ("--classes", "N,A,O", "--sampling-rate", RATE, "--unit", "mV")
FEW = {"records": 192, "attacked": 4, "queries": 40, "checked": 8, "proof_hops": 10, "stream_seconds": 60}


@dataclass(frozen=True)
class Day:
    """What the page made.

    Attributes:
        folder: where it was followed.
        results: of each command, in order.
        read: how often the audit read each ONNX file.
    """

    folder: Path
    results: list[Result]
    read: Counter[str]


@pytest.fixture(scope="module")
def day(edgeguard: Call, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Day]:
    """The page, followed with few attack steps and queries."""
    folder = tmp_path_factory.mktemp("day")
    read: Counter[str] = Counter()

    def counted(path: Path, *, inner: Any = Path.read_bytes) -> bytes:
        if path.suffix == ".onnx":
            read[path.name] += 1
        return inner(path)

    def call(*words: str) -> Result:
        if words[0] == "audit":
            read.clear()
            patch.setattr(Path, "read_bytes", counted)
        result = edgeguard(*words)
        patch.setattr(Path, "read_bytes", plain)
        assert result.exit_code == 0, result.output
        return result

    before, plain = Path.cwd(), Path.read_bytes
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(STRICT, SHORT)
        patch.setitem(audit_run.SIZES, "quick", replace(audit_run.SIZES["quick"], **FEW))
        os.chdir(folder)
        try:
            run, _ = run_page(PAGE, folder, call)
        finally:
            os.chdir(before)
    yield Day(folder, list(run.values()), read)


def said(day: Day, command: int) -> str:
    return day.results[command].output


def test_the_file_says_what_it_lacks_and_the_copy_lacks_nothing(day: Day, edgeguard: Call) -> None:
    assert "MISSING" in said(day, 1)
    assert "MISSING" not in edgeguard("describe", day.folder / "model.onnx").output


def test_int8_is_within_a_point_of_float(day: Day, edgeguard: Call) -> None:
    options = ("--data", day.folder / "records", "--attack", "clean", "--no-checks", "--json")
    accuracy = {}
    for name in ("model", "model-int8"):
        result = json.loads(edgeguard("evaluate", day.folder / f"{name}.onnx", *options).stdout)
        assert result["n"] == 180, "three classes of four"
        accuracy[name] = result["attacks"][0]["accuracy"]["value"]
    assert accuracy["model"] > 0.6, "the network has learnt something"
    assert accuracy["model-int8"] >= accuracy["model"] - 0.01


def test_it_is_played_at_its_own_rate(day: Day) -> None:
    assert "decisions  " in said(day, 6)


def test_the_audit_says_first_what_the_export_lost_and_reads_each_file_once(day: Day) -> None:
    first, second = day.results[7].stdout.splitlines()[:2]
    assert first.split()[:2] == ["export", "SURVIVES"] and "model.onnx" in first
    assert second.startswith("robustness  REPORTED")
    assert "trained on is unknown" in said(day, 7)
    assert day.read == {"model-int8.onnx": 1, "model.onnx": 1}


def test_the_certificate_holds(day: Day) -> None:
    assert "holds" in said(day, 8) and len(day.results) == 9


def test_the_notebook_is_the_page() -> None:
    """After a change of the page: python tests/helpers/walkthrough.py."""
    assert PAGE.with_suffix(".ipynb").read_text(encoding="utf-8") == notebook(PAGE)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--label-map", "~=Noise"), "Noise"),
        (("--lead", "V5"), "V5"),
        (("--sampling-rate", 300), "--sampling-rate"),
        (("--classes", "N,A"), "--classes"),
    ],
)
def test_what_does_not_fit_is_one_line(
    edgeguard: Call,
    refused: Callable[[Result], str],
    day: Day,
    options: tuple,
    says: str,
) -> None:
    few = ("--data", day.folder / "records", "--limit", 8, "--no-checks")
    assert says in refused(edgeguard("evaluate", day.folder / "model-int8.onnx", *few, *options))


def test_a_wrong_unit_is_a_warning(edgeguard: Call, day: Day) -> None:
    her = day.folder / "her.onnx"
    wrong = ("--classes", "N,A,O", "--sampling-rate", RATE, "--unit", "uV")
    options = ("--data", day.folder / "records", "--limit", 48, "--attack", "clean", "--no-checks", "--json")
    result = edgeguard("evaluate", her, *wrong, *options)
    assert result.exit_code == 0, result.output
    assert any("--unit" in line for line in json.loads(result.stdout)["warnings"])
    right = edgeguard("evaluate", her, *FACTS, *options)
    assert "warnings" not in json.loads(right.stdout)
