"""Every setting of a training, its presets, and how the command line, a file and a preset come together."""

import math
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from edgeguard.attacks.smoothing import KERNELS
from edgeguard.defenses.precision import has_fast_bfloat16
from edgeguard.defenses.recipes import Defense, defense
from edgeguard.errors import InputError, unknown
from edgeguard.models.registry import DEFAULT_ARCHITECTURE

CRAFTING = ("sap", "mixed", "single-step")
PRECISIONS = ("float32", "bf16")


@dataclass(frozen=True)
class TrainConfig:
    """Settings of one training stage; microvolts wherever a signal is meant.

    Attributes:
        defense, arch, preset, seed: what is trained, by which preset, from which seed.
        epochs: passes over the oversampled training part, in every stage.
        start_epochs: where above 0, every stage starts from an undefended network trained for so many epochs.
        batch: clean records a step.
        optimizer, learning_rate, weight_decay: `adam` or `adamw`.
        schedule: `constant` or `one-cycle`.
        crafting: `sap`, several steps before and after smoothing; `mixed`, smoothed steps alone on every other record
            and plain ones on the others; or `single-step`, one step from a noisy start.
        eps: largest perturbation in crafting; in a single step its length.
        eps_spread: each record's own eps is drawn from (1 - spread) eps to eps, alpha in proportion; 0: all have eps.
        alpha, steps, smooth_steps: of crafting by `sap` or `mixed`.
        noise: of a single step's start, a multiple of eps.
        kernels: SAP's smoothing.
        mix: c, the weight of the adversarial half (ADT paper, eq. 6); 0 trains on clean records alone.
        temperature: T of teacher, soft labels and student; the network is deployed at T = 1.
        warm_up: epochs before the regulariser of `jr` and `nsr` sets in.
        units: `published`, both regularisers as in their authors' code, the ecg in microvolts; or `corrected`, the
            Jacobian by the millivolt and the noise as large as the attack.
        jacobian_weight: lambda of `jr`.
        nsr_eps: largest noise that `nsr` reckons with, microvolts.
        nsr_weight: beta of `nsr`.
        label_smoothing: share of the uniform distribution in the labels of `at-smooth`.
        trades_beta: weight of the divergence in `trades`.
        augment: random circular shift, at most a second, and gain 0.7 to 1.4.
        distort: with `augment`, pace, polarity, wander, muscle and motion too (`edgeguard.defenses.distortions`).
        views: the teacher labels each augmented record anew (Beyer et al. 2022); else its clean window, once.
        averaging: epochs over which the weights that count are averaged; 0 keeps the last ones.
        prior: of a stage on hard labels, how far the final bias goes back from the oversampled class frequencies to
            those of the training part, 0 to 1.
        halves: `same`, the attacked half of a batch are the clean records, attacked; `apart`, the batch's second half.
        precision, craft_precision: `float32` or `bf16`, of the training pass and of crafting.
    """

    defense: str = "adt"
    arch: str = DEFAULT_ARCHITECTURE
    preset: str = "fast"
    seed: int = 0
    epochs: int = 10
    start_epochs: int = 0
    batch: int = 32
    optimizer: str = "adamw"
    learning_rate: float = 3e-3
    weight_decay: float = 1e-2
    schedule: str = "one-cycle"
    crafting: str = "single-step"
    eps: float = 20.0
    eps_spread: float = 0.0
    alpha: float = 8.0
    steps: int = 2
    smooth_steps: int = 1
    noise: float = 2.0
    kernels: str = "nest25"
    mix: float = 0.5
    temperature: float = 1.0
    warm_up: int = 1
    units: str = "published"
    jacobian_weight: float = 44.0
    nsr_eps: float = 1.0
    nsr_weight: float = 1.0
    label_smoothing: float = 0.1
    trades_beta: float = 6.0
    augment: bool = True
    distort: bool = False
    views: bool = False
    averaging: float = 0.0
    prior: float = 0.0
    halves: str = "same"
    precision: str = "float32"
    craft_precision: str = "float32"

    def __post_init__(self) -> None:
        defense(self.defense)
        _one_of("preset", self.preset, tuple(PRESETS))
        _one_of("optimizer", self.optimizer, ("adam", "adamw"))
        _one_of("schedule", self.schedule, ("constant", "one-cycle"))
        _one_of("crafting", self.crafting, CRAFTING)
        _one_of("kernels", self.kernels, KERNELS)
        _one_of("units", self.units, tuple(UNITS))
        _one_of("precision", self.precision, PRECISIONS)
        _one_of("craft-precision", self.craft_precision, PRECISIONS)
        _require(self.epochs >= 1, "epochs", self.epochs, "at least 1")
        _one_of("halves", self.halves, ("same", "apart"))
        _require(0 <= self.eps_spread <= 1, "eps-spread", self.eps_spread, "between 0 and 1")
        _require(0 <= self.prior <= 1, "prior", self.prior, "between 0 and 1")
        _require(self.batch >= 2, "batch", self.batch, "at least 2 (batch normalisation)")
        _require(self.learning_rate > 0, "learning-rate", self.learning_rate, "above 0")
        _require(0 < self.temperature < math.inf, "temperature", self.temperature, "above 0")
        _require(0 <= self.mix <= 1, "mix", self.mix, "between 0 and 1")
        _require(0 <= self.label_smoothing < 1, "label-smoothing", self.label_smoothing, "between 0 and 1")
        _require(0 <= self.seed < 2**63, "seed", self.seed, "a whole number of at most 63 bit, at least 0")
        for name in _NOT_NEGATIVE:
            _require(getattr(self, name) >= 0, name.replace("_", "-"), getattr(self, name), "at least 0")

    def to_dict(self) -> dict[str, Any]:
        """Field name to value, ready for JSON."""
        return asdict(self)

    def deciding(self) -> dict[str, Any]:
        """The fields that decide the weights; those that this defence never reads are left out."""
        idle: set[str] = set()
        if not self.crafts:
            idle |= _CRAFT_FIELDS | {"craft_precision"}
        idle |= _IDLE_IN[self.crafting]
        if not self.row.adversarial or self.row.objective == "trades":
            idle |= {"mix", "halves"}
        for objective, own in _OBJECTIVE_FIELDS.items():
            if self.row.objective != objective:
                idle |= own
        if self.row.objective not in _REGULARIZED:
            idle |= {"warm_up", "units"}
        # An objective or a crafting of a user's own may read any setting.
        if not isinstance(self.row.objective, str) or self.row.crafting is not None:
            idle = set()
        if not self.row.smooth_labels:
            idle |= {"label_smoothing"}
        idle |= {"prior"} if self.row.teacher else {"views"}
        if not self.augment:
            idle |= {"distort"}
        kept = {name: value for name, value in self.to_dict().items() if name not in idle}
        return {**kept, "epochs": self.stage_epochs, "start_epochs": 0 if self.is_start else self.start_epochs}

    @property
    def row(self) -> Defense:
        """The defence's row."""
        return defense(self.defense)

    @property
    def is_start(self) -> bool:
        """Whether this stage is the undefended network that the others of its preset start from."""
        return self.defense == "none" and self.start_epochs > 0

    @property
    def stage_epochs(self) -> int:
        """Epochs of this very stage."""
        return self.start_epochs if self.is_start else self.epochs * self.row.rounds

    @property
    def crafts(self) -> bool:
        """Whether any adversarial record is made."""
        return self.row.adversarial and (self.mix > 0 or self.row.objective != "cross-entropy")

    def teacher(self) -> "TrainConfig | None":
        """The settings of the run whose soft labels this one learns from."""
        return None if self.row.teacher is None else replace(self, defense=self.row.teacher)

    def start(self) -> "TrainConfig | None":
        """The settings of the run whose weights this one starts from."""
        return replace(self, defense="none") if self.start_epochs > 0 and not self.is_start else None


