"""What a stage is fed with, beside order and augmentation, which `test_batches` looks at."""

from collections.abc import Callable

import numpy as np
import pytest
import torch

from edgeguard.defenses.batches import Records
from edgeguard.defenses.config import TrainConfig
from edgeguard.defenses.distortions import Distorter
from edgeguard.defenses.feed import Feed, labelling
from edgeguard.ecg.dataset import Dataset
from edgeguard.models.registry import build

MakeConfig = Callable[..., TrainConfig]
CPU = torch.device("cpu")


def feed(config: TrainConfig, dataset: Dataset, **parts: object) -> Feed:
    records = Records(dataset, CPU)
    return Feed(config, records, records.labels, np.arange(len(dataset)), 0, **parts)


@pytest.mark.parametrize("temperature", [1.0, 3.0])
def test_a_teacher_labels_the_record_that_the_student_sees(config: MakeConfig, dataset: Dataset, temperature: float):
    """Against its own forward on the batch, in eval mode; its statistics and its mode stay as they were."""
    settings = config(defense="adt", views=True, temperature=temperature)
    teacher = build("tiny_networks:dropout", window=dataset.window, seed=5)
    for _ in range(3):
        teacher.train()(torch.randn(8, 1, dataset.window) * 200)
    before = {name: value.clone() for name, value in teacher.state_dict().items()}
    distorter = Distorter(dataset.window, dataset.sampling_rate, CPU)
    seen = []
    for batch, _ in feed(settings, dataset, distorter=distorter, teacher=labelling([teacher], settings)).batches(0):
        expected = torch.softmax(teacher.eval()(batch.ecg) / temperature, 1)
        torch.testing.assert_close(batch.target, expected.detach(), rtol=1e-4, atol=1e-5)
        assert not batch.target.requires_grad
        seen.append(batch.target)
    assert all(torch.equal(value, before[name]) for name, value in teacher.state_dict().items())
    assert torch.cat(seen).std(0).min() > 0


def test_several_teachers_label_by_the_mean_of_their_probabilities(config: MakeConfig, dataset: Dataset):
    settings = config(defense="adt", views=True, temperature=2.0)
    teachers = [build("tiny_networks:plain", window=dataset.window, seed=seed) for seed in (5, 6)]
    both, first, second = (labelling(some, settings) for some in (teachers, teachers[:1], teachers[1:]))
    ecg = torch.randn(8, 1, dataset.window) * 200
    torch.testing.assert_close(both(ecg), (first(ecg) + second(ecg)) / 2)
    assert not torch.allclose(first(ecg), second(ecg), atol=1e-3)


def test_every_record_draws_its_share_of_eps_from_the_spread(config: MakeConfig, dataset: Dataset):
    settings = config(defense="at", eps_spread=0.75)
    one = feed(settings, dataset)
    first, again, later = ([batch.share for batch, _ in one.batches(epoch)] for epoch in (4, 4, 5))
    for batch, _ in one.batches(4):
        assert batch.share is not None and batch.share.shape == (len(batch.ecg), 1, 1)
    together = torch.cat(first)
    assert torch.equal(together, torch.cat(again)) and not torch.equal(together, torch.cat(later))
    many = torch.cat([batch.share for epoch in range(40) for batch, _ in one.batches(epoch)]).flatten()
    assert 0.25 <= many.min() < 0.27 and 0.98 < many.max() <= 1
    assert many.mean() == pytest.approx(0.625, abs=4 * 0.75 / (12 * len(many)) ** 0.5)


@pytest.mark.parametrize("changes", [{"defense": "at", "eps_spread": 0.0}, {"defense": "none", "eps_spread": 1.0}])
def test_without_a_spread_or_an_attack_there_is_no_share(config: MakeConfig, dataset: Dataset, changes: dict):
    assert all(batch.share is None for batch, _ in feed(config(**changes), dataset).batches(0))


def test_distortions_follow_seed_and_epoch_and_keep_the_order(config: MakeConfig, dataset: Dataset):
    settings = config(distort=True)
    plain, distorted = (
        feed(settings, dataset, distorter=distorter)
        for distorter in (None, Distorter(dataset.window, dataset.sampling_rate, CPU))
    )
    first, again, later = ([batch for batch, _ in distorted.batches(epoch)] for epoch in (4, 4, 5))
    for one, same, other, undistorted in zip(first, again, later, (b for b, _ in plain.batches(4)), strict=True):
        assert torch.equal(one.ecg, same.ecg) and not torch.equal(one.ecg, other.ecg)
        assert torch.equal(one.target, undistorted.target) and not torch.equal(one.ecg, undistorted.ecg)
        assert torch.equal(one.ecg * one.mask, one.ecg)
