"""``clipwright evaluate``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from clipwright.cli.options import (
    Classes,
    Config,
    Data,
    Debug,
    Device,
    Json,
    Overwrite,
    Quiet,
    Saved,
    Seed,
    resolved,
    verb_app,
)

app = verb_app()


@app.command()
def evaluate(
    ctx: typer.Context,
    classifier: Saved,
    data: Data,
    *,
    classes: Classes = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="RUN", help="Folder to write the figures to.")
    ] = None,
    device: Device = None,
    seed: Seed = 0,
    overwrite: Overwrite = False,
    config: Config = None,
    as_json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Measure a classifier on labelled images: accuracy with its interval, top-k, per class, calibration.

    The test split is used where DATA has one. Classes of DATA are matched to the classifier's by name, or by the
    file given with --classes.

    \b
    Examples:
      clipwright evaluate classifier photos/
      clipwright evaluate classifier imagenet-val/ --classes classnames.txt --json
    """
    from clipwright import Classifier, api
    from clipwright.cli.output import note, show_json
    from clipwright.cli.run_folder import maybe_run
    from clipwright.cli.summaries import show_evaluation, show_problems
    from clipwright.core.atomic import write_json

    with maybe_run(out, resolved(ctx), overwrite=overwrite, free=("device",), products=("evaluation.json",)) as run:
        model = Classifier.load(classifier, device=device)
        result = api.evaluate(model, data, classes=classes, device=device, quiet=quiet)
        figures = result.as_json()
        show_problems(result.problems, run, quiet=quiet)
        for line in result.notes:
            note(f"Note: {line}", quiet=quiet)
        if run is not None and out is not None:
            write_json(out / "evaluation.json", figures)
            run.finish(summary=figures)
        if as_json:
            show_json(figures)
        else:
            show_evaluation(result)
