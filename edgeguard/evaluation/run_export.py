"""One export, of a run or of an ONNX file, from what was named to files that hold what they claim."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from edgeguard.ecg.arrays import Data, Labels, Signals, records_of
from edgeguard.ecg.dataset import Dataset
from edgeguard.ecg.label_map import parse_label_map
from edgeguard.ecg.split import Split, split_from
from edgeguard.errors import InputError
from edgeguard.evaluation.calibration import calibration_score
from edgeguard.evaluation.quantisation import LARGEST_RANKED_MACS, quantise
from edgeguard.evaluation.zoo.located import located
from edgeguard.export import exporter
from edgeguard.export.calibrate import parse_method
from edgeguard.export.exporter import export_run
from edgeguard.export.file_exporter import check_quantisable
from edgeguard.export.int8_file import CALIBRATION_WINDOWS, METHOD, Int8Options
from edgeguard.export.ranking import Scorer
from edgeguard.export.rung import as_json
from edgeguard.export.streaming import compiler
from edgeguard.export.streaming.compiler import Compiled, compile_stream
from edgeguard.export.streaming.proof import COST_HOPS, Records
from edgeguard.models.cost import cost
from edgeguard.models.run import Run, load_run, newest_run
from edgeguard.runtime.census import fused_operators
from edgeguard.runtime.loading import load_onnx
from edgeguard.runtime.session import OnnxModel, open_model
from edgeguard.runtime.stream_form import stream_form
from edgeguard.runtime.telling import Say, log
from edgeguard.runtime.typed_json import IF_GIVEN, from_json, to_json
from edgeguard.runtime.zoo import PREFIX

SCHEMA = "edgeguard.export/1"


@dataclass(frozen=True)
class Parity:
    """One check of the files: whether it holds, None where it does not apply, and the figure that decides."""

    holds: bool | None
    figure: float | None
    meaning: str
    note: str


@dataclass(frozen=True)
class ExportResult:
    """Files that were written.

    Attributes:
        fp32, int8, streaming: paths; None where there is none. Of an ONNX file fp32 is that file itself.
        bytes: of each.
        calibration: how the quantiser's ranges were found.
        golden: golden vectors of the int8 file.
        parity: checks by name.
        census: operators that ONNX Runtime executes, and how many of each.
        stream: of the streaming file: hop, states, work and proof.
        input: of an ONNX file that was quantised: bits, step and reach of the input's codes, and the share of the
            samples of the calibration records that they hold; None where the input stays in float.
        accuracy: of both files on labelled records: correct records of each, and the paired difference.
        left_in_float: operator -> nodes of an ONNX file that compute and stay in float.
        notes: what else is worth knowing, one line each.
    """

    fp32: str | None
    int8: str | None
    streaming: str | None
    bytes: dict[str, int | None]
    calibration: dict[str, Any] | None
    golden: tuple[str, ...]
    parity: dict[str, Parity]
    census: dict[str, int]
    stream: dict[str, Any] | None = field(default=None, metadata=IF_GIVEN)
    input: dict[str, Any] | None = field(default=None, metadata=IF_GIVEN)
    accuracy: dict[str, Any] | None = field(default=None, metadata=IF_GIVEN)
    left_in_float: dict[str, int] | None = field(default=None, metadata=IF_GIVEN)
    notes: tuple[str, ...] | None = field(default=None, metadata=IF_GIVEN)
    schema: str = SCHEMA

    def to_json(self) -> dict[str, Any]:
        """What `edgeguard export --json` prints."""
        made: dict[str, Any] = to_json(self)
        return made

    @classmethod
    def from_json(cls, value: Any) -> "ExportResult":
        """Read that again; InputError where it is something else."""
        return from_json(cls, value, where=SCHEMA)

    def __repr__(self) -> str:
        files = [f"{form} {path}" for form in ("fp32", "int8", "streaming") if (path := getattr(self, form))]
        return f"ExportResult({', '.join(files)}; {len(self.parity)} checks)"


def export_model(
    model: str | Path | None = None,
    *,
    int8: bool = False,
    streaming: bool = False,
    hop: float | None = None,
    close: bool = False,
    data: Data | None = None,
    ecg: Signals | None = None,
    labels: Labels | None = None,
    label_map: Mapping[str, str] | None = None,
    lead: str | int | None = None,
    calibration: str | None = None,
    calibration_windows: int = CALIBRATION_WINDOWS,
    input_bits: int = 8,
    input_step: float | None = None,
    portable: bool = False,
    exclude: Sequence[str] = (),
    out: str | Path | None = None,
    classes: Sequence[str] | None = None,
    sampling_rate: float | None = None,
    window: int | None = None,
    unit: str | None = None,
    threshold: float | None = None,
    say: Say = log,
) -> ExportResult:
    """Export a run to ONNX, checked against the network; or quantise anybody's float ONNX file, or make a stream of it.

    Args:
        model: run folder; None: the newest finished one under `runs/`; or an ONNX file.
        int8: also the quantised file, calibrated on training windows; of an ONNX file calibrated on `data`.
        streaming: also a file that takes one hop at a time, of the last file made.
        hop: of the streaming file, seconds; None: the multiple of the network's stride nearest to 1 s.
        close: of an ONNX file that pads, a stream of the frames that no padding reaches, with its measured cost.
        data, ecg, labels: what the run was trained on, where its config does not lead there; of an ONNX file the
            records to calibrate and to judge on, and to measure a close stream on; labels `none` where they have none.
        label_map, lead: which class a label of the data stands for, and which signal to take of several.
        calibration: auto (ranks several on validation records), minmax, percentile:99.99 or entropy; None: auto, but
            percentile:99.99 for networks above 100 million multiply-accumulates a window.
        calibration_windows: training windows to calibrate on.
        input_bits: of the input's codes, 8 or 16.
        input_step: microvolts from code to code of the input; None: what fits the bits, of an ONNX file what holds
            99.99 % of the records' samples.
        portable: weights of 7 bits.
        exclude: nodes to leave in float.
        out: folder for the files; None: that of the run or the file, or of a network of the zoo `runs/NAME`.
        classes, sampling_rate, window, unit, threshold: of a file that does not say; hertz, samples, `uV`, `mV` or
            `V`. They stand in the files that are made.
        say: receives a line now and then.

    Raises InputError for anything that cannot be, and where a check fails: nothing is written then.
    """
    if input_step is not None and not 0 < input_step < float("inf"):
        raise InputError(f"--input-step {input_step}: above 0 microvolts needed")
    if calibration_windows < 1:
        raise InputError(f"--calibration-windows {calibration_windows}: at least 1 window needed")
    path, folder = None if model is None else located(model), None if out is None else Path(out)
    if path is not None and folder is None and str(model).startswith(PREFIX):
        folder = Path("runs") / path.stem
    if calibration not in (None, "auto"):
        parse_method(calibration)
    named = {"data": data, "ecg": ecg, "labels": labels, "label_map": label_map, "lead": lead}
    if path is not None and path.suffix == ".onnx":
        if not (int8 or streaming):
            raise InputError(f"{path}: is an ONNX file already; add --int8, --streaming or both")
        file = open_model(
            path, classes=classes, unit=unit, window=window, sampling_rate=sampling_rate, threshold=threshold
        )
        made = _NOTHING
        if int8:
            check_quantisable(file)
        given = data is not None or ecg is not None
        dataset = _records(file, named) if int8 or (close and given) else None
        if int8:
            assert dataset is not None
            made = quantise(
                file,
                dataset,
                calibration=calibration,
                windows=calibration_windows,
                bits=input_bits,
                step=input_step,
                portable=portable,
                exclude=exclude,
                out=folder,
                say=say,
            )
        if streaming:
            source = open_model(made["int8"]) if int8 else file
            made = _with_stream(made, _stream(source, folder, hop, say, close=close, dataset=dataset))
        return ExportResult.from_json(to_json(made))
    if path is None:
        path = newest_run()
        say(f"run: {path}")
    run = load_run(path)
    dataset = _run_data(run, named)
    parts = split_from(dataset, run.config["split"])
    ranked = int8 and (calibration or _usual_calibration(run)) == "auto"
    options = Int8Options(
        method=METHOD if calibration in (None, "auto") else calibration,
        score=_score(run, dataset, parts, say) if ranked else None,
        bits=input_bits,
        step=input_step,
        windows=calibration_windows,
        exclude=tuple(exclude),
        portable=portable,
    )
    result = export_run(run, dataset, parts, int8=int8, options=options, out=folder, say=say)
    made = exporter.summary(result)
    if streaming:
        made = _with_stream(made, _stream(open_model(result.int8 or result.fp32), folder, hop, say, close=close))
    return ExportResult.from_json(to_json(made))


_NOTHING: dict[str, Any] = {
    "fp32": None,
    "int8": None,
    "streaming": None,
    "bytes": {"fp32": None, "int8": None, "streaming": None},
    "calibration": None,
    "golden": [],
    "parity": {},
    "census": {},
}


def _records(file: OnnxModel, named: dict[str, Any]) -> Dataset:
    """The records named, as a file takes them.

    Args:
        named: data, ecg, labels, label_map and lead, as `records_of` takes them.
    """
    if named["data"] is None and named["ecg"] is None:
        raise InputError(
            f"{file.path}: needs records to calibrate on; add --data SRC, and --labels none without labels"
        )
    spec = file.spec
    return records_of(**named, window=spec.window, classes=spec.classes, sampling_rate=spec.sampling_rate)


def _stream(
    source: OnnxModel,
    folder: Path | None,
    hop: float | None,
    say: Say,
    *,
    close: bool = False,
    dataset: Dataset | None = None,
) -> Compiled:
    """`NAME-stream.onnx` of a window model's file, in its own folder unless another is named."""
    path = source.path
    say(f"compiling the stream and proving it against {path.name}")
    records = None if dataset is None else _some_windows(dataset)
    out = (folder or path.parent) / f"{path.stem}-stream.onnx"
    return compile_stream(source, out, hop=hop, close=close, records=records)


