"""The demo's second half: the zoo's networks, trained on real records, on the same watch and under the same attacks."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgeguard.ecg.dataset import Dataset
from edgeguard.ecg.record import Record
from edgeguard.ecg.split import stratified
from edgeguard.evaluation.contender import open_contender
from edgeguard.evaluation.evaluate import Evaluation, evaluate_contenders, summary
from edgeguard.evaluation.portfolio import portfolio
from edgeguard.evaluation.zoo.located import located
from edgeguard.firmware_sim.events import event_log
from edgeguard.firmware_sim.result import SimulationResult
from edgeguard.firmware_sim.simulator import simulate
from edgeguard.runtime.streaming import open_stream

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


def zoo_outcome(
    name: str, out: Path, dataset: Dataset, test: np.ndarray, stream: list[Record], *, eps: float, seed: int
) -> ZooOutcome:
    """Judge a network's int8 file on some test records, and play its stream.

    Args:
        test: records of the data set, of which up to RECORDS are taken.
        stream: recordings to play.
    """
    int8 = located(f"zoo:{name}-int8")
    index = stratified(dataset.labels, test, RECORDS, seed=seed)
    attacks = portfolio(eps=eps)
    (judged,) = evaluate_contenders([open_contender(int8, None, attacks)], dataset, index, attacks, seed=seed)
    with event_log(out / f"events-zoo-{name}.jsonl") as log:
        streamed = simulate(open_stream(located(f"zoo:{name}-int8-streaming")), stream, log)
    return ZooOutcome(name, int8, judged, streamed)
