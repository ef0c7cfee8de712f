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
    """List the models that --backbone can name, and whether their weights are on this machine.

    \b
    Examples:
      clipwright backbones
      clipwright backbones siglip --json
    """
    from dataclasses import asdict

    from clipwright.backbones import list_backbones
    from clipwright.cli.output import note, say, show_json, table

    rows = list_backbones(pattern or "")
    if as_json:
        show_json([asdict(row) for row in rows])
        return
    say(table(["backbone", "weights", "note"], [[r.spec, "here" if r.available else "-", r.note] for r in rows]))
    note(
        "Also: hf:NAME@REVISION (a transformers CLIP or SigLIP), folder:PATH, openclip:ARCHITECTURE@/path/to/weights, "
        "endpoint:http://HOST:PORT (clipwright serve), timm:NAME.TAG (images alone; clipwright backbones timm lists "
        "them).",
        quiet=quiet,
    )
