"""An attack by labels alone against one by the gradient, on the same records of the same file."""

from collections.abc import Callable
from typing import Any

import numpy as np

from edgeguard.attacks.campaign import Campaign
from edgeguard.errors import InputError
from edgeguard.evaluation.smallest_eps import compare_with_black_box, smallest_eps
from edgeguard.evaluation.sources import check_agreement, sources_of
from edgeguard.evaluation.subject import file_subject


def against_white_box(campaign: Campaign, *, progress: Callable[[int], object] | None = None) -> dict[str, Any]:
    """What `rays-sap` needed against what SAP by the file's own gradient, through its twin, needs; JSON-ready.

    Returns `compare_with_black_box`, and "white_box_linf_uv": the distances of the records attacked.

    Raises InputError for an attack that does not look for the smallest eps, or a file without a twin.
    """
    if campaign.attack.norm != "linf":
        raise InputError(f"--white-box: {campaign.attack.name} makes L2 small, not eps; add --attack rays-sap")
    subject = file_subject(campaign.model)
    rows = np.fromiter(campaign.found.traces, np.int64, len(campaign.found.traces))
    ecg, labels = campaign.found.originals[rows], campaign.labels[rows]
    _, mask, _ = campaign.dataset.batch(campaign.records[rows])
    (source,), _ = sources_of(subject, profile="paper", chosen=("twin",))
    check_agreement(source, subject, ecg)
    white = smallest_eps(source.model, subject.judge, ecg, labels, mask, progress=progress)
    black = np.array([trace.linf[-1] if trace.linf else np.inf for trace in campaign.traces])
    compared = compare_with_black_box(white.linf, black)
    return {**compared, "white_box_linf_uv": white.linf.tolist()}
