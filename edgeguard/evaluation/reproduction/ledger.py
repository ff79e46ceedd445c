"""What was computed, line by line, so that work done twice can be counted.

Each machine appends to a file of its own: a line is one write, which is whole among the processes of one machine, but
may be lost between two machines on a network file system.
"""

import json
import os
from pathlib import Path
from typing import Any

from edgeguard.evaluation.reproduction.claim import Owner


def append(root: Path, line: dict[str, Any]) -> None:
    """Add a line, with host and process; OSError when the disk refuses."""
    owner = Owner.here()
    content = json.dumps({**line, "host": owner.host, "pid": owner.pid}, ensure_ascii=False)
    folder = root / "ledger"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{owner.host}.{owner.machine}.jsonl"
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
    try:
        end = os.fstat(descriptor).st_size
        # What a killed writer, or a full disk, left of a line must not swallow this one.
        torn = end > 0 and os.pread(descriptor, 1, end - 1) != b"\n"
        os.write(descriptor, ("\n" * torn + content + "\n").encode())
    finally:
        os.close(descriptor)


def read(root: Path) -> list[dict[str, Any]]:
    """Every line of every machine, by machine and in the order written; torn ones are left out."""
    lines = []
    for path in sorted((root / "ledger").glob("*.jsonl")):
        for text in path.read_text(encoding="utf-8", errors="replace").splitlines():
            try:
                line = json.loads(text)
            except json.JSONDecodeError:
                continue
            if isinstance(line, dict):
                lines.append(line)
    return lines
