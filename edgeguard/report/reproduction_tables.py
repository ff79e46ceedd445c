"""What people read of a reproduction: its tables in Markdown and as text, the paper's figures beside ours."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any

from edgeguard.evaluation.profiles import PROFILE_VERSIONS
from edgeguard.evaluation.reproduction.published import TABLES
from edgeguard.evaluation.reproduction.scope import (
    ALPHA,
    EPS,
    KERNELS,
    OWN_QUERIES,
    PAIRS,
    QUERIES,
    SMOOTH_STEPS,
    STEPS,
    STRICT_EPS,
)

_ATTACKS = {
    "pgd": f"PGD, eps {EPS:g} uV, {STEPS} steps of {ALPHA:g} uV, cross-entropy, one start at zero, last iterate",
    "sap": f"SAP, eps {EPS:g} uV, {STEPS} + {SMOOTH_STEPS} steps of {ALPHA:g} uV, kernels {KERNELS}, cross-entropy, "
    "one start at zero, last iterate, padding masked inside the loop",
}
_SITUATIONS = {
    "I": "crafted on the undefended network of the same seed, judged by the defended one",
    "II": "crafted on the network judged",
}


@dataclass(frozen=True)
class Sheet:
    """One table for people.

    Attributes:
        title: of the table.
        about: lines above it.
        header, rows: its cells.
        after: lines beneath it.
    """

    title: str
    about: list[str]
    header: list[str]
    rows: list[list[str]]
    after: list[str]


def attack_sheets(number: int, table: dict[str, Any]) -> list[Sheet]:
    """Tables 2 to 5: accuracy, then F1."""
    published = TABLES[number]
    kind = "drop_ref" if published.situation == "II" else "drop_own"
    about = [f"{_ATTACKS[published.attack]}; situation {published.situation}: {_SITUATIONS[published.situation]}."]
    about += [_records(table), *_missing(table)]
    after = _order_lines(table["order"]["accuracy"], "accuracy") + _flat(table)
    if any(row["paper"] and row["paper"]["odd_drops"] for row in table["rows"]):
        after.append("A drop with an asterisk is as printed and follows neither definition.")
    accuracy = Sheet(
        f"Table {number}: {published.attack.upper()}, situation {published.situation}, accuracy",
        about,
        [*_header(kind), "less `none`, points", "Holm p"],
        [_cells(row, "accuracy", kind) + _against(row["against_none"]) for row in table["rows"]],
        after,
    )
    f1 = Sheet(
        f"Table {number}: {published.attack.upper()}, situation {published.situation}, F1",
        [],
        [*_header(kind), "clean, CinC F1 (N, A, O)", "attacked, CinC F1"],
        [_cells(row, "f1", kind) + [_rate(row, kind, "f1_nao") for kind in _PARTS] for row in table["rows"]],
        _order_lines(table["order"]["f1"], "F1"),
    )
    return [accuracy, f1]


def strict_sheet(table: dict[str, Any]) -> Sheet:
    """The strict profile's worst case, in a table of its own."""
    rows = []
    for row in table["rows"]:
        scores = [_rate(row, "attacked", metric) for metric in ("accuracy", "f1", "f1_nao")]
        rows.append([row["defense"], _rate(row, "clean", "accuracy"), *scores, *_against(row["against_none"])])
    after = _order_lines(table["order"]["accuracy"], "worst-case accuracy", paper="the paper's under PGD (its Table 5)")
    if beyond := table.get("beyond_paper"):
        points = ", ".join(f"`{name}` {100 * share:+.1f}" for name, share in beyond.items())
        after.append(
            "Points of accuracy that it takes beyond both of the paper's attacks together, on the same records: "
            f"{points}."
        )
    return Sheet(
        f"Profile {PROFILE_VERSIONS['strict']}: worst case, situation II",
        [
            f"A cascade at eps {STRICT_EPS:g} uV, among all perturbations and among SAP's: signed descent, Auto-PGD, "
            "targeted Auto-PGD, each on the records that still stand; a record counts as right only under all of them. "
            "The paper has no such table.",
            _records(table),
        ],
        ["defence", "clean", "worst case", "worst case, F1", "worst case, CinC F1", "less `none`, points", "Holm p"],
        rows,
        after,
    )


