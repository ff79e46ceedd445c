"""edgeguard train."""

import sys
from functools import partial
from pathlib import Path
from typing import Any

import click

from edgeguard.cli.options import (
    adapter_options,
    config_option,
    data_options,
    known_arch_option,
    listed,
    read_lines,
    registering,
)
from edgeguard.cli.output import emit, json_option, say

_PAPER_UNITS = 5_200
"""Of ADT as published: 100 + 100 epochs of 10 crafting steps and a training pass over both halves."""


@click.command("train")
@click.option(
    "--defense",
    callback=registering("defense"),
    help="none, jr, nsr, dd, at, init-adt, dist-adt, adt, at-long, at-smooth or trades; or MODULE:NAME of a defence of "
    "your own, whose code then runs [default: adt].",
)
@click.option(
    "--arch",
    callback=registering("arch"),
    help="edge-s, edge-m, cnn13, or MODULE:FACTORY, whose code then runs [default: edge-m].",
)
@click.option("--preset", help="fast (a laptop's processor), full (the zoo's), lite or paper [default: fast].")
@data_options
@adapter_options
@click.option(
    "--sampling-rate",
    type=float,
    metavar="HZ",
    help="Sampling rate of the network's input; records of another rate are resampled [default: the records' own].",
)
@click.option(
    "--window",
    type=int,
    metavar="SAMPLES",
    help="Samples of the network's input [default: 30 s; the longest record where all are shorter].",
)
@click.option(
    "--classes",
    metavar="NAMES",
    help="Classes to learn, in the order of the logits, such as N,A,O; others are left out [default: the data's].",
)
@click.option(
    "--test-records",
    type=click.Path(path_type=Path),
    help="File of record names, one a line, that make up the test part.",
)
@click.option(
    "--split-seed",
    type=int,
    default=0,
    show_default=True,
    help="Seed of the train / validation / test parts.",
)
@click.option("--epochs", type=int, help="Epochs of every stage.")
@click.option("--budget", help="Time such as 30m or 1h30m: picks what fits of preset and epochs, and ends in time.")
@click.option("--start-epochs", type=int, help="Epochs of the undefended network to start from; 0: start afresh.")
@click.option(
    "--teacher",
    type=click.Path(path_type=Path),
    multiple=True,
    help="Finished run that gives the soft labels; several times: the mean of theirs is learnt.",
)
@known_arch_option("--teacher-arch", whose="a teacher")
@click.option("--seed", type=int, help="Seed of weights, order and augmentation [default: 0].")
@click.option("--batch", type=int, help="Clean records a step.")
@click.option("--optimizer", help="adam or adamw.")
@click.option("--learning-rate", type=float)
@click.option("--weight-decay", type=float)
@click.option("--schedule", help="constant or one-cycle.")
@click.option("--crafting", help="single-step, sap or mixed (SAP on every other record, PGD on the others).")
@click.option("--eps", type=float, help="Largest training perturbation, of a single step its length, microvolts.")
@click.option("--eps-spread", type=float, help="Each record's own eps is drawn from (1 - spread) eps to eps.")
@click.option("--alpha", type=float, help="Crafting step, microvolts.")
@click.option("--steps", type=int, help="Crafting steps before smoothing (t); of mixed, PGD's.")
@click.option("--smooth-steps", type=int, help="Crafting steps on the smoothed perturbation (t').")
@click.option("--noise", type=float, help="Random start of a single step, in multiples of eps.")
@click.option("--kernels", help="nest25 or zip5: SAP's smoothing.")
@click.option("--mix", type=float, help="Weight c of the adversarial half.")
@click.option("--temperature", type=float, help="T of teacher, soft labels and student.")
@click.option("--warm-up", type=int, help="Epochs before the regulariser of jr and nsr sets in.")
@click.option("--units", help="published or corrected: units of jr and nsr.")
@click.option("--jacobian-weight", type=float, help="Weight lambda of jr.")
@click.option("--nsr-eps", type=float, help="Largest noise that nsr reckons with, microvolts.")
@click.option("--nsr-weight", type=float, help="Weight beta of nsr.")
@click.option("--label-smoothing", type=float, help="Share of the uniform distribution in at-smooth's labels.")
@click.option("--trades-beta", type=float, help="Weight of the divergence in trades.")
@click.option("--augment/--no-augment", default=None, help="Random shift and gain.")
@click.option("--distort/--no-distort", default=None, help="Pace, polarity, wander, muscle and motion too.")
@click.option("--views/--no-views", default=None, help="The teacher labels every augmented record anew.")
@click.option("--averaging", type=float, help="Epochs over which the weights are averaged; 0: the last ones count.")
@click.option("--prior", type=float, help="How far the class frequencies before oversampling are restored, 0 to 1.")
@click.option("--halves", help="same or apart: whether the attacked half of a batch are its clean records.")
@click.option("--precision", help="float32, bf16 or auto, of the training pass.")
@click.option("--craft-precision", help="float32, bf16 or auto, of crafting.")
@config_option
@click.option("--out", type=click.Path(path_type=Path), help="Run folder [default: runs/DEFENSE-ARCH-PRESET-sSEED].")
@click.option("--resume", is_flag=True, help="Go on with an unfinished run.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu or cuda.")
@json_option
def command(
    test_records: Path | None,
    classes: str | None,
    device: str,
    as_json: bool,
    **options: Any,
) -> None:
    """Train one defence on ECG records; its teacher, where it has one, comes first."""
    from edgeguard.defenses import distributed
    from edgeguard.evaluation.run_training import choose_device, train_model

    # Only the first of several processes prints; which one that is, is known as long as they are joined.
    with distributed.processes(choose_device(device)):
        try:
            found = train_model(
                test_records=None if test_records is None else read_lines(test_records),
                classes=listed(classes) or None,
                device=device,
                origin=None if test_records is None else {"test_records": str(test_records)},
                say=say,
                **options,
            )
        except KeyboardInterrupt:
            sys.exit(130)
        if distributed.is_main():
            result = found.to_json()
            emit("train", result, partial(_table, result), as_json=as_json)


def _table(result: dict[str, Any]) -> str:
    validation = result["validation"]
    start = result.get("start")
    before = f", after a start of {start['forward_units']:,} forward units, {start['seconds']:.0f} s" if start else ""
    return "\n".join(
        [
            f"run         {result['run']}",
            f"network     {result['arch']}, {result['parameters']:,} parameters",
            f"input       {','.join(result['classes'])} at {result['sampling_rate']:g} Hz, "
            f"windows of {result['window']:,} samples",
            f"epochs      {' + '.join(map(str, result['epochs']))}",
            f"cost        {_units(result['forward_units'])}, {result['seconds']:.0f} s{before}",
            f"validation  accuracy {validation['accuracy']:.3f}, F1 {validation['f1']:.3f}",
            "next        edgeguard export --int8",
        ]
    )


def _units(units: float) -> str:
    ratio = _PAPER_UNITS / units
    share = f"1/{ratio:.0f} of" if ratio > 1.5 else f"{1 / ratio:.1f} times"
    return f"{units:,} forward units a record ({share} the ADT paper's {_PAPER_UNITS:,})"
