"""``clipwright generate``."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from clipwright.cli import endpoint_options as ask
from clipwright.cli.options import (
    BackboneOption,
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

# A run may be continued with others: they don't change an image. What made it is checked against the folder itself.
_FREE = (
    *("base_url", "api_key_file", "concurrency", "requests_per_minute", "timeout"),
    *("per_class", "shard", "batch_size", "device", "backbone", "min_confidence", "agree", "delete_dropped", "real"),
    *("sheet", "dry_run"),
)


# Options that go on as they are.
_AS_TYPED = (
    *("per_class", "revision", "steps", "guidance", "size", "save_size", "negative", "dtype", "safety_retries"),
    *("batch_size", "styles", "style", "texts", "root", "shard", "overwrite", "backbone", "device", "min_confidence"),
    *("agree", "delete_dropped", "real", "sheet", "dry_run", "seed"),
)


class Maker(StrEnum):
    """What makes the images."""

    RENDERER = "renderer"
    DIFFUSERS = "diffusers"
    ENDPOINT = "endpoint"


class Safety(StrEnum):
    """What becomes of the checkpoint's safety checker."""

    DROP = "drop"
    OFF = "off"


@app.command()
def generate(
    ctx: typer.Context,
    names: Annotated[  # not `classes`: in a config, that is the option's key
        str,
        typer.Argument(
            metavar="CLASSES",
            callback=source,
            help="Text file with a name per line, whatever fit takes as DATA, or a style in --styles.",
        ),
    ],
    *,
    out: Annotated[Path | None, typer.Option("--out", "-o", metavar="DIR", help="Folder to fill.")] = None,
    per_class: Annotated[int, typer.Option("--per-class", min=1, metavar="N", help="Images of each class.")] = 64,
    generator: Annotated[
        Maker, typer.Option("--generator", help="renderer draws digits, capital letters and shapes, offline.")
    ] = Maker.RENDERER,
    model: Annotated[
        str | None,
        typer.Option("--model", metavar="M", help="Pipeline folder, OWNER/NAME of the hub, or the server's model."),
    ] = None,
    revision: Annotated[
        str | None, typer.Option("--revision", metavar="R", help="Commit or tag of a repository of the hub.")
    ] = None,
    steps: Annotated[int | None, typer.Option("--steps", min=1, help="Denoising steps; 50 when left out.")] = None,
    guidance: Annotated[
        float | None, typer.Option("--guidance", min=0.0, help="Classifier-free guidance; 5 when left out.")
    ] = None,
    size: Annotated[
        int | None, typer.Option("--size", min=8, help="Pixels per side that the model makes; diffusers: 512.")
    ] = None,
    save_size: Annotated[
        int | None, typer.Option("--save-size", min=1, help="Pixels per side of a file; 224, or 32 for the renderer.")
    ] = None,
    negative: Annotated[str | None, typer.Option("--negative", metavar="TEXT", help="What shall not be seen.")] = None,
    dtype: Annotated[
        str | None, typer.Option("--dtype", help="fp32, bf16 or fp16; fp16 on a GPU when left out.")
    ] = None,
    safety: Annotated[
        Safety | None,
        typer.Option("--safety", help="drop (the default): blocked images are recorded; off: no checker is loaded."),
    ] = None,
    safety_retries: Annotated[
        int, typer.Option("--safety-retries", min=0, help="Further seeds for an image that is blocked.")
    ] = 2,
    batch_size: Annotated[
        int | None, typer.Option("--batch-size", min=1, help="Images that diffusers makes together; 8 when left out.")
    ] = None,
    base_url: ask.BaseUrl = None,
    api_key_file: ask.ApiKeyFile = None,
    concurrency: ask.Concurrency = 4,
    requests_per_minute: ask.RequestsPerMinute = None,
    timeout: ask.Timeout = 120.0,
    template: Annotated[
        list[str] | None,
        typer.Option("--template", metavar="T", help="Prompt with one {}, a file of them, or a set; may be repeated."),
    ] = None,
    styles: Annotated[
        Path | None, typer.Option("--styles", metavar="FILE", help="Templates and class names for each data set.")
    ] = None,
    style: Annotated[str | None, typer.Option("--style", metavar="NAME", help="Which of the styles.")] = None,
    texts: Annotated[
        str | None, typer.Option("--texts", metavar="FILE", help="Bank of texts whose descriptions are the prompts.")
    ] = None,
    kinds: Annotated[
        str | None,
        typer.Option("--kinds", metavar="K,...", help="Kinds of texts that are prompts; description,caption."),
    ] = None,
    class_file: Annotated[
        Path | None, typer.Option("--classes", metavar="FILE", help="Class names of data that doesn't bring them.")
    ] = None,
    root: Root = None,
    shard: Annotated[str, typer.Option("--shard", metavar="I/N", help="Make part I of N.")] = "1/1",
    backbone: BackboneOption = None,
    min_confidence: Annotated[
        float | None,
        typer.Option("--min-confidence", metavar="P", help="Drop images whose class gets less probability."),
    ] = None,
    agree: Annotated[bool, typer.Option("--agree", help="Drop images that look like another class.")] = False,
    delete_dropped: Annotated[
        bool, typer.Option("--delete-dropped", help="Delete the files of dropped images.")
    ] = False,
    real: Annotated[
        str | None,
        typer.Option("--real", metavar="DATA", callback=source, help="Real images to measure the gap to; no labels."),
    ] = None,
    sheet: Annotated[
        Path | None, typer.Option("--sheet", metavar="FILE", help="Contact sheet with scores, such as sheet.png.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say how many images, how long and how much space; write nothing.")
    ] = False,
    device: Device = None,
    seed: Seed = 0,
    overwrite: Overwrite = False,
    config: Config = None,
    as_json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Make images of classes from their names, in a folder that fit, extract and compare take as DATA.

    A run that was stopped goes on where it was and makes nothing twice; parts on several machines merge by copying.

    \b
    Examples:
      clipwright generate digits --per-class 64 --out posters
      clipwright generate names.txt --generator diffusers --model OWNER/NAME --revision COMMIT --out images
      clipwright generate digits --out posters --backbone tiny --agree --real digits --sheet sheet.png
    """
    from clipwright import api
    from clipwright.cli.output import note, say, show_json
    from clipwright.cli.run_folder import maybe_run

    if out is None and not dry_run:
        raise UsageError("--out is missing: name the folder to fill, such as --out images, or give --dry-run.")
    asked = (
        ask.endpoint_of(
            base_url,
            model,
            api_key_file=api_key_file,
            concurrency=concurrency,
            requests_per_minute=requests_per_minute,
            tokens_per_minute=None,
            timeout=timeout,
            price_prompt=None,
            price_completion=None,
            quiet=quiet,
        )
        if generator is Maker.ENDPOINT
        else None
    )
    if asked is None and base_url is not None:
        raise UsageError(f"--generator {generator.value} takes no --base-url: did you mean --generator endpoint?")
    options = {name: ctx.params[name] for name in _AS_TYPED} | {
        "generator": generator.value,
        "model": model if asked is None else None,
        "safety": None if safety is None else safety.value,
        "endpoint": asked,
        "templates": _templates(template),
        "kinds": None if kinds is None else [kind.strip() for kind in kinds.split(",") if kind.strip()],
        "class_file": class_file,
        "quiet": quiet,
    }
    if dry_run:
        summary = dict(api.generate(names, out or Path(), **options).summary)
        sentence = summary.pop("sentence")
        return show_json(summary) if as_json else say(sentence)
    with maybe_run(out, resolved(ctx), overwrite=overwrite, free=_FREE, shard=shard) as run:

        def tell(text: str) -> None:
            if run is None:
                note(text, quiet=quiet)
            else:
                run.tell(text, quiet=quiet)

        done = api.generate(names, out or Path(), tell=tell, **options)
        for warning in done.warnings:
            tell(f"Warning: {warning}")
        summary = {"folder": str(done.folder), **done.summary, "warnings": list(done.warnings)}
        if run is not None:
            run.finish(**summary)
    return show_json(summary) if as_json else say("\n".join(_lines(summary)))


def _templates(given: list[str] | None) -> Any:
    """One word may name a set or a file; several are sentences."""
    if not given:
        return None
    return given[0] if len(given) == 1 else given


def _lines(summary: Mapping[str, Any]) -> list[str]:
    from clipwright.cli.output import safe

    blocked = f", {summary['blocked']} blocked" if summary["blocked"] else ""
    made = f"{summary['made']} images made, {summary['there']} there before{blocked}"
    lines = [f"{safe(summary['folder'])}: {summary['classes']} classes, {made}."]
    if judged := summary.get("filter"):
        share = f"{100 * judged['agreement']:.1f} %"
        lines.append(
            f"{safe(judged['scored_by'])} takes {share} for what they should be; {judged['kept']} of "
            f"{judged['scored']} images are kept."
        )
    if gap := summary.get("gap"):
        auc = "" if gap["auc"] is None else f"told from real ones with an AUC of {gap['auc']:.3f}, "
        real = "" if gap["frechet_real"] is None else f" (two halves of the real ones: {gap['frechet_real']:.3f})"
        matched = gap["frechet"] if gap["frechet_matched"] is None else gap["frechet_matched"]
        lines.append(f"Generated images: {auc}Frechet distance {matched:.3f}{real}.")
    return lines
