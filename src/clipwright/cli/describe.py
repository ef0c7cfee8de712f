"""``clipwright describe``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from clipwright.cli import endpoint_options as ask
from clipwright.cli.options import (
    ABOUT,
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

_FREE = (*ABOUT, *ask.FREE, "out", "device", "dry_run", "seed")


class Source(StrEnum):
    """Who knows what the classes look like."""

    LLM = "llm"
    WORDNET = "wordnet"


class Pairs(StrEnum):
    """How easily confused classes are found."""

    TEXTS = "texts"
    IMAGES = "images"
    ALL = "all"


@app.command()
def describe(
    ctx: typer.Context,
    data: Annotated[
        str,
        typer.Argument(
            metavar="CLASSES", callback=source, help="Text file with a name per line, or whatever fit takes as DATA."
        ),
    ],
    *,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="BANK", help="File to write, such as bank.json.")
    ] = None,
    kinds: Annotated[
        str | None,
        typer.Option(
            "--kinds",
            metavar="K,...",
            help="Out of attribute, analogue, synonym (the default), one-vs-one, description, descriptor.",
        ),
    ] = None,
    source_: Annotated[Source, typer.Option("--source", help="A language model, or WordNet.")] = Source.LLM,
    wordnet: Annotated[
        str | None, typer.Option("--wordnet", metavar="W", help="WNDB folder, or lexicon of the wn package.")
    ] = None,
    base_url: ask.BaseUrl = None,
    model: ask.Model = None,
    api_key_file: ask.ApiKeyFile = None,
    backbone: BackboneOption = None,
    device: Device = None,
    classes: Annotated[
        Path | None, typer.Option("--classes", metavar="FILE", help="Class names of data that doesn't bring them.")
    ] = None,
    root: Root = None,
    domain: Annotated[
        str,
        typer.Option("--domain", metavar="TEXT", help="What kind of pictures they are, such as 'satellite photos'."),
    ] = "",
    prompts: Annotated[
        Path | None, typer.Option("--prompts", metavar="FILE", help="Wordings in place of clipwright's own.")
    ] = None,
    pairs: Annotated[
        Pairs, typer.Option("--pairs", help="How classes for one-vs-one texts are found; labels are never read.")
    ] = Pairs.TEXTS,
    pairs_per_class: Annotated[int, typer.Option("--pairs-per-class", min=1, help="Rivals of a class, at most.")] = 3,
    similarity: Annotated[
        float, typer.Option("--similarity", help="Cosine above which a look-alike repeats a class.")
    ] = 0.9,
    max_tokens: Annotated[
        int | None, typer.Option("--max-tokens", min=16, help="Limit on an answer; the wording's own when left out.")
    ] = None,
    shard: Annotated[str, typer.Option("--shard", metavar="I/N", help="Do part I of N.")] = "1/1",
    merge: Annotated[
        list[Path] | None, typer.Option("--merge", metavar="BANK", help="Add the rows of a bank; may be repeated.")
    ] = None,
    concurrency: ask.Concurrency = 4,
    requests_per_minute: ask.RequestsPerMinute = None,
    tokens_per_minute: ask.TokensPerMinute = None,
    timeout: ask.Timeout = 120.0,
    price_prompt: ask.PricePrompt = None,
    price_completion: ask.PriceCompletion = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Count requests, tokens and cost; send nothing, write nothing.")
    ] = False,
    seed: Seed = 0,
    overwrite: Overwrite = False,
    config: Config = None,
    as_json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Ask a language model, or WordNet, what classes look like, and keep the texts with where they came from.

    An answer is paid once: a run that was stopped goes on where it was, and parts on several machines are merged.

    \b
    Examples:
      clipwright describe names.txt --base-url http://127.0.0.1:8000/v1 --model qwen3 --dry-run
      clipwright describe photos/ --base-url http://127.0.0.1:8000/v1 --model qwen3 --out bank.json
      clipwright describe names.txt --source wordnet --out synonyms.json
      clipwright describe names.txt --merge part-1.json --merge part-2.json --out bank.json
    """
    from clipwright import api
    from clipwright.cli.output import say, show_json

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
    settings = resolved(ctx)
    if not dry_run:
        _claim(out, settings, overwrite=overwrite)
    done = api.describe(
        data,
        endpoint=endpoint,
        kinds=None if kinds is None else [kind.strip() for kind in kinds.split(",") if kind.strip()],
        source=source_.value,
        wordnet=wordnet,
        backbone=backbone,
        device=device,
        class_file=classes,
        root=root,
        prompts=prompts,
        pairs=pairs.value,
        pairs_per_class=pairs_per_class,
        similarity=similarity,
        domain=domain,
        max_tokens=max_tokens,
        shard=shard,
        merge=merge or (),
        dry_run=dry_run,
        quiet=quiet,
    )
    summary = dict(done.summary)
    if not dry_run and out is not None:
        done.bank.save(out)
        _record(out, settings, summary)
        summary = {"bank": str(out), **summary}
    if as_json:
        show_json(summary)
    else:
        say("\n".join(_dry(summary) if dry_run else _lines(summary)))


