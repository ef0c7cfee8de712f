"""``clipwright datasets``."""

from __future__ import annotations

from clipwright.cli.options import Config, Debug, Json, Quiet, Seed, verb_app

app = verb_app()


@app.command()
def datasets(
    *, seed: Seed = 0, config: Config = None, as_json: Json = False, quiet: Quiet = False, debug: Debug = False
) -> None:
    """List the embedded data sets, which need no files.

    \b
    Examples:
      clipwright datasets
      clipwright datasets --json
    """
    from dataclasses import asdict

    from clipwright.cli.output import say, show_json, table
    from clipwright.data import datasets as embedded

    found = embedded()
    if as_json:
        show_json([asdict(d) for d in found])
        return
    rows = [[d.name, d.classes, d.images, d.licence, d.description] for d in found]
    say(table(["name", "classes", "images", "licence", "what it is"], rows))
