"""Every setting of a training, its presets, and how the command line, a file and a preset come together."""

import math
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from edgeguard.attacks.smoothing import KERNELS
from edgeguard.defenses.recipes import defense
from edgeguard.errors import InputError
from edgeguard.models.registry import DEFAULT_ARCHITECTURE


@dataclass(frozen=True)
class TrainConfig:
    """Settings of one training stage; microvolts wherever a signal is meant.

    Attributes:
        defense, arch, preset, seed: what is trained, by which preset, from which seed.
        epochs: passes over the oversampled training part, in every stage.
        batch: clean records a step.
        optimizer, learning_rate, weight_decay: `adam` or `adamw`.
        schedule: `constant` or `one-cycle`.
        eps, alpha, steps, smooth_steps, kernels: the SAP attack that crafts the adversarial half.
        mix: c, the weight of the adversarial half (ADT paper, eq. 6); 0 trains on clean records alone.
        temperature: T of teacher, soft labels and student; the network is deployed at T = 1.
        augment: random circular shift, at most a second, and gain 0.7 to 1.4.
    """

    defense: str = "adt"
    arch: str = DEFAULT_ARCHITECTURE
    preset: str = "fast"
    seed: int = 0
    epochs: int = 14
    batch: int = 32
    optimizer: str = "adamw"
    learning_rate: float = 3e-3
    weight_decay: float = 1e-2
    schedule: str = "one-cycle"
    eps: float = 40.0
    alpha: float = 16.0
    steps: int = 2
    smooth_steps: int = 1
    kernels: str = "nest25"
    mix: float = 0.5
    temperature: float = 1.0
    augment: bool = True

    def __post_init__(self) -> None:
        defense(self.defense)
        _require(self.preset in PRESETS, "preset", self.preset, f"one of {', '.join(PRESETS)}")
        _require(self.epochs >= 1, "epochs", self.epochs, "at least 1")
        _require(self.batch >= 2, "batch", self.batch, "at least 2 (batch normalisation)")
        _require(self.learning_rate > 0, "learning-rate", self.learning_rate, "above 0")
        _require(self.weight_decay >= 0, "weight-decay", self.weight_decay, "at least 0")
        _require(self.optimizer in ("adam", "adamw"), "optimizer", self.optimizer, "adam or adamw")
        _require(self.schedule in ("constant", "one-cycle"), "schedule", self.schedule, "constant or one-cycle")
        _require(self.eps >= 0, "eps", self.eps, "at least 0 microvolts")
        _require(self.alpha >= 0, "alpha", self.alpha, "at least 0 microvolts")
        _require(self.steps >= 0 and self.smooth_steps >= 0, "steps", (self.steps, self.smooth_steps), "at least 0")
        _require(self.kernels in KERNELS, "kernels", self.kernels, f"one of {', '.join(KERNELS)}")
        _require(0 <= self.mix <= 1, "mix", self.mix, "between 0 and 1")
        _require(0 < self.temperature < math.inf, "temperature", self.temperature, "above 0")
        _require(0 <= self.seed < 2**63, "seed", self.seed, "a whole number of at most 63 bit, at least 0")

    def to_dict(self) -> dict[str, Any]:
        """Field name to value, ready for JSON."""
        return asdict(self)

    def teacher(self) -> "TrainConfig | None":
        """The settings of the run whose soft labels this one learns from."""
        name = defense(self.defense).teacher
        return None if name is None else replace(self, defense=name)

    @property
    def crafts(self) -> bool:
        """Whether any adversarial record is made."""
        return defense(self.defense).adversarial and self.mix > 0

    @property
    def forward_units(self) -> int:
        """Cost of this stage alone a record: forward 1, backward to the input 1, full backward 2, over all epochs."""
        craft = 2 * (self.steps + self.smooth_steps) if self.crafts else 0
        return self.epochs * (craft + 3 * (2 if self.crafts else 1))


PRESETS: dict[str, dict[str, Any]] = {
    "fast": {},
    "paper": {
        "epochs": 100,
        "batch": 16,
        "optimizer": "adam",
        "learning_rate": 1e-3,
        "weight_decay": 0.0,
        "schedule": "constant",
        "eps": 10.0,
        "alpha": 1.0,
        "steps": 5,
        "smooth_steps": 5,
        "augment": False,
    },
}
"""What each preset sets over the defaults. `fast` is for a laptop's processor; `paper` follows the ADT paper."""


def make_config(**options: Any) -> TrainConfig:
    """A TrainConfig from a preset and the options given; an option that is None leaves the preset's value.

    Raises InputError for an unknown option or a value out of range.
    """
    given = {name: value for name, value in options.items() if value is not None}
    types = {f.name: f.type for f in fields(TrainConfig)}
    if unknown := sorted(set(given) - set(types)):
        raise InputError(f"{unknown[0]}: no such training option; choose from {', '.join(types)}")
    for name, value in given.items():
        given[name] = _typed(name, value, types[name])
    preset = given.get("preset", TrainConfig.preset)
    return TrainConfig(**{**PRESETS.get(preset, {}), **given})


def _typed(name: str, value: Any, kind: Any) -> Any:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    good = {
        str: isinstance(value, str),
        bool: isinstance(value, bool),
        int: isinstance(value, int) and not isinstance(value, bool),
        float: number and math.isfinite(value),
    }[kind]
    if not good:
        needed = {str: "text", bool: "true or false", int: "a whole number", float: "a finite number"}[kind]
        raise InputError(f"{name} = {value!r}: {needed} needed")
    return float(value) if kind is float else value


def _require(holds: bool, option: str, value: object, needed: str) -> None:
    if not holds:
        raise InputError(f"--{option} {value}: {needed} needed")
