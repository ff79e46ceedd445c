"""Two processes against one. As a script, this file is one of the two: it trains every case and writes the weights."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from edgeguard.defenses import distributed
from edgeguard.defenses.batches import steps_per_epoch
from edgeguard.defenses.config import TrainConfig, make_config
from edgeguard.defenses.trainer import Fitted, fit, student_seed
from edgeguard.ecg.dataset import Dataset, build
from edgeguard.ecg.record import Record
from edgeguard.ecg.split import oversample, split
from edgeguard.errors import InputError
from edgeguard.evaluation.metrics import scores
from edgeguard.models import registry
from edgeguard.models.run import load_tensors, save_tensors

CPU = torch.device("cpu")
WINDOW, BATCH = 120, 13
sys.modules["two_process_networks"] = sys.modules[__name__]

CASES: dict[str, dict] = {
    "clean": {"defense": "none"},
    "sap": {"defense": "at", "crafting": "sap"},
    "single-step": {"defense": "at", "crafting": "single-step"},
    "mixed": {"defense": "at", "crafting": "mixed"},
    "spread": {"defense": "at", "crafting": "sap", "eps_spread": 1.0},
    "unnormalised": {"defense": "at", "crafting": "sap", "arch": "two_process_networks:bare"},
    "adt": {"defense": "adt", "crafting": "single-step", "temperature": 2.0},
    "trades": {"defense": "trades", "crafting": "sap"},
    "jr": {"defense": "jr", "units": "corrected", "warm_up": 1},
    "nsr": {"defense": "nsr", "units": "corrected", "warm_up": 0},
}


# Nothing before a BatchNorm has a bias: its gradient is rounding alone, and Adam would make steps of it.
def normed(classes: int) -> nn.Module:
    return nn.Sequential(
        nn.Conv1d(1, 6, 9, stride=3, bias=False),
        nn.BatchNorm1d(6),
        nn.ReLU(),
        nn.Sequential(nn.Conv1d(6, 8, 5, bias=False), nn.BatchNorm1d(8), nn.ReLU()),
        nn.AdaptiveAvgPool1d(1),
        nn.Flatten(),
        nn.Linear(8, classes),
    )


def bare(classes: int) -> nn.Module:
    features = nn.Sequential(nn.Conv1d(1, 6, 9, stride=3), nn.ReLU(), nn.AdaptiveAvgPool1d(2), nn.Flatten())
    return nn.Sequential(features, nn.Linear(12, classes))


for name in ("normed", "bare"):
    registry.register_architecture(f"two_process_networks:{name}")


def waves() -> Dataset:
    """60 records of four frequencies in noise, a third of them shorter than the window."""
    rng = np.random.default_rng(0)
    records = []
    for number in range(60):
        length, label = WINDOW - 31 * (number % 3 == 0), "NNNNAOO~"[number % 8]
        wave = 200 * np.sin(np.arange(length) * (0.1 + 0.25 * "NAO~".index(label)) + rng.uniform(0, 6))
        records.append(Record(f"R{number:02d}", np.rint(wave + rng.normal(0, 100, length)).astype("f4"), label=label))
    return build("waves", records, window=WINDOW)


def settings(case: str) -> TrainConfig:
    shared = dict(arch="two_process_networks:normed", epochs=2, batch=BATCH, eps=10.0, alpha=4.0, steps=2)
    numbers = dict(smooth_steps=2, learning_rate=1e-3, precision="float32", craft_precision="float32")
    return make_config(**{**shared, **numbers, **CASES[case]})


def judge(labels: np.ndarray, predicted: np.ndarray) -> dict[str, float]:
    return scores(labels, predicted, 4)


def trained(case: str, run: Path, judge=judge) -> Fitted:
    dataset = waves()
    config = settings(case)
    soft = torch.from_numpy(np.random.default_rng(1).dirichlet([0.7] * 4, len(dataset))).float()
    run.mkdir(exist_ok=True)
    return fit(
        config,
        dataset,
        split(dataset, seed=0),
        run,
        device=CPU,
        judge=judge,
        soft_labels=soft if config.row.teacher else None,
    )


class Failing:
    """A judge that fails in the second epoch."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, labels: np.ndarray, predicted: np.ndarray) -> dict[str, float]:
        self.calls += 1
        if self.calls == 2:
            raise InputError("records.csv: the second epoch")
        return scores(labels, predicted, 4)


