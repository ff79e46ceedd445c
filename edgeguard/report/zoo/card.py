"""The model card: what a network of the zoo is, what it is worth, what it costs, and what it is not."""

from collections.abc import Iterable, Mapping
from typing import Any

from edgeguard.evaluation.profiles import UPPER_BOUND, is_upper_bound, version_of
from edgeguard.intended_use import INTENDED_USE, NOT_A_MEDICAL_DEVICE
from edgeguard.report.rate_text import rate_text
from edgeguard.report.zoo.recipes import Recipe

_ABOUT = {
    "none": "No defence: cross-entropy on clean records.",
    "jr": "Jacobian regularisation (Ma & Liang 2020).",
    "nsr": "Noise-to-signal ratio regularisation (Ma & Liang 2020).",
    "dd": "Defensive distillation of an undefended network (Papernot et al. 2016).",
    "at": "Adversarial training on clean and attacked records.",
    "init-adt": "Distilled on clean records from an adversarially trained network.",
    "dist-adt": "Adversarially trained on the soft labels of an undefended network.",
    "adt": "Adversarial Distillation Training: adversarially trained on the soft labels of such a network.",
    "at-long": "Adversarial training for as many updates as ADT has in both of its stages (a control).",
    "at-smooth": "Adversarial training on smoothed labels (a control).",
    "trades": "TRADES (Zhang et al. 2019; a control).",
}
_LIMITS = """\
- Trained and judged on one kind of recorder, hand-held, a single lead, 300 Hz, mostly 30 s at rest. Other electrodes,
  sampling rates and exercise are untried.
- No patient ids are published with the records, so that recordings of one person may stand in training and test.
- The labels are reviewers' and often disputed; Noise has few records, and its recall a wide interval.
- Robust figures hold for the attacks, budgets and profiles named, not for all attacks.
- Soft labels and probabilities are not calibrated to any prevalence but that of the records."""
_ATTRIBUTION = """\
"AF Classification from a Short Single Lead ECG Recording: the PhysioNet/Computing in Cardiology Challenge 2017",
Clifford GD et al., Computing in Cardiology 44 (2017), doi 10.22489/CinC.2017.065-469; PhysioNet, Goldberger AL et al.,
Circulation 101(23), 2000. The records are licensed under the Open Data Commons Attribution License v1.0 (ODC-BY) and
are not part of this repository."""


def model_card(
    recipe: Recipe,
    config: Mapping[str, Any],
    metrics: Mapping[str, Any],
    scores: Mapping[str, Any],
    sizes: Mapping[str, int],
) -> str:
    """Markdown.

    Args:
        config, metrics: of the run.
        scores: what `edgeguard.evaluation.zoo.scores` found, with the bills.
        sizes: bytes of each file.
    """
    parts = [
        f"# {recipe.name}",
        _ABOUT[config["defense"]] + (f" {recipe.note}" if recipe.note else ""),
        f"{NOT_A_MEDICAL_DEVICE} {INTENDED_USE}",
        _facts(recipe, config, metrics, sizes),
        "## Scores",
        f"On {scores['records']} of {scores['data']}. Every rate with its 95 % interval.",
        _score_tables(scores["rows"]),
        *([_differences(scores["differences"])] if scores["differences"] else []),
        _stream(scores["stream"]),
        *(["## Seeds", _seeds(config["seed"], scores)] if scores.get("seeds") else []),
        "## Masking checks",
        _checks(scores["checks"]),
        "## Bill",
        _bill(scores["bill"]),
        "## Limits",
        _LIMITS,
        "## Data",
        _ATTRIBUTION,
    ]
    return "\n\n".join(parts) + "\n"


