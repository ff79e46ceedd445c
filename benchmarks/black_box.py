"""Claim: an attack on an ONNX file costs next to nothing beside the file, and gets further with fewer queries.

On one int8 file, the same records, budget and cores, each in a process of its own: EdgeGuard's attacks; the boundary
attacks and HopSkipJump of the Adversarial Robustness Toolbox and of foolbox, default settings; the boundary attack as
Lam et al. published it; and what ONNX Runtime alone does, which is the limit.

Queries are counted around the file, not by the rivals, and L2 is that of the nearest point which fooled the file by
then, on whole ADC codes. All begin with the nearest record, of 256, that the file puts into another class, a search
that none is charged for. Rivals clip to the range of record and start; on padding they are given the original, so that
they lose no distance there. They run on a session of one or two threads, whichever a trial finds faster for them;
EdgeGuard with two workers on a session of one. All are charged for wall time, rivals without that of the counting.

    python benchmarks/black_box.py [FILE.onnx]... [--data training2017.zip] [--samples 32] [--queries 2000]

Without --data on synthetic records. `pip install '.[rivals]'` brings ART and foolbox; what is not installed is
left out, and said.
"""

import importlib
import json
import multiprocessing
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import click
import numpy as np
from rivals.ledger import Ledger, Victims

from edgeguard.attacks.black_box import ADC_STEP_UV, attack_records
from edgeguard.attacks.campaign import choose_records, load_windows
from edgeguard.attacks.catalogue import ATTACKS, make_attack
from edgeguard.errors import InputError
from edgeguard.runtime.host_form import host_form
from edgeguard.runtime.loading import load_onnx
from edgeguard.runtime.session import OnnxModel, load_session, open_model

ZOO = Path(__file__).parent.parent / "models" / "zoo"
FILES = tuple(ZOO / f"{name}-edge-m" / f"{name}-edge-m-int8.onnx" for name in ("adt", "none"))
OURS = tuple(ATTACKS)
RIVALS = {
    "ART boundary": ("art_attacks", "boundary"),
    "ART HopSkipJump": ("art_attacks", "hop_skip_jump"),
    "foolbox boundary": ("foolbox_attacks", "boundary"),
    "foolbox HopSkipJump": ("foolbox_attacks", "hop_skip_jump"),
    "Lam et al.": ("lam", "boundary"),
}
POOL, STARTS, THREADS = 256, 10, 2
BATCHES = (1, 2, 4, 8, 16, 32, 64)
SECONDS_A_BATCH = 0.5
TRIAL = 100
MARKS = (100, 300, 1000, 2000)


@dataclass(frozen=True)
class Setting:
    """What all are measured on."""

    file: Path
    data: str
    samples: int
    queries: int
    seed: int


@dataclass(frozen=True)
class Measured:
    """One attack on N records.

    Attributes:
        curve: float64 [N, Q], smallest L2 in microvolts within that many queries.
        roughness: float64 [N], variance of the first differences of the nearest perturbation, square microvolts.
        queries: made in all.
        asked: rows that the session was asked; less where equal input codes are answered from memory.
        seconds: of wall time.
    """

    curve: np.ndarray
    roughness: np.ndarray
    queries: int
    asked: int
    seconds: float

    def median(self, queries: int) -> float:
        """Median L2 in microvolts within that many queries, infinite while half of the records are not fooled."""
        return float(np.median(self.curve[:, min(queries, self.curve.shape[1]) - 1]))

    @property
    def rate(self) -> float:
        """Queries a second."""
        return self.queries / self.seconds

    def queries_to(self, distance: float) -> int | None:
        """Fewest queries whose median is that small."""
        reached = np.flatnonzero(np.median(self.curve, axis=0) <= distance)
        return int(reached[0]) + 1 if len(reached) else None


class Counted:
    """A model that notes the rows of each batch that an attack asks it for.

    Attributes:
        asked: rows of each batch.
    """

    def __init__(self, model: OnnxModel) -> None:
        self._model = model
        self.asked: list[int] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)

    def logits(self, ecg: np.ndarray) -> np.ndarray:
        """As the model's."""
        self.asked.append(len(ecg))
        return self._model.logits(ecg)


