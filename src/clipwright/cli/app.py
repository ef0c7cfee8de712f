"""The root command: a table of verbs whose modules are imported when they are called."""

from __future__ import annotations

import difflib
import shlex
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Annotated, Any

import typer
import typer.core
import typer.main

from clipwright import __version__
from clipwright.cli.failures import INTERRUPTED, explain, plain_warnings

VERBS: dict[str, str] = {
    "demo": "Fit digits with the embedded model and write a report.",
    "fit": "Fit a classifier to a folder, table, bundle or embedded set.",
    "predict": "Classify images: files, folders or globs.",
    "evaluate": "Measure a classifier on labelled data.",
    "compare": "Compare methods over several draws of labels.",
    "report": "Write one page about finished comparisons.",
    "extract": "Compute image features once and keep them in a store.",
    "describe": "Ask a language model or WordNet what classes look like.",
    "generate": "Make images of classes from their names.",
    "caption": "Describe unlabeled images and groups of them in words.",
    "merge": "Mix two classifiers of one backbone in weight space.",
    "tune-prompt": "Search for the words a multimodal model classifies best with.",
    "serve": "Serve a model as a black box over HTTP.",
    "methods": "List the methods and what each needs.",
    "backbones": "List the models that can be named.",
    "datasets": "List the embedded data sets and the benchmarks.",
    "cache": "Show or empty what clipwright keeps on this machine.",
}
HELP = """Turn a frozen vision-language model into an image classifier.

\b
Examples:
  clipwright demo
  clipwright fit photos/ --backbone openclip:ViT-B-16@openai --out classifier
  clipwright predict classifier new-photos/ --format csv
"""


class _Verbs(typer.core.TyperGroup):
    """A group that knows its verbs by name and imports one only to run or explain it."""

    def list_commands(self, ctx: Any) -> list[str]:
        return list(VERBS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        return command(cmd_name) if cmd_name in VERBS else None

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        with formatter.section("Verbs"):
            formatter.write_dl(list(VERBS.items()))

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        if args and args[0] not in VERBS and not args[0].startswith("-"):
            near = difflib.get_close_matches(args[0], VERBS, n=1)
            hint = f"did you mean {near[0]}?" if near else f"choose one of {', '.join(VERBS)}."
            ctx.fail(f"there is no verb {args[0]!r}: {hint}")
        return super().resolve_command(ctx, args)


def command(verb: str) -> Any:
    """The click command of a verb; imports the verb's module."""
    made = typer.main.get_command(import_module(f"clipwright.cli.{verb.replace('-', '_')}").app)
    made.name = verb
    return made


def _version(wanted: bool) -> None:
    if wanted:
        sys.stdout.write(f"clipwright {__version__}\n")
        raise typer.Exit


def _root(
    version: Annotated[
        bool, typer.Option("--version", help="Show the version and exit.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    """Only carries the options of the root."""


def root() -> Any:
    """The click group of all verbs; imports none of them."""
    app = typer.Typer(
        cls=_Verbs,
        help=HELP,
        no_args_is_help=True,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    )
    app.callback()(_root)
    return typer.main.get_command(app)


def run(arguments: Sequence[str]) -> int:
    """Run the command line and return the exit code; failures become one sentence on standard error."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")  # a name that the terminal can't show must not end a run
    before_dashes = arguments[: arguments.index("--")] if "--" in arguments else arguments
    debug = "--debug" in before_dashes
    try:
        with plain_warnings(debug=debug):
            typed = {"command": shlex.join(["clipwright", *arguments])}  # reports show it
            code = root().main(list(arguments), prog_name="clipwright", standalone_mode=False, obj=typed)
    except BaseException as error:  # every failure ends here, in one sentence
        if debug and isinstance(error, Exception):
            import traceback

            traceback.print_exc()
        return explain(error)
    if code == INTERRUPTED:  # the parser swallows the interrupt and says nothing
        return explain(KeyboardInterrupt())
    return code if isinstance(code, int) else 0
