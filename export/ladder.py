"""The ladder: is the file what it claims to be, on every engine that can be asked?

Each rung compares two ways to compute the same thing, or proves a property of the file, and answers with one figure.

    checker            onnx's full check of the file
    torch_fp32         the parent run's network, where it lies beside the file, against its float graph on ONNX Runtime
    census             convolutions that ONNX Runtime executes in float
    host_form          the S8S8 file as stored against the U8S8 form that hosts run
    twin               the differentiable twin against ONNX Runtime, bit for bit
    reference          onnx's ReferenceEvaluator, which fuses nothing, against ONNX Runtime
    batch              rows alone against rows in a batch of 64
    saturation         whether 8-bit sums can overflow on processors without VNNI
    golden             golden vectors against what the file computes here and now

A rung that does not apply, or that nothing here can climb, holds neither way and says why.
"""

import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from onnx import ModelProto

from edgeguard.errors import InputError
from edgeguard.export.codes import Codes, each_row, last_codes, with_output
from edgeguard.export.golden import golden_paths, load_golden, make_golden, save_golden
from edgeguard.export.rung import Rung
from edgeguard.runtime.census import float_convolutions, fused_operators
from edgeguard.runtime.host_form import host_form
from edgeguard.runtime.loading import ModelFile, is_quantised, read_signature
from edgeguard.runtime.model_spec import stated_facts
from edgeguard.runtime.run_files import holds_parent
from edgeguard.runtime.saturation import pair_bounds
from edgeguard.runtime.session import OnnxModel, load_session, open_model

if TYPE_CHECKING:
    from edgeguard.models.run import Run

Twin = Callable[..., Any]
"""ecg, a torch tensor [B, 1, T] in microvolts, to a torch tensor of logits [B, C]."""
TwinBuilder = Callable[[OnnxModel | ModelProto], Twin]
"""The twin of an opened file, or of a model in memory that takes microvolts."""

TWIN_ROW_RATE = 0.995
"""Least share of rows on which a twin must equal ONNX Runtime in every bit before it may attack."""
FLOAT_TOLERANCE = 1e-4
"""Largest difference of logits between engines that add floats in different order, relative to the largest logit."""
REFERENCE_ROWS = 8
GOLDEN_ROWS = 8
_REFERENCE_OPSET = 19
"""The first opset whose DequantizeLinear onnx's ReferenceEvaluator knows."""
_BATCH = 64


def run_ladder(
    file: OnnxModel,
    ecg: np.ndarray,
    *,
    build: TwinBuilder | None = None,
    golden: Path | None = None,
    progress: Callable[[str], None] = lambda name: None,
) -> list[Rung]:
    """Climb every rung.

    Args:
        file: the model, opened with the facts that its file lacks.
        ecg: float32 [B, 1, T] microvolts, B >= 1, to compare engines on.
        build: makes the twin of a model; `edgeguard.export.twin.build_twin` by default.
        golden: folder to write golden vectors to; without it those beside the file are checked, if any.
        progress: called with each rung's name before it is climbed.
    """
    model = file.proto
    rungs: dict[str, Callable[[], Rung]] = {
        "checker": partial(checker, model),
        "torch_fp32": partial(torch_against_float_graph, file, model, ecg),
        "census": partial(census, file, model),
        "host_form": partial(host_form_against_stored, file, model, ecg),
        "twin": partial(twin_against_file, file, model, ecg, build=build),
        "reference": partial(reference_against_file, file, model, ecg[:REFERENCE_ROWS]),
        "batch": partial(alone_against_batch, file, ecg),
        "saturation": partial(saturation, file, model),
        "golden": partial(golden_vectors, file, ecg[:GOLDEN_ROWS], folder=golden),
    }
    climbed = []
    for name, climb in rungs.items():
        progress(name)
        climbed.append(climb())
    return climbed


def all_hold(rungs: Sequence[Rung]) -> bool:
    """Whether no rung fails."""
    return all(rung.holds is not False for rung in rungs)


def checker(model: ModelProto) -> Rung:
    """onnx's own check, types and shapes included."""
    meaning = "faults that onnx's full check finds"
    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError, ValueError) as error:
        return Rung("checker", False, 1, meaning, _one_line(error))
    return Rung("checker", True, 0, meaning)