def one_of_two(folder: Path) -> None:
    """What each of the two processes does; every file it writes has its number in front."""
    torch.set_num_threads(1)
    with distributed.processes(CPU):
        own = folder / f"{distributed.rank()}"
        for case in CASES:
            fitted = trained(case, folder / case)
            save_tensors(own.with_suffix(f".{case}.safetensors"), fitted.model.state_dict())
            own.with_suffix(f".{case}.json").write_text(json.dumps(fitted.log))
        failing = Failing()
        try:
            trained("sap", folder / "resumed", failing)
        except InputError as error:
            own.with_suffix(".error").write_text(f"{error}|{failing.calls}")
        save_tensors(own.with_suffix(".resumed.safetensors"), trained("sap", folder / "resumed").model.state_dict())
        save_tensors(own.with_suffix(".norm.safetensors"), normalised(distributed.share(BATCH)))


def normalised(rows: slice) -> dict[str, Tensor]:
    """Output, gradients and statistics of a BatchNorm in a network, for these rows of a batch."""
    generator = torch.Generator().manual_seed(0)
    x = (3 + 2 * torch.randn(BATCH, 5, 7, generator=generator, dtype=torch.float64))[rows].requires_grad_(True)
    weight = torch.randn(BATCH, 5, 7, generator=generator, dtype=torch.float64)[rows]
    norm = nn.BatchNorm1d(5, momentum=0.3, dtype=torch.float64)
    with torch.no_grad():
        norm.weight.copy_(torch.arange(1.0, 6.0))
    network = distributed.synchronised(nn.Sequential(norm), CPU)
    y = network(x)
    # A loss of which each process knows its own records' part; what the processes share comes back summed.
    (y.square() * weight).sum().backward()
    states = {name: value.detach().clone() for name, value in network.state_dict().items()}
    gradients = {f"{name}.grad": p.grad for name, p in network.named_parameters() if p.grad is not None}
    assert x.grad is not None
    return {"y": y.detach(), "x.grad": x.grad, **states, **gradients}


