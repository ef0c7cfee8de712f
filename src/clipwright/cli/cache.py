"""``clipwright cache``."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Annotated, Any

import typer

from clipwright.cli.options import Config, Debug, Json, Quiet, Seed
from clipwright.core.errors import UsageError
from clipwright.core.home import home

app = typer.Typer(
    help="""Show or empty what clipwright keeps on this machine (CLIPWRIGHT_HOME); all of it can be made again.

\b
Examples:
  clipwright cache ls
  clipwright cache rm features
""",
    rich_markup_mode=None,
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


@app.command("ls")
def ls(
    *, seed: Seed = 0, config: Config = None, as_json: Json = False, quiet: Quiet = False, debug: Debug = False
) -> None:
    """List what is kept, with sizes.

    \b
    Examples:
      clipwright cache ls
      clipwright cache ls --json
    """
    from clipwright.cli.output import safe, say, show_json, table

    entries: list[dict[str, Any]] = [
        {"name": path.name, "files": count, "bytes": size} for path, count, size in _entries()
    ]
    if as_json:
        show_json({"home": str(home()), "entries": entries})
        return
    say(f"{safe(str(home()))}")
    if entries:
        say(table(["name", "files", "MB"], [[e["name"], e["files"], f"{e['bytes'] / 1e6:.1f}"] for e in entries]))
    else:
        say("nothing is kept yet")


@app.command("rm")
def rm(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="NAMES", help="Names as 'clipwright cache ls' shows them.")
    ] = None,
    *,
    everything: Annotated[bool, typer.Option("--all", help="Remove everything.")] = False,
    seed: Seed = 0,
    config: Config = None,
    as_json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Remove what is kept under the given names.

    \b
    Examples:
      clipwright cache rm features
      clipwright cache rm --all
    """
    from clipwright.cli.output import safe, say, show_json

    here = {path.name: (path, size) for path, _, size in _entries()}
    if bool(names) == everything:
        raise UsageError("give the names to remove, or --all.")
    for name in names or ():
        if name not in here:
            raise UsageError(f"nothing is kept under {safe(name)!r}: 'clipwright cache ls' shows the names.")
    chosen = list(here) if everything else list(dict.fromkeys(names or ()))
    for name in chosen:
        path = here[name][0]
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
    freed = sum(here[name][1] for name in chosen)
    if as_json:
        show_json({"removed": chosen, "bytes": freed})
    else:
        say(f"Removed {', '.join(map(safe, chosen)) or 'nothing'}: {freed / 1e6:.1f} MB.")


def _entries() -> list[tuple[Path, int, int]]:
    """(path, number of files, bytes) of what lies directly in the cache folder; links are not followed."""
    if not home().is_dir():
        return []
    found = []
    for path in sorted(home().iterdir()):
        inside = path.rglob("*") if path.is_dir() and not path.is_symlink() else iter([path])
        sizes = [p.lstat().st_size for p in inside if p.is_symlink() or p.is_file()]
        found.append((path, len(sizes), sum(sizes)))
    return found
