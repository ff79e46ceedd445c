"""Divergences are what the judges say, in whole codes, and can be read and judged anew from the file alone."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from edgeguard.errors import InputError
from edgeguard.evaluation.divergence_hunt import Party, divergence_summary, find_divergences
from edgeguard.evaluation.divergences import load_divergences, save_divergences

N, T = 9, 40
NAMES = [f"R{i}" for i in range(N)]


class Threshold(nn.Module):
    """Class 1 where the record's mean exceeds a level, microvolts."""

    def __init__(self, level: float) -> None:
        super().__init__()
        self.level = level

    def forward(self, ecg: Tensor) -> Tensor:
        above = ecg.mean((1, 2)) - self.level
        return torch.stack([-above, above], 1)


def party(name: str, level: float, judged: float | None = None) -> Party:
    """A network of one level, judged by another where one is given."""
    deployed = Threshold(level if judged is None else judged)

    @torch.no_grad()
    def judge(ecg: np.ndarray, labels: np.ndarray) -> np.ndarray:
        return deployed(torch.from_numpy(ecg)).argmax(1).numpy()

    return Party(name, Threshold(level), judge, sha256=name * 8)


@pytest.fixture
def batch() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Constant records at 0, 10, ... 80 uV, class 1 above 41."""
    ecg = np.repeat(np.arange(0, 10 * N, 10, dtype=np.float32)[:, None, None], T, axis=2)
    return ecg, (ecg.mean((1, 2)) > 41).astype(np.int64), np.ones(ecg.shape, bool)


def test_only_what_lies_between_the_levels_diverges(batch: tuple[np.ndarray, np.ndarray, np.ndarray]):
    """Of levels 41 and 47 the first is right from 41 to 47 uV if the class is 1, and the second if it is 0."""
    found = find_divergences(party("a", 41), party("b", 47), *batch, NAMES, eps=5.0)
    assert found.names.tolist() == ["R4", "R5"]
    # From 40 (class 0) up to 41 to 47 the second is right, from 50 (class 1) down to there the first.
    assert found.only_first.tolist() == [False, True]
    assert found.predicted.tolist() == [[1, 0], [1, 0]]
    means = found.adversarial.mean(1)
    assert ((means > 41) & (means < 47)).all()
    assert np.array_equal(found.adversarial, np.rint(found.adversarial))
    assert np.abs(found.adversarial - found.original).max() <= 5
    about = divergence_summary(found)
    assert about["only_first_right"]["value"] == about["only_second_right"]["value"] == pytest.approx(1 / N)
    assert about["either"]["value"] == pytest.approx(2 / N) and about["either"]["n"] == N


def test_the_judges_decide_not_the_networks(batch: tuple[np.ndarray, np.ndarray, np.ndarray]):
    """Networks that disagree, deployed as equals: no divergence. Equal networks, deployed apart: found as they are."""
    assert len(find_divergences(party("a", 41, 45), party("b", 47, 45), *batch, NAMES, eps=5.0).names) == 0
    found = find_divergences(party("a", 41), party("b", 41, 55), *batch, NAMES, eps=0.0)
    assert found.names.tolist() == ["R5"] and np.array_equal(found.adversarial, found.original)


def test_the_file_is_enough_to_judge_them_anew(batch: tuple[np.ndarray, np.ndarray, np.ndarray], tmp_path: Path):
    first, second = party("a", 41), party("b", 47)
    found = find_divergences(first, second, *batch, NAMES, eps=5.0)
    path = tmp_path / "w.npz"
    save_divergences(found, path, classes=("N", "A"), sampling_rate=300)
    with np.load(path, allow_pickle=False) as stored:
        assert stored["original"].dtype == stored["adversarial"].dtype == np.int16
        assert stored["sha256"].tolist() == ["a" * 8, "b" * 8]
        assert str(stored["unit"]) == "uV" and stored["classes"].tolist() == ["N", "A"]
    read = load_divergences(path)
    for field, value in vars(found).items():
        assert np.array_equal(getattr(read, field), value), field
    ecg = read.adversarial[:, None]
    anew = np.stack([one.judge(ecg, read.labels) for one in (first, second)], 1)
    assert np.array_equal(anew, read.predicted)


def test_samples_that_int16_would_change_stay_as_they_are(
    batch: tuple[np.ndarray, np.ndarray, np.ndarray], tmp_path: Path
):
    ecg, labels, mask = batch
    found = find_divergences(party("a", 41), party("b", 47), ecg + np.float32(0.5), labels, mask, NAMES, eps=5.0)
    save_divergences(found, tmp_path / "w.npz", classes=("N", "A"), sampling_rate=300)
    assert np.array_equal(load_divergences(tmp_path / "w.npz").original, found.original)


def test_nothing_found_is_a_file_too(batch: tuple[np.ndarray, np.ndarray, np.ndarray], tmp_path: Path):
    found = find_divergences(party("a", 41), party("b", 41), *batch, NAMES, eps=5.0)
    save_divergences(found, tmp_path / "w.npz", classes=("N", "A"), sampling_rate=300)
    read = load_divergences(tmp_path / "w.npz")
    assert read.adversarial.shape == (0, T) and read.predicted.shape == (0, 2) and read.tried == N


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut short", b"text"])
def test_another_file_is_refused(tmp_path: Path, content: bytes):
    path = tmp_path / "w.npz"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"w\.npz: no divergence witnesses"):
        load_divergences(path)
    with path.open("wb") as file:
        np.savez(file, schema="other/1")
    with pytest.raises(InputError, match="schema other/1"):
        load_divergences(path)
