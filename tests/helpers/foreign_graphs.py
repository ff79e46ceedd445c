"""Small ECG classifiers as others make them: torch's exporters, ONNX Runtime's quantiser in all its modes."""

import logging
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from torch import Tensor, nn

WINDOW = 600
CLASSES = 4


class Lambda(nn.Module):
    """A function as a layer."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


class Residual(nn.Module):
    """x + body(x), then ReLU where asked."""

    def __init__(self, body: nn.Module, *, relu: bool = True, crop: int = 0) -> None:
        super().__init__()
        self.body, self.relu, self.crop = body, relu, crop

    def forward(self, x: Tensor) -> Tensor:
        skip = x[..., self.crop : -self.crop] if self.crop else x
        total = skip + self.body(x)
        return torch.relu(total) if self.relu else total


class SqueezeExcite(nn.Module):
    """x times a gate that its own mean opens."""

    def __init__(self, channels: int, gate: nn.Module) -> None:
        super().__init__()
        self.down, self.up, self.gate = nn.Conv1d(channels, 4, 1), nn.Conv1d(4, channels, 1), gate
        self.pool = nn.AdaptiveAvgPool1d(1)

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gate(self.up(torch.relu(self.down(self.pool(x)))))


class Branches(nn.Module):
    """Several layers side by side, joined in channels."""

    def __init__(self, *branches: nn.Module) -> None:
        super().__init__()
        self.branches = nn.ModuleList(branches)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([branch(x) for branch in self.branches], 1)


def _block(inside: int, outside: int, kernel: int, stride: int = 1, **options: Any) -> list[nn.Module]:
    return [nn.Conv1d(inside, outside, kernel, stride, **options), nn.ReLU()]


def _head(channels: int) -> list[nn.Module]:
    return [nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(channels, CLASSES)]


def plain() -> nn.Module:
    """Strided convolutions, each with a ReLU."""
    return nn.Sequential(*_block(1, 8, 9, 4), *_block(8, 16, 5, 2), *_block(16, 16, 3, 2), *_head(16))


def residual() -> nn.Module:
    """Additions: of equal shapes, of a cropped skip, without a ReLU, of a projection."""
    same = nn.Sequential(*_block(12, 12, 5, padding=2), nn.Conv1d(12, 12, 5, padding=2))
    cropped = nn.Sequential(nn.Conv1d(12, 12, 7))
    linear = nn.Conv1d(12, 12, 3, padding=1)
    blocks = [Residual(same), Residual(cropped, crop=3), Residual(linear, relu=False), nn.ReLU()]
    return nn.Sequential(*_block(1, 12, 8, 4), *blocks, *_head(12))


def depthwise() -> nn.Module:
    """Depthwise-separable convolutions, with and without an activation between."""
    first = [nn.Conv1d(16, 16, 5, 2, padding=2, groups=16), *_block(16, 24, 1)]
    second = [*_block(24, 24, 3, 2, groups=24), *_block(24, 32, 1)]
    return nn.Sequential(*_block(1, 16, 7, 3), *first, *second, *_block(32, 32, 3, groups=4), *_head(32))


def dilated() -> nn.Module:
    """Causal dilated convolutions: pads on one side only."""
    layers: list[nn.Module] = [*_block(1, 8, 5, 3)]
    for dilation in (1, 2, 4, 8):
        layers += [nn.ConstantPad1d((2 * dilation, 0), 0.0), *_block(8, 8, 3, dilation=dilation)]
    return nn.Sequential(*layers, nn.ConstantPad1d((3, 1), 0.0), *_block(8, 8, 4, 2), *_head(8))


def squeeze_excite() -> nn.Module:
    """Channel gates, by a logistic function and by its piecewise linear form."""
    gates = [SqueezeExcite(12, nn.Sigmoid()), *_block(12, 12, 3, 2), SqueezeExcite(12, nn.Hardsigmoid())]
    return nn.Sequential(*_block(1, 12, 9, 4), *gates, *_head(12))


def pools() -> nn.Module:
    """Maximum and average pools, side by side and one after another."""
    both = Branches(nn.MaxPool1d(3, 2, padding=1), nn.AvgPool1d(3, 2, padding=1), nn.Conv1d(8, 8, 3, 2, padding=1))
    last = nn.AvgPool1d(4, 2, padding=1, count_include_pad=False)
    return nn.Sequential(*_block(1, 8, 7, 2), both, *_block(24, 16, 3), nn.MaxPool1d(2), last, *_head(16))


def activations() -> nn.Module:
    """LeakyReLU, ReLU6, tanh, HardSwish, logistic."""
    return nn.Sequential(
        *(nn.Conv1d(1, 8, 7, 3), nn.LeakyReLU(0.1), nn.Conv1d(8, 8, 3), nn.ReLU6()),
        *(nn.Conv1d(8, 8, 3, 2), nn.Tanh(), nn.Conv1d(8, 8, 3), nn.Hardswish()),
        *(nn.Conv1d(8, 8, 3), nn.Sigmoid(), *_head(8)),
    )


def batch_norms() -> nn.Module:
    """Normalisation before the activation, where it cannot be folded into a convolution."""
    blocks = [nn.BatchNorm1d(8), nn.ReLU(), nn.Conv1d(8, 12, 5, 2), nn.ReLU(), nn.BatchNorm1d(12)]
    model = nn.Sequential(nn.Conv1d(1, 8, 7, 3), nn.ReLU(), *blocks, nn.Conv1d(12, 12, 3), nn.ReLU(), *_head(12))
    for layer in model.modules():
        if isinstance(layer, nn.BatchNorm1d):
            assert layer.running_mean is not None and layer.running_var is not None
            nn.init.uniform_(layer.weight, 0.5, 1.5)
            nn.init.normal_(layer.bias, 0, 0.3)
            nn.init.normal_(layer.running_mean, 0, 0.3)
            nn.init.uniform_(layer.running_var, 0.3, 2)
    return model


class MatMulHead(nn.Module):
    """Features times a matrix, plus a vector, on time-major features."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(*_block(1, 8, 9, 4), *_block(8, 16, 5, 2))
        self.mix, self.head = nn.Parameter(torch.randn(16, 12) / 4), nn.Parameter(torch.randn(12, CLASSES) / 3)
        self.offset = nn.Parameter(torch.randn(CLASSES))

    def forward(self, x: Tensor) -> Tensor:
        features = torch.relu(self.stem(x).transpose(1, 2) @ self.mix)
        return features.mean(1) @ self.head + self.offset


