"""Reference labels: which class each record is, and which version of the CinC-2017 labels a file holds."""

from collections import Counter
from pathlib import Path, PurePosixPath

from edgeguard.ecg.record import CLASSES
from edgeguard.ecg.tree import TEXT_BYTES, Tree
from edgeguard.errors import InputError

FILE_NAMES = ("REFERENCE-v3.csv", "REFERENCE.csv")
"""Names under which labels are looked for, the better one first."""

CINC_COUNTS = {
    "v1": (5154, 771, 2557, 46),
    "v2": (5050, 738, 2456, 284),
    "v3": (5076, 758, 2415, 279),
}
"""Records of each class (N, A, O, ~) in the versions of the CinC-2017 training labels."""

_CINC_NAMES = frozenset(f"A{number:05d}" for number in range(1, 8529))


def find_labels(tree: Tree, given: Path | None = None) -> dict[str, str]:
    """Labels of a zip or folder: `given`, else the best-named reference file inside (any depth) or beside.

    A REFERENCE-v3.csv beside goes before a REFERENCE.csv inside: PhysioNet's zip holds older labels.

    Returns record name -> class; empty where there is no reference file.
    Raises InputError for a malformed file, an unknown label, or older CinC-2017 labels.
    """
    if given is not None:
        return _read(given)
    for file_name in FILE_NAMES:
        inside = [name for name in tree.names if PurePosixPath(name).name == file_name]
        if inside:
            nearest = min(inside, key=lambda name: (name.count("/"), name))
            return parse_labels(tree.where(nearest), tree.read(nearest, most=TEXT_BYTES))
        if (tree.path.parent / file_name).is_file():
            return _read(tree.path.parent / file_name)
    return {}


def files_beside(path: Path, given: Path | None = None) -> list[Path]:
    """The label files outside of `path` that may decide its labels."""
    if given is not None:
        return [given]
    return [path.parent / name for name in FILE_NAMES if (path.parent / name).is_file()]


def parse_labels(where: str, content: bytes) -> dict[str, str]:
    """Record name -> class from lines `A00001,N`.

    Args:
        where: names the file in messages.

    Raises InputError for a line of another form, a label outside N, A, O, ~, a record named twice, or labels
    of the whole CinC-2017 training set that are not version 3.
    """
    try:
        lines = content.decode("utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise InputError(f"{where}: not a text file; a reference CSV has lines such as A00001,N") from error
    labels: dict[str, str] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        name, comma, label = (part.strip() for part in line.partition(","))
        if not (name and comma):
            raise InputError(f"{where}: line {number} is not of the form A00001,N; mend the line")
        if label not in CLASSES:
            raise InputError(f"{where}: line {number}: label {label!r} is none of {', '.join(CLASSES)}; mend it")
        if name in labels:
            raise InputError(f"{where}: line {number}: record {name} is named twice; keep one line")
        labels[name] = label
    _refuse_old_version(where, labels)
    return labels


def _refuse_old_version(where: str, labels: dict[str, str]) -> None:
    if labels.keys() != _CINC_NAMES:
        return
    counted = Counter(labels.values())
    counts = tuple(counted[name] for name in CLASSES)
    if counts == CINC_COUNTS["v3"]:
        return
    version = next((name for name, known in CINC_COUNTS.items() if known == counts), "unknown")
    raise InputError(
        f"{where}: CinC-2017 labels of version {version} (counts {'/'.join(map(str, counts))}); "
        f"use REFERENCE-v3.csv, pass --labels REFERENCE-v3.csv"
    )


def _read(path: Path) -> dict[str, str]:
    try:
        return parse_labels(str(path), path.read_bytes())
    except OSError as error:
        raise InputError(f"{path}: labels cannot be read ({error.strerror}); pass --labels FILE") from error
