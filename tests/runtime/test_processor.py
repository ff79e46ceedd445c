"""The processor's facts, from what three systems say of themselves."""

from pathlib import Path

import pytest

from edgeguard.runtime import processor
from edgeguard.runtime.processor import processor_facts

INTEL = """processor\t: 0
model name\t: Intel(R) Xeon(R)
flags\t\t: fpu avx2 ht avx512_vnni avx
processor\t: 1
model name\t: another
flags\t\t: fpu
"""
ARM = "processor\t: 0\nFeatures\t: fp asimd aes asimddp\n\nHardware\t: a board\n"


@pytest.mark.parametrize(
    ("text", "name", "flags"),
    [(INTEL, "Intel(R) Xeon(R)", ["avx", "avx2", "avx512_vnni"]), (ARM, None, ["asimd", "asimddp"]), ("", None, [])],
)
def test_what_decides_kernels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, name: str | None, flags: list[str]
) -> None:
    (tmp_path / "cpuinfo").write_text(text)
    monkeypatch.setattr(processor, "_CPUINFO", tmp_path / "cpuinfo")
    facts = processor_facts()
    assert list(facts) == ["name", "architecture", "flags"] and facts["flags"] == flags
    assert facts["name"] == name if name else facts["name"]


def test_a_system_that_does_not_say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processor, "_CPUINFO", tmp_path / "none")
    facts = processor_facts()
    assert facts["flags"] == [] and facts["name"] and facts["architecture"]