def softmax_end() -> nn.Module:
    """Probabilities instead of logits, as many a file has them."""
    return nn.Sequential(*_block(1, 8, 9, 4), *_block(8, 16, 5, 2), *_head(16), nn.Softmax(1))


def wide_head() -> nn.Module:
    """Two dense layers on flattened features."""
    stem = [*_block(1, 4, 9, 8), *_block(4, 4, 5, 4), nn.Flatten()]
    return nn.Sequential(*stem, nn.LazyLinear(20), nn.ReLU(), nn.Linear(20, CLASSES))


LAYOUTS: dict[str, tuple[tuple[int, ...], Callable[[Tensor], Tensor]]] = {
    "BCT": ((1, WINDOW), lambda x: x),
    "BT": ((WINDOW,), lambda x: x.unsqueeze(1)),
    "BTC": ((WINDOW, 1), lambda x: x.transpose(1, 2)),
    "BCHT": ((1, 1, WINDOW), lambda x: x.squeeze(1)),
}
"""Input shapes without the batch, and what makes [B, 1, T] of them."""


@dataclass(frozen=True)
class Foreign:
    """How somebody made a file.

    Attributes:
        network: makes the torch network.
        quantiser: options of ONNX Runtime's `quantize_static`; None for a float file.
        extra: its `extra_options`.
        layout: of LAYOUTS.
        unit: of the input.
        integer: int16 samples.
        fixed: a batch of one, hard-coded.
        dynamo: torch's newer exporter.
        opset: of the file.
    """

    network: Callable[[], nn.Module]
    quantiser: dict[str, Any] | None = field(default_factory=dict)
    extra: dict[str, Any] = field(default_factory=dict)
    layout: str = "BCT"
    unit: str = "uV"
    integer: bool = False
    fixed: bool = False
    dynamo: bool = False
    opset: int = 17

    @property
    def microvolts(self) -> float:
        """Microvolts in the file's unit."""
        return {"uV": 1.0, "mV": 1e3}[self.unit]


