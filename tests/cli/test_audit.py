"""edgeguard audit: one command from a file to an exit code."""

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from short_work import SHORT, STRICT

from edgeguard.evaluation.audit.result import Check
from edgeguard.evaluation.audit.sizes import SIZES, Size
from edgeguard.evaluation.audit.store import load_audit

Call = Callable[..., Result]
Refused = Callable[[Result], str]

TINY = Size(8, "strict", 3, 20, 4, 5, 60.0, 8, 1)
EASY = "margin_points = 60\nrobustness_loss_points = 100\nblack_box_share = 0.9\n"


@pytest.fixture(scope="module", autouse=True)
def tiny() -> Iterator[None]:
    """Every size is tiny, the strict portfolio has four steps, and masking checks have nothing to say."""
    with pytest.MonkeyPatch.context() as patch:
        for size in SIZES:
            patch.setitem(SIZES, size, TINY)
        patch.setattr(STRICT, SHORT)
        patch.setattr("edgeguard.evaluation.audit.findings.check_budgets", lambda *_, **__: [])
        yield


@pytest.fixture(scope="module")
def thresholds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("thresholds") / "easy.toml"
    path.write_text(EASY)
    return path


@pytest.fixture(scope="module")
def quick(
    edgeguard: Call, trained: Path, thresholds: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Result, Path]:
    """A quick audit of a run without an int8 file, and its folder."""
    out = tmp_path_factory.mktemp("audit")
    options = ("--quick", "--thresholds", thresholds, "--out", out, "--json")
    return edgeguard("audit", trained, *options), out


def test_a_run_is_exported_audited_and_certified(quick: tuple[Result, Path], trained: Path) -> None:
    result, out = quick
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    assert report["schema"] == "edgeguard.audit/2" and report["verdict"] == "survives"
    assert {"name", "holds", "figure", "bar", "reason", "section"} <= set(report["checks"][0])
    assert report["report"] == str(out / "report.html") and report["certificate"] == str(out / "certificate.json")
    for name in report["files"].values():
        assert (out / name).is_file()
    assert "exporting one into" in result.stderr and (out / "none-edge-s-int8.onnx").is_file()
    assert not list(trained.glob("*.onnx"))
    assert report["data"]["n"] == 8 and report["verdict"] == load_audit(out).verdict


def test_the_certificate_holds_for_the_file(quick: tuple[Result, Path], edgeguard: Call) -> None:
    _, out = quick
    result = edgeguard("verify", out / "certificate.json", out / "none-edge-s-int8.onnx")
    assert result.exit_code == 0, result.output


def test_people_get_the_verdict_first(
    quick: tuple[Result, Path], edgeguard: Call, trained: Path, thresholds: Path
) -> None:
    """Everything was found before: only what follows is computed."""
    result = edgeguard("audit", trained, "--quick", "--thresholds", thresholds, "--out", quick[1])
    assert result.exit_code == 0, result.output
    export, robustness = result.stdout.splitlines()[:2]
    assert export.startswith("export      SURVIVES") and robustness.startswith("robustness  SCREENED")
    assert "worst case" in result.stdout
    assert f"certificate  {quick[1] / 'certificate.json'}" in result.stdout
    assert "white-box 10 uV: as found before" in result.stderr


@pytest.mark.parametrize(
    ("text", "options", "export", "robustness", "code"),
    [
        (EASY, (), "survives", "survives", 0),
        (EASY + "clean_accuracy = 0.999999", (), "survives", "inconclusive", 0),
        (EASY + "clean_accuracy = 0.999999", ("--require", "robustness"), "survives", "inconclusive", 1),
        (EASY + "clean_accuracy = 0.999999", ("--quick", "--require", "robustness"), "survives", "screened", 0),
        (EASY.replace("60", "2"), ("--quick",), "inconclusive", "screened", 1),
        (EASY.replace("60", "2"), (), "inconclusive", "survives", 1),
        (EASY.replace("loss_points = 100", "loss_points = 0"), ("--quick",), "survives", "degraded", 0),
        (
            EASY.replace("loss_points = 100", "loss_points = 0"),
            ("--require", "export,robustness"),
            "survives",
            "degraded",
            1,
        ),
    ],
)
def test_the_exit_code_is_that_of_the_required_verdicts(
    quick: tuple[Result, Path],
    edgeguard: Call,
    trained: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    text: str,
    options: tuple[str, ...],
    export: str,
    robustness: str,
    code: int,
) -> None:
    out = tmp_path / "out"
    shutil.copytree(quick[1], out)
    lost = Check("robustness_loss", "white-box", False, 0.5, 0.15, "half of it is lost", None, "most")
    if robustness == "degraded":
        monkeypatch.setattr("edgeguard.evaluation.audit.scores._robustness_check", lambda *_: lost)
    own = tmp_path / "own.toml"
    own.write_text(f"eps_uv = [10]\n{text}")
    result = edgeguard("audit", trained, "--thresholds", own, "--out", out, *options)
    assert result.exit_code == code, result.output
    verdicts = [line.split()[1] for line in result.stdout.splitlines()[:2]]
    assert verdicts == [export.upper(), robustness.upper()]


def test_a_signed_certificate(
    quick: tuple[Result, Path], edgeguard: Call, trained: Path, thresholds: Path, tmp_path: Path
) -> None:
    serialization = pytest.importorskip("cryptography.hazmat.primitives.serialization")
    ed25519 = pytest.importorskip("cryptography.hazmat.primitives.asymmetric.ed25519")
    key, public = ed25519.Ed25519PrivateKey.generate(), tmp_path / "pub.pem"
    pem = serialization.Encoding.PEM
    (tmp_path / "key.pem").write_bytes(
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    public.write_bytes(key.public_key().public_bytes(pem, serialization.PublicFormat.SubjectPublicKeyInfo))
    out = tmp_path / "out"
    shutil.copytree(quick[1], out)
    options = ("--quick", "--thresholds", thresholds, "--out", out, "--sign", tmp_path / "key.pem")
    assert edgeguard("audit", trained, *options).exit_code == 0
    certificate = json.loads((out / "certificate.json").read_text())
    assert certificate["signature"]["algorithm"] == "Ed25519"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--quick", "--full"), "choose one"),
        (("--sign", "none.pem"), "none.pem"),
        (("--thresholds", "none.toml"), "none.toml: cannot be read"),
        (("--data", "none.zip"), "none.zip: no such file"),
        (("--reference", "none.onnx"), "none.onnx"),
        (("--out", "file/audit"), "file/audit"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(
    edgeguard: Call,
    refused: Refused,
    quick: tuple[Result, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    options: tuple[Any, ...],
    said: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("")
    line = refused(edgeguard("audit", quick[1] / "none-edge-s-int8.onnx", *options))
    assert said in line


def test_without_a_name_the_newest_file_is_audited(
    edgeguard: Call, refused: Refused, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert "no .onnx file there" in refused(edgeguard("audit"))
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "x-int8.onnx").write_bytes(b"no model")
    assert "x-int8.onnx: is not an ONNX file" in refused(edgeguard("audit"))
    assert (tmp_path / "runs" / "audit" / "x-int8").is_dir()
