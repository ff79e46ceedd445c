import errno
import os
from pathlib import Path

import pytest
import torch
from torch import nn

from edgeguard.defenses import checkpoint
from edgeguard.errors import InputError

Pair = tuple[nn.Module, torch.optim.Optimizer]


def fresh(seed: int) -> Pair:
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(3, 5), nn.BatchNorm1d(5), nn.Linear(5, 2))
    return model, torch.optim.AdamW(model.parameters(), lr=0.1)


def step(pair: Pair, seed: int) -> None:
    model, optimizer = pair
    inputs = torch.randn(8, 3, generator=torch.Generator().manual_seed(seed))
    optimizer.zero_grad()
    model.train()(inputs).square().sum().backward()
    optimizer.step()


def trained(run: Path, epochs: int) -> Pair:
    """A pair trained for some epochs, with a checkpoint after each."""
    pair = fresh(0)
    for epoch in range(epochs):
        step(pair, epoch)
        checkpoint.save(run, *pair, [{"epoch": e + 1} for e in range(epoch + 1)])
    return pair


def same(first: nn.Module, second: nn.Module) -> bool:
    other = second.state_dict()
    return all(torch.equal(value, other[name]) for name, value in first.state_dict().items())


def files(run: Path) -> list[str]:
    return sorted(p.name for p in (run / checkpoint.FOLDER).iterdir())


def test_training_goes_on_as_if_never_stopped(tmp_path: Path):
    pair, restored = trained(tmp_path, 2), fresh(1)
    assert checkpoint.restore(tmp_path, *restored) == [{"epoch": 1}, {"epoch": 2}]
    assert same(pair[0], restored[0])
    for number in range(3):
        step(pair, 10 + number)
        step(restored, 10 + number)
    assert same(pair[0], restored[0])


def test_without_a_checkpoint_nothing_is_touched(tmp_path: Path):
    pair, twin = fresh(1), fresh(1)
    assert checkpoint.restore(tmp_path, *pair) == []
    assert same(pair[0], twin[0])


def test_the_last_two_are_kept(tmp_path: Path):
    trained(tmp_path, 4)
    stems = ("epoch-0003", "epoch-0004")
    assert files(tmp_path) == sorted(f"{stem}{end}" for stem in stems for end in (".json", ".safetensors"))
    checkpoint.remove(tmp_path)
    assert not (tmp_path / checkpoint.FOLDER).exists()
    checkpoint.remove(tmp_path)


@pytest.mark.parametrize("damage", ["cut tensors", "no tensors", "cut log", "other network"])
def test_a_damaged_checkpoint_is_passed_over_for_the_one_before(tmp_path: Path, damage: str):
    before = trained(tmp_path / "short", 1)
    trained(tmp_path, 2)
    tensors = tmp_path / checkpoint.FOLDER / "epoch-0002.safetensors"
    match damage:
        case "cut tensors":
            tensors.write_bytes(tensors.read_bytes()[:-50])
        case "no tensors":
            tensors.unlink()
        case "cut log":
            tensors.with_suffix(".json").write_text('[{"epoch": 1}, {"ep')
        case "other network":
            checkpoint.save_tensors(tensors, {"model.0.weight": torch.zeros(5, 3)})
    restored = fresh(1)
    assert checkpoint.restore(tmp_path, *restored) == [{"epoch": 1}]
    assert same(before[0], restored[0])


def test_where_all_are_damaged_the_network_stays_fresh(tmp_path: Path):
    trained(tmp_path, 2)
    for path in (tmp_path / checkpoint.FOLDER).glob("*.safetensors"):
        checkpoint.save_tensors(path, {"model.0.weight": torch.zeros(5, 3)})
    pair, twin = fresh(1), fresh(1)
    assert checkpoint.restore(tmp_path, *pair) == []
    assert same(pair[0], twin[0])


@pytest.mark.parametrize("writes", [0, 1], ids=["tensors", "log"])
def test_a_full_disk_leaves_the_checkpoint_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, writes: int):
    pair = trained(tmp_path, 1)
    before = files(tmp_path)
    state = {name: value.clone() for name, value in pair[0].state_dict().items()}
    step(pair, 5)
    left = [writes]
    sync = os.fsync

    def full(descriptor: int) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        sync(descriptor)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(InputError, match=r"No space left on device.*free space"):
            checkpoint.save(tmp_path, *pair, [{"epoch": 1}, {"epoch": 2}])
    assert [name for name in files(tmp_path) if name != "epoch-0002.safetensors"] == before
    restored = fresh(1)
    assert checkpoint.restore(tmp_path, *restored) == [{"epoch": 1}]
    assert all(torch.equal(value, state[name]) for name, value in restored[0].state_dict().items())
