"""Claim: the robustness of `adt` survives its export to int8: at eps 10 uV it loses a point of worst case at most.

Three forms of each network, in torch, as float file and as int8 file, are judged on one fixed, stratified set of test
records under one portfolio: the strict profile, crafted on the float network and through the int8 file's twin, all of
it judged by all of them. Below it what a naive tool would have reported of the int8 file: attacks with the true
gradient of its rounding (the paper's profile), and attacks of the float network alone.

    EDGEGUARD_CINC2017=training2017.zip python benchmarks/survival.py RUN... [--eps 10,25,50] [--limit 512] [--keep DIR]

Each RUN is a folder with the run and both of its exported files. `--keep` stores what was judged, so that a stopped
measurement goes on; `--full` takes the full portfolio in place of the strict one. Without runs a tiny version trains
one, for an epoch on synthetic records, and shows that all this works; its figures mean nothing.
"""

import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import click
import numpy as np
from helpers.briefly_trained import briefly_trained
from tqdm import tqdm

from edgeguard.ecg.dataset import Dataset, build
from edgeguard.ecg.sources import load_dataset
from edgeguard.ecg.synthetic import generate
from edgeguard.errors import InputError
from edgeguard.evaluation.contender import Contender, check_fit, open_contender, records_for_all
from edgeguard.evaluation.evaluate import Evaluation, Judged, evaluate_contenders
from edgeguard.evaluation.intervals import rate
from edgeguard.evaluation.portfolio import Attack, portfolio
from edgeguard.evaluation.survival import outcome, survival
from edgeguard.report.rate_text import rate_text
from edgeguard.runtime.files import read_json, write_json

MARGIN = 0.02
FORMS = ("torch", "fp32", "int8")
# A stopped measurement loses this many records at most.
CHUNK = 64


@click.command()
@click.argument("runs", nargs=-1, type=click.Path(path_type=Path, exists=True))
@click.option("--eps", default="10,25,50", show_default=True, help="Microvolts, with commas.")
@click.option("--limit", default=512, show_default=True, help="Test records, stratified.")
@click.option("--full", is_flag=True, help="The full portfolio: hours.")
@click.option("--keep", type=click.Path(path_type=Path), help="Folder for what was judged.")
@click.option("--seed", default=0, show_default=True, help="Of the records and of random starts.")
def main(runs: tuple[Path, ...], eps: str, limit: int, full: bool, keep: Path | None, seed: int) -> None:
    """Judge every run at every eps and print a table each."""
    profile = "full" if full else "strict"
    with tempfile.TemporaryDirectory() as folder:
        if runs:
            named = os.environ.get("EDGEGUARD_CINC2017")
            if not named:
                raise InputError("EDGEGUARD_CINC2017: not set; name the records that the runs were trained on")
            dataset = load_dataset(named)
        else:
            print("tiny version: one epoch on synthetic records")
            dataset, limit, eps = build("synthetic", generate(80)), 8, "10"
            briefly_trained("edge-s", Path(folder) / "run")
            runs = (Path(folder) / "run",)
        for run in runs:
            for size in map(float, eps.split(",")):
                report(run, dataset, size, limit, profile, keep or Path(folder) / "kept", seed)


def report(run: Path, dataset: Dataset, eps: float, limit: int, profile: str, keep: Path, seed: int) -> None:
    """One network at one eps."""
    attacks = portfolio(None if profile == "full" else ("clean", "pgd", "sap"), profile=profile, eps=eps)
    naive = portfolio(("pgd", "sap"), profile="paper", eps=eps, alpha=2.5 * eps / 20)
    contenders = forms(run, attacks, profile)
    blind = open_contender(only(run, "int8"), None, naive, gradients=("none",))
    check_fit(contenders, dataset)
    index, _ = records_for_all(contenders, dataset, part="test", limit=limit, seed=seed)
    title = f"{run.name}, eps {eps:g} uV, {profile}"
    judged = dict(zip(FORMS, judge(contenders, dataset, index, attacks, keep, seed, title), strict=True))
    (unseeing,) = judge([blind], dataset, index, naive, keep, seed, f"{title}, true gradient")
    found = survival(outcome("fp32", judged["fp32"]), outcome("int8", judged["int8"]), margin=MARGIN)

    print(f"\n{title}, {len(index)} test records of {Path(dataset.source).name}\n")
    print(f"{'form':<8}" + "".join(f"{name:<24}" for name in ("clean", "PGD", "SAP", "worst case")))
    for form, evaluation in judged.items():
        cells = [share(evaluation, name) for name in ("clean", "pgd", "sap", None)]
        print(f"{form:<8}" + "".join(f"{rate_text(cell):<24}" for cell in cells))
    print("\nint8, as a naive tool sees it")
    print(f"  true gradient of the rounding   {rate_text(share(unseeing, None))}")
    print(f"  transfer from the float network {rate_text(share(judged['int8'], None, 'parent'))}")
    print(f"  through the twin alone          {rate_text(share(judged['int8'], None, 'twin'))}")
    if found.clean:
        print(f"\nint8 less fp32, clean       {_points(found.clean)}")
    print(f"int8 less fp32, worst case  {_points(found.worst_case)}, McNemar p {found.worst_case['mcnemar_p']:.2g}")
    print(f"records right: {', '.join(f'{name} {count}' for name, count in found.table.items())}")
    print(f"verdict     {found.message}")