def black_box_sheet(table: dict[str, Any]) -> Sheet:
    """Table 6."""
    rows = []
    for row in table["rows"]:
        undefended = "control: `none` of another seed" if row["attacked"] else "`none`, the victim"
        name = undefended if row["defense"] == "none" else row["defense"]
        scored = [_plain(row[part]["accuracy"]) if row[part] else "not asked" for part in _PARTS]
        f1 = f"{row['attacked']['f1']:.3f}" if row["attacked"] else "not asked"
        theirs = _number(row["paper"]["accuracy"]) if row["defense"] != "none" else "no such row"
        rows.append([name, *scored, f1, *_against(row["against_control"]), theirs, _microvolts(row["itself"])])
    victims = table["victims"]
    seeds, fooled = (" and ".join(map(str, values)) for values in (victims, table["fooled"]))
    about = [
        f"The targeted boundary attack on the float32 files of undefended networks (seed {seeds}), {PAIRS} "
        f"pairs of records for each ordered pair of classes, {QUERIES:,} queries a pair; {fooled} "
        "pairs fooled them. Each file is then asked for the class of the original. The paper gives neither pairs nor "
        f"budget. The last column attacks every file itself, with {OWN_QUERIES:,} queries a pair.",
    ]
    if len(victims) == 1:
        about.append(
            "**No control**: no undefended network of another seed is at hand. Add --control to train one; without it "
            "these figures say little of a defence."
        )
    after = ["Pairs that share an original are not independent, so that these intervals are slightly too narrow."]
    if table["order"]:
        after = _order_lines(table["order"]["accuracy"], "accuracy on what fooled the undefended") + after
    return Sheet(
        "Table 6: boundary attack, situation I",
        about,
        [
            "file",
            "right on the originals",
            "right on what fooled `none`",
            "F1",
            "less control, points",
            "Holm p",
            "paper: accuracy",
            "attacked itself: median L2, uV",
        ],
        rows,
        after,
    )


def as_markdown(sheets: Sequence[Sheet]) -> str:
    """The sheets as a section of a document."""
    parts = []
    for sheet in sheets:
        table = [sheet.header, ["---"] * len(sheet.header), *sheet.rows]
        lines = ["| " + " | ".join(cells) + " |" for cells in table]
        parts += [f"### {sheet.title}", *sheet.about, "\n".join(lines), *(f"- {line}" for line in sheet.after)]
    return "\n\n".join(parts).replace("\n\n- ", "\n- ").replace("|\n- ", "|\n\n- ") + "\n"


def as_text(sheets: Sequence[Sheet]) -> str:
    """The sheets in columns."""
    parts = []
    for sheet in sheets:
        table = [[cell.replace("`", "") for cell in cells] for cells in (sheet.header, *sheet.rows)]
        widths = [max(len(row[place]) for row in table) for place in range(len(sheet.header))]
        lines = [
            "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip() for row in table
        ]
        body = [line.replace("`", "").replace("**", "") for line in (*sheet.about, "", *lines, "", *sheet.after)]
        parts.append("\n".join([sheet.title, *body]).rstrip())
    return "\n\n\n".join(parts)


_PARTS = ("clean", "attacked")
_SMALLEST_P = 1e-6


def _header(kind: str) -> list[str]:
    ours = ["defence", "clean", "attacked", "lost, points", "drop_own, %", "drop_ref, %"]
    return [*ours, "paper: clean, implied", "paper: attacked", f"paper: {kind}, %"]


def _cells(row: dict[str, Any], metric: str, kind: str) -> list[str]:
    paper = row["paper"] or {"clean": {}, "attacked": {}, kind: {}, "odd_drops": []}
    odd = " *" if metric in paper["odd_drops"] else ""
    drop = paper[kind].get(metric)
    return [
        row["defense"],
        *(_rate(row, part, metric) for part in _PARTS),
        _points(row["lost"][metric]),
        *(_percent(row[own][metric]) for own in ("drop_own", "drop_ref")),
        _number(paper["clean"].get(metric)),
        _number(paper["attacked"].get(metric)),
        "-" if drop is None else f"{100 * drop:.2f}{odd}",
    ]


