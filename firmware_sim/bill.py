"""The bill: what a classifier file costs a watch in flash, memory, time and energy. An estimate, not a measurement.

Work and bytes are counted from the file (`edgeguard.runtime.cost`). Time and energy are these counts times what MLPerf
Tiny submissions measured for whole int8 networks, so quantising, pooling and adding are in them. The low end of every
range is a network of dense convolutions, the high end one that begins with a single channel and goes on depthwise.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from math import inf
from pathlib import Path
from typing import Any

from edgeguard.errors import InputError, unknown
from edgeguard.firmware_sim.engine import hop_samples
from edgeguard.firmware_sim.fifo import DEPTH, THRESHOLD
from edgeguard.firmware_sim.mcu import Mcu, Range, constants, find_mcu, mcus
from edgeguard.runtime.cost import FileCost, file_cost
from edgeguard.runtime.loading import ModelFile, read_model_file

SCHEMA = "edgeguard.bill/1"
SECONDS_PER_DAY = 86_400

FILTER_STATE_BYTES = 5 * 2 * 4
"""Five second-order sections, 0.5 to 40 Hz and a notch, of two float32 states each (direct form II transposed)."""

FIFO_WORD_BYTES = 3
"""A word of the MAX30003's FIFO: 18 bits of voltage and 6 of tags."""

FLOAT_SHARE = 0.1
"""Share of float work above which constants measured on int8 networks say nothing about a network."""


@dataclass(frozen=True)
class Battery:
    """What feeds the watch; the default is an assumption."""

    capacity_mah: float = 300.0
    voltage_v: float = 3.85

    def __post_init__(self) -> None:
        for value, what in ((self.capacity_mah, "capacity"), (self.voltage_v, "voltage")):
            if not 0 < value < inf:
                raise InputError(f"battery: {what} {value:g} must be above 0; mend the battery's capacity and voltage")

    @property
    def energy_j(self) -> float:
        """Joules of a full charge."""
        return self.capacity_mah * 3.6 * self.voltage_v


@dataclass(frozen=True)
class Work:
    """Multiply-accumulates of one decision; `single_channel_macs` are those of layers with one channel a group."""

    macs: int
    integer_macs: int
    single_channel_macs: int
    macs_per_second: float


@dataclass(frozen=True)
class Flash:
    """Bytes of flash: the model's, and a range for the code of the runtime."""

    weights_bytes: int
    bias_bytes: int
    requantization_bytes: int
    float_bytes: int
    model_bytes: int
    runtime_code_bytes: Range
    total_bytes: Range


@dataclass(frozen=True)
class Ram:
    """Bytes of memory; the runtime's own structures and the stack are not among them."""

    input_buffer_bytes: int
    activation_bytes: int
    kernel_scratch_bytes: int
    layer_state_bytes: int
    pooling_ring_bytes: int
    filter_state_bytes: int
    fifo_bytes: int
    total_bytes: int


@dataclass(frozen=True)
class Power:
    """Milliwatts by consumer; None where a constant is missing, and then in no total either."""

    inference_mw: Range | None
    sleep_mw: Range | None
    front_end_mw: float
    radio_mw: Range
    total_mw: Range | None


@dataclass(frozen=True)
class Target:
    """The bill on one processor.

    Attributes:
        key, name, core, clock_mhz: of the processor.
        fits: whether flash, memory and time suffice; a time that is not known does not count.
        fits_flash: whether the most flash needed is there.
        fits_ram: likewise memory.
        latency_ms: of one decision; None for a network that is not int8.
        duty_cycle: share of the time that the processor computes.
        keeps_hop: whether even the slowest decision ends before the next is due.
        overflows_fifo: whether an inference that cannot be interrupted may take longer than the FIFO has room for.
        inference_energy_uj: of one decision.
        power: of all consumers.
        inference_battery_share_per_day: of a full charge, for the decisions alone.
        battery_share_per_day: of a full charge, for all consumers; screen and other tasks of the watch excepted.
        sources: of the constants.
    """

    key: str
    name: str
    core: str
    clock_mhz: float
    fits: bool
    fits_flash: bool
    fits_ram: bool
    latency_ms: Range | None
    duty_cycle: Range | None
    keeps_hop: bool | None
    overflows_fifo: bool | None
    inference_energy_uj: Range | None
    power: Power
    inference_battery_share_per_day: Range | None
    battery_share_per_day: Range | None
    sources: dict[str, str]