def _facts(recipe: Recipe, config: Mapping[str, Any], metrics: Mapping[str, Any], sizes: Mapping[str, int]) -> str:
    data, split = config["data"], config["split"]
    shares = " / ".join(f"{100 * share:.0f}" for share in split["fractions"])
    epochs = " + ".join(f"{one:g}" for one in metrics["epochs"])
    start = metrics.get("start")
    before = f", after a start of {start['forward_units']:,} units" if start else ""
    rows = [
        (
            "architecture",
            f"`{config['arch']}`, {metrics['parameters']:,} parameters, {config['window']:,} samples at "
            f"{config['sampling_rate']:g} Hz, classes {', '.join(config['classes'])}",
        ),
        ("training", f"`{recipe.command()}`"),
        ("seed", f"{config['seed']}"),
        (
            "records",
            f"{data['source']}, {data['records']:,}; train / validation / test {shares} by seed {split['seed']}; "
            f"fingerprint `{data['fingerprint'][:16]}`",
        ),
        (
            "cost",
            f"{epochs} epochs, {metrics['forward_units']:,} forward units a record{before}, "
            f"{metrics['seconds']:,.0f} s of one processor core, teachers among them",
        ),
        (
            "validation",
            f"accuracy {metrics['validation']['accuracy']:.3f}, F1 {metrics['validation']['f1']:.3f}; "
            "chosen on it, the test part opened once",
        ),
        ("files", ", ".join(f"`{name}` {size:,} bytes" for name, size in sizes.items())),
    ]
    return _table(("", ""), rows)


def _score_tables(rows: Iterable[Mapping[str, Any]]) -> str:
    """A table a profile and budget; what is worst-case accuracy and F1 stands beside what is clean."""
    groups: dict[tuple[str, float], list[Mapping[str, Any]]] = {}
    for row in rows:
        groups.setdefault((version_of(row), row["eps_uv"]), []).append(row)
    return "\n\n".join(
        f"**{_PROFILES[version].format(eps=f'{eps:g}')}**, n = {members[0]['n']}"
        + (f". These {UPPER_BOUND}" if is_upper_bound(version, eps) else "")
        + "\n\n"
        + _table(
            (
                *("form", "clean", "clean F1", "PGD", "SAP", "worst case", "worst-case F1", "F1 of N, A, O"),
                *("AF sensitivity", "AF false alarms"),
            ),
            [
                (
                    row["form"],
                    rate_text(row["clean"]["accuracy"]),
                    rate_text(row["clean"]["f1"]),
                    rate_text(row["pgd"]["accuracy"]),
                    rate_text(row["sap"]["accuracy"]),
                    rate_text(row["worst_case"]["accuracy"]),
                    rate_text(row["worst_case"]["f1"]),
                    _both(row, "f1_nao"),
                    _both(row, "sensitivity", known=row["recall"].get("A")),
                    _both(row, "false_alarms"),
                )
                for row in members
            ],
        )
        for (version, eps), members in groups.items()
    )


def _both(row: Mapping[str, Any], score: str, known: Mapping[str, Any] | None = None) -> str:
    """A score clean and in the worst case; rows judged before it was kept have `known` of the worst case, or none."""
    clean, worst = (row[part].get(score) for part in ("clean", "worst_case"))
    if clean is None:
        return "-" if known is None else rate_text(known)
    return f"{clean['value']:.3f}, worst {rate_text(worst)}"


_STRICT = (
    "Profile `{version}`, {{eps}} uV (sixteen attacks: PGD and SAP, two losses, two starts, 40 {steps}, best "
    "iterate; crafted on the run and through the int8 file's twin, judged on every form)"
)
_PROFILES = {
    "paper/1": "Profile `paper`, {eps} uV (PGD 20, SAP 20 + 40, cross-entropy, one start, last "
    "iterate; crafted on the form itself)",
    "strict/1": _STRICT.format(version="strict/1", steps="steps of one size"),
    "strict/2-draft": _STRICT.format(version="strict/2-draft", steps="steps that shrink"),
    "strict/2": "Profile `strict/2`, {eps} uV (a cascade in each space: signed descent, Auto-PGD, targeted Auto-PGD, "
    "then Square Attack on up to 64 records, each on what still stands; crafted on the run and through the int8 "
    "file's twin, judged on every form)",
}