@click.command()
@click.argument("files", nargs=-1, type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--data", default="synthetic", show_default=True, help="Records, as `edgeguard attack-onnx` takes them.")
@click.option("--samples", default=16, show_default=True, help="Records; those that the file gets wrong are left out.")
@click.option("--queries", default=2000, show_default=True, help="Budget a record.")
@click.option("--seed", default=0, show_default=True, help="Of the records and of the attacks.")
@click.option("--keep", type=click.Path(path_type=Path, file_okay=False), help="Folder for the median curves, as JSON.")
def main(files: tuple[Path, ...], data: str, samples: int, queries: int, seed: int, keep: Path | None) -> None:
    """Measure all on every file, and print a table each."""
    for file in files or FILES:
        setting = Setting(file, data, samples, queries, seed)
        limit = alone(bare, setting)
        measured = {name: alone(measure_ours, setting, name) for name in OURS}
        measured |= {name: done for name in RIVALS if (done := measure_if_there(name, setting)) is not None}
        report(setting, limit, measured)
        if keep is not None:
            keep.mkdir(parents=True, exist_ok=True)
            curves = {name: np.median(done.curve, axis=0).round(1).tolist() for name, done in measured.items()}
            (keep / f"{file.stem}.json").write_text(json.dumps(curves))


def report(setting: Setting, limit: float, measured: dict[str, Measured]) -> None:
    """Print the table and what holds of the claim."""
    records = len(next(iter(measured.values())).curve)
    marks = sorted({*(mark for mark in MARKS if mark < setting.queries), setting.queries})
    print(
        f"\n{setting.file.name}: {records} records of {setting.data}, {setting.queries} queries each, {THREADS} cores\n"
    )
    heading = "".join(f"{f'L2@{mark}':>9}" for mark in marks)
    print(f"{'':<20}{'queries/s':>10}{'asked':>7}{heading}{'roughness':>11}{'seconds':>9}")
    print(f"{'ONNX Runtime alone':<20}{limit:>10,.0f}")
    for name, done in measured.items():
        medians = "".join(f"{done.median(mark):>9,.0f}" for mark in marks)
        asked = done.asked / done.queries
        print(
            f"{name:<20}{done.rate:>10,.0f}{asked:>7.0%}{medians}{np.nanmedian(done.roughness):>11,.1f}{done.seconds:>9.1f}"
        )
    print()
    speed(limit, measured)
    distance(setting, measured)


def speed(limit: float, measured: dict[str, Measured]) -> None:
    """Print EdgeGuard's queries a second as multiples of the others'."""
    bars = {"ART boundary": 2.0, "ART HopSkipJump": 2.0, "foolbox boundary": 1.5, "Lam et al.": 2.5}
    for name in OURS:
        ratios = [
            (measured[name].rate / measured[rival].rate, bar, rival) for rival, bar in bars.items() if rival in measured
        ]
        for ratio, bar, rival in ratios:
            say(f"{name}: {ratio:.2f} times the queries a second of {rival} (bar {bar:g})", ratio >= bar)
        behind, bar = limit / measured[name].rate, 2.0 if name == "boundary" else 1.3
        say(f"{name}: ONNX Runtime alone is {behind:.2f} times as fast (bar {bar:g})", behind <= bar)


def distance(setting: Setting, measured: dict[str, Measured]) -> None:
    """Print what `smooth-geo` needs to come as near as the best rival does with all of its queries."""
    ours = measured["smooth-geo"]
    best = min((name for name in RIVALS if name in measured), key=lambda name: measured[name].median(setting.queries))
    rival = measured[best]
    goal = rival.median(setting.queries)
    share = ours.median(setting.queries) / goal
    say(f"smooth-geo: {share:.2f} of the median L2 of {best}, the best rival, {goal:,.0f} uV (bar .5)", share <= 0.5)
    smoother = float(np.nanmedian(ours.roughness) / np.nanmedian(rival.roughness))
    say(f"smooth-geo: {smoother:.3f} of its roughness (bar 1)", smoother < 1)
    needed = ours.queries_to(goal)
    if needed is None:
        return say("smooth-geo: does not come as near", False)
    again = alone(measure_ours, setting, "smooth-geo", needed)
    ratio = rival.seconds / again.seconds
    say(
        f"smooth-geo: as near after {needed} queries, in {again.seconds:.2f} s instead of {rival.seconds:.1f}: "
        f"{ratio:.1f} times shorter (bar 10)",
        ratio >= 10,
    )


def say(line: str, holds: bool) -> None:
    """Print a line of the claim."""
    print(f"{'holds         ' if holds else 'does not hold '} {line}")


def alone(job: Callable[..., Any], *arguments: Any) -> Any:
    """The result of a function in a fresh process."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(job, *arguments).result()


def measure_if_there(name: str, setting: Setting) -> Measured | None:
    """A rival measured; None, and a line, where its library is not installed."""
    try:
        done: Measured = alone(measure_rival, setting, name)
    except ModuleNotFoundError as error:
        print(f"{name} is left out: no module {error.name!r}; pip install '.[rivals]'")
        return None
    return done


def measure_ours(setting: Setting, name: str, queries: int | None = None) -> Measured:
    """One of EdgeGuard's attacks."""
    model = Counted(open_model(setting.file))
    victims = choose_victims(model, setting)
    budget = queries or setting.queries
    model.asked.clear()
    begin = perf_counter()
    found = attack_records(
        model,
        victims.originals,
        victims.mask,
        victims.labels,
        victims.names,
        attack=make_attack(name),
        queries=budget,
        sampling_rate=model.sampling_rate,
        step_uv=model.input_step_uv or ADC_STEP_UV,
        starts=victims.nearest,
        seed=setting.seed,
        workers=THREADS,
    )
    seconds = perf_counter() - begin
    curve, roughness = np.full((len(victims.names), budget), np.inf), np.full(len(victims.names), np.nan)
    for record, trace in found.traces.items():
        for query, l2 in zip(trace.queries, trace.l2, strict=True):
            curve[record, query - 1 :] = l2
        if trace.nearest_l2 is not None:
            roughness[record] = np.diff(trace.nearest_l2 - found.originals[record]).astype(np.float64).var()
    return Measured(curve, roughness, int(found.ledger.sum()), sum(model.asked), seconds)


def measure_rival(setting: Setting, name: str) -> Measured:
    """One of the others, on a session of as many threads as a trial finds faster."""
    import torch

    torch.set_num_threads(1)  # foolbox's tensors are small: more would only take the session's cores
    module, function = RIVALS[name]
    attack = getattr(importlib.import_module(f"rivals.{module}"), function)
    models = [open_model(setting.file, threads=threads) for threads in (1, THREADS)]
    victims = choose_victims(models[0], setting)

    def run(model: OnnxModel, budget: int) -> Measured:
        np.random.seed(setting.seed)
        torch.manual_seed(setting.seed)
        ledger = Ledger(model, victims, budget)
        begin = perf_counter()
        attack(ledger, victims)
        seconds = perf_counter() - begin - ledger.own_seconds
        queries = int(ledger.queries.sum())
        return Measured(ledger.curve(), ledger.roughness(), queries, queries, seconds)

    return run(max(models, key=lambda model: run(model, TRIAL).rate), setting.queries)


def choose_victims(model: OnnxModel, setting: Setting) -> Victims:
    """The records to attack, and where to begin with each."""
    dataset = load_windows(model, setting.data, seed=setting.seed)
    records, _ = choose_records(model, dataset, samples=setting.samples, seed=setting.seed)
    pool, _ = choose_records(model, dataset, samples=POOL, seed=setting.seed)
    others = dataset.batch(pool)[0]
    seen = model.labels(others)
    victims = []
    for record, ecg, mask, label in zip(records, *dataset.batch(records), strict=True):
        if model.labels(ecg[None])[0] != label:
            continue
        starts = np.where(mask, others[seen != label], ecg)
        starts = starts[np.argsort(np.linalg.norm(starts - ecg, axis=(1, 2)))[: 2 * STARTS]]
        told = model.labels(starts)
        usable = np.flatnonzero(told != label)
        if len(usable):
            name = dataset.names[record]
            victims.append((name, ecg, mask, label, starts[np.resize(usable, STARTS)], told[usable[0]]))
    if not victims:
        raise InputError(
            f"{setting.file}: no record of {setting.data} is classified correctly; name others with --data"
        )
    names, *arrays = zip(*victims, strict=True)
    return Victims(names, *map(np.array, arrays))


def bare(setting: Setting) -> float:
    """Windows a second that ONNX Runtime does at best, of two threads in a session or two callers of one thread."""
    model = open_model(setting.file)
    victims = choose_victims(model, setting)
    rows = np.resize(victims.originals, (max(BATCHES), 1, model.window))
    graph = host_form(load_onnx(setting.file))
    best = 0.0
    for session, callers in (
        (load_session(setting.file, graph, THREADS), 1),
        (load_session(setting.file, graph, 1), THREADS),
    ):
        for batch in BATCHES:
            feed = model.feed(rows[:batch])
            best = max(
                best, _windows_a_second(lambda feed=feed, session=session: session.run(None, feed), batch, callers)
            )
    return best


def _windows_a_second(run: Callable[[], object], batch: int, callers: int) -> float:
    def call() -> int:
        done = 0
        while perf_counter() < end:
            run()
            done += batch
        return done

    run()
    begin = perf_counter()
    end = begin + SECONDS_A_BATCH
    with ThreadPoolExecutor(callers) as pool:
        done = sum(future.result() for future in [pool.submit(call) for _ in range(callers)])
    return done / (perf_counter() - begin)


if __name__ == "__main__":
    main()
