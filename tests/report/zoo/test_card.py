"""The model card: every figure that it was given, the words that it owes, and nothing where there is nothing to say."""

import itertools
import re
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from edgeguard.defenses.recipes import DEFENSES
from edgeguard.intended_use import INTENDED_USE, NOT_A_MEDICAL_DEVICE
from edgeguard.report.zoo.card import model_card
from edgeguard.report.zoo.recipes import Recipe
from edgeguard.schemas import load_schema

RECIPE = Recipe("some-net", {"defense": "at", "preset": "full"}, strict=(10.0, 25.0), note="A sentence of its own.")
SIZES = {"some-net-int8.onnx": 176_590, "weights.safetensors": 586_920}
FORMS = ("torch", "fp32", "int8", "int8-streaming")
HEADS = [
    *("form", "clean", "clean F1", "PGD", "SAP", "worst case", "worst-case F1", "F1 of N, A, O"),
    *("AF sensitivity", "AF false alarms"),
]

numbers = itertools.cycle(range(1, 1000))


def rate(n: int = 768) -> dict[str, Any]:
    """No two alike, to three digits."""
    value = next(numbers) / 1000
    return {"value": value, "low": value - 0.0004, "high": value + 0.2501, "n": n}


def score(n: int) -> dict[str, Any]:
    return {"accuracy": rate(n), "f1": rate(n)}


