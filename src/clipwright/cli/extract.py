"""``clipwright extract``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from clipwright.cli.options import (
    BackboneOption,
    Classes,
    Config,
    Data,
    Debug,
    Device,
    Json,
    Overwrite,
    Quiet,
    Root,
    Seed,
    resolved,
    verb_app,
)

app = verb_app()


@app.command()
def extract(
    ctx: typer.Context,
    data: Data,
    *,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="STORE", help="Store to fill; the cache when left out.")
    ] = None,
    root: Root = None,
    classes: Classes = None,
    backbone: BackboneOption = None,
    views: Annotated[int, typer.Option("--views", min=0, metavar="V", help="Augmented views per image.")] = 0,
    recipe: Annotated[
        str | None,
        typer.Option("--recipe", metavar="R", help="How views are made: crop(0.5,1)+flip or crop(0.08,1)+flip."),
    ] = None,
    shard: Annotated[
        str, typer.Option("--shard", metavar="I/N", help="Do part I of N; stores merge by copying.")
    ] = "1/1",
    workers: Annotated[
        int | None, typer.Option("--workers", min=0, help="Images decoded at a time; one per core when left out.")
    ] = None,
    batch_size: Annotated[int | None, typer.Option("--batch-size", min=1, help="Images encoded together.")] = None,
    device: Device = None,
    seed: Seed = 0,
    overwrite: Overwrite = False,
    config: Config = None,
    as_json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Compute image features once and keep them; an interrupted run goes on where it was.

    \b
    Examples:
      clipwright extract photos/ --backbone openclip:ViT-B-16@openai --out features
      clipwright extract photos/ --backbone tiny --views 10 --shard 1/4 --out features-1
    """
    from clipwright import api
    from clipwright.cli.output import safe, say, show_json
    from clipwright.cli.run_folder import maybe_run
    from clipwright.cli.summaries import show_problems

    free = ("device", "shard", "workers", "batch_size", "out")
    with maybe_run(out, resolved(ctx), overwrite=overwrite, free=free) as run:
        store = api.extract(
            api.open_data(data, classes, root=root),
            backbone=backbone,
            views=views,
            shard=shard,
            out=out,
            device=device,
            workers=workers,
            batch_size=batch_size,
            seed=seed,
            quiet=quiet,
            **({} if recipe is None else {"recipe": recipe}),
        )
        summary: dict[str, Any] = {
            "store": str(store.folder),
            "images": len(store),
            "complete": store.complete,
            "problems": [{"id": name, "reason": reason} for name, reason in store.problems],
        }
        show_problems(store.problems, run, quiet=quiet)
        if run is not None:
            run.finish(summary=summary)
    if as_json:
        show_json(summary)
    else:
        state = "complete" if store.complete else "other parts are still to come"
        say(f"{safe(summary['store'])}: {len(store)} images, {len(store.problems)} unreadable; {state}.")