@dataclass(frozen=True)
class Bill:
    """What a file costs.

    Attributes:
        model: the file.
        kind: `window` or `streaming`.
        sampling_rate_hz: of the model's input.
        window_or_hop_samples: that one call takes.
        hop_seconds: between decisions.
        fifo_slack_ms: from the FIFO's interrupt to its overflow.
        work, flash, ram: counted from the file.
        battery: for the shares.
        front_end: whose power is billed.
        radio_events_per_second: likewise.
        targets: one a processor.
        sources: of the constants that are not a processor's.
    """

    model: str
    kind: str
    sampling_rate_hz: float
    window_or_hop_samples: int
    hop_seconds: float
    fifo_slack_ms: float
    work: Work
    flash: Flash
    ram: Ram
    battery: Battery
    front_end: str
    radio_events_per_second: float
    targets: tuple[Target, ...]
    sources: dict[str, str]

    def to_json(self) -> dict[str, Any]:
        """JSON-ready, units in the names; a range is {"low", "high"}."""
        return {"schema": SCHEMA, "estimate": True, **asdict(self)}


def bill(
    model: ModelFile | Path,
    *,
    hop: float | None = None,
    sampling_rate: float | None = None,
    window: int | None = None,
    profiles: Sequence[str] | None = None,
    battery: Battery | None = None,
    front_end: str = "max30003",
    sensor_rate: float | None = None,
    fifo_depth: int = DEPTH,
    fifo_threshold: int = THRESHOLD,
    filter_state_bytes: int = FILTER_STATE_BYTES,
    radio_events_per_second: float = 1.0,
) -> Bill:
    """Reckon what a file costs.

    Args:
        model: a window or a streaming file, or one that was read already.
        hop: seconds between decisions; None: a streaming file's own, or 1 s.
        sampling_rate: hertz, where the file does not say it.
        window: samples, where a window file does not say it.
        profiles: keys of processors (`edgeguard.firmware_sim.mcu`); None: all.
        battery: None: 300 mAh at 3.85 V.
        front_end: key of the analogue front end whose power is billed.
        sensor_rate: hertz at which the FIFO fills; None: the model's.
        fifo_depth: words that the FIFO holds, and its driver's buffer too.
        fifo_threshold: words at which it interrupts.
        filter_state_bytes: of filters and resampler, as the front end's saved state has them.
        radio_events_per_second: connection events of the radio.

    Raises InputError for a file whose cost cannot be counted, an unknown profile or front end, a hop that is not a
    streaming file's, or one that is no whole number of samples.
    """
    file = model if isinstance(model, ModelFile) else read_model_file(model)
    rate = float(sampling_rate or file.stated.sampling_rate or 0)
    if not 0 < rate < inf:
        raise InputError(f"{file.path}: does not say the sampling rate; add --sampling-rate HZ")
    cost = file_cost(file.proto, file.path, window=window or file.stated.window)
    seconds = _hop_seconds(cost, rate, hop, file.path)
    chosen = list(mcus().values()) if profiles is None else [find_mcu(key) for key in profiles]
    source = _front_end(front_end)
    if not 0 <= radio_events_per_second < inf:
        raise InputError(
            f"radio: {radio_events_per_second:g} events a second must be at least 0; mend the radio's rate"
        )
    slack = (fifo_depth - fifo_threshold) / (sensor_rate or rate)
    radio = Range(**constants()["radio"]["event_uj"]).times(radio_events_per_second / 1e3)
    flash, ram = _flash(cost), _ram(cost, filter_state_bytes, fifo_depth)
    cell = battery or Battery()
    return Bill(
        model=str(file.path),
        kind="streaming" if cost.streaming else "window",
        sampling_rate_hz=rate,
        window_or_hop_samples=cost.samples,
        hop_seconds=seconds,
        fifo_slack_ms=slack * 1e3,
        work=Work(cost.macs, cost.integer_macs, cost.single_channel_macs, cost.macs / seconds),
        flash=flash,
        ram=ram,
        battery=cell,
        front_end=front_end,
        radio_events_per_second=radio_events_per_second,
        targets=tuple(
            _target(mcu, cost, flash, ram, seconds, slack, source["power_uw"] / 1e3, radio, cell) for mcu in chosen
        ),
        sources={
            "front_end": source["source"],
            "radio": constants()["radio"]["source"],
            "runtime_code": constants()["runtime_code"]["source"],
        },
    )


