"""Models by name: `zoo:NAME` wherever a path of a model is taken."""

import shutil
from pathlib import Path

from edgeguard.ecg.dataset import cache_root
from edgeguard.runtime.files import sha256_file
from edgeguard.runtime.run_files import CONFIG, METRICS, SPLIT, WEIGHTS
from edgeguard.runtime.zoo import FLOAT_FORM, PREFIX, ZooModel, parse, zoo_models

_RUN_FILES = (CONFIG, SPLIT, METRICS, WEIGHTS)


def located(model: str | Path) -> Path:
    """Where a model lies: a path as it is, `zoo:NAME` in the package, its hashes checked.

    `zoo:NAME` is a run folder, `zoo:NAME-int8` and `zoo:NAME-int8-streaming` are files, and `zoo:NAME-fp32` is written
    into the cache when it is first asked for, with its run beside it.

    Raises InputError for a name that the zoo does not have, and for a file that was changed.
    """
    return named(str(model)) if str(model).startswith(PREFIX) else Path(model)


def named(name: str) -> Path:
    """Where a network of the zoo lies, named with or without `zoo:`; as `located`."""
    found, form = parse(name, zoo_models())
    if form is None:
        return found.checked()
    if form == FLOAT_FORM:
        return _float_file(found)
    # With what tells of its network and its records, which lie beside it.
    return found.checked(found.file_name(form), *_RUN_FILES) / found.file_name(form)


def _float_file(model: ZooModel) -> Path:
    folder = cache_root() / "zoo" / f"{model.name}-{model.files['weights.safetensors'][:16]}"
    path = folder / model.file_name(FLOAT_FORM)
    weights = folder / "weights.safetensors"
    if not (path.is_file() and weights.is_file() and sha256_file(weights) == model.files[weights.name]):
        from edgeguard.export.exporter import write_float
        from edgeguard.models.run import load_run

        model.checked(*_RUN_FILES)
        folder.mkdir(parents=True, exist_ok=True)
        for name in _RUN_FILES:
            shutil.copyfile(model.path(name), folder / name)
        write_float(load_run(folder), path)
    return path