_CRAFT_FIELDS = {"crafting", "eps", "eps_spread", "alpha", "steps", "smooth_steps", "noise", "kernels", "halves"}
_IDLE_IN = {"sap": {"noise"}, "mixed": {"noise"}, "single-step": {"alpha", "steps", "smooth_steps"}}
_OBJECTIVE_FIELDS = {
    "jacobian": {"jacobian_weight"},
    "noise-to-signal": {"nsr_eps", "nsr_weight"},
    "trades": {"trades_beta"},
}
_REGULARIZED = ("jacobian", "noise-to-signal")
ADDED = ("distort", "views", "averaging", "prior", "halves", "eps_spread")
"""Options that older runs do not record: their defaults are what those did."""
_NOT_NEGATIVE = (
    "start_epochs",
    "averaging",
    "weight_decay",
    "eps",
    "alpha",
    "steps",
    "smooth_steps",
    "noise",
    "warm_up",
    "jacobian_weight",
    "nsr_eps",
    "nsr_weight",
    "trades_beta",
)

PRESETS: dict[str, dict[str, Any]] = {
    "fast": {"precision": "auto"},
    "full": {
        "epochs": 40,
        "start_epochs": 30,
        "eps": 30.0,
        "distort": True,
        "averaging": 1.0,
        "prior": 0.5,
        "halves": "apart",
        "views": True,
        "precision": "auto",
        "craft_precision": "auto",
    },
    "lite": {
        "epochs": 10,
        "start_epochs": 100,
        "learning_rate": 1e-3,
        "crafting": "sap",
        "eps": 10.0,
        "alpha": 1.0,
        "steps": 5,
        "smooth_steps": 5,
        "precision": "auto",
        "craft_precision": "auto",
    },
    "paper": {
        "epochs": 100,
        "batch": 16,
        "optimizer": "adam",
        "learning_rate": 1e-3,
        "weight_decay": 0.0,
        "schedule": "constant",
        "crafting": "sap",
        "eps": 10.0,
        "alpha": 1.0,
        "steps": 5,
        "smooth_steps": 5,
        "warm_up": 10,
        "augment": False,
    },
}
"""What each preset sets over the defaults.

`paper` follows the ADT paper. `lite` keeps its attack and fine-tunes an undefended network instead of starting afresh
(Jeddi et al. 2020, arXiv 2012.13628). `fast` crafts in a single step from a noisy start.
"""

