"""The zoo of two tiny recipes, made once from records to index: what was published, and what a second call does."""

import itertools
import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from jsonschema import Draft202012Validator
from schema_keys import undeclared
from short_work import short_work
from streamable_network import waves

from edgeguard.cli import main
from edgeguard.ecg.cinc_writer import write_cinc
from edgeguard.errors import InputError
from edgeguard.evaluation.run_evaluation import evaluate_model
from edgeguard.evaluation.zoo.scores import Trial, score_forms
from edgeguard.intended_use import NOT_A_MEDICAL_DEVICE
from edgeguard.report.zoo.build import Built, build_zoo, write_index
from edgeguard.report.zoo.recipes import read_recipes
from edgeguard.runtime.files import read_json, sha256_file
from edgeguard.runtime.session import open_model
from edgeguard.runtime.streaming import open_stream
from edgeguard.runtime.zoo import zoo_models
from edgeguard.schemas import load_schema

TRAINING = """
arch = "streamable_network:make"
epochs = 1
batch = 16
learning_rate = 1e-4
precision = "float32"
augment = false
"""
RECIPES = f"""
[plain]
defense = "none"{TRAINING}
strict = [30.0]
seeds = 2

[taught]
defense = "adt"{TRAINING}
eps = 5.0
teachers = ["plain", "plain:1"]
strict = [20.0, 40.0]
records = 6
note = "Taught by two."
"""
PUBLISHED = {
    *("config.json", "metrics.json", "split.json", "log.jsonl", "weights.safetensors"),
    *("scores.json", "card.md"),
}


@dataclass(frozen=True)
class Made:
    """What the first call made of the recipes."""

    root: Path
    data: Path
    built: list[Built]
    said: list[str]

    def json(self, name: str, file: str) -> Any:
        return read_json(self.root / name / file)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """Tests only read it."""
    folder = tmp_path_factory.mktemp("making")
    root, data, said = folder / "zoo", folder / "waves", []
    write_cinc(data, waves())
    root.mkdir()
    (root / "recipes.toml").write_text(RECIPES)
    with short_work():
        built = build_zoo(data=data, out=root, say=said.append)
    return Made(root, data, built, said)


@pytest.fixture
def copied(made: Made, tmp_path: Path) -> Path:
    """A zoo that may be changed."""
    shutil.copytree(made.root, tmp_path / "zoo")
    return tmp_path / "zoo"


