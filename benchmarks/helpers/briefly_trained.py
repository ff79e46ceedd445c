"""Files to measure on, for a benchmark that is given none: speed does not depend on what was learnt."""

from functools import partial
from pathlib import Path

import torch

from edgeguard.defenses.config import make_config
from edgeguard.defenses.train import Job, train
from edgeguard.ecg.dataset import build
from edgeguard.ecg.split import split
from edgeguard.ecg.synthetic import generate
from edgeguard.evaluation.metrics import scores
from edgeguard.export.exporter import Exported, export_run
from edgeguard.models import load_run

RECORDS = 80


def briefly_trained(arch: str, folder: Path) -> Exported:
    """fp32 and int8 files in `folder` of an undefended network after one epoch on a few synthetic records."""
    dataset = build("synthetic", generate(RECORDS))
    parts = split(dataset)
    judge = partial(scores, classes=len(dataset.classes))
    config = make_config(defense="none", arch=arch, epochs=1)
    job = Job(config, dataset, parts, folder, torch.device("cpu"), judge)
    return export_run(load_run(train(job)), dataset, parts, int8=True, say=lambda _: None)
