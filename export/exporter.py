"""A run folder to deployable files, written only when they say what the network says."""

import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from onnx import ModelProto

import edgeguard
from edgeguard.ecg.dataset import Dataset
from edgeguard.ecg.split import Split
from edgeguard.errors import InputError
from edgeguard.export import parity
from edgeguard.export.float_graph import export_float
from edgeguard.export.quantize import INPUT_STEP_UV, quantize
from edgeguard.models.run import Run
from edgeguard.runtime.files import write_bytes
from edgeguard.runtime.metadata import ModelMetadata
from edgeguard.runtime.session import open_model

CALIBRATION_WINDOWS = 200
_BATCH = 8
_PARITY_WINDOWS = 256


@dataclass(frozen=True)
class Exported:
    """Files that were written, and the checks that they passed.

    Attributes:
        fp32, int8: paths; int8 is None where it was not asked for.
        checks: parity checks by name.
        census: operators of the int8 file after ONNX Runtime's fusion; of the fp32 file without int8.
    """

    fp32: Path
    int8: Path | None
    checks: dict[str, parity.Check]
    census: dict[str, int]

    def sizes(self) -> dict[str, int | None]:
        """Bytes of each file."""
        return {"fp32": self.fp32.stat().st_size, "int8": self.int8.stat().st_size if self.int8 else None}


def export_run(
    run: Run,
    dataset: Dataset,
    split: Split,
    *,
    int8: bool,
    out: Path | None = None,
    step: float = INPUT_STEP_UV,
    calibration: int = CALIBRATION_WINDOWS,
    exclude: Sequence[str] = (),
    seed: int = 0,
    say: Callable[[str], None] = print,
) -> Exported:
    """Export a run's network; files stand in `out` (the run folder by default) only when every check holds.

    Args:
        dataset, split: the run's own data; training windows calibrate, validation windows check.
        step: of the int8 input quantiser, microvolts.
        calibration: windows to calibrate on, spread evenly over the classes.
        exclude: nodes to leave in float.

    Raises InputError when a check fails, naming it and its figure.
    """
    folder = out or run.path
    stem = f"{run.config['defense']}-{run.config['arch'].replace(':', '-').replace('/', '-')}"
    probe = dataset.batch(_spread(dataset, split.validation, _PARITY_WINDOWS, seed))[0]
    metadata = _metadata(run)
    with tempfile.TemporaryDirectory() as staging:
        fp32 = Path(staging) / f"{stem}-fp32.onnx"
        say("exporting the float graph")
        graph = export_float(run.model, window=dataset.window)
        write_bytes(fp32, _serialise(graph, metadata))
        floating = open_model(fp32)
        checks = {"torch_fp32": parity.float_parity(run.model, floating, probe)}
        _require(checks)
        made = [fp32]
        if int8:
            chosen = _spread(dataset, split.train, calibration, seed)
            say(f"calibrating on {len(chosen)} training windows")
            quantised = quantize(graph, _batches(dataset, chosen), step=step, exclude=exclude)
            about = {"method": "minmax", "windows": len(chosen), "seed": seed, "exclude": list(exclude)}
            file = Path(staging) / f"{stem}-int8.onnx"
            stated = replace(
                metadata,
                calibration=about,
                input_step_uv=step,
                float_convolutions=_excluded_convolutions(graph, exclude),
            )
            write_bytes(file, _serialise(quantised, stated))
            checks["fp32_int8"] = parity.int8_parity(floating, open_model(file), probe)
            checks["host_form"] = parity.host_form_parity(file, probe[:64])
            checks["integer_convolutions"], census = parity.integer_convolutions(
                file, allowed=stated.float_convolutions or 0
            )
            _require(checks)
            made.append(file)
        else:
            _, census = parity.integer_convolutions(fp32)
        for file in made:
            write_bytes(folder / file.name, file.read_bytes())
    return Exported(folder / fp32.name, folder / made[-1].name if int8 else None, checks, census)


def _metadata(run: Run) -> ModelMetadata:
    config = run.config
    return ModelMetadata(
        classes=tuple(config["classes"]),
        sampling_rate=config["sampling_rate"],
        window=config["window"],
        unit="uV",
        architecture=config["arch"],
        defense=config["defense"],
        seed=config["seed"],
        data={"fingerprint": config["data"]["fingerprint"], "source": config["data"]["source"]},
        split=config["split"],
        parent_sha256=run.weights_sha256,
        tool_version=edgeguard.__version__,
    )


def _serialise(graph: ModelProto, metadata: ModelMetadata) -> bytes:
    stamped = ModelProto()
    stamped.CopyFrom(graph)
    del stamped.metadata_props[:]
    for key, value in metadata.to_props().items():
        stamped.metadata_props.add(key=key, value=value)
    return stamped.SerializeToString()


def _spread(dataset: Dataset, index: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Up to `count` of the records, the same number of each class as far as they go."""
    rng = np.random.default_rng(seed)
    by_class = [rng.permutation(index[dataset.labels[index] == label]) for label in range(len(dataset.classes))]
    longest = max(len(members) for members in by_class)
    turns = [members[turn] for turn in range(longest) for members in by_class if turn < len(members)]
    return np.sort(np.asarray(turns[:count]))


def _batches(dataset: Dataset, index: np.ndarray) -> Iterator[np.ndarray]:
    for first in range(0, len(index), _BATCH):
        yield dataset.batch(index[first : first + _BATCH])[0]


def _excluded_convolutions(graph: ModelProto, exclude: Sequence[str]) -> int:
    return sum(node.name in set(exclude) for node in graph.graph.node if node.op_type == "Conv")


def _require(checks: dict[str, parity.Check]) -> None:
    for name, check in checks.items():
        if not check.holds:
            raise InputError(
                f"export refused: {name} does not hold ({check.meaning}: {check.figure:.4g}); nothing was written"
            )


def summary(exported: Exported) -> dict[str, Any]:
    """The JSON of `edgeguard export`."""
    return {
        "fp32": str(exported.fp32),
        "int8": None if exported.int8 is None else str(exported.int8),
        "streaming": None,
        "bytes": {**exported.sizes(), "streaming": None},
        "parity": parity.as_json(exported.checks),
        "census": exported.census,
    }