_U8S8 = dict(activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8)
_S8S8 = dict(activation_type=QuantType.QInt8, weight_type=QuantType.QInt8)
_U8U8 = dict(activation_type=QuantType.QUInt8, weight_type=QuantType.QUInt8)
_A16 = dict(activation_type=QuantType.QUInt16, weight_type=QuantType.QInt8)
_PER_CHANNEL = dict(per_channel=True)
_OPERATORS = dict(quant_format=QuantFormat.QOperator)

FOREIGN: dict[str, Foreign] = {
    "plain-u8s8": Foreign(plain, _U8S8),
    "plain-s8s8-channel": Foreign(plain, _S8S8 | _PER_CHANNEL),
    "plain-u8u8-qoperator": Foreign(plain, _U8U8 | _OPERATORS),
    "plain-u16": Foreign(plain, _A16, opset=21),
    "residual-u8s8-channel": Foreign(residual, _U8S8 | _PER_CHANNEL, dynamo=True, opset=21),
    "residual-s8s8": Foreign(residual, _S8S8, opset=13),
    "residual-u8u8-qoperator": Foreign(residual, _U8U8 | _OPERATORS),
    "depthwise-s8s8-channel": Foreign(depthwise, _S8S8 | _PER_CHANNEL),
    "depthwise-u8u8": Foreign(depthwise, _U8U8),
    "dilated-u8s8": Foreign(dilated, _U8S8),
    "dilated-s8s8-symmetric": Foreign(dilated, _S8S8 | _PER_CHANNEL, {"ActivationSymmetric": True}),
    "squeeze-excite-u8s8": Foreign(squeeze_excite, _U8S8 | _PER_CHANNEL),
    "squeeze-excite-s8s8": Foreign(squeeze_excite, _S8S8),
    "squeeze-excite-u8s8-qoperator": Foreign(squeeze_excite, _U8S8 | _OPERATORS),
    "pools-u8s8": Foreign(pools, _U8S8),
    "pools-u8u8-qoperator": Foreign(pools, _U8U8 | _OPERATORS),
    "activations-u8s8": Foreign(activations, _U8S8),
    "activations-s8s8-channel": Foreign(activations, _S8S8 | _PER_CHANNEL, dynamo=True, opset=18),
    "activations-u8u8-qoperator": Foreign(activations, _U8U8 | _OPERATORS),
    "batch-norms-u8s8": Foreign(batch_norms, _U8S8),
    "matmul-head-s8s8": Foreign(MatMulHead, _S8S8),
    "matmul-head-u8s8-qoperator": Foreign(MatMulHead, _U8S8 | _OPERATORS),
    "wide-head-s8s8-channel": Foreign(wide_head, _S8S8 | _PER_CHANNEL),
    "wide-head-u8u8-qoperator": Foreign(wide_head, _U8U8 | _OPERATORS),
    "softmax-u8s8": Foreign(softmax_end, _U8S8),
    "layout-bt-mv": Foreign(plain, _U8S8, layout="BT", unit="mV"),
    "layout-btc": Foreign(plain, _S8S8, layout="BTC"),
    "layout-bcht": Foreign(residual, _U8U8, layout="BCHT"),
    "batch-one": Foreign(wide_head, _U8S8, fixed=True),
    "int16-input": Foreign(plain, _U8S8, integer=True),
    "float-plain": Foreign(plain, None),
    "float-activations": Foreign(activations, None, dynamo=True, opset=18),
    "float-pools": Foreign(pools, None, layout="BT", unit="mV"),
}


