"""What an audit has found so far, section by section, in files: an interrupted one goes on where it stopped."""

import hashlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from edgeguard.errors import InputError
from edgeguard.runtime.files import read_json, sha256_file, write_json
from edgeguard.runtime.npz import read_npz, reading, write_npz
from edgeguard.runtime.telling import Say
from edgeguard.runtime.typed_json import from_json, to_json

T = TypeVar("T")
Arrays = dict[str, np.ndarray]

_SCHEMA = "edgeguard.audit.section/1"


@dataclass
class Sections:
    """Findings kept in a folder, each under the digest of all that it depends on.

    Attributes:
        folder: of the files.
        common: what every section depends on: files, records, seed, version.
        say: told when a section begins, or is taken from before.
        seconds: that each section took, when it was computed.
    """

    folder: Path
    common: dict[str, Any]
    say: Say
    seconds: dict[str, float] = field(default_factory=dict)

    def typed(
        self,
        name: str,
        kind: type[T],
        compute: Callable[[], T],
        settings: Mapping[str, Any] | None = None,
        *,
        files: Sequence[Path] = (),
    ) -> T:
        """A section whose finding is JSON of a dataclass; computed unless it was found before under equal settings.

        Args:
            files: that computing it writes; where one of them has changed since, it is computed anew.
        """
        path, key = self.folder / f"{name}.json", self._key(settings)
        kept = _kept_json(path)
        if kept.get("key") == key and kept.get("files") == _digests(files):
            self._note(name, kept["seconds"], before=True)
            return from_json(kind, kept["found"], where=str(path))
        found, seconds = self._timed(name, compute)
        entry = {"schema": _SCHEMA, "key": key, "seconds": seconds, "files": _digests(files), "found": to_json(found)}
        write_json(path, entry)
        # What a repeated audit reads is what this one goes on with.
        return from_json(kind, entry["found"], where=str(path))

    def arrays(
        self, name: str, compute: Callable[[], Arrays], settings: Mapping[str, Any] | None = None, *, section: str
    ) -> Arrays:
        """A part of a section whose finding is arrays."""
        path, key = self.folder / f"{name}.npz", self._key(settings)
        kept = _kept_arrays(path)
        if str(kept.get("key")) == key:
            self._note(section, float(kept["seconds"]), before=True)
        else:
            found, seconds = self._timed(section, compute)
            kept = {"schema": np.array(_SCHEMA), "key": np.array(key), "seconds": np.array(seconds), **found}
            write_npz(path, kept)
        return {key: array for key, array in kept.items() if key not in ("schema", "key", "seconds")}

    def _timed(self, name: str, compute: Callable[[], T]) -> tuple[T, float]:
        if name not in self.seconds:
            self.say(f"{name} ...")
        begin = time.perf_counter()
        found = compute()
        seconds = time.perf_counter() - begin
        self._note(name, seconds)
        return found, seconds

    def _note(self, name: str, seconds: float, *, before: bool = False) -> None:
        if before and name not in self.seconds:
            self.say(f"{name}: as found before, in {self.folder}")
        self.seconds[name] = self.seconds.get(name, 0.0) + seconds

    def _key(self, settings: Mapping[str, Any] | None) -> str:
        facts = json.dumps(to_json({**self.common, **(settings or {})}), sort_keys=True)
        return hashlib.sha256(facts.encode()).hexdigest()


def _digests(files: Sequence[Path]) -> dict[str, str]:
    """Name -> SHA-256 of those that are there."""
    return {file.name: sha256_file(file) for file in files if file.is_file()}


def _kept_json(path: Path) -> dict[str, Any]:
    """What was kept; nothing where there is nothing that can be read."""
    try:
        kept = read_json(path)
    except InputError:
        return {}
    return kept if isinstance(kept, dict) else {}


def _kept_arrays(path: Path) -> Arrays:
    try:
        with reading(path, "section of an audit"):
            return read_npz(path, _SCHEMA)
    except InputError:
        return {}
