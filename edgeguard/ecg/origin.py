"""The data that a run or a file comes from, where nobody names others."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgeguard.ecg.label_map import parse_label_map
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
    """

    data: str | None = None
    labels: Path | None = None
    label_map: Mapping[str, str] | None = None
    lead: str | int | None = None


def file_data(file: Path, named: Named) -> Named:
    """As given, or where no data are named those of the run in the file's folder."""
    config = file.parent / CONFIG
    run = read_json(config) if named.data is None and config.is_file() else None
    return trained_on(run.get("options", {}) if isinstance(run, dict) else {}, named)


def trained_on(options: Mapping[str, Any], named: Named) -> Named:
    """As given, or where no data are named those of a run's options."""
    if named.data is not None or options.get("data") is None:
        return named
    label_map = options.get("label_map")
    return Named(
        options["data"],
        named.labels or (Path(options["labels"]) if options.get("labels") else None),
        named.label_map or (parse_label_map(label_map) if isinstance(label_map, str) else label_map),
        named.lead if named.lead is not None else options.get("lead"),
    )
