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
from edgeguard.cli.sections import sectioned

_PAPER_UNITS = 5_200
"""Of ADT as published: 100 + 100 epochs of 10 crafting steps and a training pass over both halves."""


@click.command(
    "train",
    cls=sectioned(
        {
            "What is trained": ("defense", "arch", "preset", "budget"),
            "Records": (
                *("data", "labels", "label_map", "lead", "sampling_rate", "window", "classes"),
                *("test_records", "split_seed"),
            ),
            "Schedule": (
                *("epochs", "start_epochs", "batch", "optimizer", "learning_rate", "weight_decay", "schedule"),
                *("averaging", "prior"),
            ),
            "Augmentation": ("augment", "distort"),
            "Teacher and soft labels": ("teacher", "teacher_arch", "temperature", "views"),
            "Adversarial records (crafting)": (
                *("crafting", "eps", "eps_spread", "alpha", "steps", "smooth_steps", "noise", "kernels"),
                *("mix", "halves"),
            ),
            "Losses of single defences": (
                *("warm_up", "units", "jacobian_weight", "nsr_eps", "nsr_weight", "label_smoothing", "trades_beta"),
            ),
            "Machine": ("seed", "precision", "craft_precision", "device"),
            "Output": ("config", "out", "resume"),
        }
    ),
)
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
@click.option("--epochs", type=int, help="Number of epochs of every stage [default: 10; full 40; paper 100].")
@click.option(
    "--budget", help="Time that the training may take, such as 30m or 1h30m; preset and epochs are picked to fit."
)
@click.option(
    "--start-epochs",
    type=int,
    help="Number of epochs of the undefended network to start from; 0: start afresh [default: 0; full 30; lite 100].",
)
@click.option(
    "--teacher",
    type=click.Path(path_type=Path),
    multiple=True,
    help="Finished run whose soft labels are learnt; given several times, the mean of theirs.",
)
@known_arch_option("--teacher-arch", whose="a teacher")
@click.option("--seed", type=int, help="Seed of weights, order and augmentation [default: 0].")
@click.option("--batch", type=int, help="Number of clean records a step [default: 32; paper 16].")
@click.option("--optimizer", help="Optimiser: adam or adamw [default: adamw; paper adam].")
@click.option(
    "--learning-rate",
    type=float,
    help="Learning rate, largest of its schedule [default: 0.003; lite 0.001; paper 0.001].",
)
@click.option("--weight-decay", type=float, help="Weight decay [default: 0.01; paper 0].")
@click.option(
    "--schedule", help="Schedule of the learning rate: constant or one-cycle [default: one-cycle; paper constant]."
)
@click.option(
    "--crafting",
    help="Attack that makes the adversarial records: single-step, sap, or mixed (SAP on every other record, PGD on "
    "the others) [default: single-step; lite sap; paper sap].",
)
@click.option(
    "--eps",
    type=float,
    help="Largest training perturbation, of a single step its length, microvolts [default: 20; full 30; lite 10; "
    "paper 10].",
)
@click.option(
    "--eps-spread", type=float, help="Each record's own eps is drawn from (1 - spread) eps to eps [default: 0]."
)
@click.option("--alpha", type=float, help="Length of a crafting step, microvolts [default: 8; lite 1; paper 1].")
@click.option(
    "--steps",
    type=int,
    help="Number of crafting steps before smoothing (t); of mixed, PGD's [default: 2; lite 5; paper 5].",
)
@click.option(
    "--smooth-steps",
    type=int,
    help="Number of crafting steps on the smoothed perturbation (t') [default: 1; lite 5; paper 5].",
)
@click.option("--noise", type=float, help="Random start of a single step, in multiples of eps [default: 2].")
@click.option("--kernels", help="Smoothing of SAP: nest25 or zip5 [default: nest25].")
@click.option("--mix", type=float, help="Weight c of the adversarial half in the loss [default: 0.5].")
@click.option("--temperature", type=float, help="Temperature T of teacher, soft labels and student [default: 1].")
@click.option(
    "--warm-up", type=int, help="Number of epochs before the regulariser of jr and nsr sets in [default: 1; paper 10]."
)
@click.option("--units", help="Units of jr and nsr: published or corrected [default: published].")
@click.option("--jacobian-weight", type=float, help="Weight lambda of jr [default: 44].")
@click.option("--nsr-eps", type=float, help="Largest noise that nsr reckons with, microvolts [default: 1].")
@click.option("--nsr-weight", type=float, help="Weight beta of nsr [default: 1].")
@click.option(
    "--label-smoothing", type=float, help="Share of the uniform distribution in at-smooth's labels [default: 0.1]."
)
@click.option("--trades-beta", type=float, help="Weight of the divergence in trades [default: 6].")
@click.option(
    "--augment/--no-augment",
    default=None,
    help="Shift and scale the training records at random [default: on; paper off].",
)
@click.option(
    "--distort/--no-distort",
    default=None,
    help="Also distort them: pace, polarity, wander, muscle, motion [default: off; full on].",
)
@click.option(
    "--views/--no-views",
    default=None,
    help="Have the teacher label every augmented record anew [default: off; full on].",
)
@click.option(
    "--averaging",
    type=float,
    help="Number of epochs over which the weights are averaged; 0: the last weights count [default: 0; full 1].",
)
@click.option(
    "--prior",
    type=float,
    help="How far the class frequencies before oversampling are restored, 0 to 1 [default: 0; full 0.5].",
)
@click.option(
    "--halves",
    help="Whether the attacked half of a batch are its clean records (same) or others (apart) [default: same; full "
    "apart].",
)
@click.option(
    "--precision", help="Number format of the training pass: float32, bf16 or auto [default: auto; paper float32]."
)
@click.option(
    "--craft-precision",
    help="Number format of crafting: float32, bf16 or auto [default: float32; full auto; lite auto].",
)
@config_option
@click.option("--out", type=click.Path(path_type=Path), help="Run folder [default: runs/DEFENSE-ARCH-PRESET-sSEED].")
@click.option("--resume", is_flag=True, help="Go on with an unfinished run.")
@click.option("--device", default="auto", show_default=True, help="Device: auto, cpu or cuda.")
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
