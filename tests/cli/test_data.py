import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from edgeguard.cli import main


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["data", *map(str, arguments)])


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder."""
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def test_info_prints_a_table_and_draws_a_picture(cinc_zip: Path, elsewhere: Path):
    result = run("info", cinc_zip)
    assert result.exit_code == 0, result.output
    rows = {line.split()[0]: line.split() for line in result.stdout.splitlines() if line[:1] in "NAO~a"}
    assert rows["N"][1:4] == ["Normal", "10", "25.0%"]
    assert rows["all"][1] == "40"
    assert "duplicates: none" in result.stdout
    assert [path.name for path in elsewhere.iterdir()] == ["edgeguard-records.png"]
    assert Path("edgeguard-records.png").read_bytes().startswith(b"\x89PNG")


def test_info_json_is_one_object_and_no_picture_writes_nothing(cinc_zip: Path, elsewhere: Path):
    result = run("info", cinc_zip, "--json", "--no-picture")
    assert result.exit_code == 0
    document = json.loads(result.stdout)
    assert document["schema"] == "edgeguard.data-info/1"
    assert {one["name"]: one["records"] for one in document["classes"]} == dict.fromkeys("NAO~", 10)
    assert document["total"]["seconds"]["high"] == 31.0
    assert document["picture"] is None
    assert list(elsewhere.iterdir()) == []


def test_duplicates_are_shown(cinc_files: dict[str, bytes], tmp_path: Path):
    for suffix in ("hea", "mat"):
        copied = cinc_files[f"training2017/A00001.{suffix}"].replace(b"A00001", b"A00005")
        (tmp_path / "set").mkdir(exist_ok=True)
        (tmp_path / "set" / f"A00005.{suffix}").write_bytes(copied)
        (tmp_path / "set" / f"A00001.{suffix}").write_bytes(cinc_files[f"training2017/A00001.{suffix}"])
    (tmp_path / "set" / "REFERENCE.csv").write_text("A00001,N\nA00005,A\n")
    result = run("info", tmp_path / "set", "--picture", tmp_path / "own" / "p.png")
    assert "duplicates: 1 groups (A00001 = A00005)" in result.stdout
    assert "duplicates with different labels: 1 groups (A00001 = A00005)" in result.stdout
    assert (tmp_path / "own" / "p.png").is_file()


def test_synth_writes_a_folder_that_is_itself_a_source(elsewhere: Path):
    assert run("synth", "out", "-n", 8, "--seed", 3).exit_code == 0
    assert {path.name for path in Path("out").iterdir()} >= {"RECORDS", "REFERENCE-v3.csv"}
    written = json.loads(run("info", "out", "--json", "--no-picture").stdout)
    generated = json.loads(run("info", "synthetic:8", "--seed", 3, "--json", "--no-picture").stdout)
    assert written["fingerprint"] == generated["fingerprint"]
    again = run("synth", "out")
    assert again.exit_code == 2
    assert "out: is there already and not an empty folder" in again.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["info", "nowhere.zip"],
        ["info", "synthetic:0"],
        ["info", "."],
        ["info", "text.zip"],
        ["info", "cinc2017"],
        ["info", "synthetic:4", "--no-picture", "--picture", "."],
        ["fetch", "--url", "http://127.0.0.1:9/"],
        ["synth", "out", "-n", "0"],
        ["synth", "text.zip", "-n", "1"],
    ],
)
def test_bad_input_is_exit_code_2_without_a_traceback_or_a_file(arguments: list[str], elsewhere: Path):
    if "." not in arguments[1:2]:
        Path("text.zip").write_text("hello")
    before = sorted(elsewhere.rglob("*"))
    result = run(*arguments)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert isinstance(result.exception, SystemExit)
    assert sorted(elsewhere.rglob("*")) == before


def test_an_input_error_is_one_line(elsewhere: Path):
    result = run("info", "nowhere.zip")
    assert result.stderr.splitlines() == [
        "edgeguard: nowhere.zip: no such file or folder; name a zip, a folder, cinc2017 or synthetic[:N]"
    ]
