"""Anybody's float ONNX classifier to an int8 file beside it, written only when it says what the float file says."""

import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

import edgeguard
from edgeguard.ecg.dataset import Dataset
from edgeguard.errors import InputError
from edgeguard.export.exporter import LADDER_WINDOWS, PARITY_WINDOWS
from edgeguard.export.float_form import FloatForm
from edgeguard.export.golden import golden_paths
from edgeguard.export.int8_file import Int8Options, quantised, require, serialise, spread
from edgeguard.export.ladder import run_ladder
from edgeguard.export.parity import folded_parity, int8_parity
from edgeguard.export.prepare import prepare
from edgeguard.export.rung import Rung, as_json
from edgeguard.export.selection import select_nodes
from edgeguard.runtime.census import fused_operators
from edgeguard.runtime.files import write_bytes
from edgeguard.runtime.host_form import host_form
from edgeguard.runtime.metadata import SCHEMA
from edgeguard.runtime.model_spec import MICROVOLTS
from edgeguard.runtime.session import OnnxModel, open_model

WIDE_CODES_OPSET = 21
"""The first opset whose quantisers take codes of 16 bits."""


@dataclass(frozen=True)
class QuantisedFile:
    """An int8 file that was written, and the checks that it passed.

    Attributes:
        source: path of the float file.
        int8: path of the int8 file.
        calibration: how the quantiser's ranges were found, as in the int8 file's metadata.
        golden: golden vectors of the int8 file, for numpy and for C.
        rungs: checks that were made; none of them failed.
        census: operators of the int8 file after ONNX Runtime's fusion.
        left: operator -> nodes that compute and stay in float.
    """

    source: Path
    int8: Path
    calibration: dict[str, Any] | None
    golden: tuple[Path, ...]
    rungs: list[Rung]
    census: dict[str, int]
    left: dict[str, int]


def check_quantisable(file: OnnxModel) -> None:
    """Raises InputError, in one true line, for a file that is no float32 classifier, or has nothing to quantise."""
    if file.is_quantised:
        raise InputError(f"{file.path}: is quantised already; name the float file that it was made from")
    if file.signature.dtype is not np.float32:
        name = np.dtype(file.signature.dtype).name
        raise InputError(f"{file.path}: takes {name} samples; export the network with a float32 input to quantise it")
    _float_form(file, opset=None)


def quantise_file(
    file: OnnxModel,
    dataset: Dataset,
    *,
    calibrate: np.ndarray,
    check: np.ndarray,
    options: Int8Options,
    out: Path | None = None,
    about: dict[str, Any] | None = None,
    seed: int = 0,
    say: Callable[[str], None] = print,
) -> QuantisedFile:
    """Write `NAME-int8.onnx` of a float classifier, with its facts, in `out` (the file's folder by default).

    Args:
        file: opened with the facts that it does not say itself.
        dataset: records as the file takes them.
        calibrate: records from which those to calibrate on are chosen.
        check: records to compare both files on.
        options: of the int8 file.
        about: what its metadata say of the calibration beside method, records and seed.

    Raises InputError for a file of which nothing can be quantised, and when a check fails; nothing is written then.
    """
    folder = out or file.path.parent
    say("folding the float graph")
    form = _float_form(file, opset=WIDE_CODES_OPSET if options.bits == 16 else None)
    assert form.selection is not None
    probe = dataset.batch(spread(dataset, check, PARITY_WINDOWS, seed))[0]
    metadata = replace(
        file.metadata,
        schema=SCHEMA,
        float_sha256=None if file.metadata.parent_sha256 else file.sha256,
        tool_version=edgeguard.__version__,
    )
    with tempfile.TemporaryDirectory() as staging:
        folded, made = (Path(staging) / f"{file.path.stem}-{name}.onnx" for name in ("folded", "int8"))
        write_bytes(folded, serialise(form.model, metadata))
        rungs = [folded_parity(file, open_model(folded), probe)]
        require(rungs)
        chosen = spread(dataset, calibrate, options.windows, seed)
        say(f"calibrating on {len(chosen)} records")
        stated = {"windows": len(chosen), "seed": seed, **(about or {})}
        graph, metadata = quantised(form, metadata, dataset, chosen, options, made, say, about=stated)
        write_bytes(made, serialise(graph, metadata))
        int8 = open_model(made)
        rungs.append(int8_parity(file, int8, probe))
        require(rungs)
        say("running the conformance checks")
        checks = run_ladder(int8, probe[:LADDER_WINDOWS], golden=made.parent)
        rungs += [rung for rung in checks if rung.name != "torch_fp32"]
        require(rungs)
        census = fused_operators(host_form(int8.proto))
        for path in (made, *golden_paths(made)):
            write_bytes(folder / path.name, path.read_bytes())
    return QuantisedFile(
        source=file.path,
        int8=folder / made.name,
        calibration=metadata.calibration,
        golden=golden_paths(folder / made.name),
        rungs=rungs,
        census=census,
        left=_left(form, options.exclude),
    )


def summary(made: QuantisedFile) -> dict[str, Any]:
    """The JSON of `edgeguard export FILE.onnx --int8`."""
    return {
        "fp32": str(made.source),
        "int8": str(made.int8),
        "streaming": None,
        "bytes": {"fp32": made.source.stat().st_size, "int8": made.int8.stat().st_size, "streaming": None},
        "calibration": made.calibration,
        "golden": [str(path) for path in made.golden],
        "parity": as_json(made.rungs),
        "census": made.census,
        "left_in_float": made.left,
    }


def _left(form: FloatForm, exclude: Sequence[str]) -> dict[str, int]:
    """Operator -> nodes that compute and stay in float, those that were excluded among them."""
    assert form.selection is not None
    chosen = set(form.selection.nodes)
    excluded = [node for node in form.model.graph.node if node.name in exclude and node.name in chosen]
    return dict(Counter(form.selection.left) + Counter(node.op_type for node in excluded))


def _float_form(file: OnnxModel, *, opset: int | None) -> FloatForm:
    """The file's graph, ready for the quantiser; InputError where nothing of it can be quantised."""
    signature = file.signature
    opens = file.fixed_batch is None and signature.batch is not None
    graph = prepare(file.proto, signature, file.path, window=file.window, open_batch=opens, opset=opset)
    selection = select_nodes(graph, signature.input)
    if not selection.nodes:
        found = ", ".join(f"{name} {count}" for name, count in sorted(selection.left.items()))
        raise InputError(
            f"{file.path}: nothing of it can be quantised: no convolution or inner dense layer with stored weights "
            f"(it has {found}); use the float file"
        )
    return FloatForm(
        graph,
        input=signature.input,
        feed=file.feed,
        microvolts=MICROVOLTS[file.spec.unit],
        selection=selection,
        batch=file.fixed_batch,
    )
