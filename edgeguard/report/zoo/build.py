"""Make the zoo: train what is missing, export it, judge every form, write cards and the index."""

import json
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgeguard.defenses.config import TrainConfig, make_config
from edgeguard.ecg.sources import load_dataset
from edgeguard.errors import unknown
from edgeguard.evaluation.profiles import PROFILE_VERSIONS, is_upper_bound, version_of
from edgeguard.evaluation.run_export import export_model
from edgeguard.evaluation.run_training import train_model
from edgeguard.evaluation.zoo.scores import FP32, TORCH, Forms, Trial, merged, restricted, score_forms, score_run
from edgeguard.evaluation.zoo.scores import SCHEMA as SCORES_SCHEMA
from edgeguard.export.exporter import write_float
from edgeguard.export.streaming.compiler import compile_stream
from edgeguard.firmware_sim.bill import bill
from edgeguard.models.run import CONFIG, METRICS, SPLIT, WEIGHTS, is_finished, is_run, load_run, split_file
from edgeguard.report.zoo.card import model_card
from edgeguard.report.zoo.recipes import Recipe, read_recipes, seed_folder, teacher_of
from edgeguard.runtime.files import read_json, sha256_file, write_bytes, write_json
from edgeguard.runtime.session import open_model
from edgeguard.runtime.streaming import open_stream
from edgeguard.runtime.telling import Say, log
from edgeguard.runtime.zoo import CARD, FILE_FORMS, INDEX, SCHEMA

SCORES = "scores.json"
_PROOF_HOPS = 300


@dataclass(frozen=True)
class Built:
    """What was made of a recipe: steps that were done now, the others stood already."""

    name: str
    folder: str
    steps: tuple[str, ...]


def build_zoo(
    names: Sequence[str] = (),
    *,
    data: str | Path,
    out: str | Path,
    spread: bool = True,
    threads: int = 1,
    say: Say = log,
) -> list[Built]:
    """Make the networks of `recipes.toml` in a folder; what stands and fits is left, so that a stopped call goes on.

    Args:
        names: of recipes; none: all of them. Teachers are made first.
        data: the records.
        out: the folder; it holds the recipes, and gets a folder a network, and the index.
        spread: whether to train and judge the further seeds too, in `out/seeds`, which is not published.
        threads: of ONNX Runtime.
        say: receives a line now and then.

    Raises InputError for an unknown name and for whatever a training or an export refuses.
    """
    root = Path(out)
    recipes = read_recipes(root)
    if strange := [name for name in names if name not in recipes]:
        raise unknown("recipe", strange[0], recipes)
    built = [_build(recipes[name], root, str(data), spread, threads, say) for name in _ordered(names, recipes)]
    write_index(root)
    return built


def write_index(root: Path) -> None:
    """Hash every published file of the networks that stand in a folder, and say what they are."""
    models = {}
    for name in read_recipes(root):
        scores = root / name / SCORES
        if scores.is_file() and read_json(scores).get("schema") == SCORES_SCHEMA:
            models[name] = _entry(root / name)
    write_json(root / INDEX, {"schema": SCHEMA, "models": models})


def _entry(folder: Path) -> dict[str, Any]:
    config, metrics, scores = (read_json(folder / name) for name in (CONFIG, METRICS, SCORES))
    rows = [row for row in scores["rows"] if row["form"] == "int8"]
    strict = [row for row in rows if row["profile"] == "strict"]
    files = {path for path in folder.iterdir() if path.is_file() and not path.name.startswith(".")} | {
        split_file(folder)
    }
    return {
        **{key: config[key] for key in ("defense", "arch", "preset", "seed")},
        "parameters": metrics["parameters"],
        "clean": next(row["clean"] for row in rows),
        "attacked": next(row["worst_case"] for row in rows if row["profile"] == "paper"),
        "worst_case": {f"{row['eps_uv']:g}": row["worst_case"]["accuracy"] for row in strict},
        "profile_versions": {f"{row['eps_uv']:g}": version_of(row) for row in strict},
        "upper_bounds": [f"{row['eps_uv']:g}" for row in strict if is_upper_bound(version_of(row), row["eps_uv"])],
        "files": {path.name: sha256_file(path) for path in sorted(files, key=lambda path: path.name)},
    }


