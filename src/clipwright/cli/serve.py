"""``clipwright serve``."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from clipwright.cli.options import Config, Debug, Device, Json, Quiet, Seed, verb_app
from clipwright.core.errors import UsageError

app = verb_app()


@app.command()
def serve(
    *,
    backbone: Annotated[
        str | None, typer.Option("--backbone", metavar="B", help="Model, such as openclip:ViT-B-16@openai or tiny.")
    ] = None,
    access: Annotated[
        str | None,
        typer.Option(
            "--access",
            metavar="A,B",
            help="What is granted: some of features, scores, soft_prompt, labels; scores,soft_prompt when left out.",
        ),
    ] = None,
    host: Annotated[str, typer.Option("--host", help="Address to bind; 0.0.0.0 lets other machines in.")] = (
        "127.0.0.1"
    ),
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="Port to bind; 0 takes a free one.")] = 8000,
    token_file: Annotated[
        Path | None,
        typer.Option("--token-file", metavar="F", help="File that holds the bearer token; CLIPWRIGHT_TOKEN otherwise."),
    ] = None,
    max_batch: Annotated[
        int, typer.Option("--max-batch", min=1, metavar="N", help="Images per upload and prompts per request.")
    ] = 256,
    max_mb: Annotated[int, typer.Option("--max-mb", min=1, metavar="N", help="MiB of a request's body.")] = 64,
    max_images: Annotated[
        int, typer.Option("--max-images", min=1, metavar="N", help="Images whose features are remembered.")
    ] = 1_000_000,
    store: Annotated[
        Path | None,
        typer.Option("--store", metavar="DIR", help="Folder to keep features in, so that a restart knows its images."),
    ] = None,
    device: Device = None,
    seed: Seed = 0,
    config: Config = None,
    as_json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Serve a model as a black box over HTTP: clients send images once and ask for scores.

    Endpoints are named as backbones: --backbone endpoint:http://127.0.0.1:8000.

    \b
    Examples:
      clipwright serve --backbone tiny
      clipwright serve --backbone openclip:ViT-B-16@openai --access scores --port 9000 --token-file token.txt
    """
    import warnings

    from clipwright.backbones.agreement import TOKEN_VARIABLE
    from clipwright.cli.output import note, safe, say, show_json
    from clipwright.serve.running import is_local, serve_backbone

    if backbone is None:
        raise UsageError("name the model to serve: --backbone tiny, or --backbone openclip:ViT-B-16@openai.")
    token = _token(token_file)
    if token is None and not is_local(host):
        warnings.warn(
            f"whoever reaches {host} may ask this server: set {TOKEN_VARIABLE} or --token-file to have a token asked "
            "for.",
            UserWarning,
            stacklevel=1,
        )
    server, info = serve_backbone(
        backbone,
        access=None if access is None else access.split(","),
        host=host,
        port=port,
        token=token,
        max_batch=max_batch,
        max_mb=max_mb,
        max_images=max_images,
        store=store,
        device=device,
    )

    def ready() -> None:
        if as_json:
            show_json({"url": server.url, **info})
        else:
            say(
                f"{safe(info['spec'])} at {server.url}, granting {', '.join(info['access'])}; docs at {server.url}/docs"
            )

    server.run(ready)
    note("Stopped.", quiet=quiet)


def _token(file: Path | None) -> str | None:
    """The token of the file, or else of the environment."""
    from clipwright.backbones.agreement import TOKEN_VARIABLE
    from clipwright.core.http import check_token

    if file is None:
        return check_token(os.environ.get(TOKEN_VARIABLE))
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "it is no text"
        raise UsageError(f"--token-file {file} can't be read: {why}.") from error
    token = check_token(text, str(file))
    if token is None:
        raise UsageError(f"the token file {file} is empty: write the token into it.")
    return token
