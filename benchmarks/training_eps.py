"""Which training budget for which attack: clean accuracy against the strict worst case, over training eps.

    python benchmarks/training_eps.py --data training2017.zip RUN...

Each run's own test part, stratified; right under each of the eight attacks of the strict profile, crafted on the run. A
larger budget in training costs a little of the clean accuracy and buys robustness where the attack is large. Without
RUN the zoo's at-edge-m-fast and at-edge-m, trained at 20 and 30 uV.
"""

import argparse
import json
from dataclasses import asdict
from pathlib import Path

import torch
from helpers.real_records import parse_with_records

from edgeguard.evaluation.run_evaluation import evaluate_model
from edgeguard.evaluation.zoo.located import located
from edgeguard.report.rate_text import rate_text

BUDGETS_UV = (10.0, 25.0, 50.0, 100.0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="*", default=["zoo:at-edge-m-fast", "zoo:at-edge-m"])
    parser.add_argument("--records", type=int, default=96)
    options = parse_with_records(parser)
    torch.set_num_threads(1)
    print(f"{'run':<24}{'trained at, uV':<16}{'clean':<24}" + "".join(f"{f'{eps:g} uV':<24}" for eps in BUDGETS_UV))
    for run in map(located, options.runs):
        settings = json.loads((run / "config.json").read_text())["options"]
        eps, spread = settings["eps"], settings.get("eps_spread", 0.0)
        trained_at = f"{(1 - spread) * eps:g} to {eps:g}" if spread else f"{eps:g}"
        found = [_judged(run, options.data, eps, options.records) for eps in BUDGETS_UV]
        clean = found[0].attacks[0].accuracy
        cells = "".join(
            f"{rate_text(asdict(rate)):<24}" for rate in (clean, *(one.worst_case.accuracy for one in found))
        )
        print(f"{run.name:<24}{trained_at:<16}{cells}", flush=True)


def _judged(run: Path, data: str, eps: float, records: int):
    return evaluate_model(run, data=data, profile="strict", eps=eps, limit=records, checks=False, say=lambda line: None)


if __name__ == "__main__":
    main()
