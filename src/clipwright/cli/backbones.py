"""``clipwright backbones``."""

from __future__ import annotations

from typing import Annotated

import typer

from clipwright.cli.options import Config, Debug, Json, Quiet, Seed, verb_app

app = verb_app()


@app.command()
def backbones(
    pattern: Annotated[
        str | None, typer.Argument(metavar="TEXT", help="Show only names that hold this text, in any case.")
    ] = None,
    *,
    seed: Seed = 0,
    config: Config = None,
    as_json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """List the models that --backbone can name.

    \b
    Examples:
      clipwright backbones
      clipwright backbones siglip --json
    """
    from clipwright.backbones import list_backbones
    from clipwright.cli.output import safe, say, show_json

    names = [str(name) for name in list_backbones() if pattern is None or pattern.lower() in str(name).lower()]
    if as_json:
        show_json(names)
        return
    for name in names:
        say(safe(name))