def _share_split(folder: Path) -> None:
    """One file for all networks of the same split: tens of kilobytes each."""
    own, shared = folder / SPLIT, folder.parent / SPLIT
    if own.is_file():
        if not shared.is_file():
            write_bytes(shared, own.read_bytes())
        if own.read_bytes() == shared.read_bytes():
            own.unlink()


def _ordered(names: Sequence[str], recipes: dict[str, Recipe]) -> list[str]:
    """The names and what they learn and start from, in the order of the file, where students stand below."""
    wanted = set(names) or set(recipes)
    made = {_deciding(make_config(**recipe.options)): name for name, recipe in recipes.items() if not recipe.teachers}
    for name in reversed(recipes):
        if name not in wanted:
            continue
        recipe = recipes[name]
        wanted.update(teacher_of(token)[0] for token in recipe.teachers)
        config = make_config(**recipe.options)
        for needed in (config.start(), None if recipe.teachers else config.teacher()):
            if needed is not None and _deciding(needed) in made:
                wanted.add(made[_deciding(needed)])
    return [name for name in recipes if name in wanted]


def _deciding(config: TrainConfig) -> str:
    return json.dumps(config.deciding(), sort_keys=True)


def _build(recipe: Recipe, root: Path, data: str, spread: bool, threads: int, say: Say) -> Built:
    folder, steps = root / recipe.name, []
    if not is_finished(folder):
        _train(recipe, root, data, None, say)
        steps.append("trained")
    _share_split(folder)
    if _needs_export(folder, recipe.name):
        say(f"{recipe.name}: exporting")
        _export(recipe.name, folder, data, say)
        steps.append("exported")
    if _judge(recipe, folder, data, threads, say):
        steps.append("judged")
    if spread and recipe.seeds > 1 and _spread(recipe, folder, root, data, say):
        steps.append("seeds")
    _write_card(recipe, folder)
    return Built(recipe.name, str(folder), tuple(steps))


def _train(recipe: Recipe, root: Path, data: str, seed: int | None, say: Say) -> Path:
    """Train the published network of a recipe, or a further seed; teachers that are missing first."""
    folder = root / (recipe.name if seed is None else seed_folder(recipe.name, seed))
    if is_finished(folder):
        return folder
    recipes = read_recipes(root)
    teachers = [
        _train(recipes[name], root, data, teacher_seed, say) for name, teacher_seed in map(teacher_of, recipe.teachers)
    ]
    say(f"{recipe.name}: training" + ("" if seed is None else f" seed {seed}"))
    train_model(
        **{**recipe.options, "seed": int(recipe.options.get("seed", 0)) if seed is None else seed},
        data=data,
        teacher=teachers or None,
        out=folder,
        resume=is_run(folder),
        # The records by their name alone: where they lay is no part of the recipe.
        origin={"data": Path(data).name, "split_seed": 0},
        say=say,
    )
    return folder


def _needs_export(folder: Path, name: str) -> bool:
    """Whether a file is missing, or is of other weights."""
    int8, stream = (folder / f"{name}-{form}.onnx" for form in FILE_FORMS)
    if not (int8.is_file() and stream.is_file()):
        return True
    ours, theirs = open_model(int8).metadata.parent_sha256, open_stream(stream).metadata.window_sha256
    return (ours, theirs) != (sha256_file(folder / WEIGHTS), sha256_file(int8))


def _export(name: str, folder: Path, data: str, say: Say) -> None:
    with tempfile.TemporaryDirectory() as staging:
        made = export_model(folder, int8=True, data=data, out=staging, say=say)
        assert made.int8 is not None
        target = folder / f"{name}-int8.onnx"
        write_bytes(target, Path(made.int8).read_bytes())
    compile_stream(target, folder / f"{name}-int8-streaming.onnx", hop=1.0, proof_hops=_PROOF_HOPS)


