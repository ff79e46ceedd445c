"""A training that fits into a span of time: which preset and epochs, and when each stage has to stop."""

import math
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from edgeguard.defenses.config import TrainConfig, make_config
from edgeguard.defenses.watchdog import RECORDS, STEPS
from edgeguard.errors import InputError

PRESETS_BY_COST = ("paper", "lite", "fast")
RESERVE = 0.1
"""Share of the time that a forecast leaves free."""
CLOSING = 1.5
"""Multiple of its forecast that is kept for what follows a stage's last step, which nothing can cut short."""

_WATCHDOG_FORWARDS = 1 + (2 + 1) + (2 * STEPS + 1)


@dataclass(frozen=True)
class Pace:
    """Seconds that a network takes on this machine.

    Attributes:
        train: to train on one record once, its adversarial twin and the regulariser included.
        epoch: for every epoch, whatever its length.
        judge: to classify one record.
    """

    train: float
    epoch: float
    judge: float


@dataclass(frozen=True)
class Sizes:
    """Records of a training: drawn in an epoch, judged after it, and in the whole data set."""

    drawn: int
    judged: int
    all: int


@dataclass(frozen=True)
class Stage:
    """Forecast of one stage, in seconds.

    Attributes:
        epochs: epochs that are still to do.
        opening: before the first step: the teacher's soft labels.
        step, training: one step, and all those of an epoch.
        closing: after the last step of an epoch: validation and watchdog.
    """

    config: TrainConfig
    epochs: int
    opening: float
    step: float
    training: float
    closing: float

    @property
    def seconds(self) -> float:
        """All of it."""
        return self.opening + self.epochs * (self.training + self.closing)

    @property
    def least(self) -> float:
        """With a single step."""
        return self.opening + self.step + self.closing


@dataclass(frozen=True)
class Plan:
    """What a budget is spent on.

    Attributes:
        budget: seconds, from `began`, a moment of `time.monotonic`.
        left: seconds of it when the plan was made.
        config: the settings picked.
        stages: those still to do, in their order.
        passed_over: dearer settings and their forecasts, in seconds.
    """

    budget: float
    began: float
    left: float
    config: TrainConfig
    stages: tuple[Stage, ...]
    passed_over: tuple[tuple[TrainConfig, float], ...] = ()

    @property
    def forecast(self) -> float:
        """Seconds from the making of the plan to its end."""
        return sum(stage.seconds for stage in self.stages)

    @property
    def fits(self) -> bool:
        """Whether the forecast and its reserve are within the budget."""
        return self.forecast <= (1 - RESERVE) * self.left

    def deadline(self, config: TrainConfig, now: float) -> float:
        """Moment at which a stage that begins now takes its last step.

        Of the time that is left, each stage has the share that it has of the forecast of those not yet done.
        """
        end = self.began + self.budget
        ahead = [*self.stages]
        while ahead and ahead[0].config != config:
            ahead.pop(0)
        if not ahead:
            return end
        total = sum(stage.seconds for stage in ahead)
        # Nothing is left of a stage that was killed after its last epoch.
        share = ahead[0].seconds / total if total else 1.0
        return now + share * (end - now) - CLOSING * ahead[0].closing - ahead[0].step

    def report(self, now: float) -> dict[str, Any]:
        """For JSON: the budget, the forecast, what was picked and the seconds spent so far."""
        return {
            "seconds": self.budget,
            "forecast": round(self.budget - self.left + self.forecast, 1),
            "picked": {name: getattr(self.config, name) for name in ("preset", "epochs", "start_epochs")},
            "spent": round(now - self.began, 1),
        }

    def lines(self) -> list[str]:
        """For people: what was picked, and why."""
        steps = {s.config.defense: f"{1000 * s.step:.0f} ms a step of {s.config.defense}" for s in self.stages}
        dearer = "; ".join(f"{_what(config)}: {duration(seconds)}" for config, seconds in self.passed_over)
        first = f"budget {duration(self.budget)}: picked {_what(self.config)}: forecast {duration(self.forecast)}"
        return [
            first + f" ({dearer})" * bool(dearer),
            f"measured: {', '.join(steps.values()) or 'nothing to train'}{self._shortfall()}",
        ]

    def _shortfall(self) -> str:
        if self.fits:
            return ""
        share = self.left / self.forecast
        if share >= 1:
            return "; there is no reserve, so that the time may end a stage early"
        if share * self.config.epochs < 1:
            return "; that is less than one pass over the data a stage: expect little"
        return f"; the time ends every stage at about {100 * share:.0f} % of its epochs"


