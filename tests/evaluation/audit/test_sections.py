"""What was found before is taken up under equal settings, and under no others."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgeguard.evaluation.audit.sections import Arrays, Sections


@dataclass(frozen=True)
class Found:
    figure: float
    names: tuple[str, ...]


class Counted:
    """Computes, and counts how often."""

    def __init__(self, result: Any) -> None:
        self.times, self.result = 0, result

    def __call__(self) -> Any:
        self.times += 1
        return self.result


def sections(folder: Path, **common: Any) -> Sections:
    return Sections(folder, {"file": "a", **common}, lambda line: None)


def test_a_section_is_computed_once(tmp_path: Path) -> None:
    compute = Counted(Found(0.1, ("x",)))
    for _ in range(2):
        assert sections(tmp_path).typed("one", Found, compute, {"steps": 3}) == Found(0.1, ("x",))
    assert compute.times == 1
    sections(tmp_path).typed("one", Found, compute, {"steps": 4})
    sections(tmp_path, file="b").typed("one", Found, compute, {"steps": 4})
    assert compute.times == 3


def test_an_interrupted_section_leaves_nothing(tmp_path: Path) -> None:
    def interrupted() -> Found:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sections(tmp_path).typed("one", Found, interrupted)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b'{"key": 3}'])
def test_a_damaged_file_is_computed_anew(tmp_path: Path, content: bytes) -> None:
    for name in ("one.json", "two.npz"):
        (tmp_path / name).write_bytes(content)
    assert sections(tmp_path).typed("one", Found, Counted(Found(1.0, ()))) == Found(1.0, ())
    made = sections(tmp_path).arrays("two", Counted({"x": np.ones(2)}), section="s")
    assert made["x"].tolist() == [1, 1]


def test_arrays_come_back_bit_for_bit(tmp_path: Path) -> None:
    values: Arrays = {"int8": np.random.default_rng(0).normal(size=(2, 3)).astype(np.float32), "n": np.arange(3)}
    compute = Counted(values)
    for _ in range(2):
        made = sections(tmp_path).arrays("part", compute, section="s")
        assert set(made) == set(values) and all(np.array_equal(made[key], values[key]) for key in values)
        assert made["int8"].dtype == np.float32
    assert compute.times == 1


def test_a_file_that_changed_makes_its_section_anew(tmp_path: Path) -> None:
    file, compute = tmp_path / "made.bin", Counted(Found(1.0, ()))

    def writing() -> Found:
        file.write_bytes(b"made")
        return compute()

    for _ in range(2):
        sections(tmp_path / "s").typed("one", Found, writing, files=(file,))
    assert compute.times == 1
    file.write_bytes(b"other")
    sections(tmp_path / "s").typed("one", Found, writing, files=(file,))
    file.unlink()
    sections(tmp_path / "s").typed("one", Found, writing, files=(file,))
    assert compute.times == 3


def test_parts_add_up_to_a_section_and_each_is_told_once(tmp_path: Path) -> None:
    said: list[str] = []
    told = Sections(tmp_path, {}, said.append)
    for part in range(3):
        told.arrays(f"part-{part}", Counted({"x": np.zeros(1)}), section="white-box")
    assert said == ["white-box ..."] and list(told.seconds) == ["white-box"]
    again = Sections(tmp_path, {}, said.append)
    for part in range(3):
        again.arrays(f"part-{part}", Counted({}), section="white-box")
    assert again.seconds == pytest.approx(told.seconds) and len(said) == 2 and "as found before" in said[1]
