"""The whole line on synthetic records: two networks trained, exported, streamed, attacked and compared.

Beside them the zoo's, trained on real records, on the same watch.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from edgeguard.attacks.campaign import Campaign, Tasks, attack_file, choose_records, witnesses_of
from edgeguard.attacks.smooth_geo import SmoothGeo
from edgeguard.attacks.witnesses import save_witnesses
from edgeguard.defenses.config import make_config
from edgeguard.defenses.train import Job, default_folder, train
from edgeguard.ecg.dataset import Dataset
from edgeguard.ecg.record import CLASSES, Record
from edgeguard.ecg.sources import load_dataset
from edgeguard.ecg.split import Split, split
from edgeguard.ecg.synthetic import synthesise
from edgeguard.evaluation.contender import open_contender
from edgeguard.evaluation.evaluate import Evaluation, craft, evaluate_contenders, summary, whole_codes
from edgeguard.evaluation.metrics import scores
from edgeguard.evaluation.portfolio import Attack, portfolio
from edgeguard.export.exporter import export_run
from edgeguard.firmware_sim.events import event_log
from edgeguard.firmware_sim.result import SimulationResult
from edgeguard.firmware_sim.simulator import simulate
from edgeguard.models.run import is_finished, load_run
from edgeguard.report.demo_zoo import NETWORKS, ZooOutcome, zoo_outcome
from edgeguard.report.figures import AttackedRecord, draw_attack, draw_query_curves, draw_robustness
from edgeguard.report.query_curve import query_curve
from edgeguard.runtime.session import open_model

DEFENSES = ("none", "adt")
ARCH = "edge-s"
EPS_UV = (5.0, 10.0, 20.0, 40.0)
"""Radii of the curve; the comparison is at PAPER_EPS_UV."""
PAPER_EPS_UV = 10.0
NEEDED_GAIN = 0.2
"""By which share of the records adt must beat none under SAP."""
_STEPS, _SMOOTH_STEPS = 20, 40
_STREAMED_SECONDS = 60.0

Say = Callable[[str], None]


@dataclass(frozen=True)
class DemoOptions:
    """How large the demo is.

    Attributes:
        records: synthetic records; a tenth is the test part.
        epochs: of every training stage.
        samples: test records that the black-box attack is tried on.
        queries: labels that it may ask a record.
        seed: of weights, split and attack.
    """

    records: int = 2400
    epochs: int = 12
    samples: int = 48
    queries: int = 1000
    seed: int = 0


@dataclass(frozen=True)
class Outcome:
    """One defence, from training to the attacked file.

    Attributes:
        run: folder of the run.
        int8: path of the exported file.
        torch, file: the network and the file, judged on the test part.
        streamed: the file in the simulator.
        campaign: the black-box attack on the file.
    """

    defense: str
    run: Path
    int8: Path
    torch: Evaluation
    file: Evaluation
    streamed: SimulationResult
    campaign: Campaign


def run_demo(out: Path, options: DemoOptions, *, device: torch.device, say: Say) -> dict[str, Any]:
    """Run every step and write runs, files, event logs, witnesses and figures under `out`.

    Finished runs of the same settings in `out` are taken as they are, unfinished ones are gone on with.

    Returns:
        The JSON object of `edgeguard demo`.

    Raises InputError when `out` holds runs of other settings, or cannot be written.
    """
    dataset = load_dataset(f"synthetic:{options.records}")
    parts = split(dataset, seed=options.seed)
    say(f"records: {len(dataset)} synthetic, {len(parts.train)} to train on, {len(parts.test)} to test on")
    outcomes = [_outcome(name, out, dataset, parts, options, device=device, say=say) for name in DEFENSES]
    recordings = _recordings(options.seed)
    ready = []
    for name in NETWORKS:
        say(f"zoo:{name}: judged and streamed")
        ready.append(zoo_outcome(name, out, dataset, parts.test, recordings, eps=PAPER_EPS_UV, seed=options.seed))
    figures = _draw(out, dataset, parts, outcomes, options)
    return _report(outcomes, ready, parts, options, figures)


def _outcome(
    defense: str,
    out: Path,
    dataset: Dataset,
    parts: Split,
    options: DemoOptions,
    *,
    device: torch.device,
    say: Say,
) -> Outcome:
    folder = _trained(defense, out, dataset, parts, options, device=device, say=say)
    exported = export_run(load_run(folder), dataset, parts, int8=True, seed=options.seed, say=lambda _: None)
    int8 = exported.int8
    assert int8 is not None
    say(f"{defense}: exported to {int8}, {int8.stat().st_size / 1000:.0f} kB")
    judge = partial(_judged, dataset=dataset, parts=parts, seed=options.seed)
    return Outcome(
        defense,
        folder,
        int8,
        judge(folder, _sap((PAPER_EPS_UV,))),
        judge(int8, _sap(EPS_UV)),
        _streamed(int8, out / f"events-{defense}.jsonl", options.seed),
        _attacked(int8, out / f"witnesses-{defense}.npz", dataset, options),
    )


def _trained(
    defense: str,
    out: Path,
    dataset: Dataset,
    parts: Split,
    options: DemoOptions,
    *,
    device: torch.device,
    say: Say,
) -> Path:
    config = make_config(defense=defense, arch=ARCH, epochs=options.epochs, seed=options.seed)
    folder = default_folder(config, out)
    before = is_finished(folder)
    train(
        Job(
            config,
            dataset,
            parts,
            folder,
            device,
            partial(scores, classes=len(dataset.classes)),
            origin={"data": dataset.source, "split_seed": options.seed},
            resume=True,
            say=say,
        )
    )
    say(f"{defense}: {'finished earlier, taken from' if before else 'trained in'} {folder}")
    return folder


def _judged(model: Path, sap: list[Attack], *, dataset: Dataset, parts: Split, seed: int) -> Evaluation:
    """Clean, under PGD at the paper's radius, and under SAP; crafted on the network, or through the file's twin."""
    attacks = [*portfolio(("clean", "pgd"), eps=PAPER_EPS_UV, steps=_STEPS), *sap]
    return evaluate_contenders([open_contender(model, None, attacks)], dataset, parts.test, attacks, seed=seed)[0]


def _sap(radii: tuple[float, ...]) -> list[Attack]:
    """SAP at each radius; the step grows with it, and is the paper's 1 uV at the paper's 10 uV."""
    return [Attack("sap", eps, eps / PAPER_EPS_UV, steps=_STEPS, smooth_steps=_SMOOTH_STEPS) for eps in radii]


def _recordings(seed: int) -> list[Record]:
    """One a class, each long enough for half a minute of decisions."""
    return [
        Record(
            f"stream-{label}",
            synthesise(label, np.random.default_rng([seed, i, 1]), duration=_STREAMED_SECONDS),
            label=label,
        )
        for i, label in enumerate(CLASSES)
    ]


def _streamed(int8: Path, events: Path, seed: int) -> SimulationResult:
    with event_log(events) as log:
        return simulate(open_model(int8), _recordings(seed), log)


def _attacked(int8: Path, witnesses: Path, dataset: Dataset, options: DemoOptions) -> Campaign:
    model = open_model(int8)
    chosen, _ = choose_records(model, dataset, samples=options.samples, seed=options.seed)
    with tqdm(total=len(chosen) * options.queries, desc="black box", unit="query", dynamic_ncols=True) as bar:
        campaign = attack_file(
            model,
            dataset,
            Tasks(chosen),
            attack=SmoothGeo(),
            queries=options.queries,
            seed=options.seed,
            progress=bar.update,
        )
    save_witnesses(witnesses, witnesses_of(campaign))
    return campaign


def _draw(out: Path, dataset: Dataset, parts: Split, outcomes: list[Outcome], options: DemoOptions) -> dict[str, str]:
    paths = {name: out / f"{name}.png" for name in ("attack", "robustness", "query_curve")}
    draw_attack(_example(dataset, parts, outcomes[0], options.seed), paths["attack"])
    title = f"int8 files under white-box SAP, n = {len(parts.test)}, 95 % intervals"
    curves = {outcome.defense: _robustness(outcome) for outcome in outcomes}
    draw_robustness(curves, paths["robustness"], marked=PAPER_EPS_UV, title=title)
    traces = {outcome.defense: outcome.campaign.traces for outcome in outcomes}
    draw_query_curves(traces, options.queries, paths["query_curve"])
    return {name: str(path) for name, path in paths.items()}


def _robustness(outcome: Outcome) -> dict[float, dict[str, Any]]:
    """Radius in microvolts -> accuracy of the int8 file under SAP; radius 0 is the clean one."""
    rows = summary(outcome.file)["attacks"]
    return {row["eps_uv"]: row["accuracy"] for row in rows if row["name"] in ("clean", "sap")}


def _example(dataset: Dataset, parts: Split, outcome: Outcome, seed: int) -> AttackedRecord:
    """The first test record that SAP turns from right to wrong on the file, not noise if there is another."""
    (attack,) = _sap((PAPER_EPS_UV,))
    judged = {(entry.attack.name, entry.attack.eps): entry.predicted for entry in outcome.file.judged}
    clean, after = judged["clean", 0.0], judged["sap", PAPER_EPS_UV]
    labels = outcome.file.labels
    fooled = (clean == labels) & (after != labels)
    quiet = labels != dataset.classes.index("~")
    order = np.lexsort((np.arange(len(labels)), ~quiet, ~fooled))
    row = int(order[0])
    index = parts.test[row : row + 1]
    ecg, mask, _ = dataset.batch(index)
    (twin,) = open_contender(outcome.int8, None, [attack]).sources
    adversarial = whole_codes(craft(twin, dataset, index, attack, seed), ecg, attack.eps)
    model, real = open_model(outcome.int8), mask[0, 0]
    return AttackedRecord(
        dataset.names[index[0]],
        ecg[0, 0][real],
        adversarial[0, 0][real],
        dataset.sampling_rate,
        model.classes[model.labels(ecg)[0]],
        model.classes[model.labels(adversarial)[0]],
        f"{outcome.int8.name} under white-box SAP, eps {PAPER_EPS_UV:g} µV",
    )


def _report(
    outcomes: list[Outcome], ready: list[ZooOutcome], parts: Split, options: DemoOptions, figures: dict[str, str]
) -> dict[str, Any]:
    networks = {outcome.defense: _figures_of(outcome, options.queries) for outcome in outcomes}
    rates = [_accuracy(networks[defense]["int8"], "sap") for defense in DEFENSES]
    return {
        "records": options.records,
        "n": len(parts.test),
        "eps_uv": PAPER_EPS_UV,
        "networks": networks,
        "zoo": {one.name: one.to_json() for one in ready},
        **comparison(*rates),
        "figures": figures,
    }


def comparison(undefended: dict[str, Any], defended: dict[str, Any]) -> dict[str, Any]:
    """{"gain", "intervals_apart", "verdict"} of two rates under attack.

    The verdict holds where the gain is at least NEEDED_GAIN and the defended one's interval lies above.
    """
    gain = defended["value"] - undefended["value"]
    apart = defended["low"] > undefended["high"]
    return {"gain": gain, "intervals_apart": apart, "verdict": gain >= NEEDED_GAIN and apart}


def _figures_of(outcome: Outcome, queries: int) -> dict[str, Any]:
    return {
        "run": str(outcome.run),
        "file": str(outcome.int8),
        "torch": summary(outcome.torch)["attacks"],
        "int8": summary(outcome.file)["attacks"],
        "stream": outcome.streamed.to_json(),
        "black_box": {
            "samples": len(outcome.campaign.records),
            "attacked": len(outcome.campaign.traces),
            "queries": queries,
            "curve": query_curve(outcome.campaign.traces, queries),
        },
    }


def _accuracy(rows: list[dict[str, Any]], name: str) -> dict[str, Any]:
    """Accuracy under an attack at the paper's radius, or clean."""
    rate: dict[str, Any] = next(
        row["accuracy"] for row in rows if row["name"] == name and row["eps_uv"] in (0.0, PAPER_EPS_UV)
    )
    return rate
