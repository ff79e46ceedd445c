"""All forms under one portfolio, in pieces that change nothing."""

from pathlib import Path

import numpy as np
import pytest

from edgeguard.attacks.campaign import load_windows
from edgeguard.ecg.origin import Named
from edgeguard.evaluation.audit import white_box
from edgeguard.evaluation.audit.forms import open_forms
from edgeguard.evaluation.audit.records import choose_records
from edgeguard.evaluation.audit.sections import Sections
from edgeguard.evaluation.audit.white_box import attacks_at, judge_forms
from edgeguard.evaluation.portfolio import Attack

ATTACKS = {
    10.0: [Attack("clean"), Attack("pgd", 10.0, 20.0, 1, loss="margin", random_start=True, best=True)],
    50.0: [Attack("clean"), Attack("sap", 50.0, 100.0, 1, 1, loss="ce", best=True)],
}


def test_pieces_change_nothing(waves: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    forms = open_forms(
        waves[0], None, profile="strict", out=tmp_path, data=(None, None), say=lambda line: None, threads=1
    )
    records = choose_records(forms, load_windows(forms.file, Named(str(waves[1]))), limit=9, calibration=0, seed=0)
    found = []
    for piece in (128, 4):
        monkeypatch.setattr(white_box, "PIECE", piece)
        sections = Sections(tmp_path / str(piece), {}, lambda line: None)
        found.append(judge_forms(forms, records, ATTACKS, sections, seed=0))
        assert len(list((tmp_path / str(piece)).iterdir())) == 2 * -(-9 // piece)
    whole, parts = found
    for form in ("int8", "fp32", "torch"):
        for eps, attacks in ATTACKS.items():
            one, other = whole[form][eps], parts[form][eps]
            assert [(entry.attack, entry.gradient) for entry in one.judged] == [
                (attacks[0], None),
                (attacks[1], "twin"),
                (attacks[1], "parent"),
            ]
            for ours, theirs in zip(one.judged, other.judged, strict=True):
                assert ours.logits is not None and theirs.logits is not None
                np.testing.assert_array_equal(ours.predicted, theirs.predicted)
                np.testing.assert_allclose(ours.logits, theirs.logits, rtol=1e-4, atol=1e-4 if form != "int8" else 0.5)
    clean, attacked = (whole["int8"][10.0].judged[place].logits for place in (0, 1))
    assert clean is not None and attacked is not None and not np.array_equal(clean, attacked)


def test_the_full_portfolio_is_for_the_smallest_budget() -> None:
    strict, full = (attacks_at((10.0, 50.0), name, classes=4) for name in ("strict", "full"))
    assert [len(attacks) for attacks in strict.values()] == [19, 19] and strict[10.0] == full[10.0][:19]
    assert len(full[10.0]) > 30 and full[50.0] == strict[50.0]
    assert {attack.family for attack in full[10.0]} == {"clean", "pgd", "sap", "cw-smooth"}
    assert {attack.eps for attack in full[50.0]} == {0.0, 50.0}
    two = attacks_at((10.0,), "full", classes=2)[10.0]
    assert {attack.loss for attack in full[10.0]} - {attack.loss for attack in two} == {"dlr"}