def torch_against_float_graph(file: OnnxModel, model: ModelProto, ecg: np.ndarray) -> Rung:
    """The parent run's network in torch against the float graph that the exporter makes of it, on ONNX Runtime."""
    meaning = "largest relative logit difference, torch and float graph"
    try:
        run = _parent_run(file)
        if run is None:
            return Rung("torch_fp32", None, None, meaning, "the run that the file was made from is not beside it")
        from edgeguard.export.float_graph import export_float
        from edgeguard.export.parity import float_parity
    except ImportError as error:
        return Rung("torch_fp32", None, None, meaning, f"needs {error.name}")
    if not is_quantised(model):
        return float_parity(run.model, file, ecg)
    with tempfile.TemporaryDirectory() as folder:
        graph = Path(folder) / "fp32.onnx"
        onnx.save(export_float(run.model, window=file.window), graph)
        return float_parity(run.model, _open_like(file, graph), ecg)


def census(file: OnnxModel, model: ModelProto) -> Rung:
    """The convolutions of a quantised file that run in float must be those that its metadata declare, by default none.

    Fewer are wrong too: ONNX Runtime then rounds weights of its own accord that the file holds in float.
    """
    meaning = "convolutions that ONNX Runtime executes in float"
    counted = fused_operators(host_form(model))
    listed = ", ".join(f"{name} {count}" for name, count in counted.items())
    left, declared = float_convolutions(counted), file.metadata.float_convolutions or 0
    if not is_quantised(model):
        return Rung("census", None, left, meaning, f"a float file: {listed}")
    note = f"{listed}; {declared} declared" if declared else listed
    return Rung("census", left == declared, left, meaning, note)


def host_form_against_stored(file: OnnxModel, model: ModelProto, ecg: np.ndarray) -> Rung:
    """The file as stored and the form that runs on a host must name the same classes.

    The codes are the same but for near-ties of a fused addition, which ONNX Runtime rounds in float.
    """
    meaning = f"share of {len(ecg)} windows with bit-equal logits, S8S8 and U8S8; every class equal"
    if host_form(model) is model:
        return Rung("host_form", None, None, meaning, "the file has no other form: it runs as stored")
    stored, host = _open_like(file, file.file, host_form=False).outputs(ecg), file.outputs(ecg)
    same = _same_classes(file, stored, host)
    return Rung("host_form", same, _equal_rows(stored, host), meaning)


def twin_against_file(file: OnnxModel, model: ModelProto, ecg: np.ndarray, *, build: TwinBuilder | None = None) -> Rung:
    """The twin must give ONNX Runtime's bits on nearly every row, and be one code off at most on the others.

    A float file has no codes: there the logits must agree as closely as float additions do. So must the logits of a row
    whose codes are equal up to a float tail, which ONNX Runtime fuses.
    """
    meaning = f"share of {len(ecg)} windows with bit-equal logits, twin and ONNX Runtime"
    try:
        build = build or _twin_builder()
        twin = _in_numpy(build(file))
    except ImportError as error:
        return Rung("twin", None, None, meaning, f"needs {error.name}")
    except InputError as error:
        return Rung("twin", None, None, meaning, str(error).removeprefix(f"{file.path}: "))
    expected, got = file.outputs(ecg), twin(ecg)
    equal = _equal_rows(expected, got)
    if equal == 1:
        return Rung("twin", True, equal, meaning)
    if not is_quantised(model):
        difference = _relative_difference(expected, got)
        meaning = f"largest relative logit difference on {len(ecg)} windows, twin and ONNX Runtime"
        return Rung("twin", difference <= FLOAT_TOLERANCE, difference, meaning, "a float file: sums differ in order")
    wrong = (expected != got).any(axis=1)
    steps = _twin_steps(file, model, ecg[wrong], build)
    note = f"the other {int(wrong.sum())} are {_steps(steps)} off"
    difference = _relative_difference(expected, got)
    # Where no codes can be compared, a step of one would show in the logits.
    if steps in (0, None) and difference <= FLOAT_TOLERANCE:
        return Rung("twin", True, equal, meaning, f"{note}, and {difference:.1e} relative behind the last codes")
    return Rung("twin", equal >= TWIN_ROW_RATE and steps is not None and steps <= 1, equal, meaning, note)


