"""Reference labels: which class each record is, and which version of the CinC-2017 labels a file holds."""

import csv
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
    Raises InputError for a malformed file, or older CinC-2017 labels.
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
    """Record name -> label from lines `A00001,N`, or from two named columns of a table.

    Commas, semicolons or tabs stand between the cells, which may be quoted. A first line of names (`record` or one of
    its like, and `label` or one of its like) says which columns they are; without one they are the first two.

    Args:
        where: names the file in messages.

    Raises InputError for a line of another form, a record named twice, or labels of the whole CinC-2017 training set
    that are not version 3.
    """
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{where}: not a text file; a reference CSV has lines such as A00001,N") from error
    first = next((line for line in text.splitlines() if line.strip()), "")
    separator = max(",;\t", key=first.count)
    try:
        rows = list(csv.reader(text.splitlines(), delimiter=separator, skipinitialspace=True))
    except csv.Error as error:
        raise InputError(f"{where}: cannot be read as a table ({error}); give lines such as A00001,N") from error
    names, places, labels = None, (0, 1), dict[str, str]()
    for number, row in enumerate(rows, 1):
        cells = [cell.strip() for cell in row]
        if not any(cells):
            continue
        if names is None:
            names = [cell.casefold() for cell in cells]
            if (found := _columns(where, names)) is not None:
                places = found
                continue
        if len(cells) <= max(places) or not cells[places[0]] or not cells[places[1]]:
            raise InputError(f"{where}: line {number} is not of the form A00001,N; mend the line")
        name, label = PurePosixPath(cells[places[0]].replace("\\", "/")).name, cells[places[1]]
        name = name.removesuffix(PurePosixPath(name).suffix) if PurePosixPath(name).suffix in _SUFFIXES else name
        if name in labels:
            raise InputError(f"{where}: line {number}: record {name} is named twice; keep one line")
        labels[name] = label
    _refuse_old_version(where, labels)
    return labels


_RECORD_COLUMNS = ("record", "record_name", "recording", "filename", "file", "file_name", "name", "id", "record_id")
_LABEL_COLUMNS = ("label", "class", "rhythm", "diagnosis", "annotation", "reference", "target")
_SUFFIXES = (".hea", ".mat", ".dat", ".csv", ".atc")


def _columns(where: str, names: list[str]) -> tuple[int, int] | None:
    """(column of the record, column of the label) by a first line of names; None for a first line of data.

    Raises InputError where one of the two is named and the other is not.
    """
    record = next((names.index(name) for name in _RECORD_COLUMNS if name in names), None)
    label = next((names.index(name) for name in _LABEL_COLUMNS if name in names), None)
    if record is None and label is None:
        return None
    if record is None or label is None:
        lacking = "record" if record is None else "label"
        raise InputError(f"{where}: columns {', '.join(names)}, none called {lacking}; name that column {lacking}")
    return record, label


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
