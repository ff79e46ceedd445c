"""The front end between the skin and the model as a torch module, so that an attack sees through it.

The coefficients are those of `edgeguard.ecg.front_end`, which the simulator runs sample by sample. Here the whole
signal is known, and every stage is one convolution in float64: without noise and clock error the samples are the
simulator's, unless the last bit of a sum decides a tie between two codes. Rounding passes the gradient straight
through (Bengio et al. 2013, arXiv 1308.3432), a rail none. To attack through transformations that can be
differentiated is Athalye et al. 2018 (arXiv 1707.07397).
"""

import numpy as np
import scipy.fft
import torch
from scipy.signal import sosfilt
from torch import Tensor, nn
from torch.nn import functional as F

from edgeguard.ecg.front_end import FrontEnd, Resampling, design_resampling


class ElectrodePath(nn.Module):
    """Microvolts at the skin [B, 1, n] to the samples that a model gets [B, 1, m], microvolts.

    Left out, since no attacker knows them: noise, drift and steps of the contact, the clock's error, lost packets;
    and fast restore, which only a signal at the amplifier's rail would start. The half-cell potential is there.

    Attributes:
        lag: samples at the model's rate by which resampling delays the signal; the filters' own delay comes on top.
    """

    def __init__(self, front_end: FrontEnd, source_rate: float, model_rate: float) -> None:
        """
        Args:
            source_rate: hertz of the signal at the skin.
            model_rate: hertz of the model.

        Raises InputError for a rate that is no number above 0, or a filter that the converter's rate cannot carry.
        """
        super().__init__()
        rate = front_end.rate(model_rate)
        self._front_end = front_end
        self._per_sample = rate / source_rate
        source, firmware = design_resampling(source_rate, rate), design_resampling(rate, model_rate)
        self._reach = source.delay * source.down // source.up + 8
        self._source = Resample(source, aligned=True)
        self._amplifier = CausalFilter(front_end.analogue_sections(rate))
        self._firmware = CausalFilter(front_end.firmware_sections(rate))
        self._to_model = Resample(firmware)
        self.lag = firmware.delay

    def forward(self, microvolts: Tensor) -> Tensor:
        """float32 [B, 1, m] microvolts of [B, 1, n] microvolts; as many seconds as the signal has."""
        held = F.pad(microvolts.double(), (0, self._reach), mode="replicate")
        volts = self._source(held)[..., : round(microvolts.shape[-1] * self._per_sample)]
        samples = self._to_model(self._filtered(self._converted(volts)))
        return samples.float()

    def _converted(self, volts: Tensor) -> Tensor:
        part, offset = self._front_end, self._front_end.electrode.offset
        volts = (volts + offset).clamp(-part.input_range, part.input_range)
        volts = self._amplifier(volts, settled=volts.new_tensor(offset))
        if not part.bits:
            return volts
        codes = volts / part.step
        codes = codes + (codes.round() - codes).detach()
        return codes.clamp(-(2.0 ** (part.bits - 1)), 2.0 ** (part.bits - 1) - 1) * part.step

    def _filtered(self, samples: Tensor) -> Tensor:
        return self._firmware(samples, settled=samples[..., :1])


class CausalFilter(nn.Module):
    """Second-order sections in series on signals that are known whole: one convolution by FFT.

    Within a signal of n samples an infinite impulse response reaches no further than n, so the first n values of it
    are all there is: nothing is truncated.
    """

    def __init__(self, sections: np.ndarray) -> None:
        """
        Args:
            sections: float64 [S, 6] of b0 b1 b2 1 a1 a2; S = 0 lets everything through.
        """
        super().__init__()
        self._sections = sections
        self._at_rest = float(np.prod(sections[:, :3].sum(1) / sections[:, 3:].sum(1)))
        self._spectra: dict[int, Tensor] = {}

    def forward(self, samples: Tensor, settled: Tensor) -> Tensor:
        """Float64 [..., n] of [..., n], after the level `settled` for ever."""
        if not len(self._sections):
            return samples
        count = samples.shape[-1]
        size = scipy.fft.next_fast_len(2 * count, real=True)
        moved = torch.fft.rfft(samples - settled, size) * self._spectrum(count, size)
        return torch.fft.irfft(moved, size)[..., :count] + settled * self._at_rest

    def _spectrum(self, count: int, size: int) -> Tensor:
        if count not in self._spectra:
            impulse = np.zeros(count)
            impulse[0] = 1.0
            self._spectra[count] = torch.fft.rfft(torch.from_numpy(sosfilt(self._sections, impulse)), size)
        return self._spectra[count]


class Resample(nn.Module):
    """A rational change of rate as a strided convolution: one channel for each of the filter's `up` phases."""

    weight: Tensor

    def __init__(self, design: Resampling, *, aligned: bool = False) -> None:
        """
        Args:
            aligned: leave out the first outputs, those that only the filter's lag makes.
        """
        super().__init__()
        self._design = design
        self._first = design.delay if aligned else 0
        # Output q * up + r is sum_j taps[r * down - j * up] x[q * down + j].
        phase = np.arange(design.up)[:, None] * design.down
        self._before = (len(design.taps) - 1) // design.up
        offset = np.arange(-self._before, (design.up - 1) * design.down // design.up + 1)
        tap = phase - offset * design.up
        known = (tap >= 0) & (tap < len(design.taps))
        weight = np.where(known, design.taps[np.where(known, tap, 0)], 0.0)
        self.register_buffer("weight", torch.from_numpy(weight)[:, None])

    def forward(self, samples: Tensor) -> Tensor:
        """Float64 [B, 1, m] of [B, 1, n], with zeros before the first sample."""
        design = self._design
        if design.up == design.down:
            return samples
        ready = -(-samples.shape[-1] * design.up // design.down)
        blocks = -(-ready // design.up)
        short = (blocks - 1) * design.down + self.weight.shape[-1] - self._before - samples.shape[-1]
        padded = F.pad(samples, (self._before, max(short, 0)))
        phases = F.conv1d(padded, self.weight, stride=design.down)[..., :blocks]
        return phases.transpose(1, 2).reshape(len(samples), 1, -1)[..., self._first : ready]
