"""``clipwright merge``."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated

import typer

from clipwright.cli.options import (
    Classes,
    Config,
    Debug,
    Device,
    Json,
    Overwrite,
    Quiet,
    Root,
    Seed,
    resolved,
    source,
    verb_app,
)
from clipwright.core.errors import UsageError

app = verb_app()


def read_alphas(text: str) -> list[float]:
    """Values of alpha: numbers between commas; ``0,0.1,...,1`` goes on in equal steps.

    Raises:
        UsageError: no numbers in [0, 1], or dots that can't be filled in.
    """
    words = [word.strip() for word in text.split(",")]
    wrong = UsageError(f"--alpha {text!r} can't be read: write numbers from 0 to 1, such as 0.5 or 0,0.1,...,1.")
    values: list[float] = []
    for place, word in enumerate(words):
        if word in {"...", "\u2026"}:
            if place < 2 or place != len(words) - 2:
                raise wrong
            continue
        try:
            values.append(float(word))
        except ValueError:
            raise wrong from None
        if not 0 <= values[-1] <= 1:
            raise wrong
    if len(values) < len(words):
        first, second, last = values[-3:]
        steps = (last - first) / (second - first) if second != first else math.nan
        if not steps > 1 or abs(steps - round(steps)) > 1e-6:
            raise wrong
        values[-2:] = [round(first + i * (second - first), 10) for i in range(1, round(steps))] + [last]
    return values


@app.command()
def merge(
    ctx: typer.Context,
    base: Annotated[str, typer.Argument(metavar="BASE", callback=source, help="Classifier before tuning.")],
    tuned: Annotated[str, typer.Argument(metavar="TUNED", callback=source, help="Classifier after it.")],
    *,
    alpha: Annotated[
        str, typer.Option("--alpha", metavar="A,...", help="Shares of TUNED, 0 to 1; 0,0.1,...,1 is understood.")
    ] = "0.5",
    evaluate: Annotated[
        list[str] | None,
        typer.Option("--evaluate", metavar="DATA", help="Labelled data to measure each merge on; may be repeated."),
    ] = None,
    statistics: Annotated[
        str | None,
        typer.Option(
            "--statistics",
            metavar="DATA",
            callback=source,
            help="Images on which the statistics of batch norms are estimated anew, where the tuning changed them.",
        ),
    ] = None,
    root: Root = None,
    classes: Classes = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="DIR", help="Where to save the merge, if there is one alpha.")
    ] = None,
    device: Device = None,
    seed: Seed = 0,
    overwrite: Overwrite = False,
    config: Config = None,
    as_json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Mix two classifiers of one backbone in weight space: image tower and linear classifier alike, without training.

    BASE is what alpha = 0 gives, such as a fit of ZeroShot, TUNED what 1 gives, such as a fit of RegFT with
    --set alpha=1. Batch norms whose statistics the tuning changed need --statistics.

    \b
    Examples:
      clipwright merge zeroshot tuned --alpha 0,0.1,...,1 --evaluate photos/ --evaluate sketches/
      clipwright merge zeroshot tuned --alpha 0.5 --out merged
    """
    from clipwright import Classifier, api
    from clipwright.cli.output import note, say, show_json, table

    alphas = read_alphas(alpha)
    if out is not None and len(alphas) != 1:
        raise UsageError("one classifier is saved: give a single --alpha with --out.")
    if out is None and not evaluate:
        raise UsageError("there is nothing to do: give --evaluate DATA, or --out DIR with a single --alpha.")
    first, last = (Classifier.load(path, device=device) for path in (base, tuned))
    if statistics is None and api.averages_statistics(first, last):
        note("Note: the tuning changed the statistics of batch norms, and their means fit no merge: give --statistics.")
    rows = []
    if evaluate:
        data = [api.open_data(source(one) or one, classes, root=root) for one in evaluate]
        rows = api.merge_curve(first, last, alphas, data, statistics=statistics, device=device, quiet=quiet)
    if out is not None:
        merged = api.merge(first, last, alphas[0], statistics=statistics)
        merged.card["merge"] = {key: value for key, value in resolved(ctx).items() if key != "clipwright"}
        merged.save(out, overwrite=overwrite)
        note(f"Saved the merge of alpha = {alphas[0]:g} to {out}.", quiet=quiet)
    if as_json:
        show_json({"alpha": alphas, "curve": rows, "saved": None if out is None else str(out)})
    elif rows:
        say(
            table(
                ("alpha", "data", "accuracy", "95 %", "images"),
                [
                    (
                        f"{row['alpha']:g}",
                        row["data"],
                        f"{row['accuracy']:.1%}",
                        f"{row['low']:.1%} to {row['high']:.1%}",
                        row["n"],
                    )
                    for row in rows
                ],
            )
        )
