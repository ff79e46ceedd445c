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
from edgeguard.export.float_graph import INPUT, export_float
from edgeguard.export.golden import golden_paths
from edgeguard.export.ladder import run_ladder
from edgeguard.export.parity import float_parity, int8_parity
from edgeguard.export.quantize import INPUT_STEPS_UV, InputCodes, float_convolutions
from edgeguard.export.ranking import Candidate, Score, Scorer, best, candidate_maker, rank
from edgeguard.export.rung import Rung, as_json
from edgeguard.models.run import Run
from edgeguard.runtime.census import fused_operators
from edgeguard.runtime.files import write_bytes
from edgeguard.runtime.host_form import host_form
from edgeguard.runtime.input_quantizer import read_input_quantizer
from edgeguard.runtime.loading import load_onnx
from edgeguard.runtime.metadata import ModelMetadata
from edgeguard.runtime.saturation import may_saturate
from edgeguard.runtime.session import open_model

CALIBRATION_WINDOWS = 200
METHOD = "percentile:99.99"
"""How ranges are found where no score ranks the candidates."""
_BATCH = 8
_PARITY_WINDOWS = 256
_LADDER_WINDOWS = 64


@dataclass(frozen=True)
class Int8Options:
    """How the int8 file is made.

    Attributes:
        method: of calibration (`parse_method`); unused with a score.
        score: judges the candidates of `ranking.rank`, the best of which is written with the table in its metadata.
        bits: of the input codes, 8 or 16; 16 leave the stem in float.
        step: of the input codes, microvolts; by default what fits the bits, or with a score what ranks best.
        windows: to calibrate on, spread evenly over the classes.
        exclude: nodes to leave in float.
        portable: weights of 7 bits.
    """

    method: str = METHOD
    score: Scorer | None = None
    bits: int = 8
    step: float | None = None
    windows: int = CALIBRATION_WINDOWS
    exclude: Sequence[str] = ()
    portable: bool = False

    @property
    def codes(self) -> InputCodes:
        """Of the input, as asked for or by default."""
        return InputCodes(self.bits, self.step or INPUT_STEPS_UV[self.bits])


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
    stem = f"{run.config['defense']}-{run.config['arch'].replace(':', '-').replace('/', '-')}"
    probe = dataset.batch(_spread(dataset, split.validation, _PARITY_WINDOWS, seed))[0]
    metadata = stated = _metadata(run)
    with tempfile.TemporaryDirectory() as staging:
        fp32, file = (Path(staging) / f"{stem}-{form}.onnx" for form in ("fp32", "int8"))
        say("exporting the float graph")
        graph = export_float(run.model, window=dataset.window)
        write_bytes(fp32, _serialise(graph, metadata))
        floating = open_model(fp32)
        rungs = [float_parity(run.model, floating, probe)]
        _require(rungs)
        made = [fp32]
        if int8:
            options = options or Int8Options()
            chosen = _spread(dataset, split.train, options.windows, seed)
            say(f"calibrating on {len(chosen)} training windows")
            quantised, stated = _quantised(graph, metadata, dataset, chosen, options, file, say)
            about = {**(stated.calibration or {}), "windows": len(chosen), "seed": seed}
            stated = replace(stated, calibration=about, requires_vnni=may_saturate(host_form(quantised)))
            write_bytes(file, _serialise(quantised, stated))
            rungs.append(int8_parity(floating, open_model(file), probe))
            _require(rungs)
            made += [file, *golden_paths(file)]
        say("climbing the ladder of checks")
        # The network in torch has been asked already, and is not beside the file here.
        final = file if int8 else fp32
        climbed = run_ladder(open_model(final), probe[:_LADDER_WINDOWS], golden=final.parent if int8 else None)
        rungs += [rung for rung in climbed if rung.name != "torch_fp32"]
        _require(rungs)
        census = fused_operators(host_form(load_onnx(final)))
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
    write_bytes(path, _serialise(export_float(run.model, window=run.config["window"]), _metadata(run)))
    return path


def _quantised(
    graph: ModelProto,
    metadata: ModelMetadata,
    dataset: Dataset,
    chosen: np.ndarray,
    options: Int8Options,
    trial: Path,
    say: Callable[[str], None],
) -> tuple[ModelProto, ModelMetadata]:
    """The int8 graph and what its file says.

    Args:
        chosen: records to calibrate on.
        trial: where candidates lie while they are judged.
    """
    make = candidate_maker(graph, lambda: _batches(dataset, chosen), exclude=options.exclude, portable=options.portable)

    def stated(candidate: Candidate) -> ModelMetadata:
        quantizer = read_input_quantizer(make(candidate), INPUT)
        step = None if quantizer is None else quantizer.step
        return replace(
            metadata,
            input_step_uv=step,
            input_bits=None if step is None else candidate.codes.bits,
            weight_bits=7 if options.portable else 8,
            float_convolutions=float_convolutions(graph, codes=candidate.codes, exclude=options.exclude),
        )

    def judged(candidate: Candidate) -> Score:
        say(f"judging {candidate}")
        write_bytes(trial, _serialise(make(candidate), stated(candidate)))
        assert options.score is not None
        return options.score(trial)

    candidate = Candidate(options.method, options.codes)
    table: dict[str, Any] = {}
    if options.score is not None:
        rows = rank(judged, codes=options.codes if options.step or options.bits == 16 else None)
        candidate = best(rows, bits=options.bits)
        table = {"candidates": [row.as_json() for row in rows]}
    calibration = {"method": candidate.method, "exclude": list(options.exclude), **table}
    return make(candidate), replace(stated(candidate), calibration=calibration)


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


def _require(rungs: Sequence[Rung]) -> None:
    for rung in rungs:
        if rung.holds is False:
            figure = "" if rung.figure is None else f": {rung.figure:.4g}"
            note = f"; {rung.note}" if rung.note else ""
            raise InputError(
                f"export refused: {rung.name} does not hold ({rung.meaning}{figure}{note}); nothing was written"
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