def _some_windows(dataset: Dataset, *, seed: int = 0) -> Records:
    """Windows of a data set to measure a close stream on, in an order by chance; end to end they would mix rhythms."""
    chosen = np.random.default_rng(seed).permutation(len(dataset))[:COST_HOPS]
    return Records(dataset.source, [dataset.windows[place].astype(np.float32) for place in chosen])


def _with_stream(made: dict[str, Any], compiled: Compiled) -> dict[str, Any]:
    """The figures with the stream's among them."""
    return {
        **made,
        "streaming": str(compiled.path),
        "bytes": {**made["bytes"], "streaming": compiled.path.stat().st_size},
        "parity": {**made["parity"], **as_json([compiled.rung()])},
        "census": made["census"] or fused_operators(stream_form(load_onnx(compiled.path))[0]),
        "stream": compiler.summary(compiled),
    }


def _usual_calibration(run: Run) -> str:
    """`auto` for a network that can be attacked within about a minute, else the usual method."""
    return "auto" if cost(run.model, window=run.config["window"]).macs <= LARGEST_RANKED_MACS else METHOD


def _score(run: Run, dataset: Dataset, split: Split, say: Say) -> Scorer:
    say("crafting attacks on validation records, to rank calibrations (skipped by naming one with --calibration)")
    return calibration_score(run.model, dataset, split.validation)


def _run_data(run: Run, named: dict[str, Any]) -> Dataset:
    """The data set that a run was trained on; InputError where another one is there."""
    config = run.config
    options = config["options"]
    own = {"label_map": parse_label_map(options.get("label_map")), "lead": options.get("lead")}
    dataset = records_of(
        **{**own, **{name: value for name, value in named.items() if value is not None}},
        run_options=options,
        window=config["window"],
        classes=config["classes"],
        sampling_rate=config["sampling_rate"],
    )
    if dataset.fingerprint != config["data"]["fingerprint"]:
        raise InputError(
            f"{dataset.source}: not the data that the run was trained on ({config['data']['source']}); "
            "name them with --data"
        )
    return dataset