def seconds_of(text: str) -> float:
    """Seconds of a time such as 90s, 30m, 2h or 1h30m; InputError for anything else."""
    match = re.fullmatch(r"(?:([0-9.]+)h)?(?:([0-9.]+)m)?(?:([0-9.]+)s)?", text.strip())
    try:
        hours, minutes, seconds = (float(part or 0) for part in match.groups()) if match else (0.0, 0.0, 0.0)
    except ValueError:
        hours = minutes = seconds = 0.0
    total = 3600 * hours + 60 * minutes + seconds
    if not 0 < total < math.inf:
        raise InputError(f"--budget {text}: a time above zero such as 90s, 30m or 1h30m needed")
    return total


def duration(seconds: float) -> str:
    """0.5s, 45s, 3m20s, 1h05m."""
    whole = round(seconds)
    if whole < 10:
        return f"{seconds:.2g}s"
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02d}s"
    return f"{whole // 3600}h{whole % 3600 // 60:02d}m"


def candidates(options: dict[str, Any]) -> list[TrainConfig]:
    """The settings to consider, the most wanted first: every preset, then ever fewer epochs of the cheapest.

    Args:
        options: of `make_config`; a preset or epochs that are given stay.
    """
    presets = PRESETS_BY_COST if options.get("preset") is None else (options["preset"],)
    whole = [make_config(**{**options, "preset": preset}) for preset in presets]
    return whole if options.get("epochs") is not None else whole + _shorter(whole[-1], options.get("start_epochs"))


def make_plan(
    configs: Sequence[TrainConfig],
    stages_of: Callable[[TrainConfig], tuple[Stage, ...]],
    *,
    budget: float,
    began: float,
    now: Callable[[], float] = time.monotonic,
) -> Plan:
    """The first settings whose forecast fits into what is left of the budget, else the last.

    Args:
        stages_of: forecasts of the stages of a training that are still to do; may measure, so that time goes by.

    Raises InputError where there is not even time for one step a stage.
    """
    made: Plan | None = None
    passed_over: list[tuple[TrainConfig, float]] = []
    for config in configs:
        stages = stages_of(config)
        made = Plan(budget, began, began + budget - now(), config, stages, tuple(passed_over))
        if made.fits:
            return made
        if all(config.preset != other.preset for other, _ in passed_over):
            passed_over.append((config, made.forecast))
    assert made is not None
    least = sum(stage.least for stage in made.stages)
    if least > made.left:
        enough = math.ceil(budget - made.left + (1 + RESERVE) * least)
        raise InputError(
            f"--budget {duration(budget)}: over before the first step of every stage; at least {enough}s needed here"
        )
    return made


def forecast(config: TrainConfig, epochs: int, pace: Pace, sizes: Sizes) -> Stage:
    """What `epochs` epochs of a stage take at a pace."""
    watched = min(RECORDS, sizes.judged) if config.crafts and config.crafting == "single-step" else 0
    return Stage(
        config,
        epochs,
        opening=pace.judge * sizes.all if config.row.teacher else 0.0,
        step=pace.train * min(config.batch, sizes.drawn),
        training=pace.train * sizes.drawn,
        closing=pace.epoch + pace.judge * (sizes.judged + _WATCHDOG_FORWARDS * watched),
    )


def _shorter(config: TrainConfig, start_epochs: int | None) -> list[TrainConfig]:
    """The same with ever fewer epochs, down to one; a start that is not given shrinks in proportion."""
    longest = max(config.epochs, config.start_epochs if start_epochs is None else 0)
    shorter = []
    for part in range(longest - 1, 0, -1):
        share = part / longest
        start = config.start_epochs if start_epochs is not None else _at_least_one(config.start_epochs * share)
        shorter.append(replace(config, epochs=_at_least_one(config.epochs * share), start_epochs=start))
    return shorter


def _at_least_one(epochs: float) -> int:
    """Rounded, but 1 where there are any; 0 stays 0."""
    return max(1, round(epochs)) if epochs else 0


def _what(config: TrainConfig) -> str:
    start = f" after a start of {config.start_epochs}" if config.start_epochs and not config.is_start else ""
    epochs = config.stage_epochs
    return f"{config.preset}, {epochs} epoch{'s' if epochs > 1 else ''} a stage{start}"
