"""``clipwright tune-prompt``."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from clipwright.cli import endpoint_options as ask
from clipwright.cli.options import (
    ABOUT,
    Classes,
    Config,
    Data,
    Debug,
    Json,
    Overwrite,
    Quiet,
    Root,
    Seed,
    resolved,
    verb_app,
)
from clipwright.core.errors import FormatError, UsageError

if TYPE_CHECKING:
    from clipwright.api import LabelClassifier

app = verb_app()

_FREE = (*ABOUT, *ask.FREE, "out")


@app.command("tune-prompt")
def tune_prompt(
    ctx: typer.Context,
    data: Data,
    *,
    base_url: ask.BaseUrl = None,
    model: ask.Model = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="FILE", help="File to write, such as prompt.json.")
    ] = None,
    budget: Annotated[int, typer.Option("--budget", min=1, metavar="N", help="Calls that may be made.")] = 500,
    shots: Annotated[
        int | None, typer.Option("--shots", min=1, metavar="N", help="Labelled images per class to judge wordings by.")
    ] = 4,
    check: Annotated[
        int,
        typer.Option("--check", min=0, metavar="N", help="Further images per class to compare first and last with."),
    ] = 0,
    root: Root = None,
    classes: Classes = None,
    texts: Annotated[
        Path | None, typer.Option("--texts", metavar="BANK", help="Phrases that may stand beside the class names.")
    ] = None,
    prompts: Annotated[
        Path | None, typer.Option("--prompts", metavar="FILE", help="Wordings in place of clipwright's own.")
    ] = None,
    offspring: Annotated[
        int, typer.Option("--offspring", min=1, metavar="N", help="Changed wordings that race in one generation.")
    ] = 4,
    max_tokens: Annotated[int, typer.Option("--max-tokens", min=1, help="Limit on an answer.")] = 64,
    max_side: Annotated[int, typer.Option("--max-side", min=16, help="Longer images are scaled down to this.")] = 512,
    api_key_file: ask.ApiKeyFile = None,
    concurrency: ask.Concurrency = 4,
    requests_per_minute: ask.RequestsPerMinute = None,
    tokens_per_minute: ask.TokensPerMinute = None,
    timeout: ask.Timeout = 120.0,
    price_prompt: ask.PricePrompt = None,
    price_completion: ask.PriceCompletion = None,
    seed: Seed = 0,
    overwrite: Overwrite = False,
    config: Config = None,
    as_json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Find the wording with which a model that answers with a label only classifies labelled images best.

    Wordings are changed word by word and judged by how many support images they get right. A call is paid once: a run
    that was stopped goes on where it was. 'clipwright predict FILE IMAGES --base-url ...' then uses the result.

    \b
    Examples:
      clipwright tune-prompt photos/ --base-url http://127.0.0.1:8000/v1 --model qwen3-vl --out prompt.json
      clipwright tune-prompt photos/ --base-url http://127.0.0.1:8000/v1 --model qwen3-vl --texts bank.json --out p.json
    """
    from clipwright import api

    endpoint = ask.endpoint_of(
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
    if endpoint is None or out is None:
        raise UsageError("tune-prompt needs --base-url, --model and --out: name the server, the model and the file.")
    opened = api.open_data(data, classes, root=root)
    settings = {key: value for key, value in resolved(ctx).items() if key not in _FREE}
    settings |= {"digest": opened.digest, "labels": hashlib.sha256(opened.labels.tobytes()).hexdigest()}
    _claim(out, settings, overwrite=overwrite)
    found = api.tune_prompt(
        opened,
        endpoint,
        budget=budget,
        shots=shots,
        check=check,
        texts=texts,
        prompts=prompts,
        offspring=offspring,
        max_tokens=max_tokens,
        max_side=max_side,
        seed=seed,
        quiet=quiet,
        settings=settings,
    )
    found.save(out)
    _show(found, out, as_json=as_json)


def _claim(out: Path, settings: Mapping[str, Any], *, overwrite: bool) -> None:
    """Refuse to write over anything but what the same command made."""
    from clipwright import api

    if out.is_dir():
        raise UsageError(f"--out {out} is a folder: give a file, such as prompt.json.")
    if overwrite or not out.exists():
        return
    try:
        before = api.LabelClassifier.load(out).card.get("settings")
    except FormatError:
        before = None
    if before != dict(settings):
        raise UsageError(f"--out {out} is there already and was made otherwise: choose another file, or --overwrite.")


def _show(found: LabelClassifier, out: Path, *, as_json: bool) -> None:
    from clipwright.cli.output import safe, say, show_json

    card = found.card
    if as_json:
        show_json({"classifier": str(out), "instruction": found.prompt.instruction, **card})
        return
    right = f"{card['right']} of {card['support_images']} support images right, {card['right_at_start']} at first"
    effort = f"{card['wordings']} wordings, {card['calls']} calls; stopped: {card['stopped']}"
    say(f"{safe(str(out))}: {right} ({effort}).")
    if "check_images" in card:
        n, first = card["check_images"], card["check_right_at_start"]
        say(f"On {n} images that the search didn't see: {card['check_right']} right, {first} with the first wording.")
    else:
        say("The wording was chosen by these images, so on new ones expect less (--check measures it).")
    say(f"Instruction: {safe(found.prompt.instruction)}")
    usage = card["usage"]
    cost = f", cost {usage['cost']:.4f}" if "cost" in usage else ""
    say(f"{usage['calls']} calls paid now, {usage['cached']} read from earlier runs{cost}.")
    if card["no_class"]:
        say(f"{card['no_class']} answers named none of the classes and counted as wrong.")
