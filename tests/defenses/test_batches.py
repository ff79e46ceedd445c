import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeguard.defenses import batches
from edgeguard.defenses.batches import Records, draw_epoch, epoch_order, steps_per_epoch
from edgeguard.ecg.dataset import Dataset, build
from edgeguard.ecg.record import Record

CPU = torch.device("cpu")


def test_records_on_a_device_are_those_of_the_data_set(dataset: Dataset):
    index = np.array([5, 0, 5, 47])
    ecg, mask, labels = Records(dataset, CPU).take(index)
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


def test_augmentation_turns_and_scales_each_record_with_its_padding(dataset: Dataset):
    records, index = Records(dataset, CPU), np.arange(len(dataset))
    ecg, mask, labels = records.take(index)
    drawn = draw_epoch(records, index, augment=True, seed=0, epoch=0)
    out, valid, same_labels = records.take(drawn.order, drawn.shift, drawn.gain)
    assert torch.equal(labels, same_labels)
    for row, (shift, gain) in enumerate(zip(drawn.shift.tolist(), drawn.gain, strict=True)):
        assert torch.equal(out[row], torch.roll(ecg[row], shift, -1) * gain)
        assert torch.equal(valid[row], torch.roll(mask[row], shift, -1))
    again, _, _ = records.take(index)
    assert torch.equal(again, ecg)


@pytest.mark.parametrize("window", [40, 240, 700])
def test_a_turn_of_any_length_goes_round(window: int):
    """Also where a second, 300 samples, is several windows long."""
    rng = np.random.default_rng(window)
    rows = [rng.integers(-900, 900, length).astype(np.float32) for length in (window, window // 2, window + 9)]
    noise = build("noise", [Record(f"R{i}", row, label="N") for i, row in enumerate(rows)], window=window)
    records = Records(noise, CPU)
    ecg, mask, _ = records.take(np.arange(3))
    for shift in (-300, -299, -window, -1, 0, 1, window // 2, window, 299, 300):
        if abs(shift) <= 300:
            turned, valid, _ = records.take(np.arange(3), torch.full((3,), shift))
            assert torch.equal(turned, torch.roll(ecg, shift, -1))
            assert torch.equal(valid, torch.roll(mask, shift, -1))


def test_a_gap_stays_out_of_the_mask_and_turns_with_its_record():
    rows = [np.arange(1.0, 61.0, dtype=np.float32) for _ in range(3)]
    rows[0][5:9] = rows[0][50:60] = rows[2][0:3] = np.nan
    data = build("gaps", [Record(f"R{i}", row, label="N") for i, row in enumerate(rows)], window=60)
    records, index = Records(data, CPU), np.arange(3)
    ecg, mask, _ = records.take(index)
    np.testing.assert_array_equal(mask.numpy(), data.mask(index))
    assert mask.sum(2).flatten().tolist() == [46, 60, 57] and (ecg[~mask] == 0).all()
    for shift in (-300, -7, 1, 59, 61):
        turned, valid, _ = records.take(index, torch.full((3,), shift))
        assert torch.equal(turned, torch.roll(ecg, shift, -1)) and torch.equal(valid, torch.roll(mask, shift, -1))


def test_shifts_and_gains_fill_their_ranges(dataset: Dataset):
    records = Records(dataset, CPU)
    drawn = draw_epoch(records, np.zeros(4000, np.int64), augment=True, seed=0, epoch=0)
    assert (drawn.shift.min(), drawn.shift.max()) == (-300, 300)
    assert 0.7 <= drawn.gain.min() < 0.71 and 1.39 < drawn.gain.max() <= 1.4
    assert abs(drawn.shift.double().mean()) < 10 and abs(drawn.gain.mean() - 1.05) < 0.01
    assert drawn.gain.dtype == torch.float32


def test_augmentation_follows_seed_and_epoch_alone(dataset: Dataset):
    records, order = Records(dataset, CPU), np.arange(30)

    def shifts(seed: int, epoch: int) -> list[int]:
        return draw_epoch(records, order, augment=True, seed=seed, epoch=epoch).shift.tolist()

    assert shifts(0, 0) == shifts(0, 0)
    assert len({tuple(shifts(*each)) for each in [(0, 0), (0, 1), (1, 0), (1, 1)]}) == 4
    plain = draw_epoch(records, order, augment=False, seed=0, epoch=0)
    assert not plain.shift.any() and plain.gain.eq(1).all()


def test_batches_keep_each_item_with_its_draws(dataset: Dataset):
    drawn = draw_epoch(Records(dataset, CPU), np.arange(10) * 3, augment=True, seed=0, epoch=0)
    parts = list(drawn.batches(4))
    assert [len(order) for order, _, _ in parts] == [4, 4, 2]
    for whole, pieces in zip((drawn.order, drawn.shift, drawn.gain), zip(*parts, strict=True), strict=True):
        assert torch.equal(torch.cat(pieces), whole)


@pytest.mark.parametrize(("free", "home"), [(100_000, "cuda"), (10_000, "cpu")])
def test_records_stay_on_the_host_where_the_device_has_no_room(monkeypatch: pytest.MonkeyPatch, free: int, home: str):
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (free, 10**9))
    assert batches._home(40_000, torch.device("cuda")).type == home
    assert batches._home(40_000, CPU) == CPU
