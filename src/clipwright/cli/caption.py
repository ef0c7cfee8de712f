"""``clipwright caption``."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from clipwright.cli import endpoint_options as ask
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
from clipwright.core.errors import UsageError

app = verb_app()

# A run may be continued with others: what decides a caption is checked against the folder itself.
_FREE = (*ask.FREE, "shard", "batch_size", "device", "groups", "n_images", "no_images", "seed", "dry_run")

# Options that go on as they are.
_AS_TYPED = (
    *("revision", "dtype", "batch_size", "max_tokens", "backbone", "device", "classes", "root", "kind", "prompt"),
    *("group_prompt", "size", "n_images", "shard", "overwrite", "dry_run", "seed", "quiet"),
)


class Captioner(StrEnum):
    """What writes the captions."""

    PHRASES = "phrases"
    TRANSFORMERS = "transformers"
    ENDPOINT = "endpoint"


class ViewOption(StrEnum):
    """How pictures are shown."""

    THUMBNAIL = "thumbnail"
    ANYRES = "anyres"


@app.command()
def caption(
    ctx: typer.Context,
    data: Data,
    *,
    out: Annotated[Path | None, typer.Option("--out", "-o", metavar="DIR", help="Folder to fill.")] = None,
    captioner: Annotated[
        Captioner, typer.Option("--captioner", help="phrases needs nothing but the backbone.")
    ] = Captioner.PHRASES,
    model: Annotated[
        str | None,
        typer.Option("--model", metavar="M", help="Model folder, OWNER/NAME of the hub, or the server's model."),
    ] = None,
    revision: Annotated[
        str | None, typer.Option("--revision", metavar="R", help="Commit or tag of a repository of the hub.")
    ] = None,
    dtype: Annotated[
        str | None,
        typer.Option("--dtype", help="fp32, bf16, fp16, 4bit or 8bit; bf16 on a GPU when left out."),
    ] = None,
    batch_size: Annotated[
        int | None, typer.Option("--batch-size", min=1, help="Captions that transformers writes together; 16.")
    ] = None,
    max_tokens: Annotated[
        int | None, typer.Option("--max-tokens", min=1, help="New tokens of a caption, at most; 77 when left out.")
    ] = None,
    base_url: ask.BaseUrl = None,
    api_key_file: ask.ApiKeyFile = None,
    concurrency: ask.Concurrency = 4,
    requests_per_minute: ask.RequestsPerMinute = None,
    tokens_per_minute: ask.TokensPerMinute = None,
    timeout: ask.Timeout = 120.0,
    price_prompt: ask.PricePrompt = None,
    price_completion: ask.PriceCompletion = None,
    backbone: BackboneOption = None,
    classes: Classes = None,
    root: Root = None,
    kind: Annotated[
        str | None,
        typer.Option("--kind", metavar="K", help="Kind of data, such as satellite; by the name of DATA when left out."),
    ] = None,
    prompt: Annotated[
        str | None,
        typer.Option("--prompt", metavar="TEXT|FILE", help="What to ask of an image; {class} is its likely class."),
    ] = None,
    group_prompt: Annotated[
        str | None, typer.Option("--group-prompt", metavar="TEXT|FILE", help="What to ask of a group.")
    ] = None,
    view: Annotated[
        ViewOption, typer.Option("--view", help="The whole picture on a small square, or in its own shape.")
    ] = ViewOption.THUMBNAIL,
    size: Annotated[
        int | None, typer.Option("--size", min=1, help="Pixels of that square's, or of the longest side at most.")
    ] = None,
    groups: Annotated[
        str, typer.Option("--groups", metavar="M|all", help="Groups per class; 0 for none, all for one per image.")
    ] = "32",
    n_images: Annotated[int, typer.Option("--n-images", min=1, help="Images of a group.")] = 4,
    no_images: Annotated[bool, typer.Option("--no-images", help="Caption groups alone.")] = False,
    shard: Annotated[str, typer.Option("--shard", metavar="I/N", help="Do part I of N.")] = "1/1",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Count captions, tokens and cost; send nothing, write nothing.")
    ] = False,
    device: Device = None,
    seed: Seed = 0,
    overwrite: Overwrite = False,
    config: Config = None,
    as_json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Describe unlabeled images in words, and what groups of them have in common; labels are never read.

    A run that was stopped goes on where it was and asks nothing twice; parts on several machines merge by copying.

    \b
    Examples:
      clipwright caption photos/ --classes names.txt --out captions
      clipwright caption photos/ --captioner endpoint --base-url http://127.0.0.1:8000/v1 --model M --out captions
      clipwright caption photos/ --captioner transformers --model llava/ --shard 1/2 --out captions
    """
    from clipwright import api
    from clipwright.cli.output import note, say, show_json
    from clipwright.cli.run_folder import CONFIG, maybe_run

    if out is None and not dry_run:
        raise UsageError("--out is missing: name the folder to fill, such as --out captions, or give --dry-run.")
    remote = captioner is Captioner.ENDPOINT
    if base_url is not None and not remote:
        raise UsageError(f"--captioner {captioner.value} takes no --base-url: did you mean --captioner endpoint?")
    endpoint = (
        ask.endpoint_of(
            base_url,
            model,
            api_key_file=api_key_file,
            concurrency=concurrency,
            requests_per_minute=requests_per_minute,
            tokens_per_minute=tokens_per_minute,
            timeout=timeout,
            price_prompt=price_prompt,
            price_completion=price_completion,
            quiet=quiet,
        )
        if remote
        else None
    )
    options = {name: ctx.params[name] for name in _AS_TYPED} | {
        "captioner": captioner.value,
        "model": None if remote else model,
        "endpoint": endpoint,
        "view": view.value,
        "groups": _groups(groups),
        "images": not no_images,
    }
    if dry_run:
        summary = dict(api.caption(data, out or Path(), **options).summary)
        return show_json(summary) if as_json else say("\n".join(_dry(summary)))
    # Captions that Python made, or that were copied here, go on: the folder itself checks their settings.
    adopted = out is not None and (out / "captions.json").is_file() and not (out / CONFIG).is_file()
    begun = shard if overwrite else "1/1"
    with maybe_run(out, resolved(ctx), overwrite=overwrite or adopted, free=_FREE, shard=begun) as run:

        def tell(text: str) -> None:
            if run is None:
                note(text, quiet=quiet)
            else:
                run.tell(text, quiet=quiet)

        done = api.caption(data, out or Path(), tell=tell, **options)
        for warning in done.warnings:
            tell(f"Warning: {warning}")
        summary = {"folder": str(done.folder), **done.summary, "warnings": list(done.warnings)}
        if run is not None:
            run.finish(**summary)
    return show_json(summary) if as_json else say("\n".join(_lines(summary)))


