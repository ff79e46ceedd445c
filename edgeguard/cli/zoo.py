"""`edgeguard zoo`: the trained networks that come with the package."""

from functools import partial
from pathlib import Path
from typing import Any

import click

from edgeguard.cli.output import emit, json_option, say
from edgeguard.evaluation.profiles import UPPER_BOUND
from edgeguard.report.rate_text import rate_text


@click.group(name="zoo")
def command() -> None:
    """The trained networks that come with the package; `zoo:NAME` stands wherever a model is taken."""


@command.command("list")
@json_option
def list_(as_json: bool) -> None:
    """Every network, its forms, and what its int8 file is worth."""
    from edgeguard.runtime.zoo import zoo_models

    models = [
        {"name": model.name, "forms": list(model.forms), "bytes": model.sizes(), **model.about}
        for model in zoo_models().values()
    ]
    emit("zoo-list", {"models": models}, partial(_table, models), as_json=as_json)


@command.command()
@click.argument("name")
@json_option
def path(name: str, as_json: bool) -> None:
    """Where NAME lies, such as adt-edge-m-int8, once its hashes are checked."""
    from edgeguard.evaluation.zoo.located import named

    found = named(name)
    emit("zoo-path", {"name": name, "path": str(found)}, str(found), as_json=as_json)


@command.command()
@click.argument("name")
@json_option
def card(name: str, as_json: bool) -> None:
    """The model card of NAME, in Markdown."""
    from edgeguard.runtime.zoo import CARD, parse, zoo_models

    model, _ = parse(name, zoo_models())
    text = (model.checked(CARD) / CARD).read_text(encoding="utf-8")
    emit("zoo-card", {"name": model.name, "card": text}, text.rstrip("\n"), as_json=as_json)


@command.command()
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option("--data", required=True, metavar="SRC", help="The records of CinC 2017, a zip or folder.")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=Path("models/zoo"),
    show_default=True,
    help="Folder with recipes.toml; what stands in it already is left.",
)
@click.option("--spread/--no-spread", default=True, help="Train and judge the further seeds of a recipe too.")
@json_option
def build(names: tuple[str, ...], data: str, out: Path, spread: bool, as_json: bool) -> None:
    """Make networks of the zoo anew from their recipes: train, export, judge, write cards and the index."""
    from edgeguard.report.zoo.build import build_zoo

    built = build_zoo(names, data=data, out=out, spread=spread, say=say)
    rows = [{"name": one.name, "folder": one.folder, "steps": list(one.steps)} for one in built]
    text = "\n".join(f"{row['name']:<24}{', '.join(row['steps']) or 'stood already'}" for row in rows)
    emit("zoo-build", {"models": rows}, text, as_json=as_json)


def _table(models: list[dict[str, Any]]) -> str:
    width = max(len(model["name"]) for model in models) + 2
    versions = dict.fromkeys(version for model in models for version in model.get("profile_versions", {}).values())
    heads = f"{'clean':<22}{'PGD and SAP, 10 uV':<22}worst case, {' and '.join(versions) or 'strict'}"
    lines = [f"{'network':<{width}}{'preset':<8}{'int8':>10}  {heads}"]
    for model in models:
        bounds = model.get("upper_bounds", ())
        worst = "  ".join(
            f"{eps} uV {'at most ' if eps in bounds else ''}{rate_text(rate)}"
            for eps, rate in model["worst_case"].items()
        )
        size = f"{model['bytes'].get('int8', 0):,} B"
        clean, attacked = (rate_text(model[key]["accuracy"]) for key in ("clean", "attacked"))
        scores = f"{clean:<22}{attacked:<22}{worst}".rstrip()
        lines.append(f"{model['name']:<{width}}{model['preset']:<8}{size:>10}  {scores}")
    after = ["", "zoo:NAME is the run, zoo:NAME-int8, zoo:NAME-int8-streaming and zoo:NAME-fp32 are its files"]
    if any(model.get("upper_bounds") for model in models):
        after.append(f"at most: such {UPPER_BOUND}")
    return "\n".join([*lines, *after])
