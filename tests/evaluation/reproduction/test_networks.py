"""Which networks are taken, which are trained, and that a training finds what it needs."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from edgeguard.ecg.split import split
from edgeguard.errors import InputError
from edgeguard.evaluation.reproduction.local import run_graph
from edgeguard.evaluation.reproduction.network_jobs import NETWORK
from edgeguard.evaluation.reproduction.networks import Networks, run_folders
from edgeguard.evaluation.reproduction.prepare import Reproduction
from edgeguard.evaluation.reproduction.records import about_records
from edgeguard.evaluation.reproduction.store import Store
from edgeguard.runtime.files import sha256_file

LITE = {"arch": "tiny_network:make", "preset": "lite", "epochs": 1, "start_epochs": 1}


@pytest.fixture
def networks_of(records: Path, make_tiny: Any, tmp_path: Path) -> Any:
    """Networks by their options, and by the folders that finished runs are looked for in."""
    made: Reproduction = make_tiny(records, tmp_path, tables=(5,), figures=())
    parts = split(made.dataset)
    hints = {"data": str(records), "labels": None, "device": "cpu"}

    def of(options: dict[str, Any], folders: tuple[Path, ...] = (), store: Path = tmp_path / "store") -> Networks:
        about = about_records(made.dataset, parts)
        return Networks(options, made.dataset, parts, about, folders=folders, store=Store(store), hints=hints)

    return of


def test_what_a_training_needs_is_trained_once_and_found(networks_of: Any, tmp_path: Path) -> None:
    networks = networks_of(LITE)
    jobs = {name: networks.get(name, 0).job for name in ("adt", "dist-adt", "none", "at")}
    assert jobs["at"].needs == (jobs["none"],) and jobs["adt"].needs == (jobs["none"], jobs["at"])
    # Its start is its teacher too.
    assert jobs["dist-adt"].needs == (jobs["none"],)
    store = Store(tmp_path / "store")
    folders = run_graph([jobs["adt"]], store, progress=False)
    assert sorted(line["title"] for line in store.ledger()) == [
        f"train {name} seed 0" for name in ("adt", "at", "none")
    ]
    config = json.loads((folders[jobs["adt"].key] / NETWORK / "config.json").read_text())
    for role, name in (("start", "none"), ("teacher", "at")):
        weights = folders[jobs[name].key] / NETWORK / "weights.safetensors"
        assert config[role] == {"defense": name, "weights_sha256": sha256_file(weights)}
    assert [path.name for path in folders[jobs["adt"].key].iterdir() if path.is_dir()] == [NETWORK]


def test_a_run_that_was_trained_in_the_store_is_not_sought_elsewhere(networks_of: Any, tmp_path: Path) -> None:
    options = {"arch": "tiny_network:make", "preset": "fast", "epochs": 1}
    job = networks_of(options).get("none", 0).job
    folder = run_graph([job], Store(tmp_path / "store"), progress=False)[job.key]
    shutil.copytree(folder / NETWORK, tmp_path / "elsewhere" / "none")
    assert networks_of(options, (tmp_path / "elsewhere",)).get("none", 0).taken is None
    found = networks_of(options, (tmp_path / "elsewhere",), tmp_path / "another").get("none", 0)
    assert found.taken == tmp_path / "elsewhere" / "none"
    # Another preset, seed or number of epochs is another network.
    for other in ({**options, "epochs": 2}, LITE):
        assert networks_of(other, (tmp_path / "elsewhere",), tmp_path / "another").get("none", 0).taken is None
    assert networks_of(options, (tmp_path / "elsewhere",), tmp_path / "another").get("none", 1).taken is None


def test_a_run_that_changes_after_the_plan_is_refused(networks_of: Any, tmp_path: Path) -> None:
    options = {"arch": "tiny_network:make", "preset": "fast", "epochs": 1}
    job = networks_of(options).get("none", 0).job
    folder = run_graph([job], Store(tmp_path / "store"), progress=False)[job.key]
    shutil.copytree(folder / NETWORK, tmp_path / "elsewhere" / "none")
    take = networks_of(options, (tmp_path / "elsewhere",), tmp_path / "another").get("none", 0).job
    (tmp_path / "elsewhere" / "none" / "weights.safetensors").write_bytes(b"other")
    with pytest.raises(InputError, match="weights have changed since the plan was made"):
        run_graph([take], Store(tmp_path / "another"), progress=False)


def test_a_network_that_shares_its_split_with_others_is_taken_with_it(networks_of: Any, tmp_path: Path) -> None:
    options = {"arch": "tiny_network:make", "preset": "fast", "epochs": 1}
    job = networks_of(options).get("none", 0).job
    network = run_graph([job], Store(tmp_path / "store"), progress=False)[job.key] / NETWORK
    zoo = tmp_path / "zoo"
    shutil.copytree(network, zoo / "none")
    (zoo / "none" / "split.json").rename(zoo / "split.json")
    take = networks_of(options, (zoo,), tmp_path / "another").get("none", 0)
    assert take.taken == zoo / "none"
    taken = run_graph([take.job], Store(tmp_path / "another"), progress=False)[take.job.key] / NETWORK
    assert (taken / "split.json").read_bytes() == (network / "split.json").read_bytes()


def test_a_folder_without_runs_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for folder in (tmp_path / "empty", tmp_path / "nowhere"):
        with pytest.raises(InputError, match="holds no finished run"):
            run_folders([folder], [])
