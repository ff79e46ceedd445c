"""The demo's second half: the zoo's networks, trained on real records, on the same watch and under the same attacks."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgeguard.ecg.split import stratified
from edgeguard.evaluation.contender import open_contender
from edgeguard.evaluation.evaluate import Evaluation, evaluate_contenders, summary
from edgeguard.evaluation.portfolio import portfolio
from edgeguard.evaluation.zoo.located import located
from edgeguard.firmware_sim.events import event_log
from edgeguard.firmware_sim.result import SimulationResult
from edgeguard.firmware_sim.simulator import simulate
from edgeguard.report.demo_network import PAPER_EPS_UV, DemoOptions, recordings
from edgeguard.runtime.streaming import open_stream
from edgeguard.runtime.telling import Say

NETWORKS = ("none-edge-m", "adt-edge-m")
RECORDS = 48
"""That they are judged on: a network of edge-m takes six times the work of the demo's own."""


@dataclass(frozen=True)
class ZooOutcome:
    """One network of the zoo.

    Attributes:
        int8: its file.
        judged: the file, clean and under the paper's attacks.
        streamed: the streaming file in the simulator.
    """

    name: str
    int8: Path
    judged: Evaluation
    streamed: SimulationResult

    def to_json(self) -> dict[str, Any]:
        """As the demo's JSON names it."""
        return {
            "file": str(self.int8),
            "n": len(self.judged.labels),
            "int8": summary(self.judged)["attacks"],
            "stream": self.streamed.to_json(),
        }


def zoo_outcome(say: Say, *, name: str, out: Path, options: DemoOptions) -> ZooOutcome:
    """Judge a network's int8 file on RECORDS of the demo's test records, and play its stream."""
    say(f"zoo:{name}: judged and streamed")
    dataset, parts = options.data()
    int8 = located(f"zoo:{name}-int8")
    index = stratified(dataset.labels, parts.test, RECORDS, seed=options.seed)
    attacks = portfolio(eps=PAPER_EPS_UV)
    (judged,) = evaluate_contenders([open_contender(int8, None, attacks)], dataset, index, attacks, seed=options.seed)
    with event_log(out / f"events-zoo-{name}.jsonl") as log:
        streamed = simulate(open_stream(located(f"zoo:{name}-int8-streaming")), recordings(options.seed), log)
    return ZooOutcome(name, int8, judged, streamed)
