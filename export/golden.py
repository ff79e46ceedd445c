"""Golden vectors: inputs and the logits that a file must give for them, for whoever runs it elsewhere.

Written as `FILE.golden.npz` for Python and `FILE.golden.h` for C. Inputs are codes of the file's own input quantiser,
so a firmware needs no float before its first layer.
"""

import io
import string
import textwrap
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgeguard.errors import InputError
from edgeguard.export.codes import input_codes
from edgeguard.runtime.files import write_bytes
from edgeguard.runtime.npz import read_npz, reading
from edgeguard.runtime.session import OnnxModel

SCHEMA = "edgeguard.golden/1"

_PLAIN = string.ascii_letters + string.digits
_C_TYPES = {"int8": "int8_t", "uint8": "uint8_t", "int16": "int16_t", "uint16": "uint16_t"}


@dataclass(frozen=True)
class Golden:
    """Inputs of a file and what it makes of them.

    Attributes:
        codes: int8, uint8, int16 or uint16 [N, T]; ecg in microvolts = (codes - zero_point) * scale_uv.
        scale_uv: microvolts a code; 1 for a file without an input quantiser.
        zero_point: code of 0 microvolts.
        logits: float32 [N, outputs], what ONNX Runtime gives: mostly a logit a class.
        labels: int64 [N], index of the class that they stand for.
        classes: names in the order of the logits.
        sampling_rate: hertz.
        model: name of the file.
        sha256: of the file.
    """

    codes: np.ndarray
    scale_uv: float
    zero_point: int
    logits: np.ndarray
    labels: np.ndarray
    classes: tuple[str, ...]
    sampling_rate: float
    model: str
    sha256: str

    @property
    def ecg(self) -> np.ndarray:
        """float32 [N, 1, T] microvolts that the codes stand for."""
        return decode(self.codes, self.scale_uv, self.zero_point)


def decode(codes: np.ndarray, scale_uv: float, zero_point: int) -> np.ndarray:
    """float32 [N, 1, T] microvolts of codes [N, T]."""
    return ((codes.astype(np.int32) - zero_point).astype(np.float32) * np.float32(scale_uv))[:, None]


def make_golden(file: OnnxModel, ecg: np.ndarray) -> Golden:
    """The logits of a file on windows [N, 1, T] microvolts, each rounded to the codes that the file tells apart.

    Raises InputError for logits that are not finite.
    """
    codes, scale_uv, zero_point = _encode(file, ecg)
    ecg = decode(codes, scale_uv, zero_point)
    logits = file.outputs(ecg)
    if not np.isfinite(logits).all():
        raise InputError(f"{file.path}: gives logits that are not finite; mend the network before it is deployed")
    return Golden(
        codes=codes,
        scale_uv=scale_uv,
        zero_point=zero_point,
        logits=logits,
        labels=file.labels(ecg),
        classes=file.classes,
        sampling_rate=file.sampling_rate,
        model=file.path.name,
        sha256=file.sha256,
    )


def _encode(file: OnnxModel, ecg: np.ndarray) -> tuple[np.ndarray, float, int]:
    """(codes [N, T], microvolts a code, code of zero) of the input quantiser; whole microvolts without one."""
    quantised = input_codes(file.proto, file.signature.input)
    scale_uv, zero_point, dtype = 1.0, 0, np.dtype(np.int16)
    if quantised is not None and file.input_step_uv is not None and quantised.dtype.name in _C_TYPES:
        scale_uv, zero_point, dtype = file.input_step_uv, quantised.zero_point, quantised.dtype
    bounds = np.iinfo(dtype)
    codes = np.rint(ecg[:, 0].astype(np.float64) / scale_uv) + zero_point
    return np.clip(codes, bounds.min, bounds.max).astype(dtype), scale_uv, zero_point


def golden_paths(file: Path, folder: Path | None = None) -> tuple[Path, Path]:
    """Where the vectors of a model file lie, (.npz, .h): beside it, or in a folder of their own."""
    folder = folder or file.parent
    return folder / f"{file.stem}.golden.npz", folder / f"{file.stem}.golden.h"


def save_golden(golden: Golden, npz: Path, header: Path) -> None:
    """Write both forms, atomically."""
    content = io.BytesIO()
    np.savez_compressed(
        content,
        schema=np.array(SCHEMA),
        codes=golden.codes,
        scale_uv=np.float64(golden.scale_uv),
        zero_point=np.int64(golden.zero_point),
        logits=golden.logits,
        labels=golden.labels,
        classes=np.array(golden.classes),
        sampling_rate=np.float64(golden.sampling_rate),
        model=np.array(golden.model),
        sha256=np.array(golden.sha256),
    )
    write_bytes(npz, content.getvalue())
    write_bytes(header, c_header(golden).encode())


