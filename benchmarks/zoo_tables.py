"""The zoo's tables as the documents have them: scores of the int8 files, what the export costs, the seeds.

    python benchmarks/zoo_tables.py

Read off the stored scores, in three tables those of the networks with the whole recipe, in the last those at equal
cost; nothing is computed.
"""

from edgeguard.evaluation.profiles import is_upper_bound, version_of
from edgeguard.report.rate_text import rate_text
from edgeguard.runtime.files import read_json
from edgeguard.runtime.zoo import ZooModel, zoo_models

TRAINED_MORE_THAN_ONCE = ("none-edge-m", "at-edge-m", "adt-edge-m")


def main() -> None:
    """Print the tables."""
    models = list(zoo_models().values())
    whole, fast = ([one for one in models if one.about["preset"] == preset] for preset in ("full", "fast"))
    lines = [*scores(whole, sized=True), "", *export(whole), "", *seeds(whole), "", *scores(fast), ""]
    print("\n".join(["", *lines, margins(models)]))


def scores(models: list[ZooModel], *, sized: bool = False) -> list[str]:
    """One row a network, of its int8 file; with its name in the zoo and its size where `sized`."""
    table = [
        "| int8 file | clean | clean F1 | PGD 10 uV | SAP 10 uV | worst case, strict/1 |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for model in models:
        rows = [row for row in rows_of(model) if row["form"] == "int8"]
        paper = next(row for row in rows if row["profile"] == "paper")
        strict = [row for row in rows if row["profile"] == "strict"]
        size = (model.folder / model.file_name("int8")).stat().st_size
        cells = [rate_text(paper[kind][score]) for kind, score in COLUMNS]
        worst = ", ".join(map(worst_case, strict))
        cells += [f"{worst}; n {strict[0]['n']}"]
        name = f"`zoo:{model.name}-int8`, {size / 1000:.0f} kB" if sized else f"`{model.name}`"
        table.append(f"| {name} | " + " | ".join(cells) + " |")
    return table


def worst_case(row: dict) -> str:
    """Of one budget; `at most` where a stronger attack is known to lower it."""
    bound = "at most " if is_upper_bound(version_of(row), row["eps_uv"]) else ""
    return f"{row['eps_uv']:g} uV: {bound}{rate_text(row['worst_case']['accuracy'])}"


COLUMNS = (("clean", "accuracy"), ("clean", "f1"), ("pgd", "accuracy"), ("sap", "accuracy"))


def export(models: list[ZooModel]) -> list[str]:
    """int8 less torch, record by record, in points."""
    table = ["| network | profile | n | clean | worst case |", "| --- | --- | --- | --- | --- |"]
    for model in models:
        for one in against_torch(model):
            cells = f"{one['profile']}, {one['eps_uv']:g} uV | {one['worst_case']['n']}"
            table.append(f"| `{model.name}` | {cells} | {points(one['clean'])} | {points(one['worst_case'])} |")
    return table


def margins(models: list[ZooModel]) -> str:
    """How many of the networks lose no more than a point to int8, clean or attacked, and which do."""
    lost = {
        model.name: min(one[kind]["difference"] for one in against_torch(model) for kind in ("clean", "worst_case"))
        for model in models
    }
    over = [f"{name} {100 * loss:+.1f}" for name, loss in lost.items() if loss < -0.01]
    streams = [stored(model)["stream"] for model in models]
    compared, equal = (sum(one[key] for one in streams) for key in ("compared", "equal"))
    return (
        f"At most a point less in int8 than in torch: {len(lost) - len(over)} of {len(lost)}; not {', '.join(over)}. "
        f"Streams: {equal:,} of {compared:,} windows bit for bit."
    )


def seeds(models: list[ZooModel]) -> list[str]:
    """One row a seed, in torch, paper's profile."""
    table = ["| network | seed | clean | F1 | PGD | SAP |", "| --- | --- | --- | --- | --- | --- |"]
    for model in models:
        own = next(row for row in rows_of(model) if (row["form"], row["profile"]) == ("torch", "paper"))
        if model.name not in TRAINED_MORE_THAN_ONCE:
            continue
        for row in ({**own, "seed": model.about["seed"]}, *stored(model).get("seeds", ())):
            cells = " | ".join(f"{row[kind][score]['value']:.3f}" for kind, score in COLUMNS)
            table.append(f"| `{model.name}` | {row['seed']} | {cells} |")
    return table


def stored(model: ZooModel) -> dict:
    """What was found of a network."""
    found: dict = read_json(model.folder / "scores.json")
    return found


def rows_of(model: ZooModel) -> list[dict]:
    """A row for each form, profile and budget."""
    rows: list[dict] = stored(model)["rows"]
    return rows


def against_torch(model: ZooModel) -> list[dict]:
    """int8 less torch, one entry a profile and budget."""
    return [one for one in stored(model)["differences"] if one["reference"] == "torch"]


def points(found: dict) -> str:
    """A paired difference with its interval."""
    return f"{100 * found['difference']:+.1f} [{100 * found['low']:+.1f}, {100 * found['high']:+.1f}]"


if __name__ == "__main__":
    main()
