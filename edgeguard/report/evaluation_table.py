"""What people read of an evaluation: rates with 95 % intervals, masking checks, the comparison and its verdict."""

from collections.abc import Sequence
from typing import Any

from edgeguard.ecg.record import ALARM
from edgeguard.report.rate_text import rate_text

_WIDTH = 34
_SPACES = {"plain": "all within eps", "smooth": "SAP's alone"}


def evaluation_table(report: dict[str, Any], classes: Sequence[str]) -> str:
    """The fields of an `EvaluationResult`, as text."""
    # Of a cascade only the attacks that turned a record: it has dozens, and most come after the last one falls.
    rows = [row for row in report["attacks"] if row.get("felled") != 0]
    silent = len(report["attacks"]) - len(rows)
    rates = [(_name(row), row) for row in rows]
    rates += [(f"worst case, {name} alone", rates_of) for name, rates_of in report["by_gradient"].items()]
    rates += [(f"worst case, {_SPACES[name]}", rates_of) for name, rates_of in (report.get("by_space") or {}).items()]
    rates.append(("worst case", report["worst_case"]))
    width = max(_WIDTH, *(len(name) + 2 for name, _ in rates))
    profile = report.get("profile_version") or report["profile"]
    lines = [
        f"{report['model']} on {report['n']} records of {report['data']}, profile {profile}",
        "",
        f"{'attack, n = ' + str(report['n']):<{width}}{'accuracy [95 %]':<26}{'F1 [95 %]':<26}",
        *(f"{name:<{width}}{rate_text(about['accuracy']):<26}{rate_text(about['f1']):<26}" for name, about in rates),
        *([f"{silent} further attacks of the cascade turned no record"] if silent else []),
        *_masked(report["attacks"]),
        *_alarms(rates, classes, width),
    ]
    if report["checks"]:
        lines += ["", *_checks(report["checks"])]
    if report.get("compare"):
        lines += ["", *_comparison(report["model"], report["compare"])]
    if report.get("hunt"):
        lines += ["", *_hunt(report["hunt"])]
    for row in report["attacks"]:
        if row["name"] == "clean" or report["profile"] == "paper":
            lines += ["", *_confusion(row, classes)]
    return "\n".join(lines)


def _alarms(rates: Sequence[tuple[str, dict[str, Any]]], classes: Sequence[str], width: int) -> list[str]:
    """The official F1, and what happens to the class that a watch announces, clean and in the worst cases."""
    watched = ALARM if ALARM in classes else None
    kept = ("clean", "worst case", *(f"worst case, {space}" for space in _SPACES.values()))
    shown = [(name, row) for name, row in rates if name in kept]
    official = any(row.get("f1_nao") for _, row in shown)
    if not official and watched is None:
        return []
    columns = ["F1 of N, A, O"] * official + [f"{watched}: sensitivity", f"{watched}: false alarms"] * bool(watched)
    lines = ["", f"{'':<{width}}" + "".join(f"{column:<26}" for column in columns).rstrip()]
    for name, row in shown:
        about = (row.get("classes") or {}).get(watched)
        if about is None and watched:
            continue
        cells = [row["f1_nao"]] * official + ([about["recall"], about["false_alarms"]] if about else [])
        lines.append(f"{name:<{width}}" + "".join(f"{rate_text(cell):<26}" for cell in cells).rstrip())
    return lines if len(lines) > 2 else []


def _confusion(row: dict[str, Any], classes: Sequence[str]) -> list[str]:
    lines = [
        f"{_name(row)}: true class by row, predicted by column",
        f"{'':<8}" + "".join(f"{name:>7}" for name in classes) + f"{'recall':>26}{'precision':>26}{'F1':>8}",
    ]
    for name, counts in zip(classes, row["confusion"], strict=True):
        about = row["classes"][name]
        lines.append(
            f"{name:<8}"
            + "".join(f"{count:>7}" for count in counts)
            + f"{rate_text(about['recall']):>26}{rate_text(about['precision']):>26}{about['f1']:>8.3f}"
        )
    return lines