def row(form: str, profile: str, eps: float, n: int) -> dict[str, Any]:
    kinds = {kind: score(n) for kind in ("clean", "pgd", "sap", "worst_case")}
    recall = {name: rate(n // 4) for name in "NAO~"}
    return {"form": form, "profile": profile, "eps_uv": eps, "n": n, **kinds, "recall": recall}


def difference(points: float) -> dict[str, Any]:
    share = points / 100
    counts = {"n": 768, "mcnemar_p": 1.0, "only_first": 1, "only_second": 2}
    return {"difference": share, "low": share - 0.01, "high": share + 0.02, **counts}


@pytest.fixture
def config() -> dict[str, Any]:
    return {
        "defense": "at",
        "arch": "edge-m",
        "classes": [*"NAO~"],
        "window": 9000,
        "sampling_rate": 300.0,
        "seed": 4,
        "data": {"source": "training2017.zip", "records": 7675, "fingerprint": "0123456789abcdef" * 4},
        "split": {"seed": 3, "fractions": [0.8, 0.1, 0.1]},
    }


@pytest.fixture
def metrics() -> dict[str, Any]:
    return {
        "parameters": 143_972,
        "epochs": [30, 12.5],
        "seconds": 4321.0,
        "forward_units": 1234,
        "validation": {"accuracy": 0.876, "f1": 0.765},
    }


@pytest.fixture
def scores() -> dict[str, Any]:
    trials = (("paper", 10.0, 768), ("strict", 10.0, 384), ("strict", 25.0, 384))
    bill = {
        "work": {"macs": 29_200_000},
        "flash": {"model_bytes": 150 * 1024},
        "ram": {"total_bytes": 76 * 1024},
        "targets": [
            {
                "name": "Known",
                "latency_ms": {"low": 530.0, "high": 826.4},
                "inference_energy_uj": {"low": 393.0, "high": 579.0},
                "battery_share_per_day": {"low": 0.0103, "high": 0.0147},
            },
            {"name": "Unknown", "latency_ms": None, "inference_energy_uj": None, "battery_share_per_day": None},
        ],
    }
    made = {
        "schema": "edgeguard.scores/2",
        "data": "training2017.zip",
        "records": "768 test records, 6907 seen ones left out",
        "weights_sha256": "ab" * 32,
        "rows": [row(form, *trial) for trial in trials for form in FORMS],
        "differences": [
            {
                "profile": profile,
                "eps_uv": eps,
                "form": "int8",
                "reference": "torch",
                "clean": difference(-1.2),
                "worst_case": difference(3.5),
            }
            for profile, eps, _ in trials
        ],
        "stream": {"compared": 17_664, "equal": 17_663},
        "checks": [
            {"name": name, "holds": holds, "figure": 0.0, "bar": 0.1, "message": f"what {name} found"}
            for name, holds in (("first", True), ("second", False), ("third", None))
        ],
        "bill": {"int8": bill, "int8-streaming": bill},
    }
    Draft202012Validator(load_schema("scores/2")).validate(made)
    return made


def tables(card: str) -> list[list[list[str]]]:
    """Rows of cells of each table, its head first."""
    found: list[list[list[str]]] = [[]]
    for line in card.splitlines():
        if line.startswith("|"):
            found[-1].append([cell.strip() for cell in line.strip("|").split("|")])
        elif found[-1]:
            found.append([])
    return [table for table in found if table]


def text(one: dict[str, Any]) -> str:
    return f"{one['value']:.3f} [{one['low']:.3f}, {one['high']:.3f}]"


def cells(row: dict[str, Any]) -> list[str]:
    clean, worst = row["clean"], row["worst_case"]
    attacked = [text(row[kind]["accuracy"]) for kind in ("pgd", "sap")]
    return [
        row["form"],
        *(text(clean["accuracy"]), text(clean["f1"]), *attacked),
        *(text(worst["accuracy"]), text(worst["f1"]), "-", text(row["recall"]["A"]), "-"),
    ]


@pytest.fixture
def card(config: dict[str, Any], metrics: dict[str, Any], scores: dict[str, Any]) -> str:
    return model_card(RECIPE, config, metrics, scores, SIZES)


def test_every_rate_stands_in_the_table_of_its_profile_and_budget(card: str, scores: dict[str, Any]) -> None:
    found = [table for table in tables(card) if table[0] == HEADS]
    assert [table[2:] for table in found] == [
        [cells(row) for row in scores["rows"][first : first + 4]] for first in (0, 4, 8)
    ]
    titles = re.findall(r"^\*\*Profile `([\w/]+)`, ([\d.]+) uV \(.*\)\*\*, n = (\d+)$", card, re.MULTILINE)
    assert titles == [("paper", "10", "768"), ("strict/1", "10", "384"), ("strict/1", "25", "384")]
    assert "On 768 test records, 6907 seen ones left out of training2017.zip." in card


def test_what_accuracy_hides_stands_clean_and_in_the_worst_case(
    config: dict[str, Any], metrics: dict[str, Any], scores: dict[str, Any]
) -> None:
    row = scores["rows"][0]
    shares = {"f1_nao": 0.8, "sensitivity": 0.7, "false_alarms": 0.02}
    for part, less in (("clean", 0.0), ("worst_case", 0.1)):
        row[part] |= {name: {"value": value - less, "low": 0.0, "high": 1.0, "n": 9} for name, value in shares.items()}
    (table, *_) = [one for one in tables(model_card(RECIPE, config, metrics, scores, SIZES)) if one[0] == HEADS]
    assert table[2][-3:] == [
        "0.800, worst 0.700 [0.000, 1.000]",
        "0.700, worst 0.600 [0.000, 1.000]",
        "0.020, worst -0.080 [0.000, 1.000]",
    ]


@pytest.mark.parametrize(("version", "marked"), [(None, True), ("strict/1", True), ("strict/2", False)])
def test_worst_cases_that_are_known_to_be_too_high_are_marked(
    config: dict[str, Any], metrics: dict[str, Any], scores: dict[str, Any], version: str | None, marked: bool
) -> None:
    """Of the first version of the profile, beyond 25 uV."""
    versioned = {} if version is None else {"profile_version": version}
    for row in scores["rows"][8:]:
        row |= {"eps_uv": 50.0, **versioned}
    lines = model_card(RECIPE, config, metrics, scores, SIZES).splitlines()
    (title,) = [line for line in lines if line.startswith("**Profile `strict") and " 50 uV " in line]
    assert title.startswith(f"**Profile `{version or 'strict/1'}`, 50 uV")
    assert title.endswith("lowers its figures by up to 20 points") is marked
    assert sum("upper bounds" in line for line in lines) == marked


def test_it_says_what_it_is_and_what_it_is_not(card: str) -> None:
    assert card.startswith("# some-net\n\nAdversarial training on clean and attacked records. A sentence of its own.")
    assert NOT_A_MEDICAL_DEVICE in card and "not a medical device" in card and INTENDED_USE in card
    assert "ODC-BY" in card and "10.22489/CinC.2017.065-469" in card
    assert "No patient ids are published" in card and card.endswith("\n") and not card.endswith("\n\n")


def test_it_says_how_the_network_was_made(card: str) -> None:
    facts = dict(tables(card)[0][2:])
    assert facts["training"] == f"`{RECIPE.command()}`"
    assert facts["training"] == "`edgeguard train --defense at --preset full --seed 0 --data training2017.zip`"
    assert facts["architecture"].startswith("`edge-m`, 143,972 parameters, 9,000 samples at 300 Hz, classes N, A, O, ~")
    assert facts["seed"] == "4"
    assert "7,675; train / validation / test 80 / 10 / 10 by seed 3" in facts["records"]
    assert "`0123456789abcdef`" in facts["records"]
    assert facts["cost"].startswith("30 + 12.5 epochs, 1,234 forward units a record, 4,321 s")
    assert facts["validation"].startswith("accuracy 0.876, F1 0.765")
    assert facts["files"] == "`some-net-int8.onnx` 176,590 bytes, `weights.safetensors` 586,920 bytes"


def test_what_it_started_from_is_told(config: dict[str, Any], metrics: dict[str, Any], scores: dict[str, Any]) -> None:
    metrics["start"] = {"epochs": [30], "seconds": 361.0, "forward_units": 9090}
    facts = dict(tables(model_card(RECIPE, config, metrics, scores, SIZES))[0][2:])
    assert "1,234 forward units a record, after a start of 9,090 units, 4,321 s" in facts["cost"]


def test_differences_are_in_points_with_their_sign(card: str) -> None:
    (table,) = (table for table in tables(card) if table[0] == ["profile", "", "clean", "worst case"])
    assert table[2:] == [
        [f"{trial} uV", "int8 less torch", "-1.2 [-2.2, +0.8]", "+3.5 [+2.5, +5.5]"]
        for trial in ("paper, 10", "strict, 10", "strict, 25")
    ]


def test_the_stream_and_the_checks_are_told_as_they_are(card: str) -> None:
    assert "bit for bit on 17,663 of 17,664 windows" in card
    (table,) = (table for table in tables(card) if table[0] == ["check", "", ""])
    assert table[2:] == [
        ["first", "holds", "what first found"],
        ["second", "fails", "what second found"],
        ["third", "cannot tell", "what third found"],
    ]


def test_the_bill_leaves_open_what_is_not_known(card: str) -> None:
    (table,) = (table for table in tables(card) if table[0][:2] == ["form", "processor"])
    assert table[2] == ["int8", "Known", "29.2", "150", "76", "530 to 826", "393 to 579", "1.03 to 1.47"]
    assert table[3] == ["int8", "Unknown", "29.2", "150", "76", "-", "-", "-"]
    assert [line[:2] for line in table[4:]] == [["int8-streaming", "Known"], ["int8-streaming", "Unknown"]]


def test_seeds_stand_beside_the_published_one_with_their_spread(
    config: dict[str, Any], metrics: dict[str, Any], scores: dict[str, Any]
) -> None:
    own = next(row for row in scores["rows"] if row["form"] == "torch")
    others = [{"seed": seed, "weights_sha256": "cd" * 32, **row("torch", "paper", 10.0, 768)} for seed in (5, 6)]
    kinds = ("clean", "pgd", "sap", "worst_case")
    for place, kind in enumerate(kinds):
        for entry, value in zip((own, *others), (0.5, 0.6, 0.55 + place / 10), strict=True):
            entry[kind]["accuracy"]["value"] = value
    for entry, value in zip((own, *others), (0.3, 0.31, 0.29), strict=True):
        entry["clean"]["f1"]["value"] = value
    made = model_card(RECIPE, config, metrics, {**scores, "seeds": others}, SIZES)
    (table,) = (table for table in tables(made) if table[0][0] == "seed")
    shown = [
        [name, *(text(entry[kind]["accuracy"]) for kind in kinds), text(entry["clean"]["f1"])]
        for name, entry in zip(("4 (this one)", "5", "6"), (own, *others), strict=True)
    ]
    spread = ["spread", "10.0 points", "15.0 points", "25.0 points", "35.0 points", "2.0 points"]
    assert table[2:] == [*shown, spread] and "## Seeds" in made


def test_without_further_seeds_there_is_no_spread(card: str) -> None:
    assert "## Seeds" not in card and "spread" not in card


def test_tables_are_whole(card: str) -> None:
    """Every row of a table has as many cells as its head."""
    found = tables(card)
    assert len(found) == 7
    for table in found:
        assert {len(cells) for cells in table} == {len(table[0])} and set(table[1]) == {"---"}


@pytest.mark.parametrize("defense", DEFENSES)
def test_every_defence_has_a_sentence(
    config: dict[str, Any], metrics: dict[str, Any], scores: dict[str, Any], defense: str
) -> None:
    recipe = Recipe("it", {"defense": defense})
    about = model_card(recipe, {**config, "defense": defense}, metrics, scores, SIZES).split("\n\n")[1]
    assert about.endswith(".") and len(about) > 20