def run_file(out: Path) -> Path:
    """Where the settings and the outcome of the run that makes `out` are kept."""
    return out.with_name(f"{out.stem}.run.json")


def _claim(out: Path | None, settings: Mapping[str, Any], *, overwrite: bool) -> None:
    """Refuse to write over what another run made, and say in a file beside the bank what this run is."""
    if out is None:
        raise UsageError("--out is missing: name the file to write, such as --out bank.json, or give --dry-run.")
    if out.is_dir():
        raise UsageError(f"--out {out} is a folder: give a file, such as bank.json.")
    before = _read(run_file(out)).get("config")
    if out.exists() and not overwrite:
        if not isinstance(before, dict):
            raise UsageError(f"--out {out} is there already: choose another file, or give --overwrite.")
        for key, value in settings.items():
            if key not in _FREE and before.get(key) != value:
                raise UsageError(
                    f"--out {out} was made with another {key} ({before.get(key)}, now {value}): choose another file, "
                    "or give --overwrite."
                )
    if overwrite:
        out.unlink(missing_ok=True)
    if not out.exists():
        _record(out, settings, None)


def _record(out: Path, settings: Mapping[str, Any], summary: Mapping[str, Any] | None) -> None:
    from clipwright.core.atomic import write_json

    write_json(run_file(out), {"config": dict(settings), "summary": summary})


def _read(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


def _dry(summary: Mapping[str, Any]) -> list[str]:
    if "requests_at_most" not in summary:
        return ["no request would be sent"]
    most, cached = summary["requests_at_most"], summary["cached"]
    requests = f"{summary['requests']} requests for {summary['classes']} classes and {summary['pairs']} pairs"
    tokens = f"about {summary['prompt_tokens']:,} tokens sent and {summary['completion_tokens']:,} answered"
    lines = [f"{requests}, at most {most} where answers have to be corrected; {cached} are answered already", tokens]
    if "cost" in summary:
        lines.append(f"cost about {summary['cost']:.4f}")
    return lines


def _lines(summary: Mapping[str, Any]) -> list[str]:
    from clipwright.cli.output import safe

    rows = ", ".join(f"{count} {kind}" for kind, count in summary["rows"].items()) or "no text"
    lines = [f"{safe(str(summary['bank']))}: {summary['classes']} classes, {rows}."]
    if summary.get("dropped"):
        lines.append("Dropped: " + ", ".join(f"{count} {reason}" for reason, count in summary["dropped"].items()) + ".")
    if summary.get("unanswered"):
        lines.append(f"{summary['unanswered']} of {summary['requests']} requests had no usable answer.")
    if missing := summary["classes_without_text"]:
        shown = ", ".join(safe(repr(name)) for name in missing[:3]) + (", ..." if len(missing) > 3 else "")
        lines.append(f"{len(missing)} classes have no text: {shown}.")
    lines += [f"Note: {text}." for text in summary.get("notes", ())]
    if usage := summary.get("usage"):
        cost = f", cost {usage['cost']:.4f}" if "cost" in usage else ""
        tokens = f"{usage['prompt_tokens']:,} tokens sent and {usage['completion_tokens']:,} answered"
        lines.append(f"{usage['calls']} calls, {usage['cached']} read from earlier runs; {tokens}{cost}.")
    return lines
