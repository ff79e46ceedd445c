"""The newest model file of a working folder, for commands that are given none."""

from pathlib import Path

from edgeguard.errors import InputError


def newest_model(root: Path = Path("runs")) -> Path:
    """The newest int8 window model under `root`, else the newest ONNX file that is no streaming model.

    Raises InputError when there is none.
    """
    files = [path for path in root.rglob("*.onnx") if "stream" not in path.name]
    if not files:
        raise InputError(f"{root}: no .onnx file there; run `edgeguard export --int8` first, or name a file")
    return max(files, key=lambda path: ("int8" in path.name, path.stat().st_mtime))