def forms(run: Path, attacks: Sequence[Attack], profile: str) -> list[Contender]:
    """The run, its float file and its int8 file, each attacked by all that attacks the int8 file."""
    int8 = open_contender(only(run, "int8"), None, attacks, profile=profile)
    if int8.note:
        raise InputError(int8.note)
    others = [open_contender(path, None, attacks) for path in (run, only(run, "fp32"))]
    return [*(replace(other, crafting=int8.crafting, sources=int8.sources) for other in others), int8]


def only(run: Path, form: str) -> Path:
    """The run's one file of a form."""
    files = list(run.glob(f"*-{form}.onnx"))
    if len(files) != 1:
        raise InputError(f"{run}: {len(files)} {form} files, one needed; run edgeguard export {run} --int8")
    return files[0]


def judge(
    contenders: list[Contender],
    dataset: Dataset,
    index: np.ndarray,
    attacks: Sequence[Attack],
    keep: Path,
    seed: int,
    title: str,
) -> list[Evaluation]:
    """Every contender's evaluation, chunk by chunk; what is kept from before is read."""
    parts: list[list[Evaluation]] = []
    for chunk in tqdm(list(_chunks(index)), desc=title, unit="chunk", dynamic_ncols=True):
        key = {
            "judged": [one.subject.sha256 for one in contenders],
            "sources": [source.identity for source in contenders[0].sources],
            "attacks": [asdict(attack) for attack in attacks],
            "records": [dataset.names[record] for record in chunk],
            "seed": seed,
        }
        names = "-".join(one[:8] for one in key["judged"])
        gradients = "-".join(source.name for source in contenders[0].sources)
        file = keep / f"{names}-{gradients}-{attacks[-1].eps:g}-{len(attacks)}-{chunk[0]}.json"
        kept = read_json(file) if file.is_file() else {}
        if kept.get("key") != key:
            made = evaluate_contenders(contenders, dataset, chunk, attacks, seed=seed)
            kept = {"key": key, "judged": [[_stored(entry) for entry in one.judged] for one in made]}
            write_json(file, kept)
        by_attack = {json_of(attack): attack for attack in attacks}
        parts.append(
            [
                Evaluation(dataset.classes, dataset.labels[chunk], [_restored(entry, by_attack) for entry in one])
                for one in kept["judged"]
            ]
        )
    return [_joined([part[place] for part in parts]) for place in range(len(contenders))]


def share(evaluation: Evaluation, attack: str | None, gradient: str | None = None) -> dict[str, Any]:
    """Records right under every attack of a name; under all where none is named, of one source where one is."""
    right = np.ones(len(evaluation.labels), bool)
    for entry in evaluation.judged:
        if attack in (None, entry.attack.family) and (gradient is None or entry.gradient in (None, gradient)):
            right &= entry.predicted == evaluation.labels
    return rate(int(right.sum()), len(right))


def json_of(attack: Attack) -> str:
    """A key for an attack that survives a file."""
    return str(sorted(asdict(attack).items()))


def _stored(entry: Judged) -> dict[str, Any]:
    return {
        "attack": json_of(entry.attack),
        "situation": entry.situation,
        "gradient": entry.gradient,
        "predicted": entry.predicted.tolist(),
    }


def _restored(entry: dict[str, Any], attacks: dict[str, Attack]) -> Judged:
    predicted = np.array(entry["predicted"], np.int64)
    return Judged(attacks[entry["attack"]], entry["situation"], predicted, gradient=entry["gradient"])


def _joined(parts: list[Evaluation]) -> Evaluation:
    judged = [
        replace(entry, predicted=np.concatenate([part.judged[place].predicted for part in parts]))
        for place, entry in enumerate(parts[0].judged)
    ]
    return Evaluation(parts[0].classes, np.concatenate([part.labels for part in parts]), judged)


def _chunks(index: np.ndarray) -> Iterator[np.ndarray]:
    for first in range(0, len(index), CHUNK):
        yield index[first : first + CHUNK]


def _points(found: dict[str, Any]) -> str:
    return "{:+.1f} [{:+.1f}, {:+.1f}] points".format(*(100 * found[key] for key in ("difference", "low", "high")))


if __name__ == "__main__":
    try:
        main()
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
