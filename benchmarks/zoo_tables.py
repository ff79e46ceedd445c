"""The zoo's tables as the documents have them: scores of the int8 files, what the export costs, the seeds.

    python benchmarks/zoo_tables.py

Read off the stored scores of the networks with the whole recipe; nothing is computed.
"""

from edgeguard.report.rate_text import rate_text
from edgeguard.runtime.files import read_json
from edgeguard.runtime.zoo import ZooModel, zoo_models

TRAINED_MORE_THAN_ONCE = ("none-edge-m", "at-edge-m", "adt-edge-m")


def main() -> None:
    """Print the three tables."""
    whole = [model for model in zoo_models().values() if any(row["profile"] == "strict" for row in rows_of(model))]
    print("\n".join(["", *scores(whole), "", *export(whole), "", *seeds(whole)]))


def scores(models: list[ZooModel]) -> list[str]:
    """One row a network, of its int8 file."""
    table = [
        "| int8 file | clean | clean F1 | PGD 10 uV | SAP 10 uV | strict worst case |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for model in models:
        rows = [row for row in rows_of(model) if row["form"] == "int8"]
        paper = next(row for row in rows if row["profile"] == "paper")
        strict = [row for row in rows if row["profile"] == "strict"]
        size = (model.folder / model.file_name("int8")).stat().st_size
        cells = [rate_text(paper[kind][score]) for kind, score in COLUMNS]
        worst = ", ".join(f"{row['eps_uv']:g} uV: {rate_text(row['worst_case']['accuracy'])}" for row in strict)
        cells += [f"{worst}; n {strict[0]['n']}"]
        table.append(f"| `zoo:{model.name}-int8`, {size / 1000:.0f} kB | " + " | ".join(cells) + " |")
    return table


COLUMNS = (("clean", "accuracy"), ("clean", "f1"), ("pgd", "accuracy"), ("sap", "accuracy"))


def export(models: list[ZooModel]) -> list[str]:
    """int8 less torch, record by record, in points; and how many of the streams' logits are the files'."""
    table = ["| network | profile | n | clean | worst case |", "| --- | --- | --- | --- | --- |"]
    compared = equal = 0
    for model in models:
        found = stored(model)
        for one in found["differences"]:
            if one["reference"] == "torch":
                cells = f"{one['profile']}, {one['eps_uv']:g} uV | {one['worst_case']['n']}"
                table.append(f"| `{model.name}` | {cells} | {points(one['clean'])} | {points(one['worst_case'])} |")
        compared += found["stream"]["compared"]
        equal += found["stream"]["equal"]
    return [*table, "", f"Streams: {equal:,} of {compared:,} windows bit for bit."]


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


def points(found: dict) -> str:
    """A paired difference with its interval."""
    return f"{100 * found['difference']:+.1f} [{100 * found['low']:+.1f}, {100 * found['high']:+.1f}]"


if __name__ == "__main__":
    main()
