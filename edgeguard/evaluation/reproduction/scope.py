"""What of the ADT paper's evaluation is asked for, and its settings."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from edgeguard.defenses.recipes import DEFENSES as CONTROLS
from edgeguard.defenses.recipes import defense
from edgeguard.errors import InputError, did_you_mean, unknown
from edgeguard.evaluation.reproduction.published import DEFENSES, TABLES

FIGURES = (1, 3, 4, 5, 6)
"""1: one segment under both attacks; 3 and 4: SAP over t', situation I and II; 5 and 6: PGD over eps, I and II."""
EPS, ALPHA, STEPS, SMOOTH_STEPS = 10.0, 1.0, 20, 40
"""The paper's evaluation: microvolts, steps before smoothing (t), steps after it (t')."""
KERNELS, LOSS = "nest25", "ce"
LENGTHS = (0, 10, 20, 30, 40)
"""t' of Figures 3 and 4."""
RADII = (5.0, 10.0, 15.0, 20.0, 25.0)
"""eps of Figures 5 and 6, microvolts."""
STRICT_EPS = EPS
QUERIES = 5000
"""Of the boundary attack a pair, on an undefended file whose records the others are asked about."""
OWN_QUERIES = 1000
"""Of the boundary attack a pair, on a defended file, to see how near it comes; told of the undefended ones too."""
PAIRS = 5
"""Of records, for every ordered pair of classes."""


@dataclass(frozen=True)
class Point:
    """One setting of PGD, microvolts."""

    eps: float
    alpha: float = ALPHA

    @property
    def same(self) -> "Point":
        """The least eps of the same attack: steps that cannot reach eps are not clipped by it."""
        reach = self.alpha * STEPS
        return Point(min(self.eps, reach), self.alpha) if self.alpha.is_integer() else self


BASE = Point(EPS)
"""PGD as in Tables 4 and 5, where SAP begins."""


def larger_step(eps: float) -> Point:
    """PGD with a step that reaches eps, whatever it is: the paper's, or 2.5 eps / t where that is larger."""
    return Point(eps, max(ALPHA, 2.5 * eps / STEPS))


@dataclass(frozen=True)
class Scope:
    """Which tables and figures, of which defences, and on how many records.

    Attributes:
        tables: of 2 to 6.
        figures: of FIGURES.
        defenses: rows, the paper's, controls or a user's own; the undefended network is among them.
        seeds: networks of each defence, seeds 0, 1, ...
        limit: judge at most so many test records, stratified; None: all.
        sweep_limit: the same for the strict profile and for eps (Figures 5 and 6).
        control: Table 6 with one seed also has an undefended network of the next one.
    """

    tables: tuple[int, ...] = tuple(TABLES)
    figures: tuple[int, ...] = FIGURES
    defenses: tuple[str, ...] = DEFENSES
    seeds: int = 1
    limit: int | None = None
    sweep_limit: int | None = None
    control: bool = False

    def __post_init__(self) -> None:
        """Brings all into the paper's order; InputError for what it does not have, and for nothing to compare."""
        _all_known("--tables", self.tables, tuple(TABLES))
        _all_known("--figures", self.figures, FIGURES)
        for name in self.defenses:
            defense(name)
        if not self.tables and not self.figures:
            raise InputError("--only: leaves no table and no figure; name one, such as table5 or figure3")
        if "none" not in self.defenses:
            raise InputError("--defenses: none is missing, which situation I and every comparison need; add it")
        for option, value in (("seeds", self.seeds), ("limit", self.limit), ("sweep-limit", self.sweep_limit)):
            if value is not None and value < 1:
                raise InputError(f"--{option} {value}: at least 1 needed")
        # The paper's rows in its order, the controls, and a user's own as they were typed.
        rows = tuple(dict.fromkeys((*DEFENSES, *CONTROLS, *self.defenses)))
        for name, known in (("tables", tuple(TABLES)), ("figures", FIGURES), ("defenses", rows)):
            object.__setattr__(self, name, tuple(value for value in known if value in getattr(self, name)))

    @property
    def has_strict(self) -> bool:
        """Whether the strict profile is run: beside the tables of situation II."""
        return any(TABLES[table].situation == "II" for table in self.tables)

    @property
    def only_curves(self) -> bool:
        """Whether the tables' own PGD is wanted as a point of Figures 5 and 6 alone."""
        return not {2, 3, 4, 5} & set(self.tables) and not {1, 3, 4} & set(self.figures)

    @property
    def undefended(self) -> tuple[int, ...]:
        """Seeds of the undefended networks of Table 6."""
        return (0, 1) if self.control and self.seeds == 1 else tuple(range(self.seeds))


def scope_of(
    *,
    tables: Sequence[str] | None = (),
    figures: Sequence[str] | None = (),
    only: Sequence[str] | None = None,
    defenses: Sequence[str] | None = DEFENSES,
    **counts: Any,
) -> Scope:
    """A scope from what a command line says.

    Args:
        only: names such as table5 and figure3, instead of `tables` and `figures`; None where it is not given.
        counts: further fields of `Scope`.

    Raises InputError for a name that means nothing.
    """
    if only is not None:
        named = [(name, re.fullmatch(r"(table|figure)([0-9]+)", name)) for name in only]
        if wrong := [name for name, match in named if match is None]:
            guess = did_you_mean(wrong[0], [f"table{number}" for number in TABLES] + [f"figure{n}" for n in FIGURES])
            raise InputError(f"--only {wrong[0]}: {guess}names such as table5 and figure3 needed, with commas")
        kinds = [(match[1], match[2]) for _, match in named if match]
        tables, figures = ([number for kind, number in kinds if kind == wanted] for wanted in ("table", "figure"))
    numbers = [_numbers(option, given or ()) for option, given in (("tables", tables), ("figures", figures))]
    return Scope(numbers[0], numbers[1], tuple(defenses or ()), **counts)


def curve_points() -> list[Point]:
    """PGD of Figures 5 and 6: the paper's steps, then the larger ones; equal attacks once."""
    return list(dict.fromkeys([Point(eps).same for eps in RADII] + [larger_step(eps).same for eps in RADII]))


def _all_known(option: str, given: Iterable[Any], known: tuple[Any, ...]) -> None:
    for value in given:
        if value not in known:
            raise unknown(option, value, known)


def _numbers(option: str, given: Sequence[str]) -> tuple[int, ...]:
    for text in given:
        if not text.isdecimal():
            raise InputError(f"--{option} {text}: numbers needed, with commas")
    return tuple(int(text) for text in given)