def load_golden(path: Path) -> Golden:
    """Read an .npz that `save_golden` wrote; no code in it is run.

    Raises InputError for another file, or a damaged one.
    """
    with reading(path, "golden vectors of edgeguard verify --golden DIR"):
        stored = read_npz(path, SCHEMA)
        return Golden(
            codes=stored["codes"],
            scale_uv=float(stored["scale_uv"]),
            zero_point=int(stored["zero_point"]),
            logits=stored["logits"],
            labels=stored["labels"],
            classes=tuple(str(name) for name in stored["classes"]),
            sampling_rate=float(stored["sampling_rate"]),
            model=str(stored["model"]),
            sha256=str(stored["sha256"]),
        )


def c_header(golden: Golden) -> str:
    """The vectors as one C99 header of constants, floats with all the digits that a float32 needs."""
    rows, samples = golden.codes.shape
    kind = _C_TYPES[golden.codes.dtype.name]
    sections = [
        _ABOUT.format(
            model=_comment_safe(golden.model), sha256=_comment_safe(golden.sha256), rate=f"{golden.sampling_rate:g}"
        ),
        "#ifndef EDGEGUARD_GOLDEN_H\n#define EDGEGUARD_GOLDEN_H\n\n#include <stdint.h>\n",
        f"#define EDGEGUARD_GOLDEN_ROWS {rows}",
        f"#define EDGEGUARD_GOLDEN_SAMPLES {samples}",
        f"#define EDGEGUARD_GOLDEN_CLASSES {len(golden.classes)}",
        f"#define EDGEGUARD_GOLDEN_OUTPUTS {golden.logits.shape[1]}",
        f"#define EDGEGUARD_GOLDEN_INPUT_SCALE_UV {_c_float(golden.scale_uv)}",
        f"#define EDGEGUARD_GOLDEN_INPUT_ZERO_POINT ({golden.zero_point})\n",
        f"static const {kind} edgeguard_golden_input[EDGEGUARD_GOLDEN_ROWS][EDGEGUARD_GOLDEN_SAMPLES] = "
        + _c_rows([str(code) for code in row] for row in golden.codes),
        "static const float edgeguard_golden_logits[EDGEGUARD_GOLDEN_ROWS][EDGEGUARD_GOLDEN_OUTPUTS] = "
        + _c_rows([_c_float(value) for value in row] for row in golden.logits),
        "static const uint8_t edgeguard_golden_class[EDGEGUARD_GOLDEN_ROWS] = "
        + _c_list([str(label) for label in golden.labels])
        + ";\n",
        "static const char *const edgeguard_golden_class_names[EDGEGUARD_GOLDEN_CLASSES] = "
        + _c_list([_c_string(name) for name in golden.classes])
        + ";\n",
        "#endif",
    ]
    return "\n".join(sections) + "\n"


_ABOUT = """\
/* Golden vectors of {model}
 * sha256 {sha256}
 *
 * Feed each row of edgeguard_golden_input to the deployed network, {rate} samples a second:
 *     microvolts = (code - EDGEGUARD_GOLDEN_INPUT_ZERO_POINT) * EDGEGUARD_GOLDEN_INPUT_SCALE_UV
 * and compare its largest logit with edgeguard_golden_class. The logits are those of ONNX Runtime; a runtime that
 * rounds in another way may differ from them by steps of its last quantiser.
 */"""


def _c_rows(rows: Iterable[list[str]]) -> str:
    return "{\n" + ",\n".join(_c_list(row) for row in rows) + "\n};\n"


def _c_list(items: list[str]) -> str:
    return "{" + textwrap.fill(", ".join(items), width=118, break_long_words=False, break_on_hyphens=False) + "}"


def _c_float(value: float) -> str:
    return f"{np.float32(value):.8e}f"


def _c_string(text: str) -> str:
    """A C string literal; all but ASCII letters and digits as octal bytes, which no compiler reads otherwise."""
    content = text.encode("utf-8", "replace")  # half a surrogate pair has no bytes
    return '"' + "".join(chr(b) if chr(b) in _PLAIN else f"\\{b:03o}" for b in content) + '"'


def _comment_safe(text: str) -> str:
    """Text that means nothing inside a C comment: `_` for all but ASCII letters, digits and a few harmless marks.

    What it leaves out ends a comment or opens one (`*`, `/`), begins a trigraph (`?`) or joins two lines (a backslash).
    """
    return "".join(c if c in _PLAIN + " ._-+,()" else "_" for c in text)