UNITS: dict[str, dict[str, Any]] = {
    "published": {"jacobian_weight": 44.0, "nsr_eps": 1.0, "nsr_weight": 1.0},
    "corrected": {"jacobian_weight": 1.0, "nsr_eps": 10.0, "nsr_weight": 0.1},
}
"""What `units` sets where the option itself is not given.

The weight 44 and the noise of 1 were published for ecg scaled to [-1, 1] (Ma & Liang 2020); per microvolt both are
about a thousand times weaker. The corrected noise is ten times the published number, and at the published weight its
ratio drowns the other terms: a network of ten epochs then falls to chance.
"""


def make_config(**options: Any) -> TrainConfig:
    """A TrainConfig from a preset and the options given; an option that is None leaves the preset's value.

    A precision of `auto` becomes bf16 where this machine computes it faster than float32.

    Raises InputError for an unknown option or a value out of range.
    """
    given = {name: value for name, value in options.items() if value is not None}
    types = {f.name: f.type for f in fields(TrainConfig)}
    if strange := sorted(set(given) - set(types)):
        raise unknown("training option", strange[0], types)
    for name, value in given.items():
        given[name] = _typed(name, value, types[name])
    preset = PRESETS.get(given.get("preset", TrainConfig.preset), {})
    units = UNITS.get(given.get("units", TrainConfig.units), {})
    warm_up = defense(given.get("defense", TrainConfig.defense)).warm_up
    own = {} if warm_up is None else {"warm_up": warm_up}
    merged = {**units, **preset, **own, **given}
    for name in ("precision", "craft_precision"):
        if merged.get(name) == "auto":
            merged[name] = "bf16" if has_fast_bfloat16() else "float32"
    return TrainConfig(**merged)


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


def _one_of(option: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise unknown(f"--{option}", value, known)


def _require(holds: bool, option: str, value: object, needed: str) -> None:
    if not holds:
        raise InputError(f"--{option} {value}: {needed} needed")
