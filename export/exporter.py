"""A run folder to deployable files, written only when they say what the network says."""

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import edgeguard
from edgeguard.ecg.dataset import Dataset
from edgeguard.ecg.split import Split
from edgeguard.export.float_form import FloatForm
from edgeguard.export.float_graph import export_float
from edgeguard.export.golden import golden_paths
from edgeguard.export.int8_file import Int8Options, quantised, require, serialise, spread
from edgeguard.export.ladder import run_ladder
from edgeguard.export.parity import float_parity, int8_parity
from edgeguard.export.rung import Rung, as_json
from edgeguard.models.run import Run
from edgeguard.runtime.census import fused_operators
from edgeguard.runtime.files import write_bytes
from edgeguard.runtime.host_form import host_form
from edgeguard.runtime.metadata import ModelMetadata
from edgeguard.runtime.session import open_model

PARITY_WINDOWS = 256
"""Records on which two forms are compared at most."""
LADDER_WINDOWS = 64
"""Records on which engines are compared at most."""


@dataclass(frozen=True)
class Exported:
    """Files that were written, and the checks that they passed.

    Attributes:
        fp32, int8: paths; int8 is None where it was not asked for.
        calibration: how the quantiser's ranges were found, as in the int8 file's metadata; None without int8.
        golden: golden vectors of the int8 file, for numpy and for C; none without int8.
        rungs: checks that were made; none of them failed.
        census: operators of the int8 file after ONNX Runtime's fusion; of the fp32 file without int8.
    """

    fp32: Path
    int8: Path | None
    calibration: dict[str, Any] | None
    golden: tuple[Path, ...]
    rungs: list[Rung]
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
    options: Int8Options | None = None,
    out: Path | None = None,
    seed: int = 0,
    say: Callable[[str], None] = print,
) -> Exported:
    """Export a run's network; files stand in `out` (the run folder by default) only when every check holds.

    Args:
        dataset, split: the run's own data; training windows calibrate, validation windows check.
        options: of the int8 file.

    Raises InputError when a check fails, naming it and its figure.
    """
    folder = out or run.path
    stem = "-".join(run.config[part].replace(":", "-").replace("/", "-") for part in ("defense", "arch"))
    probe = dataset.batch(spread(dataset, split.validation, PARITY_WINDOWS, seed))[0]
    metadata = stated = _metadata(run)
    with tempfile.TemporaryDirectory() as staging:
        fp32, file = (Path(staging) / f"{stem}-{form}.onnx" for form in ("fp32", "int8"))
        say("exporting the float graph")
        graph = export_float(run.model, window=dataset.window)
        write_bytes(fp32, serialise(graph, metadata))
        floating = open_model(fp32)
        rungs = [float_parity(run.model, floating, probe)]
        require(rungs)
        made = [fp32]
        if int8:
            options = options or Int8Options()
            chosen = spread(dataset, split.train, options.windows, seed)
            say(f"calibrating on {len(chosen)} training windows")
            about = {"windows": len(chosen), "seed": seed}
            int8_graph, stated = quantised(FloatForm(graph), metadata, dataset, chosen, options, file, say, about=about)
            write_bytes(file, serialise(int8_graph, stated))
            rungs.append(int8_parity(floating, open_model(file), probe))
            require(rungs)
            made += [file, *golden_paths(file)]
        say("climbing the ladder of checks")
        # The network in torch has been asked already, and is not beside the file here.
        final = open_model(file if int8 else fp32)
        climbed = run_ladder(final, probe[:LADDER_WINDOWS], golden=final.path.parent if int8 else None)
        rungs += [rung for rung in climbed if rung.name != "torch_fp32"]
        require(rungs)
        census = fused_operators(host_form(final.proto))
        for path in made:
            write_bytes(folder / path.name, path.read_bytes())
    return Exported(
        fp32=folder / fp32.name,
        int8=folder / file.name if int8 else None,
        calibration=stated.calibration,
        golden=tuple(folder / path.name for path in made[2:]),
        rungs=rungs,
        census=census,
    )


def write_float(run: Run, path: Path) -> Path:
    """Write a run's float graph as a file, as `export_run` does but without records to check it on."""
    write_bytes(path, serialise(export_float(run.model, window=run.config["window"]), _metadata(run)))
    return path


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


def summary(exported: Exported) -> dict[str, Any]:
    """The JSON of `edgeguard export`."""
    return {
        "fp32": str(exported.fp32),
        "int8": None if exported.int8 is None else str(exported.int8),
        "streaming": None,
        "bytes": {**exported.sizes(), "streaming": None},
        "calibration": exported.calibration,
        "golden": [str(path) for path in exported.golden],
        "parity": as_json(exported.rungs),
        "census": exported.census,
    }
