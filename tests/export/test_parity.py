import copy

import numpy as np
import pytest
import torch

from edgeguard.ecg.dataset import Dataset
from edgeguard.export import parity
from edgeguard.export.exporter import Exported
from edgeguard.export.rung import Rung, as_json
from edgeguard.models.edge import EdgeNet
from edgeguard.runtime.session import open_model

Made = tuple[Exported, list[str]]


@pytest.fixture(scope="module")
def ecg(dataset: Dataset) -> np.ndarray:
    return dataset.batch(np.arange(24))[0]


def test_torch_and_file_agree(model: EdgeNet, exported: Made, ecg: np.ndarray):
    check = parity.float_parity(model, open_model(exported[0].fp32), ecg)
    assert check.holds and 0 <= check.figure < 1e-4 and "24 windows" in check.meaning


def test_a_network_that_is_another_is_found(model: EdgeNet, exported: Made, ecg: np.ndarray):
    """The figure is the largest difference over the largest logit."""
    other = copy.deepcopy(model)
    with torch.no_grad():
        other.head.bias[2] += 0.5
        largest = float(other(torch.from_numpy(ecg)).abs().max())
    check = parity.float_parity(other, open_model(exported[0].fp32), ecg)
    assert not check.holds and check.figure == pytest.approx(0.5 / largest, rel=1e-3)


class Judge:
    """Stands in for a file: names a class a row."""

    def __init__(self, classes: list[int]) -> None:
        self.classes = np.array(classes)

    def labels(self, ecg: np.ndarray) -> np.ndarray:
        return self.classes


def test_agreement_is_the_share_of_equal_classes():
    fp32 = Judge([0, 1, 2, 3] * 25)
    most = round(100 * (1 - parity.LABEL_AGREEMENT))
    assert 0 < most <= 10
    for wrong, holds in ((0, True), (most, True), (most + 1, False), (100, False)):
        int8 = Judge([(c + (i < wrong)) % 4 for i, c in enumerate(fp32.classes)])
        check = parity.int8_parity(fp32, int8, np.zeros((100, 1, 1)))  # type: ignore[arg-type]
        assert check.figure == pytest.approx(1 - wrong / 100) and check.holds is holds


def test_checks_as_json():
    check = Rung("a", True, 0.5, "half", "all of it")
    assert as_json([check]) == {"a": {"holds": True, "figure": 0.5, "meaning": "half", "note": "all of it"}}
