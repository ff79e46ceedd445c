"""The 13-layer CNN of the ADT paper, as Han et al. ported it to PyTorch."""

import torch
from torch import Tensor, nn

# (in, out, kernel, dilation, padding, pooled)
_LAYERS = (
    (1, 320, 24, 1, 11, True),
    (320, 256, 16, 2, 15, False),
    (256, 256, 16, 4, 30, False),
    (256, 256, 16, 4, 30, False),
    (256, 256, 16, 4, 30, False),
    (256, 128, 8, 4, 14, True),
    (128, 128, 8, 6, 21, False),
    (128, 128, 8, 6, 21, False),
    (128, 128, 8, 6, 21, False),
    (128, 128, 8, 6, 21, False),
    (128, 128, 8, 8, 28, True),
    (128, 64, 8, 8, 28, False),
    (64, 64, 8, 8, 28, False),
)


class StridedMaxPool(nn.MaxPool1d):
    """Han's pooling: y[j] = max(a[2j - 1], a[2j + 1]); activations at even places are never read."""

    def __init__(self) -> None:
        super().__init__(kernel_size=2, stride=2, padding=1, dilation=2)


class CNN13(nn.Module):
    """Raw counts (microvolts) [B, 1, T] to logits [B, classes]: 5,486,916 parameters, 22.9 GMAC at T = 9000.

    Source: Han et al. 2020, `model/CNN.py` in XintianHan/ADV_ECG, after Goodfellow et al. 2018.
    """

    least_window = 2
    """Samples of the shortest window: the first convolution pads 22 and is 24 wide."""

    def __init__(self, classes: int = 4) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for inputs, outputs, kernel, dilation, padding, pooled in _LAYERS:
            layers += [
                nn.Conv1d(inputs, outputs, kernel, padding=padding, dilation=dilation),
                nn.BatchNorm1d(outputs),
                nn.ReLU(),
            ]
            if pooled:
                layers.append(StridedMaxPool())
            layers.append(nn.Dropout(0.3))
        self.features = nn.Sequential(*layers)
        self.pool = nn.AdaptiveAvgPool1d(1)
        self.head = nn.Linear(64, classes)

    def forward(self, ecg: Tensor) -> Tensor:
        return self.head(torch.flatten(self.pool(self.features(ecg)), 1))
