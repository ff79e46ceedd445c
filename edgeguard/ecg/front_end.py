"""What lies between the skin and the model: electrode, amplifier, converter, firmware filters; as numbers.

The simulator runs these numbers forward, sample by sample; an attack at the electrode differentiates through
them. Both take the coefficients from here. Voltages are microvolts referred to the electrode.
"""

from dataclasses import dataclass, field, replace
from fractions import Fraction
from math import inf

import numpy as np
from scipy.signal import butter, firwin, iirnotch, tf2sos

from edgeguard.errors import InputError, unknown


@dataclass(frozen=True)
class Electrode:
    """What the contact adds to the heart's voltage; all zero: a perfect one.

    Attributes:
        offset: half-cell potential, microvolts.
        drift: 1/f drift between 1/128 and 2 Hz, microvolts RMS.
        noise: white contact noise, microvolts RMS.
        step: jumps of the offset when the contact moves, microvolts RMS.
        steps_per_hour: of these jumps.
        open_hum: mains that an open electrode picks up, microvolts of amplitude.
    """

    offset: float = 0.0
    drift: float = 0.0
    noise: float = 0.0
    step: float = 0.0
    steps_per_hour: float = 0.0
    open_hum: float = 5_000.0


@dataclass(frozen=True)
class FrontEnd:
    """One sensor with its driver's settings.

    Attributes:
        name: of the preset.
        sampling_rate: hertz of the converter; None: the model's.
        reference: converter's positive full scale in microvolts, before division by the gain.
        gain: of the amplifier.
        bits: of the converter; 0: no rounding and no end codes.
        input_range: electrode voltage that the input takes, microvolts either way.
        noise: input-referred noise of amplifier and converter, microvolts RMS.
        high_pass: corner of the analogue first-order high-pass in hertz; 0: DC-coupled.
        restore: corner in hertz to which the high-pass rises while the output is at a rail, and for
            `restore_hold` seconds after; 0: no fast restore.
        restore_hold: seconds.
        lead_off_rails: an open electrode is pulled to a rail (DC detection); else it hums (AC detection).
        lead_off_latency: seconds until the flag follows the contact, either way.
        clock_error: parts per million by which the converter samples too fast.
        fifo_depth: samples that the FIFO holds.
        fifo_threshold: samples at which it interrupts.
        firmware_high_pass: corner of the firmware's first-order high-pass in hertz; 0: none.
        firmware_low_pass: corner of its second-order Butterworth low-pass in hertz; 0: none.
        notch: mains frequency that it removes, hertz; 0: none.
        electrode: what the contact adds.
    """

    name: str
    sampling_rate: float | None
    reference: float
    gain: float
    bits: int
    input_range: float
    noise: float
    high_pass: float
    restore: float = 0.0
    restore_hold: float = 0.1
    lead_off_rails: bool = True
    lead_off_latency: float = 0.140
    clock_error: float = 20.0
    fifo_depth: int = 32
    fifo_threshold: int = 16
    firmware_high_pass: float = 0.0
    firmware_low_pass: float = 40.0
    notch: float = 50.0
    electrode: Electrode = field(default_factory=Electrode)

    @property
    def full_scale(self) -> float:
        """Microvolts, either way, at which amplifier and converter reach their rails."""
        return self.reference / self.gain

    @property
    def step(self) -> float:
        """Microvolts of one code; 0 without rounding."""
        return self.full_scale / 2 ** (self.bits - 1) if self.bits else 0.0

    def rate(self, model_rate: float) -> float:
        """Hertz of the converter before a model of `model_rate`."""
        return model_rate if self.sampling_rate is None else self.sampling_rate

    def analogue_sections(self, rate: float) -> np.ndarray:
        """The high-pass before the rails as second-order sections [S, 6], bilinear at `rate` hertz."""
        return high_pass_section(self.high_pass, rate) if self.high_pass else np.empty((0, 6))

    def firmware_sections(self, rate: float) -> np.ndarray:
        """The firmware's filters behind the FIFO as second-order sections [S, 6] at `rate` hertz.

        Raises InputError for a corner that the rate cannot carry.
        """
        sections = [np.empty((0, 6))]
        for corner in (self.firmware_low_pass, self.notch):
            if corner >= rate / 2:
                raise InputError(
                    f"front end {self.name}: a filter at {corner:g} Hz needs more than {rate:g} samples a second; "
                    "lower the corner or choose another preset"
                )
        if self.firmware_high_pass:
            sections.append(high_pass_section(self.firmware_high_pass, rate))
        if self.firmware_low_pass:
            sections.append(butter(2, self.firmware_low_pass, "lowpass", fs=rate, output="sos"))
        if self.notch:
            sections.append(tf2sos(*iirnotch(self.notch, _NOTCH_QUALITY, fs=rate)))
        return np.concatenate(sections)


