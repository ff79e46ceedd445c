"""The data that a run or a file comes from, where nobody names others."""

from pathlib import Path
from typing import Any

from edgeguard.runtime.files import read_json
from edgeguard.runtime.run_files import CONFIG

Named = tuple[str | None, Path | None]
"""(data source, reference CSV), as `edgeguard.ecg.sources.load_dataset` takes them."""


def file_data(file: Path, data: str | None, labels: Path | None) -> Named:
    """As given, or where no data are named those of the run in the file's folder."""
    config = file.parent / CONFIG
    run = read_json(config) if data is None and config.is_file() else None
    return trained_on(run.get("options", {}) if isinstance(run, dict) else {}, data, labels)


def trained_on(options: dict[str, Any], data: str | None, labels: Path | None) -> Named:
    """As given, or where no data are named those of a run's options."""
    if data is not None:
        return data, labels
    return options.get("data"), labels or (Path(options["labels"]) if options.get("labels") else None)
