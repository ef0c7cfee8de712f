"""``clipwright demo``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from clipwright.cli.options import Config, Debug, Json, Overwrite, Quiet, Seed, resolved, verb_app

app = verb_app()

PRODUCTS = ("report.html", "results.parquet", "runs.json", "predictions.parquet")


@app.command()
def demo(
    ctx: typer.Context,
    *,
    out: Annotated[Path, typer.Option("--out", "-o", metavar="RUN", help="Folder to write.")] = Path("clipwright-demo"),
    draws: Annotated[int, typer.Option("--draws", min=2, help="Draws of labelled images.")] = 10,
    seed: Seed = 0,
    overwrite: Overwrite = False,
    config: Config = None,
    as_json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Fit real handwritten digits with the embedded model: by their names, then with 1, 4 and 16 labels each.

    Needs no network; ends with a page to look at.

    \b
    Examples:
      clipwright demo
      clipwright demo --out digits --draws 20 --seed 1
    """
    from clipwright import Results, api
    from clipwright.cli.output import safe, say, show_json
    from clipwright.cli.run_folder import RunFolder
    from clipwright.cli.summaries import accuracies, show_accuracies

    page = out.absolute() / "report.html"
    with RunFolder(
        out,
        resolved(ctx),
        overwrite=overwrite,
        products=PRODUCTS,
    ) as run:
        if run.finished and page.is_file():
            run.tell(f"{out} is finished already: nothing to do.", quiet=quiet)
        else:
            page = api.demo(out, seed=seed, draws=draws, quiet=quiet).absolute()
        rows = accuracies(Results.load(out))
        if not run.finished:
            for row in rows:
                run.metric("accuracy", **row)
            run.finish(report=str(page))
    if as_json:
        show_json({"out": str(out.absolute()), "report": str(page), "accuracies": rows})
        return
    show_accuracies(rows)
    say(f"The page is {safe(str(page))}: open it in a browser.")
