"""Files that others made, at small size: the twin's logits are ONNX Runtime's, in every bit."""

import numpy as np
import pytest
import torch
from foreign_graphs import FOREIGN, make, rows

from edgeguard.attacks.gradient import crafting, loss_and_gradient, pgd
from edgeguard.attacks.losses import margin
from edgeguard.export.twin import Twin, build_twin
from edgeguard.runtime.session import OnnxModel, open_model

# Of every network one file, of every mode of the quantiser one, of every layout one; the benchmark has all of them.
INTEGER = [
    "plain-s8s8-channel",
    "residual-u8u8-qoperator",
    "depthwise-s8s8-channel",
    "dilated-u8s8",
    "squeeze-excite-u8s8",
    "pools-u8u8-qoperator",
    "activations-u8s8",
    "batch-norms-u8s8",
    "matmul-head-s8s8",
    "wide-head-s8s8-channel",
    "softmax-u8s8",
    "layout-bt-mv",
    "layout-bcht",
    "batch-one",
    "int16-input",
    "plain-u16",
]


@pytest.fixture(scope="module", params=[*INTEGER, "layout-btc", "float-pools"])
def foreign(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, OnnxModel, Twin]:
    """A file, opened, and its twin."""
    name = request.param
    path = make(name, tmp_path_factory.mktemp("foreign"))
    model = open_model(path, sampling_rate=300, unit=FOREIGN[name].unit, classes="NAO~")
    return name, model, build_twin(model)


def test_logits_are_those_of_onnx_runtime(foreign: tuple[str, OnnxModel, Twin]):
    name, model, twin = foreign
    ecg = rows(61, seed=3)
    want = model.outputs(ecg)
    assert len(np.unique(want, axis=0)) > 10
    with torch.no_grad():
        together = twin.outputs(torch.from_numpy(ecg)).numpy()
        alone = torch.cat([twin.outputs(row[None]) for row in torch.from_numpy(ecg[:9])]).numpy()
    if FOREIGN[name].quantiser is None:
        assert np.abs(together - want).max() <= 1e-5 * np.ptp(want)
    else:
        np.testing.assert_array_equal(together, want)
        np.testing.assert_array_equal(alone, want[:9])


def test_gradients_lead_onnx_runtime_astray(foreign: tuple[str, OnnxModel, Twin]):
    """What raises the twin's margin loss raises the file's, by more than noise of the same strength does."""
    _, model, twin = foreign
    ecg = torch.from_numpy(rows(64, seed=5)[::4].round())
    mask, labels = torch.ones_like(ecg, dtype=torch.bool), twin(ecg).argmax(1)
    adversarial = pgd(twin, ecg, labels, mask, eps=60, alpha=15, steps=6, loss=margin).round()
    noise = ecg + 60 * torch.from_numpy(np.random.default_rng(0).choice([-1.0, 1.0], ecg.shape).astype(np.float32))

    def loss(rows: torch.Tensor) -> float:
        return float(margin(torch.from_numpy(model.logits(rows.numpy())), labels).mean())

    assert loss(adversarial) > max(loss(noise), loss(ecg))


def test_the_true_gradient_is_zero_where_the_file_rounds(foreign: tuple[str, OnnxModel, Twin]):
    name, _, twin = foreign
    ecg = torch.from_numpy(rows(2, seed=5))
    twin.gradient = "none"
    with crafting(twin) as forward:
        _, gradient = loss_and_gradient(forward, ecg, torch.tensor([0, 1]), margin)
    twin.gradient = "clipped"
    assert (gradient.abs().max() == 0) == (FOREIGN[name].quantiser is not None)
