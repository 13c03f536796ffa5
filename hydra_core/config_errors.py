"""What is wrong with a configuration, told by path, shape and remedy, never by value.

Pydantic's errors carry the input they refuse, and a mistyped table may hold a key
anywhere: as a value, under a wrong name, even as a name. So every error is rebuilt
here before it leaves a model.
"""

from __future__ import annotations

import difflib
import re
from typing import TYPE_CHECKING, Any, Final

from pydantic import ValidationError
from pydantic_core import InitErrorDetails, PydanticCustomError

from hydra_core.vault import shape, shown

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

Path = tuple[str | int, ...]

_REMEDIES: Final[Mapping[str, str]] = {
    "model_type": "must be a table of settings",
    "model_attributes_type": "must be a table of settings",
    "dict_type": "must be a table",
    "tuple_type": "must be a list",
    "string_type": "must be a text in quotes",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "float_type": "must be a number",
    "float_parsing": "must be a number",
    "finite_number": "must be a finite number",
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_from_float": "must be a whole number",
}
_WINDOW: Final = 8  # so many characters of a key in a row would be telling
_PLAIN_NAME: Final = re.compile(r"[a-z_]{1,30}")


class Problem(ValueError):
    """One thing that is wrong, `path` below the model that found it."""

    def __init__(self, message: str, *path: str | int) -> None:
        super().__init__(message)
        self.path: Path = path


class Shape(str):
    """Stands for an input in an error: its shape. Marks errors that are already safe."""

    __slots__ = ()


def conceal(error: ValidationError, fields: Collection[str], label: str) -> ValidationError:
    """The same error without any value; unknown names are told only if they are harmless.

    `fields` are the settings of the model that failed, `label` its own name or "".
    """
    lines = [_line(dict(detail), fields, label) for detail in error.errors(include_url=False)]
    return ValidationError.from_exception_data(error.title, lines, hide_input=True)


def refuse(title: str, problems: Collection[Problem], label: str) -> ValidationError:
    """A validation error that lists these problems."""
    lines = [_detail("value_error", str(p) + label, p.path, Shape("")) for p in problems]
    return ValidationError.from_exception_data(title, lines, hide_input=True)


def explain(error: ValidationError, variables: Mapping[str, str]) -> str:
    """One line for each thing that is wrong: `providers[0].keys[1].env: ...`.

    `variables` names the environment variable that set a top-level setting.
    """
    return "\n".join(
        f"{_dotted(detail['loc'], variables)}: {detail['msg']}"
        for detail in error.errors(include_url=False, include_input=False, include_context=False)
    )


def _line(detail: dict[str, Any], fields: Collection[str], label: str) -> InitErrorDetails:
    value, kind = detail["input"], detail["type"]
    if isinstance(value, Shape):
        return _detail(kind, detail["msg"], tuple(map(_safe, detail["loc"])), value)
    what = Shape(shape(value))
    if kind == "extra_forbidden":
        *above, name = detail["loc"]
        path = (*map(_safe, above), _safe_unknown(str(name)))
        return _detail(kind, _unknown(str(name), fields) + label, path, what)
    if kind == "value_error":
        message = str(detail["msg"]).removeprefix("Value error, ")
    elif kind == "missing":
        message = "is required; add it"
    else:
        said = str(detail["msg"]).replace("Input should", "should", 1)
        message = f"{_REMEDIES.get(kind, said)}; it is {what}"
    return _detail(kind, message + label, tuple(map(_safe, detail["loc"])), what)


def _detail(kind: str, message: str, path: Path, what: Shape) -> InitErrorDetails:
    # Braces would be read as places for a context, of which there is none.
    custom = PydanticCustomError(kind, message)
    return InitErrorDetails(type=custom, loc=path, input=what)


def _unknown(name: str, fields: Collection[str]) -> str:
    close = difflib.get_close_matches(name, fields, n=1, cutoff=0.6)
    hint = f"did you mean '{close[0]}'?" if close else "there are: " + ", ".join(sorted(fields))
    return f"is not a setting here; {hint}"


def _safe(part: str | int) -> str | int:
    """A step of a path as it may be shown: names that users choose may be misplaced keys."""
    if isinstance(part, int) or _PLAIN_NAME.fullmatch(part):
        return part
    told = shown(part)
    return part if told == f"'{part}'" else f"<{told}>"


def _safe_unknown(name: str) -> str:
    """A name that no setting has may be a key in the wrong place, whatever it looks like."""
    harmless = len(name) < _WINDOW or _PLAIN_NAME.fullmatch(name)
    return name if harmless else f"<{shape(name)}>"


def _dotted(path: Path, variables: Mapping[str, str]) -> str:
    if path and path[0] in variables:
        return variables[str(path[0])]
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    return text.removeprefix(".") or "configuration"
