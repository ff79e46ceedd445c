"""What people read of a bill: an estimate, in ranges, on every processor asked for."""

from collections.abc import Sequence
from typing import Any

_PARTS = {
    "input_buffer_bytes": "input",
    "activation_bytes": "activations",
    "kernel_scratch_bytes": "kernel scratch",
    "layer_state_bytes": "layer states",
    "pooling_ring_bytes": "pooling ring",
    "filter_state_bytes": "filters",
    "fifo_bytes": "FIFO",
}
_CONSUMERS = {"inference_mw": "inference", "sleep_mw": "sleep", "front_end_mw": "front end", "radio_mw": "radio"}


def bill_table(bill: dict[str, Any], *, sources: bool = False) -> str:
    """A bill (`edgeguard.firmware_sim.bill.Bill.to_json`) as text.

    Args:
        sources: with the source of every constant below.
    """
    work, flash, ram, battery = bill["work"], bill["flash"], bill["ram"], bill["battery"]
    lines = [
        f"bill of {bill['model']}, an estimate: {bill['kind']} of {bill['window_or_hop_samples']} samples at "
        f"{bill['sampling_rate_hz']:g} Hz, a decision every {bill['hop_seconds']:g} s",
        f"work    {work['macs'] / 1e6:.3g} MMAC a decision, {work['macs_per_second'] / 1e6:.3g} a second; "
        f"{100 * work['single_channel_macs'] / max(work['macs'], 1):.1f} % in layers of one channel",
        f"flash   {_kib(flash['model_bytes'])} KiB model, {_range(flash['total_bytes'], 1 / 1024)} KiB with a runtime",
        f"memory  {_kib(ram['total_bytes'])} KiB: "
        + ", ".join(f"{name} {_kib(ram[key])}" for key, name in _PARTS.items() if ram[key]),
        f"FIFO    {bill['fifo_slack_ms']:.3g} ms from interrupt to overflow",
        "",
        f"{'processor':<38}{'fits':<7}{'latency ms':<14}{'duty %':<14}{'uJ a decision':<18}battery % a day",
        *(_target_line(target) for target in bill["targets"]),
        "",
        f"{'mW':<38}" + "".join(f"{name:<16}" for name in _CONSUMERS.values()) + "total",
        *(_power_line(target) for target in bill["targets"]),
        "",
        f"battery: {battery['capacity_mah']:g} mAh at {battery['voltage_v']:g} V; front end: {bill['front_end']}; "
        f"radio: {bill['radio_events_per_second']:g} events a second",
    ]
    late = [target["name"] for target in bill["targets"] if target["overflows_fifo"]]
    if late:
        lines.append(f"inference must let the FIFO's interrupt through on {', '.join(late)}")
    if any(target["latency_ms"] is None for target in bill["targets"]):
        lines.append("no latency: the published constants are of int8 networks; export with --int8")
    if sources:
        lines += ["", *_sources(bill)]
    return "\n".join(lines)


def side_by_side_table(window: dict[str, Any], streaming: dict[str, Any]) -> str:
    """A window file's bill beside that of the streaming file made of it, on the processors that both have."""
    rows = [
        ("MACs a decision", window["work"]["macs"], streaming["work"]["macs"]),
        ("MACs a second", window["work"]["macs_per_second"], streaming["work"]["macs_per_second"]),
        ("model, bytes of flash", window["flash"]["model_bytes"], streaming["flash"]["model_bytes"]),
        ("memory, bytes", window["ram"]["total_bytes"], streaming["ram"]["total_bytes"]),
        *((f"- {name}", window["ram"][key], streaming["ram"][key]) for key, name in _PARTS.items()),
    ]
    lines = [f"{'an estimate':<38}{'window':<22}{'streaming':<22}window / streaming"]
    for name, of_window, of_stream in rows:
        ratio = f"{of_window / of_stream:.1f}" if of_stream else ""
        lines.append(f"{name:<38}{of_window:<22,.0f}{of_stream:<22,.0f}{ratio}".rstrip())
    others = {target["key"]: target for target in streaming["targets"]}
    for target in window["targets"]:
        if other := others.get(target["key"]):
            for key, unit, scale in (("latency_ms", "ms", 1), ("duty_cycle", "duty %", 100)):
                lines.append(_compared(f"{target['name']}, {unit}", target[key], other[key], scale))
            powers = target["power"]["inference_mw"], other["power"]["inference_mw"]
            lines.append(_compared(f"{target['name']}, inference mW", *powers, 1))
    return "\n".join(lines)


def _compared(name: str, window: dict[str, float] | None, streaming: dict[str, float] | None, scale: float) -> str:
    ratio = f"{window['high'] / streaming['high']:.1f}" if window and streaming else ""
    return f"{name:<38}{_range(window, scale):<22}{_range(streaming, scale):<22}{ratio}".rstrip()


def _target_line(target: dict[str, Any]) -> str:
    return (
        f"{_processor(target):<38}{'yes' if target['fits'] else 'NO':<7}{_range(target['latency_ms']):<14}"
        f"{_range(target['duty_cycle'], 100):<14}{_range(target['inference_energy_uj']):<18}"
        f"{_range(target['battery_share_per_day'], 100)}"
    )


def _power_line(target: dict[str, Any]) -> str:
    power = target["power"]
    return (
        f"{_processor(target):<38}"
        + "".join(f"{_range(power[key]):<16}" for key in _CONSUMERS)
        + _range(power["total_mw"])
    )


def _processor(target: dict[str, Any]) -> str:
    return f"{target['name']}, {target['clock_mhz']:g} MHz"


def _sources(bill: dict[str, Any]) -> Sequence[str]:
    lines = [f"{name}: {source}" for name, source in bill["sources"].items()]
    for target in bill["targets"]:
        lines += [f"{target['name']}, {name}: {source}" for name, source in target["sources"].items()]
    return lines


def _range(value: dict[str, float] | float | None, scale: float = 1) -> str:
    """Both ends, or one number; a dash where there is no figure."""
    if value is None:
        return "-"
    if not isinstance(value, dict):
        return _number(value * scale)
    low, high = _number(value["low"] * scale), _number(value["high"] * scale)
    return low if low == high else f"{low} - {high}"


def _number(value: float) -> str:
    """Two significant digits, or all before the point."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.2g}"


def _kib(count: int) -> str:
    return f"{count / 1024:.2g}" if count < 10 * 1024 else f"{count / 1024:.0f}"
