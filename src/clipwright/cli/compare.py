"""``clipwright compare``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from clipwright.cli.options import (
    Captions,
    Classes,
    Config,
    Debug,
    Device,
    Generated,
    Json,
    Overwrite,
    Quiet,
    Root,
    Second,
    Seed,
    Texts,
    resolved,
    settings,
    source,
    verb_app,
)

if TYPE_CHECKING:
    from clipwright.methods.base import Method

app = verb_app()

_WATCHED = ("dataset", "backbone", "method", "shots", "draw", "top1", "seconds_fit")
PRODUCTS = ("results.parquet", "runs.json", "predictions.parquet", "report.html", "cells.jsonl")


def sources(values: list[str] | None) -> list[str] | None:
    """Data sources as typed, files and folders made absolute."""
    return None if values is None else [str(source(value)) for value in values]


def listed(text: str) -> list[str]:
    """The parts of a list with commas, without empty ones."""
    return [part.strip() for part in text.split(",") if part.strip()]


def numbers(text: str, option: str) -> list[int]:
    """Whole numbers of a list with commas.

    Raises:
        UsageError: something is no number.
    """
    from clipwright.core.errors import UsageError

    try:
        return [int(part) for part in listed(text)]
    except ValueError:
        raise UsageError(f"{option} {text!r} must be numbers with commas between them, such as 1,2,4,8,16.") from None


def variants(text: str, set_: list[str] | None) -> dict[str, Method]:
    """Configured methods by the name that results call them.

    Args:
        text: names with commas between them; ``LABEL=NAME`` gives one another name.
        set_: ``NAME.KEY=VALUE`` or ``LABEL.KEY=VALUE``.

    Raises:
        UsageError: no such method or hyper-parameter, or a name that isn't there or is there twice.
    """
    from clipwright.core.errors import UsageError
    from clipwright.protocol.auto import configured

    asked: dict[str, str] = {}
    for part in listed(text):
        label, _, name = (word.strip() for word in part.partition("="))
        if label in asked:
            raise UsageError(f"--methods names {label} twice: call one of them otherwise, such as other={label}.")
        asked[label] = name or label
    given: dict[str, dict[str, Any]] = {label: {} for label in asked}
    for key, value in settings(set_).items():
        label, dot, field = key.partition(".")
        if not dot or label not in given:
            raise UsageError(f"--set {key} must begin with one of --methods ({', '.join(asked)}) and a dot.")
        given[label][field] = value
    made = [(label, name, configured(name, **given[label])) for label, name in asked.items()]
    found = {method.title if label == name else label: method for label, name, method in made}
    if len(found) < len(made):
        raise UsageError("--methods names one method twice: call one of them otherwise, such as other=TaskRes.")
    return found


@app.command()
def compare(
    ctx: typer.Context,
    data: Annotated[
        list[str],
        typer.Argument(
            metavar="DATA...", callback=sources, help="Labelled data, or several: folders, tables, bundles, names."
        ),
    ],
    *,
    out: Annotated[Path, typer.Option("--out", "-o", metavar="RUN", help="Folder to write; a run goes on in it.")],
    methods: Annotated[
        str,
        typer.Option(
            "--methods", metavar="A,B", help="'clipwright methods' lists them; auto is one. LABEL=A names a variant."
        ),
    ] = "ZeroShot,TaskRes,GDA,auto",
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="A.KEY=VALUE", help="Hyper-parameter of a method or variant; may be repeated."),
    ] = None,
    backbone: Annotated[
        str | None, typer.Option("--backbone", metavar="A,B", help="Models, such as openclip:ViT-B-16@openai or tiny.")
    ] = None,
    shots: Annotated[str, typer.Option("--shots", metavar="N,N", help="Labels per class; 0 = none.")] = "1,2,4,8,16",
    draws: Annotated[
        int | None,
        typer.Option("--draws", min=1, metavar="N", help="Support sets; 10 when left out."),
    ] = None,
    validation: Annotated[
        Literal["none", "few-shot", "full"],
        typer.Option("--validation", help="Also give methods that can use them validation labels."),
    ] = "none",
    protocol: Annotated[
        Literal["draws", "coop"],
        typer.Option("--protocol", help="coop: the field's own support sets of benchmarks, seeds 1 to 3."),
    ] = "draws",
    root: Root = None,
    classes: Classes = None,
    template: Annotated[
        list[str] | None, typer.Option("--template", metavar="TEXT", help="Prompt, or a set of them; may be repeated.")
    ] = None,
    texts: Texts = None,
    generated: Generated = None,
    second: Second = None,
    captions: Captions = None,
    views: Annotated[int, typer.Option("--views", min=0, metavar="V", help="Augmented views per labelled image.")] = 0,
    calibrate: Annotated[
        bool, typer.Option("--calibrate", help="Also fit temperatures out of fold, at five more fits a cell.")
    ] = False,
    short: Annotated[
        Literal["refuse", "all"], typer.Option("--short", help="What to do where a class has fewer images than shots.")
    ] = "refuse",
    store: Annotated[
        Path | None, typer.Option("--store", metavar="DIR", help="Feature store; the cache when left out.")
    ] = None,
    device: Device = None,
    seed: Seed = 0,
    overwrite: Overwrite = False,
    config: Config = None,
    as_json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Compare methods on one or more data sets and backbones, honestly: draws, intervals, ties, costs.

    Each cell is kept as it is finished: killed and started again, the run goes on where it stopped. It ends with
    results.parquet (one row per cell) and report.html.

    \b
    Examples:
      clipwright compare digits --backbone tiny --methods ZeroShot,TaskRes,auto --shots 1,4,16 --out run
      clipwright compare a.npz --methods TaskRes,far=TaskRes --set far.alpha=1 --out run
      clipwright compare a.npz b.npz --methods TaskRes,GDA,TipAdapter --validation few-shot --out run
      clipwright compare benchmark:dtd benchmark:eurosat --root data/ --protocol coop --out run
      clipwright compare digits --backbone tiny --generated posters/ --methods ZeroShot,TipAdapter --shots 0 --out run
    """
    from clipwright.api import comparison_report
    from clipwright.cli.run_folder import RunFolder
    from clipwright.cli.summaries import show_comparison, show_problems
    from clipwright.comparing import compare_run

    with RunFolder(out, resolved(ctx), overwrite=overwrite, free=("device", "store"), products=PRODUCTS) as run:
        done = compare_run(
            data,
            variants(methods, set_),
            shots=numbers(shots, "--shots"),
            draws=draws,
            backbone=listed(backbone) if backbone else None,
            classes=classes,
            root=root,
            templates=template[0] if template and len(template) == 1 else template or None,
            texts=texts,
            generated=generated,
            second=second,
            captions=captions,
            validation=validation,
            protocol=protocol,
            seed=seed,
            device=device,
            views=views,
            calibrate=calibrate,
            short=short,
            store=store,
            out=out,
            quiet=quiet,
            on_cell=lambda row: run.metric(
                "cell", **{k: row[k] for k in ("dataset", "method", "shots", "draw", "top1")}
            ),
        )
        results = done.results
        skipped = [(str(i), str(why)) for part in results.runs for i, why in part.get("skipped", ())]
        show_problems(skipped, run, quiet=quiet)
        comparison_report(results, out, datasets=done.datasets, command=ctx.obj["command"])
        run.finish()
        show_comparison(results, out, as_json=as_json)
