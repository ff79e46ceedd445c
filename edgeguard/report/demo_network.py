"""One network of the demo: trained, exported, judged, streamed, attacked; each step a job for a process of its own."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from edgeguard.attacks.campaign import Tasks, attack_file, choose_records, witnesses_of
from edgeguard.attacks.scheduler import Trace
from edgeguard.attacks.smooth_geo import SmoothGeo
from edgeguard.attacks.witnesses import save_witnesses
from edgeguard.defenses.config import make_config
from edgeguard.defenses.train import Job, default_folder, train
from edgeguard.ecg.dataset import Dataset
from edgeguard.ecg.record import CLASSES, Record
from edgeguard.ecg.sources import load_dataset
from edgeguard.ecg.split import Split, split
from edgeguard.ecg.synthetic import synthesise
from edgeguard.evaluation.adversarial import craft, whole_codes
from edgeguard.evaluation.contender import open_contender
from edgeguard.evaluation.evaluate import Evaluation, evaluate_contenders
from edgeguard.evaluation.metrics import scores
from edgeguard.evaluation.portfolio import Attack, portfolio
from edgeguard.export.exporter import export_run
from edgeguard.firmware_sim.events import event_log
from edgeguard.firmware_sim.result import SimulationResult
from edgeguard.firmware_sim.simulator import simulate
from edgeguard.models.run import is_finished, load_run
from edgeguard.report.figures import AttackedRecord
from edgeguard.runtime.session import open_model
from edgeguard.runtime.telling import Say, no_bars

ARCH = "edge-s"
EPS_UV = (10.0, 40.0)
"""Radii of the curve; the comparison is at PAPER_EPS_UV."""
PAPER_EPS_UV = 10.0
_STEPS, _SMOOTH_STEPS = 20, 40
_STREAMED_SECONDS = 60.0


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
    epochs: int = 10
    samples: int = 48
    queries: int = 1000
    seed: int = 0

    def data(self) -> tuple[Dataset, Split]:
        """The records and their parts."""
        dataset = load_dataset(f"synthetic:{self.records}")
        return dataset, split(dataset, seed=self.seed)


@dataclass(frozen=True)
class Made:
    """A defence's finished run and the int8 file exported from it."""

    defense: str
    run: Path
    int8: Path


@dataclass(frozen=True)
class Deployed:
    """What became of the file.

    Attributes:
        streamed: the file in the simulator.
        samples: records that the black-box attack was given.
        traces: of those that it attacked, the others being wrong anyway.
    """

    streamed: SimulationResult
    samples: int
    traces: list[Trace]


def make(say: Say, *, defense: str, out: Path, options: DemoOptions, device: torch.device) -> Made:
    """Train the defence, or take its finished run, and export it."""
    dataset, parts = options.data()
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
    exported = export_run(load_run(folder), dataset, parts, int8=True, seed=options.seed, say=lambda _: None)
    int8 = exported.int8
    assert int8 is not None
    say(f"{defense}: exported to {int8}, {int8.stat().st_size / 1000:.0f} kB")
    return Made(defense, folder, int8)


def judge_run(say: Say, made: Made, *, options: DemoOptions) -> Evaluation:
    """The network, under attacks at the paper's radius."""
    return _judged(made.run, _sap((PAPER_EPS_UV,)), options)


def judge_file(say: Say, made: Made, *, eps: float, options: DemoOptions) -> Evaluation:
    """The file, under SAP at one radius; at the paper's as the network is."""
    return _judged(made.int8, _sap((eps,)), options, alone=eps != PAPER_EPS_UV)


def deploy(say: Say, made: Made, *, out: Path, options: DemoOptions) -> Deployed:
    """Play recordings to the file, and attack it by its labels."""
    model = open_model(made.int8)
    with event_log(out / f"events-{made.defense}.jsonl") as log:
        streamed = simulate(model, recordings(options.seed), log)
    dataset, _ = options.data()
    chosen, _ = choose_records(model, dataset, samples=options.samples, seed=options.seed)
    with tqdm(
        total=len(chosen) * options.queries, desc="black box", unit="query", dynamic_ncols=True, disable=no_bars()
    ) as bar:
        campaign = attack_file(
            model,
            dataset,
            Tasks(chosen),
            attack=SmoothGeo(),
            queries=options.queries,
            seed=options.seed,
            progress=bar.update,
        )
    save_witnesses(out / f"witnesses-{made.defense}.npz", witnesses_of(campaign))
    return Deployed(streamed, len(campaign.records), campaign.traces)


def recordings(seed: int) -> list[Record]:
    """One a class, each long enough for half a minute of decisions."""
    return [
        Record(
            f"stream-{label}",
            synthesise(label, np.random.default_rng([seed, i, 1]), duration=_STREAMED_SECONDS),
            label=label,
        )
        for i, label in enumerate(CLASSES)
    ]


def example(say: Say, made: Made, judged: Evaluation, *, options: DemoOptions) -> AttackedRecord:
    """The first test record that SAP turns from right to wrong on the file, not noise if there is another."""
    dataset, parts = options.data()
    (attack,) = _sap((PAPER_EPS_UV,))
    given = {(entry.attack.name, entry.attack.eps): entry.predicted for entry in judged.judged}
    clean, after = given["clean", 0.0], given["sap", PAPER_EPS_UV]
    labels = judged.labels
    fooled = (clean == labels) & (after != labels)
    quiet = labels != dataset.classes.index("~")
    order = np.lexsort((np.arange(len(labels)), ~quiet, ~fooled))
    row = int(order[0])
    index = parts.test[row : row + 1]
    ecg, mask, _ = dataset.batch(index)
    (twin,) = open_contender(made.int8, None, [attack]).sources
    adversarial = whole_codes(craft(twin, dataset, index, attack, options.seed), ecg, attack.eps)
    model, real = open_model(made.int8), mask[0, 0]
    return AttackedRecord(
        dataset.names[index[0]],
        ecg[0, 0][real],
        adversarial[0, 0][real],
        dataset.sampling_rate,
        model.classes[model.labels(ecg)[0]],
        model.classes[model.labels(adversarial)[0]],
        f"{made.int8.name} under white-box SAP, eps {PAPER_EPS_UV:g} µV",
    )


def _judged(model: Path, sap: list[Attack], options: DemoOptions, *, alone: bool = False) -> Evaluation:
    """Under SAP, and if not alone clean and under PGD too; crafted on the network, or through the file's twin."""
    dataset, parts = options.data()
    attacks = sap if alone else [*portfolio(("clean", "pgd"), eps=PAPER_EPS_UV, steps=_STEPS), *sap]
    contender = open_contender(model, None, attacks)
    return evaluate_contenders([contender], dataset, parts.test, attacks, seed=options.seed)[0]


def _sap(radii: tuple[float, ...]) -> list[Attack]:
    """SAP at each radius; the step grows with it, and is the paper's 1 uV at the paper's 10 uV."""
    return [Attack("sap", eps, eps / PAPER_EPS_UV, steps=_STEPS, smooth_steps=_SMOOTH_STEPS) for eps in radii]
