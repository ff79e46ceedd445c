"""Objects by name: the built-in ones, those that installed packages register, and a user's own as `module:name`.

Importing a module runs its code, so that only a name that a person typed, or that an installed package registers as an
entry point, is ever imported: a name in a file is not enough.
"""

import copy
import importlib
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any

from edgeguard.errors import InputError, unknown


class Registry:
    """The objects of one kind.

    Args:
        builtin: name -> object.
        kind: what such an object is, in messages.
        option: of the command line that names one, such as `--defense`.
        function: of the Python API that registers one.
        typed_with: the options that may name one of the user's own, where there are several.
        group: of entry points, such as `edgeguard.defenses`; None: packages cannot register this kind.
    """

    def __init__(
        self,
        builtin: Mapping[str, Any],
        *,
        kind: str,
        option: str,
        function: str,
        typed_with: str | None = None,
        group: str | None = None,
    ) -> None:
        self.builtin, self.kind, self.option, self.function = builtin, kind, option, function
        self._typed_with = typed_with or option
        self._typed: dict[str, Any] = {}
        self._installed = _Installed(group)

    def sharing(self, builtin: Mapping[str, Any]) -> "Registry":
        """A registry of the same kind with other built-in objects; a name registered with one is known to both."""
        other = copy.copy(self)
        other.builtin = builtin
        return other

    def names(self) -> tuple[str, ...]:
        """What may be named without a colon: the built-in objects, then those of installed packages."""
        return tuple(dict.fromkeys((*self.builtin, *self._installed)))

    def typed(self) -> tuple[str, ...]:
        """The names of the user's own objects that this process knows."""
        return tuple(self._typed)

    def register(self, name: str) -> None:
        """Take a name that a person typed, and import it; a name of `names` is left as it is.

        Raises InputError for another name without a colon, and for an object that cannot be imported.
        """
        if name in self.builtin or name in self._installed:
            return
        if ":" not in name:
            raise self._unknown(name)
        self._typed[name] = self._imported(name)

    def permit(self, names: Iterable[str]) -> None:
        """Take names that another process has registered; each is imported when it is first needed."""
        for name in names:
            self._typed.setdefault(name, None)

    def check(self, name: object) -> None:
        """Raises InputError for a name that is neither built in, nor installed, nor registered."""
        if isinstance(name, str) and (name in self.builtin or name in self._typed or name in self._installed):
            return
        if isinstance(name, str) and ":" in name:
            raise InputError(
                f"{self.kind} {name!r} is code from outside of EdgeGuard, and no file can make it run; if you trust "
                f"it, name it with {self._typed_with} (in Python: {self.function})"
            )
        raise self._unknown(name)

    def get(self, name: str) -> Any:
        """The object; InputError for a name that `check` refuses, and for an object that cannot be imported."""
        if name in self.builtin:
            return self.builtin[name]
        self.check(name)
        if self._typed.get(name) is None:
            self._typed[name] = self._imported(name)
        return self._typed[name]

    def _imported(self, name: str) -> Any:
        try:
            if name in self._installed:
                return self._installed[name].load()
            module, _, attribute = name.partition(":")
            here = str(Path.cwd())
            if here not in sys.path:
                sys.path.insert(0, here)
            return getattr(importlib.import_module(module), attribute)
        except Exception as error:
            raise InputError(
                f"{self.option} {name}: cannot be imported ({first_line(error)}); give MODULE:NAME of a module on the "
                "Python path and a name in it"
            ) from error

    def _unknown(self, name: object) -> InputError:
        return unknown(self.option, name, self.names(), others=("MODULE:NAME",))


class _Installed(Mapping[str, EntryPoint]):
    """The entry points of a group, looked for when they are first needed."""

    def __init__(self, group: str | None) -> None:
        self._group = group

    @cached_property
    def _points(self) -> dict[str, EntryPoint]:
        return {point.name: point for point in entry_points(group=self._group)} if self._group else {}

    def __getitem__(self, name: str) -> EntryPoint:
        return self._points[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._points)

    def __len__(self) -> int:
        return len(self._points)


@contextmanager
def reported(whose: str) -> Iterator[None]:
    """Turn whatever a user's own code raises into one line that names it: InputError, with its cause behind it."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        raise InputError(f"{whose} fails ({first_line(error)}); mend its code, --debug shows where") from error


def first_line(error: Exception) -> str:
    """The type of an error and the first line of what it says."""
    line = next(iter(str(error).splitlines()), "")
    return f"{type(error).__name__}: {line}" if line else type(error).__name__
