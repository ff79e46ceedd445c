"""An audit as people read it in a terminal: the verdict, why, and the figures behind it."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from math import isfinite

from edgeguard.evaluation.audit.result import Audit, Check, Rate
from edgeguard.report.rate_text import rate_text

_WORDS = {True: "hold", False: "fail", None: "open"}
_ATTACKS = ("clean", "pgd", "sap", "cw-smooth", "worst case")


def audit_table(audit: Audit) -> str:
    """The whole of it, the verdict first."""
    return "\n\n".join(
        "\n".join(lines)
        for lines in (_verdict(audit), _scores(audit), _groups(audit), _further(audit), _checks(audit.checks))
        if lines
    )


def _verdict(audit: Audit) -> list[str]:
    """A line a verdict first, then why."""
    against = f" against {audit.model.compared_with}" if audit.model.compared_with else ""
    lines = [
        f"{'export':<12}{audit.export.verdict.upper():<14}{audit.model.path}{against}",
        f"{'robustness':<12}{audit.robustness.verdict.upper():<14}{_demand(audit)}",
    ]
    for name, verdict in (("export", audit.export), ("robustness", audit.robustness)):
        lines += [f"{name:<12}{reason}" for reason in verdict.reasons]
    lines += [f"{'warning':<12}{warning}" for warning in audit.warnings]
    return [*lines, f"{'records':<12}{audit.data.n} of {audit.data.source} ({audit.data.part}), {audit.size} size"]


def _demand(audit: Audit) -> str:
    """Why robustness was judged, or was not."""
    required = f"the exit code depends on: {', '.join(audit.required)}"
    if audit.judged:
        return f"against the thresholds; {required}"
    return f"the file claims none, so nothing is demanded; {required}"


def _scores(audit: Audit) -> list[str]:
    """A row a form and budget, accuracy with its interval."""
    forms = list(dict.fromkeys(score.form for score in audit.scores))
    found = {(score.form, score.eps_uv, score.attack): score for score in audit.scores}
    attacks = [name for name in _ATTACKS if any(score.attack == name for score in audit.scores)]
    if not found:
        return []
    lines = [f"{'accuracy':<9}{'form':<7}" + "".join(f"{name:<22}" for name in attacks).rstrip()]
    for eps in sorted({score.eps_uv for score in audit.scores if score.eps_uv}) or [0.0]:
        for form in forms:
            shown = [found.get((form, 0.0 if name == "clean" else eps, name)) for name in attacks]
            cells = "".join(f"{'' if score is None else _rate(score.accuracy):<22}" for score in shown)
            lines.append(f"{f'{eps:g} uV' if eps else '':<9}{form:<7}{cells}".rstrip())
    return lines


def _groups(audit: Audit) -> list[str]:
    groups = [*audit.classes, *audit.snr]
    if not groups:
        return []
    budgets = list(groups[0].attacked)
    lines = [
        f"{'records right':<16}{'n':>5}  {'clean':<22}" + "".join(f"{f'{eps} uV':<22}" for eps in budgets).rstrip()
    ]
    for group in groups:
        cells = "".join(f"{_rate(rate):<22}" for rate in (group.clean, *(group.attacked[eps] for eps in budgets)))
        lines.append(f"{group.name:<16}{group.n:>5}  {cells}".rstrip())
    return lines


def _further(audit: Audit) -> list[str]:
    """A line each of the black box, the stream and confidence."""
    lines = []
    if audit.black_box and audit.black_box.curve:
        last = audit.black_box.curve[-1]
        linf = f"{last.median_linf_uv:,.0f} uV" if isfinite(last.median_linf_uv) else "none"
        attacked = audit.black_box.samples - audit.black_box.skipped
        lines.append(
            f"black box   {audit.black_box.attack}, {last.queries} labels on {attacked} records: median L-inf {linf}"
        )
    if audit.stream:
        stream = audit.stream
        lines.append(f"stream      {stream.message}")
        lines.append(f"            {stream.signal}: {len(stream.episodes)} episodes announced")
        for score in stream.scores:
            found, alarms = score["sensitivity"], score["false_alarms_per_day"]
            share = f"{found['value']:.2f} of {found['n']} {score['class']} found" if found["n"] else "none to find"
            lines[-1] += (
                f", {share}, {alarms['value']:.1f} [{alarms['low']:.1f}, {alarms['high']:.1f}] false alarms a day"
            )
    if audit.confidence:
        found = audit.confidence
        lines.append(
            f"confidence  calibration error {_rate(found.expected_error)}, temperature {found.temperature:.2f} "
            f"(of {found.chosen_on})"
        )
    return lines


def _checks(checks: Sequence[Check]) -> list[str]:
    """How many hold, and a line each of those that decide nothing; those that fail or are open are the reasons."""
    counts = Counter("stated" if check.holds is None and check.bar is None else _WORDS[check.holds] for check in checks)
    lines = [f"{'checks':<12}" + ", ".join(f"{counts[word]} {word}" for word in (*_WORDS.values(), "stated"))]
    lines += [f"{'':<12}{check.reason}" for check in checks if check.holds is None and check.bar is None]
    return lines


def _rate(rate: Rate) -> str:
    """Value and interval."""
    return rate_text(asdict(rate))
