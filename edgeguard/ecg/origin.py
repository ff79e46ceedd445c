"""The data that a run or a file comes from, where nobody names others."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from edgeguard.ecg.dataset import Dataset
from edgeguard.ecg.label_map import parse_label_map
from edgeguard.ecg.sources import fetched_zip, load_dataset
from edgeguard.runtime.files import read_json
from edgeguard.runtime.run_files import CONFIG


@dataclass(frozen=True)
class Named:
    """Records by name, as `edgeguard.ecg.sources.load_dataset` takes them.

    Attributes:
        data: source; None: the default one.
        labels: reference CSV; None: the one inside or beside.
        label_map: label of the data -> class.
        lead: of records that have several signals.
        note: why these records are not those that a network was trained on; empty where they are, or were named.
    """

    data: str | None = None
    labels: Path | None = None
    label_map: Mapping[str, str] | None = None
    lead: str | int | None = None
    note: str = ""


def load_named(named: Named, **wanted: Any) -> Dataset:
    """The records as a model takes them, their note among the data set's notes.

    Args:
        wanted: window, classes, sampling rate, seed of `edgeguard.ecg.sources.load_dataset`.
    """
    dataset = load_dataset(named.data, labels=named.labels, label_map=named.label_map, lead=named.lead, **wanted)
    return replace(dataset, notes=(*filter(None, [named.note]), *dataset.notes))


def file_data(file: Path, named: Named) -> Named:
    """As given, or where no data are named those of the run in the file's folder."""
    config = file.parent / CONFIG
    run = read_json(config) if named.data is None and config.is_file() else None
    return trained_on(run.get("options", {}) if isinstance(run, dict) else {}, named)


def trained_on(options: Mapping[str, Any], named: Named) -> Named:
    """As given, or where no data are named those of a run's options.

    A run that names the zip of CinC 2017, as every network of the zoo does, has its records wherever they lie: where
    the zip is not at that path, the default data are taken, which are those records where they were fetched.
    """
    if named.data is not None or options.get("data") is None:
        return named
    path = Path(options["data"]).expanduser()
    if path.name == fetched_zip().name and not path.exists():
        fetched = fetched_zip().is_file()
        why = f"{path}, which the network was trained on, is not here; name it with --data, or run edgeguard data fetch"
        return replace(named, note="" if fetched else f"synthetic records: {why}")
    label_map = options.get("label_map")
    return Named(
        options["data"],
        named.labels or (Path(options["labels"]) if options.get("labels") else None),
        named.label_map or (parse_label_map(label_map) if isinstance(label_map, str) else label_map),
        named.lead if named.lead is not None else options.get("lead"),
    )
