"""Options of the verbs that ask a model behind an OpenAI-compatible server."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from clipwright.core.errors import UsageError

if TYPE_CHECKING:
    from clipwright.api import Endpoint

# Options that don't change what a run makes: it may be continued with others.
FREE = (
    "base_url",
    "api_key_file",
    "concurrency",
    "requests_per_minute",
    "tokens_per_minute",
    "timeout",
    "price_prompt",
    "price_completion",
)

BaseUrl = Annotated[
    str | None,
    typer.Option("--base-url", metavar="URL", help="OpenAI-compatible server, such as http://127.0.0.1:8000/v1."),
]
Model = Annotated[str | None, typer.Option("--model", metavar="NAME", help="What the server calls the model.")]
ApiKeyFile = Annotated[
    Path | None,
    typer.Option("--api-key-file", metavar="FILE", help="File with the API key; OPENAI_API_KEY when left out."),
]
Concurrency = Annotated[int, typer.Option("--concurrency", min=1, help="Requests in flight at a time.")]
RequestsPerMinute = Annotated[
    float | None, typer.Option("--requests-per-minute", metavar="N", help="Send no more than N requests a minute.")
]
TokensPerMinute = Annotated[
    float | None, typer.Option("--tokens-per-minute", metavar="N", help="Use no more than about N tokens a minute.")
]
Timeout = Annotated[float, typer.Option("--timeout", metavar="SECONDS", help="How long one request may take.")]
PricePrompt = Annotated[
    float | None, typer.Option("--price-prompt", min=0.0, metavar="P", help="Price of a million tokens sent.")
]
PriceCompletion = Annotated[
    float | None, typer.Option("--price-completion", min=0.0, metavar="P", help="Price of a million tokens answered.")
]


def endpoint_of(
    base_url: str | None,
    model: str | None,
    *,
    api_key_file: Path | None,
    concurrency: int,
    requests_per_minute: float | None,
    tokens_per_minute: float | None,
    timeout: float,
    price_prompt: float | None,
    price_completion: float | None,
    quiet: bool,
) -> Endpoint | None:
    """The endpoint that options name, or None where they name none.

    Raises:
        UsageError: half of it is missing, or something in it is wrong.
    """
    from clipwright import api
    from clipwright.cli.output import note

    if base_url is None and model is None:
        return None
    if base_url is None or model is None:
        raise UsageError("--base-url and --model belong together: give both.")
    priced = price_prompt is not None or price_completion is not None
    found = api.Endpoint(
        base_url,
        model,
        api_key=api.read_api_key(api_key_file),
        timeout=timeout,
        concurrency=concurrency,
        requests_per_minute=requests_per_minute,
        tokens_per_minute=tokens_per_minute,
        prices=api.Prices(price_prompt or 0.0, price_completion or 0.0) if priced else None,
    )
    if found.is_exposed:
        note(f"Warning: the API key travels unencrypted to {base_url}: use https if you can.", quiet=quiet)
    return found
