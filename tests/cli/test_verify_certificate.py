"""edgeguard verify certificate.json FILE.onnx: what people and machines read of it, and its exit codes."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from certified import (
    Certified,
    changed,
    copied,
    failing,
    make_certified,
    redigested,
    run_alone,
    write_keys,
    write_model,
)
from click.testing import CliRunner, Result

from edgeguard.cli import main
from edgeguard.evaluation.certificate import verify_certificate


def verify(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["verify", *(str(argument) for argument in arguments)])


@pytest.fixture(scope="module")
def signed(tmp_path_factory: pytest.TempPathFactory) -> Certified:
    """A signed certificate, its key beside it in key.pub.pem; tests only read it."""
    folder = tmp_path_factory.mktemp("signed")
    return make_certified(folder, key=write_keys(folder)[0])


@pytest.fixture
def own(signed: Certified, tmp_path: Path) -> Certified:
    """A copy for a test to spoil."""
    return copied(signed, tmp_path / "own")


def test_a_certificate_that_holds(signed: Certified) -> None:
    result = verify(signed.path, signed.file)
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert len(lines) == 13 and all(line.startswith("holds ") for line in lines[:-1])
    assert lines[-1] == f"the certificate holds for {signed.file}; its verdict is: survives"
    assert any("8  adversarial records fool it within their threat model" in line for line in lines)


def test_one_json_object(signed: Certified, only_json: Callable[[Result], dict]) -> None:
    found = only_json(verify(signed.path, signed.file, "--json", "--public-key", signed.path.parent / "key.pub.pem"))
    keys = {"schema", "model", "model_sha256", "certificate", "verdict", "signed_by", "holds", "rungs"}
    assert set(found) == keys and found["schema"] == "edgeguard.verify/1"
    assert found["model"] == str(signed.file) and found["model_sha256"] == signed.content["file"]["sha256"]
    assert found["holds"] is True and found["verdict"] == "survives" and len(found["signed_by"]) == 64
    claims = verify_certificate(signed.path, signed.file).claims
    assert [rung["name"] for rung in found["rungs"]] == [claim.name for claim in claims]
    assert all(list(rung) == ["name", "holds", "figure", "meaning", "note"] for rung in found["rungs"])


def test_a_changed_field_is_exit_code_1(own: Certified) -> None:
    own.path.write_text(json.dumps(changed(own.content, "verdict", "degraded")))
    result = verify(own.path, own.file)
    assert result.exit_code == 1
    lines = result.stdout.splitlines()
    assert lines[0].split()[:2] == ["FAILS", "digest"] and "verdict: changed" in lines[0]
    assert lines[-1] == "the certificate is refused: digest, signature, verdict"
    assert json.loads(verify(own.path, own.file, "--json").stdout)["holds"] is False


def test_new_digests_do_not_help(own: Certified) -> None:
    own.path.write_text(json.dumps(redigested(changed(own.content, "provenance.date", "today"))))
    result = verify(own.path, own.file)
    assert result.exit_code == 1
    assert result.stdout.splitlines()[-1] == "the certificate is refused: signature"


@pytest.mark.parametrize("which", ["file", "witnesses", "golden"])
def test_a_changed_file_is_exit_code_1(own: Certified, which: str) -> None:
    path: Path = getattr(own, which)
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    result = verify(own.path, own.file)
    assert result.exit_code == 1
    assert result.stdout.splitlines()[-1] == f"the certificate is refused: {which}"


def test_another_file_of_the_same_name(own: Certified, tmp_path: Path) -> None:
    result = verify(own.path, write_model(tmp_path / "m.onnx", bias=1.0))
    assert result.exit_code == 1 and "is another one: sha256" in result.stdout


def test_the_key_that_is_demanded(own: Certified, tmp_path: Path) -> None:
    _, stranger = write_keys(tmp_path, "stranger")
    result = verify(own.path, own.file, "--public-key", stranger)
    assert result.exit_code == 1 and "not by the one demanded" in result.stdout
    own.path.write_text(json.dumps({**own.content, "signature": None}))
    assert verify(own.path, own.file).exit_code == 0
    result = verify(own.path, own.file, "--public-key", own.path.parent / "key.pub.pem")
    assert result.exit_code == 1 and "not signed, and a signature is demanded" in result.stdout


def test_the_thresholds_that_are_demanded(own: Certified, tmp_path: Path) -> None:
    policy = tmp_path / "policy.toml"
    policy.write_text("margin_points = 1.0\n")
    result = verify(own.path, own.file, "--thresholds", policy)
    assert result.exit_code == 1
    assert list(failing(verify_certificate(own.path, own.file, thresholds=policy))) == ["thresholds"]


VERIFY = """
from edgeguard.cli import main
code = main(["verify", *sys.argv[1:]], standalone_mode=False)
assert code == 0, code
"""


def test_it_needs_numpy_and_onnx_runtime_alone(signed: Certified) -> None:
    """As on a machine where EdgeGuard was installed with --no-deps."""
    assert f"the certificate holds for {signed.file}" in run_alone(VERIFY, signed.path, signed.file)


def test_bad_input(own: Certified, tmp_path: Path, refused: Callable[[Result], str]) -> None:
    assert "name the one ONNX file that it is of" in refused(verify(own.path))
    assert "name the one ONNX file" in refused(verify(own.path, own.file, own.file))
    assert "none.json: cannot be read" in refused(verify(tmp_path / "none.json", own.file))
    assert "none.onnx: cannot be read" in refused(verify(own.path, tmp_path / "none.onnx"))
    assert "--rows: has no meaning for the certificate" in refused(verify(own.path, own.file, "--rows", 8))
    assert "--golden: has no meaning" in refused(verify(own.path, own.file, "--golden", tmp_path))
    assert "--sampling-rate: has no meaning" in refused(verify(own.path, own.file, "--sampling-rate", 300))
    assert "none.pem: cannot be read" in refused(verify(own.path, own.file, "--public-key", tmp_path / "none.pem"))
    assert "none.toml: cannot be read" in refused(verify(own.path, own.file, "--thresholds", tmp_path / "none.toml"))
    assert "--public-key: is for the certificate" in refused(verify(own.file, "--public-key", "k.pem"))
    assert "--thresholds: is for the certificate" in refused(verify(own.witnesses, own.file, "--thresholds", "t.toml"))
    own.path.write_text(own.path.read_text(encoding="utf-8")[:200])
    assert "no valid JSON" in refused(verify(own.path, own.file))
    own.path.write_text('{"schema": "edgeguard.certificate/3"}')
    assert "newer than this EdgeGuard" in refused(verify(own.path, own.file))
    own.path.write_text('{"schema": "edgeguard.evaluate/1"}')
    assert "no certificate of EdgeGuard" in refused(verify(own.path, own.file))
