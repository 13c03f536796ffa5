"""Building frozen values at less than the price of unfrozen ones, on the path of every call."""

from __future__ import annotations

from dataclasses import MISSING, fields
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, cast

if TYPE_CHECKING:
    from collections.abc import Callable

P = ParamSpec("P")
T = TypeVar("T")


def drafted(cls: Callable[P, T]) -> Callable[P, T]:
    """What builds the same values as `cls`, a frozen dataclass with slots, in a third of the time.

    The constructor of a frozen class has to go around its own guard, by a call for each
    field. A draft has the same slots and no guard: its fields are simply set, and then, before
    anyone else sees it, it becomes an instance of `cls`. A function does so, because CPython
    copies the keyword arguments of a class's call into a dict, and those of a function not.
    """
    frozen = cast("type[Any]", cls)
    # Written and compiled as `dataclasses` does it; only names of fields are in the text.
    names = [field.name for field in fields(frozen)]
    scope: dict[str, Any] = {
        "Draft": type(frozen.__name__, (), {"__slots__": tuple(names)}),
        "frozen": frozen,
        "missing": MISSING,
    }
    parameters: list[str] = []
    lines = ["draft = Draft()"]
    for field in fields(frozen):
        name = value = field.name
        scope |= {f"default_{name}": field.default, f"make_{name}": field.default_factory}
        if field.default is not MISSING:
            parameters.append(f"{name}=default_{name}")
        elif field.default_factory is not MISSING:
            parameters.append(f"{name}=missing")
            value = f"make_{name}() if {name} is missing else {name}"
        else:
            parameters.append(name)
        lines.append(f"draft.{name} = {value}")
    lines += ["draft.__class__ = frozen", "return draft"]
    body = "\n    ".join(lines)
    exec(f"def build({', '.join(parameters)}):\n    {body}", scope)  # noqa: S102 - see above
    build = scope["build"]
    build.__qualname__ = frozen.__init__.__qualname__  # wrong arguments are told as by the class
    return cast("Callable[P, T]", build)
