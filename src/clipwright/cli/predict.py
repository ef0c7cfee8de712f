"""``clipwright predict``."""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from clipwright.cli import endpoint_options as ask
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
    base_url: ask.BaseUrl = None,
    api_key_file: ask.ApiKeyFile = None,
    concurrency: ask.Concurrency = 4,
    requests_per_minute: ask.RequestsPerMinute = None,
    tokens_per_minute: ask.TokensPerMinute = None,
    timeout: ask.Timeout = 120.0,
    seed: Seed = 0,
    config: Config = None,
    quiet: Quiet = False,
    debug: Debug = False,
) -> int:
    """Classify images, one row each, as soon as each is known.

    A broken image gives a row with an error; the exit code is 1 only if no image could be classified.
    CLASSIFIER may be a file that tune-prompt wrote: then --base-url names the server that has its model.

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
    from clipwright.core.errors import DataError, UsageError

    if classifier.is_file():
        limits = (concurrency, requests_per_minute, tokens_per_minute, timeout)
        most, found = 0, _asked(classifier, expand(images), base_url, api_key_file, limits, quiet=quiet)
    elif base_url is not None:
        raise UsageError("--base-url is for files that 'clipwright tune-prompt' wrote: leave it out.")
    else:
        model = Classifier.load(classifier, device=device)
        most = min(top_k, len(model.class_names))
        predictions = model.predict_iter(expand(images), batch_size=batch_size, top=top_k)
        found = (as_row(prediction, top_k, min_confidence) for prediction in predictions)
    counts = {"all": 0, "failed": 0}

    def rows() -> Iterator[dict[str, Any]]:
        for row in found:
            counts["all"] += 1
            counts["failed"] += row["error"] is not None
            yield row

    for line in lines(rows(), "jsonl" if as_json else style.value, most):
        say(line)
    if not counts["all"]:
        raise DataError("there is no image to classify: give files, folders or globs.")
    if counts["failed"]:
        what = "got no label" if classifier.is_file() else "could not be read"
        note(f"{counts['failed']} of {counts['all']} images {what}: their rows say why.", quiet=quiet)
    return 1 if counts["failed"] == counts["all"] else 0


def _asked(
    classifier: Path,
    images: Iterator[str],
    base_url: str | None,
    api_key_file: Path | None,
    limits: tuple[int, float | None, float | None, float],
    *,
    quiet: bool,
) -> Iterator[dict[str, Any]]:
    """Rows by a model that answers with labels only: they have no confidence, and no other classes."""
    from clipwright import api
    from clipwright.core.errors import UsageError

    model = api.LabelClassifier.load(classifier)
    endpoint = ask.endpoint_of(
        base_url,
        None if base_url is None else model.model,
        api_key_file=api_key_file,
        concurrency=limits[0],
        requests_per_minute=limits[1],
        tokens_per_minute=limits[2],
        timeout=limits[3],
        price_prompt=None,
        price_completion=None,
        quiet=quiet,
    )
    if endpoint is None:
        raise UsageError(
            f"{classifier} is a prompt for the model {model.model}: name a server that has it (--base-url)."
        )
    for found in api.predict_labels(model, images, endpoint):
        yield {"path": found.path, "label": found.label, "confidence": None, "top": [], "error": found.error}