def _judge(recipe: Recipe, folder: Path, data: str, threads: int, say: Say) -> bool:
    """Judge what the recipe names and nobody has judged, each trial written as it ends; whether anything was to do."""
    trials = [Trial("paper", 10.0), *(Trial("strict", eps, recipe.records) for eps in recipe.strict)]
    stands = _standing(folder)
    scores = None if stands is None else restricted(stands, trials)
    wanted = trials if scores is None else [trial for trial in trials if not _is_judged(trial, scores)]
    if scores is not None and scores != stands:
        write_json(folder / SCORES, scores)
    if wanted:
        _score(recipe.name, folder, data, wanted, scores, threads, say)
    return bool(wanted) or scores != stands


def _is_judged(trial: Trial, scores: dict[str, Any]) -> bool:
    """Whether every form has a row of the trial, by the profile's present version, on as many records as asked for."""
    whole = max((row["n"] for row in scores["rows"] if row["profile"] == "paper"), default=0)
    count = whole if trial.records is None else min(trial.records, whole)
    judged = {(row["form"], version_of(row), row["eps_uv"], row["n"]) for row in scores["rows"]}
    version = PROFILE_VERSIONS[trial.profile]
    return all((form, version, trial.eps, count) in judged for form in (TORCH, FP32, *FILE_FORMS))


def _standing(folder: Path) -> dict[str, Any] | None:
    """The scores that stand; None where they are missing, or of other weights."""
    scores: dict[str, Any] = read_json(folder / SCORES) if (folder / SCORES).is_file() else {}
    return scores if scores.get("weights_sha256") == sha256_file(folder / WEIGHTS) else None


def _score(
    name: str,
    folder: Path,
    data: str,
    trials: Sequence[Trial],
    scores: dict[str, Any] | None,
    threads: int,
    say: Say,
) -> None:
    """Judge one trial after the other, beside the scores that stand."""
    files = {form: folder / f"{name}-{form}.onnx" for form in FILE_FORMS}
    # Where a file lay while it was judged is nobody's business.
    bills = {form: {**bill(file).to_json(), "model": file.name} for form, file in files.items()}
    about = {"data": Path(data).name, "weights_sha256": sha256_file(folder / WEIGHTS), "bill": bills}
    dataset = load_dataset(data)
    with tempfile.TemporaryDirectory() as staging:
        fp32 = write_float(load_run(folder), Path(staging) / f"{name}-{FP32}.onnx")
        forms = Forms(folder, fp32, *files.values())
        for trial in trials:
            say(f"{name}: judging, profile {trial.profile}, {trial.eps:g} uV")
            checked = {check.get("eps_uv") for check in scores["checks"]} if scores else ()
            checks = trial.eps not in checked
            found = {**score_forms(forms, dataset, [trial], checks=checks, threads=threads), **about}
            scores = found if scores is None else merged(scores, found)
            write_json(folder / SCORES, scores)


def _spread(recipe: Recipe, folder: Path, root: Path, data: str, say: Say) -> bool:
    """Judge the recipe's further seeds in torch, in the paper's profile; their scores stand beside the first's."""
    scores = read_json(folder / SCORES)
    known = {entry["seed"] for entry in scores.get("seeds", ())}
    wanted = [seed for seed in range(1, recipe.seeds) if seed not in known]
    for seed in wanted:
        other = _train(recipe, root, data, seed, say)
        say(f"{recipe.name}: judging seed {seed}")
        row = score_run(other, load_dataset(data), Trial("paper", 10.0))
        entry = {"seed": seed, "weights_sha256": sha256_file(other / WEIGHTS), **row}
        scores["seeds"] = [*scores.get("seeds", ()), entry]
        write_json(folder / SCORES, scores)
    return bool(wanted)


def _write_card(recipe: Recipe, folder: Path) -> None:
    facts = {name: read_json(folder / name) for name in (CONFIG, METRICS, SCORES)}
    sizes = {
        path.name: path.stat().st_size for path in sorted(folder.iterdir()) if path.suffix in (".onnx", ".safetensors")
    }
    card = model_card(recipe, facts[CONFIG], facts[METRICS], facts[SCORES], sizes)
    write_bytes(folder / CARD, card.encode())