def reference_against_file(file: OnnxModel, model: ModelProto, ecg: np.ndarray) -> Rung:
    """onnx's ReferenceEvaluator computes the graph as written, in float between its quantisers; ONNX Runtime fuses.

    The codes that reach the float tail may therefore be one step apart, where a sum lies near a tie; logits of a
    float file as far as float additions are.
    """
    meaning = f"share of {len(ecg)} windows with equal codes before the float tail, ReferenceEvaluator and ONNX Runtime"
    codes = last_codes(model)
    try:
        if codes is None:
            meaning = f"largest relative logit difference on {len(ecg)} windows, ReferenceEvaluator and ONNX Runtime"
            difference = _relative_difference(file.outputs(ecg), _evaluate(file, model, ecg))
            return Rung("reference", difference <= FLOAT_TOLERANCE, difference, meaning)
        cut = with_output(model, codes.tensor)
        ours, theirs = _runtime(file, cut, ecg), _evaluate(file, cut, ecg)
    except (_NotEvaluatedError, InputError) as error:
        return Rung("reference", None, None, meaning, str(error))
    steps = _largest_step(ours, theirs, codes)
    return Rung("reference", steps <= 1, _equal_rows(ours, theirs), meaning, f"at most {_steps(steps)} apart")


def alone_against_batch(file: OnnxModel, ecg: np.ndarray) -> Rung:
    """A row's class must not depend on its company, nor its logits beyond what float additions do."""
    rows = np.resize(ecg, (_BATCH, *ecg.shape[1:]))
    size = file.batches[0]
    meaning = f"share of {_BATCH} windows with bit-equal logits, alone and in a batch of {size}"
    if len(file.batches) == 1:
        return Rung("batch", None, None, meaning, f"the file is run {size} at a time only")
    together = file.outputs(rows)
    alone = np.concatenate([file.outputs(row[None]) for row in rows])
    same = _same_classes(file, alone, together)
    holds = same and _relative_difference(alone, together) <= FLOAT_TOLERANCE
    return Rung("batch", holds, _equal_rows(alone, together), meaning)


def saturation(file: OnnxModel, model: ModelProto) -> Rung:
    """Proven from the weights that no 16-bit sum overflows, or declared, so that the loader avoids such sums."""
    meaning = "largest sum of two 8-bit products; int16 ends at 32767"
    bounds = pair_bounds(host_form(model))
    if not bounds:
        return Rung("saturation", None, None, meaning, "no layer multiplies uint8 activations by int8 weights")
    largest = max(bound.magnitude for bound in bounds)
    unsafe = [bound.node for bound in bounds if not bound.fits]
    declared = file.metadata.requires_vnni
    if not unsafe:
        return Rung("saturation", True, largest, meaning, "proven safe on processors without VNNI")
    which = f"{len(unsafe)} of {len(bounds)} layers may overflow without VNNI"
    if declared:
        return Rung("saturation", True, largest, meaning, f"{which}; declared, and loaded with care there")
    if declared is None and file.metadata.schema is None:
        return Rung("saturation", None, largest, meaning, f"{which}; loaded with care there")
    return Rung("saturation", False, largest, meaning, f"{which}, and the metadata do not declare requires_vnni")


def golden_vectors(file: OnnxModel, ecg: np.ndarray, *, folder: Path | None = None) -> Rung:
    """Vectors written now and read back, or those that lie beside the file, against what it computes here."""
    npz, header = golden_paths(file.path, folder)
    meaning = "share of golden rows that the file gives bit for bit"
    if folder is not None:
        save_golden(make_golden(file, ecg), npz, header)
    elif not npz.is_file():
        return Rung("golden", None, None, meaning, "none beside the file; --golden DIR writes them")
    golden = load_golden(npz)
    if golden.sha256 != file.sha256:
        return Rung("golden", False, 0, meaning, f"{npz} belongs to another file (sha256 {golden.sha256[:12]})")
    logits = file.outputs(golden.ecg)
    same = bool((file.spec.logits(logits).argmax(axis=1) == golden.labels).all())
    close = _relative_difference(golden.logits, logits) <= FLOAT_TOLERANCE
    return Rung(
        "golden", same and close, _equal_rows(golden.logits, logits), meaning, f"{len(logits)} rows in {npz.name}"
    )


class _NotEvaluatedError(Exception):
    """onnx's ReferenceEvaluator cannot run a graph; the text says why."""


