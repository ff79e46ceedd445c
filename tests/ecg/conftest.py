"""Record files, good and bad, and the command line as a function."""

import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

Pack = Callable[[dict[str, bytes]], Path]


@pytest.fixture
def pack_zip(tmp_path: Path) -> Pack:
    """Writes files to a zip."""

    def pack(files: dict[str, bytes]) -> Path:
        path = tmp_path / "set.zip"
        with zipfile.ZipFile(path, "w") as archive:
            for name, content in files.items():
                archive.writestr(name, content)
        return path

    return pack


@pytest.fixture
def pack_folder(tmp_path: Path) -> Pack:
    """Writes files to a folder."""

    def pack(files: dict[str, bytes]) -> Path:
        for name, content in files.items():
            path = tmp_path / "set" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        return tmp_path / "set"

    return pack