def _checks(checks: Sequence[dict[str, Any]]) -> list[str]:
    """A count of the checks that hold, and a line for each that does not, or that could not have tripped."""
    applied = [check for check in checks if check["figure"] is not None]
    blind = [check for check in checks if check["figure"] is None and check["message"].endswith("cannot tell")]
    unfit = [check["name"] for check in checks if check["figure"] is None and check not in blind]
    count = f"{sum(check['holds'] is True for check in applied)} of {len(applied)} masking checks hold"
    lines = [f"{count}; not applicable: {', '.join(unfit)}" if unfit else count]
    for check in applied:
        if not check["holds"]:
            state = "TRIPPED" if check["holds"] is False else "undecided"
            lines.append(f"{state:<11}{check['name']}: {check['message']}")
    return [*lines, *(f"{'untold':<11}{check['name']}: {check['message']}" for check in blind)]


def _comparison(model: str, compare: dict[str, Any]) -> list[str]:
    table = compare["table"]
    lines = [
        f"model {model} less other {compare['model']}, n = {compare['worst_case']['n']}",
        f"{'accuracy':<{_WIDTH}}{'points [95 %]':<26}{'exact McNemar p':<26}",
    ]
    for name, about in (("clean", compare["clean"]), ("worst case", compare["worst_case"])):
        if about:
            points = "{:+.1f} [{:+.1f}, {:+.1f}]".format(*(100 * about[key] for key in ("difference", "low", "high")))
            lines.append(f"{name:<{_WIDTH}}{points:<26}{about['mcnemar_p']:.3g}")
    lines += [
        "",
        f"{'worst case, records':<{_WIDTH}}{'other right':<26}{'other wrong':<26}",
        f"{'model right':<{_WIDTH}}{table['both_right']:<26}{table['only_exported']}",
        f"{'model wrong':<{_WIDTH}}{table['only_reference']:<26}{table['both_wrong']}",
        "",
        f"{'worst case, crafted on':<{_WIDTH}}{'model [95 %]':<26}{'other [95 %]':<26}",
    ]
    for source, rates in compare["transfer"].items():
        lines.append(f"{source:<{_WIDTH}}{rate_text(rates['model']):<26}{rate_text(rates['other'])}")
    return [*lines, "", *compare["message"].split("; ")]


def _hunt(hunt: dict[str, Any]) -> list[str]:
    within = f"divergence within {hunt['eps_uv']:g} uV"
    return [
        f"{within:<{_WIDTH}}records [95 %]",
        f"{'model right, other wrong':<{_WIDTH}}{rate_text(hunt['only_first_right'])}",
        f"{'model wrong, other right':<{_WIDTH}}{rate_text(hunt['only_second_right'])}",
        f"{'either':<{_WIDTH}}{rate_text(hunt['either'])}",
        f"{'witnesses':<{_WIDTH}}{hunt['witnesses']}",
    ]


def _masked(attacks: Sequence[dict[str, Any]]) -> list[str]:
    """A line for each loss that has no gradient at some clean records, so that its accuracy flatters."""
    shares = {f"zero {row['loss']} gradient{_crafted_on(row)}": row["zero_gradient"] for row in attacks}
    return [f"{name:<{_WIDTH}}{rate_text(share)}" for name, share in shares.items() if share and share["value"] > 0]


def _name(row: dict[str, Any]) -> str:
    if row["name"] == "clean":
        return "clean"
    steps = f"{row['steps']}, {row['smooth_steps']}" if row["smooth_steps"] else f"{row['steps']}"
    if row["name"] == "square":
        return f"SQUARE {row['eps_uv']:g} uV ({steps} queries){_left(row)} [{row['situation']}]"
    start = f", random start {row['restart'] or ''}".rstrip() if row["random_start"] else ""
    target = f", target {row['target']} on" if row["target"] else ""
    if row["name"].startswith("apgd"):
        start, target = "", f", target {row['target']}" if row["target"] else ""
    about = f"{row['loss']}{_crafted_on(row)}{start}{target}{_left(row)}"
    return f"{_title(row['name'])} {row['eps_uv']:g} uV ({steps}) {about} [{row['situation']}]"


def _left(row: dict[str, Any]) -> str:
    """How many records an attack of a cascade was run on, and how many of them it turned."""
    return "" if row.get("records") is None else f", {row['felled']} of {row['records']} left"


def _crafted_on(row: dict[str, Any]) -> str:
    return "" if row["gradient"] in ("run", None) else f", {row['gradient']}"


def _title(attack: str) -> str:
    """A built-in attack's abbreviation in capitals; a user's own as it was typed."""
    return attack if ":" in attack else attack.upper()