def _groups(text: str) -> int | Literal["all"]:
    if text == "all":
        return "all"
    if not text.isascii() or not text.isdecimal():
        raise UsageError(f"--groups must be a number or all; it is {text!r}.")
    return int(text)


def _dry(summary: Mapping[str, Any]) -> list[str]:
    images, groups = summary["images"], summary["groups_at_most"]
    most = f"{summary['captions_at_most']:,} captions to write at most"
    lines = [f"{most}: {images:,} images and up to {groups:,} groups, {summary['there']:,} there"]
    if "prompt_tokens" in summary:
        cost = f", cost about {summary['cost']:.4f}" if "cost" in summary else ""
        sent, answered = summary["prompt_tokens"], summary["completion_tokens"]
        lines.append(f"about {sent:,} tokens sent and {answered:,} answered{cost}")
        lines.append(f"asked of an image: {summary['prompt']}")
    return lines


def _lines(summary: Mapping[str, Any]) -> list[str]:
    from clipwright.cli.output import safe

    wanted = f"{summary['images']:,} images and {summary['groups']:,} groups"
    rate = "" if not summary["per_second"] else f", {summary['per_second']:.1f}/s"
    made = f"{summary['made']:,} captions written{rate}, {summary['there']:,} there before"
    lines = [f"{safe(summary['folder'])}: {wanted}; {made}."]
    shown = summary["missing"][:5]
    lines += [f"Missing: {safe(row['id'])} ({safe(row['reason'] or 'not done yet')})" for row in shown]
    if (rest := summary["missing_images"] - 5) > 0:
        lines.append(f"Missing: {rest:,} further images.")
    if usage := summary["usage"]:
        cost = f", cost {usage['cost']:.4f}" if "cost" in usage else ""
        tokens = f"{usage['prompt_tokens']:,} tokens sent and {usage['completion_tokens']:,} answered"
        lines.append(f"{usage['calls']} calls, {usage['cached']} read from earlier runs; {tokens}{cost}.")
    return lines
