"""``clipwright evaluate``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from clipwright.cli.options import (
    Classes,
    ClassesSubset,
    Config,
    Data,
    Debug,
    Device,
    Json,
    Overwrite,
    Quiet,
    Root,
    Saved,
    Seed,
    resolved,
    source,
    verb_app,
)

app = verb_app()


@app.command()
def evaluate(
    ctx: typer.Context,
    classifier: Saved,
    data: Data,
    *,
    root: Root = None,
    classes: Classes = None,
    class_index: Annotated[
        str | None,
        typer.Option(
            "--class-index",
            metavar="FILE",
            callback=source,
            help="The classifier's number, from 0, of each class of DATA, where names don't tell; imagenet-a and "
            "imagenet-r are known.",
        ),
    ] = None,
    classes_subset: ClassesSubset = None,
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

    The test split is used where DATA has one. Classes of DATA are matched to the classifier's by name, by the file
    given with --classes, or by number with --class-index; they may be some of the classifier's, in any order.

    A classifier of the base classes (fit --classes-subset base) is measured on the base and on the new classes, with
    the harmonic mean of the two; --classes-subset chooses one of them.

    \b
    Examples:
      clipwright evaluate classifier photos/
      clipwright evaluate classifier imagenet-val/ --classes classnames.txt --json
      clipwright evaluate classifier benchmark:imagenet-r --root data/
    """
    from clipwright import Classifier, api
    from clipwright.cli.output import note, show_json
    from clipwright.cli.run_folder import maybe_run
    from clipwright.cli.summaries import show_base_to_new, show_evaluation, show_problems
    from clipwright.core.atomic import write_json

    with maybe_run(out, resolved(ctx), overwrite=overwrite, free=("device",), products=("evaluation.json",)) as run:
        model = Classifier.load(classifier, device=device)
        opened = api.open_data(data, classes, root=root)
        halves = None
        if classes_subset is None and class_index is None and api.is_base(model, opened):
            halves = api.base_to_new(model, opened, device=device, quiet=quiet)
            results = [halves.base, halves.new]
            figures = halves.as_json()
        else:
            found = api.evaluate(
                model, opened, class_index=class_index, classes_subset=classes_subset, device=device, quiet=quiet
            )
            results = [found]
            figures = results[0].as_json()
        show_problems([problem for result in results for problem in result.problems], run, quiet=quiet)
        for line in dict.fromkeys(line for result in results for line in result.notes):
            note(f"Note: {line}", quiet=quiet)
        if run is not None and out is not None:
            write_json(out / "evaluation.json", figures)
            run.finish(summary=figures)
        if as_json:
            show_json(figures)
        elif halves is not None:
            show_base_to_new(halves)
        else:
            show_evaluation(results[0])
