"""``clipwright predict``."""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from typing import Annotated, Any

import typer

from clipwright.cli.options import Config, Debug, Device, Quiet, Saved, Seed, verb_app

app = verb_app()


class Format(StrEnum):
    """How predictions are written."""

    TABLE = "table"
    CSV = "csv"
    JSONL = "jsonl"


@app.command()
def predict(
    classifier: Saved,
    images: Annotated[
        list[str],
        typer.Argument(metavar="IMAGES", help="Files, folders, globs, or - to read paths from standard input."),
    ],
    *,
    style: Annotated[Format, typer.Option("--format", help="How to write the rows.")] = Format.TABLE,
    as_json: Annotated[bool, typer.Option("--json", help="The same as --format jsonl.")] = False,
    top_k: Annotated[int, typer.Option("--top-k", min=1, help="Classes to list per image.")] = 3,
    min_confidence: Annotated[
        float, typer.Option("--min-confidence", min=0.0, max=1.0, help="Below it the label is 'uncertain'.")
    ] = 0.0,
    batch_size: Annotated[int, typer.Option("--batch-size", min=1, help="Images encoded together.")] = 64,
    device: Device = None,
    seed: Seed = 0,
    config: Config = None,
    quiet: Quiet = False,
    debug: Debug = False,
) -> int:
    """Classify images, one row each, as soon as each is known.

    A broken image gives a row with an error; the exit code is 1 only if no image could be classified.

    \b
    Examples:
      clipwright predict classifier photo.jpg
      clipwright predict classifier photos/ 'more/**/*.png' --format csv > labels.csv
      clipwright predict classifier photos/ --min-confidence 0.8 --format jsonl
    """
    from clipwright import Classifier
    from clipwright.cli.images import expand
    from clipwright.cli.output import note, say
    from clipwright.cli.rows import as_row, lines
    from clipwright.core.errors import DataError

    model = Classifier.load(classifier, device=device)
    counts = {"all": 0, "failed": 0}

    def rows() -> Iterator[dict[str, Any]]:
        for prediction in model.predict_iter(expand(images), batch_size=batch_size, top=top_k):
            counts["all"] += 1
            counts["failed"] += prediction.error is not None
            yield as_row(prediction, top_k, min_confidence)

    for line in lines(rows(), "jsonl" if as_json else style.value, min(top_k, len(model.class_names))):
        say(line)
    if not counts["all"]:
        raise DataError("there is no image to classify: give files, folders or globs.")
    if counts["failed"]:
        note(f"{counts['failed']} of {counts['all']} images could not be read: their rows say why.", quiet=quiet)
    return 1 if counts["failed"] == counts["all"] else 0
