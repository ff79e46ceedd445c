"""The masking meter: does a probe reach the model at all, or is it lost between the codes of its input?

An attack that estimates a gradient compares labels of points near each other. Where the input quantiser is coarse,
small probes land on the very codes that were asked before, or move a few samples by a whole step: the estimate is
noise, the attack gets nowhere, and the file looks robust. That is masking, not robustness (Athalye et al. 2018,
arXiv 1802.00420).
"""

from collections import Counter
from threading import Lock
from typing import Any

import numpy as np

IDENTICAL_BAR = 0.5
"""Probes on known codes above which an attack is blind."""
FIDELITY_BAR = 0.3
"""Cosine below which what the codes carry of a probe is mostly noise."""

_WEIGHED = 8
_FINEST_UV = 2.0**-10
_BINS = 28


class MaskingMeter:
    """Counts probes by their size, and how many of them the model cannot see.

    Sizes are root mean squares over a record's valid samples, in bins of a factor of two.
    """

    def __init__(self) -> None:
        self._probes = np.zeros(_BINS, np.int64)
        self._identical = np.zeros(_BINS, np.int64)
        self._cosines: list[list[float]] = [[] for _ in range(_BINS)]
        self._blocks: Counter[int] = Counter()
        self._lock = Lock()

    def wants(self, record: int) -> bool:
        """Whether the next block of a record is to be weighed: the first of every eight, for it costs some passes."""
        with self._lock:
            self._blocks[record] += 1
            return self._blocks[record] % _WEIGHED == 1

    def note(self, rms_uv: float, repeated: np.ndarray, fidelity: float) -> None:
        """Take in a block of probes.

        Args:
            rms_uv: of one of them, as meant.
            repeated: bool [K], probes whose codes were asked before.
            fidelity: cosine between that probe as meant and the change of the input codes; 0 where none changes.
        """
        place = int(np.clip(np.floor(np.log2(max(rms_uv, _FINEST_UV) / _FINEST_UV)), 0, _BINS - 1))
        with self._lock:
            self._probes[place] += len(repeated)
            self._identical[place] += int(repeated.sum())
            self._cosines[place].append(fidelity)

    def table(self) -> list[dict[str, Any]]:
        """One row a size that was probed, rising: `probe_rms_uv` [low, high), `probes`, `identical`, `fidelity`.

        `identical` is the share of the probes on codes asked before, `fidelity` the median cosine. `probes` counts
        those weighed.
        """
        rows = []
        for place in np.flatnonzero(self._probes):
            low = _FINEST_UV * 2.0 ** int(place)
            rows.append(
                {
                    "probe_rms_uv": [low, 2 * low],
                    "probes": int(self._probes[place]),
                    "identical": float(self._identical[place] / self._probes[place]),
                    "fidelity": float(np.median(self._cosines[place])),
                }
            )
        return rows

    def verdict(self) -> dict[str, Any] | None:
        """Whether the attack's probes reach the model: `masked`, `identical`, `fidelity` over all; None without probes.

        Masked means that the attack's distances say nothing about the file's robustness.
        """
        probes = int(self._probes.sum())
        if not probes:
            return None
        identical = float(self._identical.sum() / probes)
        fidelity = float(np.median(np.concatenate([np.array(block) for block in self._cosines])))
        return {
            "masked": identical > IDENTICAL_BAR or fidelity < FIDELITY_BAR,
            "identical": identical,
            "fidelity": fidelity,
            "probes": probes,
        }


def fidelity(meant: np.ndarray, carried: np.ndarray) -> float:
    """Cosine between a probe as meant and the change of the input codes that it makes; 0 where it makes none."""
    meant, carried = meant.ravel().astype(np.float64), carried.ravel().astype(np.float64)
    norms = float(np.linalg.norm(meant) * np.linalg.norm(carried))
    return float(meant @ carried) / norms if norms else 0.0