def make(name: str, folder: Path) -> Path:
    """The file that FOREIGN[name] describes."""
    recipe, path = FOREIGN[name], folder / f"{name}.onnx"
    shape, arrange = LAYOUTS[recipe.layout]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        body = recipe.network()
        gain = recipe.microvolts / 300
        model = nn.Sequential(Lambda(lambda x: arrange(x.float() if recipe.integer else x) * gain), body).eval()
        example = torch.zeros(1, *shape, dtype=torch.int16 if recipe.integer else torch.float32)
        model(example)
        _spread(model, torch.from_numpy(feeds(recipe, rows(24, seed=1))))
    options: dict[str, Any] = {"opset_version": recipe.opset, "input_names": ["signal"], "output_names": ["scores"]}
    if recipe.dynamo:
        options |= {"dynamo": True, "dynamic_shapes": None if recipe.fixed else ({0: torch.export.Dim("batch")},)}
        options |= {"verbose": False, "external_data": False}
        example = example.expand(2, *shape).clone()
    else:
        options |= {
            "dynamo": False,
            "dynamic_axes": None if recipe.fixed else {name: {0: "batch"} for name in ("signal", "scores")},
        }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.onnx.export(model, (example,), path, **options)
    if recipe.quantiser is None:
        return path
    float_path = path.rename(path.with_suffix(".float.onnx"))
    reader = _Reader(feeds(recipe, rows(24, seed=1)))
    log = logging.getLogger()
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        quantize_static(float_path, path, reader, **recipe.quantiser, extra_options=dict(recipe.extra))
    finally:
        log.setLevel(level)
    onnx.checker.check_model(path)
    return path


@torch.no_grad()
def _spread(model: nn.Module, samples: Tensor) -> None:
    """Scale every layer so that its output varies by about one, and centre the scores: what nothing moves shows no
    difference."""
    for layer in model.modules():
        if isinstance(layer, nn.Conv1d | nn.Linear):
            seen: list[Tensor] = []
            handle = layer.register_forward_hook(lambda _layer, _inputs, output, seen=seen: seen.append(output))
            model(samples)
            handle.remove()
            factor = 1.5 / seen[0].std((0, *range(2, seen[0].dim()))).mean()
            if isinstance(layer, nn.Linear) and layer.bias is not None:
                layer.bias -= factor * (seen[0] - layer.bias).mean(0)
            layer.weight *= factor


class _Reader(CalibrationDataReader):
    def __init__(self, samples: np.ndarray) -> None:
        self.samples: Iterator[np.ndarray] = iter(samples)

    def get_next(self) -> dict[str, np.ndarray] | None:
        row = next(self.samples, None)
        return None if row is None else {"signal": row[None]}


def feeds(recipe: Foreign, ecg: np.ndarray) -> np.ndarray:
    """ecg [B, 1, T] in microvolts as the file takes it."""
    samples = (ecg / np.float32(recipe.microvolts)).reshape(len(ecg), *LAYOUTS[recipe.layout][0])
    return samples.astype(np.int16) if recipe.integer else samples.astype(np.float32)


def rows(count: int, *, seed: int = 0, window: int = WINDOW) -> np.ndarray:
    """float32 [count, 1, window] microvolts: beats in noise, uniform noise, extremes, in turn."""
    rng = np.random.default_rng(seed)
    time = np.arange(window)
    found = []
    for number in range(count):
        rate, phase = rng.uniform(60, 250), rng.uniform(0, 250)
        beats = np.exp(-(((time + phase) % rate - rate / 2) ** 2) / rng.uniform(4, 60)) * rng.uniform(200, 1500)
        found.append(
            (
                beats + rng.normal(0, rng.uniform(5, 60), window),
                rng.uniform(-1000, 1000, window),
                rng.normal(0, 10 ** rng.uniform(0, 3.5), window),
                np.where(rng.random(window) < rng.random(), -1, 1) * 10 ** rng.uniform(0, 4),
            )[number % 4 if number > 3 else 0]
        )
    return np.stack(found)[:, None].astype(np.float32)
