"""No file makes a command import code: the architecture that a stranger's config names has to be typed."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from edgeguard.models.run import CONFIG
from edgeguard.runtime.zoo import zoo_folder

Call = Callable[..., Result]
Refused = Callable[[Result], str]

EVIL = "evil_of_test_strangers_code"


@pytest.fixture
def downloaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder: a run with its int8 file whose config names code that lies beside it."""
    shutil.copytree(zoo_folder() / "none-edge-s", tmp_path / "run")
    config = json.loads((tmp_path / "run" / CONFIG).read_text())
    config["arch"] = config["options"]["arch"] = f"{EVIL}:net"
    (tmp_path / "run" / CONFIG).write_text(json.dumps(config))
    (tmp_path / f"{EVIL}.py").write_text("from pathlib import Path\nPath('ran').touch()\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def commands(waves: Path) -> dict[str, tuple[object, ...]]:
    """Every command that opens a run, or a file that a run lies beside."""
    file, data = "run/none-edge-s-int8.onnx", ("--data", waves)
    short = ("--epochs", 1, "--device", "cpu", "--out", "new")
    return {
        "verify": ("verify", file),
        "evaluate a file": ("evaluate", file, *data, "--attack", "clean"),
        "evaluate a run": ("evaluate", "run", *data, "--attack", "clean"),
        "evaluate by a source": ("evaluate", "zoo:none-edge-s-int8", *data, "--source", "run", "--limit", 2),
        "audit a file": ("audit", file, *data, "--quick", "--out", "audit"),
        "audit a run": ("audit", "run", *data, "--quick", "--out", "audit"),
        "audit by a reference": ("audit", "zoo:none-edge-s-int8", *data, "--quick", "--reference", "run", "--out", "a"),
        "export": ("export", "run", *data, "--out", "made"),
        "attack-stream": ("attack-stream", file, *data, "--source", "run", "--records", 1, "--seconds", 30),
        "train by a config": ("train", "--config", f"run/{CONFIG}", *data, *short),
        "train by a TOML file": ("train", "--config", "own.toml", *data, *short),
        "train by a teacher": ("train", "--arch", "edge-s", "--defense", "dd", "--teacher", "run", *data, *short),
    }


@pytest.mark.parametrize("name", commands(Path()))
def test_a_downloaded_run_runs_nothing(
    edgeguard: Call, refused: Refused, downloaded: Path, waves: Path, name: str
) -> None:
    Path("own.toml").write_text(f'arch = "{EVIL}:net"\n')
    message = refused(edgeguard(*commands(waves)[name]))
    assert f"architecture '{EVIL}:net' is code from outside of EdgeGuard" in message and "--arch" in message
    assert not Path("ran").exists() and EVIL not in sys.modules


def test_what_is_typed_is_imported_and_nothing_else(
    edgeguard: Call, refused: Refused, downloaded: Path, waves: Path
) -> None:
    Path("own_of_test_strangers_code.py").write_text("from edgeguard.models.edge import edge_s as net\n")
    config = Path("run") / CONFIG
    config.write_text(config.read_text().replace(f"{EVIL}:net", "own_of_test_strangers_code:net"))
    evaluate = ("evaluate", "run", "--data", waves, "--attack", "clean")
    assert "'own_of_test_strangers_code:net'" in refused(edgeguard(*evaluate, "--arch", "edgeguard.models.edge:edge_s"))
    done = edgeguard(*evaluate, "--arch", "own_of_test_strangers_code:net")
    assert done.exit_code == 0, done.output
    assert not Path("ran").exists()


def test_a_teachers_architecture_is_typed_too(edgeguard: Call, refused: Refused, downloaded: Path, waves: Path) -> None:
    """Once it is known, the teacher is opened, and refused for the records that it was trained on."""
    name = "teachers_of_test_strangers_code"
    Path(f"{name}.py").write_text("from edgeguard.models.edge import edge_s as net\n")
    config = Path("run") / CONFIG
    config.write_text(config.read_text().replace(f"{EVIL}:net", f"{name}:net"))
    train = commands(waves)["train by a teacher"]
    assert f"'{name}:net'" in refused(edgeguard(*train))
    assert "trained on other data or parts" in refused(edgeguard(*train, "--teacher-arch", f"{name}:net"))


def test_a_recipe_of_a_zoo_runs_nothing(edgeguard: Call, refused: Refused, downloaded: Path, waves: Path) -> None:
    Path("zoo").mkdir()
    Path("zoo/recipes.toml").write_text(f'[none]\ndefense = "none"\narch = "{EVIL}:net"\npreset = "fast"\n')
    assert f"'{EVIL}:net'" in refused(edgeguard("zoo", "build", "--data", waves, "--out", "zoo"))
    assert not Path("ran").exists()


def test_a_fresh_process_runs_nothing(downloaded: Path, waves: Path) -> None:
    """As a user would, from the folder that the files were unpacked into."""
    done = subprocess.run(
        [sys.executable, "-m", "edgeguard", "verify", "run/none-edge-s-int8.onnx"], capture_output=True, text=True
    )
    assert done.returncode == 2 and not Path("ran").exists(), done.stderr