def side_by_side(window: Bill, streaming: Bill) -> dict[str, float]:
    """How many times as much the window file costs: {work, activations, ram, flash, energy_per_day}.

    Latency goes with the work, so these ratios hold on every processor; energy_per_day is that of inference alone.
    """
    return {
        "work": window.work.macs / streaming.work.macs,
        "activations": window.ram.activation_bytes / streaming.ram.activation_bytes,
        "ram": window.ram.total_bytes / streaming.ram.total_bytes,
        "flash": window.flash.model_bytes / streaming.flash.model_bytes,
        "energy_per_day": window.work.macs_per_second / streaming.work.macs_per_second,
    }


def _hop_seconds(cost: FileCost, rate: float, hop: float | None, model: Path) -> float:
    if not cost.streaming:
        return hop_samples(1.0 if hop is None else hop, rate) / rate
    own = cost.samples / rate
    if hop is not None and hop_samples(hop, rate) != cost.samples:
        raise InputError(
            f"{model}: takes {own:g} s at a time, not {hop:g} s; leave --hop out or export with --hop {hop:g}"
        )
    return own


def _front_end(key: str) -> dict[str, Any]:
    known = constants()["front_ends"]
    if key not in known:
        raise unknown("front end", key, known, problem="no published power")
    return known[key]


def _flash(cost: FileCost) -> Flash:
    code = Range(**constants()["runtime_code"]["bytes"])
    return Flash(
        weights_bytes=cost.weight_bytes,
        bias_bytes=cost.bias_bytes,
        requantization_bytes=cost.requantization_bytes,
        float_bytes=cost.float_bytes,
        model_bytes=cost.flash_bytes,
        runtime_code_bytes=code,
        total_bytes=code.plus(Range(cost.flash_bytes, cost.flash_bytes)),
    )


def _ram(cost: FileCost, filter_state_bytes: int, fifo_depth: int) -> Ram:
    parts = {
        "input_buffer_bytes": cost.input_bytes,
        "activation_bytes": cost.activation_bytes,
        "kernel_scratch_bytes": cost.scratch_bytes,
        "layer_state_bytes": sum(state.bytes for state in cost.states if not state.ring),
        "pooling_ring_bytes": sum(state.bytes for state in cost.states if state.ring),
        "filter_state_bytes": filter_state_bytes,
        "fifo_bytes": FIFO_WORD_BYTES * fifo_depth,
    }
    return Ram(**parts, total_bytes=sum(parts.values()))


def _target(
    mcu: Mcu,
    cost: FileCost,
    flash: Flash,
    ram: Ram,
    hop: float,
    slack: float,
    front_end_mw: float,
    radio_mw: Range,
    battery: Battery,
) -> Target:
    priced = cost.macs - cost.integer_macs <= FLOAT_SHARE * cost.macs
    latency = mcu.latency_ms(cost.macs) if priced else None
    energy = mcu.energy_uj(cost.macs) if priced else None
    fits_flash, fits_ram = flash.total_bytes.high <= mcu.flash_bytes, ram.total_bytes <= mcu.ram_bytes
    keeps_hop = None if latency is None else latency.high < hop * 1e3
    power = _power(mcu, energy, hop, front_end_mw, radio_mw)
    per_day = SECONDS_PER_DAY / 1e3 / battery.energy_j
    return Target(
        key=mcu.key,
        name=mcu.name,
        core=mcu.core,
        clock_mhz=mcu.clock_mhz,
        fits=fits_flash and fits_ram and keeps_hop is not False,
        fits_flash=fits_flash,
        fits_ram=fits_ram,
        latency_ms=latency,
        duty_cycle=latency and latency.times(1e-3 / hop),
        keeps_hop=keeps_hop,
        overflows_fifo=None if latency is None else latency.high > slack * 1e3,
        inference_energy_uj=energy,
        power=power,
        inference_battery_share_per_day=power.inference_mw and power.inference_mw.times(per_day),
        battery_share_per_day=power.total_mw and power.total_mw.times(per_day),
        sources=mcu.sources,
    )


def _power(mcu: Mcu, energy_uj: Range | None, hop: float, front_end_mw: float, radio_mw: Range) -> Power:
    inference = energy_uj and energy_uj.times(1e-3 / hop)
    sleep = mcu.sleep_ua and mcu.sleep_ua.times(mcu.supply_v / 1e3)
    total = (
        inference.plus(sleep).plus(Range(front_end_mw, front_end_mw)).plus(radio_mw) if inference and sleep else None
    )
    return Power(inference, sleep, front_end_mw, radio_mw, total)
