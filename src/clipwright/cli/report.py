"""``clipwright report``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from clipwright.cli.options import Config, Debug, Json, Overwrite, Quiet, Seed, verb_app

app = verb_app()


@app.command()
def report(
    ctx: typer.Context,
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Folders that compare or demo wrote.")],
    *,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", metavar="FILE", help="Page to write; report.html in the first RUN when left out."),
    ] = None,
    title: Annotated[str | None, typer.Option("--title", help="Heading of the page.")] = None,
    seed: Seed = 0,
    overwrite: Overwrite = False,
    config: Config = None,
    as_json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Write one page about one or more finished comparisons.

    Runs may differ in data sets, backbones and methods, not hold the same cell twice. Pictures are shown where the
    data are still where they were.

    \b
    Examples:
      clipwright report run
      clipwright report run-a run-b --out both.html --title "Two backbones"
    """
    from clipwright import Results, api
    from clipwright.cli.output import safe, say, show_json
    from clipwright.core.errors import UsageError

    if out is not None and out.is_file() and not overwrite:
        raise UsageError(f"--out {out} is there already: name another file, or give --overwrite.")

    results = Results.joined([Results.load(folder) for folder in runs])
    page = out or runs[0] / "report.html"
    datasets = api.reopened(runs)
    written = api.comparison_report(results, page, datasets=datasets, command=ctx.obj["command"], title=title)
    if as_json:
        show_json({"report": str(written.absolute()), "cells": len(results)})
    else:
        say(f"The page is {safe(str(written))}: open it in a browser.")
