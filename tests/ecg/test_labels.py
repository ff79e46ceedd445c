from collections.abc import Callable
from pathlib import Path

import pytest

from edgeguard.ecg.labels import CINC_COUNTS, find_labels, parse_labels
from edgeguard.ecg.tree import open_tree
from edgeguard.errors import InputError


def challenge_labels(counts: tuple[int, ...]) -> bytes:
    """All 8,528 names of the challenge, with that many of each class."""
    sequence = [label for label, count in zip("NAO~", counts, strict=True) for _ in range(count)]
    return "\n".join(f"A{i:05d},{label}" for i, label in enumerate(sequence, 1)).encode()


def test_lines_become_labels_whatever_the_line_ends_and_blanks():
    assert parse_labels("r.csv", b"\xef\xbb\xbfA1,N\r\n\r\n A2 , ~ \n") == {"A1": "N", "A2": "~"}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"A1,N\nA2,\n", "r.csv: line 2 is not of the form A00001,N"),
        (b"A1 N\n", "r.csv: line 1 is not of the form A00001,N"),
        (b"record,age\nA1,70\n", "r.csv: columns record, age, none called label"),
        (b"A1,N\nA2,O\nA1,O\n", "r.csv: line 3: record A1 is named twice"),
        (b"\xff\xfe\x00", "r.csv: not a text file"),
    ],
)
def test_malformed_labels_are_refused_by_line(content: bytes, message: str):
    with pytest.raises(InputError, match=message):
        parse_labels("r.csv", content)


def test_every_known_version_counts_the_whole_set():
    assert {sum(counts) for counts in CINC_COUNTS.values()} == {8528}


def test_version_3_of_the_whole_set_is_taken():
    assert len(parse_labels("r.csv", challenge_labels((5076, 758, 2415, 279)))) == 8528


@pytest.mark.parametrize(
    ("counts", "version"),
    [((5154, 771, 2557, 46), "v1"), ((5050, 738, 2456, 284), "v2"), ((5075, 759, 2415, 279), "unknown")],
)
def test_other_versions_of_the_whole_set_are_refused_with_the_mend(counts: tuple[int, ...], version: str):
    with pytest.raises(InputError, match=f"version {version} .*use REFERENCE-v3.csv, pass --labels"):
        parse_labels("r.csv", challenge_labels(counts))


@pytest.mark.parametrize(
    ("inside", "beside", "expected"),
    [
        ({"a/b/REFERENCE-v3.csv": "N", "REFERENCE.csv": "A"}, {}, "N"),
        ({"a/REFERENCE-v3.csv": "N", "a/b/REFERENCE-v3.csv": "A"}, {}, "N"),
        ({"REFERENCE-v3.csv": "N"}, {"REFERENCE-v3.csv": "A"}, "N"),
        ({"REFERENCE.csv": "A"}, {"REFERENCE-v3.csv": "N"}, "N"),
        ({"REFERENCE.csv": "N"}, {"REFERENCE.csv": "A"}, "N"),
        ({"__MACOSX/REFERENCE-v3.csv": "A"}, {"REFERENCE.csv": "N"}, "N"),
        ({}, {}, None),
    ],
)
@pytest.mark.parametrize("kind", ["pack_zip", "pack_folder"])
def test_labels_are_found_inside_or_beside_the_better_name_first(
    kind: str,
    inside: dict[str, str],
    beside: dict[str, str],
    expected: str | None,
    tmp_path: Path,
    request: pytest.FixtureRequest,
):
    pack: Callable[[dict[str, bytes]], Path] = request.getfixturevalue(kind)
    path = pack({"x.txt": b"", **{name: f"A1,{label}".encode() for name, label in inside.items()}})
    for name, label in beside.items():
        (tmp_path / name).write_text(f"A1,{label}")
    with open_tree(path) as tree:
        assert find_labels(tree).get("A1") == expected


def test_a_given_file_goes_before_all_others(tmp_path: Path, pack_folder: Callable[[dict[str, bytes]], Path]):
    path = pack_folder({"REFERENCE-v3.csv": b"A1,N"})
    own = tmp_path / "own.csv"
    own.write_text("A1,O")
    with open_tree(path) as tree:
        assert find_labels(tree, own) == {"A1": "O"}
