"""One file per method; this is the catalogue."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from clipwright.core.errors import UsageError

if TYPE_CHECKING:
    from clipwright.methods.base import Method
    from clipwright.task import Task

CATALOGUE: dict[str, str] = {
    "ZeroShot": "zero_shot",
    "TaskRes": "taskres",
}


def _key(name: str) -> str:
    return "".join(c for c in name.lower() if c.isalnum())


def names() -> tuple[str, ...]:
    """The public names of all methods."""
    return tuple(CATALOGUE)


def get(name: str) -> type[Method]:
    """The class of a method; case, dashes and underscores in `name` don't matter.

    Raises:
        UsageError: no such method.
    """
    for known, module in CATALOGUE.items():
        if _key(known) == _key(name):
            found: type[Method] = getattr(import_module(f"clipwright.methods.{module}"), known)
            return found
    raise UsageError(f"there is no method {name!r}: choose one of {', '.join(CATALOGUE)}.")


def make(name: str, **hyper_parameters: Any) -> Method:
    """A configured method.

    Raises:
        UsageError: no such method or field, or a value out of its range.
    """
    import dataclasses

    from pydantic import ValidationError

    kind = get(name)
    known = [f.name for f in dataclasses.fields(kind)]  # type: ignore[arg-type] # every method is a dataclass
    for field in hyper_parameters:
        if field not in known:
            raise UsageError(f"{name} has no hyper-parameter {field!r}: it has {', '.join(known) or 'none'}.")
    try:
        return kind(**hyper_parameters)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise UsageError(f"{name}: {where} = {first['input']!r} is not allowed: {first['msg']}.") from error


def runnable(task: Task) -> tuple[str, ...]:
    """Names of the methods whose default configuration can be fitted on `task`."""
    found = []
    for name in CATALOGUE:
        needs, access = make(name).missing(task)
        if not needs and not access:
            found.append(name)
    return tuple(found)