def _evaluate(file: OnnxModel, model: ModelProto, ecg: np.ndarray) -> np.ndarray:
    """The one output of a model for windows [B, 1, T], by onnx's ReferenceEvaluator."""
    from onnx.reference import ReferenceEvaluator

    batch = _batch(file, model)
    try:
        if any(entry.domain in ("", "ai.onnx") and entry.version < _REFERENCE_OPSET for entry in model.opset_import):
            model = onnx.version_converter.convert_version(model, 21)
        evaluator = ReferenceEvaluator(model)
        return each_row(lambda feed: next(iter(evaluator.run(None, feed))), file, ecg, batch=batch)
    except Exception as error:  # an operator it lacks may fail in any way
        raise _NotEvaluatedError(f"ReferenceEvaluator cannot run it ({_one_line(error)})") from error


def _runtime(file: OnnxModel, model: ModelProto, ecg: np.ndarray) -> np.ndarray:
    """The one output of a model for windows [B, 1, T], by ONNX Runtime in the form that hosts run."""
    session = load_session(file.path, host_form(model))
    return each_row(lambda feed: session.run(None, feed)[0], file, ecg, batch=_batch(file, model))


def _batch(file: OnnxModel, model: ModelProto) -> int:
    return read_signature(model, file.path).batch or 1


def _twin_builder() -> TwinBuilder:
    from edgeguard.export.twin import build_twin

    return build_twin


def _twin_steps(file: OnnxModel, model: ModelProto, ecg: np.ndarray, build: TwinBuilder) -> int | None:
    """Steps between twin and ONNX Runtime at the codes before the float tail; None where it cannot be told."""
    codes = last_codes(model)
    if codes is None:
        return None
    cut = with_output(model, codes.tensor)
    samples = next(iter(file.feed(ecg).values())).reshape(ecg.shape).astype(np.float32)  # in the file's own unit
    try:
        twin, batch = _in_numpy(build(cut)), _batch(file, cut)
        rows = [twin(np.repeat(row[None], batch, axis=0)) for row in samples]
        theirs = np.stack([(row if batch == 1 else row[0]).reshape(-1) for row in rows])
        return _largest_step(_runtime(file, cut, ecg), theirs, codes)
    except (InputError, RuntimeError):  # a part of a graph may keep its batch in another place than its output
        return None


def _largest_step(ours: np.ndarray, theirs: np.ndarray, codes: Codes) -> int:
    return int(np.rint(np.abs(ours.reshape(len(ours), -1) - theirs.reshape(len(ours), -1)).max() / codes.scale))


def _in_numpy(twin: Twin) -> Callable[[np.ndarray], np.ndarray]:
    """What a twin gives for windows [B, 1, T], as a function of numpy arrays."""
    import torch

    outputs = getattr(twin, "outputs", twin)

    def run(ecg: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            return np.concatenate([outputs(part).cpu().numpy() for part in torch.from_numpy(ecg).split(_BATCH)])

    return run


def _parent_run(file: OnnxModel) -> "Run | None":
    """The run in the file's folder whose weights the file was exported from."""
    from edgeguard.models.run import is_run, load_run

    folder = file.path.parent
    return load_run(folder) if is_run(folder) and holds_parent(folder, file.metadata.parent_sha256) else None


def _open_like(file: OnnxModel, source: ModelFile | Path, *, host_form: bool = True) -> OnnxModel:
    """Another file, or another form, opened with the facts of `file`."""
    return open_model(source, host_form=host_form, **stated_facts(file.spec))


def _same_classes(file: OnnxModel, ours: np.ndarray, theirs: np.ndarray) -> bool:
    """Whether outputs of both name the same class on every row."""
    return bool((file.spec.logits(ours).argmax(axis=1) == file.spec.logits(theirs).argmax(axis=1)).all())


def _equal_rows(ours: np.ndarray, theirs: np.ndarray) -> float:
    return float((ours == theirs).reshape(len(ours), -1).all(axis=1).mean())


def _relative_difference(ours: np.ndarray, theirs: np.ndarray) -> float:
    """Largest difference over the largest magnitude of `ours`, or over 1 where that is larger."""
    return float(np.abs(ours - theirs).max()) / max(1.0, float(np.abs(ours).max()))


def _steps(count: int | None) -> str:
    return "an unknown number of steps" if count is None else f"{count} step" + "s" * (count != 1)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:160]
