"""Options that verbs share, and the file that may give them."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from clipwright.core.errors import UsageError

ABOUT = ("clipwright", "verb")  # keys of a resolved config that are no options
MEANWHILE = ("config", "debug", "quiet", "as_json", "overwrite", "help")  # how a run is watched, not what it does


def verb_app() -> typer.Typer:
    """The Typer app that a verb's file puts its command into."""
    return typer.Typer(rich_markup_mode=None, add_completion=False, pretty_exceptions_enable=False)


def key_of(param: Any) -> str:
    """The name of a parameter in a config file: its flag without dashes, or the argument's name."""
    flags = [flag for flag in param.opts if flag.startswith("--")]
    return (flags[0][2:] if flags else str(param.name)).replace("-", "_")


def read_config(path: Path) -> dict[str, Any]:
    """The table in a JSON or TOML file.

    Raises:
        UsageError: unreadable, or no table.
    """
    try:
        text = path.read_text(encoding="utf-8")
        value = tomllib.loads(text) if path.suffix.lower() == ".toml" else json.loads(text)
    except OSError as error:
        raise UsageError(f"--config {path} can't be read: {error.strerror}.") from error
    except ValueError as error:
        kind = "TOML" if path.suffix.lower() == ".toml" else "JSON"
        raise UsageError(f"--config {path} is no valid {kind} ({error}): correct it.") from error
    if not isinstance(value, dict):
        raise UsageError(f'--config {path} must hold a table of options, such as {{"seed": 1}}.')
    return value


def _apply_config(ctx: typer.Context, path: Path | None) -> Path | None:
    if path is None:
        return None
    given = read_config(path)
    known = {key_of(p): p for p in ctx.command.params if p.name not in MEANWHILE}
    verb = given.get("verb", ctx.info_name)
    if verb != ctx.info_name:
        raise UsageError(f"--config {path} is for 'clipwright {verb}', not for 'clipwright {ctx.info_name}'.")
    defaults: dict[str, Any] = {}
    for key, value in given.items():
        name = key.replace("-", "_")
        if name in ABOUT:
            continue
        if name not in known:
            raise UsageError(f"--config {path} has the unknown key {key!r}: the keys are {', '.join(sorted(known))}.")
        if value is not None:
            param = known[name]
            defaults[str(param.name)] = _for_parser(param, value, f"--config {path}: {key}")
    ctx.default_map = {**(ctx.default_map or {}), **defaults}
    return path


def _for_parser(param: Any, value: Any, where: str) -> Any:
    """A config value in the form in which the parser would have read it from the command line."""
    many = getattr(param, "multiple", False) or param.nargs != 1
    if many:
        if isinstance(value, Mapping):
            return [f"{k}={v if isinstance(v, str) else json.dumps(v)}" for k, v in value.items()]
        return [str(v) for v in value] if isinstance(value, list) else [str(value)]
    if isinstance(value, int | float | str):
        is_flag = bool(getattr(param, "is_flag", False))
        if is_flag != isinstance(value, bool):
            raise UsageError(f"{where} must be {'true or false' if is_flag else 'a number or text'}; it is {value!r}.")
        return value if is_flag else str(value)
    raise UsageError(f"{where} must be a number or text; it is {value!r}.")


def resolved(ctx: typer.Context) -> dict[str, Any]:
    """Every option of this run with its value, as JSON: itself a valid ``--config``.

    Files and folders are made absolute, so that the config works from anywhere.
    """
    from clipwright import __version__

    values: dict[str, Any] = {"clipwright": __version__, "verb": ctx.info_name}
    for param in ctx.command.params:
        if param.name in MEANWHILE or param.name not in ctx.params:
            continue
        value = ctx.params[param.name]
        key = key_of(param)
        values[key] = settings(value) if key == "set" else _json(value)
    return values


def _json(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [_json(v) for v in value]
    if isinstance(value, Path):
        return str(value.expanduser().absolute())
    return value


def source(value: str | None) -> str | None:
    """A data source as typed: an existing file or folder made absolute, anything else (an embedded name) as it is."""
    if value is None:  # older parsers ask before they miss it
        return None
    path = Path(value).expanduser()
    return str(path.absolute()) if path.exists() else value


def settings(pairs: list[str] | tuple[str, ...] | None) -> dict[str, Any]:
    """The hyper-parameters of ``--set key=value``; values are JSON where they parse, text elsewhere.

    Raises:
        UsageError: no ``=``, no key, or a key given twice.
    """
    found: dict[str, Any] = {}
    for pair in pairs or ():
        key, equals, text = pair.partition("=")
        key = key.strip()
        if not equals or not key:
            raise UsageError(f"--set {pair!r} must look like key=value, such as --set alpha=0.5.")
        if key in found:
            raise UsageError(f"--set gives {key!r} twice: keep one.")
        try:
            found[key] = json.loads(text)
        except ValueError:
            found[key] = text
    return found


Config = Annotated[
    Path | None,
    typer.Option(
        "--config",
        metavar="FILE",
        help="JSON or TOML file with options; flags win.",
        callback=_apply_config,
        is_eager=True,
    ),
]
Seed = Annotated[int, typer.Option("--seed", help="Seed of every random choice.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of a failure and all warnings.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace what another run left in --out.")]
Data = Annotated[
    str,
    typer.Argument(
        metavar="DATA",
        callback=source,
        help="Folder of class folders, CSV or Parquet table, list, .npz bundle, benchmark:NAME, or embedded name.",
    ),
]
Classes = Annotated[
    Path | None,
    typer.Option("--classes", metavar="FILE", help="Class names: one per line, or '<folder> <class name>' per line."),
]
Texts = Annotated[
    str | None,
    typer.Option(
        "--texts",
        metavar="FILE",
        help="What is known of the classes: a bank that describe wrote, or a CuPL, DCLIP or CODER file or folder.",
    ),
]
Generated = Annotated[
    Path | None,
    typer.Option(
        "--generated", metavar="DIR", help="Folder that generate wrote: images beside the real ones, never labels."
    ),
]
Second = Annotated[
    str | None,
    typer.Option(
        "--second", metavar="B", help="Second model, for methods that take two, such as timm:vit_small_patch16_dinov3."
    ),
]
Captions = Annotated[
    Path | None,
    typer.Option("--captions", metavar="DIR", help="Folder that caption wrote, for methods that read captions."),
]
Root = Annotated[
    Path | None,
    typer.Option(
        "--root", metavar="DIR", help="Folder that benchmarks lie in; CLIPWRIGHT_DATA when left out. Also of a table."
    ),
]
ClassesSubset = Annotated[
    Literal["base", "new"] | None,
    typer.Option(
        "--classes-subset", metavar="base|new", help="Use the first or the second half of the classes of DATA."
    ),
]
Device = Annotated[str | None, typer.Option("--device", help="cpu, cuda or mps; the best there is when left out.")]
BackboneOption = Annotated[
    str | None,
    typer.Option("--backbone", metavar="B", help="Model, such as openclip:ViT-B-16@openai or tiny."),
]
Saved = Annotated[Path, typer.Argument(metavar="CLASSIFIER", help="Folder that fit wrote.")]