def _against(test: dict[str, Any] | None) -> list[str]:
    if test is None:
        return ["", ""]
    return [_points(test, sign="+"), f"{test['holm_p']:.2g}" if test["holm_p"] >= _SMALLEST_P else f"< {_SMALLEST_P:g}"]


def _order_lines(order: dict[str, Any], what: str, *, paper: str = "the paper's") -> list[str]:
    lines = [f"Order by {what}: {_chain(order['found'])}."]
    if order["kendall_tau"] is None:
        return [*lines, f"{paper[0].upper()}{paper[1:]} has no two of these."]
    tau = order["kendall_tau"]
    lines.append(f"{paper[0].upper()}{paper[1:]}: {_chain(order['paper'])}.")
    named = ", ".join(f"`{better}` ahead of `{other}`" for better, other in order["reversed_pairs"])
    against = f" ({named})" if named else ""
    lines.append(
        f"Kendall's tau {tau['value']:.2f} [{tau['low']:.2f}, {tau['high']:.2f}]. Of {order['pairs']} pairs "
        f"{order['same']} stand in the paper's order with an interval that leaves out zero, {order['reversed']} "
        f"against it{against}; undecided: {order['open']}."
    )
    return lines


def _records(table: dict[str, Any]) -> str:
    seeds = table["seeds"]
    source = "over records" if seeds == 1 else "over records and seeds; mean ± SD over seeds"
    return f"n = {table['n']} test records, {seeds} seed{'s' if seeds > 1 else ''}; 95 % intervals {source}."


def _missing(table: dict[str, Any]) -> list[str]:
    names = table["missing_classes"]
    return [f"No record of class {_list(names)} among them: F1 is the mean of the classes that are."] if names else []


def _flat(table: dict[str, Any]) -> list[str]:
    """A line where a loss has no gradient to start from, so that accuracy flatters."""
    shares = {row["defense"]: row["zero_gradient"] for row in table["rows"] if row["zero_gradient"]}
    masked = [f"`{name}` {share['value']:.3f}" for name, share in shares.items() if share["value"] > 0]
    return [f"Share of clean records without any gradient of the cross-entropy: {', '.join(masked)}."] if masked else []


def _rate(row: dict[str, Any], part: str, metric: str) -> str:
    rate = row[part][metric]
    spread = f" ± {row['sd'][part][metric]:.3f}" if row["sd"] else ""
    return f"{_decimal(rate['value'])}{spread} [{_decimal(rate['low'])}, {_decimal(rate['high'])}]"


def _plain(rate: dict[str, Any]) -> str:
    return f"{rate['value']:.2f} [{rate['low']:.2f}, {rate['high']:.2f}], n {rate['n']}"


def _points(ranged: dict[str, Any], *, sign: str = "") -> str:
    return "{:{s}.1f} [{:{s}.1f}, {:{s}.1f}]".format(*(100 * ranged[key] for key in ("value", "low", "high")), s=sign)


def _percent(ranged: dict[str, Any]) -> str:
    return f"{100 * ranged['value']:.2f} [{100 * ranged['low']:.1f}, {100 * ranged['high']:.1f}]"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def _decimal(value: float) -> str:
    return f"{value:.3f}" if isfinite(value) else "undefined"


def _microvolts(itself: dict[str, Any]) -> str:
    value = itself["median_l2_uv"]
    if not itself["pairs"]:
        return "no pair"
    return f"{value:,.0f}, n {itself['pairs']}" if isfinite(value) else f"most withstood, n {itself['pairs']}"


def _chain(order: Sequence[tuple[str, float]]) -> str:
    """Names, best first; equal scores are said to be equal."""
    text = ""
    for place, (name, score) in enumerate(order):
        joint = "" if place == 0 else " = " if score == order[place - 1][1] else " > "
        text += f"{joint}`{name}`"
    return text


def _list(values: Sequence[Any]) -> str:
    return ", ".join(map(str, values))