@pytest.fixture(scope="module")
def together(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that two processes have written."""
    folder = tmp_path_factory.mktemp("together")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shared = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": "2"}
    both = [
        subprocess.Popen(
            [sys.executable, __file__, folder],
            env={**os.environ, **shared, "RANK": str(rank)},
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    for process in both:
        _, errors = process.communicate(timeout=300)
        assert process.returncode == 0, errors
    return folder


@pytest.mark.parametrize("case", CASES)
def test_two_processes_train_the_network_of_one(together: Path, tmp_path: Path, case: str):
    dataset = waves()
    items = len(oversample(dataset, split(dataset, seed=0).train))
    assert items % BATCH > 2 and BATCH % 4 == 1, "shares are uneven, in the last batch too"
    alone = trained(case, tmp_path / "alone")
    weights, start = alone.model.state_dict(), untrained(case)
    first, second = (load_tensors(together / f"{rank}.{case}.safetensors") for rank in range(2))
    assert set(first) == set(weights)
    for name, value in weights.items():
        assert torch.equal(first[name], second[name])
        torch.testing.assert_close(first[name], value, rtol=1e-3, atol=1e-5)
        assert name.endswith("num_batches_tracked") or not torch.allclose(value, start[name], atol=1e-3)
    log = json.loads((together / f"0.{case}.json").read_text())
    assert [entry["loss"] for entry in log] == pytest.approx([entry["loss"] for entry in alone.log], rel=1e-5)
    assert [entry["validation"] for entry in log] == [entry["validation"] for entry in alone.log]


def untrained(case: str) -> dict[str, Tensor]:
    config = settings(case)
    seed = student_seed(config.seed) if config.row.teacher else config.seed
    return registry.build(config.arch, seed=seed, window=WINDOW).state_dict()


def test_a_failure_of_the_first_process_is_everybodys_and_the_run_resumes(together: Path):
    assert (together / "0.error").read_text() == "records.csv: the second epoch|2"
    assert (together / "1.error").read_text() == "records.csv: the second epoch|0"
    whole, resumed = (load_tensors(together / f"0.{name}.safetensors") for name in ("sap", "resumed"))
    assert all(torch.equal(value, resumed[name]) for name, value in whole.items())


def test_statistics_are_those_of_the_whole_batch(together: Path):
    whole = normalised(slice(None))
    parts = [load_tensors(together / f"{rank}.norm.safetensors") for rank in range(2)]
    assert len(parts[0]["y"]) != len(parts[1]["y"])
    for name, value in whole.items():
        if name in ("y", "x.grad"):
            actual = torch.cat([part[name] for part in parts])
        elif name.endswith(".grad"):
            actual = parts[0][name] + parts[1][name]
        else:
            actual = parts[1][name]
        torch.testing.assert_close(actual, value, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("shape", [(6, 3), (6, 3, 11), (2, 3, 4, 5)])
@pytest.mark.parametrize("options", [{}, {"momentum": None}, {"affine": False}, {"track_running_stats": False}])
def test_alone_the_whole_batch_is_ones_own(shape: tuple[int, ...], options: dict):
    kind = {2: nn.BatchNorm1d, 3: nn.BatchNorm1d, 4: nn.BatchNorm2d}[len(shape)]
    expected = kind(3, **options)
    actual = distributed.WholeBatchNorm.like(kind(3, **options))
    for _ in range(3):
        x = torch.randn(shape) * 5 + 2
        torch.testing.assert_close(actual(x), expected(x), rtol=1e-4, atol=1e-5)
    for name, value in expected.state_dict().items():
        torch.testing.assert_close(actual.state_dict()[name], value, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(actual.eval()(x), expected.eval()(x), rtol=1e-4, atol=1e-5)


def test_alone_nothing_is_changed():
    model, values = normed(4), torch.arange(4.0)
    assert distributed.synchronised(model, CPU) is model
    assert [type(module) for module in model.modules()].count(nn.BatchNorm1d) == 2
    assert distributed.replicated(model) is model
    assert distributed.summed(values) is values
    assert distributed.mean(values).item() == 1.5
    assert distributed.is_main() and distributed.share(7) == slice(0, 7)
    assert distributed.from_main(lambda: "mine") == "mine"
    with distributed.processes(CPU):
        assert distributed.world_size() == 1


@given(count=st.integers(1, 70), world=st.integers(1, 9))
def test_shares_make_up_the_batch(count: int, world: int):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(distributed, "world_size", lambda: world)
        shares = []
        for rank in range(world):
            patch.setattr(distributed, "rank", lambda rank=rank: rank)
            shares.append(distributed.share(count))
        least = distributed.least_batch()
    rows = [list(range(count))[own] for own in shares]
    assert [row for own in rows for row in own] == list(range(count))
    assert all(own.start % 2 == 0 for own in shares)
    assert max(map(len, rows)) - min(map(len, rows)) <= 3
    assert count < least or all(rows)
    assert steps_per_epoch(count, 70, least=least) == (count >= least or count == 1)


def test_too_few_records_for_the_processes_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(distributed, "world_size", lambda: 8)
    monkeypatch.setattr(distributed, "rank", lambda: 0)
    with pytest.raises(InputError, match=r"--batch 13: 8 processes need 15 records in a batch, not 13"):
        trained("clean", tmp_path / "run")


def test_a_device_is_the_one_that_torchrun_numbers(monkeypatch: pytest.MonkeyPatch):
    assert distributed.local_device("cpu") == CPU
    assert distributed.local_device("cuda") == torch.device("cuda", 0)
    monkeypatch.setenv("LOCAL_RANK", "3")
    assert distributed.local_device("cuda") == torch.device("cuda", 3)
    assert distributed.local_device("cpu") == CPU


if __name__ == "__main__":
    one_of_two(Path(sys.argv[1]))
