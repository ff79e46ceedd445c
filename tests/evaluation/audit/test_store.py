"""An audit written and read again."""

import json
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
from audits import example_audit

from edgeguard.errors import InputError
from edgeguard.evaluation.audit.result import Audit, Picture
from edgeguard.evaluation.audit.store import NAME, PICTURES, load_audit, save_audit


def same_picture(one: Picture, other: Picture) -> bool:
    values = ((getattr(one, field.name), getattr(other, field.name)) for field in fields(Picture))
    return all(np.array_equal(a, b) if isinstance(a, np.ndarray) else a == b for a, b in values)


@pytest.mark.parametrize("by", ["folder", "file"])
def test_an_audit_comes_back_whole(tmp_path: Path, by: str) -> None:
    audit = example_audit()
    bare = replace(audit.pictures[0], clean_saliency=None, attacked_saliency=None, true="~")
    audit = replace(audit, pictures=(*audit.pictures, bare))
    save_audit(audit, tmp_path)
    read = load_audit(tmp_path if by == "folder" else tmp_path / NAME)
    assert replace(read, pictures=()) == replace(audit, pictures=())
    assert len(read.pictures) == 2 and all(map(same_picture, read.pictures, audit.pictures))


def test_a_real_audit_comes_back_whole(done: tuple[Audit, Path], tmp_path: Path) -> None:
    save_audit(done[0], tmp_path)
    read = load_audit(tmp_path)
    assert read.checks == done[0].checks and read.scores == done[0].scores and read.stream == done[0].stream
    assert all(map(same_picture, read.pictures, done[0].pictures)) and len(read.pictures) == len(done[0].pictures)


def test_the_text_is_json_without_pictures(tmp_path: Path) -> None:
    save_audit(example_audit(), tmp_path)
    value = json.loads((tmp_path / NAME).read_text(), parse_constant=lambda name: pytest.fail(name))
    assert value["schema"] == "edgeguard.audit/2" and "pictures" not in value


def test_what_is_no_audit_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not found"):
        load_audit(tmp_path)
    (tmp_path / NAME).write_text("{}")
    with pytest.raises(InputError, match="no audit"):
        load_audit(tmp_path)
    save_audit(example_audit(), tmp_path)
    (tmp_path / PICTURES).write_bytes(b"PK not really")
    with pytest.raises(InputError, match="no pictures"):
        load_audit(tmp_path)