def _differences(differences: Iterable[Mapping[str, Any]]) -> str:
    rows = [
        (
            f"{one['profile']}, {one['eps_uv']:g} uV",
            f"{one['form']} less {one['reference']}",
            _points(one["clean"]),
            _points(one["worst_case"]),
        )
        for one in differences
    ]
    return "What the export costs, record by record, in points (Tango's interval):\n\n" + _table(
        ("profile", "", "clean", "worst case"), rows
    )


def _stream(stream: Mapping[str, int]) -> str:
    return (
        f"Played hop by hop, the stream gives the int8 file's logits bit for bit on {stream['equal']:,} of "
        f"{stream['compared']:,} windows, clean and attacked."
    )


def _seeds(seed: int, scores: Mapping[str, Any]) -> str:
    own = next(row for row in scores["rows"] if row["form"] == "torch" and row["profile"] == "paper")
    entries = [{"seed": f"{seed} (this one)", **own}, *scores["seeds"]]
    rows: list[tuple[str, ...]] = [
        (str(entry["seed"]), *(rate_text(entry[name]["accuracy"]) for name in _SPREAD), rate_text(entry["clean"]["f1"]))
        for entry in entries
    ]
    values = [[entry[name]["accuracy"]["value"] for entry in entries] for name in _SPREAD]
    f1 = [entry["clean"]["f1"]["value"] for entry in entries]
    rows.append(("spread", *(f"{100 * (max(some) - min(some)):.1f} points" for some in [*values, f1])))
    return "In torch, profile `paper`, the same test part:\n\n" + _table(
        ("seed", "clean", "PGD", "SAP", "worst case", "clean F1"), rows
    )


_SPREAD = ("clean", "pgd", "sap", "worst_case")


def _check_name(check: Mapping[str, Any]) -> str:
    """With the budget, where the check depends on one; results older than budgets do not say."""
    return str(check["name"]) if check.get("eps_uv") is None else f"{check['name']}, {check['eps_uv']:g} uV"


def _checks(checks: Iterable[Mapping[str, Any]]) -> str:
    words = {True: "holds", False: "fails", None: "cannot tell"}
    return "Of the int8 file under its own gradient, on 64 records:\n\n" + _table(
        ("check", "", ""), [(_check_name(one), words[one["holds"]], one["message"]) for one in checks]
    )


def _bill(bills: Mapping[str, Mapping[str, Any]]) -> str:
    """An estimate, on the first processors that the profiles know."""
    rows = []
    for form, bill in bills.items():
        for target in bill["targets"]:
            rows.append(
                (
                    form,
                    target["name"],
                    f"{bill['work']['macs'] / 1e6:.3g}",
                    f"{bill['flash']['model_bytes'] / 1024:,.0f}",
                    f"{bill['ram']['total_bytes'] / 1024:,.0f}",
                    _range(target["latency_ms"]),
                    _range(target["inference_energy_uj"]),
                    _range(target["battery_share_per_day"], 100),
                )
            )
    heads = (
        "form",
        "processor",
        "MMAC a decision",
        "flash KiB",
        "RAM KiB",
        "latency ms",
        "uJ a decision",
        "battery % a day",
    )
    return "An estimate, a decision a second (`edgeguard simulate --bill` says from what):\n\n" + _table(heads, rows)


def _range(span: Mapping[str, float] | None, scale: float = 1.0) -> str:
    return "-" if span is None else f"{scale * span['low']:.3g} to {scale * span['high']:.3g}"


def _points(difference: Mapping[str, Any]) -> str:
    found = (100 * difference[key] for key in ("difference", "low", "high"))
    return "{:+.1f} [{:+.1f}, {:+.1f}]".format(*found)


def _table(heads: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    heads = tuple(heads)
    lines = [heads, tuple("---" for _ in heads), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
