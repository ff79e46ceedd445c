"""Sentences of the documents about the zoo, against the scores that the zoo itself holds."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
SEEDED = ("none-edge-m", "at-edge-m", "adt-edge-m")


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def clean(network: str, form: str = "torch") -> list[float]:
    """Clean accuracy by seed on the whole test part; of a file that of seed 0 alone."""
    scores: dict[str, Any] = json.loads(read(f"models/zoo/{network}/scores.json"))
    rows = [row for row in scores["rows"] if (row["form"], row["profile"], row["n"]) == (form, "paper", 768)]
    further = scores["seeds"] if form == "torch" else []
    assert len(rows) == 1 and [row["seed"] for row in further] in ([], [1, 2])
    return [row["clean"]["accuracy"]["value"] for row in (*rows, *further)]


def mean(values: list[float]) -> float:
    return sum(values) / len(values)


def on_validation(network: str) -> list[float]:
    """Accuracy of the three seeds on the validation part, as docs/results.md quotes it."""
    name = network.removesuffix("-edge-m")
    quoted = re.search(rf"of `{name}` \((\.\d+), (\.\d+), (\.\d+)\)", read("docs/results.md"))
    assert quoted
    return [float(value) for value in quoted.groups()]


@pytest.mark.parametrize("network", SEEDED)
def test_the_table_of_seeds_is_that_of_the_scores(network: str) -> None:
    found = re.findall(rf"^\| `{network}` \| (\d) \| (\d\.\d+) \|", read("docs/results.md"), re.MULTILINE)
    assert found == [(str(seed), f"{value:.3f}") for seed, value in enumerate(clean(network))]


def test_what_defence_costs_clean_is_said_over_seeds() -> None:
    none, adt = clean("none-edge-m"), clean("adt-edge-m")
    chosen = none[max(range(3), key=on_validation("none-edge-m").__getitem__)]
    readme = " ".join(read("README.md").split())
    assert f"`none` has {mean(none):.3f} clean and `adt` {mean(adt):.3f}: " in readme
    assert f"defence costs `adt` {100 * (mean(none) - mean(adt)):.1f} points clean" in readme
    assert f"{chosen:.3f}, it costs {100 * (chosen - adt[0]):.1f}." in readme
    assert "less than a point" not in readme


def test_which_seed_is_published_is_said_as_validation_has_it() -> None:
    text = " ".join(read("docs/results.md").split())
    none, adt = on_validation("none-edge-m"), on_validation("adt-edge-m")
    assert adt[0] == max(adt) and none[0] == min(none)
    assert "the best of `adt`" in text and "the worst of `none`" in text
    for network, values in (("none-edge-m", none), ("adt-edge-m", adt)):
        metrics = json.loads(read(f"models/zoo/{network}/metrics.json"))
        assert round(metrics["validation"]["accuracy"], 3) == values[0]
    published = [clean(network, "int8")[0] for network in ("none-edge-m", "adt-edge-m")]
    assert (
        "The published int8 files, {:.3f} and {:.3f}, lie {:.1f} apart".format(
            *published, 100 * (published[0] - published[1])
        )
        in text
    )


def test_no_document_calls_the_test_part_unseen_by_any_choice() -> None:
    documents = [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]
    claim = re.compile(r"no (?:training|choice)(?: (?:or|and)(?: no)? (?:training|choice))? has seen", re.IGNORECASE)
    assert [path.name for path in documents if claim.search(" ".join(path.read_text(encoding="utf-8").split()))] == []