def contents(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def times(root: Path) -> dict[str, int]:
    """Of everything but the cards and the index, which are cheap and written anew."""
    files = (path for path in root.rglob("*") if path.is_file() and path.name not in ("card.md", "index.json"))
    return {str(path.relative_to(root)): path.stat().st_mtime_ns for path in files}


def test_every_recipe_is_trained_exported_and_judged(made: Made) -> None:
    assert made.built == [
        Built("plain", str(made.root / "plain"), ("trained", "exported", "judged", "seeds")),
        Built("taught", str(made.root / "taught"), ("trained", "exported", "judged")),
    ]
    # Both were split alike.
    shared = {"recipes.toml", "index.json", "split.json"}
    assert {path.name for path in made.root.iterdir()} == {*shared, "plain", "taught", "seeds"}
    for name in ("plain", "taught"):
        files = {path.name for path in (made.root / name).iterdir()}
        assert files | {"split.json"} == {*PUBLISHED, f"{name}-int8.onnx", f"{name}-int8-streaming.onnx"}
        assert "split.json" not in files
    order = [line for line in made.said if line.startswith(("plain: ", "taught: "))]
    assert [line.split(": ")[1] for line in order] == [
        *("training", "exporting", "judging, profile paper, 10 uV", "judging, profile strict, 30 uV"),
        *("training seed 1", "judging seed 1"),
        *("training", "exporting", "judging, profile paper, 10 uV"),
        *("judging, profile strict, 20 uV", "judging, profile strict, 40 uV"),
    ]


def test_a_second_call_does_nothing(made: Made) -> None:
    """By the command line, whose output has a schema."""
    before, touched = contents(made.root), times(made.root)
    words = ["zoo", "build", "--data", str(made.data), "--out", str(made.root), "--json"]
    result = CliRunner().invoke(main, words)
    assert result.exit_code == 0, result.output
    found, schema = json.loads(result.stdout), load_schema("zoo-build/1")
    Draft202012Validator(schema).validate(found)
    assert list(undeclared(found, schema, schema)) == []
    assert found["models"] == [
        {"name": name, "folder": str(made.root / name), "steps": []} for name in ("plain", "taught")
    ]
    assert contents(made.root) == before and times(made.root) == touched
    text = CliRunner().invoke(main, words[:-1]).stdout
    assert [line.split(maxsplit=1) for line in text.splitlines()] == [
        ["plain", "stood already"],
        ["taught", "stood already"],
    ]


def test_the_index_is_the_files(made: Made) -> None:
    index = read_json(made.root / "index.json")
    schema = load_schema("zoo/1")
    Draft202012Validator(schema).validate(index)
    assert list(undeclared(index, schema, schema)) == [] and list(index["models"]) == ["plain", "taught"]
    for name, entry in index["models"].items():
        folder = made.root / name
        files = [*folder.iterdir(), made.root / "split.json"]
        assert entry["files"] == {path.name: sha256_file(path) for path in files}
        rows = [row for row in made.json(name, "scores.json")["rows"] if row["form"] == "int8"]
        assert entry["clean"] == rows[0]["clean"]
        assert entry["worst_case"] == {f"{row['eps_uv']:g}": row["worst_case"]["accuracy"] for row in rows[1:]}
        assert entry["parameters"] == made.json(name, "metrics.json")["parameters"]
    assert list(index["models"]["taught"]["worst_case"]) == ["20", "40"]
    found = zoo_models(made.root)
    assert [model.forms for model in found.values()] == [("fp32", "int8", "int8-streaming")] * 2
    assert [model.checked() for model in found.values()] == [made.root / "plain", made.root / "taught"]


def test_the_scores_are_valid_and_of_these_files(made: Made) -> None:
    schema = load_schema("scores/2")
    budgets = {
        "plain": [("paper", 10.0, 8), ("strict", 30.0, 8)],
        "taught": [("paper", 10.0, 8), ("strict", 20.0, 6), ("strict", 40.0, 6)],
    }
    for name, expected in budgets.items():
        scores = made.json(name, "scores.json")
        Draft202012Validator(schema).validate(scores)
        assert list(undeclared(scores, schema, schema)) == []
        assert scores["data"] == "waves"
        assert scores["weights_sha256"] == sha256_file(made.root / name / "weights.safetensors")
        int8 = [row for row in scores["rows"] if row["form"] == "int8"]
        assert [(row["profile"], row["eps_uv"], row["n"]) for row in int8] == expected
        assert scores["stream"]["equal"] == scores["stream"]["compared"] > 0
        for form in ("int8", "int8-streaming"):
            bill = scores["bill"][form]
            Draft202012Validator(load_schema("bill/1")).validate(bill)
            assert bill["model"] == f"{name}-{form}.onnx"


def test_the_files_are_one_network(made: Made) -> None:
    for name in ("plain", "taught"):
        folder = made.root / name
        window, stream = open_model(folder / f"{name}-int8.onnx"), open_stream(folder / f"{name}-int8-streaming.onnx")
        assert window.metadata.parent_sha256 == sha256_file(folder / "weights.safetensors")
        assert stream.metadata.window_sha256 == window.sha256 and stream.hop == 300


def test_nothing_published_says_where_it_was_made(made: Made) -> None:
    """Neither the folder, nor that of the records, nor any other path from a root."""
    files = [path for path in made.root.rglob("*") if path.is_file()]
    assert len(files) > 20
    for path in files:
        assert str(made.root.parent).encode() not in path.read_bytes(), path
    for name, file in itertools.product(("plain", "taught"), ("config.json", "metrics.json", "scores.json")):
        assert [text for text in strings(made.json(name, file)) if text.startswith(("/", "~/", "\\"))] == []
    assert made.json("plain", "config.json")["options"]["data"] == "waves"


def strings(value: Any) -> Iterator[str]:
    """Every text inside of a JSON value."""
    if isinstance(value, str):
        yield value
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from strings(inner)


def test_a_further_seed_is_another_network(made: Made) -> None:
    plain = made.json("plain", "scores.json")
    other = made.root / "seeds" / "plain-s1"
    (entry,) = plain["seeds"]
    assert entry["seed"] == 1 and read_json(other / "config.json")["seed"] == 1
    assert entry["weights_sha256"] == sha256_file(other / "weights.safetensors") != plain["weights_sha256"]
    with short_work():
        judged = evaluate_model(other, data=made.data, profile="paper", checks=False).to_json()
    for kind, attack in zip(("clean", "pgd", "sap"), judged["attacks"], strict=True):
        assert entry[kind]["accuracy"] == attack["accuracy"] and entry[kind]["f1"] == attack["f1"]
    assert (entry["form"], entry["profile"], entry["eps_uv"], entry["n"]) == ("torch", "paper", 10.0, judged["n"])
    assert "seeds" not in made.json("taught", "scores.json")
    ours, theirs = (made.json(name, "config.json")["options"] for name in ("plain", "seeds/plain-s1"))
    assert {key for key in ours if ours[key] != theirs[key]} == {"seed"}


def test_a_student_learns_from_the_networks_of_the_recipe(made: Made) -> None:
    assert made.json("plain", "config.json")["teacher"] is None
    assert made.json("taught", "config.json")["teacher"] == [
        {"defense": "none", "weights_sha256": sha256_file(made.root / folder / "weights.safetensors")}
        for folder in ("plain", "seeds/plain-s1")
    ]


def test_the_card_tells_the_scores(made: Made) -> None:
    for name, recipe in read_recipes(made.root).items():
        card = (made.root / name / "card.md").read_text()
        assert card.startswith(f"# {name}\n") and recipe.note in card
        assert NOT_A_MEDICAL_DEVICE in card and "ODC-BY" in card and f"`{recipe.command()}`" in card
        scores = made.json(name, "scores.json")
        shown = rates(card)
        for row in [*scores["rows"], *scores.get("seeds", ())]:
            for kind in ("clean", "pgd", "sap", "worst_case"):
                assert rate(row[kind]["accuracy"]) in shown
            assert rate(row["clean"]["f1"]) in shown
        assert ("## Seeds" in card) == (name == "plain")


def rate(one: dict[str, float]) -> str:
    return f"{one['value']:.3f} [{one['low']:.3f}, {one['high']:.3f}]"


def rates(card: str) -> set[str]:
    """Cells of the card's tables."""
    return {cell.strip() for line in card.splitlines() if line.startswith("|") for cell in line.split("|")}


@pytest.mark.parametrize("names", [["other"], ["plain", "other"]])
def test_an_unknown_name_is_refused_before_anything_is_made(made: Made, tmp_path: Path, names: list[str]) -> None:
    shutil.copy(made.root / "recipes.toml", tmp_path)
    with pytest.raises(InputError, match=r"^recipe other: unknown; choose plain or taught$"):
        build_zoo(names, data=made.data, out=tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["recipes.toml"]


def test_only_what_is_missing_is_made_again(made: Made, copied: Path) -> None:
    """A lost stream is exported again, and comes out the same; a lost card and index are written again."""
    before = contents(copied)
    for file in ("taught/taught-int8-streaming.onnx", "taught/card.md", "index.json"):
        (copied / file).unlink()
    with short_work():
        built = build_zoo(["taught"], data=made.data, out=copied, say=lambda line: None)
    assert [(one.name, one.steps) for one in built] == [("plain", ()), ("taught", ("exported",))]
    assert contents(copied) == before


def test_another_budget_is_judged_and_keeps_the_seeds(made: Made, copied: Path) -> None:
    (copied / "recipes.toml").write_text(RECIPES.replace("strict = [30.0]", "strict = [35.0]"))
    before = made.json("plain", "scores.json")
    with short_work():
        built = build_zoo(["plain"], data=made.data, out=copied, say=lambda line: None)
    assert [(one.name, one.steps) for one in built] == [("plain", ("judged",))]
    after = read_json(copied / "plain" / "scores.json")
    assert [row["eps_uv"] for row in after["rows"]] == [10.0] * 4 + [35.0] * 4
    assert after["rows"][:4] == before["rows"][:4] and after["seeds"] == before["seeds"]
    index = read_json(copied / "index.json")
    assert list(index["models"]) == ["plain", "taught"] and list(index["models"]["plain"]["worst_case"]) == ["35"]


def test_more_records_of_one_budget_are_judged_alone(made: Made, copied: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The strict trials of `taught` anew, on seven records, one by one; a stop between them keeps the first."""
    (copied / "recipes.toml").write_text(RECIPES.replace("records = 6", "records = 7"))
    before = made.json("taught", "scores.json")
    trials: list[Trial] = []

    def watched(*args: Any, **options: Any) -> dict[str, Any]:
        trials.extend(args[2])
        if len(trials) == 2:
            raise KeyboardInterrupt
        return score_forms(*args, **options)

    with short_work(), monkeypatch.context() as patch:
        patch.setattr("edgeguard.report.zoo.build.score_forms", watched)
        with pytest.raises(KeyboardInterrupt):
            build_zoo(["taught"], data=made.data, out=copied, say=lambda line: None)
    halfway = read_json(copied / "taught" / "scores.json")
    assert [row["n"] for row in halfway["rows"]] == [8] * 4 + [7] * 4 + [6] * 4
    with short_work():
        build_zoo(["taught"], data=made.data, out=copied, say=lambda line: None)
    after = read_json(copied / "taught" / "scores.json")
    assert [row["n"] for row in after["rows"]] == [8] * 4 + [7] * 8
    assert trials == [Trial("strict", 20.0, 7), Trial("strict", 40.0, 7)]
    assert after["rows"][:4] == before["rows"][:4] and after["checks"] == before["checks"]
    assert after["stream"] == {"compared": 3 * 8 + 2 * 38 * 7, "equal": 3 * 8 + 2 * 38 * 7}
    assert [entry["worst_case"]["n"] for entry in after["differences"]] == [8] * 2 + [7] * 4


def test_a_budget_that_the_recipe_no_longer_names_is_dropped(made: Made, copied: Path) -> None:
    (copied / "recipes.toml").write_text(RECIPES.replace("strict = [20.0, 40.0]", "strict = [40.0]"))
    built = build_zoo(["taught"], data=made.data, out=copied, say=lambda line: None)
    assert built[-1].steps == ("judged",)
    before, after = made.json("taught", "scores.json"), read_json(copied / "taught" / "scores.json")
    assert after["rows"] == [row for row in before["rows"] if row["eps_uv"] != 20]
    assert {entry["eps_uv"] for entry in after["differences"]} == {10, 40}
    assert after["stream"]["compared"] == 3 * 8 + 38 * 6 < before["stream"]["compared"]


def test_scores_without_a_form_are_judged_again(made: Made, copied: Path) -> None:
    before = made.json("taught", "scores.json")
    rows = [row for row in before["rows"] if row["form"] != "fp32"]
    (copied / "taught" / "scores.json").write_text(json.dumps({**before, "rows": rows}))
    with short_work():
        built = build_zoo(["taught"], data=made.data, out=copied, say=lambda line: None)
    assert [(one.name, one.steps) for one in built] == [("plain", ()), ("taught", ("judged",))]
    assert read_json(copied / "taught" / "scores.json")["rows"] == before["rows"]


def test_without_spread_no_further_seed_is_judged(made: Made, copied: Path) -> None:
    shutil.rmtree(copied / "seeds")
    scores = read_json(copied / "plain" / "scores.json")
    del scores["seeds"]
    (copied / "plain" / "scores.json").write_text(json.dumps(scores))
    (built,) = build_zoo(["plain"], data=made.data, out=copied, spread=False, say=lambda line: None)
    assert built.steps == () and not (copied / "seeds").exists()
    assert "## Seeds" not in (copied / "plain" / "card.md").read_text()


def test_the_index_holds_what_was_judged(copied: Path) -> None:
    (copied / "taught" / "scores.json").unlink()
    write_index(copied)
    assert list(read_json(copied / "index.json")["models"]) == ["plain"]