@dataclass(frozen=True)
class Resampling:
    """A rational change of the sampling rate by one linear-phase filter.

    Output m is sum_i taps[m * down - i * up] x[i].

    Attributes:
        up: interpolation factor.
        down: decimation factor.
        taps: float64 [2 * delay * down + 1] at `up` times the input's rate, symmetric, sum `up`.
        delay: whole output samples by which the output lags.
    """

    up: int
    down: int
    taps: np.ndarray
    delay: int


def design_resampling(rate_in: float, rate_out: float) -> Resampling:
    """The filter between two rates: a Kaiser-windowed sinc (beta 5) of about 10 zero crossings either side.

    That is the design of `scipy.signal.resample_poly`, lengthened so that the delay is whole output samples.
    A ratio of large numbers (511.562 Hz) is approximated to better than 1 ppm, below any crystal's tolerance.

    Raises InputError for a rate that is not above 0, or a ratio beyond 1:100.
    """
    for rate in (rate_in, rate_out):
        if not 0 < rate < inf:
            raise InputError(f"sampling rate: {rate:g} Hz, a number above 0 needed; mend the rate")
    if not 0.01 <= rate_out / rate_in <= 100:
        raise InputError(f"sampling rate: {rate_in:g} to {rate_out:g} Hz is beyond 1:100; mend the rate")
    ratio = Fraction(rate_out / rate_in).limit_denominator(_LARGEST_DENOMINATOR)
    up, down = ratio.numerator, ratio.denominator
    if up == down:
        return Resampling(1, 1, np.ones(1), 0)
    widest = max(up, down)
    delay = -(-_ZERO_CROSSINGS * widest // down)
    taps = up * firwin(2 * delay * down + 1, 1 / widest, window=("kaiser", 5.0))
    return Resampling(up, down, taps, delay)


def high_pass_section(corner: float, rate: float) -> np.ndarray:
    """A first-order high-pass at `corner` hertz as one second-order section [1, 6]."""
    return butter(1, corner, "highpass", fs=rate, output="sos")


def find_front_end(name: str) -> FrontEnd:
    """A preset by its name; InputError for another name."""
    if name not in PRESETS:
        raise unknown("--front-end", name, PRESETS, problem="no such front end")
    return PRESETS[name]


_ZERO_CROSSINGS = 10
_LARGEST_DENOMINATOR = 2000
_NOTCH_QUALITY = 10.0

DRY_METAL = Electrode(offset=50_000.0, drift=60.0, noise=1.0, step=3_000.0, steps_per_hour=4.0)
"""A watch's crown and back plate; sizes chosen, well within the +-300 mV that the AD8233's sheet allows for."""

_MAX30003 = FrontEnd(
    name="max30003",
    sampling_rate=512.0,
    reference=1e6,
    gain=20.0,
    bits=18,
    input_range=650_000.0,
    noise=0.47,
    high_pass=0.5,
    electrode=DRY_METAL,
)
"""18 bits, V = code * 1 V / (2^17 * gain), FIFO of 32, lead flag after 140 ms (MAX30003 data sheet); noise 3.1 uVpp
over 6.6 and +-650 mV of electrode offset (MAX30001 data sheet, the same input stage)."""

PRESETS = {
    "ideal": FrontEnd(
        name="ideal",
        sampling_rate=None,
        reference=inf,
        gain=1.0,
        bits=0,
        input_range=inf,
        noise=0.0,
        high_pass=0.0,
        lead_off_latency=0.0,
        clock_error=0.0,
        firmware_low_pass=0.0,
        notch=0.0,
    ),
    "max30003": _MAX30003,
    "ads1292": replace(
        _MAX30003,
        name="ads1292",
        sampling_rate=500.0,
        reference=2.42e6,
        gain=6.0,
        bits=24,
        input_range=inf,
        noise=1.2,
        high_pass=0.0,
        firmware_high_pass=0.5,
    ),
    "ad8233-12bit": replace(
        _MAX30003,
        name="ad8233-12bit",
        reference=1.65e6,
        gain=100.0,
        bits=12,
        input_range=300_000.0,
        noise=2.0,
        restore=20.0,
        lead_off_rails=False,
    ),
}
"""`ideal`: nothing but the resampling that the rates ask for.

`ads1292`: DC-coupled, 24 bits, VREF 2.42 V, gain 6. The electrode's offset stays within +-403 mV and the firmware
removes it; the noise is its sheet's for gain 2, an upper bound at gain 6.

`ad8233-12bit`: gain 100 and +-300 mV of half-cell potential (AD8233 data sheet) before a 12-bit converter of 3.3 V:
8.06 microvolts a code, +-16.5 mV. Fast restore and AC lead-off detection as in the sheet; the corner of the restore,
its hold and the noise are chosen.
"""
