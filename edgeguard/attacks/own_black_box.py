"""Attacks by labels of a user's own: a class in a module of theirs."""

import re
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgeguard.attacks.walk import Norm, Request, Task, Walk
from edgeguard.errors import InputError
from edgeguard.runtime.registry import reported

_NAME = re.compile(r"[a-z0-9][a-z0-9-]*")


@dataclass(frozen=True)
class OwnAttack:
    """A user's own attack, whose errors are one line that names it (InputError).

    Attributes:
        typed: as the user named it.
        attack: the user's object.
    """

    typed: str
    attack: Any
    name: str
    norm: Norm

    def walk(self, task: Task) -> Walk:
        """The attack's own walk, each of its requests checked."""
        told: np.ndarray | None = None
        with reported(f"--attack {self.typed}: its walk"):
            walk = iter(self.attack.walk(task))
        while True:
            with reported(f"--attack {self.typed}: its walk"):
                try:
                    request = walk.send(told)
                except StopIteration as end:
                    return str(end.value or "finished")
            told = yield self._checked(request, task)

    def _checked(self, request: Any, task: Task) -> Request:
        points: Any = getattr(request, "points", None)
        is_array = isinstance(points, np.ndarray) and points.ndim == 3 and len(points) > 0
        if not is_array or points.shape[1:] != task.original.shape or not np.isfinite(points).all():
            asked = f"points {list(points.shape)}" if isinstance(points, np.ndarray) else type(request).__name__
            raise InputError(
                f"--attack {self.typed}: its walk asked for {asked}; yield an edgeguard.plugins.Request of finite "
                f"points [K, 1, {task.original.shape[1]}], K at least 1"
            )
        return Request(np.asarray(points, np.float32), request.centre)


def own_attack(typed: str, attack: Any) -> OwnAttack:
    """The user's attack, guarded; InputError where it has no walk, or no name or norm of an attack's."""
    name, norm = getattr(attack, "name", None), getattr(attack, "norm", None)
    if not callable(getattr(attack, "walk", None)):
        raise InputError(
            f"--attack {typed}: makes {type(attack).__name__}, which has no walk; an attack by labels is a class with "
            "name, norm and walk, one by gradients is for edgeguard evaluate"
        )
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise InputError(f"--attack {typed}: name is {name!r}; small letters, digits and hyphens are needed")
    if norm == "l2" or norm == "linf":
        return OwnAttack(typed, attack, name, norm)
    raise InputError(f"--attack {typed}: norm is {norm!r}; l2 or linf is needed")
