"""One file per method; this is the catalogue."""

from __future__ import annotations

from contextlib import suppress
from importlib import import_module
from typing import TYPE_CHECKING, Any

from clipwright.core.errors import UsageError

if TYPE_CHECKING:
    from clipwright.methods.base import Method
    from clipwright.task import Task

CATALOGUE: dict[str, str] = {
    "ZeroShot": "zero_shot",
    "TaskRes": "taskres",
    "GDA": "gda",
    "ProKeR": "proker",
    "NearestMean": "nearest_mean",
    "LinearProbe": "linear_probe",
    "ZSLP": "zslp",
    "CLAP": "clap",
    "LPPlusPlus": "lpplusplus",
    "CrossModal": "cross_modal",
    "ProLIP": "prolip",
    "CLIPAdapter": "clip_adapter",
    "TipAdapter": "tip_adapter",
    "TipAdapterF": "tip_adapter_f",
    "CaFo": "cafo",
    "TIPX": "tip_x",
    "APE": "ape",
    "CLIPLoRA": "clip_lora",
    "CODER": "coder",
    "CuPL": "cupl",
    "DCLIP": "dclip",
    "WaffleCLIP": "waffleclip",
    "Transductive": "transductive",
    "LabelPropagation": "label_propagation",
    "LattePrototypes": "latte_prototypes",
    "LatteCLIP": "latteclip",
    "FLYP": "flyp",
    "RegFT": "regft",
    "CraFT": "craft",
    "ScoreScaling": "score_scaling",
}


def _key(name: str) -> str:
    return "".join(c for c in name.lower() if c.isalnum())


def names() -> tuple[str, ...]:
    """The public names of all methods."""
    return tuple(CATALOGUE)


def get(name: str) -> type[Method]:
    """The class of a method; case, spaces, dashes and underscores in `name` don't matter.

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

    Values may be text, as the command line has them: ``"0.5"``, ``"true"``, ``"none"`` (where the field allows None),
    or a JSON list or object.

    Raises:
        UsageError: no such method or field, or a value out of its range.
    """
    return make_kind(get(name), **hyper_parameters)


def make_kind(kind: type[Method], **hyper_parameters: Any) -> Method:
    """A configured method of a class; values and errors as in `make`."""
    import dataclasses
    from typing import get_type_hints

    from pydantic import ValidationError

    known = [f.name for f in dataclasses.fields(kind)]  # type: ignore[arg-type] # every method is a dataclass
    for field in hyper_parameters:
        if field not in known:
            raise UsageError(f"{kind.title} has no hyper-parameter {field!r}: it has {', '.join(known) or 'none'}.")
    hints = get_type_hints(kind)
    try:
        return kind(**{field: _parsed(value, hints[field]) for field, value in hyper_parameters.items()})
    except ValidationError as error:
        errors = error.errors()
        where = str(errors[0]["loc"][0])
        reasons = " or ".join(dict.fromkeys(e["msg"] for e in errors if str(e["loc"][0]) == where))
        shown = hyper_parameters[where]
        raise UsageError(f"{kind.title}: {where} = {shown!r} is not allowed: {reasons}.") from error


def _parsed(value: Any, hint: Any) -> Any:
    """`value`, with the spellings of None, lists and objects that the command line has; pydantic reads the rest."""
    import json
    from typing import get_args

    if not isinstance(value, str):
        return value
    text = value.strip()
    if text.lower() in {"none", "null"} and type(None) in get_args(hint):
        return None
    if text.startswith(("[", "{")):
        with suppress(ValueError, RecursionError):
            return json.loads(text)
    return text


def runnable(task: Task) -> tuple[str, ...]:
    """Names of the methods whose default configuration can be fitted on `task`."""
    found = []
    for name in CATALOGUE:
        needs, access = make(name).missing(task)
        if not needs and not access:
            found.append(name)
    return tuple(found)
