"""What the file costs a watch: an estimate, in ranges, each with its source."""

from typing import Any

from edgeguard.evaluation.audit.result import Audit
from edgeguard.report.page import chart, words
from edgeguard.report.page.parts import Cell, Figure, Folded, Note, Section, Table

_PARTS = {
    "input_buffer_bytes": "input",
    "activation_bytes": "activations",
    "kernel_scratch_bytes": "kernel scratch",
    "layer_state_bytes": "layer states",
    "pooling_ring_bytes": "pooling ring",
    "filter_state_bytes": "filters",
    "fifo_bytes": "FIFO",
}


def bill(audit: Audit) -> Section:
    """Memory, and time, energy and battery on every processor."""
    found = audit.bill
    key, title, short = "bill", "The bill", "Bill"
    if found is None:
        return Section(key, title, short, "Nothing could be billed: the file's operators or its rate are not known.")
    body: list[Figure | Table | Folded | Note] = [_memory(found), _flash(found)]
    if window := found.get("window_file"):
        body.append(_side_by_side(window, found))
    if found["targets"]:
        body.append(_targets(found["targets"]))
        if any(target["latency_ms"] is None for target in found["targets"]):
            body.append(Note("No latency: the published constants are of int8 networks.", missing=True))
    else:
        body.append(Note("No processor was asked for.", missing=True))
    if sources := _sources(found):
        body.append(Folded("Where the constants come from", (sources,)))
    work = found["work"]
    lead = (
        f"An estimate for the {found['kind']} file: {work['macs'] / 1e6:.3g} million multiply-accumulates a decision, "
        f"one every {words.number(found['hop_seconds'])} s, in {words.size(found['ram']['total_bytes'])} of memory."
    )
    return Section(key, title, short, lead, tuple(body))


def _memory(found: dict[str, Any]) -> Figure:
    ram = found["ram"]
    rows = [(name, float(ram[key]), words.size(ram[key])) for key, name in _PARTS.items() if ram.get(key)]
    told = ", ".join(f"{name} {text}" for name, _, text in rows)
    label = f"Memory by use, {words.size(ram['total_bytes'])} in all: {told}."
    reading = (
        f"Counted from the file, {words.size(ram['total_bytes'])} in all; the runtime's own structures come on top."
    )
    return Figure("memory", "Memory", reading, chart.bars(rows, label=label))


def _flash(found: dict[str, Any]) -> Figure:
    flash = found["flash"]
    parts = {
        "weights_bytes": "weights",
        "bias_bytes": "biases",
        "requantization_bytes": "requantization",
        "float_bytes": "float tail",
    }
    rows = [(name, float(flash[key]), words.size(flash[key])) for key, name in parts.items() if flash.get(key)]
    total = flash["total_bytes"]
    ends = f"{words.span(total, 1 / 1024)} KiB"
    told = ", ".join(f"{name} {text}" for name, _, text in rows)
    label = f"Flash by use, {ends} with a runtime: {told}."
    reading = (
        f"The model's {words.size(flash['model_bytes'])}, counted from the file; {ends} with the code of a runtime."
    )
    return Figure("flash", "Flash", reading, chart.bars(rows, label=label))


def _side_by_side(window: dict[str, Any], streaming: dict[str, Any]) -> Table:
    """What compiling the window file to a stream saves."""
    rows = [
        ("multiply-accumulates a decision", ("work", "macs")),
        ("memory, bytes", ("ram", "total_bytes")),
        ("model, bytes of flash", ("flash", "model_bytes")),
    ]
    return Table(
        "The window file, which computes every window anew, beside the streaming file made of it",
        ("Of one", "window file", "streaming file", "times less"),
        tuple(
            (name, f"{window[a][b]:,}", f"{streaming[a][b]:,}", words.number(window[a][b] / max(streaming[a][b], 1)))
            for name, (a, b) in rows
        ),
    )


def _targets(targets: list[dict[str, Any]]) -> Table:
    return Table(
        "Estimates for microcontrollers, low to high",
        ("Processor", "fits", "latency, ms", "duty, %", "µJ a decision", "mW in all", "battery, % a day"),
        tuple(
            (
                f"{target['name']}, {target['core']} at {target['clock_mhz']:g} MHz",
                Cell("yes" if target["fits"] else "no", "holds" if target["fits"] else "fails"),
                words.span(target["latency_ms"]),
                words.span(target["duty_cycle"], 100),
                words.span(target["inference_energy_uj"]),
                words.span(target["power"]["total_mw"]),
                words.span(target["battery_share_per_day"], 100),
            )
            for target in targets
        ),
        words=frozenset({1}),
    )


def _sources(found: dict[str, Any]) -> Table | None:
    rows = [(name.replace("_", " "), source) for name, source in found.get("sources", {}).items()]
    for target in found["targets"]:
        rows += [(f"{target['name']}, {name}", source) for name, source in target.get("sources", {}).items()]
    if not rows:
        return None
    return Table("Sources of the constants", ("Constant", "Source"), tuple(rows), words=frozenset({1}))
