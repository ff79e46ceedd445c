import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeguard.defenses.batches import Records, augment, epoch_order, steps_per_epoch
from edgeguard.ecg.dataset import Dataset


def test_records_on_a_device_are_those_of_the_data_set(dataset: Dataset):
    index = np.array([5, 0, 5, 47])
    ecg, mask, labels = Records(dataset, torch.device("cpu")).take(index)
    for taken, expected in zip((ecg, mask, labels), dataset.batch(index), strict=True):
        np.testing.assert_array_equal(taken.numpy(), expected)
        assert taken.numpy().dtype == expected.dtype


@given(count=st.integers(1, 90), batch=st.integers(2, 33), seed=st.integers(0, 9), epoch=st.integers(0, 9))
@settings(max_examples=60, deadline=None)
def test_an_epoch_takes_every_item_once_but_a_last_lonely_one(count: int, batch: int, seed: int, epoch: int):
    items = np.repeat(np.arange(count), 2)[:count] * 3
    parts = list(epoch_order(items, batch, seed, epoch))
    assert len(parts) == steps_per_epoch(count, batch)
    assert all(len(part) == batch for part in parts[:-1])
    assert all(len(part) >= 2 for part in parts) or count == 1
    lonely = count % batch == 1 and count > 1
    taken = np.concatenate(parts)
    assert len(taken) == count - lonely
    spare = np.bincount(items, minlength=300) - np.bincount(taken, minlength=300)
    assert spare.min() >= 0 and spare.sum() == lonely


def test_the_order_follows_seed_and_epoch():
    items = np.arange(50)

    def order(seed: int, epoch: int) -> list[int]:
        return np.concatenate(list(epoch_order(items, 8, seed, epoch))).tolist()

    assert order(0, 0) == order(0, 0)
    assert len({tuple(order(*each)) for each in [(0, 0), (0, 1), (1, 0), (1, 1)]}) == 4


def test_augmentation_turns_and_scales_each_record_with_its_padding():
    rng = np.random.default_rng(0)
    ecg = torch.from_numpy(rng.normal(0, 100, (40, 1, 90))).float()
    mask = torch.ones(40, 1, 90, dtype=torch.bool)
    mask[:, :, :11] = False
    ecg *= mask
    original = ecg.clone()
    out, valid = augment(ecg, mask, 20.0, torch.Generator().manual_seed(0))
    assert torch.equal(ecg, original)
    shifts, gains = [], []
    for row in range(40):
        assert not out[row][~valid[row]].any()
        shift = next(s for s in range(-20, 21) if torch.equal(torch.roll(mask[row], s, -1), valid[row]))
        turned = torch.roll(ecg[row], shift, -1)
        gain = float((out[row] * turned).sum() / (turned * turned).sum())
        torch.testing.assert_close(out[row], turned * gain, rtol=1e-5, atol=1e-3)
        shifts.append(shift)
        gains.append(gain)
    assert min(shifts) < -10 and max(shifts) > 10 and len(set(shifts)) > 15
    assert 0.7 <= min(gains) < 0.8 and 1.3 < max(gains) <= 1.4


def test_augmentation_follows_its_generator_alone():
    ecg, mask = torch.randn(4, 1, 60), torch.ones(4, 1, 60, dtype=torch.bool)
    state = torch.get_rng_state()
    first, second, other = (augment(ecg, mask, 20.0, torch.Generator().manual_seed(seed))[0] for seed in (1, 1, 2))
    assert torch.equal(first, second) and not torch.equal(first, other)
    assert torch.equal(torch.get_rng_state(), state)
